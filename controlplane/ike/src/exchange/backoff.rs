//! When to send a request again (RFC 7296 §2.1, §2.4).

use crate::config::Retransmit;
use core::time::Duration;
use sipsec_net::Instant;

/// Transmissions to a peer that is heard, and does not answer.
const TRIES_ALIVE_MAX: u32 = 12;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    first_at: Instant,
    next_at: Instant,
    wait: Duration,
    sent: u32,
    policy: Retransmit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Retry {
    NotYet,
    Send,
    GiveUp,
}

impl Backoff {
    /// The first transmission is now.
    pub fn start(now: Instant, policy: &Retransmit) -> Self {
        let wait = policy.first.min(policy.wait_max);
        Self { first_at: now, next_at: now + wait, wait, sent: 1, policy: *policy }
    }

    pub const fn next_at(&self) -> Instant {
        self.next_at
    }

    pub const fn sent(&self) -> u32 {
        self.sent
    }

    pub fn waited(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.first_at)
    }

    /// `last_heard`: of a peer with which an SA is up. If that is after the first transmission, it lives, and is not given
    /// up so soon (RFC 7296 §2.4).
    pub fn poll(&mut self, now: Instant, last_heard: Option<Instant>) -> Retry {
        if now < self.next_at {
            return Retry::NotYet;
        }
        let lives = last_heard.is_some_and(|at| at > self.first_at);
        let tries_max = self.policy.tries_max;
        let tries_max = if lives { tries_max.max(TRIES_ALIVE_MAX) } else { tries_max };
        if self.sent >= tries_max {
            return Retry::GiveUp;
        }
        self.sent += 1;
        self.wait = (self.wait.saturating_mul(self.policy.growth_percent) / 100).min(self.policy.wait_max);
        self.next_at = now + self.wait;
        Retry::Send
    }

    /// A hint that the answer will not come: no more than `more` further transmissions.
    pub fn limit(&mut self, more: u32) {
        self.policy.tries_max = self.policy.tries_max.min(self.sent + more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_bound_and_end() {
        let policy = Retransmit::default();
        let mut b = Backoff::start(Instant::ZERO, &policy);
        let mut waits = vec![b.next_at().saturating_duration_since(Instant::ZERO).as_millis()];
        loop {
            let now = b.next_at();
            assert_eq!(b.poll(now - Duration::from_nanos(1), None), Retry::NotYet);
            match b.poll(now, None) {
                Retry::Send => waits.push(b.next_at().saturating_duration_since(now).as_millis()),
                _ => break,
            }
        }
        assert_eq!(waits, [500, 900, 1620, 2916, 5000, 5000]);
        assert_eq!(b.sent(), 6);
    }
}
