//! What only the whole profile shows: references, collisions between sections, and what will cost money.

use super::diagnostic::Problem;
use super::nearest::nearest;
use super::path::KeyPath;
use super::profile::{ESP_OVERHEAD_V4, KeyOwner, Ppk, Profile, Proof, Tunnel};
use super::reader::Sink;
use super::secret::{Secret, SecretSource, estimated_bits, psk_octets};
use super::sections::ppk;
use crate::pki::credential::{self, Place};
use sipsec_abi::profile::{FRAMES_MAX, FRAMES_MIN};
use sipsec_net::{Kbps, ipv6};
use std::collections::HashSet;

/// Below, a hash of the key in clear-text SIP can be tried out at home.
const PSK_BITS_MIN: f64 = 128.0;
/// A random key may look a little regular by chance.
const ESTIMATE_SLACK_BITS: f64 = 8.0;
/// Below, the key can be guessed by whoever sees an IKE_AUTH.
const PSK_BITS_WARN: f64 = 64.0;
/// RFC 8784 §6: at least 256 bits of entropy.
const PPK_BITS_WARN: f64 = 256.0;
/// Of `sipsec_pipeline::Limits`.
pub const ROUTES_PER_TUNNEL: usize = 4;
/// Of the same: an eighth of the frames are for packets that wait for an SA.
pub const FRAMES_PER_TRIGGER_PACKET: u32 = 8;
/// Twice what the seed recommends.
const IDLE_WARN_S: u64 = 240;

pub fn check(profile: &Profile, sink: &Sink) {
    if profile.tunnels.is_empty() {
        let path = KeyPath::dotted("tunnels");
        let problem =
            Problem::warning("tunnels::none", &path, "there is no tunnel, so nothing will be called");
        sink.push(problem.cure("add `- { name: Tunnel1, … }`"));
    }
    devices(profile, sink);
    numbers(profile, sink);
    secrets(profile, sink);
    certificates(profile, sink);
    media(profile, sink);
    tables(profile, sink);
    for (i, tunnel) in profile.tunnels.iter().enumerate() {
        let path = KeyPath::dotted("tunnels").index(i);
        mtu(profile, tunnel, &path, sink);
        mtu_v6(tunnel, &path, sink);
        trigger(profile, tunnel, &path, sink);
        idle(tunnel, &path, sink);
        loops(profile, tunnel, &path, sink);
        sources(tunnel, &path, sink);
    }
}

fn devices(profile: &Profile, sink: &Sink) {
    let (sip, outside) = (&profile.sip.interface, &profile.dataplane.outside.device);
    if sip != outside {
        let path = KeyPath::dotted("sip.interface");
        let message = format!("SIP uses {sip}, but the dataplane's outside is {outside}");
        let cure = format!(
            "SDP promises the address of the SIP interface, so both must be one: write `interface: {outside}` or change `dataplane.outside.device`"
        );
        sink.push(Problem::error("sip::interface", &path, message).cure(cure));
    }
}

