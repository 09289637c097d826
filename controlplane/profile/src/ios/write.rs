//! Writes a conversion as a profile, with its keys inline or in files of their own. The profile is built from the model and
//! written by [`crate::write`]; what the router does not tell stands in it as a text that no key takes.

use super::conversion::{Certificate, Conversion, KeyEntry, Proof, Tunnel};
use super::document::Secret;
use crate::model::limits::{
    FRAGMENT_BYTES, NAT_KEEPALIVE_S, REPLAY_WINDOW, ROUTES_PER_TUNNEL, TUNNELS_DEFAULT,
};
use crate::model::secret::bounded;
use crate::model::wan::WanIpv4;
use crate::model::{
    self, CertificateEntry, CrlPolicy, DataplaneSection, DontFragment, DpdMode, IkeSection, KeyOwner,
    KeyringEntry, Learnt, Lifetimes, MapField, MapOp, MapRule, PeerKind, PpkEntry, Profile, Reassembly,
    SecretSource, SipLine, SipSection, TrustPolicy, TunnelEntry, Word,
};
use crate::read::Tree;
use crate::write::{self, Secrets};
use sipsec_net::{Kbps, TelNumber};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Where keys go.
#[derive(Clone, Debug)]
pub enum Keys {
    Inline,
    /// Nowhere: for a profile that is shown.
    Hidden,
    /// Files in this directory.
    Files(PathBuf),
}

/// A key file: mode 0600.
#[derive(Clone, Debug)]
pub struct KeyFile {
    pub path: PathBuf,
    /// The key and the end of its line.
    pub text: Zeroizing<String>,
}

/// A profile and the files that it names.
#[derive(Debug)]
pub struct Written {
    pub profile: Zeroizing<String>,
    pub keys: Vec<KeyFile>,
}

/// What stands in place of what the router does not tell; no key takes it, so `sipsec check` names it.
pub const REGISTRAR: &str = "<the carrier's registrar as ADDRESS:PORT>";
pub const DOMAIN: &str = "<the carrier's SIP domain>";
pub const GATEWAY: &str = "<a name for the gateway>";
const LINE: &str = "<the number of the line>";
const PKI: &str = "/etc/sipsec/pki";

/// Writes the profile. `gateway` overrides the router's hostname.
#[must_use]
pub fn profile(conversion: &Conversion, gateway: Option<&str>, keys: &Keys, remark: &str) -> Written {
    let name = gateway.or(conversion.gateway.as_deref());
    let mut files = KeyFiles { keys, gateway: name.unwrap_or("gateway"), files: Vec::new() };
    let profile = model(conversion, name.unwrap_or_default(), &mut files);
    let secrets = if matches!(keys, Keys::Hidden) { Secrets::Hidden } else { Secrets::Written };
    let unknown = |tree: &mut Tree| {
        said(conversion, tree);
        stand_ins(conversion, name, tree);
    };
    let mut text = Zeroizing::new(String::new());
    for line in remark.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    if !conversion.lines.is_empty() {
        text.push_str(
            "# If the carrier gave a user name: `auth: { username: …, password_file: … }` in `sip.lines`.\n",
        );
    }
    // A tree of a profile can always be written.
    text.push_str(&Zeroizing::new(write::yaml_with(&profile, secrets, unknown).unwrap_or_default()));
    Written { profile: text, keys: files.files }
}

/// The profile itself, with what the router does not tell left empty.
pub(super) fn as_profile(conversion: &Conversion, gateway: &str) -> Profile {
    model(conversion, gateway, &mut KeyFiles { keys: &Keys::Inline, gateway, files: Vec::new() })
}

/// Takes keys, and says where they are found.
struct KeyFiles<'a> {
    keys: &'a Keys,
    gateway: &'a str,
    files: Vec<KeyFile>,
}

impl KeyFiles<'_> {
    fn source(&mut self, key: &str, owner: &str, secret: &Secret) -> SecretSource {
        let Keys::Files(directory) = self.keys else {
            // A key that the importer has taken fits; one that is hidden is not there.
            let text = if secret.expose().is_empty() { model::secret::HIDDEN } else { secret.expose() };
            return bounded(text.as_bytes())
                .map_or_else(|_| SecretSource::File(PathBuf::new()), SecretSource::Inline);
        };
        let path = directory.join(format!("{}-{key}-{owner}", self.gateway));
        let text = Zeroizing::new(format!("{}\n", secret.expose()));
        self.files.push(KeyFile { path: path.clone(), text });
        SecretSource::File(path)
    }
}

/// The numbers of a conversion were read as such.
fn number(text: &str) -> Option<TelNumber> {
    text.parse().ok()
}

