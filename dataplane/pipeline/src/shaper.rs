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
/// How late a packet may be sent without its time being lost: +0.2 % in a window of one second.
const TOLERANCE: Duration = Duration::from_millis(2);

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
        self.next - TOLERANCE
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

    /// Sends packets of `len` whenever allowed, polling every `poll_us` with an unlucky offset, for ten seconds.
    fn sent_per_second(rate: Kbps, len: usize, poll_us: u64) -> Vec<u64> {
        let mut shaper = Shaper::new(rate);
        let mut seconds = vec![0; 10];
        let mut now = Instant::from_nanos(5_000_000_000);
        let end = now + Duration::from_secs(10);
        while now < end {
            while shaper.is_ready(now) {
                shaper.charge(now, len);
                let second = (now.as_nanos() - 5_000_000_000) / 1_000_000_000;
                seconds[second as usize] += len as u64;
            }
            now = now + Duration::from_micros(poll_us);
        }
        seconds
    }

    #[test]
    fn every_second_carries_between_minus_3_and_plus_0_per_cent() {
        for (rate, len, poll_us) in [
            (1000, 1500, 50),
            (1000, 1500, 1900),
            (1000, 200, 700),
            (512, 300, 997),
            (64, 100, 1000),
            (100_000, 1500, 1500),
            (10_000_000, 9000, 100),
        ] {
            let max = Kbps(rate).bytes_per_second();
            for bytes in sent_per_second(Kbps(rate), len, poll_us) {
                assert!(
                    bytes <= max && bytes >= max * 97 / 100,
                    "{bytes} of {max} at {rate} kbps, {len} bytes"
                );
            }
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
