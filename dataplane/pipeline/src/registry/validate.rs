//! Whether a transaction can be applied, seen from each operation with those before it taken for done.

use super::{Keys, NatRules, Registry};
use crate::config::OutsidePort;
use crate::engine::{AeadEngine, AeadError};
use crate::path_mtu::FLOOR_V4;
use crate::replay::ReplayWindow;
use sipsec_net::dp::{
    Direction, MediaBinding, OPS_MAX, Op, RejectReason, SELECTOR_BLOCKS_MAX, SaSpec, TunnelSpec,
};
use sipsec_net::filter::{FILTER_RULES_MAX, FilterUse};
use sipsec_net::nat::{NAT_POOL_ADDRESSES_MAX, NAT_PORT_RULES_MAX, NAT_RULES_MAX, NatRule};
use sipsec_net::qos::{ClassSpec, FILTERS_MAX, QosFilters, Share};
use sipsec_net::{IpPrefix, MediaPort, SaId, Spi, TunnelId, esp};

/// RFC 791 §3.2: every host takes 576 bytes; below that fragments become more than [`crate::pmtu`] cuts.
const INNER_MTU_MIN: u16 = 576;

pub(super) fn validate(
    registry: &Registry,
    engine: &dyn AeadEngine,
    ops: &[Op],
) -> Result<Keys, (u16, RejectReason)> {
    if ops.len() > OPS_MAX {
        return Err((OPS_MAX as u16, RejectReason::Malformed));
    }
    let mut keys = Vec::with_capacity(ops.len());
    for (op, index) in ops.iter().zip(0u16..) {
        let view = View { registry, before: &ops[..usize::from(index)] };
        view.check(op, engine, &mut keys).map_err(|reason| (index, reason))?;
    }
    Ok(keys)
}

/// The tunnel's MTU as far as the WAN carries it: a profile need not know that its WAN is PPPoE or a mobile network. With an
/// AEAD over IPv4; an SA of AES-CBC, or over IPv6, lowers it further.
pub(crate) fn inner_mtu(outside: &OutsidePort, spec: &TunnelSpec) -> u16 {
    spec.inner_mtu.min(esp::Layout::AEAD.inner_mtu(outside.mtu.into(), false) as u16)
}

/// The tables as the operations before this one leave them.
struct View<'a> {
    registry: &'a Registry,
    before: &'a [Op],
}

/// The facts of an SA that other operations depend on.
#[derive(Clone, Copy)]
struct SaFacts {
    tunnel: TunnelId,
    direction: Direction,
    media_port: MediaPort,
}