fn numbers(profile: &Profile, sink: &Sink) {
    let lines: Vec<&str> = profile.sip.lines.iter().map(|l| l.number.as_str()).collect();
    let owners: Vec<KeyOwner> = profile.ike.keyring.iter().map(|k| k.owner).collect();
    let keyed: Vec<&str> = profile
        .ike
        .keyring
        .iter()
        .filter_map(|k| match &k.owner {
            KeyOwner::Number(n) => Some(n.as_str()),
            KeyOwner::Any => None,
        })
        .collect();
    let tunnels = KeyPath::dotted("tunnels");
    for (i, tunnel) in profile.tunnels.iter().enumerate() {
        let local = tunnel.local_number.as_str();
        if !lines.contains(&local) {
            let cure = match nearest(local, lines.iter().copied()) {
                Some(meant) => format!("did you mean {meant}? Otherwise add the line to `sip.lines`"),
                None => format!("add it to `sip.lines`, which has {}", lines.join(", ")),
            };
            let message = format!("{} uses line {local}, which `sip.lines` does not have", tunnel.name);
            let problem =
                Problem::error("tunnels::unknown-line", &tunnels.index(i).key("local_number"), message);
            sink.push(problem.label("no such line").cure(cure));
        }
        if !owners.contains(&KeyOwner::Number(tunnel.remote_number)) && !owners.contains(&KeyOwner::Any) {
            let remote = tunnel.remote_number.as_str();
            let closest = nearest(remote, keyed.iter().copied());
            let message = match closest {
                Some(entry) => format!("no PSK or certificate for number {remote}; closest entry {entry}"),
                None => format!("no PSK or certificate for number {remote}"),
            };
            let cure = "without it every call would be paid for and end in NEGOTIATING_IKE: correct the number, or add an entry to `ike.keyring`";
            let problem = Problem::error("ike::no-key", &tunnels.index(i).key("remote_number"), message);
            sink.push(problem.label("has no key").cure(cure));
        }
    }
    let called: HashSet<KeyOwner> =
        profile.tunnels.iter().map(|t| KeyOwner::Number(t.remote_number)).collect();
    let keyring = KeyPath::dotted("ike.keyring");
    for (i, owner) in owners.iter().enumerate() {
        if let KeyOwner::Number(number) = owner
            && !called.contains(owner)
        {
            let path = keyring.index(i).key("number");
            let problem = Problem::warning("ike::unused-key", &path, format!("no tunnel calls {number}"));
            sink.push(problem.label("unused").cure("remove the entry, or correct the number"));
        }
    }
}

fn secrets(profile: &Profile, sink: &Sink) {
    for (i, entry) in profile.ike.keyring.iter().enumerate() {
        let at = KeyPath::dotted("ike.keyring").index(i);
        if let Some(ppk) = &entry.ppk {
            check_ppk(ppk, &secret_path(&at, ppk::KEYS, &ppk.key), sink);
        }
        let Proof::Psk(psk) = &entry.proof else { continue };
        let path = secret_path(&at, ["psk", "psk_file", "psk_env"], psk);
        let Some(written) = load(psk, &path, sink) else { continue };
        if !is_usable(&written, &path, sink) {
            continue;
        }
        let bits = estimated_bits(written.expose());
        let strong = "write 32 random bytes: `openssl rand -hex 32`, prefixed with 0x";
        if profile.ike.psk_fingerprint && bits < PSK_BITS_MIN - ESTIMATE_SLACK_BITS {
            let message = format!(
                "the key is worth about {bits:.0} bits, and `psk_fingerprint` needs {PSK_BITS_MIN:.0}"
            );
            let cure = format!(
                "its hash travels in clear-text SIP, where anyone on the path can try keys against it: {strong}, or set `psk_fingerprint: false`"
            );
            sink.push(Problem::error("ike::weak-key", &path, message).label("too easy to guess").cure(cure));
        } else if bits < PSK_BITS_WARN {
            let message = format!("the key is worth about {bits:.0} bits");
            sink.push(Problem::warning("ike::weak-key", &path, message).label("easy to guess").cure(strong));
        }
    }
    for (i, line) in profile.sip.lines.iter().enumerate() {
        if let Some(auth) = &line.auth {
            let at = KeyPath::dotted("sip.lines").index(i).key("auth");
            let path = secret_path(&at, ["password", "password_file", "password_env"], &auth.password);
            load(&auth.password, &path, sink);
        }
    }
}

fn is_usable(written: &Secret, path: &KeyPath, sink: &Sink) -> bool {
    let Err(error) = psk_octets(written) else { return true };
    let problem = Problem::error("secret::value", path, format!("`{path}` cannot be used: {error}"));
    let cure = "write pairs of hexadecimal digits after 0x, or a key that does not start with 0x";
    sink.push(problem.cure(cure));
    false
}

