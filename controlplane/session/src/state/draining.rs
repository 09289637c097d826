//! The session is over; SIP and the dataplane still have a little to do.

use crate::failure::SessionFailure;
use sipsec_ike::{CloseCause, Endpoint};
use sipsec_net::{Instant, MediaPort};
use sipsec_sip::{Call, CallId};
use std::time::Duration;

/// The media port stays open this long after IKE was closed, with no SA, so that both sides' DELETE and its answer pass by
/// it: behind a SIP peer may be an IKE peer that gets no BYE.
const LINGER_MIN: Duration = Duration::from_millis(200);
/// An endpoint stays this long while our DELETE is not answered: two repetitions (`sipsec_ike::Retransmit`). The next call does not wait
/// for that.
pub const LINGER_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Draining {
    /// SIP's part, until the call has ended, or until its BYE is owed and no matter of the session any more.
    pub call: Option<CallId>,
    pub media: Option<Box<Lingering>>,
    /// The peer is expected to say BYE, or to hear our refusal first; our BYE is sent at this time.
    pub bye_at: Option<(Instant, Call)>,
    /// The latest end of this state: a carrier that answers nothing must not keep the tunnel from calling.
    pub leave_at: Instant,
}

/// The media port and IKE, a moment longer, for DELETE or for the reason of a failure.
#[derive(Debug)]
pub struct Lingering {
    pub port: MediaPort,
    /// The earliest end: what the peer still has to say comes by then.
    pub rest_at: Instant,
    /// The latest, if our DELETE is not answered.
    pub give_up_at: Instant,
    /// Closed, unless the session listens; it still answers, and repeats its DELETE.
    pub endpoint: Endpoint,
    pub listening: Option<Listening>,
}

/// The peer hung up during the negotiation, and IKE may still tell why.
#[derive(Debug)]
pub struct Listening {
    pub call: CallId,
    pub until: Instant,
    /// The failure if IKE tells nothing.
    pub otherwise: SessionFailure,
}

impl Listening {
    /// An IKE message comes, which may not have been the reason.
    pub fn hears(&mut self, message: &[u8]) {
        if let SessionFailure::PeerHungUp { evidence: Some(evidence), .. } = &mut self.otherwise {
            evidence.hears(message);
        }
    }
}

impl Lingering {
    #[must_use]
    pub fn new(port: MediaPort, endpoint: Endpoint, now: Instant) -> Self {
        let (rest_at, give_up_at) = (now + LINGER_MIN, now + LINGER_MAX);
        Self { port, rest_at, give_up_at, endpoint, listening: None }
    }

    /// IKE has told what it had to tell, or has had its time.
    pub fn close(&mut self, now: Instant) {
        self.listening = None;
        self.endpoint.close(now, CloseCause::CallEnded);
        (self.rest_at, self.give_up_at) = (now + LINGER_MIN, now + LINGER_MAX);
    }

    #[must_use]
    pub fn close_at(&self) -> Instant {
        match &self.listening {
            Some(l) => l.until + LINGER_MAX,
            None if self.endpoint.poll_timeout().is_some() => self.give_up_at,
            None => self.rest_at,
        }
    }

    /// The next call waits.
    pub const fn close_soon(&mut self) {
        self.give_up_at = self.rest_at;
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
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        [self.media.as_ref().map(|m| m.due()), self.bye_at.as_ref().map(|(at, _)| *at), Some(self.leave_at)]
            .into_iter()
            .flatten()
            .min()
    }

    #[must_use]
    pub const fn done(&self) -> bool {
        self.call.is_none() && self.media.is_none()
    }
}
