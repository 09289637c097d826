//! A single-producer single-consumer ring of fixed slots, each a number of 64-bit words.
//!
//! Cursors count slots since the ring was made and never wrap in practice; a slot's place is `cursor % capacity`. Every
//! word is an atomic, read and written relaxed: another process may scribble over it at any moment without undefined
//! behaviour here, and the price on the machines of today is an ordinary load or store.
//!
//! Order: the producer writes slots, then publishes them with one release store of `produced`; the consumer's acquire load
//! of it makes them visible. The consumer reads slots, then frees them with one release store of `consumed`; the
//! producer's acquire load of that orders its next writes after those reads. A producer that is killed before its store
//! has changed nothing that the consumer looks at, so what one store publishes is seen whole or not at all.
//!
//! Trust: each side keeps its own cursor in private memory and only ever *writes* it to the shared word; the other's cursor
//! is checked against it on every look. A cursor that went back, or that claims more than the capacity, is a
//! [`RingFault`]: counted, and nothing is read or written.

use crate::sync::{AtomicU64, Ordering};
use core::fmt;
use crossbeam_utils::CachePadded;

/// The shared words that are not slots. Each is written by one side alone and has its own cache line.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Cursors {
    /// Written by the producer: slots published so far.
    pub produced: CachePadded<AtomicU64>,
    /// Written by the consumer: slots freed so far.
    pub consumed: CachePadded<AtomicU64>,
    /// Written by the producer: messages that found no room.
    pub overflowed: CachePadded<AtomicU64>,
}

/// Where a ring's words are: in a shared segment, or in a test's own memory.
pub trait RingMemory {
    fn cursors(&self) -> &Cursors;
    /// `capacity × slot_words` words.
    fn slots(&self) -> &[AtomicU64];
}

/// Number and size of slots; part of the layout fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// A power of two.
    pub capacity: usize,
    pub slot_words: usize,
}

/// The other side's cursor is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingFault {
    /// Messages that this side has produced or consumed.
    pub ours: u64,
    /// The value of the other side's cursor.
    pub theirs: u64,
}

impl fmt::Display for RingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the other process shows an impossible ring cursor {} (ours is {})", self.theirs, self.ours)
    }
}

impl core::error::Error for RingFault {}

/// The writing end.
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    geometry: Geometry,
    produced: u64,
    consumed_seen: u64,
    overflowed: u64,
    faults: u64,
}

impl<M: RingMemory> Producer<M> {
    /// The writing end of an unused ring. Two producers of one ring lose messages.
    ///
    /// # Panics
    /// If `memory` does not have the size that `geometry` says: a broken invariant of the caller.
    pub fn new(memory: M, geometry: Geometry) -> Self {
        check_geometry(&memory, geometry);
        Self { memory, geometry, produced: 0, consumed_seen: 0, overflowed: 0, faults: 0 }
    }

    /// Slots that can be written now.
    pub fn free(&mut self) -> Result<usize, RingFault> {
        let consumed = self.memory.cursors().consumed.load(Ordering::Acquire);
        // Truth lies between what we saw last and what we produced; both subtractions are distances from the former.
        let outstanding_max = self.produced.wrapping_sub(self.consumed_seen);
        if consumed.wrapping_sub(self.consumed_seen) > outstanding_max {
            self.faults += 1;
            return Err(RingFault { ours: self.produced, theirs: consumed });
        }
        self.consumed_seen = consumed;
        Ok(self.geometry.capacity - self.outstanding())
    }

    /// Writes the first words of the slot `ahead` of the next one to be published; the others keep what they had.
    ///
    /// # Panics
    /// If the slot is not free (as [`Self::free`] said last) or the words do not fit: a broken invariant of the caller.
    pub fn stage(&self, ahead: usize, words: &[u64]) {
        assert!(self.outstanding() + ahead < self.geometry.capacity, "staged beyond the free slots");
        for (to, from) in slot(&self.memory, self.geometry, self.produced, ahead).iter().zip_exact(words) {
            to.store(*from, Ordering::Relaxed);
        }
    }

    /// Hands the next `count` slots to the consumer, all at once.
    ///
    /// # Panics
    /// If that many slots were not free: a broken invariant of the caller.
    pub fn publish(&mut self, count: usize) {
        assert!(self.outstanding() + count <= self.geometry.capacity, "published beyond the free slots");
        self.produced = self.produced.wrapping_add(count as u64);
        self.memory.cursors().produced.store(self.produced, Ordering::Release);
    }