/// RFC 8784 §6: a quantum computer halves the bits of a key that it searches for.
fn check_ppk(ppk: &Ppk, path: &KeyPath, sink: &Sink) {
    let Some(written) = load(&ppk.key, path, sink).filter(|w| is_usable(w, path, sink)) else { return };
    let bits = estimated_bits(written.expose());
    if bits < PPK_BITS_WARN - ESTIMATE_SLACK_BITS {
        let message =
            format!("the PPK is worth about {bits:.0} bits, and half of them against a quantum computer");
        let problem = Problem::warning("ike::weak-ppk", path, message).label("too short for what it is for");
        sink.push(problem.cure("write 32 random bytes: `openssl rand -hex 32`, prefixed with 0x"));
    }
}

/// Names without a certificate, certificates without a use, and what is wrong with their files.
fn certificates(profile: &Profile, sink: &Sink) {
    let names: Vec<&str> = profile.ike.certificates.iter().map(|c| c.name.as_str()).collect();
    let mut used = HashSet::new();
    for (i, entry) in profile.ike.keyring.iter().enumerate() {
        let Proof::Certificate(name) = &entry.proof else { continue };
        used.insert(name.as_str());
        if !names.contains(&name.as_str()) {
            let cure = match nearest(name, names.iter().copied()) {
                Some(meant) => format!("did you mean {meant}? Otherwise add it to `ike.certificates`"),
                None => "add it to `ike.certificates`".to_owned(),
            };
            let path = KeyPath::dotted("ike.keyring").index(i).key("certificate");
            let message = format!("there is no certificate named {name}");
            let problem = Problem::error("ike::unknown-certificate", &path, message);
            sink.push(problem.label("no such certificate").cure(cure));
        }
    }
    let now = crate::clock::unix_time_s();
    for (i, certificate) in profile.ike.certificates.iter().enumerate() {
        let at = KeyPath::dotted("ike.certificates").index(i);
        if !used.contains(certificate.name.as_str()) {
            let message = format!("no entry of the keyring uses the certificate {}", certificate.name);
            let problem = Problem::warning("ike::unused-certificate", &at.key("name"), message);
            sink.push(problem.label("unused").cure("name it in `ike.keyring`, or remove it"));
        }
        for (place, flaw) in credential::load(certificate, now).flaws {
            let path = match place {
                Place::Certificate => at.key("certificate"),
                Place::Key => at.key("key"),
                Place::Ca(n) => at.key("trust").key("ca").index(n),
                Place::Crl(n) => at.key("trust").key("crl").key("files").index(n),
            };
            let mut problem = Problem::error(flaw.code(), &path, flaw.to_string()).cure(flaw.cure());
            problem.severity = flaw.severity();
            sink.push(problem);
        }
    }
}

fn secret_path(at: &KeyPath, [inline, file, env]: [&str; 3], source: &SecretSource) -> KeyPath {
    at.key(match source {
        SecretSource::Inline(_) => inline,
        SecretSource::File(_) => file,
        SecretSource::Env(_) => env,
    })
}

fn load(source: &SecretSource, path: &KeyPath, sink: &Sink) -> Option<Secret> {
    let loaded = source.load();
    if let Err(error) = &loaded {
        let cure = match source {
            SecretSource::File(_) => {
                "write the path of a readable file (relative to where the gateway starts, better absolute)"
            }
            SecretSource::Env(_) => "set the variable where the gateway is started",
            SecretSource::Inline(_) => "write another secret",
        };
        let problem =
            Problem::error("secret::unreadable", path, format!("the secret cannot be read: {error}"));
        sink.push(problem.cure(cure));
    }
    if let SecretSource::File(file) = source
        && let Ok(meta) = std::fs::metadata(file)
        && std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o077 != 0
    {
        let message = format!("{} can be read by others", file.display());
        sink.push(
            Problem::warning("secret::permissions", path, message)
                .cure(format!("chmod 600 {}", file.display())),
        );
    }
    loaded.ok()
}

