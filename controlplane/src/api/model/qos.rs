use serde::{Deserialize, Serialize};

/// The classes of one tunnel, and the policer of what arrives by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyMap {
    pub interface: String,
    /// None if the profile names none for the tunnel: then it has one class.
    pub policy: Option<String>,
    /// What the tunnel's call has negotiated; 0 without a call.
    pub rate_kbps: u32,
    /// Whether the policy fails the tunnel's calls (`qos.mode: strict-cisco`).
    pub fails_calls: bool,
    pub classes: Vec<PolicyClass>,
    pub police: PolicePart,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyClass {
    pub name: String,
    pub priority: bool,
    /// As written: `20 kbps` or `25 %`.
    pub guarantee: Option<String>,
    pub ceiling: Option<String>,
    /// `copy`, or a number; none: the call's.
    pub outer_dscp: Option<String>,
    /// Packets sent. Without a policy those that did not wait are counted, too.
    pub packets: u64,
    /// Their outer IP bytes; without a policy those of packets that waited.
    pub bytes: u64,
    /// Packets that passed the queue.
    pub delayed: u64,
    pub delay_p50_us: u64,
    pub delay_p99_us: u64,
    pub queued_packets: u64,
    pub queued_bytes: u64,
    pub drops_full: u64,
    pub drops_aqm: u64,
    pub ecn_marks: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicePart {
    /// `off`, `count`, `mark` or `drop`.
    pub exceed: String,
    /// Of `mark`.
    pub dscp: Option<u8>,
    pub burst_ms: u16,
    pub conformed_packets: u64,
    pub exceeded_packets: u64,
    /// Outer IP bytes.
    pub exceeded_bytes: u64,
}
