//! `nat:`, and the rules of tunnels

use super::primary_nat::PrimaryNat;
use super::words::words;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sipsec_net::nat::{NatFiltering, NatPolicy, NatProtocol, NatRule, NatSide, NatTimeouts};
use std::net::Ipv4Addr;

/// What holds for the translations of every tunnel, and the translation to primary lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NatSection {
    pub filtering: Filtering,
    #[serde(flatten)]
    pub ports: NatPorts,
    /// A host has at most so many.
    pub translations_per_host: PerHost,
    pub timeouts: Timeouts,
    pub primary: Vec<PrimaryNat>,
}

/// Ports of a pool's address, and how they are given to hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatPorts {
    pub first: u16,
    pub last: u16,
    pub block: u16,
    pub blocks_per_host: u8,
}

impl Default for NatPorts {
    fn default() -> Self {
        let policy = NatPolicy::default();
        Self {
            first: policy.port_first,
            last: policy.port_last,
            block: policy.block_ports,
            blocks_per_host: policy.blocks_per_host_max,
        }
    }
}

impl Serialize for NatPorts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("ports", &format!("{}-{}", self.first, self.last))?;
        map.serialize_entry("block_ports", &self.block)?;
        map.serialize_entry("blocks_per_host", &self.blocks_per_host)?;
        map.end()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PerHost(pub u32);

impl Default for PerHost {
    fn default() -> Self {
        Self(NatPolicy::default().sessions_per_host_max)
    }
}

/// In seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    pub udp_s: u32,
    pub icmp_s: u32,
    pub tcp_s: u32,
    pub tcp_transitory_s: u32,
    pub tcp_syn_s: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        let NatTimeouts { udp_s, icmp_s, tcp_s, tcp_transitory_s, tcp_syn_s } = NatTimeouts::default();
        Self { udp_s, icmp_s, tcp_s, tcp_transitory_s, tcp_syn_s }
    }
}

words! {
    /// RFC 4787 §5.
    pub enum Filtering {
        AddressDependent = "address-dependent", "addresses to which the host has sent";
        EndpointIndependent = "endpoint-independent", "every sender";
        AddressAndPortDependent = "address-and-port-dependent", "addresses and ports to which the host has sent";
    }
}

words! {
    /// What a rule does.
    pub enum RuleKind {
        Overload = "overload", "many hosts share the addresses of `pool`, each with ports of its own";
        Network = "network", "one network for another of the same size, host by host";
        Port = "port", "a port of a host is reachable from behind the tunnel";
        Exempt = "exempt", "not translated by the rules after this one";
    }
}

words! {
    /// Whose addresses a network rule changes.
    pub enum Side {
        Inside = "inside", "ours, as the peer sees them";
        Outside = "outside", "the peer's, as we see them";
    }
}

words! {
    /// Of a port rule.
    pub enum PortProtocol {
        Tcp = "tcp", "TCP";
        Udp = "udp", "UDP";
    }
}

impl NatSection {
    /// As the dataplane takes it.
    #[must_use]
    pub const fn policy(&self) -> NatPolicy {
        let Timeouts { udp_s, icmp_s, tcp_s, tcp_transitory_s, tcp_syn_s } = self.timeouts;
        NatPolicy {
            filtering: match self.filtering {
                Filtering::EndpointIndependent => NatFiltering::EndpointIndependent,
                Filtering::AddressDependent => NatFiltering::AddressDependent,
                Filtering::AddressAndPortDependent => NatFiltering::AddressAndPortDependent,
            },
            timeouts: NatTimeouts { udp_s, icmp_s, tcp_s, tcp_transitory_s, tcp_syn_s },
            port_first: self.ports.first,
            port_last: self.ports.last,
            block_ports: self.ports.block,
            blocks_per_host_max: self.ports.blocks_per_host,
            sessions_per_host_max: self.translations_per_host.0,
        }
    }
}

/// A rule of a tunnel, with the keys of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelNat(pub NatRule);

impl Serialize for TunnelNat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0 {
            NatRule::Overload { source, destination, first, last, own_address } => {
                map.serialize_entry("rule", &RuleKind::Overload)?;
                map.serialize_entry("source", &source.to_string())?;
                map.serialize_entry("destination", &destination.to_string())?;
                map.serialize_entry("pool", &pool_text(*first, *last))?;
                map.serialize_entry("own_address", own_address)?;
            }
            NatRule::Network { side, local, global } => {
                map.serialize_entry("rule", &RuleKind::Network)?;
                let side = match side {
                    NatSide::Inside => Side::Inside,
                    NatSide::Outside => Side::Outside,
                };
                map.serialize_entry("side", &side)?;
                map.serialize_entry("local", &local.to_string())?;
                map.serialize_entry("global", &global.to_string())?;
            }
            NatRule::Port { protocol, local, global } => {
                map.serialize_entry("rule", &RuleKind::Port)?;
                let protocol = match protocol {
                    NatProtocol::Udp => PortProtocol::Udp,
                    NatProtocol::Tcp | NatProtocol::Icmp => PortProtocol::Tcp,
                };
                map.serialize_entry("protocol", &protocol)?;
                map.serialize_entry("local", &local.to_string())?;
                map.serialize_entry("global", &global.to_string())?;
            }
            NatRule::Exempt { source, destination } => {
                map.serialize_entry("rule", &RuleKind::Exempt)?;
                map.serialize_entry("source", &source.to_string())?;
                map.serialize_entry("destination", &destination.to_string())?;
            }
        }
        map.end()
    }
}

/// One address, or the first and the last.
#[must_use]
pub fn pool_text(first: Ipv4Addr, last: Ipv4Addr) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}
