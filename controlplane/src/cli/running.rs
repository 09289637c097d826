//! `sipsec show running-config`: a profile in the words of IOS, as far as it has words for it. Keys are hidden.

use super::{CliError, envelope};
use crate::config;
use sipsec_ike::algorithm::{EspProposal, IkeProposal};
use sipsec_profile::Profile;
use sipsec_profile::ios::conversion::{self, Conversion};
use sipsec_profile::ios::{Secret, names, show};
use sipsec_profile::model::{
    CertificateEntry, DontFragment, DpdMode, KeyOwner, KeyringEntry, Lifetimes, PeerKind, Proof,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// The interface of the router that the WAN's device is shown as.
const WAN: &str = "GigabitEthernet0";
const USAGE: &str = "usage: sipsec --profile FILE show running-config [interface NAME]";

/// # Errors
/// If the profile cannot be read, has errors, or has no such interface.
pub fn run(profile: Option<&Path>, words: &[String], json: bool) -> Result<String, CliError> {
    let path = profile.ok_or_else(|| CliError::Words(format!("name the profile\n{USAGE}")))?;
    let loaded = config::load(path)?;
    let conversion = converted(&loaded.profile);
    let text = match words {
        [] => format!(
            "! {} is shown as {WAN}\n{}",
            loaded.profile.sip.interface,
            show::running_config(&conversion)
        ),
        [word, name @ ..] if "interface".starts_with(word.as_str()) && !name.is_empty() => {
            let name = name.concat();
            let name = names::canonical(&name).unwrap_or(name);
            let shown = show::interface(&conversion, &name);
            shown.ok_or_else(|| CliError::Words(format!("the profile has no tunnel {name}\n{USAGE}")))?
        }
        _ => return Err(CliError::Words(USAGE.to_owned())),
    };
    if json { Ok(envelope(&serde_json::json!({ "running_config": text }))) } else { Ok(text) }
}

fn converted(profile: &Profile) -> Conversion {
    let ike = &profile.ike;
    let seconds = |d: std::time::Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
    let (life, default) = (ike.lifetime, Lifetimes::default());
    Conversion {
        gateway: Some(profile.gateway.clone()),
        wan: Some((WAN.to_owned(), None)),
        lines: profile.sip.lines.iter().map(|l| l.number.to_string()).collect(),
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
                routes: t.routes.clone(),
                metric: t.metric,
            })
            .collect(),
        interfaces: BTreeMap::new(),
        sla: profile.sla.clone(),
        track: profile.track.clone(),
        routes: profile.routes.clone(),
        dont_fragment: match profile.dataplane.outside.dont_fragment {
            DontFragment::Clear => None,
            DontFragment::Set => Some("set"),
            DontFragment::Copy => Some("copy"),
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
