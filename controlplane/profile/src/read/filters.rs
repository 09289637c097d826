//! `filters:`

use super::item::{Item, all};
use super::prefix::prefix;
use super::tunnels::tunnel_name;
use super::values::Node;
use crate::diagnose::{Problem, nearest};
use crate::model::filter::{FilterEntry, FilterLine, IpProtocol, Numbers, ROUTING};
use sipsec_net::filter::FILTER_RULES_MAX;
use std::collections::HashSet;

/// Filters of one gateway.
const FILTERS_MAX: usize = 256;

pub fn read(item: &Item<'_>) -> Option<Vec<FilterEntry>> {
    let wanted = item.list()?.len();
    if wanted > FILTERS_MAX {
        let message = format!("{wanted} filters are more than {FILTERS_MAX}");
        let problem = Problem::error("filters::too-many", &item.path, message);
        item.report(problem.hint("let tunnels share a filter"));
        return None;
    }
    let mut seen = HashSet::new();
    all(item, |entry| filter(entry, &mut seen))
}

fn filter(item: &Item<'_>, seen: &mut HashSet<String>) -> Option<FilterEntry> {
    let table = item.table()?;
    let name = table.required("name").and_then(|at| {
        let name = tunnel_name(&at)?;
        let why = match name.as_str() {
            ROUTING => format!("`{ROUTING}` is a filter that every profile has"),
            _ if !seen.insert(name.clone()) => format!("two filters are named {name}"),
            _ => return Some(name),
        };
        at.report(Problem::error("filters::duplicate", &at.path, why).hint("give it another name"));
        None
    });
    let rules = table.required("rules").and_then(|at| {
        let rules = all(&at, rule)?;
        if (1..=FILTER_RULES_MAX).contains(&rules.len()) {
            return Some(rules);
        }
        let message = format!("the filter has {} rules", rules.len());
        let hint =
            format!("write 1 to {FILTER_RULES_MAX}: a wider prefix or a range of ports may join several");
        at.report(Problem::error("filters::rules", &at.path, message).hint(hint));
        None
    });
    table.finish();
    Some(FilterEntry { name: name?, rules: rules? })
}

fn rule(item: &Item<'_>) -> Option<FilterLine> {
    let table = item.table()?;
    let action = table.required("action").and_then(|i| i.word());
    let protocol = table.absent_or("protocol", protocol);
    let prefix = |key| table.absent_or(key, |i| prefix(i, "filters::host-bits"));
    let (source, destination) = (prefix("source"), prefix("destination"));
    let ports = |key| {
        table.absent_or(key, |i| {
            numbers(i, "a port, or FIRST-LAST", "write one port, or a range as in 80-443")
        })
    };
    let (source_ports, destination_ports) = (ports("source_ports"), ports("destination_ports"));
    let dscp = table.int_or_absent("dscp");
    let length = table.absent_or("length", |i| {
        numbers(i, "a length in bytes, or FIRST-LAST", "write a range as in 0-1000")
    });
    table.finish();
    let rule = FilterLine {
        action: action?,
        protocol: protocol?,
        source: source?,
        destination: destination?,
        source_ports: source_ports?,
        destination_ports: destination_ports?,
        dscp: dscp?,
        length: length?,
    };
    let has_ports = rule.protocol.is_some_and(IpProtocol::has_ports);
    for (key, given) in [("source_ports", rule.source_ports), ("destination_ports", rule.destination_ports)] {
        if given.is_some() && !has_ports {
            let message = format!("`{key}` needs a protocol with ports");
            let problem = Problem::error("filters::ports", &table.path.key(key), message).at_key();
            table.report(problem.hint("add `protocol: tcp` or `protocol: udp`; one rule is for one of them"));
            return None;
        }
    }
    if let (Some(source), Some(destination)) = (rule.source, rule.destination)
        && source.addr().is_ipv4() != destination.addr().is_ipv4()
    {
        let message = format!("no packet is from {source} to {destination}: the address families differ");
        let problem = Problem::error("filters::family", &table.path.key("destination"), message);
        table.report(problem.hint("write one rule for each family"));
        return None;
    }
    Some(rule)
}

/// A number may stand without quotes.
fn written(item: &Item<'_>) -> Option<String> {
    match item.node {
        Node::Int(number) => Some(number.to_string()),
        _ => item.text().map(|text| text.trim().to_owned()),
    }
}

fn protocol(item: &Item<'_>) -> Option<IpProtocol> {
    let text = written(item)?;
    let parsed = text.to_ascii_lowercase().parse().ok();
    if parsed.is_none() {
        let names = IpProtocol::names().collect::<Vec<_>>().join(", ");
        let meant =
            nearest(&text, IpProtocol::names()).map(|m| format!("did you mean `{m}`? ")).unwrap_or_default();
        item.bad_value(
            &text,
            "a protocol of IP",
            &format!("{meant}write a number from 0 to 255, or one of {names}"),
        );
    }
    parsed
}

fn numbers(item: &Item<'_>, what: &str, hint: &str) -> Option<Numbers> {
    let text = written(item)?;
    let parsed = text.parse().ok();
    if parsed.is_none() {
        item.bad_value(&text, what, hint);
    }
    parsed
}