fn model(conversion: &Conversion, gateway: &str, keys: &mut KeyFiles<'_>) -> Profile {
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let line = |text: &String| Some(SipLine { number: number(text)?, auth: None });
    let lines = conversion.lines.iter().filter_map(line).collect();
    let mut sip = SipSection::new("", nowhere, "", lines);
    let mut wan = model::WanSection::default();
    if conversion.sip_by_dhcp {
        (sip.registrar, sip.domain, wan.ipv4) = (Learnt::Dhcp, Learnt::Dhcp, WanIpv4::Dhcp);
    }
    let mut dataplane = DataplaneSection::host("", "svti0");
    dataplane.outside.dont_fragment =
        conversion.dont_fragment.and_then(DontFragment::from_word).unwrap_or_default();
    let (said, default) = (conversion.reassembly, Reassembly::default());
    dataplane.outside.reassembly = Reassembly {
        datagrams_per_peer: said.datagrams_per_peer.unwrap_or(default.datagrams_per_peer),
        fragments: said.fragments.unwrap_or(default.fragments),
        timeout_s: said.timeout_s.unwrap_or(default.timeout_s),
    };
    let routes: usize = conversion.tunnels.iter().map(|t| t.routes.len()).sum();
    let needed = conversion.tunnels.len().max(routes.div_ceil(ROUTES_PER_TUNNEL));
    dataplane.tunnels_max = u32::try_from(needed).unwrap_or(u32::MAX).max(TUNNELS_DEFAULT);
    let tunnels = conversion.tunnels.iter().filter_map(tunnel).collect();
    let mut profile = Profile::new(gateway, sip, ike(conversion, keys), tunnels, dataplane);
    profile.wan = wan;
    if let Some(source) = conversion.tunnel_source {
        profile.media.tunnel_source = source.into();
    }
    profile.filters.clone_from(&conversion.filters);
    profile.qos.policies.clone_from(&conversion.qos);
    profile.sla.clone_from(&conversion.sla);
    profile.track.clone_from(&conversion.track);
    profile.routes.clone_from(&conversion.routes);
    profile.nat.primary = conversion.primary.iter().map(|(_, primary)| primary.clone()).collect();
    profile
}

fn ike(conversion: &Conversion, keys: &mut KeyFiles<'_>) -> IkeSection {
    let seconds = |s: u32| Duration::from_secs(s.into());
    let peer = if conversion.old_peers { PeerKind::Cisco } else { PeerKind::Generic };
    let keyring = conversion.keyring.iter().filter_map(|entry| keyring_entry(entry, peer, keys)).collect();
    let mut ike = IkeSection::new(keyring);
    ike.certificates = conversion.certificates.iter().map(certificate).collect();
    ike.proposals.clone_from(&conversion.proposals);
    ike.esp_proposals.clone_from(&conversion.esp_proposals);
    let default = Lifetimes::default();
    ike.lifetime = Lifetimes {
        ike: conversion.ike_s.map_or(default.ike, seconds),
        child: conversion.child_s.map_or(default.child, seconds),
        child_kb: conversion.child_kb.map_or(default.child_kb, u64::from),
    };
    if let Some((mode, interval)) = conversion.dpd {
        ike.dpd_mode = DpdMode::from_word(mode).unwrap_or_default();
        ike.dpd = seconds(interval);
    }
    let keepalive = conversion.nat_keepalive_s.map_or(NAT_KEEPALIVE_S, u64::from);
    ike.nat_keepalive = (keepalive > 0).then(|| Duration::from_secs(keepalive));
    ike.fragment_bytes =
        conversion.fragment_bytes.and_then(|b| u16::try_from(b).ok()).unwrap_or(FRAGMENT_BYTES);
    ike.replay_window = conversion.replay_window.unwrap_or(REPLAY_WINDOW);
    ike
}

fn keyring_entry(entry: &KeyEntry, peer: PeerKind, keys: &mut KeyFiles<'_>) -> Option<KeyringEntry> {
    let owner = entry.number.as_deref().unwrap_or("any");
    Some(KeyringEntry {
        owner: match entry.number.as_deref() {
            Some(text) => KeyOwner::Number(number(text)?),
            None => KeyOwner::Any,
        },
        proof: match &entry.proof {
            Proof::Psk(key) => model::Proof::Psk(keys.source("psk", owner, key)),
            Proof::Certificate(name) => model::Proof::Certificate(name.clone()),
        },
        next_psk: None,
        ppk: entry.ppk.as_ref().map(|ppk| PpkEntry {
            id: ppk.id.clone(),
            key: keys.source("ppk", owner, &ppk.key),
            required: ppk.required,
        }),
        peer,
        identity: entry.identity.clone(),
        peer_identity: entry.peer_identity.clone(),
    })
}

