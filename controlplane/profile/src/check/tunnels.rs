//! Each tunnel by itself: sizes, money, routes.

use super::tariff;
use crate::diagnose::{Problem, Sink};
use crate::model::limits::{
    ESP_OVERHEAD_V4, FRAMES_MAX, FRAMES_MIN, FRAMES_PER_TRIGGER_PACKET, IDLE_DEFAULT_S, PEER_SUFFIX,
};
use crate::model::{CarrierLines, Profile, RouteTo, Tariff, TunnelEntry};
use crate::read::KeyPath;
use sipsec_net::ipv6;
use std::collections::{HashMap, HashSet};

/// Twice the default.
const IDLE_WARN_S: u64 = 2 * IDLE_DEFAULT_S;

pub fn check(profile: &Profile, sink: &Sink) {
    let led_to: HashSet<&str> = profile
        .routes
        .iter()
        .filter_map(|route| match &route.to {
            RouteTo::Tunnel { tunnel } => Some(tunnel.as_str()),
            _ => None,
        })
        .collect();
    let mut devices = HashMap::new();
    let lines = profile.carrier_lines();
    for (i, tunnel) in profile.tunnels.iter().enumerate() {
        let path = KeyPath::dotted("tunnels").index(i);
        own_device(profile, tunnel, &path, &mut devices, sink);
        mtu(profile, tunnel, &path, sink);
        mtu_v6(profile, tunnel, &path, sink);
        bandwidth(&lines, tunnel, &path, sink);
        trigger(profile, tunnel, &path, sink);
        idle(&lines, tunnel, &path, sink);
        loops(profile, tunnel, &path, sink);
        if !led_to.contains(tunnel.name.as_str()) {
            sources(tunnel, &path, sink);
        }
    }
}

/// A kernel device of a single tunnel stands on the sVTI.
fn own_device<'a>(
    profile: &'a Profile,
    tunnel: &'a TunnelEntry,
    path: &KeyPath,
    devices: &mut HashMap<&'a str, &'a str>,
    sink: &Sink,
) {
    let error = |key: &str, message: String, hint: &str| {
        sink.push(Problem::error("tunnels::device", &path.key(key), message).hint(hint));
    };
    let Some(device) = &tunnel.device else {
        if tunnel.unnumbered.is_some() {
            let message = format!("{} has no device of its own that could have an address", tunnel.name);
            error("unnumbered", message, "add `device: NAME`, or leave `unnumbered` out");
        }
        return;
    };
    let inside = &profile.dataplane.inside;
    let taken = [inside.device(), &profile.dataplane.outside.device, &profile.sip.interface];
    if inside.svti().is_none() {
        let message = format!("{} has a device, and the LAN's packets do not pass the kernel", tunnel.name);
        error("device", message, "leave `device` out, or use `dataplane.inside.mode: host`");
    } else if taken.contains(&device.as_str()) || device.strip_suffix(PEER_SUFFIX) == Some(inside.device()) {
        let message = format!("{device} is another device of this gateway");
        error("device", message, "choose a name that no device has, as sipsec7");
    }
    if let Some(first) = devices.insert(device, &tunnel.name) {
        let message = format!("{first} and {} have the device {device}", tunnel.name);
        error("device", message, "give each tunnel a device of its own");
    }
    if tunnel.unnumbered.as_ref() == Some(device) {
        let message = format!("{device} cannot have its own addresses");
        error("unnumbered", message, "write the device that has the address, as the LAN's");
    }
}

fn mtu(profile: &Profile, tunnel: &TunnelEntry, path: &KeyPath, sink: &Sink) {
    let (max, limit) = profile.dataplane.inner_mtu_max();
    let mtu = profile.tunnel_mtu(tunnel);
    if mtu <= max {
        return;
    }
    let (what, why) = match limit {
        Some(key) => ("the inside device", format!("`{key}` is {max}")),
        None => ("the WAN", format!("1500 of the WAN less {ESP_OVERHEAD_V4} for IP, UDP and ESP is {max}")),
    };
    let message = format!("an MTU of {mtu} does not fit {what}");
    let problem = Problem::error("tunnels::mtu", &path.key("mtu"), message).label(format!("at most {max}"));
    sink.push(problem.hint(format!("{why}: write {max} or less, or leave it out")));
}

