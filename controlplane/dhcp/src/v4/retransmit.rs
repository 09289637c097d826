//! When a message is repeated.

use sipsec_net::{Entropy, Instant};
use std::time::Duration;

/// RFC 2131 §4.1: 4, 8, 16, 32, 64 s, each ± 1 s at random.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    const EXPONENT_MAX: u32 = 4;

    pub fn next(&mut self, now: Instant, entropy: &mut dyn Entropy) -> Instant {
        let base = Duration::from_secs(4 << self.tries.min(Self::EXPONENT_MAX));
        self.tries += 1;
        now + base - Duration::from_secs(1) + Duration::from_millis(u64::from(entropy.below(2001)))
    }

    pub const fn tries(self) -> u32 {
        self.tries
    }
}

/// RFC 2131 §4.4.5: half of the time that is left until `end`, at least 60 s, and never past `end`.
pub fn half_way(now: Instant, end: Instant) -> Instant {
    let left = end.saturating_duration_since(now);
    (now + (left / 2).max(Duration::from_secs(60))).min(end)
}
