//! From a profile to the configuration of the core. The secrets are read here, once.

mod qos;
mod track;

pub use track::{drain_quiet, track_config};

use crate::clock;
use crate::config::secret::secret;
use crate::net::resolve::{self, Wanted};
use crate::net::sip::tls::{Files, Tls, TlsError};
use crate::pki::credential::{self, Flaw};
use sipsec_ike::algorithm::{EspProposal, IkeProposal, ProposalError};
use sipsec_ike::{CertificateAuth, Dpd, DpdMode, Identity, IdentityPolicy, Lifetime, Ppk, PskKeys};
use sipsec_net::dp::{OuterDscp, TunnelSpec};
use sipsec_net::{IpPrefix, SecretBytes, TelNumber};
use sipsec_profile::model::carrier::{self, Carrier, MediaDscp, PeerPort};
use sipsec_profile::model::secret::psk_octets;
use sipsec_profile::model::{
    self, CertificateEntry, IkeSection, KeyOwner, Proof, RouteTo, SecretError, SecretSource, SipLine,
    SipSection, TunnelEntry, Word,
};
use sipsec_profile::{Profile, Severity};
use sipsec_session::{
    BackOff, CarrierConfig, CarrierMedia, Credential, IkeConfig, KeyEntry, MediaConfig, PeerKind,
    SessionConfig, TunnelConfig, TunnelFilters, TunnelNat,
};
use sipsec_sip::digest::Credentials;
use sipsec_sip::{CalledSource, CallerSource, ContactUser, Dialect};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

const USER_AGENT: &str = concat!("sipsec/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the password of line {line}: {error}")]
    Password { line: TelNumber, error: SecretError },
    #[error("the PPK {id}: {error}")]
    Ppk { id: String, error: SecretError },
    #[error("the key of {owner}: {error}")]
    Key { owner: String, error: SecretError },
    #[error("the certificate {name}: {flaw}; {}", flaw.cure())]
    Certificate { name: String, flaw: Flaw },
    #[error("there is no certificate {0}")]
    NoCertificate(String),
    #[error("TLS of SIP: {0}")]
    Tls(#[from] TlsError),
    #[error("the proposal {text}: {error}")]
    Proposal { text: String, error: ProposalError },
}

/// # Errors
/// If a secret cannot be read any more.
pub fn core_config(profile: &Profile) -> Result<SessionConfig, SetupError> {
    let carriers = profile.all_carriers().map(|(name, sip)| carrier_config(profile, name, sip));
    Ok(SessionConfig {
        carriers: carriers.collect::<Result<_, _>>()?,
        tunnels: tunnels(profile),
        keyring: keyring(profile)?,
        ike: ike(&profile.ike)?,
        media: MediaConfig {
            port_first: profile.media.port_first,
            port_last: profile.media.port_last,
            tunnel_source: profile.media.tunnel_source,
            even_ports: profile.even_ports(),
        },
        outside: outside(profile),
    })
}

fn carrier_config(profile: &Profile, name: &str, sip: &SipSection) -> Result<CarrierConfig, SetupError> {
    let carrier = profile.carrier(sip);
    // What DHCP or a name server has to name comes later.
    let domain_known = sip.domain.given().is_some();
    // Nothing registers before the number is known.
    let number_known = sip.lines.iter().all(|line| line.number != TelNumber::DHCP);
    let registrars =
        sip.registrar.given().filter(|_| domain_known && number_known).cloned().unwrap_or_default();
    let known = resolve::literal(&Wanted::new(sip, registrars, Vec::new()));
    Ok(CarrierConfig {
        name: name.to_owned(),
        sip: sipsec_sip::Config {
            registrars: known.registrars,
            proxies: known.proxies,
            domain: sip.domain.given().cloned().unwrap_or_default(),
            lines: lines(sip)?,
            expires_s: u32::try_from(sip.expires.as_secs()).unwrap_or(u32::MAX), // the profile's bound is far below
            session_expires_s: carrier.session_expires_s,
            requests_per_s: sip.requests_per_s,
            prove: sip.options,
            redirects_max: sip.redirects,
            rport: carrier.rport,
            user_agent: carrier.user_agent.then(|| USER_AGENT.to_owned()),
            dialect: dialect(&carrier),
        },
        port: sip.port,
        media: CarrierMedia {
            learn_peer_port: carrier.peer_port == PeerPort::LearnOnce,
            dscp: match carrier.media_dscp {
                MediaDscp::Copy => OuterDscp::CopyInner,
                MediaDscp::Fixed(dscp) => OuterDscp::Fixed(dscp),
            },
        },
        back_off: BackOff { unconfirmed: sip.bye_wait, ..BackOff::default() },
    })
}

