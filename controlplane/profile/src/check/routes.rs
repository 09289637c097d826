//! Static routes beside each other: one best route for each prefix, and a backup for each primary that a track withdraws.

use crate::diagnose::{Problem, Sink, nearest};
use crate::model::{Profile, RouteTo, Table, Watch};
use crate::read::KeyPath;
use sipsec_net::IpPrefix;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

/// A distance that is never installed.
const UNUSABLE: u8 = 255;

/// A route with its place.
struct Placed {
    path: KeyPath,
    prefix: IpPrefix,
    to: RouteTo,
    table: Option<Table>,
    distance: u8,
    /// Whether the profile names the distance.
    has_distance: bool,
    track: Option<u32>,
    /// A route that stands below its tunnel.
    of_tunnel: bool,
}

impl Placed {
    fn leads(&self) -> String {
        match &self.to {
            RouteTo::Via { via, device: Some(device) } => format!("{via} ({device})"),
            RouteTo::Via { via, device: None } => via.to_string(),
            RouteTo::Device { device } => device.clone(),
            RouteTo::Tunnel { tunnel } => tunnel.clone(),
            RouteTo::Discard { .. } => "nowhere".to_owned(),
        }
    }

    fn is_tunnel(&self) -> bool {
        matches!(self.to, RouteTo::Tunnel { .. })
    }
}

pub fn check(profile: &Profile, sink: &Sink) {
    let routes = placed(profile);
    references(profile, &routes, sink);
    let mut by_prefix: BTreeMap<IpPrefix, Vec<&Placed>> = BTreeMap::new();
    for route in &routes {
        by_prefix.entry(route.prefix).or_default().push(route);
    }
    for list in by_prefix.values() {
        one_table(list, sink);
        distances(list, sink);
    }
    // What is in another table neither backs up a route of the main table nor takes its probes along.
    let by_prefix: BTreeMap<_, _> =
        by_prefix.into_iter().filter(|(_, list)| list.iter().all(|r| r.table.is_none())).collect();
    let tracks: HashSet<u32> = profile.track.iter().map(|t| t.id).collect();
    backups(&routes, &by_prefix, &tracks, sink);
    probes(profile, &by_prefix, sink);
}

fn placed(profile: &Profile) -> Vec<Placed> {
    let root = KeyPath::dotted("routes");
    let mut out: Vec<Placed> = profile
        .routes
        .iter()
        .enumerate()
        .map(|(i, route)| Placed {
            path: root.index(i),
            prefix: route.prefix,
            to: route.to.clone(),
            table: route.table.clone(),
            distance: route.distance,
            has_distance: route.distance != crate::model::route::DISTANCE_DEFAULT,
            track: route.track,
            of_tunnel: false,
        })
        .collect();
    let root = KeyPath::dotted("tunnels");
    for (i, tunnel) in profile.tunnels.iter().enumerate() {
        out.extend(tunnel.routes.iter().enumerate().map(|(n, route)| Placed {
            path: root.index(i).key("routes").index(n),
            prefix: route.prefix,
            to: RouteTo::Tunnel { tunnel: tunnel.name.clone() },
            table: None,
            distance: tunnel.distance(route),
            has_distance: route.distance.is_some() || tunnel.metric.is_some(),
            track: route.track,
            of_tunnel: true,
        }));
    }
    out
}

