//! How sessions end: always with the call hung up, the SAs gone, and a reason if there is one.

mod back_off;
mod lingering;
mod timers;

use crate::core::{Core, Dataplane, Pending};
use crate::failure::SessionFailure;
use crate::ledger::{Carried, EndReason};
use crate::output::EventKind;
use crate::state::{Bye, Rest, State};
use sipsec_ike::{CloseCause, IkeError};
use sipsec_net::dp::Op;
use sipsec_net::{Instant, TunnelId};
use std::time::Duration;

/// How long a peer that deleted IKE may take to say BYE before we do.
const PEER_BYE: Duration = Duration::from_millis(500);
/// How long our refusal in IKE has to arrive before our BYE ends everything that the peer listens to.
const REFUSAL_HEARD: Duration = Duration::from_millis(200);

/// A session that is up for this long has succeeded, and what failed before it does not count any more. One that ends
/// sooner must not bring the next paid call at once: with packets waiting, that would go on for ever.
pub(crate) const SUCCESS: Duration = Duration::from_secs(60);
/// A hang-up of the peer after this much silence counts as the end of its idle time, which is shorter than ours. Longer
/// than the age of what is known of the dataplane.
const QUIET: Duration = Duration::from_secs(2);

impl Core {
    /// Ends a session for a reason that is told.
    pub(crate) fn fail(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let cause = match failure {
            SessionFailure::Deadline { .. } => CloseCause::Deadline,
            SessionFailure::HardLimit => CloseCause::HardLimit,
            _ => CloseCause::CallEnded,
        };
        // The other side learns the reason by IKE, if our BYE leaves it the time.
        let answered = self.tunnels[i].state().leg().is_some_and(|l| l.answered_at.is_some());
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
        let State::Up(up) = t.state() else { return None };
        let lasted = now.saturating_duration_since(up.since());
        if now.saturating_duration_since(up.last_data()) >= QUIET.min(t.config().idle / 2) {
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
        let Some(leg) = self.tunnels[i].state().leg() else { return };
        if leg.answered_at.is_none() {
            self.event(Some(i), EventKind::CallGivenUp);
        } else if bye == Bye::Now
            && self.carriers.of_call(leg.call.id()).is_some_and(|c| c.wan().any().is_some())
        {
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
        if let State::Up(u) = self.tunnels[i].state() {
            // A session is worth what it lasted until the peer fell silent, not until that was noticed.
            let until = match &reason {
                EndReason::Failed(SessionFailure::OneWay { .. }) => u.last_in(),
                EndReason::Failed(SessionFailure::Ike(_)) => u.last_heard(),
                _ => now,
            };
            let long = matches!(cause, CloseCause::Idle | CloseCause::Admin) || u.since() + SUCCESS <= until;
            let carried = u.carried();
            if let Some(call) = self.tunnels[i].state().call_id() {
                self.note_carried(call, carried);
            }
            if long {
                self.succeeded(i);
            }
        }
        let unconfirmed =
            self.tunnels[i].state().call_id().map_or(Duration::ZERO, |call| self.unconfirmed_max(call));
        let Some(rest) = self.tunnels[i].end(now, cause, bye, unconfirmed) else { return };
        let Rest { call, bye, port, close_port, sas, bound } = rest;
        let told = reason.told();
        self.note_reason(call, reason);
        let tunnel = self.tunnels[i].config().id();
        let unbind = bound.then_some(Op::TunnelUnbind(tunnel));
        let remove = sas.iter().flat_map(|sas| [Op::SaRemove(sas.inbound), Op::SaRemove(sas.outbound)]);
        let close = (close_port == Some(true)).then_some(Op::MediaClose(port));
        let ops: Vec<_> = unbind.into_iter().chain(remove).chain(close).collect();
        if close_port.is_some() {
            self.release_port(now, port);
        }
        if !ops.is_empty() {
            let pending = if bound { self.count_until_removed(tunnel, call) } else { Pending::Cleanup };
            self.transact(ops, pending);
        }
        self.unpumped.remove(&i);
        if let Some(call) = bye {
            self.say_bye(now, call, told);
        }
        let waits = self.tunnels[i].waits() || self.stopping();
        if waits && let Some(draining) = self.tunnels[i].draining() {
            draining.close_soon();
        }
        self.pump_lingering(now, i);
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
        self.carriers.hang_up_because(now, call, told);
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
        if self.tunnels[i].draining().is_some_and(|d| d.done()) {
            self.leave(now, i);
            self.release_trigger(now, i);
        }
    }

    /// The tunnel has no session any more. What SIP still has to do for the last call, it does by itself.
    pub(crate) fn leave(&mut self, now: Instant, i: usize) {
        let Some((media, late)) = self.tunnels[i].leave() else { return };
        if let Some(media) = media {
            self.close_media(now, i, media);
        }
        if let Some(call) = late {
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