impl View<'_> {
    fn check(&self, op: &Op, engine: &dyn AeadEngine, keys: &mut Keys) -> Result<(), RejectReason> {
        match op {
            Op::TunnelAdd(spec) => self.tunnel_add(spec),
            Op::TunnelSet(spec) => {
                self.need_tunnel(spec.tunnel)?;
                self.need_mtu(spec)
            }
            Op::TunnelRemove(t) | Op::TunnelUnbind(t) | Op::ReplayTrigger(t) | Op::FlushTrigger(t) => {
                self.need_tunnel(*t)
            }
            Op::TunnelQos(spec) => {
                self.need_tunnel(spec.tunnel)?;
                if spec.classes().iter().all(has_shares) { Ok(()) } else { Err(RejectReason::BadQos) }
            }
            Op::TunnelQosFilters(more) => self.qos_filters(more),
            Op::RouteAdd { prefix, tunnel, .. } => {
                self.need_tunnel(*tunnel)?;
                if self.route(*prefix).is_some() { Ok(()) } else { self.need_route_room() }
            }
            Op::RouteRemove { prefix } => self.route(*prefix).map(drop).ok_or(RejectReason::UnknownRoute),
            Op::FilterAdd { tunnel, used, .. } => {
                self.need_tunnel(*tunnel)?;
                if self.rules(*tunnel, *used) < FILTER_RULES_MAX {
                    Ok(())
                } else {
                    Err(RejectReason::TableFull)
                }
            }
            Op::FilterClear { tunnel, .. } => self.need_tunnel(*tunnel),
            Op::MediaOpen(binding) => self.media_open(binding),
            Op::MediaClose(port)
            | Op::NextHop { media_port: port, .. }
            | Op::PeerSource { media_port: port, .. } => {
                self.media(*port).map(drop).ok_or(RejectReason::UnknownMediaPort)
            }
            Op::PathMtu { media_port, mtu } => {
                self.media(*media_port).ok_or(RejectReason::UnknownMediaPort)?;
                if mtu.is_some_and(|mtu| mtu < FLOOR_V4) { Err(RejectReason::BadMtu) } else { Ok(()) }
            }
            Op::SaAdd(spec) => self.sa_add(spec, engine, keys),
            Op::SaSelectors { sa, .. } => self.sa_selectors(*sa),
            Op::SaRemove(_) => Ok(()),
            Op::TunnelBind { tunnel, outbound } => {
                self.need_tunnel(*tunnel)?;
                let sa = self.sa(*outbound).ok_or(RejectReason::UnknownSa)?;
                if sa.direction != Direction::Out {
                    Err(RejectReason::WrongDirection)
                } else if sa.tunnel != *tunnel {
                    Err(RejectReason::UnknownSa)
                } else {
                    Ok(())
                }
            }
            Op::NatPolicy(policy) if policy.is_valid() => Ok(()),
            Op::NatPolicy(_) => Err(RejectReason::Malformed),
            Op::NatRule { tunnel, rule } => self.nat_rule(*tunnel, rule),
            Op::NatRemove(tunnel) => self.need_tunnel(*tunnel),
            Op::NatClear(_) | Op::NatPage { .. } => Ok(()),
        }
    }

    /// Port rules and pools are counted over all tunnels.
    fn nat_rule(&self, tunnel: TunnelId, rule: &NatRule) -> Result<(), RejectReason> {
        self.need_tunnel(tunnel)?;
        if !rule.is_valid() {
            return Err(RejectReason::Malformed);
        }
        let mut all = NatRules::default();
        for rules in self.registry.tunnels.values().map(|t| &t.nat) {
            all.port_rules += rules.port_rules;
            all.pool_addresses += rules.pool_addresses;
        }
        let mut own = self.registry.tunnels.get(&tunnel).map_or(0, |t| t.nat.rules);
        for op in self.before {
            match op {
                Op::NatRule { tunnel: t, rule } => {
                    all.add(rule);
                    own += usize::from(*t == tunnel);
                }
                Op::NatRemove(t) | Op::TunnelRemove(t) => {
                    if let Some(gone) = self.registry.tunnels.get(t) {
                        all.port_rules = all.port_rules.saturating_sub(gone.nat.port_rules);
                        all.pool_addresses = all.pool_addresses.saturating_sub(gone.nat.pool_addresses);
                    }
                    own = if *t == tunnel { 0 } else { own };
                }
                _ => {}
            }
        }
        all.add(rule);
        let fits = own < NAT_RULES_MAX
            && all.port_rules <= NAT_PORT_RULES_MAX
            && all.pool_addresses <= NAT_POOL_ADDRESSES_MAX;
        if fits { Ok(()) } else { Err(RejectReason::TableFull) }
    }

    fn tunnel_add(&self, spec: &TunnelSpec) -> Result<(), RejectReason> {
        if self.has_tunnel(spec.tunnel) {
            return Err(RejectReason::DuplicateTunnel);
        }
        self.need_mtu(spec)?;
        let Registry { tunnels, limits, .. } = self.registry;
        let added = |op: &Op| matches!(op, Op::TunnelAdd(_));
        let removed = |op: &Op| matches!(op, Op::TunnelRemove(_));
        self.need_room(tunnels.len(), limits.tunnels_max, added, removed)
    }

    fn media_open(&self, binding: &MediaBinding) -> Result<(), RejectReason> {
        self.need_tunnel(binding.tunnel)?;
        let port = binding.media_port();
        if self.media(port).is_some() {
            return Err(RejectReason::DuplicateMediaPort);
        }
        if binding.outside_local.is_ipv4() != binding.remote.is_ipv4() {
            return Err(RejectReason::BadAddressFamily);
        }
        if port.0 == 0 || binding.remote.port() == 0 {
            return Err(RejectReason::Malformed);
        }
        if binding.rate.0 == 0 {
            return Err(RejectReason::BadRate);
        }
        let Registry { media, limits, .. } = self.registry;
        let added = |op: &Op| matches!(op, Op::MediaOpen(_));
        let removed = |op: &Op| matches!(op, Op::MediaClose(_));
        self.need_room(media.len(), limits.media_ports_max, added, removed)
    }

    fn sa_add(&self, spec: &SaSpec, engine: &dyn AeadEngine, keys: &mut Keys) -> Result<(), RejectReason> {
        self.need_tunnel(spec.tunnel)?;
        if self.media(spec.media_port) != Some(spec.tunnel) {
            return Err(RejectReason::UnknownMediaPort);
        }
        if self.sa(spec.sa).is_some() {
            return Err(RejectReason::DuplicateSa);
        }
        if spec.keymat.len() != spec.cipher.keymat_len() {
            return Err(RejectReason::BadKeyLength);
        }
        if spec.direction == Direction::In {
            if !ReplayWindow::is_size(spec.replay_window) {
                return Err(RejectReason::BadReplayWindow);
            }
            if self.has_spi(spec.media_port, spec.spi) {
                return Err(RejectReason::DuplicateSpi);
            }
        }
        let Registry { sas, limits, .. } = self.registry;
        // `SaRemove` may be of none: credited only where there was one.
        let removed = (0..self.before.len()).filter(|&i| {
            let view = View { registry: self.registry, before: &self.before[..i] };
            matches!(self.before[i], Op::SaRemove(id) if view.sa(id).is_some())
        });
        let added = self.before.iter().filter(|op| matches!(op, Op::SaAdd(_))).count();
        room(sas.len(), limits.sas_max, added, removed.count())?;
        let (key, cipher) = (&spec.keymat.expose()[..spec.cipher.key_len()], spec.cipher.with_explicit_iv());
        let key = engine.new_key(cipher, key).map_err(|e| match e {
            AeadError::KeyLength => RejectReason::BadKeyLength,
            _ => RejectReason::UnsupportedCipher,
        })?;
        keys.push(key);
        Ok(())
    }

    /// The SA carries packets from the end of its transaction on, so its selectors are whole by then.
    fn sa_selectors(&self, id: SaId) -> Result<(), RejectReason> {
        let added = self.before.iter().rposition(|op| matches!(op, Op::SaAdd(s) if s.sa == id));
        let since = added.filter(|_| self.sa(id).is_some()).map(|at| &self.before[at..]);
        let since = since.ok_or(RejectReason::UnknownSa)?;
        let blocks = since.iter().filter(|op| matches!(op, Op::SaSelectors { sa, .. } if *sa == id)).count();
        if blocks + 1 < SELECTOR_BLOCKS_MAX { Ok(()) } else { Err(RejectReason::TableFull) }
    }

    fn qos_filters(&self, more: &QosFilters) -> Result<(), RejectReason> {
        self.need_tunnel(more.tunnel)?;
        let (mut classes, mut filters) = self
            .registry
            .tunnels
            .get(&more.tunnel)
            .map_or((1, 0), |t| (t.qos.classes().len(), t.qos_filters));
        for op in self.before {
            match op {
                Op::TunnelAdd(spec) if spec.tunnel == more.tunnel => (classes, filters) = (1, 0),
                Op::TunnelQos(spec) if spec.tunnel == more.tunnel => {
                    (classes, filters) = (spec.classes().len(), 0);
                }
                Op::TunnelQosFilters(f) if f.tunnel == more.tunnel => {
                    filters += f.filters.iter().flatten().count();
                }
                _ => {}
            }
        }
        let mut these = more.filters.iter().flatten();
        if filters + these.clone().count() > FILTERS_MAX {
            return Err(RejectReason::TableFull);
        }
        if these.all(|f| usize::from(f.class) < classes) { Ok(()) } else { Err(RejectReason::BadQos) }
    }

    fn need_room(
        &self,
        len: usize,
        max: u32,
        added: fn(&Op) -> bool,
        removed: fn(&Op) -> bool,
    ) -> Result<(), RejectReason> {
        let count = |f: fn(&Op) -> bool| self.before.iter().filter(|op| f(op)).count();
        room(len, max, count(added), count(removed))
    }

    /// A control plane that starts anew puts back in one transaction what it takes away, so that routes which go with
    /// their tunnel make room.
    fn need_route_room(&self) -> Result<(), RejectReason> {
        let Registry { routes, tunnels, limits, .. } = self.registry;
        let added = self.before.iter().filter(|op| matches!(op, Op::RouteAdd { .. })).count();
        if room(routes.len(), limits.routes_max, added, 0).is_ok() {
            return Ok(());
        }
        let mut touched: Vec<IpPrefix> = Vec::new();
        let mut gone: Vec<TunnelId> = Vec::new();
        for op in self.before {
            match op {
                Op::RouteAdd { prefix, .. } | Op::RouteRemove { prefix } if !touched.contains(prefix) => {
                    touched.push(*prefix);
                }
                Op::TunnelRemove(t) if !gone.contains(t) => gone.push(*t),
                _ => {}
            }
        }
        let live = |p: &&IpPrefix| self.route(**p).is_some();
        let counted = |p: &&IpPrefix| routes.get(*p).is_some_and(|t| !gone.contains(t));
        let (added, removed) = (touched.iter().filter(live).count(), touched.iter().filter(counted).count());
        let gone: usize = gone.iter().filter_map(|t| tunnels.get(t)).map(|t| t.routes.len()).sum();
        room(routes.len() - gone, limits.routes_max, added, removed)
    }

    fn need_mtu(&self, spec: &TunnelSpec) -> Result<(), RejectReason> {
        if inner_mtu(&self.registry.outside, spec) < INNER_MTU_MIN {
            return Err(RejectReason::BadMtu);
        }
        Ok(())
    }

    fn need_tunnel(&self, tunnel: TunnelId) -> Result<(), RejectReason> {
        if self.has_tunnel(tunnel) { Ok(()) } else { Err(RejectReason::UnknownTunnel) }
    }

    fn has_tunnel(&self, tunnel: TunnelId) -> bool {
        self.before.iter().fold(self.registry.tunnels.contains_key(&tunnel), |has, op| match op {
            Op::TunnelAdd(spec) if spec.tunnel == tunnel => true,
            Op::TunnelRemove(t) if *t == tunnel => false,
            _ => has,
        })
    }

    /// Of a tunnel's filter.
    fn rules(&self, tunnel: TunnelId, used: FilterUse) -> usize {
        let now = self.registry.tunnels.get(&tunnel).and_then(|t| t.filters.get(&used)).copied().unwrap_or(0);
        self.before.iter().fold(now, |count, op| match op {
            Op::FilterAdd { tunnel: t, used: u, .. } if (*t, *u) == (tunnel, used) => count + 1,
            Op::FilterClear { tunnel: t, used: u } if (*t, *u) == (tunnel, used) => 0,
            Op::TunnelRemove(t) if *t == tunnel => 0,
            _ => count,
        })
    }

    fn route(&self, prefix: IpPrefix) -> Option<TunnelId> {
        let now = self.registry.routes.get(&prefix).copied();
        self.before.iter().fold(now, |route, op| match op {
            Op::RouteAdd { prefix: p, tunnel, .. } if *p == prefix => Some(*tunnel),
            Op::RouteRemove { prefix: p } if *p == prefix => None,
            Op::TunnelRemove(t) if route == Some(*t) => None,
            _ => route,
        })
    }

    /// Whose call a media port carries.
    fn media(&self, port: MediaPort) -> Option<TunnelId> {
        let now = self.registry.media.get(&port).map(|m| m.binding.tunnel);
        self.before.iter().fold(now, |tunnel, op| match op {
            Op::MediaOpen(b) if b.media_port() == port => Some(b.tunnel),
            Op::MediaClose(p) if *p == port => None,
            Op::TunnelRemove(t) if tunnel == Some(*t) => None,
            _ => tunnel,
        })
    }

    fn sa(&self, id: SaId) -> Option<SaFacts> {
        let now = self.registry.sas.get(&id).map(|sa| SaFacts {
            tunnel: sa.tunnel,
            direction: sa.direction,
            media_port: sa.media_port,
        });
        self.before.iter().fold(now, |sa, op| match op {
            Op::SaAdd(s) if s.sa == id => {
                Some(SaFacts { tunnel: s.tunnel, direction: s.direction, media_port: s.media_port })
            }
            _ => sa.filter(|sa| !removes(op, id, sa)),
        })
    }

    /// Whether an inbound SA of this port has this SPI.
    fn has_spi(&self, port: MediaPort, spi: Spi) -> bool {
        let holder = self.registry.spis.get(&(port, spi)).copied();
        let added = self.before.iter().filter_map(|op| match op {
            Op::SaAdd(s) if s.direction == Direction::In && s.media_port == port && s.spi == spi => {
                Some(s.sa)
            }
            _ => None,
        });
        holder.into_iter().chain(added).any(|id| self.sa(id).is_some())
    }
}

/// A share of nothing would be served never.
fn has_shares(class: &ClassSpec) -> bool {
    let is_some = |share: &Share| !matches!(share, Share::Kbps(0) | Share::Percent(0 | 101..));
    class.guarantee.iter().chain(&class.ceiling).all(is_some)
}

/// What goes along with something else is not credited: near its bound a table may be called full for a transaction that
/// first removes a whole tunnel.
fn room(len: usize, max: u32, added: usize, removed: usize) -> Result<(), RejectReason> {
    let len = (len + added).saturating_sub(removed);
    if len < max as usize { Ok(()) } else { Err(RejectReason::TableFull) }
}

fn removes(op: &Op, id: SaId, sa: &SaFacts) -> bool {
    match op {
        Op::SaRemove(s) => *s == id,
        Op::MediaClose(port) => *port == sa.media_port,
        Op::TunnelRemove(t) => *t == sa.tunnel,
        _ => false,
    }
}
