//! The timers of a tunnel.

use crate::core::Core;
use crate::failure::SessionFailure;
use crate::output::Output;
use crate::state::{Stage, State};
use sipsec_ike::Endpoint;
use sipsec_net::Instant;

impl Core {
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
            self.drive(i, |e| e.handle_timeout(now));
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