/// RFC 8200 §5: hosts may always send 1280 bytes, so a tunnel with a smaller MTU would lose packets.
fn mtu_v6(profile: &Profile, tunnel: &TunnelEntry, path: &KeyPath, sink: &Sink) {
    let Some(route) = tunnel.prefixes().find(|route| route.addr().is_ipv6()) else { return };
    let mtu = profile.tunnel_mtu(tunnel);
    if mtu >= ipv6::MTU_MIN {
        return;
    }
    let message = format!("an MTU of {mtu} is too small for IPv6, and {route} is a route of the tunnel");
    let problem = Problem::error("tunnels::ipv6-mtu", &path.key("mtu"), message);
    let hint = format!("write {} or more, or take the IPv6 routes out", ipv6::MTU_MIN);
    sink.push(problem.label(format!("at least {}", ipv6::MTU_MIN)).hint(hint));
}

fn bandwidth(lines: &CarrierLines<'_>, tunnel: &TunnelEntry, path: &KeyPath, sink: &Sink) {
    if lines.sip(tunnel.local_number).tariff == Tariff::DataConnect
        && let Some(step) = tariff::step(tunnel.bandwidth)
        && step != tunnel.bandwidth
    {
        let message = format!("{} of {} cost as much as {step}", tunnel.bandwidth, tunnel.name);
        let problem = Problem::warning("tunnels::bandwidth", &path.key("bandwidth_kbps"), message);
        sink.push(problem.label(format!("costs as {}", step.0)).hint("write 64, 512, 1000 or 2600"));
    }
}

fn trigger(profile: &Profile, tunnel: &TunnelEntry, path: &KeyPath, sink: &Sink) {
    let (packets, frames) = (u32::from(tunnel.trigger.packets), profile.dataplane.frames);
    let max = frames / FRAMES_PER_TRIGGER_PACKET;
    if packets > max && frames >= FRAMES_MIN {
        let path = path.key("trigger").key("packets");
        let message =
            format!("{packets} packets may wait for {}, but there is room for {max} in all", tunnel.name);
        let problem = Problem::warning("dataplane::frames", &path, message)
            .label(format!("an eighth of `dataplane.frames`, {frames}"));
        let hint = match packets * FRAMES_PER_TRIGGER_PACKET {
            needed @ ..=FRAMES_MAX => {
                format!("write `frames: {needed}` or more in `dataplane`, or {max} here")
            }
            _ => format!("write {max} or less"),
        };
        sink.push(problem.hint(hint));
    }
}

fn idle(lines: &CarrierLines<'_>, tunnel: &TunnelEntry, path: &KeyPath, sink: &Sink) {
    let seconds = tunnel.idle.as_secs();
    if seconds > IDLE_WARN_S {
        let message = format!("{} stays connected for {seconds} s after its last packet", tunnel.name);
        let cost = match lines.sip(tunnel.local_number).tariff {
            Tariff::DataConnect => format!(
                "about {} yen for nothing after each call at {}",
                tariff::yen(tunnel.bandwidth, seconds),
                tunnel.bandwidth
            ),
            Tariff::None => "paid for nothing after each call".to_owned(),
        };
        let problem = Problem::warning("tunnels::idle", &path.key("idle_s"), message).label(cost);
        sink.push(problem.hint(format!("{IDLE_DEFAULT_S} s is recommended")));
    }
}

fn loops(profile: &Profile, tunnel: &TunnelEntry, path: &KeyPath, sink: &Sink) {
    for (i, route) in tunnel.prefixes().enumerate() {
        let mut servers = profile.all_carriers().flat_map(|(_, sip)| sip.literal_servers());
        let Some(registrar) = servers.find(|server| route.contains(*server)) else { continue };
        let message = format!("the route {route} of {} also covers the registrar {registrar}", tunnel.name);
        let hint = format!(
            "SIP must not enter the tunnel that it opens: make sure that a longer route to {registrar} goes by {}",
            profile.sip.interface
        );
        let problem = Problem::warning("tunnels::route-loop", &path.key("routes").index(i), message);
        sink.push(problem.label(format!("contains {registrar}")).hint(hint));
    }
}

/// With `check_source`, a decrypted packet needs a route back into its tunnel.
fn sources(tunnel: &TunnelEntry, path: &KeyPath, sink: &Sink) {
    if tunnel.check_source && tunnel.routes.is_empty() {
        let message = format!("{} has no routes: this tunnel can carry nothing", tunnel.name);
        let problem = Problem::warning("tunnels::no-routes", path, message).label("carries nothing");
        sink.push(problem.hint(
            "add `routes`: the networks behind the peer, with the addresses of their routers, whose ICMP errors are \
             dropped otherwise; or `check_source: false` to accept every source that the peer sends",
        ));
    }
}
