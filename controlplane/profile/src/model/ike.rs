//! `ike:`

use super::identity::{IkeIdentity, PeerIdentity};
use super::limits;
use super::secret::{PPK, PRIVATE_KEY, PSK, PSK_NEXT, SecretSource};
use super::serial;
use super::words::words;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sipsec_net::TelNumber;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Serialize)]
pub struct IkeSection {
    pub keyring: Vec<KeyringEntry>,
    /// Named by entries of the keyring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateEntry>,
    pub force_encap: bool,
    #[serde(rename = "dpd_s", serialize_with = "serial::seconds")]
    pub dpd: Duration,
    pub dpd_mode: DpdMode,
    /// Window of inbound SAs, in packets: a power of two (RFC 4303 §3.4.3).
    pub replay_window: u32,
    /// Behind a NAT, a keepalive is sent after this much silence (RFC 3948 §4); `None` for never.
    #[serde(rename = "nat_keepalive_s", serialize_with = "serial::seconds_or_zero")]
    pub nat_keepalive: Option<Duration>,
    /// IKE messages are fragmented (RFC 7383).
    pub fragmentation: bool,
    /// Largest UDP payload of a fragment.
    pub fragment_bytes: u16,
    /// An answered call costs money: without an SA by then it is hung up.
    #[serde(rename = "negotiation_deadline_s", serialize_with = "serial::seconds")]
    pub negotiation_deadline: Duration,
    /// RFC 6193 §8.2: put a hash of the key into SDP and insist on the peer's.
    pub psk_fingerprint: bool,
    /// Tokens that tell a peer's loss of its IKE SA at once (RFC 6290).
    pub crash_detection: bool,
    /// In order of preference; empty for the gateway's own. Each was accepted by
    /// [`crate::Surroundings::proposal`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub esp_proposals: Vec<String>,
    pub lifetime: Lifetimes,
    /// Directory for every key in clear, in the table formats of tshark. For captures in a lab, never elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lab_key_log: Option<PathBuf>,
}

impl IkeSection {
    /// Everything else at its default.
    #[must_use]
    pub fn new(keyring: Vec<KeyringEntry>) -> Self {
        Self {
            keyring,
            certificates: Vec::new(),
            force_encap: true,
            dpd: Duration::from_secs(limits::DPD_S),
            dpd_mode: DpdMode::default(),
            replay_window: limits::REPLAY_WINDOW,
            nat_keepalive: Some(Duration::from_secs(limits::NAT_KEEPALIVE_S)),
            fragmentation: true,
            fragment_bytes: limits::FRAGMENT_BYTES,
            negotiation_deadline: Duration::from_secs(limits::NEGOTIATION_DEADLINE_S),
            psk_fingerprint: false,
            crash_detection: true,
            proposals: Vec::new(),
            esp_proposals: Vec::new(),
            lifetime: Lifetimes::default(),
            lab_key_log: None,
        }
    }
}

words! {
    /// When the peer is asked for a sign of life.
    pub enum DpdMode {
        OnDemand = "on-demand", "ask after `dpd_s` without a packet from the peer";
        Periodic = "periodic", "ask every `dpd_s`, also while packets arrive";
        Off = "off", "never ask";
    }
}

words! {
    /// Deviations of a peer that are accepted.
    pub enum PeerKind {
        Generic = "generic", "a peer that follows the RFCs";
        Cisco = "cisco", "a router that announces SHA-1 fingerprints only, may announce a hash of the pre-shared key, and may have no better algorithms than AES-CBC with SHA-1 and the groups 5 and 2";
    }
}

/// How long SAs live. Each is renewed at nine tenths of it or a little earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lifetimes {
    #[serde(rename = "ike_s", serialize_with = "serial::seconds")]
    pub ike: Duration,
    #[serde(rename = "child_s", serialize_with = "serial::seconds")]
    pub child: Duration,
    /// In 1024 bytes; 0 for no limit.
    pub child_kb: u64,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            ike: Duration::from_secs(limits::IKE_LIFETIME_S),
            child: Duration::from_secs(limits::CHILD_LIFETIME_S),
            child_kb: limits::CHILD_LIFETIME_KB,
        }
    }
}

/// Whose key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOwner {
    Number(TelNumber),
    /// Every number without an entry of its own.
    Any,
}

