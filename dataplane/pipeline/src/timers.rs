//! Deadlines of a fixed set of owners, each with at most one: a heap that knows where each owner's deadline is. Asking for
//! the next one looks at one place; setting, moving and cancelling look at as many as the heap is deep (seven for ten
//! thousand). Exact, and no owner is looked at that is not due.

use sipsec_net::Instant;

/// Children of a place: four lie side by side in the cache.
const CHILDREN: usize = 4;
const NOWHERE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Timers {
    /// Each no later than its children: `4n + 1` to `4n + 4` are those of `n`.
    heap: Vec<(Instant, u32)>,
    /// Where each owner's deadline is in the heap.
    place: Vec<u32>,
}

impl Timers {
    /// For owners below `max`.
    pub(crate) fn new(max: u32) -> Self {
        Self { heap: Vec::with_capacity(max as usize), place: vec![NOWHERE; max as usize] }
    }

    /// The owner's deadline is now this one. An owner that cannot be has none.
    pub(crate) fn set(&mut self, owner: u32, at: Instant) {
        match self.place.get(owner as usize) {
            None => {}
            Some(&NOWHERE) => {
                self.heap.push((at, owner));
                self.up(self.heap.len() - 1);
            }
            Some(&place) => {
                let place = place as usize;
                let before = core::mem::replace(&mut self.heap[place].0, at);
                if at < before { self.up(place) } else { self.down(place) }
            }
        }
    }

    pub(crate) fn cancel(&mut self, owner: u32) {
        if let Some(&place) = self.place.get(owner as usize).filter(|p| **p != NOWHERE) {
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
        self.place[owner as usize] = NOWHERE;
        if place < self.heap.len() {
            self.up(place);
            self.down(self.place[self.heap[place].1 as usize] as usize);
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
        let owner = self.heap[place].1;
        self.place[owner as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn agrees_with_a_map_that_is_searched(steps in prop::collection::vec((0u32..40, 0u64..100, 0u8..8), 1..300)) {
            let mut timers = Timers::new(32);
            let mut model: BTreeMap<u32, Instant> = BTreeMap::new();
            for (owner, at, what) in steps {
                let at = Instant::from_nanos(at);
                match what {
                    0 => {
                        timers.cancel(owner);
                        model.remove(&owner);
                    }
                    1 => {
                        let due = timers.pop_due(at);
                        let least = model.values().min().copied();
                        prop_assert_eq!(due.is_some(), least.is_some_and(|l| l <= at));
                        if let Some(due) = due {
                            prop_assert_eq!(model.remove(&due), least);
                        }
                    }
                    _ => {
                        timers.set(owner, at);
                        if owner < 32 {
                            model.insert(owner, at);
                        }
                    }
                }
                prop_assert_eq!(timers.next(), model.values().min().copied().unwrap_or(Instant::MAX));
                let mut owners: Vec<u32> = timers.heap.iter().map(|(_, owner)| *owner).collect();
                owners.sort_unstable();
                prop_assert_eq!(owners, model.keys().copied().collect::<Vec<_>>());
            }
        }
    }
}
