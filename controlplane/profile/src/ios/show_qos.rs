//! Policies in IOS's words.

use super::conversion::Conversion;
use crate::model::carrier::MediaDscp;
use crate::model::qos::{MatchProtocol, Part, QosClass, QosMatch, QosPolicy};
use sipsec_net::IpPrefix;
use sipsec_net::qos::PortRange;
use std::fmt::Write as _;
use std::net::IpAddr;

pub fn policies(conversion: &Conversion, out: &mut String) {
    for policy in &conversion.qos {
        for class in policy.classes.iter().filter(|c| !c.is_default()) {
            class_map(&class_name(conversion, policy, class), class, out);
        }
        // Writing to a String cannot fail.
        let _ = policy_map(conversion, policy, out);
    }
}

/// Classes of IOS are the router's, those of the profile their policy's: of one name there can be several.
fn class_name(conversion: &Conversion, policy: &QosPolicy, class: &QosClass) -> String {
    let others = conversion.qos.iter().filter(|p| p.name != policy.name).flat_map(|p| &p.classes);
    let is_shared = !class.is_default() && others.map(|c| &c.name).any(|name| *name == class.name);
    if is_shared { format!("{}-{}", policy.name, class.name) } else { class.name.clone() }
}

fn class_map(name: &str, class: &QosClass, out: &mut String) {
    let (plain, lists): (Vec<_>, Vec<_>) = class.matches.iter().partition(|m| is_dscp_alone(m));
    if !lists.is_empty() {
        let _ = writeln!(out, "ip access-list extended {name}");
        for entry in lists.iter().flat_map(|m| permits(m)) {
            let _ = writeln!(out, " {entry}");
        }
        out.push_str("!\n");
    }
    let _ = writeln!(out, "class-map match-any {name}");
    for values in plain {
        let names: Vec<String> = values.dscp.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, " match dscp {}", names.join(" "));
    }
    if !lists.is_empty() {
        let _ = writeln!(out, " match access-group name {name}");
    }
    out.push_str("!\n");
}

fn is_dscp_alone(m: &QosMatch) -> bool {
    *m == QosMatch { dscp: m.dscp.clone(), ..QosMatch::default() }
}

/// One line for each DSCP, as a list has it; a match of IPv6 has no word in such a list.
fn permits(m: &QosMatch) -> Vec<String> {
    let address = |prefix: Option<IpPrefix>| match prefix.map(|p| (p.addr(), p.prefix_len())) {
        None => Some("any".to_owned()),
        Some((IpAddr::V4(ip), 32)) => Some(format!("host {ip}")),
        Some((IpAddr::V4(ip), len)) => {
            let wildcard = u32::MAX.checked_shr(len.into()).unwrap_or(0);
            Some(format!("{ip} {}", std::net::Ipv4Addr::from_bits(wildcard)))
        }
        Some((IpAddr::V6(_), _)) => None,
    };
    let ports = |range: Option<PortRange>| match range {
        None => String::new(),
        Some(PortRange { first, last }) if first == last => format!(" eq {first}"),
        Some(PortRange { first, last }) => format!(" range {first} {last}"),
    };
    let (Some(source), Some(destination)) = (address(m.source), address(m.destination)) else {
        return Vec::new();
    };
    let protocol = match m.protocol {
        MatchProtocol::Any => "ip",
        MatchProtocol::Tcp => "tcp",
        MatchProtocol::Udp => "udp",
        MatchProtocol::Icmp => "icmp",
        MatchProtocol::Gre => "gre",
        MatchProtocol::Esp => "esp",
        MatchProtocol::Icmpv6 | MatchProtocol::Sctp => return Vec::new(),
    };
    let line = format!(
        "permit {protocol} {source}{} {destination}{}",
        ports(m.source_ports),
        ports(m.destination_ports)
    );
    match &m.dscp[..] {
        [] => vec![line],
        some => some.iter().map(|dscp| format!("{line} dscp {dscp}")).collect(),
    }
}

fn policy_map(conversion: &Conversion, policy: &QosPolicy, out: &mut String) -> std::fmt::Result {
    writeln!(out, "policy-map {}", policy.name)?;
    for class in &policy.classes {
        writeln!(out, " class {}", class_name(conversion, policy, class))?;
        let word = if class.priority { "priority" } else { "bandwidth" };
        match class.guarantee {
            Some(Part::Kbps(kbps)) => writeln!(out, "  {word} {kbps}")?,
            Some(Part::Percent(percent)) => writeln!(out, "  {word} percent {percent}")?,
            None if class.priority => writeln!(out, "  priority")?,
            None => {}
        }
        match class.ceiling {
            Some(Part::Kbps(kbps)) => writeln!(out, "  shape average {kbps}000")?,
            Some(Part::Percent(percent)) => writeln!(out, "  shape average percent {percent}")?,
            None => {}
        }
        if let Some(MediaDscp::Fixed(dscp)) = class.dscp {
            writeln!(out, "  set dscp tunnel {dscp}")?;
        }
    }
    writeln!(out, "!")
}
