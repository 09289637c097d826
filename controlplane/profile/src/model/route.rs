//! `routes:`, the routes of tunnels, and `failback:`

use super::serial;
use super::words::words;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sipsec_net::IpPrefix;
use std::net::IpAddr;
use std::time::Duration;

/// The administrative distance of a static route that has none written.
pub const DISTANCE_DEFAULT: u8 = 1;
/// The largest with which a route is installed.
pub const DISTANCE_LARGEST: u8 = 254;

/// A static route. Of several for one prefix, the one of the smallest distance is installed whose track is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StaticRoute {
    #[serde(serialize_with = "serial::text")]
    pub prefix: IpPrefix,
    #[serde(flatten)]
    pub to: RouteTo,
    /// None for the main table.
    #[serde(flatten)]
    pub table: Option<Table>,
    pub distance: u8,
    /// The route is a candidate while this track is up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Where a static route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RouteTo {
    /// A router, and the device behind which it is, if that is not left to the kernel.
    Via {
        #[serde(serialize_with = "serial::text")]
        via: IpAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<String>,
    },
    Device {
        device: String,
    },
    /// A tunnel, by its name.
    Tunnel {
        tunnel: String,
    },
    /// Packets are dropped.
    Discard {
        discard: True,
    },
}

/// A table of the kernel's routes other than the main one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Table {
    /// That of the VRF device of this name.
    #[serde(rename = "vrf")]
    Vrf(String),
    /// One that rules of the system lead to.
    #[serde(rename = "table")]
    Number(u32),
}

/// The value of a key that is there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct True;

impl Serialize for True {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(true)
    }
}

/// A route of a tunnel. It is written as its prefix alone where it has nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelRoute {
    pub prefix: IpPrefix,
    /// `None`: that of the tunnel, [`super::TunnelEntry::distance`].
    pub distance: Option<u8>,
    /// The route is a candidate while this track is up.
    pub track: Option<u32>,
}

impl From<IpPrefix> for TunnelRoute {
    fn from(prefix: IpPrefix) -> Self {
        Self { prefix, distance: None, track: None }
    }
}

impl Serialize for TunnelRoute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.distance.is_none() && self.track.is_none() {
            return serializer.collect_str(&self.prefix);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("prefix", &self.prefix.to_string())?;
        if let Some(distance) = self.distance {
            map.serialize_entry("distance", &distance)?;
        }
        if let Some(track) = self.track {
            map.serialize_entry("track", &track)?;
        }
        map.end()
    }
}

/// How traffic returns from a backup tunnel to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FailbackSection {
    /// The primary is good for this long before it is taken again.
    #[serde(rename = "hold_s", serialize_with = "serial::seconds")]
    pub hold: Duration,
    /// Good probes in a row that each operation behind its track, if it is up, must have had as well.
    pub good_probes: u32,
    pub drain: Drain,
    /// Flows that have stayed in the tunnel move to the primary after this time at the latest.
    #[serde(rename = "drain_s", serialize_with = "serial::seconds")]
    pub drain_max: Duration,
    /// A flow without a packet for this long has ended.
    #[serde(rename = "drain_quiet_s", serialize_with = "serial::seconds")]
    pub drain_quiet: Duration,
    /// Changes from a primary to a tunnel in one hour, each of which may place a call; 0: no limit.
    pub calls_per_hour: u32,
}

impl Default for FailbackSection {
    fn default() -> Self {
        Self {
            hold: Duration::from_secs(10),
            good_probes: 5,
            drain: Drain::default(),
            drain_max: Duration::from_secs(600),
            drain_quiet: Duration::from_secs(30),
            calls_per_hour: 6,
        }
    }
}

words! {
    /// What happens to flows of the backup when the primary returns.
    pub enum Drain {
        Move = "move", "all traffic goes by the primary at once; the call ends when it is idle";
        Stay = "drain", "a flow that the tunnel carries stays there until it is quiet for `drain_quiet_s`, or for `drain_s` after the return; new flows take the primary at once. From one tunnel to another, all traffic waits until the tunnel is quiet. Where the primary is a route of another program, all flows move at once";
    }
}
