//! How sessions end: always with the call hung up, the SAs gone, and a reason if there is one.

use crate::brake::Braking;
use crate::core::{Core, Pending};
use crate::failure::SessionFailure;
use crate::ledger::{Carried, EndReason};
use crate::output::{EventKind, Output};
use crate::state::{Draining, LINGER_MAX, Lingering, Listening, Stage, State};
use sipsec_ike::{CloseCause, Endpoint, IkeError};
use sipsec_net::Instant;
use sipsec_net::dp::Op;
use sipsec_sip::CallFailure;
use std::time::Duration;

/// How long a peer that deleted IKE may take to say BYE before we do.
const PEER_BYE: Duration = Duration::from_millis(500);
/// How long our refusal in IKE has to arrive before our BYE ends everything that the peer listens to.
const REFUSAL_HEARD: Duration = Duration::from_millis(200);
/// After a BYE of the peer during the negotiation, how long its reason may take to come by IKE.
const REASON_MAX: Duration = Duration::from_millis(500);

/// Which side says BYE, and when.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bye {
    Now,
    /// It has been said.
    Done,
    /// The peer, within this time; else we.
    Within(Duration),
}

/// The longest pause that a `Retry-After` can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// A session waits this long for the end of a call that was not answered: longer than 64·T1 (RFC 3261 §17.1.1.2: 32 s).
const DRAIN_MAX: Duration = Duration::from_secs(40);
/// After the peer was busy calling us, how long its call may take to come.
const GIVE_WAY: Duration = Duration::from_secs(1);

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

    fn succeeded(&mut self, i: usize) {
        self.tunnels[i].brake.reset();
        self.braked.insert(i);
    }

    /// The first time it may be an operator at the other end, or a restart: what waits may call at once. Again, it is a
    /// failure like any other.
    pub(crate) fn failed_early(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let back_off = self.config.back_off;
        let t = &mut self.tunnels[i];
        if t.brake.failures() > 0 {
            return self.failed(now, i, failure);
        }
        t.brake.failed(now, Braking::OwnFault, &back_off);
        t.last_failure = Some((now, failure.clone()));
        self.braked.insert(i);
        self.event(Some(i), EventKind::Failed { failure, retry_in: Duration::ZERO });
    }

    /// Remembers the failure and lets no packet trigger for a while.
    pub(crate) fn failed(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let back_off = self.config.back_off;
        let t = &mut self.tunnels[i];
        let mut wait = t.brake.failed(now, failure.braking(), &back_off);
        t.last_failure = Some((now, failure.clone()));
        t.phase(now, "failed");
        self.braked.insert(i);
        if let SessionFailure::Call(CallFailure::Status { status, retry_after_s: Some(s), .. }) = &failure {
            // RFC 3261 §20.33: not before; but a carrier does not silence a branch for good.
            let asked = Duration::from_secs((*s).into()).min(RETRY_AFTER_MAX);
            wait = wait.max(asked);
            if *status == 503 {
                let until = now + asked + self.jitter(asked / 4);
                self.carrier_quiet_until = self.carrier_quiet_until.max(Some(until));
            }
        }
        if wait > Duration::ZERO {
            // Many sites must not come back in the same second.
            wait += self.jitter(wait / 4);
            let t = &mut self.tunnels[i];
            t.gave_way = false;
            t.brake.hold(now + wait);
        }
        self.event(Some(i), EventKind::Failed { failure, retry_in: wait });
        self.flush_trigger(i);
    }

    /// If the peer's own call is on its way, what waits may wait for it. If it does not come we call again.
    pub(crate) fn give_way(&mut self, now: Instant, i: usize) {
        let wait = GIVE_WAY + self.jitter(GIVE_WAY / 2);
        let t = &mut self.tunnels[i];
        t.gave_way = true;
        t.brake.hold(now + wait);
        self.event(Some(i), EventKind::PeerBusy);
    }

    fn jitter(&mut self, max: Duration) -> Duration {
        let millis = u32::try_from(max.as_millis()).unwrap_or(u32::MAX);
        Duration::from_millis(self.entropy.below(millis).into())
    }

    /// Hangs up: IKE DELETE and BYE at once, neither waits for the other or for an answer.
    pub(crate) fn hang_up(&mut self, now: Instant, i: usize, cause: CloseCause) {
        self.hang_up_because(now, i, cause, EndReason::Closed(cause), Bye::Now);
    }

    fn hang_up_because(&mut self, now: Instant, i: usize, cause: CloseCause, reason: EndReason, bye: Bye) {
        let Some(leg) = self.tunnels[i].state.leg() else { return };
        if leg.answered_at.is_none() {
            self.event(Some(i), EventKind::CallGivenUp);
        } else if bye == Bye::Now && self.wan.is_some() {
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
                if matches!(cause, CloseCause::Idle | CloseCause::Admin) || u.since + SUCCESS <= now {
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
            self.transact(ops, Pending::Cleanup);
        }
        self.stirred.remove(&i);
        match bye {
            Bye::Now => self.say_bye(now, leg.call, told),
            Bye::Done => leg.call.ended(),
            Bye::Within(time) => draining.bye_at = Some((now + time, leg.call)),
        }
        self.set_state(i, State::Draining(draining));
        let waits = self.tunnels[i].trigger.is_some() || self.stopping();
        if let Some(mut media) = self.take_lingering(i) {
            if waits {
                media.hurry();
            }
            self.keep_lingering(now, i, media);
        }
    }

    fn say_bye(&mut self, now: Instant, call: sipsec_sip::Call, told: sipsec_sip::Reason) {
        self.note_bye(now, call.id());
        self.ua.hang_up_because(now, call, told);
    }

    /// The BYE that had to wait.
    fn say_late_bye(&mut self, now: Instant, i: usize, call: sipsec_sip::Call) {
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

    // ---- the media port's last moment ----

    /// The peer said BYE while IKE was being negotiated: what it had against us comes by IKE at the same time, perhaps a
    /// little later. The media port is open for that, and IKE goes on.
    pub(crate) fn ask_ike_why(&mut self, now: Instant, i: usize, said: Option<String>) {
        let State::Negotiating(n) = &mut self.tunnels[i].state else { return };
        let call = n.leg.call.id();
        let evidence = std::mem::take(&mut n.evidence);
        let listens = n.media.open && n.installing.is_none();
        let failure = SessionFailure::PeerHungUp { said, evidence: Some(Box::new(evidence)) };
        if !listens {
            self.over(now, i, EndReason::Failed(failure.clone()));
            return self.failed(now, i, failure);
        }
        let State::Negotiating(n) = std::mem::replace(&mut self.tunnels[i].state, State::Ready) else {
            return;
        };
        let port = n.leg.media_port;
        n.leg.call.ended();
        self.stirred.remove(&i);
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.reason_open = true;
        }
        let until = now + REASON_MAX;
        let mut media = Lingering::new(port, n.endpoint, now);
        media.listening = Some(Listening { call, until, otherwise: failure });
        let draining = Draining { call: None, media: None, bye_at: None, leave_at: now + DRAIN_MAX };
        self.set_state(i, State::Draining(draining));
        self.keep_lingering(now, i, Box::new(media));
    }

    pub(crate) fn take_lingering(&mut self, i: usize) -> Option<Box<Lingering>> {
        match &mut self.tunnels[i].state {
            State::Draining(d) => d.media.take(),
            _ => None,
        }
    }

    /// What a lingering endpoint still says: DELETE, its answers to the peer's, and, if the session listens for it, why
    /// the negotiation failed.
    pub(crate) fn keep_lingering(&mut self, now: Instant, i: usize, mut media: Box<Lingering>) {
        let mut reason = None;
        let mut closed = false;
        while let Some(output) = media.endpoint.poll_output() {
            match output {
                sipsec_ike::Output::Transmit(bytes) => {
                    self.out.push_back(Output::IkeTransmit { media_port: media.port, bytes });
                }
                sipsec_ike::Output::Compute(job, work) if media.listening.is_some() => {
                    let tunnel = self.tunnels[i].config.id();
                    let key = crate::input::ComputeKey { tunnel, media_port: media.port, job };
                    self.out.push_back(Output::Compute { key, established: false, job: work });
                }
                sipsec_ike::Output::Event(sipsec_ike::Event::Failed(error)) => reason = Some(error),
                sipsec_ike::Output::Event(
                    sipsec_ike::Event::Closed(_) | sipsec_ike::Event::ChildSaUp { .. },
                ) => closed = true,
                _ => {}
            }
        }
        let over = |l: &mut Listening| reason.is_some() || closed || l.until <= now;
        let Some(listening) = media.listening.take_if(over) else {
            if let State::Draining(d) = &mut self.tunnels[i].state {
                d.media = Some(media);
            }
            return;
        };
        let failure = reason.map_or(listening.otherwise, SessionFailure::Ike);
        media.close(now);
        self.keep_lingering(now, i, media);
        self.reason_known(now, i, listening.call, failure);
    }

    fn reason_known(&mut self, now: Instant, i: usize, call: sipsec_sip::CallId, failure: SessionFailure) {
        self.note_reason(call, EndReason::Failed(failure.clone()));
        if let Some(ledger) = self.calls.get_mut(&call) {
            ledger.reason_open = false;
        }
        self.failed(now, i, failure);
        self.close_ledger(now, call);
    }

    fn close_media(&mut self, now: Instant, i: usize, media: Lingering) {
        self.transact(vec![Op::MediaClose(media.port)], Pending::Cleanup);
        self.ports.give(now, media.port);
        self.stop_listening(now, i, media);
    }

    /// The media port is gone, so no reason comes by it any more.
    pub(crate) fn stop_listening(&mut self, now: Instant, i: usize, media: Lingering) {
        if let Some(l) = media.listening {
            self.reason_known(now, i, l.call, l.otherwise);
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

    pub(crate) fn session_due(&mut self, now: Instant, i: usize) {
        if self.tunnels[i].brake.retry_at().is_some_and(|at| at <= now) {
            self.tunnels[i].brake.release();
            self.release_trigger(now, i);
        }
        if let Some(call) = self.tunnels[i].overdue(now) {
            self.bye_overdue(now, call);
        }
        if self.tunnels[i].hold_is_over(now) {
            self.release_trigger(now, i);
        }
        if self.tunnels[i].state.endpoint().and_then(Endpoint::poll_timeout).is_some_and(|at| at <= now) {
            self.stir(i, |e| e.handle_timeout(now));
        }
        let tunnel = self.tunnels[i].config.id();
        match &mut self.tunnels[i].state {
            State::Dialing(d) if d.give_up_at <= now => {
                let failure = match &d.stage {
                    Stage::Inviting { .. } => SessionFailure::OnlyRings,
                    Stage::Opening(o) if o.media.next_hop.is_none() => SessionFailure::NoNextHop,
                    Stage::Opening(_) => SessionFailure::DataplaneSilent,
                };
                self.fail(now, i, failure);
            }
            State::Negotiating(n) if n.deadline <= now => {
                let waited = self.config.ike.negotiation_deadline;
                let evidence = n.evidence.clone();
                self.fail(now, i, SessionFailure::Deadline { waited, evidence });
            }
            State::Up(u) if u.over_limit(now) => self.fail(now, i, SessionFailure::HardLimit),
            State::Up(u) if u.release.is_some_and(|(at, _)| at <= now) => self.release_waiting(i),
            State::Up(u) if u.wants_activity(now) => {
                u.asked(now);
                self.out.push_back(Output::QueryActivity(tunnel));
            }
            State::Draining(d) if d.bye_at.as_ref().is_some_and(|(at, _)| *at <= now) => {
                if let Some((_, call)) = d.bye_at.take() {
                    self.say_late_bye(now, i, call);
                }
            }
            State::Draining(d) if d.media.as_ref().is_some_and(|m| m.close_at() <= now) => {
                if let Some(media) = d.media.take() {
                    self.close_media(now, i, *media);
                }
                self.drained(now, i);
            }
            State::Draining(d) if d.media.as_ref().is_some_and(|m| m.due() <= now) => {
                if let Some(mut media) = d.media.take() {
                    media.endpoint.handle_timeout(now);
                    self.keep_lingering(now, i, media);
                }
            }
            State::Draining(d) if d.leave_at <= now => {
                self.leave(now, i);
                self.release_trigger(now, i);
            }
            _ => {}
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
