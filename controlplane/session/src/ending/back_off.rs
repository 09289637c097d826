//! What a failure means for the calls to come.

use crate::brake::Braking;
use crate::core::Core;
use crate::failure::SessionFailure;
use crate::output::EventKind;
use sipsec_net::Instant;
use sipsec_sip::CallFailure;
use std::time::Duration;

/// The longest pause that a `Retry-After` can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// The shortest.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// After the peer was busy calling us, how long its call may take to come.
const GIVE_WAY: Duration = Duration::from_secs(1);

impl Core {
    pub(super) fn succeeded(&mut self, i: usize) {
        self.tunnels[i].succeeded();
        self.braked.insert(i);
    }

    /// The first time it may be an operator at the other end, or a restart: what waits may call at once. Again, it is a
    /// failure like any other.
    pub(crate) fn failed_early(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let back_off = self.carriers.of_line(self.tunnels[i].config().local_number).back_off;
        let t = &mut self.tunnels[i];
        if t.failures() > 0 {
            return self.failed(now, i, failure);
        }
        t.failed(now, failure.clone(), Braking::Passing, &back_off);
        self.braked.insert(i);
        self.event(Some(i), EventKind::Failed { failure, retry_in: Duration::ZERO });
    }

    /// Remembers the failure and lets no packet trigger for a while.
    pub(crate) fn failed(&mut self, now: Instant, i: usize, failure: SessionFailure) {
        let back_off = self.carriers.of_line(self.tunnels[i].config().local_number).back_off;
        let t = &mut self.tunnels[i];
        let mut wait = t.failed(now, failure.clone(), failure.braking(), &back_off);
        t.phase(now, "failed");
        self.braked.insert(i);
        if let SessionFailure::Call(CallFailure::Status { status, retry_after_s: Some(s), .. }) = &failure {
            // RFC 3261 §20.33: no call before `Retry-After`, but at most 1 h. After the first failure `Retry-After` alone decides:
            // a restarting gateway knows when it is ready. After further failures the longer of both decides.
            let asked = Duration::from_secs((*s).into()).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
            wait = if self.tunnels[i].failures() == 1 { asked } else { wait.max(asked) };
            if *status == 503 {
                let until = now + asked + self.jitter(asked / 4);
                let line = self.tunnels[i].config().local_number;
                self.carriers.of_line_mut(line).stay_quiet(until);
            }
        }
        if wait > Duration::ZERO {
            // Many sites must not come back in the same second.
            wait += self.jitter(wait / 4);
            self.tunnels[i].brake_until(now + wait);
        }
        self.event(Some(i), EventKind::Failed { failure, retry_in: wait });
        self.flush_trigger(i);
    }

    /// If the peer's own call is on its way, what waits may wait for it. If it does not come we call again.
    pub(crate) fn give_way(&mut self, now: Instant, i: usize) {
        let wait = GIVE_WAY + self.jitter(GIVE_WAY / 2);
        self.tunnels[i].yield_until(now + wait);
        self.event(Some(i), EventKind::PeerBusy);
    }

    fn jitter(&mut self, max: Duration) -> Duration {
        let millis = u32::try_from(max.as_millis()).unwrap_or(u32::MAX);
        Duration::from_millis(self.entropy.below(millis).into())
    }
}
