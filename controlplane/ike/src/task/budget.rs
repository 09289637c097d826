//! How often the peer may make us compute a key exchange.

use core::time::Duration;
use sipsec_net::Instant;

/// Requests at once: both kinds of rekey, and one more try of each after a collision.
const BURST: u32 = 4;
/// One more after each.
const REFILL: Duration = Duration::from_secs(1);

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    tokens: u32,
    /// When the last token was added.
    filled_at: Instant,
}

impl Budget {
    pub const fn full(now: Instant) -> Self {
        Self { tokens: BURST, filled_at: now }
    }

    pub fn take(&mut self, now: Instant) -> bool {
        while self.tokens < BURST && self.filled_at + REFILL <= now {
            self.tokens += 1;
            self.filled_at = self.filled_at + REFILL;
        }
        if self.tokens == BURST {
            self.filled_at = now;
        }
        let some = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_a_second() {
        let start = Instant::ZERO + Duration::from_secs(9);
        let mut budget = Budget::full(start);
        let mut taken = |at: Duration| (0..10).filter(|_| budget.take(start + at)).count();
        assert_eq!(taken(Duration::ZERO), 4);
        assert_eq!(taken(Duration::from_millis(999)), 0);
        assert_eq!(taken(Duration::from_millis(2500)), 2);
        assert_eq!(taken(Duration::from_secs(1000)), 4);
    }
}
