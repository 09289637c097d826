//! What the timers of a tunnel do.

use crate::core::Core;
use crate::failure::SessionFailure;
use crate::output::Output;
use crate::state::{Draining, State, Timer};
use sipsec_net::Instant;

impl Core {
    /// Serves the timers of a tunnel that are due. Further steps of its session are served next, as they stay due.
    pub(crate) fn session_due(&mut self, now: Instant, i: usize) {
        let is_due = |core: &Self, timer| core.tunnels[i].timer(timer).is_some_and(|at| at <= now);
        for timer in Timer::INDEPENDENT {
            if is_due(self, timer) {
                self.fire(now, i, timer);
            }
        }
        if let Some(step) = Timer::STEPS.into_iter().find(|step| is_due(self, *step)) {
            self.fire(now, i, step);
        }
    }

    fn fire(&mut self, now: Instant, i: usize, timer: Timer) {
        let t = &mut self.tunnels[i];
        match (timer, t.state()) {
            (Timer::Retry, _) => {
                t.release_brake();
                self.release_trigger(now, i);
            }
            (Timer::Doubt, _) => {
                if let Some(call) = t.doubted() {
                    self.bye_overdue(now, call);
                }
            }
            (Timer::Hold, _) => {
                t.stop_holding();
                self.release_trigger(now, i);
            }
            (Timer::Ike, _) => {
                self.drive(i, |e| e.handle_timeout(now));
            }
            (Timer::Unanswered, State::Dialing(d)) => {
                let failure = d.why_unanswered();
                self.fail(now, i, failure);
            }
            (Timer::Negotiation, State::Negotiating(n)) => {
                let waited = self.config.ike.negotiation_deadline;
                let evidence = n.evidence().clone();
                self.fail(now, i, SessionFailure::Deadline { waited, evidence });
            }
            (Timer::CallMax, _) => self.fail(now, i, SessionFailure::HardLimit),
            (Timer::Release, _) => self.release_waiting(i),
            (Timer::Activity, _) => {
                let tunnel = t.config().id();
                if let Some(up) = t.up() {
                    up.asked(now);
                    self.out.push_back(Output::QueryActivity(tunnel));
                }
            }
            (Timer::LateBye, _) => {
                if let Some(call) = t.draining().and_then(Draining::late_bye) {
                    self.say_late_bye(now, i, call);
                }
            }
            (Timer::CloseMedia, _) => {
                if let Some(media) = t.draining().and_then(Draining::take_media) {
                    self.close_media(now, i, media);
                }
                self.drained(now, i);
            }
            (Timer::Lingering, _) => {
                if let Some(media) = self.lingering(i) {
                    media.endpoint.handle_timeout(now);
                    self.pump_lingering(now, i);
                }
            }
            (Timer::Leave, _) => {
                self.leave(now, i);
                self.release_trigger(now, i);
            }
            // A timer is due in its own state alone.
            _ => {}
        }
    }
}
