//! Prefixes, and the static routes that lead to them.

use super::item::{Item, Table};
use super::text::{device, is_host, label};
use super::tunnels::tunnel_name;
use crate::diagnose::{Problem, shown_raw};
use crate::model::route::True;
use crate::model::{RouteTo, StaticRoute, Table as RouteTable, TunnelRoute};
use sipsec_net::IpPrefix;
use sipsec_net::prefix::PrefixError;
use std::net::IpAddr;

/// Routes of `routes`.
const ROUTES_MAX: usize = 20_000;

/// A network to which packets are forwarded. `code` names the check in case that host bits are set.
pub fn prefix(item: &Item<'_>, code: &'static str) -> Option<IpPrefix> {
    let text = item.text()?;
    match text.trim().parse::<IpPrefix>() {
        Ok(prefix) if !is_routable(prefix) => {
            let hint = "write the networks that are meant, as in 10.2.0.0/16";
            item.bad_value(text, "a network to which packets are forwarded", hint);
            None
        }
        Ok(prefix) => Some(prefix),
        Err(PrefixError::HostBits(meant)) => {
            let message = format!("the prefix {} has host bits set", shown_raw(text));
            let problem = Problem::error(code, &item.path, message);
            let addr = text.split('/').next().unwrap_or_default();
            let len = if meant.addr().is_ipv4() { 32 } else { 128 };
            let hint = format!("write {meant}, or {addr}/{len} for that one host");
            item.report(problem.label(format!("the network is {meant}")).hint(hint));
            None
        }
        Err(PrefixError::Length) => {
            item.bad_value(text, "a prefix", "the length is 0 to 32 for IPv4, 0 to 128 for IPv6");
            None
        }
        Err(PrefixError::Syntax) => {
            item.bad_value(text, "a prefix", "write ADDRESS/LENGTH, as in 10.2.0.0/16");
            None
        }
    }
}

/// These are never forwarded: RFC 1122 §3.2.1.3 loopback, RFC 3927 §2.7 and RFC 4291 §2.5.6 link-local, multicast.
fn is_routable(prefix: IpPrefix) -> bool {
    const NEVER: [&str; 6] =
        ["127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::1/128", "fe80::/10", "ff00::/8"];
    let mut never = NEVER.iter().filter_map(|p| p.parse::<IpPrefix>().ok());
    !never.any(|never| never.prefix_len() <= prefix.prefix_len() && never.contains(prefix.addr()))
}

/// A prefix, or a group that says more.
pub fn tunnel_route(item: &Item<'_>) -> Option<TunnelRoute> {
    const HOST_BITS: &str = "tunnels::host-bits";
    if !item.is_table() {
        return prefix(item, HOST_BITS).map(TunnelRoute::from);
    }
    let table = item.table()?;
    let prefix = table.required("prefix").and_then(|i| prefix(&i, HOST_BITS));
    let (distance, track) = (table.int_or_absent("distance"), table.int_or_absent("track"));
    table.finish();
    Some(TunnelRoute { prefix: prefix?, distance: distance?, track: track? })
}

/// `routes:`
pub fn routes(item: &Item<'_>) -> Option<Vec<StaticRoute>> {
    let wanted = item.list()?.len();
    if wanted > ROUTES_MAX {
        let message = format!("{wanted} routes are more than {ROUTES_MAX}");
        item.report(Problem::error("routes::too-many", &item.path, message).hint("join adjacent prefixes"));
        return None;
    }
    super::item::all(item, route)
}

fn route(item: &Item<'_>) -> Option<StaticRoute> {
    let table = item.table()?;
    let prefix_item = table.required("prefix");
    let prefix = prefix_item.as_ref().and_then(|i| prefix(i, "routes::host-bits"));
    let to = target(&table);
    let (vrf, number) = (table.value("vrf", None, |i| device(i, 0).map(Some)), table.int_or_absent("table"));
    let distance = table.int("distance");
    let track = table.int_or_absent("track");
    let name = table.value("name", None, |i| label(i).map(Some));
    table.finish();
    let (vrf, number) = (vrf?.map(RouteTable::Vrf), number?.map(RouteTable::Number));
    if vrf.is_some() && number.is_some() {
        let message = format!("`{}` has `vrf` and `table`", table.path);
        let problem = Problem::error("routes::table", &table.path.key("table"), message);
        table.report(problem.hint("remove `table`: a VRF has one of its own"));
        return None;
    }
    if let Some(RouteTable::Number(number @ 253..=255)) = number {
        let message = format!("table {number} is one of the kernel's own");
        let problem = Problem::error("routes::table", &table.path.key("table"), message);
        table.report(problem.hint("leave `table` out for the main table, or write another number"));
        return None;
    }
    let (prefix, to, distance) = (prefix?, to?, distance?);
    let route = StaticRoute { prefix, to, table: vrf.or(number), distance, track: track?, name: name? };
    if route.table.is_some() && matches!(route.to, RouteTo::Tunnel { .. }) {
        let message = format!("{} leads into a tunnel, whose routes are in the main table", route.prefix);
        let problem = Problem::error("routes::table", &table.path, message);
        table.report(problem.hint("remove `vrf` and `table`"));
        return None;
    }
    if let RouteTo::Via { via, .. } = &route.to
        && via.is_ipv6() != route.prefix.addr().is_ipv6()
    {
        let message = format!("{} cannot lead to {via}: the address families differ", route.prefix);
        let problem = Problem::error("routes::family", &table.path.key("via"), message);
        table.report(problem.hint("write the router's address of the same family"));
        return None;
    }
    Some(route)
}

/// Exactly one of the four keys; `via` may have a device.
fn target(table: &Table<'_>) -> Option<RouteTo> {
    let via = table.value("via", None, |i| gateway(i).map(Some));
    let device = table.value("device", None, |i| device(i, 0).map(Some));
    let tunnel = table.value("tunnel", None, |i| tunnel_name(i).map(Some));
    let discard = table.value("discard", None, |i| i.flag().map(Some));
    match (via?, device?, tunnel?, discard?.filter(|discard| *discard)) {
        (Some(via), device, None, None) => Some(RouteTo::Via { via, device }),
        (None, Some(device), None, None) => Some(RouteTo::Device { device }),
        (None, None, Some(tunnel), None) => Some(RouteTo::Tunnel { tunnel }),
        (None, None, None, Some(_)) => Some(RouteTo::Discard { discard: True }),
        (None, None, None, None) => {
            let problem =
                Problem::error("routes::target", &table.path, format!("`{}` leads nowhere", table.path));
            let hint = "add `via: ADDRESS`, `device: NAME`, `tunnel: NAME` or `discard: true`";
            table.report(problem.hint(hint));
            None
        }
        _ => {
            let message = format!("`{}` leads to several places", table.path);
            let hint =
                "keep one of `via`, `device`, `tunnel` and `discard`; only `via` goes together with `device`";
            table.report(Problem::error("routes::target", &table.path, message).hint(hint));
            None
        }
    }
}

fn gateway(item: &Item<'_>) -> Option<IpAddr> {
    const HINT: &str = "write the address of a router, as in 192.0.2.1";
    let ip: IpAddr = item.parse("an address", HINT)?;
    if !is_host(ip) {
        item.bad_value(&ip.to_string(), "the address of a router", HINT);
        return None;
    }
    Some(ip)
}
