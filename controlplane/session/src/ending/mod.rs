//! How sessions end: always with the call hung up, the SAs gone, and a reason if there is one.

mod back_off;
mod lingering;
mod timers;

use crate::core::{Core, Dataplane, Pending};
use crate::failure::SessionFailure;
use crate::ledger::{Carried, EndReason};
use crate::output::EventKind;
use crate::state::{Draining, LINGER_MAX, Lingering, Stage, State};
use sipsec_ike::{CloseCause, IkeError};
use sipsec_net::dp::Op;
use sipsec_net::{Instant, TunnelId};
use std::time::Duration;

/// How long a peer that deleted IKE may take to say BYE before we do.
const PEER_BYE: Duration = Duration::from_millis(500);
/// How long our refusal in IKE has to arrive before our BYE ends everything that the peer listens to.
const REFUSAL_HEARD: Duration = Duration::from_millis(200);
/// A session waits this long for the end of a call that was not answered: longer than 64·T1 (RFC 3261 §17.1.1.2: 32 s).
const DRAIN_MAX: Duration = Duration::from_secs(40);

/// A session that is up for this long has succeeded, and what failed before it does not count any more. One that ends
/// sooner must not bring the next paid call at once: with packets waiting, that would go on for ever.
pub(crate) const SUCCESS: Duration = Duration::from_secs(60);
/// A hang-up of the peer after this much silence counts as the end of its idle time, which is shorter than ours. Longer
/// than the age of what is known of the dataplane.
const QUIET: Duration = Duration::from_secs(2);

/// Which side says BYE, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bye {
    Now,
    /// It has been said.
    Done,
    /// The peer, within this time; else we.
    Within(Duration),
}

impl Core {
    /// Ends a session for a reason that is told.
    pub(crate) fn fail(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let cause = match failure {
            SessionFailure::Deadline { .. } => CloseCause::Deadline,
            SessionFailure::HardLimit => CloseCause::HardLimit,
            _ => CloseCause::CallEnded,
        };
        // The other side learns the reason by IKE, if our BYE leaves it the time.
        let answered = self.tunnels[i].state.leg().is_some_and(|l| l.answered_at.is_some());
        let bye = match &failure {
            SessionFailure::Ike(error) if answered && we_refuse(error) => Bye::Within(REFUSAL_HEARD),
            _ => Bye::Now,
        };
        self.hang_up_because(now, i, cause, EndReason::Failed(failure.clone()), bye);
        self.failed(now, i, failure);
    }

    /// What it means that the peer ends the session now, if that is no way to end one.
    pub(crate) fn ended_early(
        &mut self,
        now: Instant,
        i: usize,
        said: Option<&str>,
    ) -> Option<SessionFailure> {
        let t = &mut self.tunnels[i];
        let State::Up(up) = &t.state else { return None };
        let lasted = now.saturating_duration_since(up.since);
        if now.saturating_duration_since(up.last_data()) >= QUIET.min(t.config.idle / 2) {
            self.succeeded(i);
            return None;
        }
        let said = said.map(str::to_owned);
        (lasted < SUCCESS).then_some(SessionFailure::PeerEndedEarly { lasted, said })
    }

    /// Hangs up: IKE DELETE and BYE at once, neither waits for the other or for an answer.
    pub(crate) fn hang_up(&mut self, now: Instant, i: usize, cause: CloseCause) {
        self.hang_up_because(now, i, cause, EndReason::Closed(cause), Bye::Now);
    }

    fn hang_up_because(&mut self, now: Instant, i: usize, cause: CloseCause, reason: EndReason, bye: Bye) {
        let Some(leg) = self.tunnels[i].state.leg() else { return };
        if leg.answered_at.is_none() {
            self.event(Some(i), EventKind::CallGivenUp);
        } else if bye == Bye::Now && self.wan.any().is_some() {
            self.event(Some(i), EventKind::ByeSent);
        }
        self.end(now, i, cause, reason, bye);
    }

    /// SIP has ended the call already.
    pub(crate) fn over(&mut self, now: Instant, i: usize, reason: EndReason) {
        self.end(now, i, CloseCause::CallEnded, reason, Bye::Done);
    }

    /// IKE has ended by itself.
    pub(crate) fn closed(&mut self, now: Instant, i: usize, cause: CloseCause, reason: EndReason) {
        self.hang_up_because(now, i, cause, reason, Bye::Now);
    }

    /// The peer closed IKE: its BYE is on the way. Two BYEs that cross would make one of them unknown to the carrier.
    pub(crate) fn peer_closed(&mut self, now: Instant, i: usize, cause: CloseCause, reason: EndReason) {
        self.end(now, i, cause, reason, Bye::Within(PEER_BYE));
    }