impl fmt::Display for KeyOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Any => f.write_str("any"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct KeyringEntry {
    pub owner: KeyOwner,
    pub proof: Proof,
    /// Accepted besides a pre-shared key while keys are changed.
    pub next_psk: Option<SecretSource>,
    pub ppk: Option<PpkEntry>,
    pub peer: PeerKind,
    /// What we say we are; `None` for the number of our line, or for the subject of our certificate.
    pub identity: Option<IkeIdentity>,
    /// What the peer must say it is; `None` for its number, or, with a certificate, for anything.
    pub peer_identity: Option<PeerIdentity>,
}

impl KeyringEntry {
    /// Without a PPK, for a generic peer.
    #[must_use]
    pub fn new(owner: KeyOwner, proof: Proof) -> Self {
        Self {
            owner,
            proof,
            next_psk: None,
            ppk: None,
            peer: PeerKind::Generic,
            identity: None,
            peer_identity: None,
        }
    }
}

/// How both ends prove who they are.
#[derive(Clone, Debug)]
pub enum Proof {
    Psk(SecretSource),
    /// The name of an entry of [`IkeSection::certificates`].
    Certificate(String),
}

/// A post-quantum pre-shared key, in addition to the proof (RFC 8784).
#[derive(Clone, Debug)]
pub struct PpkEntry {
    /// The same at both ends.
    pub id: String,
    pub key: SecretSource,
    /// No session without it.
    pub required: bool,
}

impl Serialize for KeyringEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &self.owner.to_string())?;
        match &self.proof {
            Proof::Psk(source) => source.write(PSK, &mut map)?,
            Proof::Certificate(name) => map.serialize_entry("certificate", name)?,
        }
        if let Some(next) = &self.next_psk {
            next.write(PSK_NEXT, &mut map)?;
        }
        if let Some(ppk) = &self.ppk {
            map.serialize_entry("ppk_id", &ppk.id)?;
            ppk.key.write(PPK, &mut map)?;
            map.serialize_entry("ppk_required", &ppk.required)?;
        }
        map.serialize_entry("peer", &self.peer)?;
        if let Some(identity) = &self.identity {
            map.serialize_entry("identity", &identity.to_string())?;
        }
        if let Some(identity) = &self.peer_identity {
            map.serialize_entry("peer_identity", &identity.to_string())?;
        }
        map.end()
    }
}

/// A certificate of this gateway, its key, and whose certificates are believed in return.
#[derive(Clone, Debug)]
pub struct CertificateEntry {
    pub name: String,
    /// PEM: ours first, then the intermediates of its path.
    pub chain: PathBuf,
    /// PEM, PKCS #8.
    pub key: SecretSource,
    /// An RSA key signs with PSS, not with PKCS #1 v1.5.
    pub rsa_pss: bool,
    pub trust: TrustPolicy,
}

impl Serialize for CertificateEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("certificate", &self.chain)?;
        self.key.write(PRIVATE_KEY, &mut map)?;
        map.serialize_entry("rsa_pss", &self.rsa_pss)?;
        map.serialize_entry("trust", &self.trust)?;
        map.end()
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct TrustPolicy {
    /// Self-signed certificates, for which the fingerprint in SDP is the only proof.
    pub self_signed: bool,
    /// The dates of those count, too.
    pub check_self_signed_validity: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crl: Option<CrlPolicy>,
    /// One of them must accept the peer, if there are any; all rules of a map must hold.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "maps")]
    pub maps: Vec<Vec<MapRule>>,
}

fn maps<S: Serializer>(maps: &[Vec<MapRule>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(maps.iter().map(|m| m.iter().map(ToString::to_string).collect::<Vec<_>>()))
}

/// Revocation lists.
#[derive(Clone, Debug)]
pub struct CrlPolicy {
    pub files: Vec<PathBuf>,
    /// A certificate that no current list covers is refused.
    pub fail_closed: bool,
}

impl Serialize for CrlPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("files", &self.files)?;
        map.serialize_entry("fail", if self.fail_closed { "closed" } else { "open" })?;
        map.end()
    }
}

words! {
    /// The field of a certificate that a rule looks at.
    pub enum MapField {
        Subject = "subject", "the subject's name";
        Issuer = "issuer", "the issuer's name";
        AltName = "alt-name", "any of the alternative names";
    }
}

words! {
    /// How a rule compares.
    pub enum MapOp {
        Eq = "eq", "equal";
        Ne = "ne", "not equal";
        Co = "co", "contains";
        Nc = "nc", "does not contain";
    }
}

/// `FIELD OP VALUE`, in the operators of IOS's certificate maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRule {
    pub field: MapField,
    pub op: MapOp,
    pub value: String,
}

impl fmt::Display for MapRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use super::Word;
        write!(f, "{} {} {}", self.field.word(), self.op.word(), self.value)
    }
}
