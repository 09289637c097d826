//! What the classes of a tunnel have done, for other threads to read while the worker counts. One thread writes, so that a
//! count is a load and a store.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use sipsec_net::qos::{ClassActivity, QosActivity};
use std::sync::Arc;

fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

fn get(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

/// Delays below this are one bucket.
const FIRST_US_LOG2: u32 = 6;
/// Buckets per doubling: a quantile is at most a quarter too high.
const PER_OCTAVE: usize = 4;
/// Up to 4 s.
const BUCKETS: usize = 65;
/// Old delays fade: so many are remembered at most.
const REMEMBERED: u32 = 1024;

/// How long the last packets waited.
#[derive(Debug)]
struct Delays {
    buckets: [AtomicU32; BUCKETS],
    total: AtomicU32,
}

impl Default for Delays {
    fn default() -> Self {
        Self { buckets: core::array::from_fn(|_| AtomicU32::new(0)), total: AtomicU32::new(0) }
    }
}

fn bucket(us: u64) -> usize {
    let Some(log2) = us.checked_ilog2().filter(|log2| *log2 >= FIRST_US_LOG2) else { return 0 };
    let quarter = (us >> (log2 - 2)) as usize & (PER_OCTAVE - 1);
    let octave = (log2 - FIRST_US_LOG2) as usize;
    (1 + octave * PER_OCTAVE + quarter).min(BUCKETS - 1)
}

/// The delay that all in a bucket are below.
const fn end_us(bucket: usize) -> u64 {
    let (octave, quarter) = (bucket / PER_OCTAVE, bucket % PER_OCTAVE);
    (PER_OCTAVE + quarter) as u64 * (1 << FIRST_US_LOG2 << octave) / PER_OCTAVE as u64
}

impl Delays {
    fn note(&self, delay: Duration) {
        let cell = &self.buckets[bucket(delay.as_micros() as u64)];
        cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed) + 1;
        self.total.store(total, Ordering::Relaxed);
        if total >= REMEMBERED {
            self.fade();
        }
    }

    #[cold]
    fn fade(&self) {
        let mut total = 0;
        for cell in &self.buckets {
            let half = cell.load(Ordering::Relaxed) / 2;
            cell.store(half, Ordering::Relaxed);
            total += half;
        }
        self.total.store(total, Ordering::Relaxed);
    }

    /// The delays below which so many per cent of the packets were; zeros without any.
    fn quantiles<const N: usize>(&self, percent: [u64; N]) -> [u64; N] {
        let counts: [u64; BUCKETS] =
            core::array::from_fn(|i| u64::from(self.buckets[i].load(Ordering::Relaxed)));
        let total: u64 = counts.iter().sum();
        percent.map(|percent| {
            let (wanted, mut seen) = ((total * percent).div_ceil(100), 0);
            let at = counts.iter().position(|n| {
                seen += n;
                seen >= wanted
            });
            if total == 0 { 0 } else { at.map_or(0, end_us) }
        })
    }
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct ClassCell {
    packets: AtomicU64,
    bytes: AtomicU64,
    drops_full: AtomicU64,
    drops_aqm: AtomicU64,
    marks: AtomicU64,
    queued_packets: AtomicU64,
    queued_bytes: AtomicU64,
    delayed: AtomicU64,
    delays: Delays,
}

#[derive(Debug)]
struct Cells {
    rate_kbps: AtomicU64,
    /// From the lowest bit: the largest outer packet (16), whether the path behind the WAN says so (1), the largest inner packet (16).
    mtu: AtomicU64,
    exceeded: AtomicU64,
    exceeded_bytes: AtomicU64,
    classes: Box<[ClassCell]>,
}

/// Of one tunnel under one policy.
#[derive(Clone, Debug)]
pub struct QosCounters(Arc<Cells>);

impl QosCounters {
    pub(crate) fn new(classes: usize) -> Self {
        Self(Arc::new(Cells {
            rate_kbps: AtomicU64::new(0),
            mtu: AtomicU64::new(0),
            exceeded: AtomicU64::new(0),
            exceeded_bytes: AtomicU64::new(0),
            classes: (0..classes).map(|_| ClassCell::default()).collect(),
        }))
    }

    pub(crate) fn set_rate(&self, kbps: u32) {
        self.0.rate_kbps.store(kbps.into(), Ordering::Relaxed);
    }

    pub(crate) fn set_mtu(&self, inner: u16, outer: OuterMtu) {
        let word = u64::from(outer.ceiling) << 33
            | u64::from(inner) << 17
            | u64::from(outer.of_path) << 16
            | u64::from(outer.max);
        self.0.mtu.store(word, Ordering::Relaxed);
    }

    pub(crate) fn exceeded(&self, bytes: usize) {
        add(&self.0.exceeded, 1);
        add(&self.0.exceeded_bytes, bytes as u64);
    }

    pub(crate) fn sent(&self, class: usize, bytes: u16, waited: Duration) {
        let Some(c) = self.0.classes.get(class) else { return };
        add(&c.packets, 1);
        add(&c.bytes, bytes.into());
        add(&c.delayed, 1);
        c.delays.note(waited);
    }

    pub(crate) fn marked(&self, class: usize) {
        if let Some(c) = self.0.classes.get(class) {
            add(&c.marks, 1);
        }
    }

    pub(crate) fn dropped_full(&self, class: usize) {
        if let Some(c) = self.0.classes.get(class) {
            add(&c.drops_full, 1);
        }
    }

    pub(crate) fn dropped_aqm(&self, class: usize) {
        if let Some(c) = self.0.classes.get(class) {
            add(&c.drops_aqm, 1);
        }
    }

    pub(crate) fn queued(&self, class: usize, packets: u32, bytes: u64) {
        if let Some(c) = self.0.classes.get(class) {
            c.queued_packets.store(packets.into(), Ordering::Relaxed);
            c.queued_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// At this moment; each number is true, they need not be of one moment.
    #[must_use]
    pub fn read(&self) -> Option<QosActivity> {
        let classes: Vec<ClassActivity> = self.0.classes.iter().map(read_class).collect();
        let mut activity = QosActivity::new(&classes)?;
        activity.rate_kbps = get(&self.0.rate_kbps) as u32;
        let mtu = get(&self.0.mtu);
        (activity.outer_mtu, activity.is_path_mtu) = (mtu as u16, mtu >> 16 & 1 != 0);
        activity.inner_mtu = (mtu >> 17) as u16;
        activity.probe_ceiling = (mtu >> 33) as u16;
        activity.exceeded = get(&self.0.exceeded);
        activity.exceeded_bytes = get(&self.0.exceeded_bytes);
        Some(activity)
    }
}

/// Of the outer packets of a call; all zero without one.
#[derive(Clone, Copy, Default)]
pub(crate) struct OuterMtu {
    pub max: u16,
    /// The path behind the WAN bounds it.
    pub of_path: bool,
    /// Without what probes have found.
    pub ceiling: u16,
}

fn read_class(c: &ClassCell) -> ClassActivity {
    let [delay_p50_us, delay_p99_us] = c.delays.quantiles([50, 99]);
    ClassActivity {
        packets: get(&c.packets),
        bytes: get(&c.bytes),
        drops_full: get(&c.drops_full),
        drops_aqm: get(&c.drops_aqm),
        marks: get(&c.marks),
        queued_packets: get(&c.queued_packets),
        queued_bytes: get(&c.queued_bytes),
        delayed: get(&c.delayed),
        delay_p50_us,
        delay_p99_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantiles_are_at_most_a_quarter_too_high() {
        let delays = Delays::default();
        assert_eq!(delays.quantiles([50, 99]), [0, 0]);
        for us in 1..=1000 {
            delays.note(Duration::from_micros(us * 100));
        }
        let [p50, p99] = delays.quantiles([50, 99]);
        assert!((50_000..=62_500).contains(&p50) && (99_000..=123_750).contains(&p99), "{p50} {p99}");
    }

    #[test]
    fn old_delays_fade() {
        let delays = Delays::default();
        for (us, count) in [(1_000_000, 1000), (100, 10_000)] {
            (0..count).for_each(|_| delays.note(Duration::from_micros(us)));
        }
        assert!(delays.quantiles([99])[0] <= 128);
    }

    proptest! {
        #[test]
        fn every_delay_is_below_the_end_of_its_bucket_and_not_far(us in 0u64..3_900_000) {
            let bucket = bucket(us);
            prop_assert!(us < end_us(bucket), "{} {}", bucket, end_us(bucket));
            prop_assert!(bucket == 0 || us * 5 / 4 + 1 >= end_us(bucket));
        }
    }
}