fn media(profile: &Profile, sink: &Sink) {
    let (first, last, sip) = (profile.media.port_first, profile.media.port_last, profile.sip.port);
    let path = KeyPath::dotted("media.ports");
    if (first..=last).contains(&sip) {
        let message = format!("the media ports {first}-{last} contain the SIP port {sip}");
        sink.push(Problem::error("media::sip-port", &path, message).cure("choose a range without it"));
    }
    // A port rests after a call until late ESP of the former peer has died out, so one each is too few.
    let (ports, tunnels) = (usize::from(last - first) + 1, profile.tunnels.len());
    if ports < 2 * tunnels {
        let message = format!("{ports} media ports are few for {tunnels} tunnels");
        let cure = format!("a port rests after each call: use at least {}", 2 * tunnels);
        sink.push(Problem::warning("media::few-ports", &path, message).cure(cure));
    }
}

fn mtu(profile: &Profile, tunnel: &Tunnel, path: &KeyPath, sink: &Sink) {
    let (max, limit) = Profile::inner_mtu_max(&profile.dataplane);
    if tunnel.mtu <= max {
        return;
    }
    let (what, why) = match limit {
        Some(key) => ("what comes in", format!("`{key}` is {max}")),
        None => ("the WAN", format!("1500 of the WAN less {ESP_OVERHEAD_V4} for IP, UDP and ESP is {max}")),
    };
    let message = format!("an MTU of {} does not fit {what}", tunnel.mtu);
    let problem = Problem::error("tunnels::mtu", &path.key("mtu"), message).label(format!("at most {max}"));
    sink.push(problem.cure(format!("{why}: write {max} or less, or leave it out")));
}

/// RFC 8200 §5: hosts send 1280 bytes whatever they are told, and what is larger than the tunnel goes nowhere.
fn mtu_v6(tunnel: &Tunnel, path: &KeyPath, sink: &Sink) {
    let Some(route) = tunnel.routes.iter().find(|route| route.addr().is_ipv6()) else { return };
    if tunnel.mtu >= ipv6::MTU_MIN {
        return;
    }
    let message = format!("an MTU of {} is too small for IPv6, and {route} is a route of it", tunnel.mtu);
    let problem = Problem::error("tunnels::ipv6-mtu", &path.key("mtu"), message);
    let cure = format!("write {} or more, or take the IPv6 routes out", ipv6::MTU_MIN);
    sink.push(problem.label(format!("at least {}", ipv6::MTU_MIN)).cure(cure));
}

/// What the dataplane's tables hold: it would refuse the rest when it is told of it.
fn tables(profile: &Profile, sink: &Sink) {
    let path = KeyPath::dotted("tunnels");
    let (tunnels, tunnels_max) = (profile.tunnels.len(), profile.dataplane.tunnels_max as usize);
    let routes: usize = profile.tunnels.iter().map(|t| t.routes.len()).sum();
    let needed = tunnels.max(routes.div_ceil(ROUTES_PER_TUNNEL));
    let raise = format!("write `tunnels_max: {needed}` or more in `dataplane`");
    if tunnels > tunnels_max {
        let message = format!("{tunnels} tunnels are more than `dataplane.tunnels_max`, {tunnels_max}");
        sink.push(Problem::error("dataplane::tunnels", &path, message).at_key().cure(raise));
    } else if routes > tunnels_max * ROUTES_PER_TUNNEL {
        let max = tunnels_max * ROUTES_PER_TUNNEL;
        let message = format!(
            "{routes} routes are more than {max}, {ROUTES_PER_TUNNEL} for each of `dataplane.tunnels_max`"
        );
        sink.push(Problem::error("dataplane::routes", &path, message).at_key().cure(raise));
    }
}