fn certificate(certificate: &Certificate) -> CertificateEntry {
    let file = |kind: &str| path(&certificate.name, kind);
    let trust = if certificate.self_signed {
        TrustPolicy { self_signed: true, ..TrustPolicy::default() }
    } else {
        TrustPolicy {
            ca: vec![path(&format!("{}-ca", certificate.name), "crt")],
            crl: certificate
                .crl
                .map(|fail| CrlPolicy { files: vec![file("crl")], fail_closed: fail == "closed" }),
            maps: certificate
                .maps
                .iter()
                .map(|rules| rules.iter().filter_map(|r| rule(r)).collect())
                .collect(),
            ..TrustPolicy::default()
        }
    };
    CertificateEntry {
        name: certificate.name.clone(),
        chain: file("crt"),
        key: SecretSource::File(file("key")),
        rsa_pss: true,
        trust,
    }
}

/// `FIELD OP VALUE`, as the conversion has it.
fn rule(text: &str) -> Option<MapRule> {
    let mut words = text.splitn(3, ' ');
    Some(MapRule {
        field: MapField::from_word(words.next()?)?,
        op: MapOp::from_word(words.next()?)?,
        value: words.next()?.to_owned(),
    })
}

fn tunnel(tunnel: &Tunnel) -> Option<TunnelEntry> {
    let (local, remote) = (number(&tunnel.local)?, number(&tunnel.remote)?);
    let mut out = TunnelEntry::new(&tunnel.name, local, remote, Kbps(tunnel.kbps));
    if let Some(seconds) = tunnel.idle_s {
        out.idle = Duration::from_secs(seconds.into());
    }
    out.mtu = tunnel.mtu.and_then(|mtu| u16::try_from(mtu).ok());
    out.routes.clone_from(&tunnel.routes);
    out.metric = tunnel.metric;
    out.nat.clone_from(&tunnel.nat);
    out.device.clone_from(&tunnel.device);
    out.unnumbered.clone_from(&tunnel.unnumbered);
    // On the router they are the same packets.
    out.trigger_filter.clone_from(&tunnel.filter);
    out.idle_filter.clone_from(&tunnel.filter);
    out.qos.clone_from(&tunnel.qos);
    Some(out)
}

/// What the router's configuration says stays in the profile, even where the gateway would do so by itself.
fn said(conversion: &Conversion, tree: &mut Tree) {
    let number = |n: u32| Tree::Number(n.into());
    let ike = &mut tree["ike"];
    if let Some((mode, seconds)) = conversion.dpd {
        ike["dpd_s"] = number(seconds);
        ike["dpd_mode"] = Tree::String(mode.to_owned());
    }
    let lifetimes =
        [("ike_s", conversion.ike_s), ("child_s", conversion.child_s), ("child_kb", conversion.child_kb)];
    for (key, value) in lifetimes {
        if let Some(value) = value {
            ike["lifetime"][key] = number(value);
        }
    }
    let others = [
        ("nat_keepalive_s", conversion.nat_keepalive_s),
        ("fragment_bytes", conversion.fragment_bytes),
        ("replay_window", conversion.replay_window),
    ];
    for (key, value) in others {
        if let Some(value) = value {
            ike[key] = number(value);
        }
    }
    if let Some(source) = conversion.tunnel_source {
        tree["media"]["tunnel_source"] = Tree::String(source.to_string());
    }
    if let Some(df) = conversion.dont_fragment {
        tree["dataplane"]["outside"]["dont_fragment"] = Tree::String(df.to_owned());
    }
    let reassembly = conversion.reassembly;
    let numbers = [
        ("datagrams_per_peer", reassembly.datagrams_per_peer),
        ("fragments", reassembly.fragments.map(u16::from)),
        ("timeout_s", reassembly.timeout_s.map(u16::from)),
    ];
    for (key, value) in numbers {
        if let Some(value) = value {
            tree["dataplane"]["outside"]["reassembly"][key] = number(value.into());
        }
    }
    for (i, tunnel) in conversion.tunnels.iter().enumerate() {
        if let Some(seconds) = tunnel.idle_s {
            tree["tunnels"][i]["idle_s"] = number(seconds);
        }
    }
}

/// Puts texts where the profile has what the router does not tell.
fn stand_ins(conversion: &Conversion, gateway: Option<&str>, tree: &mut Tree) {
    let text = |text: &str| Tree::String(text.to_owned());
    tree["gateway"] = text(gateway.unwrap_or(GATEWAY));
    let device = match &conversion.wan {
        Some((_, Some(device))) => device.clone(),
        Some((name, None)) => format!("<the device of {name}>"),
        None => "<the device of the carrier's line>".to_owned(),
    };
    tree["dataplane"]["outside"]["device"] = text(&device);
    let sip = &mut tree["sip"];
    sip["interface"] = text(&device);
    if !conversion.sip_by_dhcp {
        sip["registrar"] = text(REGISTRAR);
        sip["domain"] = text(DOMAIN);
    }
    if conversion.lines.is_empty() {
        let mut line = crate::read::TreeMap::new();
        line.insert(text("number"), text(LINE));
        sip["lines"] = Tree::Sequence(vec![Tree::Mapping(line)]);
    }
}

fn path(name: &str, kind: &str) -> PathBuf {
    let safe: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    Path::new(PKI).join(format!("{safe}.{kind}"))
}
