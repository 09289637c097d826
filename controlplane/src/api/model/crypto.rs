//! IKE, SAs and the PAT.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

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
    /// `psk`, `psk-next` (the second key), or the signature scheme of the peer's certificate; none before the peer has proven itself.
    #[serde(default)]
    pub authentication: Option<String>,
    /// What binds the peer's key to the call.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// The longest IKE message that is sent in one piece (RFC 7383); none if the two ends do not fragment.
    #[serde(default)]
    pub fragment_bytes: Option<u64>,
    /// Fragments of IKE messages that left, without repetitions.
    #[serde(default)]
    pub fragments_out: u64,
    /// Fragments of IKE messages that came (RFC 7383), but for the last of each, which makes it whole.
    #[serde(default)]
    pub fragments_in: u64,
    /// IKE messages that went on in smaller fragments, for want of an answer (RFC 7383 §2.5.2).
    #[serde(default)]
    pub fragments_smaller: u64,
    /// What probes have found of the path to the peer (RFC 8899).
    #[serde(default)]
    pub path: PathMtu,
}

/// Sizes are those of IP packets, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathMtu {
    /// `not probed`, `base` (nothing is known yet), `search`, `complete`, `error` (less than 1,200 bytes pass).
    pub phase: String,
    /// The largest that was answered; 0 for none.
    pub proved: u16,
    /// The smallest that was not.
    pub refused: Option<u16>,
    pub probes: u64,
    /// Probes without an answer.
    pub probes_lost: u64,
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
