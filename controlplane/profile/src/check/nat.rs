//! Rules of translation: what two of them must not share, and how many there may be.

use crate::diagnose::{Problem, Sink};
use crate::model::Profile;
use crate::read::KeyPath;
use sipsec_net::nat::{NAT_POOL_ADDRESSES_MAX, NAT_PORT_RULES_MAX, NAT_RULES_MAX, NatRule, NatSide};
use std::collections::HashSet;

pub fn check(profile: &Profile, sink: &Sink) {
    let (mut addresses, mut ports) = (0, 0);
    for (i, tunnel) in profile.tunnels.iter().enumerate() {
        let path = KeyPath::dotted("tunnels").index(i).key("nat");
        if tunnel.nat.len() > NAT_RULES_MAX {
            let message =
                format!("{} rules of {} are more than {NAT_RULES_MAX}", tunnel.nat.len(), tunnel.name);
            sink.push(
                Problem::error("nat::too-many", &path, message).hint("join networks that lie side by side"),
            );
        }
        let mut seen = HashSet::new();
        for (n, rule) in tunnel.nat.iter().enumerate() {
            addresses += rule.0.pool_addresses();
            ports += usize::from(matches!(rule.0, NatRule::Port { .. }));
            twice(&rule.0, &path.index(n), &mut seen, sink);
        }
    }
    let path = KeyPath::dotted("tunnels");
    if addresses > NAT_POOL_ADDRESSES_MAX {
        let message = format!(
            "the pools of all tunnels have {addresses} addresses, more than {NAT_POOL_ADDRESSES_MAX}"
        );
        sink.push(
            Problem::error("nat::too-many", &path, message)
                .hint("an address serves hundreds of hosts: use fewer"),
        );
    }
    if ports > NAT_PORT_RULES_MAX {
        let message = format!("{ports} port rules are more than {NAT_PORT_RULES_MAX}");
        sink.push(Problem::error("nat::too-many", &path, message).hint("translate whole networks instead"));
    }
}

/// One end stands for one thing.
fn twice(rule: &NatRule, path: &KeyPath, seen: &mut HashSet<String>, sink: &Sink) {
    let ends: Vec<(&str, String)> = match rule {
        NatRule::Port { protocol, local, global } => vec![
            ("local", format!("{} {local}", protocol.name())),
            ("global", format!("{} {global}", protocol.name())),
        ],
        NatRule::Network { side, local, global } => {
            let side = if *side == NatSide::Inside { "inside" } else { "outside" };
            vec![("local", format!("{side} {local}")), ("global", format!("{side} {global}"))]
        }
        NatRule::Overload { .. } | NatRule::Exempt { .. } => return,
    };
    for (key, end) in ends {
        if !seen.insert(format!("{key} {end}")) {
            let message = format!("{end} is translated twice");
            let problem = Problem::error("nat::duplicate", &path.key(key), message);
            sink.push(problem.hint("remove one of the two rules"));
        }
    }
}
