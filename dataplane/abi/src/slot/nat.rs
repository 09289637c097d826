//! Translation of addresses, in commands and in events.

use super::{SlotError, codes, wire};
use crate::layout::shared;
use core::net::{Ipv4Addr, SocketAddrV4};
use sipsec_net::nat::{
    NatBlock, NatEntry, NatFiltering, NatPolicy, NatProtocol, NatRule, NatSide, NatState, NatStatistics,
    NatTimeouts,
};
use sipsec_net::{IpPrefix, TunnelId};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

shared! {
    pub(crate) struct Endpoint {
        pub address: [u8; 4],
        pub port: U16,
    }

    pub(crate) struct Policy {
        pub filtering: u8,
        pub blocks_per_host_max: u8,
        pub block_ports: U16,
        pub port_first: U16,
        pub port_last: U16,
        pub sessions_per_host_max: U32,
        pub udp_s: U32,
        pub icmp_s: U32,
        pub tcp_s: U32,
        pub tcp_transitory_s: U32,
        pub tcp_syn_s: U32,
    }

    /// What a kind of rule does not have is zero.
    pub(crate) struct Rule {
        pub tunnel: U32,
        /// 1: network, 2: port, 3: overload, 4: exempt.
        pub kind: u8,
        /// Of a network its side, of a port its protocol, of overload whether the gateway has the addresses.
        pub code: u8,
        /// Local and global; or source and destination.
        pub prefixes: [wire::Prefix; 2],
        /// Local and global; or the first and the last of the pool, without ports.
        pub endpoints: [Endpoint; 2],
        pub zero: [u8; 2],
    }

    pub(crate) struct Clear {
        /// Zero for all.
        pub host: [u8; 4],
        pub is_host: u8,
        pub zero: [u8; 3],
    }

    pub(crate) struct Entry {
        pub tunnel: U32,
        pub protocol: u8,
        pub state: u8,
        pub is_static: u8,
        pub zero: u8,
        pub inside_global: Endpoint,
        pub inside_local: Endpoint,
        pub outside_local: Endpoint,
        pub outside_global: Endpoint,
        pub age_s: U32,
        pub idle_s: U32,
        pub left_s: U32,
    }

    pub(crate) struct Page {
        pub from: U32,
        /// Zero unless `has_next`.
        pub next: U32,
        pub has_next: u8,
        pub zero: [u8; 3],
        pub sessions: U32,
        pub sessions_peak: U32,
        pub sessions_max: U32,
        pub mappings: U32,
        pub hosts: U32,
        pub blocks: U32,
        pub hits: U64,
        pub created: U64,
        pub expired: U64,
        pub cleared: U64,
        pub log_lost: U64,
    }

    pub(crate) struct Block {
        pub tunnel: U32,
        pub host: [u8; 4],
        pub global: [u8; 4],
        pub port_first: U16,
        pub port_last: U16,
        pub is_allocated: u8,
        pub zero: [u8; 7],
    }
}

codes!(encode_filtering, decode_filtering, FILTERINGS, "NAT filtering", NatFiltering, u8 {
    EndpointIndependent = 1, AddressDependent = 2, AddressAndPortDependent = 3,
});
codes!(encode_protocol, decode_protocol, PROTOCOLS, "NAT protocol", NatProtocol, u8 { Tcp = 1, Udp = 2, Icmp = 3, });
codes!(encode_side, decode_side, SIDES, "NAT side", NatSide, u8 { Inside = 1, Outside = 2, });
codes!(encode_state, decode_state, STATES, "NAT state", NatState, u8 {
    Open = 1, SynSent = 2, SynReceived = 3, Established = 4, FinSent = 5, FinReceived = 6, Closing = 7, Reset = 8,
});

const NETWORK: u8 = 1;
const PORT: u8 = 2;
const OVERLOAD: u8 = 3;
const EXEMPT: u8 = 4;

impl From<SocketAddrV4> for Endpoint {
    fn from(endpoint: SocketAddrV4) -> Self {
        Self { address: endpoint.ip().octets(), port: endpoint.port().into() }
    }
}

impl From<Endpoint> for SocketAddrV4 {
    fn from(raw: Endpoint) -> Self {
        Self::new(raw.address.into(), raw.port.get())
    }
}

impl Endpoint {
    const NONE: Self = Self { address: [0; 4], port: U16::ZERO };

