//! Limits repeated log lines, and says how many were left out.

use sipsec_net::Instant;
use std::collections::HashMap;
use std::time::Duration;

/// Different lines that are told apart; beyond it they share one budget.
const KEYS_MAX: usize = 64;

/// At most `burst` lines of a kind in each `window`.
#[derive(Debug)]
pub struct Throttle {
    burst: u32,
    window: Duration,
    kinds: HashMap<&'static str, Kind>,
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    began: Instant,
    lines: u32,
}

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it; so many were left out in the window before.
    Write {
        left_out: u32,
    },
    LeaveOut,
}

impl Throttle {
    #[must_use]
    pub fn new(burst: u32, window: Duration) -> Self {
        Self { burst, window, kinds: HashMap::new() }
    }

    pub fn line(&mut self, now: Instant, kind: &'static str) -> Verdict {
        let kind = if self.kinds.len() >= KEYS_MAX && !self.kinds.contains_key(kind) { "" } else { kind };
        let entry = self.kinds.entry(kind).or_insert(Kind { began: now, lines: 0 });
        let mut left_out = 0;
        if now.saturating_duration_since(entry.began) >= self.window {
            left_out = entry.lines.saturating_sub(self.burst);
            *entry = Kind { began: now, lines: 0 };
        }
        entry.lines = entry.lines.saturating_add(1);
        if entry.lines <= self.burst { Verdict::Write { left_out } } else { Verdict::LeaveOut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_a_few_lines_and_a_number() {
        let s = |n: u64| Instant::from_nanos(n * 1_000_000_000);
        let mut throttle = Throttle::new(3, Duration::from_secs(60));
        let written = (0..1000).filter(|_| throttle.line(s(0), "a") != Verdict::LeaveOut).count();
        assert_eq!(written, 3);
        assert_eq!(throttle.line(s(1), "b"), Verdict::Write { left_out: 0 }, "another kind");
        assert_eq!(throttle.line(s(59), "a"), Verdict::LeaveOut);
        assert_eq!(throttle.line(s(60), "a"), Verdict::Write { left_out: 998 });
        assert_eq!(throttle.line(s(61), "a"), Verdict::Write { left_out: 0 });
    }
}