/// Tracks and tunnels that a route names.
fn references(profile: &Profile, routes: &[Placed], sink: &Sink) {
    let tracks: HashSet<u32> = profile.track.iter().map(|t| t.id).collect();
    let tunnels: HashSet<&str> = profile.tunnels.iter().map(|t| t.name.as_str()).collect();
    for route in routes {
        if sink.is_full() {
            return;
        }
        if let Some(track) = route.track.filter(|track| !tracks.contains(track)) {
            let message =
                format!("the route {} depends on track {track}, which `track` does not have", route.prefix);
            let known = super::track::some_of(profile.track.iter().map(|t| t.id));
            let hint = match known.as_str() {
                "" => "add it to `track`, which is empty".to_owned(),
                known => format!("add it to `track`, or write one of {known}"),
            };
            let problem = Problem::error("routes::unknown-track", &route.path.key("track"), message);
            sink.push(problem.label("no such track").hint(hint));
        }
        if let RouteTo::Tunnel { tunnel } = &route.to
            && !tunnels.contains(tunnel.as_str())
        {
            let hint = match nearest(tunnel, tunnels.iter().copied()) {
                Some(meant) => format!("did you mean {meant}? Otherwise add it to `tunnels`"),
                None => "add it to `tunnels`".to_owned(),
            };
            let message = format!("the route {} leads to {tunnel}, which is no tunnel", route.prefix);
            let problem = Problem::error("routes::unknown-tunnel", &route.path.key("tunnel"), message);
            sink.push(problem.label("no such tunnel").hint(hint));
        }
        if route.distance == UNUSABLE {
            let message =
                format!("the route {} has distance {UNUSABLE}, which is never installed", route.prefix);
            let problem = Problem::warning("routes::unusable", &route.path.key("distance"), message);
            sink.push(problem.hint("write 1 to 254"));
        }
    }
}

/// Routes of one prefix are alternatives, so they are in one table.
fn one_table(list: &[&Placed], sink: &Sink) {
    let table = |r: &Placed| match &r.table {
        None => "the main table".to_owned(),
        Some(Table::Vrf(name)) => format!("that of VRF {name}"),
        Some(Table::Number(number)) => format!("table {number}"),
    };
    let Some((first, rest)) = list.split_first() else { return };
    for route in rest.iter().filter(|route| route.table != first.table) {
        let message = format!("{} has a route in {} and one in {}", route.prefix, table(first), table(route));
        let problem = Problem::error("routes::table", &route.path, message);
        let hint =
            "routes of one prefix are in one table; write one of the two with `ip route` of the system";
        sink.push(problem.label(format!("already {}", first.path)).hint(hint));
    }
}

/// Two routes of one prefix never have one distance: which of them is installed would be chance.
fn distances(list: &[&Placed], sink: &Sink) {
    let mut taken: HashMap<u8, &Placed> = HashMap::new();
    for route in list {
        let Some(first) = taken.get(&route.distance) else {
            taken.insert(route.distance, route);
            continue;
        };
        // The backup is the one that leads into a tunnel; of two, the later one.
        let (primary, backup) =
            if first.is_tunnel() && !route.is_tunnel() { (*route, *first) } else { (*first, *route) };
        let (prefix, distance) = (route.prefix, route.distance);
        let (one, other) = (primary.leads(), backup.leads());
        let better = distance.saturating_add(1).clamp(200, 254);
        let message = if backup.is_tunnel() && !backup.has_distance && !primary.is_tunnel() {
            format!("{prefix} leads to {one}, and the backup {other} has no distance: both have {distance}")
        } else if one == other {
            format!("the route {prefix} to {one} appears twice")
        } else {
            format!("{prefix} leads to {one} and to {other}, both at distance {distance}")
        };
        let write = match backup.of_tunnel {
            true => format!(
                "write `{{ prefix: {prefix}, distance: {better} }}` in the routes of the backup, {other}"
            ),
            false => format!("write `distance: {better}` in the route to the backup, {other}"),
        };
        let hint = if one == other { "remove one of the two".to_owned() } else { write };
        let path = if backup.of_tunnel && !backup.has_distance {
            backup.path.clone()
        } else {
            backup.path.key("distance")
        };
        let problem = Problem::error("routes::distance", &path, message);
        sink.push(problem.label(format!("already {}", primary.path)).hint(hint));
    }
}

