//! The configuration of the core, given at start.

use sipsec_ike::algorithm::{EspProposal, IkeProposal};
use sipsec_ike::{CertificateAuth, Dpd, Identity, IdentityPolicy, Lifetime, Ppk, PskKeys};
use sipsec_net::dp::{Op, OuterDscp, TunnelSpec};
use sipsec_net::filter::{FilterRule, FilterUse};
use sipsec_net::nat::{NatPolicy, NatRule};
use sipsec_net::qos::{FILTERS_PER_BLOCK, Filter, QosFilters, QosSpec};
use sipsec_net::{IpPrefix, Kbps, TelNumber, TunnelId};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// At least one; a line of none belongs to the first.
    pub carriers: Vec<CarrierConfig>,
    pub tunnels: Vec<TunnelConfig>,
    pub keyring: Vec<KeyEntry>,
    pub ike: IkeConfig,
    pub media: MediaConfig,
    /// Router mode: prefixes of tunnels with a better route that leads elsewhere, which is used until route policy says
    /// otherwise.
    pub outside: BTreeSet<IpPrefix>,
}

/// A carrier and the lines that it gives us.
#[derive(Clone, Debug)]
pub struct CarrierConfig {
    /// In the journal, so that the next run hangs a call up over the carrier of the same name.
    pub name: String,
    pub sip: sipsec_sip::Config,
    /// Port of its SIP socket on the WAN's address.
    pub port: u16,
    pub media: CarrierMedia,
    pub back_off: BackOff,
}

impl CarrierConfig {
    /// Over the port of SIP, without particulars.
    #[must_use]
    pub fn new(name: &str, sip: sipsec_sip::Config) -> Self {
        Self {
            name: name.to_owned(),
            sip,
            port: 5060,
            media: CarrierMedia::default(),
            back_off: BackOff::default(),
        }
    }
}

/// Media of the calls of one carrier.
#[derive(Clone, Copy, Debug)]
pub struct CarrierMedia {
    /// The peer may send from another port than SDP's: the first that proves itself.
    pub learn_peer_port: bool,
    /// DSCP of the outer packets.
    pub dscp: OuterDscp,
}

impl Default for CarrierMedia {
    fn default() -> Self {
        Self { learn_peer_port: false, dscp: OuterDscp::CopyInner }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelConfig {
    pub name: String,
    pub spec: TunnelSpec,
    pub local_number: TelNumber,
    pub remote_number: TelNumber,
    pub bandwidth: Kbps,
    /// Without data for this long the call is hung up.
    pub idle: Duration,
    /// The longest duration of a call, busy or idle; `None` for no bound.
    pub call_max: Option<Duration>,
    /// If packets leave for this long and none comes, the call is placed anew; `None`: not watched.
    pub one_way: Option<Duration>,
    /// The MTU of its path is searched for (RFC 8899).
    pub probe_path_mtu: bool,
    pub routes: Vec<IpPrefix>,
    pub filters: TunnelFilters,
    pub nat: TunnelNat,
    pub qos: TunnelQos,
}

/// The rules of a tunnel's filters; without rules there is no filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelFilters {
    pub trigger: Vec<FilterRule>,
    pub idle: Vec<FilterRule>,
}

impl TunnelFilters {
    #[must_use]
    pub fn rules(&self, used: FilterUse) -> &[FilterRule] {
        match used {
            FilterUse::Trigger => &self.trigger,
            FilterUse::Idle => &self.idle,
        }
    }

    /// What gives them to a tunnel without filters.
    pub(crate) fn ops(&self, tunnel: TunnelId) -> impl Iterator<Item = Op> + '_ {
        FilterUse::ALL.into_iter().flat_map(move |used| {
            self.rules(used).iter().map(move |&rule| Op::FilterAdd { tunnel, used, rule })
        })
    }

    /// What gives them to a tunnel that has other ones.
    pub(crate) fn replace(&self, tunnel: TunnelId) -> Vec<Op> {
        let clear = FilterUse::ALL.map(|used| Op::FilterClear { tunnel, used });
        clear.into_iter().chain(self.ops(tunnel)).collect()
    }
}

/// Translation of the addresses that a tunnel carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TunnelNat {
    /// The same for every tunnel.
    pub policy: NatPolicy,
    pub rules: Vec<NatRule>,
}

impl TunnelNat {
    /// What brings it to a tunnel without rules.
    #[must_use]
    pub fn ops(&self, tunnel: TunnelId) -> Vec<Op> {
        let rules = self.rules.iter().map(|rule| Op::NatRule { tunnel, rule: *rule });
        let policy = (!self.rules.is_empty()).then_some(Op::NatPolicy(self.policy));
        policy.into_iter().chain(rules).collect()
    }
}

/// How the packets of a tunnel share its rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelQos {
    pub spec: QosSpec,
    /// In the order in which they are asked.
    pub filters: Vec<Filter>,
    /// Of the policy, and of each class of `spec`.
    pub policy: Option<String>,
    pub class_names: Vec<String>,
    /// As IOS does: a tunnel with a policy has no calls.
    pub fails_calls: bool,
}

impl TunnelQos {
    /// One class.
    #[must_use]
    pub fn plain(tunnel: TunnelId) -> Self {
        Self {
            spec: QosSpec::new(tunnel),
            filters: Vec::new(),
            policy: None,
            class_names: vec!["class-default".to_owned()],
            fails_calls: false,
        }
    }

