//! Operations, tracks and static routes in IOS's words.

use super::conversion::{Conversion, Tunnel};
use crate::model::{Operation, Probe, RouteTo, Start, StaticRoute, Table, TrackEntry, Watch};
use sipsec_net::IpPrefix;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The interface whose place a device takes; the device itself if none is known.
pub fn interface<'a>(conversion: &'a Conversion, device: &'a str) -> &'a str {
    let asked = device.strip_prefix("<the device of ").and_then(|name| name.strip_suffix('>'));
    let mapped = || conversion.interfaces.iter().find(|(_, to)| *to == device).map(|(name, _)| name.as_str());
    asked.or_else(mapped).unwrap_or(device)
}

/// Whole seconds, or a fraction where IOS has none.
fn seconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => time.as_secs().to_string(),
        _ => format!("{}", time.as_secs_f64()),
    }
}

/// `ip sla N`, as `show running-config | section sla` prints it.
pub fn operation(conversion: &Conversion, operation: &Operation, out: &mut String) {
    let id = operation.id;
    let source = match (operation.source, &operation.device) {
        (Some(source), _) => format!(" source-ip {source}"),
        (None, Some(device)) => format!(" source-interface {}", interface(conversion, device)),
        (None, None) => String::new(),
    };
    let target = operation.target;
    let kind = match &operation.probe {
        Probe::IcmpEcho => format!("icmp-echo {target}{source}"),
        Probe::IcmpJitter { packets, interval } => {
            format!("icmp-jitter {target}{source} num-packets {packets} interval {}", interval.as_millis())
        }
        Probe::TcpConnect { port } => format!("tcp-connect {target} {port}{source} control disable"),
        Probe::UdpEcho { port } => format!("udp-echo {target} {port}{source} control disable"),
        Probe::Dns { query, .. } => format!("dns {query} name-server {target}{source}"),
        Probe::Http { port, path } => {
            let host = if target.is_ipv6() { format!("[{target}]") } else { target.to_string() };
            let port = if *port == 80 { String::new() } else { format!(":{port}") };
            format!("http get http://{host}{port}{path}{source}")
        }
        Probe::Bfd { transmit, receive, multiplier } => {
            // IOS has BFD at the interface, and no operation for it. Writing to a String cannot fail.
            let (tx, rx) = (transmit.as_millis(), receive.as_millis());
            let _ = writeln!(
                out,
                "! ip sla {id}: bfd {target} interval {tx} min_rx {rx} multiplier {multiplier}\n!"
            );
            return;
        }
    };
    let _ = writeln!(out, "ip sla {id}\n {kind}");
    if let Some(times) = operation.times {
        let (threshold, timeout) = (times.threshold.as_millis(), times.timeout.as_millis());
        let _ = writeln!(
            out,
            " threshold {threshold}\n timeout {timeout}\n frequency {}",
            seconds(times.frequency)
        );
    }
    if let Some(name) = &operation.name {
        let _ = writeln!(out, " tag {name}");
    }
    if operation.start == Start::Now {
        let life = operation.lifetime.map_or("forever".to_owned(), |life| life.as_secs().to_string());
        let _ = writeln!(out, "ip sla schedule {id} life {life} start-time now");
    }
    out.push_str("!\n");
}

