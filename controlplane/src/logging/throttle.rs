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
    kinds: HashMap<String, Kind>,
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

    /// A line of a kind about one peer, which has a budget of its own.
    pub fn line_of(&mut self, now: Instant, kind: &str, peer: &str) -> Verdict {
        self.line(now, &format!("{kind} {peer}"))
    }

    pub fn line(&mut self, now: Instant, kind: &str) -> Verdict {
        let kind = if self.has_room(now, kind) { kind } else { "" };
        if !self.kinds.contains_key(kind) {
            self.kinds.insert(kind.to_owned(), Kind { began: now, lines: 0 });
        }
        let Some(entry) = self.kinds.get_mut(kind) else { return Verdict::LeaveOut };
        let mut left_out = 0;
        if now.saturating_duration_since(entry.began) >= self.window {
            left_out = entry.lines.saturating_sub(self.burst);
            *entry = Kind { began: now, lines: 0 };
        }
        entry.lines = entry.lines.saturating_add(1);
        if entry.lines <= self.burst { Verdict::Write { left_out } } else { Verdict::LeaveOut }
    }

    /// Whether the kind has a place, or gets the one of a kind whose window is over and that has left out nothing.
    fn has_room(&mut self, now: Instant, kind: &str) -> bool {
        if self.kinds.contains_key(kind) || self.kinds.len() < KEYS_MAX {
            return true;
        }
        let (window, burst) = (self.window, self.burst);
        self.kinds.retain(|_, k| k.lines > burst || now.saturating_duration_since(k.began) < window);
        self.kinds.len() < KEYS_MAX
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

    #[test]
    fn each_peer_has_its_lines_and_many_peers_share_some() {
        let s = |n: u64| Instant::from_nanos(n * 1_000_000_000);
        let mut throttle = Throttle::new(2, Duration::from_secs(60));
        let mut written = |at: u64, peer: &str, lines: usize| {
            (0..lines).filter(|_| throttle.line_of(s(at), "refused", peer) != Verdict::LeaveOut).count()
        };
        assert_eq!((written(0, "0388881001", 600), written(0, "0388881002", 1)), (2, 1));
        let strangers: usize = (0..1000).map(|n| written(1, &n.to_string(), 1)).sum();
        assert!(strangers <= KEYS_MAX + 2, "{strangers}");
        // A minute later their places are free again, and what was left out is told.
        assert_eq!(written(61, "a new one", 3), 2);
        assert_eq!(throttle.line_of(s(61), "refused", "0388881001"), Verdict::Write { left_out: 598 });
    }
}
