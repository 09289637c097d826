//! How sessions end: always with the call hung up, the SAs gone, and a reason if there is one.

use crate::core::{Core, Pending};
use crate::failure::SessionFailure;
use crate::output::{EventKind, Output};
use crate::state::{Draining, Lingering, Stage, State};
use sipsec_ike::{CloseCause, Endpoint, Output as IkeOutput};
use sipsec_net::Instant;
use sipsec_net::dp::Op;
use sipsec_sip::CallFailure;
use std::time::Duration;

/// How long a peer that deleted IKE may take to say BYE before we do.
const PEER_BYE: Duration = Duration::from_millis(500);

/// Who says BYE.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bye {
    Us,
    /// It has been said.
    Nobody,
    /// The peer, in a moment; else we.
    Peer,
}

/// The media port stays open this long after the end, with no SA, so that both sides' DELETE and its answer pass by it:
/// behind a SIP peer may be an IKE peer that knows of no BYE.
const MEDIA_LINGER: Duration = Duration::from_millis(200);
/// And this long while our DELETE is not answered: two repetitions (`sipsec_ike::Retransmit`). The next call does not wait
/// for that.
const MEDIA_LINGER_MAX: Duration = Duration::from_secs(2);
/// The longest pause that a `Retry-After` can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Longer than timer F (RFC 3261 §17.1.2.2: 32 s): a BYE that nobody has answered by then is SIP's business alone.
const DRAIN_MAX: Duration = Duration::from_secs(40);
/// After the peer was busy calling us, how long its call may take to come.
const GIVE_WAY: Duration = Duration::from_secs(1);

/// A session that is up for this long has succeeded, and what failed before it does not count any more. One that ends
/// sooner must not bring the next paid call at once: with packets waiting, that would go on for ever.
const SUCCESS: Duration = Duration::from_secs(60);
/// Whoever hangs up a tunnel that has carried nothing for this long does what tunnels are for: its idle timer is shorter
/// than ours. Longer than the last that is known of the dataplane may be old.
const QUIET: Duration = Duration::from_secs(2);

impl Core {
    /// Ends a session for a reason that someone should hear of.
    pub(crate) fn fail(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let cause = match failure {
            SessionFailure::Deadline { .. } => CloseCause::Deadline,
            SessionFailure::HardLimit => CloseCause::HardLimit,
            _ => CloseCause::CallEnded,
        };
        self.hang_up(now, i, cause);
        self.failed(now, i, failure);
    }

    /// What it means that the peer ends the session now, if that is no way to end one.
    pub(crate) fn ended_early(&mut self, now: Instant, i: usize) -> Option<SessionFailure> {
        let t = &mut self.tunnels[i];
        let State::Up(up) = &t.state else { return None };
        let lasted = now.saturating_duration_since(up.since);
        if now.saturating_duration_since(up.last_data()) >= QUIET.min(t.config.idle / 2) {
            t.failures = 0;
            return None;
        }
        (lasted < SUCCESS).then_some(SessionFailure::PeerEndedEarly { lasted })
    }

    /// Once it may be an operator at the other end, or a restart: what waits may call at once. Again, it is a failure like
    /// any other.
    pub(crate) fn failed_early(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let t = &mut self.tunnels[i];
        if t.failures > 0 {
            return self.failed(now, i, failure);
        }
        t.failures = 1;
        t.last_failure = Some((now, failure.clone()));
        self.event(Some(i), EventKind::Failed { failure, retry_in: Duration::ZERO });
    }

    /// Remembers the failure and lets no packet trigger for a while.
    pub(crate) fn failed(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        if !failure.is_lasting() {
            self.tunnels[i].last_failure = Some((now, failure.clone()));
            self.tunnels[i].phase(now, "failed");
            self.event(Some(i), EventKind::Failed { failure, retry_in: Duration::ZERO });
            return self.flush_trigger(i);
        }
        let back_off = self.config.back_off;
        let t = &mut self.tunnels[i];
        let doubled = back_off.first * 2u32.pow(t.failures.min(16));
        let mut wait = doubled.min(back_off.max);
        if let SessionFailure::Call(CallFailure::Status { status, retry_after_s: Some(s), .. }) = &failure {
            // RFC 3261 §20.33: not before; but a carrier does not silence a branch for good.
            let asked = Duration::from_secs((*s).into()).min(RETRY_AFTER_MAX);
            wait = wait.max(asked);
            if *status == 503 {
                let until = now + asked + self.jitter(asked / 4);
                self.carrier_quiet_until = self.carrier_quiet_until.max(Some(until));
            }
        }
        let t = &mut self.tunnels[i];
        t.failures += 1;
        t.gave_way = false;
        t.last_failure = Some((now, failure.clone()));
        // X30: many sites must not come back in the same second.
        let wait = wait + self.jitter(wait / 4);
        let t = &mut self.tunnels[i];
        t.retry_at = Some(now + wait);
        t.phase(now, "failed");
        self.event(Some(i), EventKind::Failed { failure, retry_in: wait });
        self.flush_trigger(i);
    }