    /// Counts a message that found no room, where both sides can see it.
    pub fn overflow(&mut self) {
        self.overflowed += 1;
        self.memory.cursors().overflowed.store(self.overflowed, Ordering::Relaxed);
    }

    /// Messages that found no room.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Impossible cursors seen.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    fn outstanding(&self) -> usize {
        // At most the capacity: `free` checks every new value of `consumed_seen`, `publish` every new one of `produced`.
        self.produced.wrapping_sub(self.consumed_seen) as usize
    }
}

/// The reading end.
#[derive(Debug)]
pub struct Consumer<M: RingMemory> {
    memory: M,
    geometry: Geometry,
    consumed: u64,
    produced_seen: u64,
    faults: u64,
}

impl<M: RingMemory> Consumer<M> {
    /// The reading end of an unread ring.
    ///
    /// # Panics
    /// If `memory` does not have the size that `geometry` says: a broken invariant of the caller.
    pub fn new(memory: M, geometry: Geometry) -> Self {
        check_geometry(&memory, geometry);
        Self { memory, geometry, consumed: 0, produced_seen: 0, faults: 0 }
    }

    /// Slots that can be read now.
    pub fn available(&mut self) -> Result<usize, RingFault> {
        let produced = self.memory.cursors().produced.load(Ordering::Acquire);
        let claimed = produced.wrapping_sub(self.consumed);
        if claimed > self.geometry.capacity as u64 || claimed < self.produced_seen.wrapping_sub(self.consumed)
        {
            self.faults += 1;
            return Err(RingFault { ours: self.consumed, theirs: produced });
        }
        self.produced_seen = produced;
        Ok(self.readable())
    }

    /// Copies words out of the slot `ahead` of the next one, from `from_word` on.
    ///
    /// # Panics
    /// If the slot was not available (as [`Self::available`] said last): a broken invariant of the caller.
    pub fn read(&self, ahead: usize, from_word: usize, out: &mut [u64]) {
        assert!(ahead < self.readable(), "read beyond the available slots");
        let words = slot(&self.memory, self.geometry, self.consumed, ahead);
        for (from, to) in words[from_word..].iter().zip_exact(out) {
            *to = from.load(Ordering::Relaxed);
        }
    }

    /// Overwrites the next `count` slots with zeros, so that no key stays behind in shared memory.
    ///
    /// # Panics
    /// If that many slots were not available: a broken invariant of the caller.
    pub fn wipe(&self, count: usize) {
        assert!(count <= self.readable(), "wiped beyond the available slots");
        for ahead in 0..count {
            for word in slot(&self.memory, self.geometry, self.consumed, ahead) {
                word.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Overwrites every slot with zeros, independent of the cursors: for the end of a ring that carried keys.
    pub fn wipe_all(&self) {
        for word in self.memory.slots() {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Gives the next `count` slots back to the producer.
    ///
    /// # Panics
    /// If that many slots were not available: a broken invariant of the caller.
    pub fn release(&mut self, count: usize) {
        assert!(count <= self.readable(), "released beyond the available slots");
        self.consumed = self.consumed.wrapping_add(count as u64);
        self.memory.cursors().consumed.store(self.consumed, Ordering::Release);
    }

    /// Messages for which the producer found no room, as it says.
    pub fn overflowed(&self) -> u64 {
        self.memory.cursors().overflowed.load(Ordering::Relaxed)
    }

    /// Impossible cursors seen.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    fn readable(&self) -> usize {
        self.produced_seen.wrapping_sub(self.consumed) as usize
    }
}

fn check_geometry(memory: &impl RingMemory, geometry: Geometry) {
    assert!(geometry.capacity.is_power_of_two(), "a ring's capacity is a power of two");
    assert_eq!(
        memory.slots().len(),
        geometry.capacity * geometry.slot_words,
        "a ring's memory has its geometry"
    );
}

fn slot(memory: &impl RingMemory, geometry: Geometry, cursor: u64, ahead: usize) -> &[AtomicU64] {
    let place = (cursor.wrapping_add(ahead as u64) as usize) & (geometry.capacity - 1);
    &memory.slots()[place * geometry.slot_words..][..geometry.slot_words]
}

/// `zip` that insists on enough words on the left for all on the right.
trait ZipExact: ExactSizeIterator + Sized {
    fn zip_exact<R: IntoIterator<IntoIter: ExactSizeIterator>>(
        self,
        right: R,
    ) -> core::iter::Zip<Self, R::IntoIter> {
        let right = right.into_iter();
        assert!(right.len() <= self.len(), "more words than the slot has");
        self.zip(right)
    }
}

impl<I: ExactSizeIterator> ZipExact for I {}
