//! How often traffic has moved to each tunnel, because each move may place a call.

use sipsec_net::Instant;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(crate) struct Calls {
    tunnels: BTreeMap<String, Use>,
    per_hour: usize,
}

#[derive(Debug, Default)]
struct Use {
    /// Prefixes for which the tunnel stands in.
    prefixes: usize,
    /// When it began to stand in, within the last hour.
    moves: VecDeque<Instant>,
}

impl Calls {
    pub fn new(per_hour: u32) -> Self {
        Self { tunnels: BTreeMap::new(), per_hour: usize::try_from(per_hour).unwrap_or(usize::MAX) }
    }

    /// Another limit, and other prefixes: the tunnel that stands in for each of them. No traffic has moved by that.
    pub fn reconfigure(&mut self, now: Instant, per_hour: u32, stand_ins: impl Iterator<Item = String>) {
        self.per_hour = usize::try_from(per_hour).unwrap_or(usize::MAX);
        self.tunnels.values_mut().for_each(|used| used.prefixes = 0);
        for tunnel in stand_ins {
            self.tunnels.entry(tunnel).or_default().prefixes += 1;
        }
        let counts = |used: &Use| used.moves.back().is_some_and(|last| *last + HOUR > now);
        self.tunnels.retain(|_, used| used.prefixes > 0 || counts(used));
        for used in self.tunnels.values_mut() {
            let superfluous = used.moves.len().saturating_sub(self.per_hour);
            used.moves.drain(..superfluous);
        }
    }

    /// A prefix has moved to the tunnel.
    pub fn enter(&mut self, tunnel: &str, now: Instant) {
        let used = self.tunnels.entry(tunnel.to_owned()).or_default();
        used.prefixes += 1;
        if used.prefixes > 1 || self.per_hour == 0 {
            return; // The call is there, or no limit is.
        }
        // Those beyond the limit are not needed to tell when the next one is allowed.
        while used.moves.len() >= self.per_hour {
            used.moves.pop_front();
        }
        used.moves.push_back(now);
    }

    pub fn leave(&mut self, tunnel: &str) {
        if let Some(used) = self.tunnels.get_mut(tunnel) {
            used.prefixes = used.prefixes.saturating_sub(1);
        }
    }

    /// Until when traffic must stay in the tunnel, because the next move to it would exceed the limit.
    pub fn exhausted_until(&self, tunnel: &str, now: Instant) -> Option<Instant> {
        let used =
            self.tunnels.get(tunnel).filter(|u| self.per_hour > 0 && u.moves.len() >= self.per_hour)?;
        used.moves.front().map(|first| *first + HOUR).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn min(n: u64) -> Instant {
        Instant::from_nanos(n * 60_000_000_000)
    }

    #[test]
    fn an_hour_holds_so_many_moves() {
        let mut calls = Calls::new(2);
        calls.enter("A", min(0));
        calls.enter("A", min(1));
        assert_eq!(calls.exhausted_until("A", min(1)), None, "a second prefix shares the call");
        calls.leave("A");
        calls.leave("A");
        calls.enter("A", min(10));
        assert_eq!(calls.exhausted_until("A", min(10)), Some(min(60)));
        assert_eq!((calls.exhausted_until("A", min(60)), calls.exhausted_until("B", min(10))), (None, None));
        calls.leave("A");
        calls.enter("A", min(61));
        assert_eq!(calls.exhausted_until("A", min(61)), Some(min(70)));
    }
}
