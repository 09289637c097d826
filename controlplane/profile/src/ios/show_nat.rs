//! Translation of addresses in IOS's words. What IOS has no word for is left out: rules of IPv6 prefixes among them.

use super::conversion::Conversion;
use crate::model::Word;
use sipsec_net::IpPrefix;
use sipsec_net::nat::{NatRule, NatSide};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// `any`, `host A`, or `A WILDCARD`.
fn end(prefix: &IpPrefix) -> String {
    match (prefix.addr(), prefix.prefix_len()) {
        (_, 0) => "any".to_owned(),
        (address, 32) => format!("host {address}"),
        (address, len) => {
            let wildcard = u32::MAX.checked_shr(len.into()).unwrap_or(0);
            format!("{address} {}", Ipv4Addr::from_bits(wildcard))
        }
    }
}

/// Lists and rules of primary lines.
pub fn primaries(conversion: &Conversion, out: &mut String) {
    // Writing to a String cannot fail.
    for (interface, primary) in &conversion.primary {
        if conversion.wan.as_ref().is_none_or(|(wan, _)| wan != interface) {
            let _ = writeln!(out, "interface {interface}\n ip nat outside\n!");
        }
        let _ = writeln!(out, "ip access-list extended {interface}-nat");
        for exempt in &primary.exempt {
            let _ = writeln!(out, " deny ip any {}", end(exempt));
        }
        for source in &primary.sources {
            let _ = writeln!(out, " permit ip {} any", end(source));
        }
        let _ = writeln!(out, "!\nip nat inside source list {interface}-nat interface {interface} overload");
        for forward in &primary.forwards {
            let _ = writeln!(
                out,
                "ip nat inside source static {} {} {} interface {interface} {}",
                forward.protocol.word(),
                forward.local.ip(),
                forward.local.port(),
                forward.port
            );
        }
    }
}

/// Lists, pools and rules of every tunnel.
pub fn translations(conversion: &Conversion, out: &mut String) {
    for tunnel in &conversion.tunnels {
        let name = &tunnel.name;
        let mut list = String::new();
        let mut pools: Vec<(Ipv4Addr, Ipv4Addr, bool)> = Vec::new();
        // Writing to a String cannot fail.
        for rule in tunnel.nat.iter().map(|rule| &rule.0) {
            match rule {
                NatRule::Port { protocol, local, global } => {
                    let (l, g) = (local.ip(), global.ip());
                    let protocol = protocol.name();
                    let _ = writeln!(
                        out,
                        "ip nat inside source static {protocol} {l} {} {g} {} extendable",
                        local.port(),
                        global.port()
                    );
                }
                NatRule::Network { side, local, global } => {
                    let (IpAddr::V4(l), IpAddr::V4(g)) = (local.addr(), global.addr()) else { continue };
                    // IOS names the end first that its side has.
                    let (side, first, second) = match side {
                        NatSide::Inside => ("inside", l, g),
                        NatSide::Outside => ("outside", g, l),
                    };
                    let _ = match local.prefix_len() {
                        32 => writeln!(out, "ip nat {side} source static {first} {second}"),
                        len => writeln!(out, "ip nat {side} source static network {first} {second} /{len}"),
                    };
                }
                NatRule::Exempt { source, destination } => {
                    let _ = writeln!(list, " deny ip {} {}", end(source), end(destination));
                }
                NatRule::Overload { source, destination, first, last, own_address } => {
                    let _ = writeln!(list, " permit ip {} {}", end(source), end(destination));
                    if !pools.contains(&(*first, *last, *own_address)) {
                        pools.push((*first, *last, *own_address));
                    }
                }
            }
        }
        if pools.is_empty() {
            continue;
        }
        let _ = writeln!(out, "ip access-list extended {name}-nat\n{list}!");
        for (n, (first, last, own)) in (1..).zip(&pools) {
            if *own {
                let _ = writeln!(out, "ip nat inside source list {name}-nat interface {name} overload");
            } else {
                let _ = writeln!(out, "ip nat pool {name}-{n} {first} {last} prefix-length 24");
                let _ = writeln!(out, "ip nat inside source list {name}-nat pool {name}-{n} overload");
            }
        }
    }
}
