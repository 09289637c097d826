//! The rules of one tunnel, and the ports of its pools. Other rules are another space: sessions of the one before are found
//! no more, and are taken away a few at a time.

use crate::hash::Random;
use crate::ports::Address;
use crate::prefix::Network;
use core::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use sipsec_net::nat::{NatPolicy, NatProtocol, NatRule, NatSide};
use sipsec_net::{IpPrefix, TunnelId};

#[derive(Debug)]
pub(crate) struct Space {
    pub tunnel: TunnelId,
    rules: Vec<NatRule>,
    inside: Vec<Network>,
    outside: Vec<Network>,
    dynamic: Vec<Dynamic>,
    pub ports: Vec<PortRule>,
    pool: Vec<Pooled>,
    /// Mappings of port rules.
    pub mappings: Vec<u32>,
    pub sessions: u32,
    /// Its tunnel has other rules, or is gone.
    pub is_dead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRule {
    pub protocol: NatProtocol,
    pub local: SocketAddrV4,
    pub global: SocketAddrV4,
}

#[derive(Debug)]
struct Pooled {
    ports: Address,
    /// The gateway has the address itself.
    is_own: bool,
}

#[derive(Debug)]
struct Dynamic {
    source: IpPrefix,
    destination: IpPrefix,
    first: Ipv4Addr,
    /// Places in the pool, from `first` on; none for an exemption.
    pool: Vec<u16>,
    is_own: bool,
}

impl Dynamic {
    fn place_of(&self, address: Ipv4Addr) -> Option<u16> {
        let nth = address.to_bits().checked_sub(self.first.to_bits())?;
        self.pool.get(nth as usize).copied()
    }
}

/// What the rules say about a packet that goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// As it is.
    Untouched,
    Overload {
        rule: u16,
        /// The packet is the gateway's own and bears the pool's address already.
        is_own: bool,
    },
}

impl Space {
    pub(crate) const fn new(tunnel: TunnelId) -> Self {
        Self {
            tunnel,
            rules: Vec::new(),
            inside: Vec::new(),
            outside: Vec::new(),
            dynamic: Vec::new(),
            ports: Vec::new(),
            pool: Vec::new(),
            mappings: Vec::new(),
            sessions: 0,
            is_dead: false,
        }
    }

    pub(crate) fn take_rules(&mut self) -> Vec<NatRule> {
        std::mem::take(&mut self.rules)
    }

    /// The port of a port rule is taken from its pool. `false`: a translation has it already.
    pub(crate) fn add(&mut self, rule: &NatRule, policy: &NatPolicy, random: &mut Random) -> bool {
        self.rules.push(*rule);
        match *rule {
            NatRule::Network { side: NatSide::Inside, local, global } => {
                self.inside.push(Network::new(local, global));
            }
            NatRule::Network { side: NatSide::Outside, local, global } => {
                self.outside.push(Network::new(local, global));
            }
            NatRule::Port { protocol, local, global } => {
                self.ports.push(PortRule { protocol, local, global });
                let pooled = self.pool.iter_mut().find(|p| p.ports.address == *global.ip());
                return pooled.is_none_or(|p| p.ports.reserve(protocol, global.port()));
            }
            NatRule::Exempt { source, destination } => {
                let first = Ipv4Addr::UNSPECIFIED;
                self.dynamic.push(Dynamic { source, destination, first, pool: Vec::new(), is_own: false });
            }
            NatRule::Overload { source, destination, first, last, own_address: is_own } => {
                let pool = (first.to_bits()..=last.to_bits())
                    .map(|bits| self.pooled(Ipv4Addr::from_bits(bits), is_own, policy, random))
                    .collect();
                self.dynamic.push(Dynamic { source, destination, first, pool, is_own });
            }
        }
        true
    }

    /// The address's place in the pool.
    fn pooled(&mut self, address: Ipv4Addr, is_own: bool, policy: &NatPolicy, random: &mut Random) -> u16 {
        if let Some(place) = self.pool.iter().position(|p| p.ports.address == address) {
            self.pool[place].is_own |= is_own;
            return place as u16;
        }
        let mut ports = Address::new(address, policy, random);
        for rule in self.ports.iter().filter(|r| *r.global.ip() == address) {
            ports.reserve(rule.protocol, rule.global.port());
        }
        self.pool.push(Pooled { ports, is_own });
        (self.pool.len() - 1) as u16
    }

    pub(crate) fn address_mut(&mut self, place: u16) -> Option<&mut Address> {
        self.pool.get_mut(usize::from(place)).map(|p| &mut p.ports)
    }

    /// An address of the rule's pool with a free block, beginning at one that `choice` picks.
    pub(crate) fn pick(&self, rule: u16, choice: u64) -> Option<u16> {
        let pool = &self.dynamic.get(usize::from(rule))?.pool;
        let from = (choice % pool.len().max(1) as u64) as usize;
        let around = pool[from..].iter().chain(&pool[..from]);
        let has_room = |place: &&u16| self.pool[usize::from(**place)].ports.has_free_block();
        around.copied().find(|place| has_room(&place))
    }

    /// The place of this address in the rule's pool.
    pub(crate) fn place_of(&self, rule: u16, address: Ipv4Addr) -> Option<u16> {
        self.dynamic.get(usize::from(rule))?.place_of(address)
    }

    /// The first rule that matches decides.
    #[inline]
    pub(crate) fn choose(&self, source: Ipv4Addr, destination: Ipv4Addr) -> Choice {
        for (rule, d) in (0..).zip(&self.dynamic) {
            let is_own = d.is_own && d.place_of(source).is_some();
            if (is_own || d.source.contains(source.into())) && d.destination.contains(destination.into()) {
                return if d.pool.is_empty() { Choice::Untouched } else { Choice::Overload { rule, is_own } };
            }
        }
        Choice::Untouched
    }

    pub(crate) fn inside(&self, source: Ipv4Addr) -> Option<Ipv4Addr> {
        self.inside.iter().find_map(|n| n.v4_to_global(source))
    }

    pub(crate) fn inside_back(&self, global: Ipv4Addr) -> Option<Ipv4Addr> {
        self.inside.iter().find_map(|n| n.v4_to_local(global))
    }

    pub(crate) fn outside(&self, local: Ipv4Addr) -> Option<Ipv4Addr> {
        self.outside.iter().find_map(|n| n.v4_to_global(local))
    }

    pub(crate) fn outside_back(&self, global: Ipv4Addr) -> Option<Ipv4Addr> {
        self.outside.iter().find_map(|n| n.v4_to_local(global))
    }

    pub(crate) fn networks(&self, side: NatSide) -> &[Network] {
        match side {
            NatSide::Inside => &self.inside,
            NatSide::Outside => &self.outside,
        }
    }

    /// Whether translations with ports have this global address, and whether the gateway has it itself.
    #[inline]
    pub(crate) fn shared(&self, global: Ipv4Addr) -> Option<bool> {
        let place = self.dynamic.iter().find_map(|d| d.place_of(global));
        let pooled = place.and_then(|place| self.pool.get(usize::from(place)));
        pooled
            .map(|p| p.is_own)
            .or_else(|| self.ports.iter().any(|r| *r.global.ip() == global).then_some(false))
    }

    /// Whether the address stands for something inside.
    pub(crate) fn is_inside_global(&self, address: IpAddr) -> bool {
        let shared = matches!(address, IpAddr::V4(a) if self.shared(a).is_some());
        shared || self.inside.iter().any(|n| n.has_global(address))
    }
}
