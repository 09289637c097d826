//! Static routes, tracks and probes.

use super::Work;
use crate::ios::document::{Block, Route};
use crate::ios::names;
use crate::ios::report::{At, Class};
use crate::ios::words::nearest;
use sipsec_net::IpPrefix;
use std::collections::HashMap;

/// IOS's distance of a static route that has none written.
const DISTANCE_DEFAULT: u32 = 1;

/// The route that has a prefix.
struct Holder {
    tunnel: usize,
    distance: u32,
    at: At,
}

impl Work<'_> {
    pub(super) fn routes(&mut self) {
        let doc = self.doc;
        let by_name: HashMap<String, usize> =
            self.out.tunnels.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        let mut held: HashMap<IpPrefix, Holder> = HashMap::new();
        for route in &doc.routes {
            let leads = route.interface.as_deref().unwrap_or_default();
            if !names::is_tunnel(leads) {
                self.other_route(route);
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
                None => self.route_to_nothing(route, leads),
            }
        }
        let mut order: Vec<(IpPrefix, Holder)> = held.into_iter().collect();
        order.sort_by_key(|(_, h)| h.at);
        let mut distances: Vec<Vec<(u32, At)>> = vec![Vec::new(); self.out.tunnels.len()];
        for (prefix, holder) in order {
            self.out.tunnels[holder.tunnel].routes.push(prefix);
            distances[holder.tunnel].push((holder.distance, holder.at));
        }
        for (tunnel, list) in distances.into_iter().enumerate() {
            let Some((first, _)) = list.first() else { continue };
            if list.iter().any(|(d, _)| d != first) {
                let lines: Vec<At> = list.iter().map(|(_, at)| *at).collect();
                let name = &self.out.tunnels[tunnel].name;
                let message = format!(
                    "the routes of {name} have several distances, and a tunnel has one metric; {first} was taken"
                );
                self.report.warn(&lines, message, "give them one distance");
            }
            self.out.tunnels[tunnel].metric = Some(*first).filter(|d| *d != DISTANCE_DEFAULT);
        }
    }

    fn tunnel_route(&mut self, route: &Route, tunnel: usize, held: &mut HashMap<IpPrefix, Holder>) {
        let name = self.out.tunnels[tunnel].name.clone();
        if let Some(track) = &route.track {
            let message =
                format!("the route {} through {name} depends on track {track}; it is left out", route.prefix);
            self.report.warn(
                &[route.at],
                message,
                "add it to the tunnel's routes if it may hold while the track is down",
            );
            self.undefined_track(route, track);
            return;
        }
        let distance = route.distance.unwrap_or(DISTANCE_DEFAULT);
        let new = Holder { tunnel, distance, at: route.at };
        match held.get(&route.prefix) {
            None => {
                held.insert(route.prefix, new);
            }
            Some(first) if first.tunnel == tunnel => {
                if first.distance != distance {
                    let message = format!("{} leads through {name} with two distances", route.prefix);
                    self.report.warn(&[first.at, route.at], message, "keep one of the two routes");
                }
            }
            Some(first) => {
                let other = &self.out.tunnels[first.tunnel].name;
                let wins = distance < first.distance;
                let (winner, loser, line) =
                    if wins { (&name, other, first.at) } else { (other, &name, route.at) };
                let message = format!(
                    "{} leads through {winner} already; the route through {loser} is left out",
                    route.prefix
                );
                self.report.warn(&[line, route.at], message, "a prefix belongs to one tunnel: the better distance wins, and the first of two equal ones");
                if wins {
                    held.insert(route.prefix, new);
                }
            }
        }
    }

    /// A route whose tunnel is not one of the profile.
    fn route_to_nothing(&mut self, route: &Route, leads: &str) {
        match self.left_out.get(leads) {
            Some(&"has no vpn-sip") => {
                self.report.ignore(&[route.at], Class::Unrelated, "of a tunnel without vpn-sip");
                self.tracked(route);
            }
            Some(why) => {
                let message = format!("the route {} is left out: its tunnel {leads} {why}", route.prefix);
                self.report.warn(&[route.at], message, "see the tunnel");
            }
            None if route.track.is_some() => {
                // The primary may lead through a tunnel of another feature that this piece does not show.
                self.report.ignore(&[route.at], Class::System, "a route of the system");
                self.tracked(route);
                let message = format!(
                    "{leads}, to which the tracked route {} leads, is not defined here",
                    route.prefix
                );
                self.report.warn(&[route.at], message, "import the interface, too, if it is one of vpn-sip");
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

    fn other_route(&mut self, route: &Route) {
        self.report.ignore(&[route.at], Class::System, "a route of the system");
        self.tracked(route);
    }

    /// A primary that a probe withdraws.
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
        if doc.tracks.get(track).is_some() {
            return false;
        }
        let defined = doc.tracks.iter().next().is_some();
        let message =
            format!("track {track}, on which the route {} depends, is not defined here", route.prefix);
        if defined {
            self.report.error(&[route.at], message, format!("define track {track}, or correct the number"));
        } else {
            self.report.warn(
                &[route.at],
                message,
                "import the file that defines it, too; the import takes no tracks over",
            );
        }
        true
    }

    /// Probes and tracks: said once, with what is wrong in them.
    pub(super) fn probes(&mut self) {
        let doc = self.doc;
        for track in doc.tracks.iter() {
            let Some(said) = &track.probe else { continue };
            match doc.probes.get(&said.value) {
                None => {
                    let message = format!(
                        "track {} watches ip sla {}, which is not defined here",
                        track.name, said.value
                    );
                    self.report.warn(&[said.at], message, "import the file that defines it, too");
                }
                Some(probe) if !probe.scheduled => {
                    let message = format!(
                        "ip sla {} has no schedule: on the router it never runs, and track {} stays down",
                        probe.name, track.name
                    );
                    let lines: Vec<At> = probe.head().iter().copied().chain([said.at]).collect();
                    self.report.warn(
                        &lines,
                        message,
                        "add `ip sla schedule N life forever start-time now` on the router",
                    );
                }
                Some(_) => {}
            }
        }
        let lines: Vec<At> = doc
            .tracks
            .iter()
            .flat_map(|t| t.lines.iter())
            .chain(doc.probes.iter().flat_map(|p| p.lines.iter()))
            .copied()
            .collect();
        if !lines.is_empty() {
            self.report.note(
                &lines,
                "probes and tracks are not imported",
                "let the system watch the primary path",
            );
        }
    }
}
