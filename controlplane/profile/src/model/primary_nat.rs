//! `nat.primary`: translation of what the kernel forwards to a primary line. The kernel translates; the rules are the gateway's.

use super::nat::PortProtocol;
use super::words::words;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sipsec_net::IpPrefix;
use std::net::SocketAddrV4;

/// Bounds of the lists, so that all rules fit one transaction of the kernel.
pub const PRIMARIES_MAX: usize = 4;
pub const SOURCES_MAX: usize = 8;
pub const EXEMPTIONS_MAX: usize = 32;
pub const FORWARDS_MAX: usize = 64;

/// The kernel's table with the rules of a gateway.
#[must_use]
pub fn table(gateway: &str) -> String {
    format!("sipsec-{gateway}")
}

/// The kernel's table that knows the flows in a gateway's tunnels (`failback.drain`).
#[must_use]
pub fn drain_table(gateway: &str) -> String {
    format!("sipsec-drain-{gateway}")
}

words! {
    /// Which packets from outside reach a host by a port that it has sent from (RFC 4787 §5).
    pub enum PrimaryFiltering {
        AddressAndPortDependent = "address-and-port-dependent", "from the address and port that it has sent to";
        EndpointIndependent = "endpoint-independent", "from any address and port, so that peers find each other without a relay";
    }
}

/// Hosts of the LAN share the address of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryNat {
    pub device: String,
    /// IPv4, at least one.
    pub sources: Vec<IpPrefix>,
    /// Destinations whose packets keep their source.
    pub exempt: Vec<IpPrefix>,
    /// Of TCP and UDP, as the primary line sees them.
    pub port_first: u16,
    pub port_last: u16,
    pub filtering: PrimaryFiltering,
    pub forwards: Vec<Forward>,
}

/// A port of the device's address that is a host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    pub protocol: PortProtocol,
    pub port: u16,
    pub local: SocketAddrV4,
}

impl PrimaryNat {
    pub const PORTS_DEFAULT: (u16, u16) = (1024, 49_151);

    /// Whether its lists are within their bounds.
    #[must_use]
    pub fn fits(&self) -> bool {
        !self.sources.is_empty()
            && self.sources.len() <= SOURCES_MAX
            && self.exempt.len() <= EXEMPTIONS_MAX
            && self.forwards.len() <= FORWARDS_MAX
    }
}

impl Serialize for PrimaryNat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let texts = |list: &[IpPrefix]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("device", &self.device)?;
        map.serialize_entry("sources", &texts(&self.sources))?;
        map.serialize_entry("exempt", &texts(&self.exempt))?;
        map.serialize_entry("ports", &format!("{}-{}", self.port_first, self.port_last))?;
        map.serialize_entry("filtering", &self.filtering)?;
        map.serialize_entry("forwards", &self.forwards)?;
        map.end()
    }
}

impl Serialize for Forward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("protocol", &self.protocol)?;
        map.serialize_entry("port", &self.port)?;
        map.serialize_entry("local", &self.local.to_string())?;
        map.end()
    }
}
