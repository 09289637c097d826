//! Tables that are as large at build as they ever become.

use crate::sys::prefetch_lines;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::{HashMap, HashSet};

/// Mixes integer keys. Keys are chosen by the control plane, not by packets, so no peer can make them collide.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }
    fn write_u64(&mut self, n: u64) {
        // The finaliser of SplitMix64.
        let mut z = (self.0 ^ n).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 = z ^ (z >> 31);
    }
    fn write_u128(&mut self, n: u128) {
        self.write_u64(n as u64);
        self.write_u64((n >> 64) as u64);
    }
}

pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<Mix>>;

pub(crate) fn map<K, V>(capacity: u32) -> Map<K, V> {
    Map::with_capacity_and_hasher(capacity as usize, BuildHasherDefault::default())
}

/// How numbers are made of a position and its generation: the position in the low bits, above it how often the position was
/// used before. So a number that was kept for too long finds nothing, also when its position holds another value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbering {
    /// The low bits.
    position: u32,
}

/// More values than any table may have; with fewer, each position has 256 generations at least.
const POSITIONS_MAX: u32 = 1 << 24;

impl Numbering {
    /// For positions below `max`.
    pub(crate) const fn new(max: u32) -> Self {
        assert!(max <= POSITIONS_MAX, "the configuration bounds every table");
        let bits = u32::BITS - max.saturating_sub(1).leading_zeros();
        Self { position: (1 << bits) - 1 }
    }

    #[inline]
    pub(crate) const fn position(self, number: u32) -> usize {
        (number & self.position) as usize
    }

    /// The next number of the same position; `None` if its numbers are used up. `u32::MAX` is never one.
    const fn next(self, number: u32) -> Option<u32> {
        match number.checked_add(self.position + 1) {
            Some(u32::MAX) | None => None,
            next => next,
        }
    }
}

/// What a slab holds knows its own number, so that a look-up compares it without another access to memory.
pub(crate) trait Occupant {
    fn number(&self) -> u32;
}

/// Values by number. A number is given once: when its value has gone it finds nothing, also while its position is used
/// again. A position whose numbers are used up stays empty.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    positions: Vec<Option<T>>,
    /// The next numbers of positions that are free.
    free: Vec<u32>,
    max: u32,
    len: u32,
    numbering: Numbering,
}

impl<T: Occupant> Slab<T> {
    pub(crate) fn new(max: u32) -> Self {
        let numbering = Numbering::new(max);
        let (positions, free) = (Vec::with_capacity(max as usize), Vec::with_capacity(max as usize));
        Self { positions, free, max, len: 0, numbering }
    }

    /// Adds the value that `make` makes for its number. `None` if all positions are taken.
    pub(crate) fn insert(&mut self, make: impl FnOnce(u32) -> T) -> Option<u32> {
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                let first = self.positions.len() as u32;
                if first >= self.max {
                    return None;
                }
                self.positions.push(None);
                first
            }
        };
        let value = make(number);
        debug_assert_eq!(value.number(), number, "the value knows its number");
        self.positions[self.numbering.position(number)] = Some(value);
        self.len += 1;
        Some(number)
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let position = self.positions.get_mut(self.numbering.position(number))?;
        let value = position.take_if(|value| value.number() == number)?;
        self.free.extend(self.numbering.next(number));
        self.len -= 1;
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.at(self.numbering.position(number)).filter(|value| value.number() == number)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let value = self.positions.get_mut(self.numbering.position(number))?.as_mut();
        value.filter(|value| value.number() == number)
    }

    /// The value in this position at the moment.
    #[inline]
    pub(crate) fn at(&self, position: usize) -> Option<&T> {
        self.positions.get(position)?.as_ref()
    }

    pub(crate) const fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// The first cache lines of the value are asked for soon.
    #[inline]
    pub(crate) fn prefetch<const LINES: usize>(&self, number: u32) {
        if let Some(position) = self.positions.get(self.numbering.position(number)) {
            prefetch_lines::<_, LINES>(position);
        }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.positions.iter().flatten()
    }

    /// Positions that have ever been used.
    pub(crate) const fn positions(&self) -> usize {
        self.positions.len()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.positions.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Eq)]
    struct Value {
        number: u32,
        name: u32,
    }

    impl Occupant for Value {
        fn number(&self) -> u32 {
            self.number
        }
    }

    fn named(name: u32) -> impl FnOnce(u32) -> Value {
        move |number| Value { number, name }
    }

    #[test]
    fn positions_are_bounded_and_used_again_under_other_numbers() {
        let mut slab = Slab::new(2);
        let (a, b) = (slab.insert(named(1)).expect("room"), slab.insert(named(2)).expect("room"));
        assert_eq!((slab.insert(named(3)), slab.len()), (None, 2));
        assert_eq!(slab.remove(a).map(|v| v.name), Some(1));
        assert_eq!((slab.remove(a), slab.get(b).map(|v| v.name)), (None, Some(2)));
        let c = slab.insert(named(3)).expect("room");
        assert_eq!((slab.at(0).map(|v| v.name), slab.positions()), (Some(3), 2), "the position is the same");
        // The number that was kept finds neither the value that went nor the one that came.
        assert!(slab.get(a).is_none() && slab.get_mut(a).is_none() && slab.remove(a).is_none());
        assert_eq!(slab.get_mut(c).map(|v| v.name), Some(3));
        assert!(slab.get(7).is_none() && slab.remove(7).is_none());
    }

    #[test]
    fn a_position_whose_numbers_are_used_up_stays_empty() {
        let mut slab = Slab::new(POSITIONS_MAX);
        let mut seen = Vec::new();
        // 8 bits are left for the generation of each of the two positions.
        for name in 0..600 {
            let number = slab.insert(named(name)).expect("room");
            assert_ne!(number, u32::MAX);
            seen.push(number);
            slab.remove(number);
        }
        let given = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), slab.len()), (given, 0), "no number is given twice");
        assert_eq!(slab.positions(), 3);
    }

    proptest! {
        /// In any order of adding and removing, each number ever given finds its own value while that is there, and nothing after.
        #[test]
        fn no_number_finds_the_value_of_another(max in 1u32..6, steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 1..200)) {
            let mut slab = Slab::new(max);
            let mut live: BTreeMap<u32, u32> = BTreeMap::new();
            let mut given: Vec<u32> = Vec::new();
            for (name, (adds, which)) in (0..).zip(steps) {
                if adds || given.is_empty() {
                    let number = slab.insert(named(name));
                    prop_assert_eq!(number.is_some(), (live.len() as u32) < max);
                    if let Some(number) = number {
                        prop_assert!(!given.contains(&number));
                        given.push(number);
                        live.insert(number, name);
                    }
                } else {
                    let number = *which.get(&given);
                    prop_assert_eq!(slab.remove(number).map(|v| v.name), live.remove(&number));
                }
                for number in &given {
                    prop_assert_eq!(slab.get(*number).map(|v| v.name), live.get(number).copied());
                }
                prop_assert_eq!(slab.len() as usize, live.len());
                prop_assert_eq!(slab.iter().count(), live.len());
            }
        }
    }
}
