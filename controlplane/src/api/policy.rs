//! What the API says of route policy: operations (`/v1/sla`), track objects (`/v1/track`) and routes (`/v1/routes`). The
//! version is that of [`super::model`].

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One operation: `show ip sla configuration` and `show ip sla statistics`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlaOperation {
    pub id: u32,
    pub name: Option<String>,
    /// `icmp-echo`, `icmp-jitter`, `tcp-connect`, `udp-echo`, `dns`, `http`, `bfd`.
    pub kind: String,
    pub target: String,
    pub port: Option<u16>,
    /// The name that a DNS operation asks for.
    pub query: Option<String>,
    /// The path of an HTTP operation.
    pub path: Option<String>,
    /// The packets of a series.
    pub packets: Option<u16>,
    pub interval_ms: Option<u64>,
    pub source: Option<String>,
    pub device: Option<String>,
    pub frequency_ms: u64,
    pub timeout_ms: u64,
    pub threshold_ms: u64,
    pub up_count: u32,
    pub down_count: u32,
    /// None is forever.
    pub lifetime_s: Option<u64>,
    /// `pending`, `active`, `expired`.
    pub activity: String,
    /// `Up`, `Down`, `Unknown`: of the reachability and of the state that track objects follow.
    pub reachability: String,
    pub state: String,
    /// Since the last change of either.
    pub since_s: u64,
    /// `OK`, `Over threshold`, `Timeout`, `Unreachable`, `Refused`, `No source`, `Bad answer`, `Not sent`, `Unknown`.
    pub return_code: String,
    pub last_ended_ms_ago: Option<u64>,
    pub next_in_ms: Option<u64>,
    pub good_in_row: u32,
    pub bad_in_row: u32,
    pub statistics: SlaStatistics,
    pub bfd: Option<BfdSession>,
}

/// Since the start of the operation. Of a series each packet counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlaStatistics {
    pub sent: u64,
    pub successes: u64,
    pub failures: u64,
    /// By return code; those that never happened are absent.
    pub codes: BTreeMap<String, u64>,
    pub rtt_last_us: Option<u64>,
    pub rtt_min_us: Option<u64>,
    pub rtt_avg_us: Option<u64>,
    pub rtt_max_us: Option<u64>,
    pub rtt_smoothed_us: Option<u64>,
    pub rtt_variation_us: Option<u64>,
    pub jitter_us: Option<u64>,
    /// Percentage of the last 100 probes.
    pub loss_percent: u8,
    pub late: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BfdSession {
    /// `AdminDown`, `Down`, `Init`, `Up`.
    pub state: String,
    pub remote_state: String,
    pub local_discriminator: u32,
    pub remote_discriminator: u32,
    pub diagnostic: String,
    pub remote_diagnostic: String,
    pub transmit_us: u64,
    pub detection_us: u64,
    pub packets_out: u64,
    pub packets_in: u64,
    pub packets_bad: u64,
}

/// One track object: `show track`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackObject {
    pub id: u32,
    /// `sla-reachability`, `sla-state`, `line-protocol`, `route`, `and`, `or`, `not`, `weight`, `percentage`.
    pub kind: String,
    /// The operation of an `sla-…` object.
    pub operation: Option<u32>,
    pub device: Option<String>,
    pub prefix: Option<String>,
    /// The members of a list object. The weight is 1 for each but in a `weight` list.
    pub members: Vec<TrackMember>,
    /// Thresholds of a `weight` or `percentage` list.
    pub up_at: Option<u32>,
    pub down_at: Option<u32>,
    /// `Up`, `Down`, `Unknown`.
    pub state: String,
    pub since_s: u64,
    pub changes: u64,
    /// Without delay and damping.
    pub raw_state: String,
    pub delay_up_ms: u64,
    pub delay_down_ms: u64,
    /// A change that waits for its delay.
    pub delayed_to: Option<String>,
    pub delayed_for_ms: Option<u64>,
    pub damping: Option<TrackDamping>,
    /// The result of the operation's last probe.
    pub return_code: Option<String>,
    pub rtt_us: Option<u64>,
    /// Prefixes of routes that follow it, and list objects that it is a member of.
    pub routes: Vec<String>,
    pub member_of: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackMember {
    pub id: u32,
    pub weight: u32,
    pub state: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackDamping {
    /// Now, decayed.
    pub penalty: u32,
    pub suppress: u32,
    pub reuse: u32,
    pub half_life_s: u64,
    pub suppressed: bool,
    pub reuse_in_s: Option<u64>,
}

/// All routes with one prefix: `show ip route`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixRoutes {
    pub prefix: String,
    /// The table that they are in: the name of a VRF, or `table N`; none for the main table.
    #[serde(default)]
    pub table: Option<String>,
    /// Our own, by distance.
    pub candidates: Vec<RouteCandidate>,
    /// The kernel's that are not ours.
    pub foreign: Vec<ForeignRoute>,
    /// The kernel prefers a foreign route, because its metric is less.
    pub foreign_used: bool,
    /// Flows that have stayed in a tunnel although traffic has returned (`failback.drain`).
    #[serde(default)]
    pub draining: Option<DrainingFlows>,
    pub since_s: u64,
    pub changes: u64,
    /// What the kernel has of the best one: `installed`, or why not.
    pub kernel: Option<String>,
}

/// Flows that stay in a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainingFlows {
    pub tunnel: String,
    /// How many there are; `None` if the kernel does not tell in time.
    pub flows: Option<u32>,
    /// In seconds, until they move at the latest.
    pub left_s: u64,
    /// Why they move all the same.
    pub failure: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCandidate {
    /// One of these is set; none is a discarding route.
    pub via: Option<String>,
    pub device: Option<String>,
    pub tunnel: Option<String>,
    pub distance: u8,
    pub metric: u32,
    pub track: Option<u32>,
    pub name: Option<String>,
    pub best: bool,
    /// Why it is not the best.
    pub why_not: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignRoute {
    /// `kernel`, `boot`, `static`, `ra`, `dhcp`, `zebra`, `bgp`, `isis`, `ospf`, `rip`, `eigrp`, or the number.
    pub protocol: String,
    pub metric: u32,
    pub via: Option<String>,
    pub device: Option<String>,
}
