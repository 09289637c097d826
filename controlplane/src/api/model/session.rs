//! Tunnels and their calls that are not over.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    #[serde(rename = "I")]
    Initiator,
    #[serde(rename = "R")]
    Responder,
}

impl Role {
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Initiator => "I",
            Self::Responder => "R",
        }
    }
}

/// One tunnel, with or without a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    pub interface: String,
    /// `READY_TO_CONNECT`, `DIALING`, `NEGOTIATING_IKE`, `SESSION_UP`, `DRAINING`.
    pub status: String,
    pub role: Option<Role>,
    pub uptime_s: Option<u64>,
    pub remote_number: String,
    pub local_number: String,
    pub remote: Option<SocketAddr>,
    /// The port from which the peer's packets come, if it was learnt and is not that of `remote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_port: Option<u16>,
    /// Port 0 while no call holds one; no address while the WAN has none.
    pub local_ip: Option<IpAddr>,
    pub local_port: u16,
    pub crypto_handle: u32,
    pub sip_handle: u32,
    pub sip_call_id: Option<u64>,
    pub bandwidth_configured_kbps: u32,
    pub bandwidth_negotiated_kbps: u32,
    pub last_failure: Option<Failure>,
    /// No call before this many seconds have passed.
    pub retry_in_s: Option<u64>,
    /// Why no call can be made now, though none has failed.
    pub waits_for: Option<String>,
    /// Calls that were hung up and may still be charged, because nothing has confirmed their end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Unconfirmed>,
    /// When each step of the call was reached, since its beginning.
    pub phases: Vec<Phase>,
    pub traffic: Option<Traffic>,
    /// Inner packets over the last 30 s, in kbit/s.
    #[serde(default)]
    pub rates: Option<Rates>,
    /// How large packets may be, while the tunnel has an SA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mtu {
    /// The largest inner packet.
    pub inner: u16,
    /// The largest outer packet.
    pub outer: u16,
    /// An ICMP error of the path has named `outer`; otherwise it is the WAN's MTU.
    pub of_path: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    pub kbps_in: u64,
    pub kbps_out: u64,
}

/// A call that was hung up, and whose end neither the peer nor the carrier has confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// None if it is of no tunnel of this profile.
    pub interface: Option<String>,
    pub remote_number: Option<String>,
    /// The Call-ID header field.
    pub call_id: String,
    /// An earlier run of the control plane left it.
    pub recovered: bool,
    /// Since the answer; none if that is not known.
    pub charged_s: Option<u64>,
    pub hung_up_s: u64,
    /// The status with which the last BYE was refused.
    pub refused: Option<u16>,
    /// Until the next BYE; none while one is being repeated, or while the WAN has no address.
    pub next_bye_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable name.
    pub code: String,
    pub reason: String,
    /// What to do.
    pub cure: String,
    pub ago_s: u64,
    /// In a row.
    pub count: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    pub name: String,
    pub at_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub idle_s: Option<u64>,
    pub idle_max_s: u64,
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
    pub drops_in: u64,
    pub drops_out: u64,
    pub trigger_queued: u64,
    pub trigger_replayed: u64,
    pub trigger_dropped: u64,
}

/// How many tunnels are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub tunnels: u64,
    pub up: u64,
    pub dialing: u64,
    pub negotiating: u64,
    pub draining: u64,
    pub ready: u64,
    /// Without a call, and the last one failed.
    pub failed: u64,
    /// Without a call, and none can be placed now.
    pub waiting: u64,
    pub lines: u64,
    pub lines_registered: u64,
    /// Over the last 30 s.
    pub kbps_in: u64,
    pub kbps_out: u64,
}
