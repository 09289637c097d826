//! Whose tunnel it is. The workers of a gateway share its tunnels: a tunnel with its SAs, calls, rate, waiting packets and
//! translations is in one worker's pipeline, its owner's, so that a sequence number or a replay window is never shared. The
//! others know the tunnel, its routes and its media ports, and hand over what comes to them for it.

use core::num::NonZeroU8;
use sipsec_net::dp::Op;
use sipsec_net::{DropReason, MediaPort, TunnelId};

/// A worker, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerIndex(pub u8);

/// How tunnels are divided among workers: without a table, so that every thread finds the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    workers: NonZeroU8,
}

impl Owners {
    /// One worker has every tunnel.
    pub const ONE: Self = Self { workers: NonZeroU8::MIN };

    #[must_use]
    pub const fn new(workers: NonZeroU8) -> Self {
        Self { workers }
    }

    #[must_use]
    pub const fn workers(self) -> u8 {
        self.workers.get()
    }

    #[must_use]
    pub const fn of(self, tunnel: TunnelId) -> WorkerIndex {
        WorkerIndex((tunnel.0 % self.workers.get() as u32) as u8)
    }

    /// Every worker.
    pub fn all(self) -> impl Iterator<Item = WorkerIndex> {
        (0..self.workers.get()).map(WorkerIndex)
    }
}

/// What a packet is that goes from one worker to another. It may go on as a later kind, never as the same or an earlier one: so
/// no packet goes round in circles, also while the workers are about to learn of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// A fragment as it came from the WAN, to the worker that puts together what its sender has sent.
    Fragment,
    /// A frame as it came from the WAN.
    Outside,
    /// A frame as it came from the inside.
    Inside,
    /// An IP packet that came through the tunnel `from`, on its way into `tunnel`.
    Hub { tunnel: TunnelId, from: TunnelId },
    /// An ICMP error for the other end of the tunnel.
    Error { tunnel: TunnelId },
}

impl HandOver {
    /// Whether a packet may be handed over as this that was itself handed over as `before`.
    pub fn after(self, before: Option<Self>) -> Result<(), DropReason> {
        let goes_on = before.is_none_or(|before| before.rank() < self.rank());
        if goes_on { Ok(()) } else { Err(DropReason::HandOffStale) }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Fragment => 0,
            Self::Outside => 1,
            Self::Inside => 2,
            Self::Hub { .. } => 3,
            Self::Error { .. } => 4,
        }
    }
}

/// No tunnel's.
const CLOSED: u32 = u32::MAX;

/// One worker's place among the others, and what it knows of their tunnels.
#[derive(Debug)]
pub(crate) struct Place {
    own: WorkerIndex,
    owners: Owners,
    /// The tunnel of each media port of the others; empty if there are none.
    ports: Box<[u32]>,
}

impl Place {
    /// Of a worker that has everything.
    pub(crate) fn alone() -> Self {
        Self { own: WorkerIndex(0), owners: Owners::ONE, ports: Box::default() }
    }

    pub(crate) fn new(own: WorkerIndex, owners: Owners) -> Self {
        let ports = if owners.workers() > 1 { usize::from(u16::MAX) + 1 } else { 0 };
        Self { own, owners, ports: vec![CLOSED; ports].into() }
    }

    /// The worker that has this tunnel, unless it is this one.
    pub(crate) fn elsewhere(&self, tunnel: TunnelId) -> Option<WorkerIndex> {
        Some(self.owners.of(tunnel)).filter(|owner| *owner != self.own)
    }

    /// The worker that puts together the fragments of what has this hash, unless it is this one. Their queues need not be that of
    /// the whole.
    pub(crate) fn reassembles_elsewhere(&self, hash: u32) -> Option<WorkerIndex> {
        let worker = WorkerIndex((hash % u32::from(self.owners.workers())) as u8);
        Some(worker).filter(|worker| *worker != self.own)
    }

    /// Whether another worker alone acts on the operation.
    pub(crate) fn is_others(&self, op: &Op) -> bool {
        owners_alone(op).is_some_and(|tunnel| self.elsewhere(tunnel).is_some())
    }