    /// If the peer's own call is on its way, what waits may wait for it. If it does not come we call again.
    pub(crate) fn give_way(&mut self, now: Instant, i: usize) {
        let wait = GIVE_WAY + self.jitter(GIVE_WAY / 2);
        let t = &mut self.tunnels[i];
        t.gave_way = true;
        t.retry_at = Some(now + wait);
        self.event(Some(i), EventKind::PeerBusy);
    }

    fn jitter(&mut self, max: Duration) -> Duration {
        let millis = u32::try_from(max.as_millis()).unwrap_or(u32::MAX);
        Duration::from_millis(self.entropy.below(millis).into())
    }

    /// Hangs up: IKE DELETE and BYE at once, neither waits for the other or for an answer.
    pub(crate) fn hang_up(&mut self, now: Instant, i: usize, cause: CloseCause) {
        let Some(leg) = self.tunnels[i].state.leg() else { return };
        let kind = if leg.answered_at.is_some() { EventKind::ByeSent } else { EventKind::CallGivenUp };
        self.event(Some(i), kind);
        self.end(now, i, cause, Bye::Us);
    }

    /// SIP has ended the call already.
    pub(crate) fn over(&mut self, now: Instant, i: usize, cause: CloseCause) {
        self.end(now, i, cause, Bye::Nobody);
    }

    /// The peer closed IKE: its BYE is on the way. Two BYEs that cross would make one of them unknown to the carrier.
    pub(crate) fn peer_closed(&mut self, now: Instant, i: usize, cause: CloseCause) {
        self.end(now, i, cause, Bye::Peer);
    }

    fn end(&mut self, now: Instant, i: usize, cause: CloseCause, bye: Bye) {
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
                    self.tunnels[i].failures = 0;
                }
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
        let mut draining = Draining {
            call: Some(leg.call.id()),
            media: None,
            bye_at: None,
            leave_at: now + DRAIN_MAX,
            cause,
            lasted: leg.answered_at.map(|at| now.saturating_duration_since(at)),
        };
        match endpoint.filter(|_| media_open) {
            Some(mut endpoint) => {
                endpoint.close(now, cause);
                let (rest_at, give_up_at) = (now + MEDIA_LINGER, now + MEDIA_LINGER_MAX);
                let mut media = Box::new(Lingering { port: leg.media_port, rest_at, give_up_at, endpoint });
                self.last_words(&mut media);
                if self.tunnels[i].trigger.is_some() || self.stopping() {
                    media.hurry();
                }
                draining.media = Some(media);
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
            Bye::Us => self.ua.hang_up(now, leg.call),
            Bye::Nobody => leg.call.ended(),
            Bye::Peer => draining.bye_at = Some((now + PEER_BYE, leg.call)),
        }
        self.set_state(i, State::Draining(draining));
    }

    /// IKE's DELETE and its answers to the peer's. Whatever else the endpoint may say comes too late.
    fn last_words(&mut self, media: &mut Lingering) {
        while let Some(output) = media.endpoint.poll_output() {
            if let IkeOutput::Transmit(bytes) = output {
                self.out.push_back(Output::IkeTransmit { media_port: media.port, bytes });
            }
        }
    }

    pub(crate) fn keep_lingering(&mut self, i: usize, mut media: Box<Lingering>) {
        self.last_words(&mut media);
        if let State::Draining(d) = &mut self.tunnels[i].state {
            d.media = Some(media);
        }
    }

    fn close_media(&mut self, now: Instant, media: &Lingering) {
        self.transact(vec![Op::MediaClose(media.port)], Pending::Cleanup);
        self.ports.give(now, media.port);
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

    /// The tunnel is free. Whatever SIP still has to do for the last call, it does by itself.
    pub(crate) fn leave(&mut self, now: Instant, i: usize) {
        if !matches!(self.tunnels[i].state, State::Draining(_)) {
            return;
        }
        let State::Draining(d) = std::mem::replace(&mut self.tunnels[i].state, State::Ready) else { return };
        if let Some(media) = d.media {
            self.close_media(now, &media);
        }
        if let Some((_, call)) = d.bye_at {
            self.event(Some(i), EventKind::ByeSent);
            self.ua.hang_up(now, call);
        }
        if let Some(call) = d.call {
            self.calls.remove(&call);
        }
        self.event(Some(i), EventKind::CallEnded { lasted: d.lasted, cause: d.cause });
    }

    pub(crate) fn session_due(&mut self, now: Instant, i: usize) {
        if self.tunnels[i].retry_at.is_some_and(|at| at <= now) {
            self.tunnels[i].retry_at = None;
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
                    self.event(Some(i), EventKind::ByeSent);
                    self.ua.hang_up(now, call);
                }
            }
            State::Draining(d) if d.media.as_ref().is_some_and(|m| m.close_at() <= now) => {
                if let Some(media) = d.media.take() {
                    self.close_media(now, &media);
                }
                self.drained(now, i);
            }
            State::Draining(d) if d.media.as_ref().is_some_and(|m| m.due() <= now) => {
                if let Some(mut media) = d.media.take() {
                    media.endpoint.handle_timeout(now);
                    self.keep_lingering(i, media);
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
