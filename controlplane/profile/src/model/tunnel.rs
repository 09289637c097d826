//! `tunnels:`

use super::limits;
use super::nat::TunnelNat;
use super::route::{DISTANCE_DEFAULT, DISTANCE_LARGEST, TunnelRoute};
use super::serial;
use serde::Serialize;
use sipsec_net::{IpPrefix, Kbps, TelNumber, TunnelId};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunnelEntry {
    /// Its place in the profile, counted from 1. Not a key of the file.
    #[serde(skip)]
    pub id: TunnelId,
    pub name: String,
    #[serde(serialize_with = "serial::text")]
    pub local_number: TelNumber,
    #[serde(serialize_with = "serial::text")]
    pub remote_number: TelNumber,
    #[serde(rename = "bandwidth_kbps", serialize_with = "kbps")]
    pub bandwidth: Kbps,
    #[serde(rename = "idle_s", serialize_with = "serial::seconds")]
    pub idle: Duration,
    /// A call ends after this long, busy or not.
    #[serde(
        rename = "call_max_s",
        serialize_with = "serial::seconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub call_max: Option<Duration>,
    pub routes: Vec<TunnelRoute>,
    /// The distance of its routes that have none of their own: a backup's is higher than the primary's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Largest inner packet; the largest that the WAN carries unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Strict reverse-path check: a packet from the tunnel must have a source address in `routes`.
    pub check_source: bool,
    /// The MTU of the path to the peer is searched for by probes (RFC 8899).
    pub probe_path_mtu: bool,
    /// Link-scope packets of routing protocols pass the tunnel while it is up; they neither call nor hold it.
    pub routing_hellos: bool,
    /// Host mode: a kernel device of this tunnel alone, above the sVTI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The device whose addresses that one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unnumbered: Option<String>,
    /// The SA is up and packets leave, but none arrives for this long: the call is placed anew. `None`: not watched.
    #[serde(
        rename = "one_way_s",
        serialize_with = "serial::seconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    pub one_way: Option<Duration>,
    /// Translation of addresses between the LAN and what the tunnel carries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nat: Vec<TunnelNat>,
    /// A policy of [`super::QosSection`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    pub trigger: TriggerQueue,
    /// Which packets place a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger_filter: Option<String>,
    /// Which packets count against the idle timer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_filter: Option<String>,
}

impl TunnelEntry {
    /// The administrative distance of one of its routes.
    #[must_use]
    pub fn distance(&self, route: &TunnelRoute) -> u8 {
        let of_tunnel = || self.metric.map(|metric| u8::try_from(metric).unwrap_or(DISTANCE_LARGEST));
        route.distance.or_else(of_tunnel).unwrap_or(DISTANCE_DEFAULT)
    }

    /// The prefixes of its own routes.
    pub fn prefixes(&self) -> impl Iterator<Item = IpPrefix> + '_ {
        self.routes.iter().map(|route| route.prefix)
    }

    /// Everything else at its default. Its id is given by [`super::Profile::number_tunnels`].
    #[must_use]
    pub fn new(name: &str, local_number: TelNumber, remote_number: TelNumber, bandwidth: Kbps) -> Self {
        Self {
            id: TunnelId(0),
            name: name.to_owned(),
            local_number,
            remote_number,
            bandwidth,
            idle: Duration::from_secs(limits::IDLE_DEFAULT_S),
            call_max: None,
            routes: Vec::new(),
            metric: None,
            mtu: None,
            check_source: true,
            probe_path_mtu: true,
            routing_hellos: false,
            device: None,
            unnumbered: None,
            one_way: None,
            nat: Vec::new(),
            qos: None,
            trigger: TriggerQueue::default(),
            trigger_filter: None,
            idle_filter: None,
        }
    }
}

fn kbps<S: serde::Serializer>(value: &Kbps, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(value.0)
}

/// What may wait for an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TriggerQueue {
    pub packets: u16,
    pub bytes: u32,
    #[serde(rename = "age_ms", serialize_with = "serial::milliseconds")]
    pub age: Duration,
}

impl Default for TriggerQueue {
    fn default() -> Self {
        Self { packets: 64, bytes: 65_536, age: Duration::from_millis(5000) }
    }
}
