//! `nat:`, and the rules of tunnels

use super::item::{Item, Table};
use super::prefix::prefix;
use crate::diagnose::Problem;
use crate::model::nat::{NatPorts, NatSection, PerHost, PortProtocol, RuleKind, Side, Timeouts, TunnelNat};
use sipsec_net::IpPrefix;
use sipsec_net::nat::{NAT_POOL_MAX, NatPolicy, NatProtocol, NatRule, NatSide};
use std::net::{Ipv4Addr, SocketAddrV4};

const HOST_BITS: &str = "nat::host-bits";

pub fn read(item: &Item<'_>) -> Option<NatSection> {
    let table = item.table()?;
    let filtering = table.word("filtering");
    let default = NatPorts::default();
    let ports = table.value("ports", (default.first, default.last), ports);
    let block = table.int("block_ports");
    let blocks_per_host = table.int("blocks_per_host");
    let per_host = table.int("translations_per_host").map(PerHost);
    let timeouts = table.value("timeouts", Timeouts::default(), timeouts);
    let primary = super::primary_nat::read(&table);
    table.finish();
    let (first, last) = ports?;
    let section = NatSection {
        filtering: filtering?,
        ports: NatPorts { first, last, block: block?, blocks_per_host: blocks_per_host? },
        translations_per_host: per_host?,
        timeouts: timeouts?,
        primary: primary?,
    };
    let policy = section.policy();
    if !policy.block_ports.is_power_of_two() {
        let path = table.path.key("block_ports");
        let message = format!("`nat.block_ports` is {}", policy.block_ports);
        let problem = Problem::error("nat::block", &path, message).label("not a power of two");
        table.report(problem.hint("write 64, 128, 256, 512 or 1024"));
        return None;
    }
    if !policy.is_valid() {
        let NatPolicy { port_first, port_last, block_ports, .. } = policy;
        let message = format!("no whole block of {block_ports} ports is in {port_first}-{port_last}");
        let problem = Problem::error("nat::ports", &table.path.key("ports"), message);
        table.report(
            problem.hint("blocks begin at multiples of their size: use a longer range or smaller blocks"),
        );
        return None;
    }
    Some(section)
}

pub fn ports(item: &Item<'_>) -> Option<(u16, u16)> {
    let text = item.text()?;
    let parsed =
        text.split_once('-').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    let range = parsed.filter(|(first, last)| 0 < *first && first <= last);
    if range.is_none() {
        item.bad_value(text, "a range of ports", "write FIRST-LAST, as in 1024-65535");
    }
    range
}

fn timeouts(item: &Item<'_>) -> Option<Timeouts> {
    let table = item.table()?;
    let (udp_s, icmp_s, tcp_s) = (table.int("udp_s"), table.int("icmp_s"), table.int("tcp_s"));
    let (tcp_transitory_s, tcp_syn_s) = (table.int("tcp_transitory_s"), table.int("tcp_syn_s"));
    table.finish();
    Some(Timeouts {
        udp_s: udp_s?,
        icmp_s: icmp_s?,
        tcp_s: tcp_s?,
        tcp_transitory_s: tcp_transitory_s?,
        tcp_syn_s: tcp_syn_s?,
    })
}

