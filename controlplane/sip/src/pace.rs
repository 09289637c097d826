//! How fast new requests leave: a burst, then so many a second (a token bucket).
//!
//! Thousands of calls that are hung up at once, and thousands of lines that register, would fill the buffers of a carrier,
//! be lost, and be repeated in step. Each request takes a turn; turns are handed out in order.

use sipsec_net::Instant;
use std::time::Duration;

/// Requests that may leave at once after a pause.
const BURST: u32 = 20;

#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    /// When all turns that were handed out are used up, at one an interval.
    used_until: Option<Instant>,
}

impl Pace {
    /// `per_s` of 0 counts as 1.
    pub fn new(per_s: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_s.max(1), used_until: None }
    }

    /// The turn of one more request: now, or later.
    pub fn take(&mut self, now: Instant) -> Instant {
        let turn = now + self.wait(now, 0);
        self.used_until = Some(self.used_until.map_or(now, |at| at.max(now)) + self.interval);
        turn
    }

    /// How long the last of so many more requests has to wait for its turn, beside the one that comes first.
    pub fn wait(&self, now: Instant, more: usize) -> Duration {
        let used = self.used_until.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let more = self.interval * u32::try_from(more).unwrap_or(u32::MAX);
        (used + more).saturating_sub(self.interval * (BURST - 1))
    }

    /// Takes back what was handed out: those requests leave from another address, with new turns.
    pub fn reset(&mut self) {
        self.used_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_an_interval() {
        let mut pace = Pace::new(100);
        let start = Instant::ZERO + Duration::from_secs(5);
        let turns: Vec<u128> =
            (0..4096).map(|_| pace.take(start).saturating_duration_since(start).as_millis()).collect();
        assert!(turns[..20].iter().all(|t| *t == 0), "{:?}", &turns[..20]);
        assert_eq!(turns[20..24], [10, 20, 30, 40]);
        assert_eq!(turns.last(), Some(&40_760));
        assert_eq!(pace.wait(start, 0), Duration::from_millis(40_770));
        // After a pause there is a burst again, and no more.
        let later = start + Duration::from_secs(60);
        assert_eq!(pace.wait(later, 19), Duration::ZERO);
        assert_eq!(pace.wait(later, 119), Duration::from_secs(1));
        assert_eq!((0..20).filter(|_| pace.take(later) == later).count(), 20);
        assert!(pace.take(later) > later);
        pace.reset();
        assert_eq!(pace.take(later), later);
    }
}
