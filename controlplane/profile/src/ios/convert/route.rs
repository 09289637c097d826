//! Static routes: those of tunnels, and the primaries beside them that a track withdraws.

use super::Work;
use super::watch::discards;
use crate::ios::document::{Block, Route};
use crate::ios::names;
use crate::ios::report::{At, Class};
use crate::ios::words::nearest;
use crate::model::route::{DISTANCE_DEFAULT, True};
use crate::model::{RouteTo, StaticRoute, TunnelRoute};
use sipsec_net::IpPrefix;
use std::collections::{HashMap, HashSet};

/// A route of this distance never enters the routing table of IOS.
const UNREACHABLE: u8 = 255;

/// A route through a tunnel.
struct Holder {
    tunnel: usize,
    distance: u8,
    track: Option<u32>,
    at: At,
}

impl Work<'_> {
    pub(super) fn routes(&mut self) {
        let doc = self.doc;
        let by_name: HashMap<String, usize> =
            self.out.tunnels.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        // Where a track decides, all routes of the prefix are the gateway's.
        let decided: HashSet<IpPrefix> = doc
            .routes
            .iter()
            .filter(|r| r.vrf.is_none() && self.track_of(r).is_some())
            .map(|r| r.prefix)
            .collect();
        let mut held: HashMap<IpPrefix, Vec<Holder>> = HashMap::new();
        for route in &doc.routes {
            let leads = route.interface.as_deref().unwrap_or_default();
            if !names::is_tunnel(leads) {
                self.other_route(route, &decided);
                continue;
            }
            if let Some(vrf) = &route.vrf {
                if by_name.contains_key(leads)
                    || self.left_out.get(leads).is_some_and(|why| *why != "has no vpn-sip")
                {
                    let message = format!(
                        "a route of the VRF {vrf} leads through {leads}, and tunnels of vpn-sip are in the global table"
                    );
                    self.report.error(&[route.at], message, "give the VRF a gateway of its own");
                } else {
                    self.report.ignore(&[route.at], Class::Unrelated, "a route of a VRF");
                }
                continue;
            }
            match by_name.get(leads) {
                Some(tunnel) => self.tunnel_route(route, *tunnel, &mut held),
                None => self.route_to_nothing(route, leads, &decided),
            }
        }
        self.give(held);
    }

    /// Gives each tunnel its routes. The distance of the first one is that of the tunnel; others are written with theirs.
    fn give(&mut self, held: HashMap<IpPrefix, Vec<Holder>>) {
        let mut order: Vec<(IpPrefix, Holder)> =
            held.into_iter().flat_map(|(prefix, list)| list.into_iter().map(move |h| (prefix, h))).collect();
        order.sort_by_key(|(_, h)| h.at);
        let mut of_tunnel: Vec<Option<u8>> = vec![None; self.out.tunnels.len()];
        for (prefix, holder) in order {
            let whole = *of_tunnel[holder.tunnel].get_or_insert(holder.distance);
            let tunnel = &mut self.out.tunnels[holder.tunnel];
            tunnel.metric = Some(u32::from(whole)).filter(|_| whole != DISTANCE_DEFAULT);
            let distance = Some(holder.distance).filter(|distance| *distance != whole);
            tunnel.routes.push(TunnelRoute { prefix, distance, track: holder.track });
        }
    }

    /// The track of a route, if it came over.
    fn track_of(&self, route: &Route) -> Option<u32> {
        let id: u32 = route.track.as_ref()?.parse().ok()?;
        self.out.track.iter().any(|t| t.id == id).then_some(id)
    }

    fn tunnel_route(&mut self, route: &Route, tunnel: usize, held: &mut HashMap<IpPrefix, Vec<Holder>>) {
        let name = self.out.tunnels[tunnel].name.clone();
        if route.distance == Some(UNREACHABLE) {
            let message = format!(
                "the route {} through {name} has distance {UNREACHABLE}, with which the router never uses a route; it is left out",
                route.prefix
            );
            self.report.warn(&[route.at], message, "write a distance up to 254 if it is the backup");
            return;
        }
        let track = self.track_of(route);
        if let (Some(said), None) = (&route.track, track) {
            let message =
                format!("the route {} through {name} depends on track {said}; it is left out", route.prefix);
            let hint = "add it to the tunnel's routes if it may hold while the track is down";
            self.report.warn(&[route.at], message, hint);
            self.undefined_track(route, said);
            return;
        }
        let distance = route.distance.unwrap_or(DISTANCE_DEFAULT);
        let list = held.entry(route.prefix).or_default();
        let new = Holder { tunnel, distance, track, at: route.at };
        if let Some(first) = list.iter().find(|h| h.tunnel == tunnel) {
            if first.distance != distance || first.track != track {
                let lines = [first.at, route.at];
                let message = format!("{} leads through {name} with two distances", route.prefix);
                self.report.warn(&lines, message, "keep one of the two routes");
            }
            return;
        }
        // A route that no track withdraws is never left: those behind it would never be taken.
        let blocks = |a: &Holder, b: &Holder| {
            a.distance == b.distance || (a.distance < b.distance && a.track.is_none())
        };
        if let Some(first) = list.iter().find(|h| blocks(h, &new)) {
            let other = &self.out.tunnels[first.tunnel].name;
            let message = format!(
                "{} leads through {other} already; the route through {name} is left out",
                route.prefix
            );
            let hint =
                "the better distance wins while no track withdraws it, and the first of two equal ones";
            self.report.warn(&[first.at, route.at], message, hint);
            return;
        }
        while let Some(at) = list.iter().position(|h| blocks(&new, h)) {
            let lost = list.remove(at);
            let other = &self.out.tunnels[lost.tunnel].name;
            let message =
                format!("{} leads through {name}; the route through {other} is left out", route.prefix);
            let hint = "the better distance wins while no track withdraws it";
            self.report.warn(&[lost.at, route.at], message, hint);
        }
        list.push(new);
    }

    /// A route whose tunnel is not one of the profile.
    fn route_to_nothing(&mut self, route: &Route, leads: &str, decided: &HashSet<IpPrefix>) {
        match self.left_out.get(leads) {
            Some(&"has no vpn-sip") => {
                if self.primary(route, decided) {
                    return;
                }
                self.report.ignore(&[route.at], Class::Unrelated, "of a tunnel without vpn-sip");
                self.tracked(route);
            }
            Some(why) => {
                let message = format!("the route {} is left out: its tunnel {leads} {why}", route.prefix);
                self.report.warn(&[route.at], message, "see the tunnel");
            }
            None if route.track.is_some() => {
                // The primary may lead through a tunnel of another feature that this piece does not show.
                let message = format!(
                    "{leads}, to which the tracked route {} leads, is not defined here",
                    route.prefix
                );
                self.report.warn(&[route.at], message, "import the interface, too, if it is one of vpn-sip");
                if !self.primary(route, decided) {
                    self.report.ignore(&[route.at], Class::System, "a route of the system");
                    self.tracked(route);
                }
            }
            None => {
                let known: Vec<&str> =
                    self.doc.interfaces.names().filter(|n| names::is_tunnel(n)).take(512).collect();
                let near = nearest(leads, known.iter().copied(), 1);
                let hint = near.first().map_or_else(
                    || format!("import the file that has interface {leads}, too"),
                    |n| {
                        format!("did you mean {n}? Otherwise import the file that has interface {leads}, too")
                    },
                );
                self.report.error(&[route.at], format!("there is no {leads} in this configuration"), hint);
            }
        }
    }

    fn other_route(&mut self, route: &Route, decided: &HashSet<IpPrefix>) {
        if route.vrf.is_none() && self.primary(route, decided) {
            return;
        }
        self.report.ignore(&[route.at], Class::System, "a route of the system");
        self.tracked(route);
    }

    /// A route beside the tunnels, if a track decides about its prefix.
    fn primary(&mut self, route: &Route, decided: &HashSet<IpPrefix>) -> bool {
        let track = self.track_of(route);
        if !decided.contains(&route.prefix) || (route.track.is_some() && track.is_none()) {
            return false;
        }
        let to = match (&route.interface, route.via) {
            (Some(interface), _) if discards(interface) => RouteTo::Discard { discard: True },
            (Some(interface), Some(via)) => {
                RouteTo::Via { via, device: self.options.interfaces.get(interface).cloned() }
            }
            (None, Some(via)) => RouteTo::Via { via, device: None },
            (Some(interface), None) => RouteTo::Device { device: self.device(interface, route.at) },
            // The next hop of DHCP is known to the system alone.
            (None, None) => return false,
        };
        let distance = route.distance.unwrap_or(DISTANCE_DEFAULT);
        if let Some(same) =
            self.out.routes.iter().find(|r| r.prefix == route.prefix && r.distance == distance)
        {
            let message =
                format!("{} has two routes of distance {}; the first was taken", route.prefix, same.distance);
            self.report.warn(&[route.at], message, "give the second one a larger distance");
            self.report.ignore(&[route.at], Class::System, "a second route of one distance");
            return true;
        }
        if let Some(track) = track {
            let message = format!("the route {} holds while track {track} is up", route.prefix);
            self.report.note(&[route.at], message, "`routes`, `track` and `sla` of the profile have it");
        }
        let name = route.name.as_ref().map(|n| n.chars().filter(|c| !c.is_control()).take(64).collect());
        self.out.routes.push(StaticRoute { prefix: route.prefix, to, table: None, distance, track, name });
        true
    }

    /// A primary that a probe withdraws, and the gateway does not.
    fn tracked(&mut self, route: &Route) {
        let Some(track) = &route.track else { return };
        if self.undefined_track(route, track) {
            return;
        }
        let message = format!(
            "the primary route {} is withdrawn when track {track} fails; nothing watches it any more",
            route.prefix
        );
        self.report.warn(
            &[route.at],
            message,
            "make the system withdraw the primary route when the path fails; the tunnel's route takes over by its metric",
        );
    }

    fn undefined_track(&mut self, route: &Route, track: &str) -> bool {
        let doc = self.doc;
        if let Some(defined) = doc.tracks.get(track) {
            let message =
                format!("track {track} did not come over, so the route {} cannot follow it", route.prefix);
            let lines: Vec<At> = defined.head().iter().copied().chain([route.at]).collect();
            self.report.warn(&lines, message, "see the track");
            return false;
        }
        let defined = doc.tracks.iter().next().is_some();
        let message =
            format!("track {track}, on which the route {} depends, is not defined here", route.prefix);
        if defined {
            self.report.error(&[route.at], message, format!("define track {track}, or correct the number"));
        } else {
            self.report.warn(&[route.at], message, "import the file that defines it, too");
        }
        true
    }
}
