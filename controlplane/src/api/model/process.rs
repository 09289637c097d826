//! The two processes.

use super::{Known, Unconfirmed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataplane {
    pub connected: bool,
    /// Why not.
    pub reason: Option<String>,
    pub software: String,
    pub epoch: u64,
    pub engine: String,
    pub workers: u32,
    pub frames: u32,
    /// Bytes of one frame of the UMEM.
    #[serde(default)]
    pub frame_bytes: u32,
    /// The UMEM is in huge pages.
    #[serde(default)]
    pub huge_pages: bool,
    /// Descriptors of each ring of a socket.
    #[serde(default)]
    pub ring: u32,
    #[serde(default)]
    pub need_wakeup: bool,
    #[serde(default)]
    pub pid: u32,
    pub heartbeat_ms_ago: Option<u64>,
    pub ports: Vec<Port>,
    /// One for each worker.
    #[serde(default)]
    pub by_worker: Vec<WorkerCounts>,
    /// By name; those that never happened are absent.
    pub drops: BTreeMap<String, u64>,
    pub stages: Vec<Stage>,
    pub counters: BTreeMap<String, u64>,
    pub steering: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// `outside` or `inside`.
    pub side: String,
    pub device: String,
    pub xdp_mode: String,
    pub bind_mode: String,
    pub mac: String,
    pub mtu: u32,
    pub queues: u32,
    /// Most frames in the fill ring of one queue.
    #[serde(default)]
    pub fill: u32,
    /// `SO_BUSY_POLL` of the sockets in microseconds; 0 is off.
    #[serde(default)]
    pub busy_poll_us: u32,
    /// Why XDP is not in the driver.
    #[serde(default)]
    pub driver_refused: Option<String>,
    /// Why the sockets have no zero copy.
    #[serde(default)]
    pub zero_copy_refused: Option<String>,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub rx_ring_full: u64,
    pub rx_fill_empty: u64,
    pub tx_invalid: u64,
}

/// A worker's part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerCounts {
    pub name: String,
    /// The core that it is pinned to.
    pub core: Option<u16>,
    /// Receive queues.
    pub queues_outside: u32,
    pub queues_inside: u32,
    pub rx_outside: u64,
    pub tx_outside: u64,
    pub rx_inside: u64,
    pub tx_inside: u64,
    /// Packets that were another worker's.
    pub handed_over: u64,
    /// Packets of its own that came to other workers.
    pub handed_in: u64,
    /// SAs of its tunnels.
    pub sas: u64,
    pub frames_free: u64,
    pub turns: u64,
    pub turns_idle: u64,
    pub sleeps: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    pub name: String,
    pub packets: u64,
    pub cycles: u64,
}

/// The control plane itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    pub version: String,
    pub uptime_s: u64,
    /// The WAN's address.
    pub wan: Known<IpAddr>,
    /// The SIP socket.
    pub sip: Known<String>,
    pub dataplane: Known<String>,
    /// Whether the kernel's addresses, routes and neighbours are followed, or why not.
    #[serde(default)]
    pub kernel: Known<String>,
    /// Whether the disk takes the records of calls, or why not: without them no call is placed.
    #[serde(default)]
    pub journal: Known<String>,
    pub routes: BTreeMap<String, String>,
    pub log_filter: String,
    /// Calls that were hung up and may still be charged, of all tunnels and of earlier runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Unconfirmed>,
    pub counters: BTreeMap<String, u64>,
}
