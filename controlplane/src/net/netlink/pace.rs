//! How often something is polled: at once after a quiet time, and under continuous change so rarely that polling takes no more
//! than a fixed share of a processor.

use std::time::Duration;
use tokio::time::Instant;

/// A poll may take one part in this many of the time.
const SHARE: u32 = 4;

#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two polls, however short they are.
    interval_min: Duration,
    next: Option<Instant>,
}

impl Pace {
    pub const fn new(interval_min: Duration) -> Self {
        Self { interval_min, next: None }
    }

    /// When the next poll may begin; `None` for at once.
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|at| *at > now)
    }

    /// A poll that began at `began` has ended.
    pub fn polled(&mut self, began: Instant, ended: Instant) {
        let took = ended.saturating_duration_since(began);
        self.next = Some(ended + self.interval_min.max(took * (SHARE - 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_poll_is_followed_by_a_long_pause() {
        let (ms, t0) = (Duration::from_millis, Instant::now());
        let mut pace = Pace::new(ms(20));
        assert_eq!(pace.wait(t0), None);
        pace.polled(t0, t0 + ms(1));
        assert_eq!(pace.wait(t0 + ms(2)), Some(t0 + ms(21)));
        assert_eq!(pace.wait(t0 + ms(21)), None);
        pace.polled(t0, t0 + ms(100));
        assert_eq!(pace.wait(t0 + ms(101)), Some(t0 + ms(400)));
    }
}