/// The carrier's values as the user agent has them.
fn dialect(carrier: &Carrier) -> Dialect {
    let tags = |tags: &[carrier::OptionTag]| {
        let named = tags.iter().filter(|t| **t != carrier::OptionTag::None).map(|t| t.word());
        named.collect::<Vec<_>>().join(", ")
    };
    let caller = |source: &carrier::CallerSource| match source {
        carrier::CallerSource::Asserted => CallerSource::Asserted,
        carrier::CallerSource::Preferred => CallerSource::Preferred,
        carrier::CallerSource::From => CallerSource::From,
    };
    let called = |source: &carrier::CalledSource| match source {
        carrier::CalledSource::CalledParty => CalledSource::CalledParty,
        carrier::CalledSource::RequestUri => CalledSource::RequestUri,
        carrier::CalledSource::To => CalledSource::To,
    };
    Dialect {
        delayed_offers: carrier.delayed_offers,
        contact_user: match &carrier.contact_user {
            carrier::ContactUser::Number => ContactUser::Number,
            carrier::ContactUser::Absent => ContactUser::Absent,
            carrier::ContactUser::Random => ContactUser::Random,
            carrier::ContactUser::Token(token) => ContactUser::Token(token.clone()),
        },
        allow: carrier.allow.iter().map(|m| m.word()).collect::<Vec<_>>().join(", "),
        register_supported: tags(&carrier.register_supported),
        invite_supported: tags(&carrier.invite_supported),
        identity: match carrier.identity {
            carrier::Identity::Preferred => sipsec_sip::Identity::Preferred,
            carrier::Identity::From => sipsec_sip::Identity::From,
            carrier::Identity::Withheld => sipsec_sip::Identity::Withheld,
        },
        caller_from: carrier.caller_from.iter().map(caller).collect(),
        called_from: carrier.called_from.iter().map(called).collect(),
        assumed_bandwidth: carrier.assumed,
    }
}

/// How SIP is spoken with a carrier of the profile.
///
/// # Errors
/// If a file of TLS cannot be used.
pub fn transports(profile: &Profile, sip: &SipSection) -> Result<crate::net::sip::Setup, SetupError> {
    let own = sip.tls.own.as_ref();
    let domain = sip.domain.given().map_or("", String::as_str);
    let tls = match &sip.tls.ca {
        Some(ca) => Some(Tls::load(Files { ca, own }, sip.tls.server_name.as_deref(), domain)?),
        None => None,
    };
    Ok(crate::net::sip::Setup {
        device: sip.interface.clone(),
        port: sip.port,
        dscp: profile.carrier(sip).sip_dscp,
        families: sip.families(profile.wan.sip_by_v6()),
        transport: resolve::transport(sip.transport),
        tls,
        keepalive: sip.keepalive,
    })
}

fn ike(section: &IkeSection) -> Result<IkeConfig, SetupError> {
    let mode = match section.dpd_mode {
        model::DpdMode::OnDemand => DpdMode::OnDemand,
        model::DpdMode::Periodic => DpdMode::Periodic,
        model::DpdMode::Off => DpdMode::Off,
    };
    Ok(IkeConfig {
        proposals: proposals(&section.proposals, IkeProposal::defaults)?,
        esp_proposals: proposals(&section.esp_proposals, EspProposal::defaults)?,
        ike_lifetime: Lifetime::of(section.lifetime.ike, 0),
        child_lifetime: Lifetime::of(section.lifetime.child, section.lifetime.child_kb * 1024),
        force_encap: section.force_encap,
        replay_window: section.replay_window,
        dpd: Dpd { mode, interval: section.dpd },
        nat_keepalive: section.nat_keepalive,
        fragment_bytes_max: section.fragmentation.then_some(usize::from(section.fragment_bytes)),
        negotiation_deadline: section.negotiation_deadline,
        psk_fingerprint: section.psk_fingerprint,
        // Given by those that run: a rehearsal writes nothing.
        crash_detection: None,
        lab_key_log: section.lab_key_log.is_some(),
    })
}