    /// What tells the dataplane.
    pub(crate) fn ops(&self) -> impl Iterator<Item = Op> + '_ {
        let tunnel = self.spec.tunnel;
        let blocks = self.filters.chunks(FILTERS_PER_BLOCK).map(move |chunk| {
            let filters = std::array::from_fn(|i| chunk.get(i).copied());
            Op::TunnelQosFilters(QosFilters { tunnel, filters })
        });
        std::iter::once(Op::TunnelQos(self.spec)).chain(blocks)
    }

    /// A tunnel that is new has this.
    pub(crate) fn is_initial(&self) -> bool {
        self.spec == QosSpec::new(self.spec.tunnel) && self.filters.is_empty()
    }
}

impl TunnelConfig {
    /// 1 Mbit/s, hung up after a minute without data; no routes, filters, translation or classes.
    #[must_use]
    pub fn new(name: String, spec: TunnelSpec, local_number: TelNumber, remote_number: TelNumber) -> Self {
        Self {
            name,
            spec,
            local_number,
            remote_number,
            bandwidth: Kbps(1000),
            idle: Duration::from_secs(60),
            call_max: None,
            one_way: None,
            probe_path_mtu: true,
            routes: Vec::new(),
            filters: TunnelFilters::default(),
            nat: TunnelNat::default(),
            qos: TunnelQos::plain(spec.tunnel),
        }
    }

    #[must_use]
    pub const fn id(&self) -> TunnelId {
        self.spec.tunnel
    }
}

/// How a peer and we prove to each other who we are; `None` is the wildcard for numbers without an entry.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    pub number: Option<TelNumber>,
    pub credential: Credential,
    pub ppk: Option<Ppk>,
    pub peer: PeerKind,
    /// Instead of our number, or of our certificate's subject.
    pub local_id: Option<Identity>,
    /// Instead of the peer's number, or of anything that comes with a certificate.
    pub remote_id: Option<IdentityPolicy>,
}

#[derive(Clone, Debug)]
pub enum Credential {
    Psk(PskKeys),
    /// Checked at start: the key is the certificate's.
    Certificate(Arc<CertificateAuth>),
}

/// What has to be overlooked in a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PeerKind {
    #[default]
    Generic,
    /// Knows SHA-1 fingerprints alone, and may put the hash of a pre-shared key into `a=fingerprint`. May have no better
    /// algorithms than a router with IOS by default: AES-CBC with HMAC-SHA1-96, groups 5 and 2.
    Cisco,
}

#[derive(Clone, Debug)]
pub struct IkeConfig {
    /// In order of preference.
    pub proposals: Vec<IkeProposal>,
    pub esp_proposals: Vec<EspProposal>,
    pub ike_lifetime: Lifetime,
    pub child_lifetime: Lifetime,
    pub force_encap: bool,
    /// Window of inbound SAs, in packets: 64 to 65,536, a power of two.
    pub replay_window: u32,
    pub dpd: Dpd,
    /// See [`sipsec_ike::EndpointConfig::nat_keepalive`].
    pub nat_keepalive: Option<Duration>,
    /// See [`sipsec_ike::EndpointConfig::fragment_bytes_max`].
    pub fragment_bytes_max: Option<usize>,
    /// From the moment the call is answered, and so charged, until the SA is up.
    pub negotiation_deadline: Duration,
    /// RFC 6193 §8.2: announce a hash of the key in SDP and insist on the peer's.
    pub psk_fingerprint: bool,
    /// See [`sipsec_ike::EndpointConfig::crash_detection`].
    pub crash_detection: Option<sipsec_ike::CrashSecret>,
    /// Every key goes to [`crate::Output::KeyLog`]. For a lab, never elsewhere.
    pub lab_key_log: bool,
}

impl Default for IkeConfig {
    fn default() -> Self {
        Self {
            proposals: IkeProposal::defaults(),
            esp_proposals: EspProposal::defaults(),
            ike_lifetime: Lifetime::IKE,
            child_lifetime: Lifetime::CHILD,
            force_encap: true,
            replay_window: 1024,
            dpd: Dpd::default(),
            nat_keepalive: None,
            fragment_bytes_max: Some(1200),
            negotiation_deadline: Duration::from_secs(15),
            psk_fingerprint: true,
            crash_detection: None,
            lab_key_log: false,
        }
    }
}

impl IkeConfig {
    /// The shortest silence, of the peer or of us, after which IKE does something.
    pub(crate) fn silence_min(&self) -> Duration {
        self.nat_keepalive.map_or(self.dpd.interval, |keepalive| keepalive.min(self.dpd.interval))
    }
}

#[derive(Clone, Copy, Debug)]
pub struct MediaConfig {
    pub port_first: u16,
    pub port_last: u16,
    /// What IKE and ESP believe to be their address; the PAT joins it to the WAN's.
    pub tunnel_source: IpAddr,
    /// Even ports alone.
    pub even_ports: bool,
}

/// When the next call may be placed after one that failed, or whose end is not confirmed.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    /// After the first failure in a row; doubled with each further one.
    pub first: Duration,
    /// The longest pause after failures that cost money.
    pub max: Duration,
    /// The longest pause after failures that cost nothing, because no call was answered.
    pub unpaid_max: Duration,
    /// After a hang-up that neither the peer nor the carrier has confirmed: the tunnel places no call until the
    /// confirmation comes, or for this long. With zero it does not wait, and two calls may be charged at a time.
    pub unconfirmed: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(5),
            max: Duration::from_secs(300),
            unpaid_max: Duration::from_secs(30),
            unconfirmed: Duration::from_secs(60),
        }
    }
}
