//! When the generator may send.

use sipsec_net::Instant;

/// Packets per second, or as many as the device takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    PerSecond(f64),
    Unlimited,
}

/// Counts what is due since the start. Packets that the device did not take stay due, up to [`Pace::BURST`].
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: Rate,
    start: Instant,
    sent: u64,
    /// Packets that were due and are given up: the generator was not scheduled, or the device refused them.
    missed: u64,
}

impl Pace {
    /// A generator that was not scheduled catches up with at most this many packets at once.
    pub const BURST: u64 = 256;

    #[must_use]
    pub const fn new(rate: Rate, start: Instant) -> Self {
        Self { rate, start, sent: 0, missed: 0 }
    }

    /// Packets to send now, at most `batch`.
    pub fn due(&mut self, now: Instant, batch: usize) -> usize {
        let Rate::PerSecond(rate) = self.rate else { return batch };
        let elapsed = now.saturating_duration_since(self.start).as_secs_f64();
        let total = (elapsed * rate) as u64;
        let mut due = total.saturating_sub(self.sent + self.missed);
        if due > Self::BURST {
            self.missed += due - Self::BURST;
            due = Self::BURST;
        }
        usize::try_from(due).unwrap_or(batch).min(batch)
    }

    pub const fn sent(&mut self, n: usize) {
        self.sent += n as u64;
    }

    /// Packets that the rate asked for and that were not sent in time.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_rate_holds_over_any_calls_and_a_pause_is_no_burst_without_a_bound() {
        let at = |ms| Instant::from_nanos(ms * MS);
        let mut pace = Pace::new(Rate::PerSecond(10_000.0), at(0));
        let mut sent = 0;
        for ms in 1..=1000 {
            let n = pace.due(at(ms), 64);
            pace.sent(n);
            sent += n;
        }
        assert_eq!((sent, pace.missed()), (10_000, 0));
        // Not scheduled for 100 ms: 1,000 are due, 256 are sent, in batches.
        let mut late = 0;
        for _ in 0..20 {
            let n = pace.due(at(1100), 64);
            pace.sent(n);
            late += n;
        }
        assert_eq!((late, pace.missed()), (256, 744));
    }

    #[test]
    fn without_a_rate_each_call_gives_a_batch() {
        let mut pace = Pace::new(Rate::Unlimited, Instant::from_nanos(0));
        assert_eq!(pace.due(Instant::from_nanos(0), 64), 64);
    }
}