fn proposals<T: std::str::FromStr<Err = ProposalError>>(
    written: &[String],
    defaults: fn() -> Vec<T>,
) -> Result<Vec<T>, SetupError> {
    if written.is_empty() {
        return Ok(defaults());
    }
    let read =
        |text: &String| text.parse().map_err(|error| SetupError::Proposal { text: text.clone(), error });
    written.iter().map(read).collect()
}

fn lines(sip: &SipSection) -> Result<Vec<sipsec_sip::Line>, SetupError> {
    let line = |line: &SipLine| {
        let error = |error| SetupError::Password { line: line.number, error };
        let auth = match &line.auth {
            None => None,
            Some(auth) => {
                let password = secret(&auth.password).map_err(error)?;
                let password =
                    SecretBytes::new(password.expose()).ok_or_else(|| error(SecretError::TooLong))?;
                Some(Credentials { username: auth.username.clone(), password })
            }
        };
        Ok(sipsec_sip::Line { number: line.number, auth })
    };
    sip.lines.iter().map(line).collect()
}

/// The certificates by name; each is shared by all calls that use it.
fn certificates(profile: &Profile) -> Result<BTreeMap<&str, Arc<CertificateAuth>>, SetupError> {
    let load = |certificate: &'_ CertificateEntry| {
        let loaded = credential::load(certificate, clock::unix_time_s(), true);
        let flaw = loaded.flaws.into_iter().map(|(_, f)| f).find(|f| f.severity() == Severity::Error);
        loaded.auth.map(Arc::new).ok_or_else(|| {
            let name = certificate.name.clone();
            flaw.map_or(SetupError::NoCertificate(name.clone()), |flaw| SetupError::Certificate {
                name,
                flaw,
            })
        })
    };
    let named = profile.ike.certificates.iter().map(|c| Ok((c.name.as_str(), load(c)?)));
    named.collect()
}

/// What proves us and the peers, from the files that the profile names.
///
/// # Errors
/// If one of them cannot be read or used.
pub fn keyring(profile: &Profile) -> Result<Vec<KeyEntry>, SetupError> {
    let certificates = certificates(profile)?;
    let entry = |entry: &model::KeyringEntry| {
        let number = match entry.owner {
            KeyOwner::Number(number) => Some(number),
            KeyOwner::Any => None,
        };
        let owner = number.map_or("any".to_owned(), |n| n.to_string());
        let credential = match &entry.proof {
            Proof::Psk(psk) => {
                let octets = |psk: &SecretSource| {
                    let octets = secret(psk).and_then(|written| psk_octets(&written));
                    octets.map_err(|error| SetupError::Key { owner: owner.clone(), error })
                };
                let next = entry.next_psk.as_ref().map(octets).transpose()?;
                Credential::Psk(PskKeys { current: octets(psk)?, next })
            }
            Proof::Certificate(name) => {
                let found = certificates.get(name.as_str()).cloned();
                Credential::Certificate(found.ok_or_else(|| SetupError::NoCertificate(name.clone()))?)
            }
        };
        let ppk = entry.ppk.as_ref().map(|ppk| {
            let key = secret(&ppk.key).and_then(|written| psk_octets(&written));
            let key = key.map_err(|error| SetupError::Ppk { id: ppk.id.clone(), error })?;
            Ok::<_, SetupError>(Ppk { id: ppk.id.clone().into_bytes(), key, required: ppk.required })
        });
        let peer = match entry.peer {
            model::PeerKind::Generic => PeerKind::Generic,
            model::PeerKind::Cisco => PeerKind::Cisco,
        };
        Ok(KeyEntry {
            number,
            credential,
            ppk: ppk.transpose()?,
            peer,
            local_id: entry.identity.as_ref().map(identity),
            remote_id: entry.peer_identity.as_ref().map(peer_identity),
        })
    };
    profile.ike.keyring.iter().map(entry).collect()
}

