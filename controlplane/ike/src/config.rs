//! What an endpoint is told once, at its birth.

use crate::algorithm::{EspProposal, IkeProposal};
pub use crate::auth::{CertificateMap, MapField, MapOp, MapRule, SigningKey, UnsupportedKey};
use crate::crash::CrashSecret;
use crate::identity::Identity;
pub use crate::identity::IdentityPolicy;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use sipsec_net::dp::Selector;
use sipsec_net::{Fingerprint, SecretBox};
use std::sync::Arc;

/// Longest pre-shared key, in bytes.
pub const PSK_MAX: usize = 256;

/// Which side sends IKE_SA_INIT: the active one of SDP (RFC 6193 §4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    Initiator,
    Responder,
}

#[derive(Clone, Debug)]
pub struct EndpointConfig {
    pub role: Role,
    /// The address and port from which IKE is sent, as the network sees it (NAT detection, RFC 7296 §2.23).
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// Report a NAT in front of us even if there is none, so that the peer encapsulates ESP in UDP: only the
    /// signalled 5-tuple is admitted by the carrier.
    pub force_encap: bool,
    pub local_id: Identity,
    pub remote_id: IdentityPolicy,
    pub auth: AuthConfig,
    pub peer_fingerprints: FingerprintPolicy,
    pub ppk: Option<Ppk>,
    /// In order of preference.
    pub ike_proposals: Vec<IkeProposal>,
    pub esp_proposals: Vec<EspProposal>,
    /// At most [`sipsec_net::dp::SELECTORS_MAX`] each.
    pub ts_local: Vec<Selector>,
    pub ts_remote: Vec<Selector>,
    /// Source and destination of the packet that the call is for: what is asked for if the peer takes one pair of
    /// addresses alone (SINGLE_PAIR_REQUIRED, RFC 7296 §2.9).
    pub traffic: Option<(IpAddr, IpAddr)>,
    pub dpd: Dpd,
    /// Behind a NAT, how long nothing may be sent before a keepalive is (RFC 3948 §4); `None` for never.
    pub nat_keepalive: Option<Duration>,
    pub retransmit: Retransmit,
    pub ike_lifetime: Lifetime,
    pub child_lifetime: Lifetime,
    /// Largest UDP payload of a fragment without the marker (RFC 7383 §2.5.1); `None` turns fragmentation off.
    pub fragment_bytes_max: Option<usize>,
    /// Half-open SAs beyond this make us ask for a cookie (RFC 7296 §2.6). At [`HALF_OPEN_MAX`] new ones are ignored.
    pub cookie_threshold: usize,
    /// A half-open SA that says nothing for this long is forgotten.
    pub half_open_age_max: Duration,
    /// The path's MTU is searched for by probes (RFC 8899); `None`: it is not.
    pub probe: Option<Probe>,
    /// How long the inbound half of a replaced CHILD_SA stays for packets still under way.
    pub linger: Duration,
    /// Seconds since 1970, for the dates of certificates; a call is short enough for one reading.
    pub unix_time_s: u64,
    /// Tokens for the IKE SAs are given and taken (RFC 6290), made of this; `None` for neither.
    pub crash_detection: Option<CrashSecret>,
    /// Emits [`crate::Event::KeyLog`]: every key of this endpoint in clear. For captures in a lab, never elsewhere.
    pub lab_key_log: bool,
}

/// RFC 3948 §4: "a default value of 20 seconds".
pub const NAT_KEEPALIVE: Duration = Duration::from_secs(20);

/// Most half-open SAs of one endpoint: one peer, one call, so more than one is already odd.
pub const HALF_OPEN_MAX: usize = 4;

impl EndpointConfig {
    /// Everything else at its default.
    #[must_use]
    pub fn new(
        role: Role,
        local: SocketAddr,
        remote: SocketAddr,
        local_id: Identity,
        remote_id: IdentityPolicy,
        auth: AuthConfig,
    ) -> Self {
        Self {
            role,
            local,
            remote,
            force_encap: true,
            local_id,
            remote_id,
            auth,
            peer_fingerprints: FingerprintPolicy::default(),
            ppk: None,
            ike_proposals: IkeProposal::defaults(),
            esp_proposals: EspProposal::defaults(),
            ts_local: vec![Selector::ANY_V4],
            ts_remote: vec![Selector::ANY_V4],
            traffic: None,
            dpd: Dpd::default(),
            nat_keepalive: Some(NAT_KEEPALIVE),
            retransmit: Retransmit::default(),
            ike_lifetime: Lifetime::IKE,
            child_lifetime: Lifetime::CHILD,
            fragment_bytes_max: Some(1200),
            cookie_threshold: 2,
            half_open_age_max: Duration::from_secs(15),
            probe: None,
            linger: Duration::from_secs(3),
            unix_time_s: 0,
            crash_detection: None,
            lab_key_log: false,
        }
    }
}

/// Longest post-quantum pre-shared key, and longest identity of one, in bytes.
pub const PPK_MAX: usize = 256;
pub const PPK_ID_MAX: usize = 64;

/// A key mixed into those of the IKE SA (RFC 8784): breaking the key exchange alone does not reveal the traffic keys.
#[derive(Clone, Debug)]
pub struct Ppk {
    /// What it is called at both ends, in clear text.
    pub id: Vec<u8>,
    pub key: SecretBox<PPK_MAX>,
    /// Nothing comes up without it.
    pub required: bool,
}

