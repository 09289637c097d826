//! Packets that wait: one pool of places shared by all trigger queues and shapers, and queues that are lists through it.
//! A thousand tunnels need no thousand preallocated queues, and all that waits is bounded by one number.

use crate::parse::Info;
use sipsec_net::{Instant, TunnelId};

const NONE: u32 = u32::MAX;

/// A packet (an inner IP packet, or a whole outer frame of IKE) and what was found in it.
#[derive(Debug)]
pub(crate) struct Waiting<P> {
    pub packet: P,
    pub info: Info,
    pub since: Instant,
    /// The tunnel it came from, if any.
    pub origin: Option<TunnelId>,
    /// What its queue counts: inner bytes before an SA, outer bytes in a shaper.
    pub cost: u16,
}

#[derive(Debug)]
struct Place<P> {
    waiting: Option<Waiting<P>>,
    next: u32,
}

#[derive(Debug)]
pub(crate) struct Pool<P> {
    places: Vec<Place<P>>,
    free: u32,
    used: u32,
}

/// First in, first out, through a [`Pool`].
#[derive(Debug)]
pub(crate) struct Fifo {
    head: u32,
    tail: u32,
    len: u32,
    bytes: u64,
}

impl Default for Fifo {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0, bytes: 0 }
    }
}

impl<P> Pool<P> {
    pub(crate) fn new(max: u32) -> Self {
        let place = |i: u32| Place { waiting: None, next: if i + 1 < max { i + 1 } else { NONE } };
        Self { places: (0..max).map(place).collect(), free: if max > 0 { 0 } else { NONE }, used: 0 }
    }

    /// How many more packets may wait.
    pub(crate) const fn free(&self) -> u32 {
        self.places.len() as u32 - self.used
    }

    /// How many packets wait.
    pub(crate) const fn used(&self) -> u32 {
        self.used
    }
}

impl Fifo {
    /// Gives the packet back if the pool is full.
    pub(crate) fn push<P>(&mut self, pool: &mut Pool<P>, waiting: Waiting<P>) -> Result<(), Waiting<P>> {
        let index = pool.free;
        if index == NONE {
            return Err(waiting);
        }
        self.bytes += u64::from(waiting.cost);
        let place = &mut pool.places[index as usize];
        pool.free = place.next;
        *place = Place { waiting: Some(waiting), next: NONE };
        pool.used += 1;
        if self.tail == NONE {
            self.head = index;
        } else {
            pool.places[self.tail as usize].next = index;
        }
        self.tail = index;
        self.len += 1;
        Ok(())
    }

    pub(crate) fn pop<P>(&mut self, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        let index = self.head;
        if index == NONE {
            return None;
        }
        let place = &mut pool.places[index as usize];
        let waiting = place.waiting.take().expect("a place in a list holds a packet");
        self.head = place.next;
        place.next = pool.free;
        pool.free = index;
        pool.used -= 1;
        if self.head == NONE {
            self.tail = NONE;
        }
        self.len -= 1;
        self.bytes -= u64::from(waiting.cost);
        Some(waiting)
    }

    /// Takes out what is not to `keep`; how many.
    pub(crate) fn retain<P>(&mut self, pool: &mut Pool<P>, keep: impl Fn(&Waiting<P>) -> bool) -> u32 {
        let mut dropped = 0;
        for _ in 0..self.len {
            let Some(waiting) = self.pop(pool) else { break };
            // The place just given back is free, so there is room.
            if !keep(&waiting) || self.push(pool, waiting).is_err() {
                dropped += 1;
            }
        }
        dropped
    }

    pub(crate) fn peek<'a, P>(&self, pool: &'a Pool<P>) -> Option<&'a Waiting<P>> {
        pool.places.get(self.head as usize)?.waiting.as_ref()
    }

    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn queues_through_one_pool_agree_with_queues_of_their_own(
            max in 0u32..8,
            steps in prop::collection::vec((0usize..3, any::<bool>()), 1..100),
        ) {
            let mut pool = Pool::new(max);
            let mut fifos: [Fifo; 3] = Default::default();
            let mut model: [VecDeque<u16>; 3] = Default::default();
            for ((which, push), id) in steps.into_iter().zip(1u16..) {
                if push {
                    let waiting = Waiting {
                        packet: id,
                        info: Info::default(),
                        since: Instant::ZERO,
                        origin: None,
                        cost: id,
                    };
                    let full = model.iter().map(VecDeque::len).sum::<usize>() == max as usize;
                    prop_assert_eq!(fifos[which].push(&mut pool, waiting).is_err(), full);
                    if !full {
                        model[which].push_back(id);
                    }
                } else {
                    prop_assert_eq!(fifos[which].peek(&pool).map(|w| w.packet), model[which].front().copied());
                    prop_assert_eq!(fifos[which].pop(&mut pool).map(|w| w.packet), model[which].pop_front());
                }
                prop_assert_eq!(fifos[which].len() as usize, model[which].len());
                prop_assert_eq!(fifos[which].bytes(), model[which].iter().map(|i| u64::from(*i)).sum::<u64>());
                prop_assert_eq!(pool.used() as usize, model.iter().map(VecDeque::len).sum::<usize>());
            }
        }
    }
}
