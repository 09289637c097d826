//! From an incoming INVITE to a call that is about to be answered.

use crate::core::{Core, Dataplane};
use crate::failure::{NO_TUNNEL, SessionFailure};
use crate::ledger::EndReason;
use crate::output::EventKind;
use crate::state::{CallMedia, Dialing, Leg, Opening, State};
use sipsec_net::{Instant, MediaPort, TelNumber};
use sipsec_sip::sdp::{self, IkeSetup, SdpError, SessionDescription};
use sipsec_sip::{Call, Caller};
use std::net::SocketAddr;
use std::time::Duration;

/// The dataplane and the neighbour table get this long to open the media port, while the caller hears ringing.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// How long the ACK of our 200 may take (RFC 3261 §13.3.1.4: 32 s), and some more.
const ANSWER_MAX: Duration = Duration::from_secs(40);

impl Core {
    pub(crate) fn incoming(
        &mut self,
        now: Instant,
        call: Call,
        line: TelNumber,
        caller: Caller,
        offer: Option<&SessionDescription>,
    ) {
        let shown = shown(caller);
        let tunnel = match caller {
            Caller::Asserted(number) => self.tunnels.with_numbers(line, number),
            Caller::Anonymous | Caller::Unidentified => None,
        };
        let call_id = self.carriers.call_id(call.id()).map(str::to_owned);
        self.event_of(tunnel, call_id.clone(), EventKind::Incoming { caller: shown.clone() });
        let refuse = |core: &mut Self, call: Call, status: u16, why: &'static str| {
            let why = why.to_owned();
            core.carriers.reject_because(now, call, status, &why);
            let kind = EventKind::IncomingRefused { caller: shown.clone(), status, why };
            core.event_of(tunnel, call_id.clone(), kind);
        };
        // Without a number the peer cannot be known (RFC 5079: 433).
        if !matches!(caller, Caller::Asserted(_)) {
            let why = "the carrier asserts no number: is the caller-ID service active?";
            return refuse(self, call, if caller == Caller::Anonymous { 433 } else { 403 }, why);
        }
        let Some(i) = tunnel else {
            return refuse(self, call, 403, NO_TUNNEL);
        };
        if self.is_withdrawn(i) {
            return refuse(self, call, 403, NO_TUNNEL);
        }
        if self.stopping() || self.dataplane != Dataplane::Ready || !self.tunnels[i].is_configured() {
            return refuse(self, call, 480, "the gateway is not ready");
        }
        if matches!(self.tunnels[i].state(), State::Draining(_)) {
            // A peer that calls has left the call before.
            self.leave(now, i);
        }
        if !self.tunnels[i].ready() && !self.yields_to(now, i) {
            return refuse(self, call, 486, "the tunnel has a call already");
        }
        match offer {
            Some(offer) => self.take_call(now, i, call, offer),
            None => self.offer_back(now, i, call),
        }
    }

    /// A call without an offer: our 200 has one, and its ACK the answer, which goes on as if we had called.
    fn offer_back(&mut self, now: Instant, i: usize, call: Call) {
        let t = &mut self.tunnels[i];
        t.first_phase(now, "incoming");
        match self.prepare_offer(now, i) {
            Ok((offer, media_port)) => {
                self.open_ledger(now, call.id(), i, false);
                self.carriers.ring(&call);
                self.carriers.accept(now, &call, &offer);
                let leg = Leg { call, caller: false, media_port, answered_at: None, acknowledged: false };
                // SIP itself gives up a 200 without an ACK, a little before.
                self.tunnels[i].begin(Dialing::inviting(leg, offer, now + ANSWER_MAX));
            }
            Err((failure, status)) => self.decline(now, i, call, failure, status),
        }
    }

    fn prepare_offer(
        &mut self,
        now: Instant,
        i: usize,
    ) -> Result<(SessionDescription, MediaPort), (SessionFailure, u16)> {
        let wan = self.call_ip(now, i).ok_or((SessionFailure::AddressLost, 480))?;
        let port = self.ports.take(now).ok_or((SessionFailure::NoMediaPort, 486))?;
        match self.our_media(i, SocketAddr::new(wan, port.0), IkeSetup::Actpass) {
            Ok(media) => Ok((SessionDescription::new(u64::from(self.entropy.u32()), media), port)),
            Err(failure) => {
                self.ports.put_back(port);
                Err((failure, 403))
            }
        }
    }

    fn decline(&mut self, now: Instant, i: usize, call: Call, failure: SessionFailure, status: u16) {
        let call_id = self.carriers.call_id(call.id()).map(str::to_owned);
        self.carriers.reject_because(now, call, status, &failure.told());
        self.refused(now, i, call_id, failure, status);
    }

    /// Both sides called at once. The call of the smaller number survives, decided alike on both sides; the other is
    /// cancelled by its caller.
    fn yields_to(&mut self, now: Instant, i: usize) -> bool {
        let t = &self.tunnels[i];
        let State::Dialing(_) = t.state() else { return false };
        if t.state().leg().is_none_or(|leg| !leg.caller) {
            return false;
        }
        let ours = t.config().local_number.as_str() < t.config().remote_number.as_str();
        self.event(Some(i), EventKind::Glare { kept: if ours { "our call" } else { "the peer's call" } });
        if ours {
            return false;
        }
        if let Some(leg) = self.tunnels[i].give_way() {
            // The cancelled call ends by itself; if its 2xx wins the race it is acknowledged and hung up.
            let reason = EndReason::Failed(SessionFailure::GaveWay);
            let told = reason.told();
            self.note_reason(leg.call.id(), reason);
            self.release_port(now, leg.media_port);
            self.carriers.hang_up_because(now, leg.call, told);
        }
        true
    }

    fn take_call(&mut self, now: Instant, i: usize, call: Call, offer: &SessionDescription) {
        let t = &mut self.tunnels[i];
        t.first_phase(now, "incoming");
        let prepared = self.prepare_answer(now, i, offer);
        match prepared {
            Ok((opening, port)) => {
                self.open_ledger(now, call.id(), i, false);
                self.carriers.ring(&call);
                let leg =
                    Leg { call, caller: false, media_port: port, answered_at: None, acknowledged: false };
                self.tunnels[i].begin(Dialing::opening(leg, opening, now + OPEN_MAX));
                self.resolve_next_hop(i);
            }
            Err((failure, status)) => self.decline(now, i, call, failure, status),
        }
    }

    /// An offer that SIP could not even read.
    pub(crate) fn refused_offer(&mut self, now: Instant, line: TelNumber, caller: Caller, error: SdpError) {
        let status = error.status();
        let tunnel = match caller {
            Caller::Asserted(number) => self.tunnels.with_numbers(line, number),
            Caller::Anonymous | Caller::Unidentified => None,
        };
        match tunnel {
            Some(i) => self.refused(now, i, None, SessionFailure::Sdp(error), status),
            None => {
                let why = error.to_string();
                self.event(None, EventKind::IncomingRefused { caller: shown(caller), status, why });
            }
        }
    }

    /// The peer's call cannot become a session. That is shown, but it costs nothing and does not keep us from calling.
    fn refused(
        &mut self,
        now: Instant,
        i: usize,
        call_id: Option<String>,
        failure: SessionFailure,
        status: u16,
    ) {
        let caller = self.tunnels[i].config().remote_number.to_string();
        let why = format!("{failure}; {}", failure.cure());
        self.tunnels[i].note_failure(now, failure);
        self.event_of(Some(i), call_id, EventKind::IncomingRefused { caller, status, why });
    }

    /// Our side of the call, or why there is none and the status that says so.
    fn prepare_answer(
        &mut self,
        now: Instant,
        i: usize,
        offer: &SessionDescription,
    ) -> Result<(Opening, MediaPort), (SessionFailure, u16)> {
        let theirs = offer.ike.addr.ip();
        let family = || (SessionFailure::Sdp(SdpError::AddressFamily), SdpError::AddressFamily.status());
        let line = self.tunnels[i].config().local_number;
        let wan = self.carriers.of_line(line).wan().towards(theirs).ok_or_else(family)?;
        let port = self.ports.take(now).ok_or((SessionFailure::NoMediaPort, 486))?;
        self.open_answer(now, i, offer, SocketAddr::new(wan, port.0))
            .map(|opening| (opening, port))
            .inspect_err(|_| {
                self.ports.put_back(port);
            })
    }

    fn open_answer(
        &mut self,
        now: Instant,
        i: usize,
        offer: &SessionDescription,
        local: SocketAddr,
    ) -> Result<Opening, (SessionFailure, u16)> {
        let mut ours = self.our_media(i, local, IkeSetup::Passive).map_err(|f| (f, 403))?;
        let agreed = sdp::negotiate_answering(&offer.ike, &ours)
            .map_err(|e| (SessionFailure::Sdp(e.clone()), e.status()))?;
        ours.setup = Some(agreed.role.setup());
        let media = CallMedia::new(local, &agreed);
        // Another key than ours, announced in SDP, is found before the call is answered and so before it costs anything.
        let endpoint = self.endpoint(now, i, &media).map_err(|f| {
            let about_sdp = matches!(f, SessionFailure::Ike(_) | SessionFailure::WeakFingerprint);
            let status = if about_sdp { 488 } else { 403 };
            (f, status)
        })?;
        let answer = SessionDescription::new(u64::from(self.entropy.u32()), ours).answering(offer);
        Ok(Opening { media, answer, endpoint })
    }
}

fn shown(caller: Caller) -> String {
    match caller {
        Caller::Asserted(n) => n.to_string(),
        Caller::Anonymous => "anonymous".into(),
        Caller::Unidentified => "unidentified".into(),
    }
}
