//! RFC 8415 §15: when a message is repeated.

use sipsec_net::{Entropy, Instant};
use std::time::Duration;

/// Initial and maximum time, and the most transmissions (0 for no end), of one kind of message (§7.6).
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub initial: Duration,
    pub max: Duration,
    pub tries_max: u32,
}

pub const SOLICIT: Timing = timing(1, 3600, 0);
pub const REQUEST: Timing = timing(1, 30, 10);
pub const RENEW: Timing = timing(10, 600, 0);
pub const REBIND: Timing = timing(10, 600, 0);
pub const INFORMATION: Timing = timing(1, 3600, 0);

const fn timing(initial_s: u64, max_s: u64, tries_max: u32) -> Timing {
    Timing { initial: Duration::from_secs(initial_s), max: Duration::from_secs(max_s), tries_max }
}

/// The state of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Retransmit {
    timing: Timing,
    last: Option<Duration>,
    tries: u32,
}

impl Retransmit {
    pub const fn new(timing: Timing) -> Self {
        Self { timing, last: None, tries: 0 }
    }

    pub const fn tries(self) -> u32 {
        self.tries
    }

    pub const fn exhausted(self) -> bool {
        self.timing.tries_max != 0 && self.tries >= self.timing.tries_max
    }

    /// When the message that leaves now is repeated. `first_longer` keeps the first random factor positive, as §18.2.1
    /// wants for Solicit.
    pub fn next(&mut self, now: Instant, first_longer: bool, entropy: &mut dyn Entropy) -> Instant {
        // RAND is between −0.1 and +0.1, here in thousandths.
        let rand = i64::from(entropy.below(201)) - 100;
        let factor = |base: Duration, milli: i64| {
            base.saturating_mul(u32::try_from(milli.max(1)).unwrap_or(u32::MAX)) / 1000
        };
        let next = match self.last {
            None if first_longer => factor(self.timing.initial, 1000 + rand.abs().max(1)),
            None => factor(self.timing.initial, 1000 + rand),
            Some(last) => {
                let doubled = factor(last, 2000 + rand);
                if doubled > self.timing.max { factor(self.timing.max, 1000 + rand) } else { doubled }
            }
        };
        self.tries += 1;
        self.last = Some(next);
        now + next
    }
}