/// How both sides prove who they are.
#[derive(Clone, Debug)]
pub enum AuthConfig {
    Psk(PskKeys),
    /// Shared by all calls of a profile.
    Certificate(Arc<CertificateAuth>),
}

/// A pre-shared key, and while keys are changed a second one.
#[derive(Clone, Debug)]
pub struct PskKeys {
    /// Our AUTH is made with it, unless the peer has proven the other one.
    pub current: SecretBox<PSK_MAX>,
    /// The peer may prove this one instead.
    pub next: Option<SecretBox<PSK_MAX>>,
}

impl PskKeys {
    #[must_use]
    pub const fn one(key: SecretBox<PSK_MAX>) -> Self {
        Self { current: key, next: None }
    }
}

/// One of two pre-shared keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PskSlot {
    #[default]
    Current,
    Next,
}

/// Digital signatures with certificates (RFC 7427).
#[derive(Debug)]
pub struct CertificateAuth {
    /// DER; ours first, then the intermediates of its path.
    pub chain: Vec<Vec<u8>>,
    pub key: SigningKey,
    pub trust: Trust,
}

/// Which certificates of peers are believed.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Certificates that sign themselves, which the fingerprint from SDP alone vouches for (RFC 6193 §7).
    pub self_signed: bool,
    /// The dates of such a certificate count too. RFC 6193 §9: it is no more than a carrier of its key.
    pub check_self_signed_validity: bool,
    /// Certificates of authorities, DER.
    pub anchors: Vec<Vec<u8>>,
    /// Revocation lists, DER.
    pub crls: Vec<Vec<u8>>,
    pub revocation: Revocation,
    /// If there are any, one of them must accept a certificate that an authority has issued.
    pub maps: Vec<CertificateMap>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Revocation {
    #[default]
    Ignore,
    /// What the lists say counts; what they do not cover is believed.
    FailOpen,
    /// Every certificate of the path must be covered by a list that is not past its date.
    FailClosed,
}

/// What SDP said of the peer's key. Checked in addition to authentication (RFC 6193 §7), never instead of it.
#[derive(Clone, Debug, Default)]
pub struct FingerprintPolicy {
    /// All of the peer's `a=fingerprint` (or, for a pre-shared key, `a=psk-fingerprint`) values.
    pub expected: Vec<Fingerprint>,
    /// Without any, fail. (RFC 6193 §8.2: with a pre-shared key none need be exchanged.)
    pub required: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DpdMode {
    Off,
    /// Asks only after `interval` without a sign of life (RFC 7296 §2.4).
    OnDemand,
    /// Asks every `interval`, even while other signs of life are seen.
    Periodic,
}

/// Dead peer detection. An unanswered question is retransmitted by [`Retransmit`]; when that gives up, the peer is dead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dpd {
    pub mode: DpdMode,
    pub interval: Duration,
}

impl Default for Dpd {
    fn default() -> Self {
        Self { mode: DpdMode::OnDemand, interval: Duration::from_secs(10) }
    }
}

/// When probes of the path may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// A probe waits until no ESP was sent or received for this long; 0: at once. On a slow line a full-size probe delays the
    /// packets behind it.
    pub quiet: Duration,
}

/// Back-off of requests (RFC 7296 §2.4: times are a local matter, and SHOULD grow exponentially).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retransmit {
    pub first: Duration,
    /// Each wait is this many percent of the one before.
    pub growth_percent: u32,
    pub wait_max: Duration,
    /// Transmissions in all, the first included. More, should an established peer be heard but not answer.
    pub tries_max: u32,
}

impl Default for Retransmit {
    /// 0.5, 0.9, 1.6, 2.9, 5 s …: gives up after about 16 s, about as long as a call may wait for its tunnel.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            growth_percent: 180,
            wait_max: Duration::from_secs(5),
            tries_max: 6,
        }
    }
}

/// Life of an SA. Soft: we rekey. Hard: it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lifetime {
    pub soft: Duration,
    pub hard: Duration,
    /// The soft limits are moved earlier by up to this share, so that both sides seldom rekey at once (RFC 7296 §2.8).
    pub jitter_percent: u32,
    /// Bytes of ESP, counted by the dataplane; 0 for no limit. Not used for an IKE SA.
    pub soft_bytes_max: u64,
    pub hard_bytes_max: u64,
}

impl Lifetime {
    pub const IKE: Self = Self::of(Duration::from_secs(14_400), 0);
    /// IOS: `lifetime seconds 3600`, `lifetime kilobytes 4608000`.
    pub const CHILD: Self = Self::of(Duration::from_secs(3_600), 4_608_000 * 1024);

    /// An SA that ends after `hard` or `hard_bytes_max`, and is renewed at nine tenths of that or a little earlier.
    #[must_use]
    pub const fn of(hard: Duration, hard_bytes_max: u64) -> Self {
        let soft = Duration::from_secs(hard.as_secs() / 10 * 9);
        Self { soft, hard, jitter_percent: 10, soft_bytes_max: hard_bytes_max / 10 * 9, hard_bytes_max }
    }

    /// The soft limits less a share of themselves, of which `random` is drawn from 2¹⁶.
    pub(crate) fn jittered(&self, random: u32) -> (Duration, u64) {
        let parts = self.jitter_percent.min(100) * random.min(1 << 16);
        let whole = 100 << 16;
        let time = self.soft.saturating_sub(self.soft.saturating_mul(parts) / whole);
        let bytes = u128::from(self.soft_bytes_max) * u128::from(parts) / u128::from(whole);
        (time, self.soft_bytes_max - u64::try_from(bytes).expect("at most the whole"))
    }
}
