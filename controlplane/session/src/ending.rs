//! How sessions end: always with the call hung up, the SAs gone, and a reason if there is one.

use crate::core::{Core, Pending};
use crate::failure::SessionFailure;
use crate::output::{EventKind, Output};
use crate::state::{Draining, Leg, Stage, State};
use sipsec_ike::{CloseCause, Endpoint, Output as IkeOutput};
use sipsec_net::Instant;
use sipsec_net::dp::Op;
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

/// The media port stays open this long after the end, so that IKE's DELETE leaves by it.
const MEDIA_LINGER: Duration = Duration::from_millis(200);

impl Core {
    /// Ends a session for a reason that someone should hear of.
    pub(crate) fn fail(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let cause = if matches!(failure, SessionFailure::Deadline { .. }) {
            CloseCause::Deadline
        } else {
            CloseCause::CallEnded
        };
        self.hang_up(now, i, cause);
        self.failed(now, i, failure);
    }

    /// Remembers the failure and lets no packet trigger for a while.
    pub(crate) fn failed(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let back_off = self.config.back_off;
        let t = &mut self.tunnels[i];
        let doubled = back_off.first * 2u32.pow(t.failures.min(16));
        let mut wait = doubled.min(back_off.max);
        if let SessionFailure::Call(sipsec_sip::CallFailure::Status { retry_after_s: Some(s), .. }) = &failure
        {
            // RFC 3261 §20.33: not before; but a carrier does not silence a branch for good.
            wait = wait.max(Duration::from_secs(u64::from(*s).min(3600)));
        }
        t.failures += 1;
        t.last_failure = Some((now, failure.clone()));
        // X30: many sites must not come back in the same second.
        let quarter = u32::try_from(wait.as_millis() / 4).unwrap_or(u32::MAX);
        let jitter = Duration::from_millis(self.entropy.below(quarter).into());
        let t = &mut self.tunnels[i];
        t.retry_at = Some(now + wait + jitter);
        t.phase(now, "failed");
        let tunnel = t.config.id();
        // What waited cannot go; the next packet asks again.
        self.transact(vec![Op::FlushTrigger(tunnel)], Pending::Cleanup);
        self.event(Some(i), EventKind::Failed { failure, retry_in: wait });
    }

    /// Hangs up: IKE DELETE and BYE at once, neither waits for the other or for an answer.
    pub(crate) fn hang_up(&mut self, now: Instant, i: usize, cause: CloseCause) {
        if self.tunnels[i].state.leg().is_none() {
            return;
        }
        self.event(Some(i), EventKind::ByeSent);
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
        let (leg, media_open) = match std::mem::replace(&mut self.tunnels[i].state, State::Ready) {
            State::Dialing(d) => {
                let asked = matches!(&d.stage, Stage::Opening { media, .. } if media.asked);
                (d.leg, asked)
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
                self.close_endpoint(now, &n.leg, n.endpoint, cause);
                (n.leg, asked)
            }
            State::Up(u) => {
                ops.push(Op::TunnelUnbind(tunnel));
                for sas in u.children.values() {
                    ops.extend([Op::SaRemove(sas.inbound), Op::SaRemove(sas.outbound)]);
                }
                self.close_endpoint(now, &u.leg, u.endpoint, cause);
                (u.leg, true)
            }
            other @ (State::Ready | State::Draining(_)) => {
                self.set_state(i, other);
                return;
            }
        };
        // The next packet triggers again.
        ops.push(Op::FlushTrigger(tunnel));
        self.transact(ops, Pending::Cleanup);
        self.stirred.remove(&i);
        if !media_open {
            self.ports.give(now, leg.media_port);
        }
        let answered_at = leg.answered_at;
        let mut draining = Draining {
            call: Some(leg.call.id()),
            media_port: media_open.then_some(leg.media_port),
            close_media_at: media_open.then(|| now + MEDIA_LINGER),
            bye_at: None,
            answered_at,
        };
        match bye {
            Bye::Us => self.ua.hang_up(now, leg.call),
            Bye::Nobody => leg.call.ended(),
            Bye::Peer => draining.bye_at = Some((now + PEER_BYE, leg.call)),
        }
        self.set_state(i, State::Draining(draining));
    }

    fn close_endpoint(&mut self, now: Instant, leg: &Leg, mut endpoint: Endpoint, cause: CloseCause) {
        endpoint.close(now, cause);
        while let Some(output) = endpoint.poll_output() {
            if let IkeOutput::Transmit(bytes) = output {
                self.out.push_back(Output::IkeTransmit { media_port: leg.media_port, bytes });
            }
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
            let lasted = d.answered_at.map(|at| now.saturating_duration_since(at));
            self.set_state(i, State::Ready);
            self.event(Some(i), EventKind::CallEnded { lasted });
            self.release_trigger(i);
        }
    }

    /// A trigger was told to wait; now the dataplane may ask again.
    fn release_trigger(&mut self, i: usize) {
        if self.tunnels[i].trigger_waits && self.tunnels[i].ready() && self.may_dial(i).is_ok() {
            self.tunnels[i].trigger_waits = false;
            let tunnel = self.tunnels[i].config.id();
            self.transact(vec![Op::FlushTrigger(tunnel)], Pending::Cleanup);
        }
    }

    pub(crate) fn release_triggers(&mut self) {
        for i in 0..self.tunnels.len() {
            self.release_trigger(i);
        }
    }

    pub(crate) fn session_due(&mut self, now: Instant, i: usize) {
        if self.tunnels[i].retry_at.is_some_and(|at| at <= now) {
            self.tunnels[i].retry_at = None;
            self.release_trigger(i);
        }
        if self.tunnels[i].state.endpoint().and_then(Endpoint::poll_timeout).is_some_and(|at| at <= now)
            && let Some(endpoint) = self.tunnels[i].state.endpoint_mut()
        {
            endpoint.handle_timeout(now);
            self.stirred.insert(i);
        }
        let tunnel = self.tunnels[i].config.id();
        match &mut self.tunnels[i].state {
            State::Negotiating(n) if n.deadline <= now => {
                let waited = self.config.ike.negotiation_deadline;
                let evidence = n.evidence.clone();
                self.fail(now, i, SessionFailure::Deadline { waited, evidence });
            }
            State::Up(u) if u.over_limit(now) => self.fail(now, i, SessionFailure::HardLimit),
            State::Up(u) if u.due() <= now => {
                u.asked(now);
                self.out.push_back(Output::QueryActivity(tunnel));
            }
            State::Draining(d) if d.bye_at.as_ref().is_some_and(|(at, _)| *at <= now) => {
                if let Some((_, call)) = d.bye_at.take() {
                    self.event(Some(i), EventKind::ByeSent);
                    self.ua.hang_up(now, call);
                }
            }
            State::Draining(d) if d.close_media_at.is_some_and(|at| at <= now) => {
                d.close_media_at = None;
                if let Some(port) = d.media_port.take() {
                    self.transact(vec![Op::MediaClose(port)], Pending::Cleanup);
                    self.ports.give(now, port);
                }
                self.drained(now, i);
            }
            _ => {}
        }
    }
}
