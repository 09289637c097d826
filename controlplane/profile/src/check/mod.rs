//! Checks that need the whole profile: references, collisions between sections, weak secrets, and what will cost money.

mod carrier;
mod certificates;
mod compat;
mod filters;
mod machine;
mod nat;
mod numbers;
pub mod pair;
mod primary_nat;
mod qos;
mod routes;
mod secrets;
mod sip;
pub mod strength;
pub mod tariff;
mod track;
mod tunnels;
mod wan;

use crate::diagnose::{Problem, Sink};
use crate::model::limits::ROUTES_PER_TUNNEL;
use crate::model::{Profile, RouteTo, SipSection};
use crate::read::KeyPath;
use crate::surroundings::Surroundings;

/// All checks, in this order.
pub fn check(profile: &Profile, sink: &Sink, around: &dyn Surroundings) {
    if profile.tunnels.is_empty() {
        let path = KeyPath::dotted("tunnels");
        let problem =
            Problem::warning("tunnels::none", &path, "there is no tunnel, so nothing will be called");
        sink.push(problem.hint("add `- { name: Tunnel1, … }`"));
    }
    devices(profile, sink);
    numbers::check(profile, sink);
    secrets::check(profile, sink, around);
    certificates::check(profile, sink, around);
    media(profile, sink);
    carrier::check(profile, sink);
    tables(profile, sink);
    tunnels::check(profile, sink);
    filters::check(profile, sink);
    nat::check(profile, sink);
    primary_nat::check(profile, sink);
    qos::check(profile, sink);
    track::check(profile, sink);
    routes::check(profile, sink);
    compat::check(profile, sink, around);
    machine::check(profile, sink, around);
}

/// The `sip` section of each carrier, with its place.
fn carriers(profile: &Profile) -> impl Iterator<Item = (KeyPath, &SipSection)> {
    let others = profile.carriers.iter().enumerate();
    let others = others.map(|(i, c)| (KeyPath::dotted("carriers").index(i).key("sip"), &c.sip));
    std::iter::once((KeyPath::dotted("sip"), &profile.sip)).chain(others)
}

fn devices(profile: &Profile, sink: &Sink) {
    for (at, section) in carriers(profile) {
        let (sip, outside) = (&section.interface, &profile.dataplane.outside.device);
        if sip == outside {
            continue;
        }
        let path = at.key("interface");
        let message = format!("SIP uses {sip}, but the dataplane's outside is {outside}");
        let hint = if at.to_string().starts_with("carriers") {
            format!(
                "SIP and media of all carriers of a gateway use its one outside device: write `interface: {outside}`, or run a gateway of its own for {sip}"
            )
        } else {
            format!(
                "SDP announces the address of the SIP interface, so both must be the same: write `interface: {outside}` or change `dataplane.outside.device`"
            )
        };
        sink.push(Problem::error("sip::interface", &path, message).hint(hint));
    }
}

fn media(profile: &Profile, sink: &Sink) {
    let (first, last) = (profile.media.port_first, profile.media.port_last);
    let path = KeyPath::dotted("media.ports");
    let mut taken: Vec<u16> = Vec::new();
    for (at, sip) in carriers(profile) {
        let port = sip.port;
        if (first..=last).contains(&port) {
            let message = format!("the media ports {first}-{last} contain the SIP port {port}");
            sink.push(Problem::error("media::sip-port", &path, message).hint("choose a range without it"));
        }
        if taken.contains(&port) {
            let message = format!("two carriers use the SIP port {port}");
            let problem = Problem::error("sip::port", &at.key("port"), message);
            let free = (port..).find(|p| !taken.contains(p) && !(first..=last).contains(p)).unwrap_or(port);
            sink.push(problem.hint(format!("each has sockets of its own: write another port, as in {free}")));
        }
        taken.push(port);
    }
    // A port rests after a call until late ESP of the former peer has died out, so one each is too few.
    let ports = usize::from(last - first) + 1;
    let ports = if profile.even_ports() { (ports + usize::from(first % 2 == 0)) / 2 } else { ports };
    let tunnels = profile.tunnels.len();
    if ports < 2 * tunnels {
        let message = format!("{ports} media ports are few for {tunnels} tunnels");
        let hint = format!("a port rests after each call: use at least {}", 2 * tunnels);
        sink.push(Problem::warning("media::few-ports", &path, message).hint(hint));
    }
    source(profile, sink);
    sip::check(profile, sink);
    wan::check(profile, sink);
}

/// The tunnel source is an address that nothing else uses.
fn source(profile: &Profile, sink: &Sink) {
    const HINT: &str = "write an address that nothing else uses and no tunnel routes, as in 10.255.0.1";
    let source = profile.media.tunnel_source;
    let path = KeyPath::dotted("media.tunnel_source");
    if carriers(profile).any(|(_, sip)| sip.literal_servers().any(|server| source == server)) {
        let message = format!("the tunnel source {source} is the address of a SIP server");
        sink.push(Problem::error("media::tunnel-source", &path, message).hint(HINT));
    }
    // A default route covers every address; nothing could be done about it.
    let routed = |t: &&crate::model::TunnelEntry| {
        t.prefixes().any(|route| route.prefix_len() > 0 && route.contains(source))
    };
    if let Some(tunnel) = profile.tunnels.iter().find(routed) {
        let message = format!("the tunnel source {source} lies in a route of {}", tunnel.name);
        let problem = Problem::warning("media::tunnel-source", &path, message);
        sink.push(problem.label("a host behind the peer may have it").hint(HINT));
    }
}

/// The dataplane's tables are sized at start; it would refuse more.
fn tables(profile: &Profile, sink: &Sink) {
    let path = KeyPath::dotted("tunnels");
    let (tunnels, tunnels_max) = (profile.tunnels.len(), profile.dataplane.tunnels_max as usize);
    let routes = profile.static_routes().filter(|r| matches!(r.to, RouteTo::Tunnel { .. })).count();
    let needed = tunnels.max(routes.div_ceil(ROUTES_PER_TUNNEL));
    let raise = format!("write `tunnels_max: {needed}` or more in `dataplane`");
    if tunnels > tunnels_max {
        let message = format!("{tunnels} tunnels are more than `dataplane.tunnels_max`, {tunnels_max}");
        sink.push(Problem::error("dataplane::tunnels", &path, message).at_key().hint(raise));
    } else if routes > tunnels_max * ROUTES_PER_TUNNEL {
        let max = tunnels_max * ROUTES_PER_TUNNEL;
        let message = format!(
            "{routes} routes are more than {max}, {ROUTES_PER_TUNNEL} for each of `dataplane.tunnels_max`"
        );
        sink.push(Problem::error("dataplane::routes", &path, message).at_key().hint(raise));
    }
}
