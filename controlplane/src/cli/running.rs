//! `sipsec show running-config`: a profile in the words of IOS, as far as it has words for it. Keys are hidden.

use super::screen::Screen;
use super::{CliError, envelope};
use crate::api::change::RunningProfile;
use crate::api::client::Client;
use crate::api::interfaces::Interface;
use crate::config;
use sipsec_ike::algorithm::{EspProposal, IkeProposal};
use sipsec_profile::ios::conversion::{self, Conversion};
use sipsec_profile::ios::{self, Secret, names, show};
use sipsec_profile::model::limits::REPLAY_WINDOW;
use sipsec_profile::model::wan::WanIpv4;
use sipsec_profile::model::{
    CertificateEntry, DontFragment, DpdMode, KeyOwner, KeyringEntry, Learnt, Lifetimes, PeerKind, Proof,
    Reassembly, RouteTo, Watch,
};
use sipsec_profile::write::{self, Secrets};
use sipsec_profile::{Nothing, Profile};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// Devices are shown as interfaces of the router by this name, the WAN's as the first.
const INTERFACE: &str = "GigabitEthernet";
const REMARK: &str = "! ";
const COLUMNS: usize = 80;
const WAN: &str = "GigabitEthernet0";
const USAGE: &str = "usage: sipsec [--profile FILE] show running-config [--yaml] [interface NAME]";

/// What is shown: all of it, or one interface.
enum Part {
    All,
    Interface(String),
}

impl Part {
    fn parse(words: &[String]) -> Result<Self, CliError> {
        match words {
            [] => Ok(Self::All),
            [word, name @ ..] if "interface".starts_with(word.as_str()) && !name.is_empty() => {
                let name = name.concat();
                Ok(Self::Interface(names::canonical(&name).unwrap_or(name)))
            }
            _ => Err(CliError::Words(USAGE.to_owned())),
        }
    }
}

/// # Errors
/// If the profile cannot be read, has errors, or has no such interface.
pub fn of_file(profile: Option<&Path>, words: &[String], yaml: bool, json: bool) -> Result<String, CliError> {
    let path = profile.ok_or_else(|| CliError::Words(USAGE.to_owned()))?;
    let (profile, errors) = config::view(path)?;
    let text = shown(&profile, "", &Part::parse(words)?, yaml, json)?;
    if json || errors == 0 {
        return Ok(text);
    }
    let remark = if yaml { '#' } else { '!' };
    let s = if errors == 1 { "" } else { "s" };
    Ok(format!("{remark} the profile has {errors} error{s}: `sipsec check` says which\n{text}"))
}

/// Of the profile in force.
///
/// # Errors
/// As [`of_file`].
pub fn of_gateway(client: &Client, words: &[String], yaml: bool, json: bool) -> Result<String, CliError> {
    let part = Part::parse(words)?;
    let running: RunningProfile = client.get("/v1/profile")?;
    let examined = sipsec_profile::examine("the profile in force", running.profile.as_bytes(), &Nothing);
    // Keys are hidden in it, so it may look too weak.
    let profile = examined.profile.ok_or(config::LoadError::Findings(examined.findings))?;
    // A kernel that does not answer hides nothing of the profile.
    let others = client.get::<Vec<Interface>>("/v1/interfaces").unwrap_or_default();
    let other = |i: &Interface| {
        i.kernel_tunnel
            .as_ref()
            .map(|kind| format!("interface {}\n ! not configured for vpn-sip ({kind})\n!\n", i.name))
    };
    let others: String = others.iter().filter_map(other).collect();
    shown(&profile, &others, &part, yaml, json)
}

