//! The tables of the worker, as the thread knows them that commands it: tunnels, routes, calls and SAs without anything that
//! packets change. A transaction is validated here and applied here and there in the same order, so the thread with the
//! packets never has to look whether an operation is possible.

mod validate;

pub(crate) use validate::inner_mtu;

use crate::config::{Config, Limits, OutsidePort};
use crate::engine::{AeadEngine, AeadKey};
use crate::owner::Owners;
use crate::qos_counters::QosCounters;
use sipsec_net::dp::{Direction, Event, MediaBinding, Op, RejectReason, SaSpec, TunnelSpec};
use sipsec_net::esp::Layout;
use sipsec_net::filter::FilterUse;
use sipsec_net::nat::NatRule;
use sipsec_net::qos::QosSpec;
use sipsec_net::{IpPrefix, MediaPort, SaId, Spi, TunnelId, ipv6};
use std::collections::{BTreeMap, BTreeSet};

/// The key of each `SaAdd`, in order: making one is the only thing that can fail late, so it is done early.
type Keys = Vec<Box<dyn AeadKey>>;

/// Proof that a transaction can be applied, and the keys that it brings: for [`Registry::commit`] and then for
/// [`crate::Pipeline::commit`].
pub struct Validated {
    pub(crate) keys: Keys,
    /// Of each operation that gives a tunnel classes.
    pub(crate) counters: Vec<QosCounters>,
}

impl Validated {
    /// What each worker needs of it: the keys and counters of its own tunnels. Counters of other tunnels are there and not used.
    #[must_use]
    pub fn split(self, ops: &[Op], owners: Owners) -> Vec<Self> {
        let mut parts: Vec<_> =
            owners.all().map(|_| Self { keys: Vec::new(), counters: Vec::new() }).collect();
        let (mut keys, mut counters) = (self.keys.into_iter(), self.counters.into_iter());
        for op in ops {
            match op {
                Op::SaAdd(spec) => parts[usize::from(owners.of(spec.tunnel).0)].keys.extend(keys.next()),
                Op::TunnelQos(spec) => {
                    parts[usize::from(owners.of(spec.tunnel).0)].counters.extend(counters.next());
                }
                Op::TunnelAdd(_) => {
                    let counters = counters.next();
                    parts.iter_mut().for_each(|part| part.counters.extend(counters.clone()));
                }
                _ => {}
            }
        }
        parts
    }
}

impl core::fmt::Debug for Validated {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Validated").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct TunnelEntry {
    spec: TunnelSpec,
    qos: QosSpec,
    qos_filters: usize,
    counters: QosCounters,
    outbound: Option<SaId>,
    routes: BTreeSet<IpPrefix>,
    media_ports: BTreeSet<MediaPort>,
    /// How many rules its filters have.
    filters: BTreeMap<FilterUse, usize>,
    nat: NatRules,
}

/// What a tunnel's rules of translation take of the bounds.
#[derive(Clone, Copy, Debug, Default)]
struct NatRules {
    rules: usize,
    port_rules: usize,
    pool_addresses: u32,
}

impl NatRules {
    fn add(&mut self, rule: &NatRule) {
        self.rules += 1;
        self.port_rules += usize::from(matches!(rule, NatRule::Port { .. }));
        self.pool_addresses += rule.pool_addresses();
    }
}

#[derive(Debug)]
struct MediaEntry {
    binding: MediaBinding,
    sas: BTreeSet<SaId>,
}

#[derive(Clone, Copy, Debug)]
struct SaEntry {
    tunnel: TunnelId,
    direction: Direction,
    media_port: MediaPort,
    spi: Spi,
    layout: Layout,
}

/// See the head of this file. Every operation costs as much as there is of what it names, and a look-up.
#[derive(Debug)]
pub struct Registry {
    outside: OutsidePort,
    /// At build, when frames were sized.
    outside_mtu_max: u16,
    limits: Limits,
    tunnels: BTreeMap<TunnelId, TunnelEntry>,
    routes: BTreeMap<IpPrefix, TunnelId>,
    media: BTreeMap<MediaPort, MediaEntry>,
    sas: BTreeMap<SaId, SaEntry>,
    /// Inbound SAs.
    spis: BTreeMap<(MediaPort, Spi), SaId>,
}

impl Registry {
    /// For a pipeline that is built with the same configuration.
    #[must_use]
    pub const fn new(config: &Config) -> Self {
        Self {
            outside: config.outside,
            outside_mtu_max: config.outside.mtu,
            limits: config.limits,
            tunnels: BTreeMap::new(),
            routes: BTreeMap::new(),
            media: BTreeMap::new(),
            sas: BTreeMap::new(),
            spis: BTreeMap::new(),
        }
    }