/// A prefix belongs to the tunnel with the smallest distance.
fn tunnels(profile: &Profile) -> Vec<TunnelConfig> {
    let mut best: BTreeMap<IpPrefix, (u8, String)> = BTreeMap::new();
    for route in profile.static_routes() {
        let RouteTo::Tunnel { tunnel } = route.to else { continue };
        match best.get(&route.prefix) {
            Some((distance, _)) if *distance <= route.distance => {}
            _ => {
                best.insert(route.prefix, (route.distance, tunnel));
            }
        }
    }
    let mut by_tunnel: BTreeMap<String, Vec<IpPrefix>> = BTreeMap::new();
    for (prefix, (_, tunnel)) in best {
        by_tunnel.entry(tunnel).or_default().push(prefix);
    }
    let routes = |t: &TunnelEntry| by_tunnel.get(&t.name).cloned().unwrap_or_default();
    profile.tunnels.iter().map(|t| tunnel(profile, t, routes(t))).collect()
}

/// Router mode: prefixes of tunnels that have a route with a smaller distance which leads elsewhere.
fn outside(profile: &Profile) -> BTreeSet<IpPrefix> {
    if profile.dataplane.inside.svti().is_some() {
        return BTreeSet::new();
    }
    let mut best: BTreeMap<IpPrefix, (u8, bool)> = BTreeMap::new();
    for route in profile.static_routes().filter(|r| r.table.is_none()) {
        let elsewhere = !matches!(route.to, RouteTo::Tunnel { .. });
        let known = best.entry(route.prefix).or_insert((route.distance, elsewhere));
        if route.distance < known.0 {
            *known = (route.distance, elsewhere);
        }
    }
    best.into_iter().filter(|(_, (_, elsewhere))| *elsewhere).map(|(prefix, _)| prefix).collect()
}

fn identity(written: &model::IkeIdentity) -> Identity {
    match written {
        model::IkeIdentity::KeyId(id) => Identity::KeyId(id.clone().into_bytes()),
        model::IkeIdentity::Fqdn(name) => Identity::Fqdn(name.clone()),
        model::IkeIdentity::Email(name) => Identity::Rfc822(name.clone()),
        model::IkeIdentity::Address(IpAddr::V4(ip)) => Identity::Ipv4(*ip),
        model::IkeIdentity::Address(IpAddr::V6(ip)) => Identity::Ipv6(*ip),
    }
}

fn peer_identity(written: &model::PeerIdentity) -> IdentityPolicy {
    match written {
        model::PeerIdentity::Is(one) => IdentityPolicy::Exactly(identity(one)),
        model::PeerIdentity::FqdnOf(domain) => IdentityPolicy::FqdnOf(domain.clone()),
        model::PeerIdentity::EmailOf(domain) => IdentityPolicy::EmailOf(domain.clone()),
    }
}

fn tunnel(profile: &Profile, tunnel: &TunnelEntry, routes: Vec<IpPrefix>) -> TunnelConfig {
    TunnelConfig {
        name: tunnel.name.clone(),
        spec: TunnelSpec {
            tunnel: tunnel.id,
            inner_mtu: profile.tunnel_mtu(tunnel),
            mss_clamp: true,
            check_source: tunnel.check_source,
            routing_hellos: tunnel.routing_hellos,
            own_device: tunnel.device.is_some(),
            trigger_packets_max: tunnel.trigger.packets,
            trigger_bytes_max: tunnel.trigger.bytes,
            trigger_age_ms_max: u32::try_from(tunnel.trigger.age.as_millis()).unwrap_or(u32::MAX), // at most a minute
        },
        local_number: tunnel.local_number,
        remote_number: tunnel.remote_number,
        bandwidth: tunnel.bandwidth,
        idle: tunnel.idle,
        call_max: tunnel.call_max,
        one_way: tunnel.one_way,
        probe_path_mtu: tunnel.probe_path_mtu,
        filters: TunnelFilters {
            trigger: profile.filter_rules(tunnel.trigger_filter.as_deref()),
            idle: profile.filter_rules(tunnel.idle_filter.as_deref()),
        },
        routes,
        nat: TunnelNat {
            policy: profile.nat.policy(),
            rules: tunnel.nat.iter().map(|rule| rule.0).collect(),
        },
        qos: qos::tunnel_qos(profile, tunnel),
    }
}