/// `track N …` with the lines below it.
pub fn track(conversion: &Conversion, track: &TrackEntry, out: &mut String) {
    let id = track.id;
    let what = match &track.watch {
        Watch::Sla { sla, of } => format!("ip sla {sla} {}", crate::model::Word::word(*of)),
        Watch::Device { device } => format!("interface {} line-protocol", interface(conversion, device)),
        Watch::Route { route } if route.addr().is_ipv6() => format!("ipv6 route {route} reachability"),
        Watch::Route { route } => format!("ip route {} reachability", with_mask(route)),
        Watch::And { .. } | Watch::Not { .. } => "list boolean and".to_owned(),
        Watch::Or { .. } => "list boolean or".to_owned(),
        Watch::Weight { .. } => "list threshold weight".to_owned(),
        Watch::Percentage { .. } => "list threshold percentage".to_owned(),
    };
    let _ = writeln!(out, "track {id} {what}");
    match &track.watch {
        Watch::And { and: list } | Watch::Or { or: list } | Watch::Percentage { percentage: list, .. } => {
            list.iter().for_each(|member| {
                let _ = writeln!(out, " object {member}");
            });
        }
        Watch::Not { not } => {
            let _ = writeln!(out, " object {not} not");
        }
        Watch::Weight { weight, .. } => {
            weight.iter().for_each(|w| {
                let _ = writeln!(out, " object {} weight {}", w.id, w.weight);
            });
        }
        Watch::Sla { .. } | Watch::Device { .. } | Watch::Route { .. } => {}
    }
    let threshold = match &track.watch {
        Watch::Weight { up, down, .. } => Some(("weight", up, down)),
        Watch::Percentage { up, down, .. } => Some(("percentage", up, down)),
        _ => None,
    };
    if let Some((kind, up, down)) = threshold {
        let _ = writeln!(out, " threshold {kind} up {up} down {down}");
    }
    let delays = [("up", track.delay_up), ("down", track.delay_down)];
    let delays: Vec<String> = delays
        .iter()
        .filter(|(_, delay)| !delay.is_zero())
        .map(|(way, delay)| format!("{way} {}", seconds(*delay)))
        .collect();
    if !delays.is_empty() {
        let _ = writeln!(out, " delay {}", delays.join(" "));
    }
    out.push_str("!\n");
}

/// A route of `routes`.
pub fn route(conversion: &Conversion, route: &StaticRoute, out: &mut String) {
    let to = match &route.to {
        RouteTo::Via { via, device: Some(device) } => format!("{} {via}", interface(conversion, device)),
        RouteTo::Via { via, device: None } => via.to_string(),
        RouteTo::Device { device } => interface(conversion, device).to_owned(),
        RouteTo::Tunnel { tunnel } => tunnel.clone(),
        RouteTo::Discard { .. } => "Null0".to_owned(),
    };
    let vrf = route.table.as_ref().map(|table| match table {
        Table::Vrf(name) => name.clone(),
        Table::Number(number) => number.to_string(),
    });
    line(out, (&route.prefix, vrf.as_deref()), &to, route.distance, route.name.as_deref(), route.track);
}

/// The routes of a tunnel.
pub fn tunnel_routes(tunnel: &Tunnel, out: &mut String) {
    let whole = tunnel.metric.unwrap_or(1);
    for route in &tunnel.routes {
        let distance = route.distance.map_or(whole, u32::from);
        line(
            out,
            (&route.prefix, None),
            &tunnel.name,
            u8::try_from(distance).unwrap_or(1),
            None,
            route.track,
        );
    }
}

fn line(
    out: &mut String,
    (prefix, vrf): (&IpPrefix, Option<&str>),
    to: &str,
    distance: u8,
    name: Option<&str>,
    track: Option<u32>,
) {
    let (command, prefix) = match prefix.addr() {
        IpAddr::V4(_) => ("ip", with_mask(prefix)),
        IpAddr::V6(_) => ("ipv6", prefix.to_string()),
    };
    let distance = if distance == 1 { String::new() } else { format!(" {distance}") };
    // A name of IOS is one word.
    let name = name.map(|name| format!(" name {}", name.replace(' ', "_"))).unwrap_or_default();
    let track = track.map(|track| format!(" track {track}")).unwrap_or_default();
    let vrf = vrf.map(|vrf| format!("vrf {vrf} ")).unwrap_or_default();
    let _ = writeln!(out, "{command} route {vrf}{prefix} {to}{distance}{name}{track}");
}

fn with_mask(prefix: &IpPrefix) -> String {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix.prefix_len())).unwrap_or(0);
    format!("{} {}", prefix.addr(), Ipv4Addr::from_bits(mask))
}
