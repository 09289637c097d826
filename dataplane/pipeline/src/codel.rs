//! Controlled delay (RFC 8289): which packet of a queue is dropped or marked, decided when it leaves, by how long it has
//! waited. The caller owns the queue; this is its control law.

use core::time::Duration;
use sipsec_net::{Instant, Kbps};

/// RFC 8289 §4.2, §4.3: for links that send a packet in much less than this.
const TARGET: Duration = Duration::from_millis(5);
const INTERVAL: Duration = Duration::from_millis(100);
/// After so many intervals without a drop the control law begins anew (§5.4: a value that is not critical).
const FORGOTTEN_AFTER: u32 = 16;

/// The constants for one rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodelParameters {
    target: Duration,
    interval: Duration,
    /// Largest packet: a queue of no more never counts as standing.
    mtu: u32,
}

impl CodelParameters {
    /// RFC 8289 §4.4, RFC 8290 §5.2.1: on a slow link the target is above the time of one packet, here by half, and the interval
    /// grows by as much. A packet of 1500 bytes takes 187 ms at 64 kbit/s.
    pub(crate) fn new(rate: Kbps, mtu: u16) -> Self {
        let packet_ns = u64::from(mtu) * 1_000_000_000 / rate.bytes_per_second().max(1);
        let target = TARGET.max(Duration::from_nanos(packet_ns * 3 / 2));
        Self { target, interval: INTERVAL - TARGET + target, mtu: mtu.into() }
    }
}

/// The state of one queue.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Codel {
    /// When the delay will have been above the target for an interval; zero while it is below.
    first_above: Instant,
    drop_next: Instant,
    count: u32,
    last_count: u32,
    dropping: bool,
}

impl Codel {
    /// Whether the packet that has just left the queue is to be dropped, or marked. It waited since `since`, and `left` bytes
    /// still wait. Called for each packet in turn until one is not dropped; [`Self::emptied`] if there is none.
    pub(crate) fn decide(&mut self, now: Instant, since: Instant, left: u64, p: &CodelParameters) -> bool {
        let stands = self.stands(now, since, left, p);
        if self.dropping {
            if !stands {
                self.dropping = false;
            } else if now >= self.drop_next {
                self.count = self.count.saturating_add(1);
                self.drop_next = control_law(self.drop_next, p.interval, self.count);
                return true;
            }
            return false;
        }
        if stands {
            self.dropping = true;
            // The rate of drops that held the queue before is a good one to begin with, if that is not long ago.
            let before = self.count.saturating_sub(self.last_count);
            let recent = now.saturating_duration_since(self.drop_next) < p.interval * FORGOTTEN_AFTER;
            self.count = if before > 1 && recent { before } else { 1 };
            self.drop_next = control_law(now, p.interval, self.count);
            self.last_count = self.count;
        }
        stands
    }

    pub(crate) const fn emptied(&mut self) {
        self.first_above = Instant::ZERO;
        self.dropping = false;
    }

    /// Whether the delay has been above the target for a whole interval.
    fn stands(&mut self, now: Instant, since: Instant, left: u64, p: &CodelParameters) -> bool {
        if now.saturating_duration_since(since) < p.target || left <= u64::from(p.mtu) {
            self.first_above = Instant::ZERO;
            return false;
        }
        if self.first_above == Instant::ZERO {
            self.first_above = now + p.interval;
            return false;
        }
        now >= self.first_above
    }
}

/// RFC 8289 §5.3: drops come closer by the inverse square root of their count.
fn control_law(from: Instant, interval: Duration, count: u32) -> Instant {
    let square = (interval.as_nanos() as u64).saturating_pow(2);
    from + Duration::from_nanos((square / u64::from(count.max(1))).isqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000_000);

    fn at(ms: u64) -> Instant {
        START + Duration::from_millis(ms)
    }

    #[test]
    fn slow_lines_have_a_target_above_one_packet() {
        let p = CodelParameters::new(Kbps(64), 1500);
        assert_eq!((p.target, p.interval), (Duration::from_micros(281_250), Duration::from_micros(376_250)));
        let p = CodelParameters::new(Kbps(100_000), 1500);
        assert_eq!((p.target, p.interval), (TARGET, INTERVAL));
    }

    #[test]
    fn a_queue_that_drains_is_left_alone_and_one_that_stands_is_not() {
        let p = CodelParameters::new(Kbps(100_000), 1500);
        let mut codel = Codel::default();
        // 20 ms for less than an interval, then 1 ms.
        for ms in 0..99 {
            assert!(!codel.decide(at(ms), at(ms) - Duration::from_millis(20), 30_000, &p), "{ms}");
        }
        assert!(!codel.decide(at(99), at(98), 30_000, &p));
        // 20 ms for ever: the first drop after an interval, the next ones by the square root.
        let drops: Vec<u64> = (200..700)
            .filter(|ms| codel.decide(at(*ms), at(*ms) - Duration::from_millis(20), 30_000, &p))
            .collect();
        assert_eq!(drops[..5], [300, 400, 471, 529, 579]);
        // A last packet is never dropped, however long it waited.
        assert!(!codel.decide(at(700), at(0), 0, &p));
        codel.emptied();
        assert!(!codel.decide(at(701), at(0), 30_000, &p));
    }

    #[test]
    fn a_queue_that_stands_again_soon_is_held_at_the_rate_that_held_it() {
        let p = CodelParameters::new(Kbps(100_000), 1500);
        let mut codel = Codel::default();
        let bad = |c: &mut Codel, ms: u64| c.decide(at(ms), at(ms) - Duration::from_millis(20), 30_000, &p);
        let first = (0..2000).filter(|ms| bad(&mut codel, *ms)).count();
        assert!(!codel.decide(at(2000), at(2000), 30_000, &p));
        let again = (2001..4001).filter(|ms| bad(&mut codel, *ms)).count();
        assert!(again > first, "{first} then {again}");
        // Long after, it begins anew.
        assert!(!codel.decide(at(4001), at(4001), 30_000, &p));
        let later = (60_000..62_000).filter(|ms| bad(&mut codel, *ms)).count();
        assert_eq!(later, first);
    }
}