    /// Whether all of `ops` can be applied in order; nothing is changed. An error says which one cannot.
    pub fn validate(&self, engine: &dyn AeadEngine, ops: &[Op]) -> Result<Validated, (u16, RejectReason)> {
        let keys = validate::validate(self, engine, ops)?;
        let counters = ops.iter().filter_map(|op| match op {
            Op::TunnelAdd(_) => Some(QosCounters::new(1)),
            Op::TunnelQos(spec) => Some(QosCounters::new(spec.classes().len())),
            _ => None,
        });
        Ok(Validated { keys, counters: counters.collect() })
    }

    /// Applies what was validated just before.
    ///
    /// What takes others with it: `TunnelRemove` its routes, media ports and SAs; `MediaClose` the SAs it carried. So
    /// `SaRemove` of an SA that is gone already is no error (the numbers are never used again).
    pub fn commit(&mut self, ops: &[Op], validated: &Validated) {
        let mut counters = validated.counters.iter().cloned();
        ops.iter().for_each(|op| self.commit_one(op, &mut counters));
    }

    fn commit_one(&mut self, op: &Op, counters: &mut impl Iterator<Item = QosCounters>) {
        let mut fresh_counters = || counters.next().expect("validation made counters for every policy");
        match op {
            Op::TunnelAdd(spec) => {
                let entry = TunnelEntry {
                    spec: *spec,
                    qos: QosSpec::new(spec.tunnel),
                    qos_filters: 0,
                    counters: fresh_counters(),
                    outbound: None,
                    routes: BTreeSet::new(),
                    media_ports: BTreeSet::new(),
                    filters: BTreeMap::new(),
                    nat: NatRules::default(),
                };
                self.tunnels.insert(spec.tunnel, entry);
            }
            Op::TunnelSet(spec) => {
                if let Some(entry) = self.tunnels.get_mut(&spec.tunnel) {
                    entry.spec = *spec;
                }
            }
            Op::TunnelQos(spec) => {
                let counters = fresh_counters();
                if let Some(entry) = self.tunnels.get_mut(&spec.tunnel) {
                    (entry.qos, entry.qos_filters, entry.counters) = (*spec, 0, counters);
                }
            }
            Op::TunnelQosFilters(more) => {
                if let Some(entry) = self.tunnels.get_mut(&more.tunnel) {
                    entry.qos_filters += more.filters.iter().flatten().count();
                }
            }
            Op::TunnelRemove(tunnel) => {
                let Some(entry) = self.tunnels.remove(tunnel) else { return };
                entry.media_ports.into_iter().for_each(|port| self.media_close(port));
                for prefix in &entry.routes {
                    self.routes.remove(prefix);
                }
            }
            Op::RouteAdd { prefix, tunnel, .. } => {
                if let Some(entry) = self.tunnels.get_mut(tunnel) {
                    entry.routes.insert(*prefix);
                    let before = self.routes.insert(*prefix, *tunnel).filter(|before| before != tunnel);
                    self.route_taken(before, prefix);
                }
            }
            Op::RouteRemove { prefix } => {
                let before = self.routes.remove(prefix);
                self.route_taken(before, prefix);
            }
            Op::MediaOpen(binding) => {
                if let Some(entry) = self.tunnels.get_mut(&binding.tunnel) {
                    let port = binding.media_port();
                    entry.media_ports.insert(port);
                    self.media.insert(port, MediaEntry { binding: *binding, sas: BTreeSet::new() });
                }
            }
            Op::MediaClose(port) => self.media_close(*port),
            // The pipeline alone acts on it; no operation depends on it.
            Op::PeerSource { .. } | Op::PathMtu { .. } => {}
            Op::NextHop { media_port, mac } => {
                if let Some(entry) = self.media.get_mut(media_port) {
                    entry.binding.next_hop = *mac;
                }
            }
            Op::SaAdd(spec) => self.sa_add(spec),
            Op::SaRemove(sa) => self.sa_remove(*sa),
            Op::TunnelBind { tunnel, outbound } => {
                if let Some(entry) = self.tunnels.get_mut(tunnel) {
                    entry.outbound = Some(*outbound);
                }
            }
            Op::TunnelUnbind(tunnel) => {
                if let Some(entry) = self.tunnels.get_mut(tunnel) {
                    entry.outbound = None;
                }
            }
            Op::FilterAdd { tunnel, used, .. } => {
                if let Some(entry) = self.tunnels.get_mut(tunnel) {
                    *entry.filters.entry(*used).or_default() += 1;
                }
            }
            Op::FilterClear { tunnel, used } => {
                if let Some(entry) = self.tunnels.get_mut(tunnel) {
                    entry.filters.remove(used);
                }
            }
            Op::NatRule { tunnel, rule } => {
                if let Some(entry) = self.tunnels.get_mut(tunnel) {
                    entry.nat.add(rule);
                }
            }
            Op::NatRemove(tunnel) => {
                if let Some(entry) = self.tunnels.get_mut(tunnel) {
                    entry.nat = NatRules::default();
                }
            }
            Op::SaSelectors { .. }
            | Op::ReplayTrigger(_)
            | Op::FlushTrigger(_)
            | Op::NatPolicy(_)
            | Op::NatClear(_)
            | Op::NatPage { .. } => {}
        }
    }

