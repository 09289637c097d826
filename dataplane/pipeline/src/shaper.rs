//! Rates of outer IP bytes: that of a media port or of a class ([`Shaper`]), which decides when a packet may go, and that of
//! which a packet is only judged by ([`Meter`]).
//!
//! Both are the virtual scheduling form of ITU-T I.371's GCRA. For a shaper a packet may go when its theoretical time has
//! come, less a tolerance that makes up for late polling; for a meter it conforms if that time is no further ahead than the
//! burst.

use core::time::Duration;
use sipsec_net::{Instant, Kbps};

/// Shaped to 98.5 % of what was negotiated: with packets of at most 1500 bytes at 1 Mbit/s, any window of one second then
/// carries −3 % to +0 %. Above it, the carrier's policer drops.
const SHARE_PER_MILLE: u64 = 985;
/// A window of one second has a margin of 15 ms. The last packet of 1500 bytes takes its part of it, and what is left, less a
/// reserve, makes up for late polls. Below 1.2 Mbit/s a packet alone takes 10 ms and more.
const MARGIN_NS: u64 = 12_000_000;
const TOLERANCE_MIN_NS: u64 = 2_000_000;
const PACKET_BYTES: u64 = 1500;

/// When the next packet may go.
#[derive(Debug)]
pub(crate) struct Shaper {
    /// Nanoseconds per byte, in 2⁻²⁰.
    cost: u64,
    /// The theoretical time of the next packet.
    next: Instant,
}

impl Shaper {
    pub(crate) const fn new(rate: Kbps) -> Self {
        let cost = cost(rate, SHARE_PER_MILLE);
        Self { cost, next: Instant::ZERO }
    }

    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        now >= self.ready_at()
    }

    pub(crate) fn ready_at(&self) -> Instant {
        self.next - self.tolerance()
    }

    /// How late a packet may be sent without its time being lost.
    const fn tolerance(&self) -> Duration {
        let left = MARGIN_NS.saturating_sub((PACKET_BYTES * self.cost) >> 20);
        Duration::from_nanos(if left > TOLERANCE_MIN_NS { left } else { TOLERANCE_MIN_NS })
    }

    /// A packet goes now.
    pub(crate) fn charge(&mut self, now: Instant, bytes: usize) {
        self.next = after(self.next.max(now), bytes, self.cost);
    }
}

/// Nanoseconds per byte at so many thousandths of a rate, in 2⁻²⁰.
const fn cost(rate: Kbps, per_mille: u64) -> u64 {
    // 8 bits at `rate` × per_mille bits per second.
    let rate = if rate.0 == 0 { 1 } else { rate.0 as u64 };
    (8_000_000_000 << 20) / (rate * per_mille)
}

#[inline]
fn after(at: Instant, bytes: usize, cost: u64) -> Instant {
    let nanos = (bytes as u64 * cost).div_ceil(1 << 20);
    Instant::from_nanos(at.as_nanos().saturating_add(nanos))
}

/// Whether packets are within a rate: a token bucket of `burst`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    cost: u64,
    next: Instant,
    burst: Duration,
}

impl Meter {
    pub(crate) const fn new(rate: Kbps, burst: Duration) -> Self {
        Self { cost: cost(rate, 1000), next: Instant::ZERO, burst }
    }

    /// Whether the next packet conforms, however large.
    pub(crate) fn conforms(&self, now: Instant) -> bool {
        self.next <= now + self.burst
    }

    pub(crate) fn charge(&mut self, now: Instant, bytes: usize) {
        self.next = after(self.next.max(now), bytes, self.cost);
    }

    /// Whether a packet of so many bytes conforms; what exceeds takes nothing out of the bucket (RFC 2697 §3).
    #[inline]
    pub(crate) fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let next = after(self.next.max(now), bytes, self.cost);
        let conforms = next <= now + self.burst;
        if conforms {
            self.next = next;
        }
        conforms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends packets of `len` whenever allowed, for eight seconds, at polls that are `late` after one another in turn: what left,
    /// and when.
    fn sent(rate: Kbps, len: usize, late: &[u64]) -> Vec<(Instant, u64)> {
        let mut shaper = Shaper::new(rate);
        let (mut now, mut out) = (Instant::from_nanos(5_000_000_000), Vec::new());
        let end = now + Duration::from_secs(8);
        for us in late.iter().cycle() {
            while shaper.is_ready(now) {
                shaper.charge(now, len);
                out.push((now, len as u64));
            }
            if now >= end {
                break;
            }
            now = now + Duration::from_micros(*us);
        }
        out
    }

    /// What every window of one second carries that begins at a packet, after the first second: least and most.
    fn windows(sent: &[(Instant, u64)]) -> (u64, u64) {
        const WINDOW: Duration = Duration::from_secs(1);
        let (first, last) = (sent[0].0, sent[sent.len() - 1].0);
        let (mut least, mut most, mut end, mut bytes) = (u64::MAX, 0, 0, 0);
        for (at, len) in sent {
            while let Some((_, more)) = sent.get(end).filter(|(t, _)| *t < *at + WINDOW) {
                bytes += more;
                end += 1;
            }
            most = most.max(bytes);
            if *at >= first + WINDOW && *at + WINDOW < last {
                least = least.min(bytes);
            }
            bytes -= len;
        }
        (least, most)
    }

    proptest! {
        /// Packets of at most 1.2 % of a second's bytes: of larger ones a window shows how many fall into it.
        #[test]
        fn any_second_of_a_busy_port_carries_between_minus_3_and_plus_0_per_cent(
            kbps in prop_oneof![Just(64u32), Just(512), Just(1000), Just(100_000), 64u32..200_000],
            len in 60usize..=1500,
            share in prop::collection::vec(1u64..=1000, 1..50),
        ) {
            let rate = Kbps(kbps);
            let max = rate.bytes_per_second();
            // No more than some ten thousand of them in a second.
            let len = len.max(max as usize / 4000).min(1500).min(max as usize * 12 / 1000);
            // As late as may be made up for: 2 ms at 1 Mbit/s, and nearly 12 ms at 100 Mbit/s.
            let late_max = Shaper::new(rate).tolerance().as_micros() as u64;
            let late: Vec<u64> = share.iter().map(|s| (late_max * s / 1000).max(100)).collect();
            let (least, most) = windows(&sent(rate, len, &late));
            prop_assert!(most <= max, "{most} of {max}");
            prop_assert!(least >= max * 97 / 100, "{least} of {max}");
        }
    }

    #[test]
    fn an_idle_port_saves_nothing_up() {
        let mut shaper = Shaper::new(Kbps(1000));
        let now = Instant::from_nanos(3_600_000_000_000);
        let mut burst = 0;
        while shaper.is_ready(now) {
            shaper.charge(now, 100);
            burst += 100;
        }
        assert!(burst <= 400, "{burst} bytes at once");
    }

    #[test]
    fn a_meter_lets_a_burst_pass_and_then_the_rate() {
        let mut meter = Meter::new(Kbps(64), Duration::from_secs(1));
        let start = Instant::from_nanos(3_600_000_000_000);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let passed = (0..1000).filter(|_| meter.take(at(0), 100)).count();
        assert_eq!(passed, 80, "8000 bytes are a second");
        let passed = (1..=10_000).filter(|ms| meter.take(at(*ms), 100)).count();
        assert_eq!(passed, 800);
    }
}