fn shown(profile: &Profile, others: &str, part: &Part, yaml: bool, json: bool) -> Result<String, CliError> {
    // Not known of one interface.
    let mut left_out = None;
    let text = match (part, yaml) {
        (Part::All, true) => write::yaml(profile, Secrets::Hidden).map_err(CliError::Words)?,
        (Part::Interface(name), true) => {
            let mut one = profile.clone();
            one.tunnels.retain(|t| t.name.eq_ignore_ascii_case(name));
            if one.tunnels.is_empty() {
                return Err(no_tunnel(name));
            }
            write::tunnels_yaml(&one).map_err(CliError::Words)?
        }
        (Part::All, false) => {
            let whole = show::running_config(&converted(profile));
            let devices = devices(profile);
            let keys = ios::left_out(profile, &whole, devices.clone(), |profile| {
                let ike = &mut profile.ike;
                ike.proposals = canonical(&ike.proposals, IkeProposal::defaults);
                ike.esp_proposals = canonical(&ike.esp_proposals, EspProposal::defaults);
            });
            let text =
                whole.strip_suffix("end\n").map_or(whole.clone(), |text| format!("{text}{others}end\n"));
            let remarks = devices.iter().map(remark).collect::<String>() + &without_words(&keys);
            left_out = keys.ok();
            remarks + &text
        }
        (Part::Interface(name), false) => {
            show::interface(&converted(profile), name).ok_or_else(|| no_tunnel(name))?
        }
    };
    Ok(match (json, yaml) {
        (true, true) => envelope(&serde_json::json!({ "profile": text })),
        (true, false) => envelope(&serde_json::json!({ "running_config": text, "left_out": left_out })),
        _ => text,
    })
}

/// Keys that the text does not carry, as remarks of at most 80 columns.
fn without_words(left_out: &Result<Vec<String>, &'static str>) -> String {
    let keys = match left_out {
        Ok(keys) if keys.is_empty() => return String::new(),
        Ok(keys) => format!("IOS has no words for {}; --yaml shows them", keys.join(", ")),
        Err(why) => format!("{why}: --yaml shows all of the profile"),
    };
    let lines = Screen::new(COLUMNS - REMARK.len(), true, false).fit(&keys);
    lines.lines().map(|line| format!("{REMARK}{}\n", line.trim_start())).collect()
}

fn no_tunnel(name: &str) -> CliError {
    CliError::Words(format!("the profile has no tunnel {name}\n{USAGE}"))
}

fn remark((interface, device): (&String, &String)) -> String {
    format!("! {device} is shown as {interface}\n")
}

/// The devices of the profile, by the names of interfaces that stand for them: IOS takes no other names. A tunnel's own device
/// has the tunnel's name.
fn devices(profile: &Profile) -> BTreeMap<String, String> {
    let operations = profile.sla.iter().filter_map(|o| o.device.as_ref());
    let tracks = profile.track.iter().filter_map(|t| match &t.watch {
        Watch::Device { device } => Some(device),
        _ => None,
    });
    let routes = profile.routes.iter().filter_map(|r| match &r.to {
        RouteTo::Via { device, .. } => device.as_ref(),
        RouteTo::Device { device } => Some(device),
        RouteTo::Tunnel { .. } | RouteTo::Discard { .. } => None,
    });
    let lenders = profile.tunnels.iter().filter_map(|t| t.unnumbered.as_ref());
    let primaries = profile.nat.primary.iter().map(|p| &p.device);
    let mut out = BTreeMap::new();
    let named = operations.chain(tracks).chain(routes).chain(lenders).chain(primaries);
    let mut seen: Vec<&String> = Vec::new();
    for device in std::iter::once(&profile.sip.interface).chain(named) {
        if !seen.contains(&device) {
            // Devices are few, but for templates of operations and routes.
            out.insert(format!("{INTERFACE}{}", seen.len()), device.clone());
            seen.push(device);
        }
    }
    out
}

