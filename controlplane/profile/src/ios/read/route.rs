//! `ip route` and `ipv6 route`

use super::{Did, Reader, wrong};
use crate::ios::document::Route;
use crate::ios::names;
use crate::ios::report::Class;
use crate::ios::words::Words;
use sipsec_net::IpPrefix;
use sipsec_net::prefix::PrefixError;
use std::net::{IpAddr, Ipv4Addr};

/// Most routes that are read; more is a mistake of the file.
const ROUTES_MAX: usize = 200_000;

impl Reader {
    /// `ip route [vrf V] PREFIX MASK {INTERFACE [NEXT-HOP] | NEXT-HOP | dhcp} [AD] [name X] [tag T] [track T] [permanent]`
    pub(super) fn route(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        if rest.peek().is_some_and(|w| matches!(w, "static" | "profile" | "recursive" | "bfd")) {
            return super::ROUTER;
        }
        let vrf = vrf(&mut rest);
        let (Some(prefix), Some(mask)) = (rest.number::<Ipv4Addr>(), rest.number::<Ipv4Addr>()) else {
            return wrong("this is no prefix with its mask", "write `ip route PREFIX MASK TunnelN DISTANCE`");
        };
        let prefix = match prefix_of(prefix, mask) {
            Ok(prefix) => prefix,
            Err(Wrong::Hole) => {
                return wrong(
                    format!("the mask {mask} has a hole"),
                    "a mask is ones and then zeros, as in 255.255.0.0",
                );
            }
            Err(Wrong::Wildcard(meant)) => {
                return wrong(
                    format!("{mask} is a wildcard mask, and a route takes the mask of a network"),
                    format!("write {prefix} {meant}"),
                );
            }
            Err(Wrong::HostBits(meant)) => return self.host_bits(prefix, mask, meant),
        };
        self.keep_route(prefix, vrf, rest, negated)
    }

    /// `ipv6 route [vrf V] PREFIX/LENGTH {INTERFACE [NEXT-HOP] | NEXT-HOP} [AD] …`
    pub(super) fn route_v6(&mut self, mut rest: Words<'_>, negated: bool) -> Did {
        if rest.peek().is_some_and(|w| w == "static") {
            return super::ROUTER;
        }
        let vrf = vrf(&mut rest);
        let text = rest.next().unwrap_or_default();
        match text.parse::<IpPrefix>() {
            Ok(prefix) if prefix.addr().is_ipv6() => self.keep_route(prefix, vrf, rest, negated),
            Err(PrefixError::HostBits(meant)) => {
                wrong("bits of the host are set in the prefix", format!("write {meant}"))
            }
            _ => wrong("this is no IPv6 prefix", "write `ipv6 route PREFIX/LENGTH TunnelN DISTANCE`"),
        }
    }

    fn keep_route(
        &mut self,
        prefix: IpPrefix,
        vrf: Option<String>,
        mut rest: Words<'_>,
        negated: bool,
    ) -> Did {
        let interface = match rest.peek() {
            // A route may follow the server's answer.
            Some(word) if word.eq_ignore_ascii_case("dhcp") => {
                rest.next();
                None
            }
            Some(word) if word.parse::<IpAddr>().is_ok() => None,
            Some(_) => match names::interface(&mut rest) {
                Some(name) => Some(name),
                None => return wrong("where the route leads is no interface or address", "write TunnelN"),
            },
            None if negated => None,
            None => return wrong("where the route leads is missing", "write TunnelN"),
        };
        let (via, distance, track, name) = (None, None, None, None);
        let mut route = Route { at: self.at, prefix, interface, via, distance, track, name, vrf };
        while let Some(word) = rest.next() {
            if let Ok(via) = word.parse::<IpAddr>() {
                route.via = Some(via);
                continue;
            }
            if word.eq_ignore_ascii_case("dhcp") {
                continue;
            }
            if let Ok(distance) = word.parse::<u32>() {
                match u8::try_from(distance).ok().filter(|d| *d > 0) {
                    Some(distance) => route.distance = Some(distance),
                    None => return wrong(format!("a distance is 1 to 255, not {distance}"), "correct it"),
                }
                continue;
            }
            match crate::ios::words::meant(
                word,
                &["name", "tag", "track", "permanent", "global", "multicast", "unicast"],
            ) {
                Some("name") => route.name = rest.next().map(str::to_owned),
                Some("tag") => {
                    rest.next();
                }
                Some("track") => match rest.next() {
                    Some(track) => route.track = Some(track.to_owned()),
                    None => return wrong("the number of the track is missing", "write it"),
                },
                Some("multicast") => {
                    return Did::Ignored(Class::System, "routes of multicast are the system's");
                }
                Some(_) => {}
                None if !word.is_ascii() => break,
                None => {
                    let word: String = word.chars().take(40).collect();
                    return wrong(format!("`{word}` does not belong to a route"), "correct or remove it");
                }
            }
        }
        if negated {
            let same = |r: &Route| {
                r.prefix == route.prefix
                    && r.vrf == route.vrf
                    && (route.interface.is_none() || r.interface == route.interface)
            };
            self.doc.routes.retain(|r| !same(r));
            return Did::Converted;
        }
        if self.doc.routes.len() == ROUTES_MAX {
            return wrong("there are too many routes", format!("at most {ROUTES_MAX} are read"));
        }
        self.doc.routes.push(route);
        Did::Converted
    }

    fn host_bits(&self, prefix: Ipv4Addr, mask: Ipv4Addr, meant: IpPrefix) -> Did {
        let network = meant.addr();
        let mut hint = format!("write {network} {mask} for the network {meant}");
        // The octets that are written tell which mask would fit.
        let zeros = u32::from(prefix).trailing_zeros();
        let length = 32 - (zeros / 8 * 8).min(32);
        let fitting = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        if self.doc.routes.iter().rev().take(1_000).any(|r| r.prefix == meant) {
            hint = format!(
                "corrected by its mask it is {network} {mask}, which another route is already; meant is probably {prefix} {}",
                Ipv4Addr::from_bits(fitting)
            );
        } else if length < 32 {
            hint = format!("{hint}, or {prefix} {} if the mask is wrong", Ipv4Addr::from_bits(fitting));
        }
        wrong(format!("{prefix} {mask} has bits of the host set; the network is {network}"), hint)
    }
}

fn vrf(rest: &mut Words<'_>) -> Option<String> {
    rest.peek().filter(|w| w.eq_ignore_ascii_case("vrf"))?;
    rest.next();
    rest.next().map(str::to_owned)
}

enum Wrong {
    Hole,
    Wildcard(Ipv4Addr),
    HostBits(IpPrefix),
}

fn prefix_of(prefix: Ipv4Addr, mask: Ipv4Addr) -> Result<IpPrefix, Wrong> {
    let bits = mask.to_bits();
    if bits.leading_ones() + bits.trailing_zeros() < 32 {
        let wildcard = !bits;
        return Err(if wildcard.leading_ones() + wildcard.trailing_zeros() >= 32 {
            Wrong::Wildcard(Ipv4Addr::from_bits(wildcard))
        } else {
            Wrong::Hole
        });
    }
    let length = u8::try_from(bits.leading_ones()).unwrap_or(32);
    match IpPrefix::new(prefix.into(), length) {
        Ok(prefix) => Ok(prefix),
        Err(PrefixError::HostBits(meant)) => Err(Wrong::HostBits(meant)),
        Err(_) => Err(Wrong::Hole),
    }
}
