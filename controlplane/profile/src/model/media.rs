//! `media:`

use super::carrier::MediaOverrides;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaSection {
    pub port_first: u16,
    pub port_last: u16,
    /// The address that IKE and ESP believe to be theirs; the PAT joins it to the WAN's.
    pub tunnel_source: IpAddr,
    pub own: MediaOverrides,
}

impl Default for MediaSection {
    fn default() -> Self {
        Self {
            port_first: 50_000,
            port_last: 50_999,
            tunnel_source: IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)),
            own: MediaOverrides::default(),
        }
    }
}

impl Serialize for MediaSection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ports", &format!("{}-{}", self.port_first, self.port_last))?;
        map.serialize_entry("tunnel_source", &self.tunnel_source)?;
        if let Some(even) = self.own.even_ports {
            map.serialize_entry("even_ports", &even)?;
        }
        if let Some(peer_port) = self.own.peer_port {
            map.serialize_entry("peer_port", &peer_port)?;
        }
        if let Some(dscp) = self.own.dscp {
            map.serialize_entry("dscp", &dscp)?;
        }
        if let Some(kbps) = self.own.assumed_kbps {
            map.serialize_entry("assumed_kbps", &kbps)?;
        }
        map.end()
    }
}
