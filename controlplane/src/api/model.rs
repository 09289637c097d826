//! What the API says, word for word: the types of its JSON. Changing a field's meaning or removing one is a new schema.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Version of everything below.
pub const SCHEMA: &str = "sipsec/1";

/// Every answer, and what every command prints with `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer<T> {
    pub schema: String,
    /// None where no gateway was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    pub data: T,
}

impl<T> Answer<T> {
    pub fn new(gateway: Option<&str>, data: T) -> Self {
        Self { schema: SCHEMA.to_owned(), gateway: gateway.map(str::to_owned), data }
    }
}

/// A value, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known<T> {
    pub value: Option<T>,
    pub reason: Option<String>,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { value: None, reason: None }
    }
}

impl<T> From<Result<T, String>> for Known<T> {
    fn from(result: Result<T, String>) -> Self {
        match result {
            Ok(value) => Self { value: Some(value), reason: None },
            Err(reason) => Self { value: None, reason: Some(reason) },
        }
    }
}

/// Every refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub error: String,
}

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

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub number: String,
    pub registered: bool,
    pub contact: Option<SocketAddr>,
    pub domain: String,
    pub expires_s: Option<u64>,
    pub transport: String,
    pub call_id: String,
    /// Why it is not registered.
    pub reason: Option<String>,
}

/// What DHCP has said on the WAN.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpView {
    pub interface: String,
    /// `None` where DHCP of the family is not used.
    pub ipv4: Option<DhcpFamily>,
    pub ipv6: Option<DhcpFamily>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhcpFamily {
    /// `bound`, or why there is no lease.
    pub state: String,
    pub addresses: Vec<String>,
    pub prefixes: Vec<String>,
    pub server: Option<String>,
    pub expires_s: Option<u64>,
    pub renews_s: Option<u64>,
    pub routes: Vec<String>,
    pub dns: Vec<String>,
    /// `ipv4:ADDRESS`, `ipv6:ADDRESS` or `dns:NAME`.
    pub sip_servers: Vec<String>,
    pub number: Option<String>,
    pub additional_numbers: Vec<String>,
    pub sip_domain: Option<String>,
    pub update_host: Option<String>,
    /// Vendor sub-options that could not be read.
    pub unreadable: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CryptoSession {
    pub interface: String,
    pub profile: String,
    pub uptime_s: Option<u64>,
    /// `UP-ACTIVE`, `DOWN-NEGOTIATING`, `DOWN`.
    pub status: String,
    pub peer: Option<SocketAddr>,
    pub phase1_id: Option<String>,
    pub session_id: u64,
    pub ike: Option<IkeSa>,
    pub flows: Vec<Flow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeSa {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// `Active`, `Negotiating`.
    pub state: String,
    /// Letters of the legend.
    pub capabilities: String,
    pub connid: u64,
    pub lifetime_s: Option<u64>,
    pub spi_initiator: String,
    pub spi_responder: String,
    pub algorithms: Option<String>,
    /// Whom we claim to be.
    pub local_id: String,
    /// `psk`, or the signature scheme of the peer's certificate; none before the peer has proven itself.
    #[serde(default)]
    pub authentication: Option<String>,
    /// What binds the peer's key to the call.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Fragments of IKE messages that came (RFC 7383), but for the last of each, which makes it whole.
    #[serde(default)]
    pub fragments_in: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub local: String,
    pub remote: String,
    pub active_sas: u32,
    pub inbound: SaHalf,
    pub outbound: SaHalf,
    pub algorithm: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaHalf {
    pub spi: String,
    pub packets: u64,
    pub drops: u64,
    pub life_kb: Option<u64>,
    pub life_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Translation {
    pub protocol: String,
    pub inside_global: SocketAddr,
    pub inside_local: SocketAddr,
    pub outside_local: SocketAddr,
    pub outside_global: SocketAddr,
}

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
    pub heartbeat_ms_ago: Option<u64>,
    pub ports: Vec<Port>,
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
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub rx_ring_full: u64,
    pub rx_fill_empty: u64,
    pub tx_invalid: u64,
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
    pub sip: Known<SocketAddr>,
    pub dataplane: Known<String>,
    /// Whether the kernel's addresses, routes and neighbours are followed, or why not.
    #[serde(default)]
    pub kernel: Known<String>,
    pub routes: BTreeMap<String, String>,
    pub log_filter: String,
    /// Calls that were hung up and may still be charged, of all tunnels and of earlier runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<Unconfirmed>,
    pub counters: BTreeMap<String, u64>,
}

/// One line of the event stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Counts the events of this run.
    #[serde(default)]
    pub sequence: u64,
    /// Microseconds since the epoch.
    pub time_us: u64,
    /// Stable name.
    pub event: String,
    /// Whether it asks for attention.
    #[serde(default)]
    pub warning: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_number: Option<String>,
    /// SIP's, of the latest call with this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    pub text: String,
}

/// A call that has ended. Times are microseconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub interface: String,
    pub remote_number: String,
    pub call_id: Option<String>,
    /// Whether we placed it.
    pub caller: bool,
    pub began_us: u64,
    pub answered_after_ms: Option<u64>,
    pub up_after_ms: Option<u64>,
    pub ended_us: u64,
    /// Since it was answered; none if it never was.
    pub lasted_ms: Option<u64>,
    /// `us` or `peer`.
    pub ended_by: Option<String>,
    /// Stable name of the failure.
    pub code: Option<String>,
    pub reason: String,
    pub kbps: Option<u32>,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

/// The SIP messages of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMessages {
    pub call_id: String,
    pub messages: Vec<CallMessage>,
    /// Later messages that were not kept.
    pub left_out: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallMessage {
    pub time_us: u64,
    /// By us.
    pub sent: bool,
    pub first_line: String,
    /// The message, what authenticates masked.
    pub text: String,
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

/// Body of `POST /v1/clear`: exactly one of the three. A body that names nothing hangs up nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clear {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_number: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `true` hangs up every call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// Calls that are hung up.
    pub sessions: u32,
    /// Interfaces without a call whose pause after failures was ended: the next packet calls.
    #[serde(default)]
    pub back_off_reset: Vec<String>,
}

/// Body of `PUT /v1/log-filter`, and the answer to `GET`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogFilter {
    pub filter: String,
    /// For so many seconds; then the filter of the start is in force again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
}
