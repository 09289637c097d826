//! Filters of interesting traffic in IOS's words.

use super::conversion::Conversion;
use crate::model::filter::{Action, FilterLine, Numbers};
use crate::model::qos::Dscp;
use sipsec_net::IpPrefix;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

/// Access lists of dialer lists: extended ones have 2000 to 2699, too.
const FIRST: usize = 2000;

/// The number of a filter's dialer list: that of its name, or else its place behind all of these. `None` for the filter that
/// every profile has.
pub fn number(conversion: &Conversion, filter: &str) -> Option<usize> {
    let named = |name: &str| name.strip_prefix("dialer-").and_then(|n| n.parse::<usize>().ok());
    let all = || conversion.filters.iter().map(|f| f.name.as_str());
    let place = all().position(|name| name == filter)?;
    named(filter).or_else(|| all().filter_map(named).max().unwrap_or_default().checked_add(1 + place))
}

/// Filters that a dialer list can say. What is not said by one stays in the profile.
pub fn filters(conversion: &Conversion, out: &mut String) {
    for filter in &conversion.filters {
        let Some(number) = number(conversion, &filter.name) else { continue };
        let rules: Option<Vec<String>> = filter.rules.iter().map(entry).collect();
        // Writing to a String cannot fail.
        let Some(rules) = rules else {
            let _ =
                writeln!(out, "! dialer-list {number}: its filter has more than an access list can say\n!");
            continue;
        };
        let list = FIRST + number % 600;
        for rule in rules {
            let _ = writeln!(out, "access-list {list} {rule}");
        }
        let _ = writeln!(out, "dialer-list {number} protocol ip list {list}\n!");
    }
}

fn entry(rule: &FilterLine) -> Option<String> {
    let action = match rule.action {
        Action::Permit => "permit",
        Action::Deny => "deny",
    };
    if rule.length.is_some() {
        return None;
    }
    let protocol = rule.protocol.map_or_else(|| "ip".to_owned(), |p| p.to_string());
    let mut out = format!("{action} {protocol}");
    for (address, ports) in [(rule.source, rule.source_ports), (rule.destination, rule.destination_ports)] {
        match address.map(|p: IpPrefix| (p.addr(), p.prefix_len())) {
            None | Some((IpAddr::V4(_), 0)) => out.push_str(" any"),
            Some((IpAddr::V4(ip), 32)) => {
                let _ = write!(out, " host {ip}");
            }
            Some((IpAddr::V4(ip), len)) => {
                let wildcard = u32::MAX.checked_shr(len.into()).unwrap_or(0);
                let _ = write!(out, " {ip} {}", Ipv4Addr::from_bits(wildcard));
            }
            Some((IpAddr::V6(_), _)) => return None,
        }
        match ports.map(|Numbers(span)| (span.first, span.last)) {
            None => {}
            Some((first, last)) if first == last => {
                let _ = write!(out, " eq {first}");
            }
            Some((first, last)) => {
                let _ = write!(out, " range {first} {last}");
            }
        }
    }
    if let Some(dscp) = rule.dscp {
        let _ = write!(out, " dscp {}", Dscp::new(dscp)?);
    }
    Some(out)
}
