//! The configured tunnels: each exists whether or not it has an SA.

use crate::table::{Map, Slab, map};
use crate::trigger::Trigger;
use core::net::IpAddr;
use sipsec_net::dp::{TunnelActivity, TunnelSpec};
use sipsec_net::{MediaPort, TunnelId};

#[derive(Debug)]
pub(crate) struct Tunnel {
    pub spec: TunnelSpec,
    /// Of `spec`, or what the WAN carries if that is less.
    pub inner_mtu: u16,
    /// Place of the SA that seals, if there is one.
    pub outbound: Option<u32>,
    /// What waits for it.
    pub trigger: Trigger,
    pub activity: TunnelActivity,
    /// Its calls: two at most, for a moment (glare, redial).
    pub media_ports: Vec<MediaPort>,
    /// A source that the routes of this generation lead to: packets come in flows.
    pub known_source: Option<(u64, IpAddr)>,
}

#[derive(Debug)]
pub(crate) struct Tunnels {
    slab: Slab<Tunnel>,
    by_id: Map<u32, u32>,
}

impl Tunnels {
    pub(crate) fn new(max: u32) -> Self {
        Self { slab: Slab::new(max), by_id: map(max) }
    }

    /// Validated: new, and there is room. Its place.
    pub(crate) fn insert(&mut self, spec: TunnelSpec, inner_mtu: u16) -> u32 {
        let tunnel = Tunnel {
            spec,
            inner_mtu,
            outbound: None,
            trigger: Trigger::default(),
            activity: TunnelActivity::default(),
            media_ports: Vec::new(),
            known_source: None,
        };
        let index = self.slab.insert(tunnel).expect("the number of tunnels was validated");
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

    /// The tunnel is asked for soon.
    #[inline]
    pub(crate) fn prefetch(&self, index: u32) {
        self.slab.prefetch(index);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Tunnel)> {
        self.slab.iter()
    }

    /// Places that have ever been used.
    pub(crate) fn places(&self) -> usize {
        self.slab.places()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Tunnel> {
        self.slab.iter_mut()
    }

    pub(crate) fn len(&self) -> u32 {
        self.slab.len()
    }

    pub(crate) fn max(&self) -> u32 {
        self.slab.max()
    }
}