    fn route_taken(&mut self, from: Option<TunnelId>, prefix: &IpPrefix) {
        if let Some(entry) = from.and_then(|t| self.tunnels.get_mut(&t)) {
            entry.routes.remove(prefix);
        }
    }

    fn media_close(&mut self, port: MediaPort) {
        let Some(entry) = self.media.remove(&port) else { return };
        entry.sas.into_iter().for_each(|sa| self.sa_remove(sa));
        if let Some(t) = self.tunnels.get_mut(&entry.binding.tunnel) {
            t.media_ports.remove(&port);
        }
    }

    fn sa_add(&mut self, spec: &SaSpec) {
        let SaSpec { sa, tunnel, direction, media_port, spi, cipher, .. } = *spec;
        let layout = cipher.layout();
        if direction == Direction::In {
            self.spis.insert((media_port, spi), sa);
        }
        self.sas.insert(sa, SaEntry { tunnel, direction, media_port, spi, layout });
        if let Some(entry) = self.media.get_mut(&media_port) {
            entry.sas.insert(sa);
        }
    }

    fn sa_remove(&mut self, sa: SaId) {
        let Some(SaEntry { tunnel, direction, media_port, spi, .. }) = self.sas.remove(&sa) else { return };
        if direction == Direction::In {
            self.spis.remove(&(media_port, spi));
        }
        if let Some(entry) = self.media.get_mut(&media_port) {
            entry.sas.remove(&sa);
        }
        if let Some(entry) = self.tunnels.get_mut(&tunnel).filter(|t| t.outbound == Some(sa)) {
            entry.outbound = None;
        }
    }

    /// Everything live, in the order in which a control plane needs it; without the end mark.
    pub fn snapshot(&self, event: &mut dyn FnMut(Event)) {
        for (&tunnel, t) in &self.tunnels {
            event(Event::SnapshotTunnel { tunnel, outbound: t.outbound });
        }
        for m in self.media.values() {
            event(Event::SnapshotMedia(m.binding));
        }
        for (&sa, &SaEntry { tunnel, direction, media_port, spi, .. }) in &self.sas {
            event(Event::SnapshotSa { sa, tunnel, direction, spi, media_port });
        }
    }

    /// The tunnel whose call has this media port.
    #[must_use]
    pub fn tunnel_of(&self, port: MediaPort) -> Option<TunnelId> {
        self.media.get(&port).map(|entry| entry.binding.tunnel)
    }

    /// What the classes of a tunnel count.
    #[must_use]
    pub fn qos_counters(&self, tunnel: TunnelId) -> Option<&QosCounters> {
        self.tunnels.get(&tunnel).map(|t| &t.counters)
    }

    /// As [`crate::Pipeline::set_outside_mtu`].
    pub fn set_outside_mtu(&mut self, mtu: u16) {
        self.outside.mtu = mtu.min(self.outside_mtu_max);
    }

    /// The tunnel's MTU as it is now, if the tunnel has IPv6 routes and that is too small for them (RFC 8200 §5).
    #[must_use]
    pub fn too_small_for_v6(&self, tunnel: TunnelId) -> Option<u16> {
        let t = self.tunnels.get(&tunnel)?;
        let sa = t.outbound.and_then(|sa| self.sas.get(&sa));
        let call = sa.and_then(|sa| Some((self.media.get(&sa.media_port)?, sa.layout)));
        let over = |(m, layout): (&MediaEntry, Layout)| {
            layout.inner_mtu(self.outside.mtu.into(), m.binding.outside_local.is_ipv6()) as u16
        };
        let inner = inner_mtu(&self.outside, &t.spec);
        let mtu = call.map_or(inner, |call| inner.min(over(call)));
        (mtu < ipv6::MTU_MIN && t.routes.iter().any(|p| p.addr().is_ipv6())).then_some(mtu)
    }
}
