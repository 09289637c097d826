//! What the sink counts: loss, reordering, duplicates and latency.

use super::packet::Stamp;
use hdrhistogram::Histogram;
use sipsec_net::Instant;

/// Nanoseconds; a longer latency counts as this.
const LATENCY_MAX: u64 = 10_000_000_000;
/// Numbers behind the highest that are remembered, to tell a late packet from a duplicate.
const WINDOW: u64 = 1024;
const WORDS: usize = WINDOW as usize / 64;

/// One flow.
#[derive(Clone, Debug)]
struct Flow {
    /// The number after the highest received one.
    next: u64,
    seen: [u64; WORDS],
}

impl Flow {
    const NEW: Self = Self { next: 0, seen: [0; WORDS] };

    fn bit(number: u64) -> (usize, u64) {
        ((number % WINDOW / 64) as usize, 1 << (number % 64))
    }

    fn receive(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            // The places of the numbers in between are free for them, if they come late.
            let skipped = (number - self.next + 1).min(WINDOW);
            for n in number + 1 - skipped..=number {
                let (word, bit) = Self::bit(n);
                self.seen[word] &= !bit;
            }
            let (word, bit) = Self::bit(number);
            self.seen[word] |= bit;
            self.next = number + 1;
            return Arrival::InOrder;
        }
        if self.next - number > WINDOW {
            return Arrival::Late;
        }
        let (word, bit) = Self::bit(number);
        if self.seen[word] & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen[word] |= bit;
        Arrival::Late
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    InOrder,
    /// RFC 4737 §3.3: a packet with a higher number of its flow came before it.
    Late,
    Duplicate,
}

#[derive(Debug)]
pub struct Tally {
    flows: Vec<Flow>,
    pub received: u64,
    pub bytes: u64,
    pub reordered: u64,
    pub duplicates: u64,
    /// Frames without a stamp, or of a flow that the generator does not have.
    pub foreign: u64,
    latency: Histogram<u64>,
}

impl Tally {
    #[must_use]
    pub fn new(flows: u16) -> Self {
        Self {
            flows: vec![Flow::NEW; usize::from(flows)],
            received: 0,
            bytes: 0,
            reordered: 0,
            duplicates: 0,
            foreign: 0,
            latency: Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("constant bounds"),
        }
    }

    pub fn frame(&mut self, now: Instant, frame: &[u8]) {
        let Some(stamp) = Stamp::of_frame(frame) else {
            self.foreign += 1;
            return;
        };
        let Some(flow) = self.flows.get_mut(usize::from(stamp.flow)) else {
            self.foreign += 1;
            return;
        };
        match flow.receive(stamp.number) {
            Arrival::InOrder => {}
            Arrival::Late => self.reordered += 1,
            Arrival::Duplicate => {
                self.duplicates += 1;
                return;
            }
        }
        self.received += 1;
        self.bytes += frame.len() as u64;
        let took = now.saturating_duration_since(stamp.departed).as_nanos();
        self.latency.saturating_record(u64::try_from(took).unwrap_or(LATENCY_MAX).max(1));
    }

    #[must_use]
    pub const fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Path, Template};
    use super::*;
    use sipsec_net::MacAddr;

    #[test]
    fn late_packets_and_duplicates_are_told_apart_by_flow() {
        let path = Path {
            source_mac: MacAddr([2; 6]),
            destination_mac: MacAddr([4; 6]),
            source: [10, 1, 0, 2].into(),
            destination: [10, 2, 0, 2].into(),
        };
        let template = Template::new(&path, 64).expect("long enough");
        let mut tally = Tally::new(2);
        let mut take = |flow, number, departed, now| {
            let mut frame = template.bytes().to_vec();
            template.stamp(&mut frame, Stamp { flow, number, departed: Instant::from_nanos(departed) });
            tally.frame(Instant::from_nanos(now), &frame);
        };
        for number in [0, 1, 3, 2, 2, 4, 0] {
            take(0, number, 1_000, 3_000);
        }
        take(1, 0, 1_000, 9_000);
        // After a gap larger than the window, numbers of the gap are late once each, and no duplicates.
        take(1, 5_000, 1_000, 2_000);
        take(1, 4_500, 1_000, 2_000);
        take(1, 4_500, 1_000, 2_000);
        take(2, 0, 0, 0);
        tally.frame(Instant::from_nanos(0), &[0; 60]);
        assert_eq!((tally.received, tally.reordered, tally.duplicates, tally.foreign), (8, 2, 3, 2));
        assert_eq!(tally.bytes, 8 * 78);
        assert!((7_990..=8_010).contains(&tally.latency().max()));
    }

    proptest::proptest! {
        /// Any order of distinct numbers within the window: each is received once, and a second copy is a duplicate.
        #[test]
        fn every_number_counts_once(order in proptest::sample::subsequence((0..900_u64).collect::<Vec<_>>(), 1..200)
            .prop_shuffle())
        {
            let mut flow = Flow::NEW;
            for number in &order {
                proptest::prop_assert_ne!(flow.receive(*number), Arrival::Duplicate);
            }
            for number in &order {
                proptest::prop_assert_eq!(flow.receive(*number), Arrival::Duplicate);
            }
        }
    }

    use proptest::strategy::Strategy as _;
}
