//! A gateway's profile in domain types: what is left when everything in it has been checked.

use super::secret::SecretSource;
use super::sections::lifetime::Lifetimes;
use sipsec_abi::profile::{Dataplane, Inside, ProfileHead};
use sipsec_ike::algorithm::{EspProposal, IkeProposal};
use sipsec_ike::{CertificateMap, Dpd};
use sipsec_net::{IpPrefix, Kbps, TelNumber, TunnelId};
use sipsec_session::PeerKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Of ESP in UDP with AES-GCM-16 over IPv4: 20 IP, 8 UDP, 8 ESP header, 8 IV, 2 trailer, 16 ICV.
pub const ESP_OVERHEAD_V4: u16 = 62;
/// Inner packets that fit an Ethernet WAN.
pub const INNER_MTU_DEFAULT: u16 = 1500 - ESP_OVERHEAD_V4;
/// RFC 791: every host takes 576 bytes.
pub const INNER_MTU_MIN: u16 = 576;
/// Tunnels in one profile.
pub const TUNNELS_MAX: usize = 16_384;

#[derive(Clone, Debug)]
pub struct Profile {
    pub gateway: String,
    pub runtime_dir: PathBuf,
    pub state_dir: PathBuf,
    /// Filter of the log (`tracing` syntax), reloadable while running.
    pub log: String,
    pub sip: Sip,
    pub ike: Ike,
    pub media: Media,
    pub tunnels: Vec<Tunnel>,
    pub dataplane: Dataplane,
}

impl Profile {
    #[must_use]
    pub fn head(&self) -> ProfileHead {
        ProfileHead {
            version: sipsec_abi::profile::PROFILE_VERSION,
            gateway: self.gateway.clone(),
            runtime_dir: Some(self.runtime_dir.clone()),
            dataplane: self.dataplane.clone(),
        }
    }

    /// The largest inner packet that a tunnel may promise, and which key says so unless it is the WAN.
    #[must_use]
    pub const fn inner_mtu_max(dataplane: &Dataplane) -> (u16, Option<&'static str>) {
        match dataplane.inside {
            Inside::Host { mtu: Some(mtu), .. } if mtu < INNER_MTU_DEFAULT => {
                (mtu, Some("dataplane.inside.mtu"))
            }
            _ => (INNER_MTU_DEFAULT, None),
        }
    }

    #[must_use]
    pub fn dataplane_socket(&self) -> PathBuf {
        self.head().dataplane_socket()
    }

    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        control_socket(&self.runtime_dir)
    }

    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state_dir.join("journal.redb")
    }
}

#[must_use]
pub fn control_socket(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}

#[derive(Clone, Debug)]
pub struct Sip {
    /// Whose address is used for SIP and media; it may come and go.
    pub interface: String,
    pub port: u16,
    /// Registrar and outbound proxy.
    pub registrar: SocketAddr,
    pub domain: String,
    pub expires: Duration,
    /// RFC 4028: the session interval to ask for.
    pub session_expires_s: u32,
    /// RFC 3581: ask for answers to the source port. Some carriers must not see it.
    pub rport: bool,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub number: TelNumber,
    /// `None` where the carrier authenticates the access line.
    pub auth: Option<LineAuth>,
}

#[derive(Clone, Debug)]
pub struct LineAuth {
    pub username: String,
    pub password: SecretSource,
}

#[derive(Clone, Debug)]
pub struct Ike {
    pub keyring: Vec<KeyEntry>,
    /// In order of preference.
    pub proposals: Vec<IkeProposal>,
    pub esp_proposals: Vec<EspProposal>,
    pub lifetimes: Lifetimes,
    /// Named by entries of the keyring.
    pub certificates: Vec<Certificate>,
    pub force_encap: bool,
    pub dpd: Dpd,
    /// Behind a NAT, how long nothing may be sent before a keepalive is (RFC 3948 §4); `None` for never.
    pub nat_keepalive: Option<Duration>,
    /// Largest UDP payload of a fragment of IKE (RFC 7383); `None`: messages are sent whole.
    pub fragment_bytes: Option<usize>,
    /// An answered call costs money: without an SA by then it is hung up.
    pub negotiation_deadline: Duration,
    /// RFC 6193 §8.2: put a hash of the key into SDP and insist on the peer's.
    pub psk_fingerprint: bool,
    /// Directory for every key in clear, in the table formats of tshark. For captures in a lab, never elsewhere.
    pub lab_key_log: Option<PathBuf>,
}

/// Whose key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyOwner {
    Number(TelNumber),
    /// Every number without an entry of its own.
    Any,
}

#[derive(Clone, Debug)]
pub struct KeyEntry {
    pub owner: KeyOwner,
    pub proof: Proof,
    pub ppk: Option<Ppk>,
    pub peer: PeerKind,
}

/// A post-quantum pre-shared key, in addition to the proof (RFC 8784).
#[derive(Clone, Debug)]
pub struct Ppk {
    /// The same at both ends.
    pub id: String,
    pub key: SecretSource,
    /// No session without it.
    pub required: bool,
}

#[derive(Clone, Debug)]
pub enum Proof {
    Psk(SecretSource),
    /// Of [`Ike::certificates`], by name.
    Certificate(String),
}

/// A certificate of this gateway, its key, and whose certificates are believed in return.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub name: String,
    /// PEM: ours first, then the intermediates of its path.
    pub chain: PathBuf,
    /// PEM, PKCS #8.
    pub key: PathBuf,
    /// A key of RSA signs with PSS, not with PKCS #1 v1.5.
    pub rsa_pss: bool,
    pub trust: Trust,
}

#[derive(Clone, Debug)]
pub struct Trust {
    /// Certificates that sign themselves, which the fingerprint in SDP alone vouches for.
    pub self_signed: bool,
    /// The dates of those count, too.
    pub check_self_signed_validity: bool,
    pub ca: Vec<PathBuf>,
    pub crl: Option<Crl>,
    pub maps: Vec<CertificateMap>,
}

/// Revocation lists.
#[derive(Clone, Debug)]
pub struct Crl {
    pub files: Vec<PathBuf>,
    /// What no list covers is refused.
    pub fail_closed: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Media {
    pub port_first: u16,
    pub port_last: u16,
    /// What IKE and ESP believe to be their address; the PAT joins it to the WAN's.
    pub tunnel_source: IpAddr,
}

#[derive(Clone, Debug)]
pub struct Tunnel {
    pub id: TunnelId,
    pub name: String,
    pub local_number: TelNumber,
    pub remote_number: TelNumber,
    pub bandwidth: Kbps,
    pub idle: Duration,
    /// A call ends after this long whatever it carries.
    pub call_max: Option<Duration>,
    pub routes: Vec<IpPrefix>,
    /// Of the kernel routes: a backup's is higher than the primary's (IOS: administrative distance 254).
    pub metric: Option<u32>,
    pub mtu: u16,
    /// What comes out of the tunnel must have a source that `routes` have.
    pub check_source: bool,
    pub trigger: Trigger,
}

/// What may wait for an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub packets: u16,
    pub bytes: u32,
    pub age: Duration,
}

impl Default for Trigger {
    fn default() -> Self {
        Self { packets: 64, bytes: 65_536, age: Duration::from_millis(5000) }
    }
}
