//! `media:`

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::net::{IpAddr, Ipv4Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaSection {
    pub port_first: u16,
    pub port_last: u16,
    /// The address that IKE and ESP believe to be theirs; the PAT joins it to the WAN's.
    pub tunnel_source: IpAddr,
}

impl Default for MediaSection {
    fn default() -> Self {
        Self {
            port_first: 50_000,
            port_last: 50_999,
            tunnel_source: IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)),
        }
    }
}

impl Serialize for MediaSection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("ports", &format!("{}-{}", self.port_first, self.port_last))?;
        map.serialize_entry("tunnel_source", &self.tunnel_source)?;
        map.end()
    }
}
