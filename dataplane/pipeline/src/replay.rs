//! Anti-replay (RFC 4303 §3.4.3, §2.2.1, Appendix A). The window is asked before the integrity check and moved after it:
//! [`ReplayWindow::check`] gives a [`CandidateSeq`], and only with the proof that the ICV held does it get in.

use crate::esp_decap::IcvVerified;
use crate::sys::prefetch;

pub const WINDOW_MIN: u32 = 64;
pub const WINDOW_MAX: u32 = 65_536;

/// The window of one inbound SA: `top` is the highest number authenticated, and bit `n mod size` says whether `n` was
/// received, for `n` in `top - size + 1 ..= top`.
#[derive(Debug)]
pub struct ReplayWindow {
    top: u64,
    esn: bool,
    size: u32,
    bits: Box<[u64]>,
}

/// A number that may be new. It has moved nothing yet.
#[derive(Debug, PartialEq, Eq)]
pub struct CandidateSeq(u64);

impl CandidateSeq {
    /// All 64 bits, as they go into the AAD with ESN.
    #[must_use]
    pub const fn get(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// Left of the window.
    Old,
    Duplicate,
}

impl ReplayWindow {
    /// `None` unless `size` is a power of two from [`WINDOW_MIN`] to [`WINDOW_MAX`].
    #[must_use]
    pub fn new(size: u32, esn: bool) -> Option<Self> {
        Self::is_size(size).then(|| Self { top: 0, esn, size, bits: vec![0; (size / 64) as usize].into() })
    }

    pub(crate) fn is_size(size: u32) -> bool {
        size.is_power_of_two() && (WINDOW_MIN..=WINDOW_MAX).contains(&size)
    }

    /// Looks at the low-order 32 bits of a received packet; nothing changes.
    pub fn check(&self, low: u32) -> Result<CandidateSeq, ReplayError> {
        let seq = if self.esn { self.extend(low)? } else { u64::from(low) };
        // RFC 4303 §3.3.3: counters start at 1, so a sender never sends 0.
        if seq == 0 || self.is_old(seq) {
            return Err(ReplayError::Old);
        }
        if seq <= self.top && self.is_set(seq) {
            return Err(ReplayError::Duplicate);
        }
        Ok(CandidateSeq(seq))
    }

    /// Lets an authenticated number in (RFC 4303 §3.4.3: "the receive window is updated only if the integrity
    /// verification succeeds"). An error if another packet with this number came in since the check.
    pub fn commit(&mut self, candidate: CandidateSeq, _proof: IcvVerified) -> Result<(), ReplayError> {
        let seq = candidate.0;
        if seq.wrapping_sub(self.top) == 1 {
            self.top = seq;
            let (word, bit) = self.place(seq);
            self.bits[word] |= bit;
            return Ok(());
        }
        if seq > self.top {
            self.clear_after_top(seq);
            self.top = seq;
        } else if self.is_old(seq) {
            return Err(ReplayError::Old);
        } else if self.is_set(seq) {
            return Err(ReplayError::Duplicate);
        }
        let (word, bit) = self.place(seq);
        self.bits[word] |= bit;
        Ok(())
    }

    /// Left of the window. No sum: with ESN the numbers go up to 2⁶⁴ − 1.
    fn is_old(&self, seq: u64) -> bool {
        self.top.saturating_sub(seq) >= u64::from(self.size)
    }

    fn extend(&self, low: u32) -> Result<u64, ReplayError> {
        extend(self.top, self.size, low)
    }

    /// Whether these low-order bits mean the same number wherever the window's top will be, from here to `top`.
    pub(crate) fn is_settled(&self, low: u32, top: u64) -> bool {
        // RFC 4303 Appendix A2.2 never takes a number back as the window moves ahead: equal ends, equal between.
        !self.esn || self.extend(low) == extend(top.max(self.top), self.size, low)
    }

    /// The next numbers are looked at soon.
    pub(crate) fn prefetch(&self) {
        if let Some(word) = self.bits.get(self.place(self.top.wrapping_add(1)).0) {
            prefetch(word);
        }
    }

    fn place(&self, seq: u64) -> (usize, u64) {
        let n = seq & u64::from(self.size - 1);
        ((n / 64) as usize, 1 << (n % 64))
    }

    fn is_set(&self, seq: u64) -> bool {
        let (word, bit) = self.place(seq);
        self.bits[word] & bit != 0
    }

