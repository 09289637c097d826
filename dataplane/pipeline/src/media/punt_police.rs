//! How many IKE messages of one call's peer the control plane gets.

use core::time::Duration;
use sipsec_net::Instant;

/// IKE messages of one peer that the control plane gets at once: a whole exchange in fragments (RFC 7383), several times
/// over. A sender with the peer's forged address gets no more.
const PUNT_BURST: u32 = 64;
/// And from then on.
const PUNTS_PER_SECOND_MAX: u32 = 64;
const PUNT_COST: Duration = Duration::from_nanos(1_000_000_000 / PUNTS_PER_SECOND_MAX as u64);

/// A bucket of one media port, in the virtual scheduling form of [`crate::shaper`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PuntPolice {
    next: Instant,
}

impl PuntPolice {
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let next = self.next.max(now) + PUNT_COST;
        let ok = next <= now + PUNT_COST * PUNT_BURST;
        if ok {
            self.next = next;
        }
        ok
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut police = PuntPolice::default();
        let at = |ms: u64| Instant::from_nanos(1_000_000_000 + ms * 1_000_000);
        let passed = (0..1000).filter(|_| police.take(at(0))).count();
        assert_eq!(passed as u32, PUNT_BURST);
        let passed = (1..=1000).filter(|ms| police.take(at(*ms))).count();
        assert_eq!(passed as u32, PUNTS_PER_SECOND_MAX);
    }
}
