//! The places of a batch: packets that came in together stay where they are until the last stage, so that no stage moves
//! them. One at a time is worked on; what a stage adds (fragments, errors) is worked on at once and has its place behind.

use crate::fib::Answer;
use crate::packet::Packet;
use arrayvec::ArrayVec;

/// Packets sealed or opened together. Engines gain little beyond 16, and the headers of so many stay in the first cache.
pub(crate) const BATCH_MAX: usize = 64;
/// As many may be added.
const PLACES_MAX: usize = 2 * BATCH_MAX;

pub(crate) struct Places<P> {
    /// `None` where the packet has left.
    packets: Vec<Option<P>>,
    /// How many came in together.
    arrived: usize,
    /// The place that is worked on.
    current: Option<usize>,
    /// What was found out about the packet in each place before the first was worked on.
    routes: ArrayVec<Route, BATCH_MAX>,
}

/// What is known of the way of a packet that has not been parsed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Nothing.
    Unknown,
    /// The FIB's answer for its destination.
    Found(Answer),
}

impl<P> Default for Places<P> {
    fn default() -> Self {
        Self { packets: Vec::new(), arrived: 0, current: None, routes: ArrayVec::new() }
    }
}

impl<P: Packet> Places<P> {
    pub(crate) fn new() -> Self {
        Self { packets: Vec::with_capacity(PLACES_MAX), ..Self::default() }
    }

    /// Takes as many packets as come in together; how many there were.
    pub(crate) fn arrive(&mut self, packets: &mut impl Iterator<Item = P>) -> usize {
        self.packets.clear();
        self.routes.clear();
        self.packets.extend(packets.by_ref().take(BATCH_MAX).map(Some));
        self.arrived = self.packets.len();
        self.arrived
    }

    /// The packets of the batch, as they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &P> {
        self.packets.iter().flatten()
    }

    #[inline]
    pub(crate) fn at(&self, place: usize) -> Option<&P> {
        self.packets.get(place)?.as_ref()
    }

    /// What is known of the way of each packet, in the order of [`Self::iter`].
    #[inline]
    pub(crate) fn set_routes(&mut self, routes: ArrayVec<Route, BATCH_MAX>) {
        self.routes = routes;
    }

    /// The FIB's answer for the destination of the packet that is worked on, if it was asked before.
    #[inline]
    pub(crate) fn route(&self) -> Option<Answer> {
        match self.routes.get(self.current?)? {
            Route::Unknown => None,
            Route::Found(answer) => Some(*answer),
        }
    }

    /// The packet that is worked on is this one of those that arrived.
    #[inline]
    pub(crate) const fn work_on(&mut self, place: usize) {
        self.current = Some(place);
    }

    /// Another packet is worked on. There is room after [`Self::clear_added`].
    pub(crate) fn add(&mut self, packet: P) {
        self.current = Some(self.packets.len());
        self.packets.push(Some(packet));
    }

    /// Whether another packet may be added.
    pub(crate) const fn has_room(&self) -> bool {
        self.packets.len() < PLACES_MAX
    }

    /// All that were added have left.
    pub(crate) fn clear_added(&mut self) {
        self.packets.truncate(self.arrived);
    }

    /// The packet that is worked on.
    #[inline]
    pub(crate) fn current(&mut self) -> Option<&mut P> {
        self.packets.get_mut(self.current?)?.as_mut()
    }

    /// The packet that is worked on stays in this place.
    #[inline]
    pub(crate) const fn stay(&mut self) -> Option<usize> {
        self.current.take()
    }

    /// The packet that is worked on, unless it stayed or has left.
    #[inline]
    pub(crate) fn leave(&mut self) -> Option<P> {
        let place = self.current.take()?;
        self.take(place)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut P> {
        self.packets.get_mut(place)?.as_mut()
    }

    #[inline]
    pub(crate) fn take(&mut self, place: usize) -> Option<P> {
        self.packets.get_mut(place)?.take()
    }

    /// Several packets at once, in rising order of their places from `first` on.
    pub(crate) fn pick(&mut self, first: usize) -> Pick<'_, P> {
        Pick { rest: self.packets.get_mut(first..).unwrap_or_default(), at: first }
    }
}

/// Keys are asked of memory for this many packets ahead of the engine: sealing a small packet takes about half of the time
/// in which a key comes from the last cache.
const KEYS_AHEAD: usize = 4;

/// Asks memory for the keys of the packets that come next.
#[derive(Default)]
pub(crate) struct KeysAhead {
    /// For so many of the packets that are left.
    asked: usize,
}

impl KeysAhead {
    /// Asks for the keys of the next of `left`, where they are not those of the packet before. The first is needed at once.
    #[inline]
    pub(crate) fn keep<T>(&mut self, left: &[T], sa: impl Fn(&T) -> u32, mut ask: impl FnMut(&T)) {
        let until = left.len().min(KEYS_AHEAD + 1);
        for at in self.asked.max(1)..until {
            if sa(&left[at]) != sa(&left[at - 1]) {
                ask(&left[at]);
            }
        }
        self.asked = self.asked.max(until);
    }

    /// So many packets are done.
    #[inline]
    pub(crate) fn done(&mut self, packets: usize) {
        self.asked = self.asked.saturating_sub(packets);
    }
}

/// Packets by rising place.
pub(crate) struct Pick<'a, P> {
    rest: &'a mut [Option<P>],
    at: usize,
}

impl<'a, P> Pick<'a, P> {
    /// `None` if this place is empty or before one already picked.
    #[inline]
    pub(crate) fn next(&mut self, place: usize) -> Option<&'a mut P> {
        let skip = place.checked_sub(self.at)?;
        let (packet, rest) = core::mem::take(&mut self.rest).get_mut(skip..)?.split_first_mut()?;
        self.rest = rest;
        self.at = place + 1;
        packet.as_mut()
    }
}