    fn address(address: Ipv4Addr) -> Self {
        SocketAddrV4::new(address, 0).into()
    }
}

impl From<&NatPolicy> for Policy {
    fn from(policy: &NatPolicy) -> Self {
        let t = &policy.timeouts;
        Self {
            filtering: encode_filtering(policy.filtering),
            blocks_per_host_max: policy.blocks_per_host_max,
            block_ports: policy.block_ports.into(),
            port_first: policy.port_first.into(),
            port_last: policy.port_last.into(),
            sessions_per_host_max: policy.sessions_per_host_max.into(),
            udp_s: t.udp_s.into(),
            icmp_s: t.icmp_s.into(),
            tcp_s: t.tcp_s.into(),
            tcp_transitory_s: t.tcp_transitory_s.into(),
            tcp_syn_s: t.tcp_syn_s.into(),
        }
    }
}

impl TryFrom<&Policy> for NatPolicy {
    type Error = SlotError;

    fn try_from(raw: &Policy) -> Result<Self, SlotError> {
        Ok(Self {
            filtering: decode_filtering(raw.filtering)?,
            timeouts: NatTimeouts {
                udp_s: raw.udp_s.get(),
                icmp_s: raw.icmp_s.get(),
                tcp_s: raw.tcp_s.get(),
                tcp_transitory_s: raw.tcp_transitory_s.get(),
                tcp_syn_s: raw.tcp_syn_s.get(),
            },
            port_first: raw.port_first.get(),
            port_last: raw.port_last.get(),
            block_ports: raw.block_ports.get(),
            blocks_per_host_max: raw.blocks_per_host_max,
            sessions_per_host_max: raw.sessions_per_host_max.get(),
        })
    }
}

impl Rule {
    pub(crate) fn new(tunnel: TunnelId, rule: &NatRule) -> Self {
        let none = || [wire::Prefix::NONE; 2];
        let (kind, code, prefixes, endpoints) = match *rule {
            NatRule::Network { side, local, global } => {
                (NETWORK, encode_side(side), [local.into(), global.into()], [Endpoint::NONE; 2])
            }
            NatRule::Port { protocol, local, global } => {
                (PORT, encode_protocol(protocol), none(), [local.into(), global.into()])
            }
            NatRule::Overload { source, destination, first, last, own_address } => {
                let pool = [first, last].map(Endpoint::address);
                (OVERLOAD, own_address.into(), [source.into(), destination.into()], pool)
            }
            NatRule::Exempt { source, destination } => {
                (EXEMPT, 0, [source.into(), destination.into()], [Endpoint::NONE; 2])
            }
        };
        Self { tunnel: tunnel.0.into(), kind, code, prefixes, endpoints, zero: [0; 2] }
    }

    pub(crate) fn decode(&self) -> Result<(TunnelId, NatRule), SlotError> {
        wire::zero(&self.zero)?;
        let no_prefixes = || wire::zero(self.prefixes.as_bytes());
        let no_endpoints = || wire::zero(self.endpoints.as_bytes());
        let prefixes = || -> Result<[IpPrefix; 2], SlotError> {
            let [one, two] = self.prefixes;
            Ok([one.try_into()?, two.try_into()?])
        };
        let [one, two] = self.endpoints;
        let rule = match self.kind {
            NETWORK => {
                no_endpoints()?;
                let [local, global] = prefixes()?;
                NatRule::Network { side: decode_side(self.code)?, local, global }
            }
            PORT => {
                no_prefixes()?;
                let protocol = decode_protocol(self.code)?;
                NatRule::Port { protocol, local: one.into(), global: two.into() }
            }
            OVERLOAD => {
                wire::zero(one.port.as_bytes())?;
                wire::zero(two.port.as_bytes())?;
                let [source, destination] = prefixes()?;
                let [first, last] = [one, two].map(|e| Ipv4Addr::from(e.address));
                let own_address = wire::boolean("own address", self.code)?;
                NatRule::Overload { source, destination, first, last, own_address }
            }
            EXEMPT => {
                no_endpoints()?;
                wire::zero(&[self.code])?;
                let [source, destination] = prefixes()?;
                NatRule::Exempt { source, destination }
            }
            value => return Err(SlotError::BadCode { field: "NAT rule", value: value.into() }),
        };
        Ok((TunnelId(self.tunnel.get()), rule))
    }
}

