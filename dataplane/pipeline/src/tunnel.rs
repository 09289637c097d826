//! The configured tunnels: each exists whether or not it has an SA.

use crate::activity::{Activities, Activity};
use crate::class_queues::Policy;
use crate::owner::WorkerIndex;
use crate::parse::Info;
use crate::slab::{Map, Occupant, Slab, map};
use crate::sys::LINE;
use crate::trigger::Trigger;
use crate::tunnel_filter::TunnelFilters;
use core::mem::offset_of;
use core::net::IpAddr;
use sipsec_net::dp::TunnelSpec;
use sipsec_net::{DropReason, Instant, MediaPort, TunnelId};

/// In the order of use: a packet out needs the first [`LINES_OUT`] cache lines, a packet in the first [`LINES_IN`]. With
/// thousands of tunnels each line comes from far away.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Tunnel {
    pub activity: Activity,
    pub filters: TunnelFilters,
    /// Number of the SA that seals, if there is one.
    pub outbound: Option<u32>,
    /// The MTU of `spec`, or what the WAN carries if that is less.
    pub inner_mtu: u16,
    pub spec: TunnelSpec,
    /// A source that the routes of this generation lead to: packets come in flows.
    pub known_source: Option<(u64, IpAddr)>,
    /// What waits for `outbound`.
    pub trigger: Trigger,
    /// Of its calls.
    pub policy: Policy,
    /// Its calls: two at most, for a moment (glare, redial).
    pub media_ports: Vec<MediaPort>,
    /// The worker that has everything else of it, if that is another: here it has its routes and media ports alone.
    pub elsewhere: Option<WorkerIndex>,
}

const LINES_OUT: usize = 1;
const LINES_IN: usize = 2;

const _: () = assert!(offset_of!(Tunnel, known_source) <= LINES_OUT * LINE);
const _: () = assert!(offset_of!(Tunnel, trigger) <= LINES_IN * LINE);

impl Occupant for Tunnel {
    #[inline]
    fn number(&self) -> u32 {
        self.activity.number()
    }
}

impl Tunnel {
    /// Counts what the tunnel has sent, or lost.
    #[inline(always)]
    pub(crate) fn count_out(&self, now: Instant, info: &Info, end: &Result<(), DropReason>) {
        match end {
            Ok(()) => self.activity.sent(info.len, self.filters.counts_out(info).then_some(now)),
            Err(_) => self.activity.dropped_out(),
        }
    }

    /// Whether routes of this generation must be asked for a packet's source.
    #[inline]
    pub(crate) fn must_check_source(&self, generation: u64, source: &IpAddr) -> bool {
        let is_known = matches!(&self.known_source, Some((g, s)) if *g == generation && s == source);
        self.spec.check_source && !is_known
    }
}

#[derive(Debug)]
pub(crate) struct Tunnels {
    slab: Slab<Tunnel>,
    by_id: Map<u32, u32>,
    activities: Activities,
}

impl Tunnels {
    pub(crate) fn new(max: u32, activities: Activities) -> Self {
        Self { slab: Slab::new(max), by_id: map(max), activities }
    }

    /// Validated: new, and there is room. Its number.
    pub(crate) fn insert(
        &mut self,
        spec: TunnelSpec,
        inner_mtu: u16,
        policy: Policy,
        elsewhere: Option<WorkerIndex>,
    ) -> u32 {
        let numbering = self.slab.numbering();
        let activity = |number| {
            let place = numbering.position(number) as u32;
            match elsewhere {
                None => self.activities.begin(place, number, spec.tunnel),
                Some(_) => self.activities.elsewhere(place, number),
            }
        };
        let make = |number| Tunnel {
            activity: activity(number),
            filters: TunnelFilters::default(),
            outbound: None,
            inner_mtu,
            spec,
            known_source: None,
            trigger: Trigger::default(),
            policy,
            media_ports: Vec::new(),
            elsewhere,
        };
        let index = self.slab.insert(make).expect("the number of tunnels was validated");
        self.by_id.insert(spec.tunnel.0, index);
        index
    }

    pub(crate) fn remove(&mut self, id: TunnelId) -> Option<(u32, Tunnel)> {
        let index = self.by_id.remove(&id.0)?;
        Some((index, self.slab.remove(index)?))
    }

    pub(crate) fn find(&self, id: TunnelId) -> Option<u32> {
        self.by_id.get(&id.0).copied()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Tunnel> {
        self.slab.get(index)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut Tunnel> {
        self.slab.get_mut(index)
    }

    /// A packet for this tunnel is sealed soon.
    #[inline]
    pub(crate) fn prefetch_out(&self, index: u32) {
        self.slab.prefetch::<LINES_OUT>(index);
        self.activities.prefetch(self.slab.numbering().position(index) as u32);
    }

    /// A packet of this tunnel is opened soon.
    #[inline]
    pub(crate) fn prefetch_in(&self, index: u32) {
        self.slab.prefetch::<LINES_IN>(index);
        self.activities.prefetch(self.slab.numbering().position(index) as u32);
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tunnel> {
        self.slab.iter()
    }

    /// What all tunnels have carried.
    pub(crate) const fn activities(&self) -> &Activities {
        &self.activities
    }

    /// The tunnel in this position at the moment.
    pub(crate) fn at(&self, position: usize) -> Option<&Tunnel> {
        self.slab.at(position)
    }

    /// Positions that have ever been used.
    pub(crate) const fn positions(&self) -> usize {
        self.slab.positions()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tunnel> {
        self.slab.iter_mut()
    }

    pub(crate) const fn len(&self) -> u32 {
        self.slab.len()
    }
}