    /// Forgets what stood in the places of `top + 1 ..= seq`.
    fn clear_after_top(&mut self, seq: u64) {
        if seq - self.top >= u64::from(self.size) {
            self.bits.fill(0);
            return;
        }
        let words = self.bits.len();
        let mut left = seq - self.top;
        while left > 0 {
            let (word, bit) = self.place(seq - left + 1);
            let in_word = u64::from(64 - bit.trailing_zeros());
            let count = left.min(in_word);
            let mask = if count == 64 { u64::MAX } else { ((1 << count) - 1) << bit.trailing_zeros() };
            debug_assert!(word < words);
            self.bits[word] &= !mask;
            left -= count;
        }
    }
}

/// RFC 4303 Appendix A2.2: the high-order bits that a packet with these low-order bits must have been sent with.
fn extend(top: u64, size: u32, low: u32) -> Result<u64, ReplayError> {
    let (th, tl) = ((top >> 32) as u32, top as u32);
    let bottom = tl.wrapping_sub(size - 1);
    let high = if tl >= size - 1 {
        // Case A: the window lies within one subspace. Left of it can only be the next subspace.
        if low >= bottom { Some(th) } else { th.checked_add(1) }
    } else {
        // Case B: it spans two. At or right of its bottom is the previous subspace, which does not exist for the first.
        if low >= bottom { th.checked_sub(1) } else { Some(th) }
    };
    high.map(|h| u64::from(h) << 32 | u64::from(low)).ok_or(ReplayError::Old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What the RFC says, without cleverness: a set of received numbers and a maximum.
    struct Naive {
        seen: BTreeSet<u64>,
        top: u64,
        size: u64,
    }

    impl Naive {
        fn receive(&mut self, seq: u64) -> Result<(), ReplayError> {
            if seq == 0 || u128::from(seq) + u128::from(self.size) <= u128::from(self.top) {
                Err(ReplayError::Old)
            } else if !self.seen.insert(seq) {
                Err(ReplayError::Duplicate)
            } else {
                self.top = self.top.max(seq);
                Ok(())
            }
        }
    }

    fn window(size: u32, esn: bool, start: u64) -> (ReplayWindow, Naive) {
        let mut window = ReplayWindow::new(size, esn).expect("a valid size");
        let mut naive = Naive { seen: BTreeSet::new(), top: 0, size: u64::from(size) };
        if start > 0 {
            window.top = start;
            let (word, bit) = window.place(start);
            window.bits[word] |= bit;
            naive.receive(start).expect("the first");
        }
        (window, naive)
    }

    proptest! {
        /// Steps of every size from a base anywhere, forged packets in between (checked, never committed).
        #[test]
        fn agrees_with_the_naive_model(
            exponent in 6u32..=16,
            esn: bool,
            base in prop_oneof![Just(0u64), 1..200_000u64, (1u64 << 32) - 70_000..(1u64 << 32) + 70_000, 1u64 << 40..1u64 << 41, u64::MAX - 200_000..=u64::MAX],
            steps in prop::collection::vec((prop_oneof![-70_000i64..70_000, -80i64..80, Just(1i64), Just(0)], any::<bool>()), 1..200),
        ) {
            let size = 1 << exponent;
            let max = if esn { u64::MAX } else { u64::from(u32::MAX) };
            let (mut window, mut naive) = window(size, esn, base.min(max));
            let mut last = base.min(max);
            for (step, genuine) in steps {
                let seq = last.saturating_add_signed(step).min(max);
                let checked = window.check(seq as u32);
                if !genuine {
                    continue;
                }
                last = seq;
                // With ESN a number from far left is taken for one of the next subspace (and would fail its ICV).
                if esn && matches!(&checked, Ok(c) if c.get() != seq) {
                    prop_assert!(u128::from(seq) + u128::from(size) <= u128::from(naive.top));
                    continue;
                }
                let got = checked.and_then(|c| window.commit(c, IcvVerified::for_test()));
                prop_assert_eq!(got, naive.receive(seq), "{} in a window of {} below {}", seq, size, naive.top);
                prop_assert_eq!(window.top, naive.top);
            }
        }

        /// Appendix A2: every number within the window or less than 2³² − size ahead of it is recovered exactly.
        #[test]
        fn the_high_bits_are_recovered(exponent in 6u32..=16, top in 0u64..1 << 40, ahead in 0u64..1 << 32) {
            let size = 1u32 << exponent;
            let (window, _) = window(size, true, top);
            let lowest = top.saturating_sub(u64::from(size) - 1).max(1);
            let seq = lowest + ahead % ((1 << 32) - u64::from(size));
            if seq != top {
                prop_assert_eq!(window.check(seq as u32), Ok(CandidateSeq(seq)));
            }
        }
    }

    #[test]
    fn a_checked_packet_moves_nothing_and_two_with_one_number_get_in_once() {
        let (mut window, _) = window(64, false, 0);
        assert!(window.check(u32::MAX).is_ok());
        assert!(window.check(1).is_ok(), "a forged high number has not moved the window");
        let (a, b) = (window.check(5).expect("new"), window.check(5).expect("new"));
        assert_eq!(window.commit(a, IcvVerified::for_test()), Ok(()));
        assert_eq!(window.commit(b, IcvVerified::for_test()), Err(ReplayError::Duplicate));
    }

    /// The last numbers of an SA with ESN; there is no subspace after theirs.
    #[test]
    fn the_window_ends_with_the_numbers() {
        let (mut window, _) = window(64, true, u64::MAX - 10);
        let last = window.check(u32::MAX).expect("new");
        assert_eq!(last.get(), u64::MAX);
        assert_eq!(window.commit(last, IcvVerified::for_test()), Ok(()));
        assert_eq!(window.check(u32::MAX), Err(ReplayError::Duplicate));
        assert_eq!(window.check(u32::MAX - 10), Err(ReplayError::Duplicate));
        let between = window.check(u32::MAX - 5).expect("new");
        assert_eq!(window.commit(between, IcvVerified::for_test()), Ok(()));
        for wrapped in [0, 1, 1000] {
            assert_eq!(window.check(wrapped), Err(ReplayError::Old), "{wrapped}");
        }
    }

    #[test]
    fn sizes_that_cannot_be() {
        for size in [0, 1, 32, 63, 65, 96, 65_537, 131_072] {
            assert!(ReplayWindow::new(size, true).is_none(), "{size}");
        }
    }
}
