//! Deadlines of a fixed set of owners, each with at most one: a heap that knows where each owner's deadline is. Asking for
//! the next one looks at one place; setting, moving and cancelling look at as many as the heap is deep (seven for ten
//! thousand). Exact, and no owner is looked at that is not due.

use crate::slab::Numbering;
use sipsec_net::Instant;

/// Children of a place: four lie side by side in the cache.
const CHILDREN: usize = 4;
const NOWHERE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Timers {
    /// Each no later than its children: `4n + 1` to `4n + 4` are those of `n`.
    heap: Vec<(Instant, u32)>,
    /// Where the deadline of each position's owner is in the heap.
    place: Vec<u32>,
    /// How owners are numbered: one that took the position of another is another owner.
    numbering: Numbering,
}

impl Timers {
    /// For the numbers of a [`Slab`](crate::slab::Slab) of `max` values.
    pub(crate) fn new(max: u32) -> Self {
        let (heap, place) = (Vec::with_capacity(max as usize), vec![NOWHERE; max as usize]);
        Self { heap, place, numbering: Numbering::new(max) }
    }

    /// The owner's deadline is now this one; that of an earlier owner of its position is forgotten. An owner that cannot be has
    /// none.
    pub(crate) fn set(&mut self, owner: u32, at: Instant) {
        match self.place.get(self.numbering.position(owner)) {
            None => {}
            Some(&NOWHERE) => {
                self.heap.push((at, owner));
                self.up(self.heap.len() - 1);
            }
            Some(&place) => {
                let place = place as usize;
                let (before, _) = core::mem::replace(&mut self.heap[place], (at, owner));
                if at < before { self.up(place) } else { self.down(place) }
            }
        }
    }

    pub(crate) fn cancel(&mut self, owner: u32) {
        let place = self.place.get(self.numbering.position(owner)).filter(|p| **p != NOWHERE);
        if let Some(&place) = place.filter(|p| self.heap[**p as usize].1 == owner) {
            self.remove(place as usize);
        }
    }

    /// [`Instant::MAX`] for none.
    pub(crate) fn next(&self) -> Instant {
        self.heap.first().map_or(Instant::MAX, |(at, _)| *at)
    }

    /// An owner whose deadline has come, the earliest first; it has none any more.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let (at, owner) = *self.heap.first()?;
        (at <= now).then(|| {
            self.remove(0);
            owner
        })
    }

    fn remove(&mut self, place: usize) {
        let (_, owner) = self.heap.swap_remove(place);
        self.place[self.numbering.position(owner)] = NOWHERE;
        if place < self.heap.len() {
            let moved = self.numbering.position(self.heap[place].1);
            self.up(place);
            self.down(self.place[moved] as usize);
        }
    }

    /// Moves a deadline towards the first place until none before it is later.
    fn up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.heap.swap(place, parent);
            self.note(place);
            place = parent;
        }
        self.note(place);
    }

    /// Moves a deadline away from the first place until none behind it is earlier.
    fn down(&mut self, mut place: usize) {
        loop {
            let first = place * CHILDREN + 1;
            let children = first..(first + CHILDREN).min(self.heap.len());
            let Some(least) = children.min_by_key(|c| self.heap[*c].0) else { break };
            if self.heap[place].0 <= self.heap[least].0 {
                break;
            }
            self.heap.swap(place, least);
            self.note(place);
            place = least;
        }
        self.note(place);
    }

    fn note(&mut self, place: usize) {
        let owner = self.numbering.position(self.heap[place].1);
        self.place[owner] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Not a power of two, so that there are positions that cannot be.
    const MAX: u32 = 33;
    const POSITION_BITS: u32 = 6;

    proptest! {
        /// Owners of two generations share positions: the later to be set has the deadline, and cancelling the other does nothing.
        #[test]
        fn agrees_with_a_map_that_is_searched(steps in prop::collection::vec((0u32..40, 0u32..2, 0u64..100, 0u8..8), 1..300)) {
            let mut timers = Timers::new(MAX);
            let mut model: BTreeMap<u32, (u32, Instant)> = BTreeMap::new();
            for (position, generation, at, what) in steps {
                let owner = position | generation << POSITION_BITS;
                let at = Instant::from_nanos(at);
                let least = model.values().map(|(_, at)| *at).min();
                match what {
                    0 => {
                        timers.cancel(owner);
                        if model.get(&position).is_some_and(|(its, _)| *its == owner) {
                            model.remove(&position);
                        }
                    }
                    1 => {
                        let due = timers.pop_due(at);
                        prop_assert_eq!(due.is_some(), least.is_some_and(|l| l <= at));
                        if let Some(due) = due {
                            let was = model.remove(&(due & ((1 << POSITION_BITS) - 1)));
                            prop_assert_eq!(was, least.map(|l| (due, l)));
                        }
                    }
                    _ => {
                        timers.set(owner, at);
                        if position < MAX {
                            model.insert(position, (owner, at));
                        }
                    }
                }
                let least = model.values().map(|(_, at)| *at).min();
                prop_assert_eq!(timers.next(), least.unwrap_or(Instant::MAX));
                let mut owners: Vec<u32> = timers.heap.iter().map(|(_, owner)| *owner).collect();
                owners.sort_unstable();
                let mut expected: Vec<u32> = model.values().map(|(owner, _)| *owner).collect();
                expected.sort_unstable();
                prop_assert_eq!(owners, expected);
            }
        }
    }
}