/// A rule of a tunnel. Keys of another kind of rule are errors, so that a rule does what it says.
pub fn rule(item: &Item<'_>) -> Option<TunnelNat> {
    let table = item.table()?;
    let kind: Option<RuleKind> = table.required("rule").and_then(|i| i.word());
    let rule = kind.and_then(|kind| {
        let (others, rule): (&[&'static str], _) = match kind {
            RuleKind::Overload => (&["side", "protocol", "local", "global"], overload(&table)),
            RuleKind::Exempt => {
                (&["pool", "own_address", "side", "protocol", "local", "global"], exempt(&table))
            }
            RuleKind::Network => {
                (&["source", "destination", "pool", "own_address", "protocol"], network(&table))
            }
            RuleKind::Port => (&["source", "destination", "pool", "own_address", "side"], port(&table)),
        };
        let foreign = others.iter().find_map(|key| table.optional(key));
        if let Some(foreign) = &foreign {
            let message = format!("`{}` means nothing to this rule", foreign.path);
            let hint = format!("a rule of this kind does not have it: leave out {}", others.join(", "));
            foreign.report(Problem::error("nat::rule", &foreign.path, message).hint(hint));
        }
        rule.filter(|_| foreign.is_none())
    });
    table.finish();
    let rule = rule?;
    if !rule.is_valid() {
        let message = "this rule cannot be obeyed".to_owned();
        let hint = "local and global networks are of the same family and length, of IPv6 at most /64; sources, \
                    destinations and pools are IPv4";
        item.report(Problem::error("nat::rule", &item.path, message).hint(hint));
        return None;
    }
    Some(TunnelNat(rule))
}

fn ends(table: &Table<'_>) -> Option<(IpPrefix, IpPrefix)> {
    let one = |key| table.value(key, IpPrefix::ANY_V4, |i| prefix(i, HOST_BITS));
    let (source, destination) = (one("source"), one("destination"));
    Some((source?, destination?))
}

fn overload(table: &Table<'_>) -> Option<NatRule> {
    let ends = ends(table);
    let pool = needed(table, "pool", "10.99.0.1-10.99.0.4").and_then(|i| pool(&i));
    let own_address = table.flag("own_address");
    let ((source, destination), (first, last)) = (ends?, pool?);
    Some(NatRule::Overload { source, destination, first, last, own_address: own_address? })
}

fn exempt(table: &Table<'_>) -> Option<NatRule> {
    let (source, destination) = ends(table)?;
    Some(NatRule::Exempt { source, destination })
}

fn network(table: &Table<'_>) -> Option<NatRule> {
    let side = match table.word::<Side>("side")? {
        Side::Inside => NatSide::Inside,
        Side::Outside => NatSide::Outside,
    };
    let one = |key, example| needed(table, key, example).and_then(|i| prefix(&i, HOST_BITS));
    let (local, global) = (one("local", "192.168.1.0/24"), one("global", "10.99.1.0/24"));
    Some(NatRule::Network { side, local: local?, global: global? })
}

fn port(table: &Table<'_>) -> Option<NatRule> {
    let protocol = match table.word::<PortProtocol>("protocol")? {
        PortProtocol::Tcp => NatProtocol::Tcp,
        PortProtocol::Udp => NatProtocol::Udp,
    };
    let one = |key, example| needed(table, key, example).and_then(|i| endpoint(&i));
    let (local, global) = (one("local", "192.168.1.9:80"), one("global", "10.99.0.1:8080"));
    Some(NatRule::Port { protocol, local: local?, global: global? })
}

/// A key that this kind of rule must have.
fn needed<'a>(table: &Table<'a>, key: &'static str, example: &str) -> Option<Item<'a>> {
    let item = table.optional(key);
    if item.is_none() {
        let path = table.path.key(key);
        let problem = Problem::error("nat::rule", &path, format!("`{path}` is missing")).at_key();
        table.report(problem.hint(format!("add `{key}: {example}`")));
    }
    item
}

pub fn endpoint(item: &Item<'_>) -> Option<SocketAddrV4> {
    const HINT: &str = "write ADDRESS:PORT of IPv4, as in 192.168.1.9:80";
    let endpoint: SocketAddrV4 = item.parse("an address and a port", HINT)?;
    if endpoint.port() == 0 || !super::text::is_host((*endpoint.ip()).into()) {
        item.bad_value(&endpoint.to_string(), "an address and a port", HINT);
        return None;
    }
    Some(endpoint)
}

/// `ADDRESS` or `FIRST-LAST`
fn pool(item: &Item<'_>) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let text = item.text()?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let ends: Option<(Ipv4Addr, Ipv4Addr)> = first.trim().parse().ok().zip(last.trim().parse().ok());
    let fits = |(first, last): &(Ipv4Addr, Ipv4Addr)| {
        let count = last.to_bits().checked_sub(first.to_bits()).map(u64::from);
        let hosts = [*first, *last].into_iter().all(|a| super::text::is_host(a.into()));
        hosts && count.is_some_and(|count| count < u64::from(NAT_POOL_MAX))
    };
    let pool = ends.filter(fits);
    if pool.is_none() {
        let hint = format!("write ADDRESS or FIRST-LAST of IPv4, at most {NAT_POOL_MAX} addresses");
        item.bad_value(text, "a pool of addresses", &hint);
    }
    pool
}