impl From<Option<Ipv4Addr>> for Clear {
    fn from(host: Option<Ipv4Addr>) -> Self {
        let octets = host.unwrap_or(Ipv4Addr::UNSPECIFIED).octets();
        Self { host: octets, is_host: host.is_some().into(), zero: [0; 3] }
    }
}

impl Clear {
    pub(crate) fn decode(&self) -> Result<Option<Ipv4Addr>, SlotError> {
        wire::zero(&self.zero)?;
        if wire::boolean("host", self.is_host)? {
            return Ok(Some(self.host.into()));
        }
        wire::zero(&self.host).map(|()| None)
    }
}

impl From<&NatEntry> for Entry {
    fn from(e: &NatEntry) -> Self {
        Self {
            tunnel: e.tunnel.0.into(),
            protocol: encode_protocol(e.protocol),
            state: encode_state(e.state),
            is_static: e.is_static.into(),
            zero: 0,
            inside_global: e.inside_global.into(),
            inside_local: e.inside_local.into(),
            outside_local: e.outside_local.into(),
            outside_global: e.outside_global.into(),
            age_s: e.age_s.into(),
            idle_s: e.idle_s.into(),
            left_s: e.left_s.into(),
        }
    }
}

impl TryFrom<&Entry> for NatEntry {
    type Error = SlotError;

    fn try_from(raw: &Entry) -> Result<Self, SlotError> {
        wire::zero(&[raw.zero])?;
        Ok(Self {
            tunnel: TunnelId(raw.tunnel.get()),
            protocol: decode_protocol(raw.protocol)?,
            inside_global: raw.inside_global.into(),
            inside_local: raw.inside_local.into(),
            outside_local: raw.outside_local.into(),
            outside_global: raw.outside_global.into(),
            state: decode_state(raw.state)?,
            is_static: wire::boolean("static", raw.is_static)?,
            age_s: raw.age_s.get(),
            idle_s: raw.idle_s.get(),
            left_s: raw.left_s.get(),
        })
    }
}

impl Page {
    pub(crate) fn new(from: u32, next: Option<u32>, s: &NatStatistics) -> Self {
        Self {
            from: from.into(),
            next: next.unwrap_or(0).into(),
            has_next: next.is_some().into(),
            zero: [0; 3],
            sessions: s.sessions.into(),
            sessions_peak: s.sessions_peak.into(),
            sessions_max: s.sessions_max.into(),
            mappings: s.mappings.into(),
            hosts: s.hosts.into(),
            blocks: s.blocks.into(),
            hits: s.hits.into(),
            created: s.created.into(),
            expired: s.expired.into(),
            cleared: s.cleared.into(),
            log_lost: s.log_lost.into(),
        }
    }

    pub(crate) fn decode(&self) -> Result<(Option<u32>, NatStatistics), SlotError> {
        wire::zero(&self.zero)?;
        let next = match (wire::boolean("next page", self.has_next)?, self.next.get()) {
            (true, next) => Some(next),
            (false, 0) => None,
            (false, _) => return Err(SlotError::ReservedNotZero),
        };
        let statistics = NatStatistics {
            sessions: self.sessions.get(),
            sessions_peak: self.sessions_peak.get(),
            sessions_max: self.sessions_max.get(),
            mappings: self.mappings.get(),
            hosts: self.hosts.get(),
            blocks: self.blocks.get(),
            hits: self.hits.get(),
            created: self.created.get(),
            expired: self.expired.get(),
            cleared: self.cleared.get(),
            log_lost: self.log_lost.get(),
        };
        Ok((next, statistics))
    }
}

impl From<&NatBlock> for Block {
    fn from(b: &NatBlock) -> Self {
        Self {
            tunnel: b.tunnel.0.into(),
            host: b.host.octets(),
            global: b.global.octets(),
            port_first: b.port_first.into(),
            port_last: b.port_last.into(),
            is_allocated: b.is_allocated.into(),
            zero: [0; 7],
        }
    }
}

impl TryFrom<&Block> for NatBlock {
    type Error = SlotError;

    fn try_from(raw: &Block) -> Result<Self, SlotError> {
        wire::zero(&raw.zero)?;
        Ok(Self {
            tunnel: TunnelId(raw.tunnel.get()),
            host: raw.host.into(),
            global: raw.global.into(),
            port_first: raw.port_first.get(),
            port_last: raw.port_last.get(),
            is_allocated: wire::boolean("allocated", raw.is_allocated)?,
        })
    }
}