    /// The tunnel of another worker that has this media port.
    pub(crate) fn tunnel_of(&self, port: MediaPort) -> Option<TunnelId> {
        self.ports.get(usize::from(port.0)).copied().filter(|tunnel| *tunnel != CLOSED).map(TunnelId)
    }

    pub(crate) fn open(&mut self, port: MediaPort, tunnel: TunnelId) {
        if let Some(entry) = self.ports.get_mut(usize::from(port.0)) {
            *entry = tunnel.0;
        }
    }

    pub(crate) fn close(&mut self, port: MediaPort) {
        if let Some(entry) = self.ports.get_mut(usize::from(port.0)) {
            *entry = CLOSED;
        }
    }

    /// Rows of translations are numbered through all workers; how many each has.
    const fn nat_rows(&self) -> u32 {
        u32::MAX / self.owners.workers() as u32
    }

    /// The row of this worker's table that has this number, if it is one of them.
    pub(crate) fn own_nat_row(&self, row: u32) -> Option<u32> {
        let worker = (row / self.nat_rows()).min(u32::from(self.owners.workers()) - 1);
        (worker == u32::from(self.own.0)).then(|| row - worker * self.nat_rows())
    }

    /// The number of a row of this worker's table; of the next worker's first for its end.
    pub(crate) fn nat_row(&self, own: Option<u32>) -> Option<u32> {
        let base = |worker: u8| u32::from(worker) * self.nat_rows();
        match own {
            Some(row) => Some(base(self.own.0) + row),
            None => Some(self.own.0 + 1).filter(|next| *next < self.owners.workers()).map(base),
        }
    }
}

/// The tunnel of an operation that concerns nothing but what its owner has of it.
pub(crate) const fn owners_alone(op: &Op) -> Option<TunnelId> {
    match op {
        Op::TunnelQos(spec) => Some(spec.tunnel),
        Op::TunnelQosFilters(more) => Some(more.tunnel),
        Op::SaAdd(spec) => Some(spec.tunnel),
        Op::FilterAdd { tunnel, .. }
        | Op::FilterClear { tunnel, .. }
        | Op::TunnelBind { tunnel, .. }
        | Op::TunnelUnbind(tunnel)
        | Op::ReplayTrigger(tunnel)
        | Op::FlushTrigger(tunnel)
        | Op::NatRule { tunnel, .. }
        | Op::NatRemove(tunnel) => Some(*tunnel),
        Op::TunnelAdd(_)
        | Op::TunnelSet(_)
        | Op::TunnelRemove(_)
        | Op::RouteAdd { .. }
        | Op::RouteRemove { .. }
        | Op::MediaOpen(_)
        | Op::MediaClose(_)
        | Op::NextHop { .. }
        | Op::PeerSource { .. }
        | Op::PathMtu { .. }
        | Op::SaSelectors { .. }
        | Op::SaRemove(_)
        | Op::NatPolicy(_)
        | Op::NatClear(_)
        | Op::NatPage { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(workers: u8) -> Vec<Place> {
        let owners = Owners::new(NonZeroU8::new(workers).expect("some"));
        owners.all().map(|own| Place::new(own, owners)).collect()
    }

    #[test]
    fn every_tunnel_has_one_owner() {
        for workers in 1..=4 {
            for tunnel in (0..100).map(TunnelId) {
                let places = places(workers);
                let own = places.iter().filter(|p| p.elsewhere(tunnel).is_none());
                assert_eq!(own.count(), 1, "{tunnel} of {workers}");
            }
        }
    }

    #[test]
    fn pages_of_translations_go_through_all_workers() {
        for workers in 1..=4 {
            let places = places(workers);
            let (mut row, mut seen) = (Some(0), Vec::new());
            while let Some(from) = row {
                let mut own = places
                    .iter()
                    .filter_map(|p| Some((p.own.0, p.own_nat_row(from)?, p)))
                    .collect::<Vec<_>>();
                let (worker, local, place) = own.pop().expect("one has it");
                assert!(own.is_empty());
                seen.push((worker, local));
                // Two pages each.
                row = place.nat_row((local == 0).then_some(32));
            }
            let expected = (0..workers).flat_map(|w| [(w, 0), (w, 32)]).collect::<Vec<_>>();
            assert_eq!(seen, expected);
        }
        assert_eq!(Place::alone().own_nat_row(u32::MAX), Some(u32::MAX));
    }
}