    fn end(&mut self, now: Instant, i: usize, cause: CloseCause, reason: EndReason, bye: Bye) {
        let tunnel = self.tunnels[i].config.id();
        let mut ops = Vec::new();
        let (leg, media_open, endpoint) = match std::mem::replace(&mut self.tunnels[i].state, State::Ready) {
            State::Dialing(d) => {
                let asked = matches!(&d.stage, Stage::Opening(o) if o.media.asked);
                (d.leg, asked, None)
            }
            State::Negotiating(n) => {
                let asked = n.media.asked;
                // SAs that are on their way in would otherwise stay.
                if let Some((_, sas)) = n.installing {
                    ops.extend([
                        Op::TunnelUnbind(tunnel),
                        Op::SaRemove(sas.inbound),
                        Op::SaRemove(sas.outbound),
                    ]);
                }
                (n.leg, asked, Some(n.endpoint))
            }
            State::Up(u) => {
                // A session that nothing ever came through has not succeeded, however long it was up.
                let deaf = matches!(&reason, EndReason::Failed(SessionFailure::OneWay { .. }))
                    && u.carried().packets_in == 0;
                let long = matches!(cause, CloseCause::Idle | CloseCause::Admin) || u.since + SUCCESS <= now;
                if long && !deaf {
                    self.succeeded(i);
                }
                self.note_carried(u.leg.call.id(), u.carried());
                ops.push(Op::TunnelUnbind(tunnel));
                for sas in u.children.values() {
                    ops.extend([Op::SaRemove(sas.inbound), Op::SaRemove(sas.outbound)]);
                }
                (u.leg, true, Some(u.endpoint))
            }
            other @ (State::Ready | State::Draining(_)) => {
                self.set_state(i, other);
                return;
            }
        };
        let call = leg.call.id();
        let told = reason.told();
        self.note_reason(call, reason);
        let wait = if leg.answered_at.is_some() { self.config.back_off.unconfirmed } else { DRAIN_MAX };
        let mut draining = Draining {
            call: Some(call),
            media: None,
            bye_at: None,
            leave_at: now + wait.clamp(LINGER_MAX, DRAIN_MAX),
        };
        match endpoint.filter(|_| media_open) {
            Some(mut endpoint) => {
                endpoint.close(now, cause);
                draining.media = Some(Box::new(Lingering::new(leg.media_port, endpoint, now)));
            }
            None => {
                if media_open {
                    ops.push(Op::MediaClose(leg.media_port));
                }
                self.ports.give(now, leg.media_port);
            }
        }
        if !ops.is_empty() {
            let carried = ops.iter().any(|op| matches!(op, Op::TunnelUnbind(_)));
            let pending = if carried { self.count_until_removed(tunnel, call) } else { Pending::Cleanup };
            self.transact(ops, pending);
        }
        self.unpumped.remove(&i);
        match bye {
            Bye::Now => self.say_bye(now, leg.call, told),
            Bye::Done => leg.call.ended(),
            Bye::Within(time) => draining.bye_at = Some((now + time, leg.call)),
        }
        self.set_state(i, State::Draining(draining));
        let waits = self.tunnels[i].trigger.is_some() || self.stopping();
        if let Some(mut media) = self.take_lingering(i) {
            if waits {
                media.close_soon();
            }
            self.keep_lingering(now, i, media);
        }
    }

    /// The last packets of a call are those before its SAs are removed.
    fn count_until_removed(&mut self, tunnel: TunnelId, call: sipsec_sip::CallId) -> Pending {
        match self.calls.get_mut(&call) {
            Some(ledger) if self.dataplane != Dataplane::Absent => {
                ledger.counting = true;
                Pending::Counted { tunnel, call }
            }
            _ => Pending::Cleanup,
        }
    }

    fn say_bye(&mut self, now: Instant, call: sipsec_sip::Call, told: sipsec_sip::Reason) {
        self.note_bye(now, call.id());
        self.ua.hang_up_because(now, call, told);
    }

    /// The BYE that had to wait.
    pub(super) fn say_late_bye(&mut self, now: Instant, i: usize, call: sipsec_sip::Call) {
        self.event(Some(i), EventKind::ByeSent);
        let reason = self.calls.get(&call.id()).map(crate::ledger::Ledger::reason);
        let told = reason.unwrap_or(EndReason::Closed(CloseCause::CallEnded)).told();
        self.say_bye(now, call, told);
    }

    fn note_carried(&mut self, call: sipsec_sip::CallId, carried: Carried) {
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.carried = carried;
        }
    }

    /// One of the things that a draining session waits for is done.
    pub(crate) fn drained(&mut self, now: Instant, i: usize) {
        let State::Draining(d) = &mut self.tunnels[i].state else { return };
        if d.call.is_none()
            && let Some((_, call)) = d.bye_at.take()
        {
            call.ended();
        }
        if d.done() {
            self.leave(now, i);
            self.release_trigger(now, i);
        }
    }

    /// The tunnel has no session any more. What SIP still has to do for the last call, it does by itself.
    pub(crate) fn leave(&mut self, now: Instant, i: usize) {
        if !matches!(self.tunnels[i].state, State::Draining(_)) {
            return;
        }
        let State::Draining(d) = std::mem::replace(&mut self.tunnels[i].state, State::Ready) else { return };
        if let Some(media) = d.media {
            self.close_media(now, i, *media);
        }
        if let Some((_, call)) = d.bye_at {
            self.say_late_bye(now, i, call);
        }
    }
}

/// Whether it is this side that refuses, and has just said so to the peer.
const fn we_refuse(error: &IkeError) -> bool {
    use sipsec_ike::Party;
    match error {
        IkeError::NoProposalChosen { by, .. }
        | IkeError::AuthenticationFailed { by }
        | IkeError::NoCommonSignature { by }
        | IkeError::TsUnacceptable { by } => matches!(by, Party::Us),
        IkeError::IdentityMismatch { .. }
        | IkeError::AuthMethodMismatch { .. }
        | IkeError::FingerprintMismatch { .. }
        | IkeError::PskFingerprintMismatch { .. }
        | IkeError::FingerprintMissing
        | IkeError::CertificateRejected { .. }
        | IkeError::PpkMissing
        | IkeError::PpkUnknown { .. }
        | IkeError::UnsupportedCriticalPayload { .. }
        | IkeError::ProtocolViolation(_)
        | IkeError::BadKeyExchange { .. }
        | IkeError::InstallRejected => true,
        _ => false,
    }
}
