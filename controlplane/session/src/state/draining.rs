//! The session is over; SIP and the dataplane still have a little to do.

use crate::failure::SessionFailure;
use sipsec_ike::{CloseCause, Endpoint};
use sipsec_net::{Instant, MediaPort};
use sipsec_sip::{Call, CallId};
use std::time::Duration;

/// The media port stays open this long after IKE was closed, with no SA, so that both sides' DELETE and its answer pass by
/// it: behind a SIP peer may be an IKE peer that gets no BYE.
const LINGER_MIN: Duration = Duration::from_millis(200);
/// An endpoint stays this long while our DELETE is not answered: two repetitions (`sipsec_ike::Retransmit`). The next call
/// does not wait for that.
pub(super) const LINGER_MAX: Duration = Duration::from_secs(2);

/// After a BYE of the peer during the negotiation, how long its reason may take to come by IKE.
const REASON_MAX: Duration = Duration::from_millis(500);
/// A session waits this long for the end of a call that was not answered: longer than 64·T1 (RFC 3261 §17.1.1.2: 32 s).
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(40);

#[derive(Debug)]
pub struct Draining {
    /// SIP's part, until the call has ended, or until its BYE is owed and no matter of the session any more.
    pub(super) call: Option<CallId>,
    pub(super) media: Option<Box<Lingering>>,
    /// The peer is expected to say BYE, or to hear our refusal first; our BYE is sent at this time.
    pub(super) bye_at: Option<(Instant, Call)>,
    /// The latest end of this state: a carrier that answers nothing must not keep the tunnel from calling.
    pub(super) leave_at: Instant,
}

/// The media port and IKE, a moment longer, for DELETE or for the reason of a failure.
#[derive(Debug)]
pub struct Lingering {
    pub port: MediaPort,
    /// The earliest end: what the peer still has to say comes by then.
    rest_at: Instant,
    /// The latest, if our DELETE is not answered.
    give_up_at: Instant,
    /// Closed, unless the session listens; it still answers, and repeats its DELETE.
    pub endpoint: Endpoint,
    listening: Option<Listening>,
}

/// The peer hung up during the negotiation, and IKE may still tell why.
#[derive(Debug)]
pub struct Listening {
    pub call: CallId,
    until: Instant,
    /// The failure if IKE tells nothing.
    pub otherwise: SessionFailure,
}

impl Lingering {
    fn new(port: MediaPort, endpoint: Endpoint, now: Instant) -> Self {
        let (rest_at, give_up_at) = (now + LINGER_MIN, now + LINGER_MAX);
        Self { port, rest_at, give_up_at, endpoint, listening: None }
    }

    /// An IKE message comes, which may not have been the reason.
    pub fn hears(&mut self, now: Instant, message: &[u8]) {
        if let Some(Listening {
            otherwise: SessionFailure::PeerHungUp { evidence: Some(evidence), .. },
            ..
        }) = &mut self.listening
        {
            evidence.hears(message);
        }
        self.endpoint.handle_datagram(now, message);
    }

    #[must_use]
    pub const fn is_listening(&self) -> bool {
        self.listening.is_some()
    }

    /// IKE has told what it had to tell, or has had its time: then IKE is closed, and this is what was listened for.
    pub fn told(&mut self, now: Instant, told: bool) -> Option<Listening> {
        let listening = self.listening.take_if(|l| told || l.until <= now)?;
        self.endpoint.close(now, CloseCause::CallEnded);
        (self.rest_at, self.give_up_at) = (now + LINGER_MIN, now + LINGER_MAX);
        Some(listening)
    }

    /// What was listened for comes no more.
    #[must_use]
    pub fn into_listening(self) -> Option<Listening> {
        self.listening
    }

    #[must_use]
    pub fn close_at(&self) -> Instant {
        match &self.listening {
            Some(l) => l.until + LINGER_MAX,
            None if self.endpoint.poll_timeout().is_some() => self.give_up_at,
            None => self.rest_at,
        }
    }

    #[must_use]
    pub fn due(&self) -> Instant {
        let end = match &self.listening {
            Some(l) => l.until,
            None => self.close_at(),
        };
        self.endpoint.poll_timeout().map_or(end, |at| at.min(end))
    }
}

impl Draining {
    pub(super) const fn of_call(call: CallId, leave_at: Instant) -> Self {
        Self { call: Some(call), media: None, bye_at: None, leave_at }
    }

    /// The call has ended already, and IKE may tell why.
    pub(super) fn listening(
        now: Instant,
        call: CallId,
        port: MediaPort,
        endpoint: Endpoint,
        otherwise: SessionFailure,
    ) -> Self {
        let mut media = Lingering::new(port, endpoint, now);
        media.listening = Some(Listening { call, until: now + REASON_MAX, otherwise });
        Self { call: None, media: Some(Box::new(media)), bye_at: None, leave_at: now + DRAIN_MAX }
    }

    pub(super) fn linger(&mut self, port: MediaPort, endpoint: Endpoint, now: Instant) {
        self.media = Some(Box::new(Lingering::new(port, endpoint, now)));
    }

    pub(super) fn expect_bye(&mut self, until: Instant, call: Call) {
        self.bye_at = Some((until, call));
    }

    // ---- what ends in it ----

    /// SIP has ended this call, or takes it over; whether the session had it.
    pub fn call_is_over(&mut self, call: CallId) -> bool {
        let was = self.call.take_if(|c| *c == call).is_some();
        if was {
            self.bye_came();
        }
        was
    }

    /// The peer has said BYE, or ours is not needed any more for another reason.
    fn bye_came(&mut self) {
        if let Some((_, call)) = self.bye_at.take() {
            call.ended();
        }
    }

    /// The peer has said BYE to this call.
    pub fn bye_said(&mut self, call: CallId) {
        if self.call == Some(call) {
            self.bye_came();
        }
    }

    /// The call whose BYE has waited long enough for the peer's.
    pub fn late_bye(&mut self) -> Option<Call> {
        self.bye_at.take().map(|(_, call)| call)
    }

    pub fn lingering(&mut self) -> Option<&mut Lingering> {
        self.media.as_deref_mut()
    }

    /// The media port closes, or is gone.
    pub fn take_media(&mut self) -> Option<Lingering> {
        self.media.take().map(|media| *media)
    }

    /// The same, if it is this one.
    pub fn take_port(&mut self, port: MediaPort) -> Option<Lingering> {
        self.media.take_if(|m| m.port == port).map(|media| *media)
    }

    /// The next call waits.
    pub fn close_soon(&mut self) {
        if let Some(media) = &mut self.media {
            media.give_up_at = media.rest_at;
        }
    }

    #[must_use]
    pub const fn done(&self) -> bool {
        self.call.is_none() && self.media.is_none()
    }
}