fn converted(profile: &Profile) -> Conversion {
    let interfaces = devices(profile);
    let shown_device = |device: &String| {
        let name = interfaces.iter().find(|(_, of)| *of == device).map(|(name, _)| name);
        name.unwrap_or(device).clone()
    };
    let ike = &profile.ike;
    let seconds = |d: std::time::Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
    let (life, default) = (ike.lifetime, Lifetimes::default());
    Conversion {
        gateway: Some(profile.gateway.clone()),
        wan: Some((WAN.to_owned(), None)),
        sip_by_dhcp: profile.sip.registrar == Learnt::Dhcp && profile.wan.ipv4 == WanIpv4::Dhcp,
        lines: profile
            .all_carriers()
            .flat_map(|(_, sip)| sip.lines.iter().map(|l| l.number.to_string()))
            .collect(),
        keyring: ike.keyring.iter().map(key).collect(),
        certificates: ike.certificates.iter().map(certificate).collect(),
        proposals: canonical(&ike.proposals, IkeProposal::defaults),
        esp_proposals: canonical(&ike.esp_proposals, EspProposal::defaults),
        old_peers: ike.keyring.iter().any(|entry| entry.peer == PeerKind::Cisco),
        ike_s: (life.ike != default.ike).then(|| seconds(life.ike)),
        child_s: (life.child != default.child).then(|| seconds(life.child)),
        child_kb: (life.child_kb != default.child_kb)
            .then(|| u32::try_from(life.child_kb).unwrap_or(u32::MAX)),
        dpd: match ike.dpd_mode {
            DpdMode::Periodic => Some(("periodic", seconds(ike.dpd))),
            DpdMode::OnDemand => Some(("on-demand", seconds(ike.dpd))),
            DpdMode::Off => None,
        },
        nat_keepalive_s: ike.nat_keepalive.map(seconds),
        replay_window: (ike.replay_window != REPLAY_WINDOW).then_some(ike.replay_window),
        fragment_bytes: ike.fragmentation.then(|| ike.fragment_bytes.into()),
        tunnel_source: match profile.media.tunnel_source {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        },
        tunnels: profile
            .tunnels
            .iter()
            .map(|t| conversion::Tunnel {
                name: t.name.clone(),
                local: t.local_number.to_string(),
                remote: t.remote_number.to_string(),
                kbps: t.bandwidth.0,
                idle_s: Some(seconds(t.idle)),
                mtu: t.mtu.filter(|mtu| *mtu != profile.dataplane.inner_mtu_max().0).map(u32::from),
                device: t.device.clone(),
                unnumbered: t.unnumbered.clone(),
                filter: t.trigger_filter.clone(),
                qos: t.qos.clone(),
                routes: t.routes.clone(),
                metric: t.metric,
                nat: t.nat.clone(),
            })
            .collect(),
        filters: profile.filters.clone(),
        qos: profile.qos.policies.clone(),
        sla: profile.sla.clone(),
        track: profile.track.clone(),
        routes: profile.routes.clone(),
        primary: profile.nat.primary.iter().map(|p| (shown_device(&p.device), p.clone())).collect(),
        interfaces,
        dont_fragment: match profile.dataplane.outside.dont_fragment {
            DontFragment::Clear => None,
            DontFragment::Set => Some("set"),
            DontFragment::Copy => Some("copy"),
        },
        reassembly: {
            let (said, default) = (profile.dataplane.outside.reassembly, Reassembly::default());
            conversion::Reassembly {
                datagrams_per_peer: (said.datagrams_per_peer != default.datagrams_per_peer)
                    .then_some(said.datagrams_per_peer),
                fragments: (said.fragments != default.fragments).then_some(said.fragments),
                timeout_s: (said.timeout_s != default.timeout_s).then_some(said.timeout_s),
            }
        },
    }
}

/// As the gateway shows them; empty for its own.
fn canonical<T: std::str::FromStr + ToString>(written: &[String], defaults: fn() -> Vec<T>) -> Vec<String> {
    let show = |text: &String| text.parse::<T>().map_or_else(|_| text.clone(), |p| p.to_string());
    let list: Vec<String> = written.iter().map(show).collect();
    let default: Vec<String> = defaults().iter().map(ToString::to_string).collect();
    if list == default { Vec::new() } else { list }
}

/// Without the key itself.
fn key(entry: &KeyringEntry) -> conversion::KeyEntry {
    conversion::KeyEntry {
        number: match entry.owner {
            KeyOwner::Number(number) => Some(number.to_string()),
            KeyOwner::Any => None,
        },
        proof: match &entry.proof {
            Proof::Psk(_) => conversion::Proof::Psk(Secret::new("")),
            Proof::Certificate(name) => conversion::Proof::Certificate(name.clone()),
        },
        ppk: entry.ppk.as_ref().map(|ppk| conversion::Ppk {
            id: ppk.id.clone(),
            key: Secret::new(""),
            required: ppk.required,
        }),
        identity: entry.identity.clone(),
        peer_identity: entry.peer_identity.clone(),
    }
}

fn certificate(certificate: &CertificateEntry) -> conversion::Certificate {
    let trust = &certificate.trust;
    conversion::Certificate {
        name: certificate.name.clone(),
        self_signed: trust.self_signed,
        crl: trust.crl.as_ref().map(|crl| if crl.fail_closed { "closed" } else { "open" }),
        maps: trust.maps.iter().map(|map| map.iter().map(ToString::to_string).collect()).collect(),
    }
}
