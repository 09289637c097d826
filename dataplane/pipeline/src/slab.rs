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

/// Values in numbered places; a place is used again after its value went.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
    max: u32,
}

impl<T> Slab<T> {
    pub(crate) fn new(max: u32) -> Self {
        Self { places: Vec::with_capacity(max as usize), free: Vec::with_capacity(max as usize), max }
    }

    /// `None` if all places are taken.
    pub(crate) fn insert(&mut self, value: T) -> Option<u32> {
        self.insert_with(|_| value)
    }

    /// The same for a value that knows its place.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(u32) -> T) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            self.places[index as usize] = Some(make(index));
            return Some(index);
        }
        let index = self.places.len() as u32;
        (index < self.max).then(|| {
            self.places.push(Some(make(index)));
            index
        })
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let value = self.places.get_mut(index as usize)?.take();
        if value.is_some() {
            self.free.push(index);
        }
        value
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.as_mut()
    }

    /// The first cache lines of the value are asked for soon.
    #[inline]
    pub(crate) fn prefetch<const LINES: usize>(&self, index: u32) {
        if let Some(place) = self.places.get(index as usize) {
            prefetch_lines::<_, LINES>(place);
        }
    }

    pub(crate) fn len(&self) -> u32 {
        (self.places.len() - self.free.len()) as u32
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.places).filter_map(|(i, p)| Some((i, p.as_ref()?)))
    }

    /// Places that have ever been used.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_used_again() {
        let mut slab = Slab::new(2);
        let (a, b) = (slab.insert('a').expect("room"), slab.insert('b').expect("room"));
        assert_eq!((slab.insert('c'), slab.len()), (None, 2));
        assert_eq!((slab.remove(a), slab.remove(a)), (Some('a'), None));
        assert_eq!((slab.get(a), slab.get(b)), (None, Some(&'b')));
        assert_eq!(slab.insert('d'), Some(a));
        assert!(slab.get(7).is_none() && slab.remove(7).is_none());
    }
}