fn trigger(profile: &Profile, tunnel: &Tunnel, path: &KeyPath, sink: &Sink) {
    let (packets, frames) = (u32::from(tunnel.trigger.packets), profile.dataplane.frames);
    let max = frames / FRAMES_PER_TRIGGER_PACKET;
    if packets > max && frames >= FRAMES_MIN {
        let path = path.key("trigger").key("packets");
        let message = format!("{packets} packets shall wait for {}, but {max} can in all", tunnel.name);
        let problem = Problem::warning("dataplane::frames", &path, message)
            .label(format!("an eighth of `dataplane.frames`, {frames}"));
        let cure = match packets * FRAMES_PER_TRIGGER_PACKET {
            needed @ ..=FRAMES_MAX => {
                format!("write `frames: {needed}` or more in `dataplane`, or {max} here")
            }
            _ => format!("write {max} or less"),
        };
        sink.push(problem.cure(cure));
    }
}

fn idle(tunnel: &Tunnel, path: &KeyPath, sink: &Sink) {
    let seconds = tunnel.idle.as_secs();
    if seconds > IDLE_WARN_S {
        let message = format!("{} stays connected for {seconds} s after its last packet", tunnel.name);
        let cost = format!(
            "about {} yen for nothing after each call at {}",
            tail_yen(tunnel.bandwidth, seconds),
            tunnel.bandwidth
        );
        let problem = Problem::warning("tunnels::idle", &path.key("idle_s"), message).label(cost);
        sink.push(problem.cure("120 s is recommended"));
    }
}

/// The data-connect tariff, without tax: ≤ 64 kbps 1 yen, ≤ 512 kbps 1.5 yen, ≤ 1 Mbps 2 yen per 30 s, ≤ 2.6 Mbps
/// 15 yen and above 110 yen per 3 min. Started units count whole.
fn tail_yen(rate: Kbps, seconds: u64) -> u64 {
    let units = |length: u64| seconds.div_ceil(length);
    match rate.0 {
        0..=64 => units(30),
        65..=512 => (units(30) * 3).div_ceil(2),
        513..=1000 => units(30) * 2,
        1001..=2600 => units(180) * 15,
        _ => units(180) * 110,
    }
}

fn loops(profile: &Profile, tunnel: &Tunnel, path: &KeyPath, sink: &Sink) {
    let registrar = profile.sip.registrar.ip();
    for (i, route) in tunnel.routes.iter().enumerate().filter(|(_, r)| r.contains(registrar)) {
        let message = format!("the route {route} of {} also covers the registrar {registrar}", tunnel.name);
        let cure = format!(
            "SIP must not enter the tunnel that it opens: see that a longer route to {registrar} goes by {}",
            profile.sip.interface
        );
        let problem = Problem::warning("tunnels::route-loop", &path.key("routes").index(i), message);
        sink.push(problem.label(format!("contains {registrar}")).cure(cure));
    }
}

/// With `check_source`, what comes out of a tunnel needs a route back into it.
fn sources(tunnel: &Tunnel, path: &KeyPath, sink: &Sink) {
    if tunnel.check_source && tunnel.routes.is_empty() {
        let message = format!(
            "{} has no routes: nothing goes in, and of what comes out no source is believed",
            tunnel.name
        );
        let problem = Problem::warning("tunnels::no-routes", path, message).label("carries nothing");
        sink.push(problem.cure(
            "add `routes`: the networks behind the tunnel, with the addresses of their routers, whose ICMP errors are \
             dropped otherwise; or `check_source: false` to believe whatever the peer sends",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_the_seeds_procedure_costs_134_yen() {
        assert_eq!(tail_yen(Kbps(1000), 2000), 134);
        assert_eq!(tail_yen(Kbps(64), 120), 4);
        assert_eq!(tail_yen(Kbps(512), 31), 3);
        assert_eq!(tail_yen(Kbps(2600), 181), 30);
    }
}