/// A primary that a track withdraws has another route to fall back on.
fn backups(
    routes: &[Placed],
    by_prefix: &BTreeMap<IpPrefix, Vec<&Placed>>,
    tracks: &HashSet<u32>,
    sink: &Sink,
) {
    let tracked = |r: &&Placed| r.track.is_some_and(|track| tracks.contains(&track));
    for route in routes.iter().filter(tracked).filter(|r| by_prefix.contains_key(&r.prefix)) {
        if sink.is_full() {
            return;
        }
        let others = covering(by_prefix, route.prefix.addr(), route.prefix.prefix_len());
        let backed = others.iter().flat_map(|prefix| &by_prefix[prefix]).any(|other| {
            !std::ptr::eq(*other, route) && (other.prefix != route.prefix || other.distance >= route.distance)
        });
        // The last of a chain may be tracked, too: it is the backup of those before it.
        let is_backup = by_prefix[&route.prefix].iter().any(|other| other.distance < route.distance);
        if !backed && !is_backup {
            let track = route.track.unwrap_or_default();
            let message = format!("{} has no other route when track {track} is down", route.prefix);
            let problem =
                Problem::warning("routes::no-backup", &route.path, message).label("without a backup");
            let hint = format!(
                "add `{{ prefix: {}, distance: 250 }}` to the routes of a tunnel, unless the kernel has another route",
                route.prefix
            );
            sink.push(problem.hint(hint));
        }
    }
}

/// The prefixes of at most `len` bits that contain an address, the longest first.
fn covering(by_prefix: &BTreeMap<IpPrefix, Vec<&Placed>>, addr: IpAddr, len: u8) -> Vec<IpPrefix> {
    use sipsec_net::prefix::PrefixError;
    let shortened = |len| match IpPrefix::new(addr, len) {
        Ok(prefix) | Err(PrefixError::HostBits(prefix)) => Some(prefix),
        Err(_) => None,
    };
    (0..=len).rev().filter_map(shortened).filter(|prefix| by_prefix.contains_key(prefix)).collect()
}

/// A probe that follows the traffic onto the backup answers for the backup, and keeps its call up.
fn probes(profile: &Profile, by_prefix: &BTreeMap<IpPrefix, Vec<&Placed>>, sink: &Sink) {
    let watched: HashSet<u32> = profile
        .track
        .iter()
        .filter_map(|t| match t.watch {
            Watch::Sla { sla, .. } => Some(sla),
            _ => None,
        })
        .collect();
    let root = KeyPath::dotted("sla");
    for (i, operation) in profile.sla.iter().enumerate().filter(|(_, o)| watched.contains(&o.id)) {
        if sink.is_full() {
            return;
        }
        let target = operation.target;
        let bits = if target.is_ipv4() { 32 } else { 128 };
        let covering = covering(by_prefix, target, bits);
        let Some(list) = covering.first().map(|prefix| &by_prefix[prefix]) else { continue };
        let on_link = |route: &&&Placed| matches!(route.to, RouteTo::Via { via, .. } if via == target);
        let (Some(primary), Some(backup)) = (
            list.iter().find(|route| route.track.is_some() && !route.is_tunnel()),
            list.iter().find(|route| route.is_tunnel()),
        ) else {
            continue;
        };
        if operation.device.is_some() || list.iter().any(|route| on_link(&route)) {
            continue;
        }
        let message = format!(
            "while {} is the route of {}, the probes of operation {} follow it, unless {target} is on a connected network",
            backup.leads(),
            primary.prefix,
            operation.id
        );
        let problem = Problem::warning("sla::device", &root.index(i).key("target"), message);
        let hint = match &primary.to {
            RouteTo::Device { device } | RouteTo::Via { device: Some(device), .. } => {
                format!("add `device: {device}`, so that they watch the primary alone")
            }
            _ => "add `device:` with the device of the primary, so that they watch the primary alone"
                .to_owned(),
        };
        sink.push(problem.label("covered by the backup").hint(hint));
    }
}
