//! `show ip route`

use super::clock;
use crate::api::policy::{DrainingFlows, ForeignRoute, PrefixRoutes, RouteCandidate};
use std::collections::BTreeSet;
use std::fmt::Write as _;

const CODES: &str = "\
Codes: C - connected, S - static, H - DHCP, R - RIP, B - BGP, O - OSPF
       i - IS-IS, D - EIGRP, K - kernel or another program
       * - candidate default, > - in use
";
const DEFAULTS: [&str; 2] = ["0.0.0.0/0", "::/0"];

#[must_use]
pub fn routes(list: &[PrefixRoutes]) -> String {
    let mut out = format!("{CODES}\n{}\n\n", last_resort(list));
    for prefix in list.iter().filter(|r| r.table.is_none()) {
        one(prefix, &mut out);
    }
    let tables: BTreeSet<&str> = list.iter().filter_map(|r| r.table.as_deref()).collect();
    for table in tables {
        let _ = writeln!(out, "\nRouting Table: {}\n", table.trim_start_matches("table "));
        for prefix in list.iter().filter(|r| r.table.as_deref() == Some(table)) {
            one(prefix, &mut out);
        }
    }
    out
}

fn last_resort(list: &[PrefixRoutes]) -> String {
    let default = list.iter().find(|r| r.prefix == DEFAULTS[0] && r.table.is_none());
    let leads = default.and_then(|r| match r.foreign_used {
        true => {
            r.foreign.iter().min_by_key(|f| f.metric).map(|f| hop(f.via.as_ref(), f.device.as_ref(), None))
        }
        false => r.candidates.iter().find(|c| c.best).map(candidate_hop),
    });
    match leads {
        Some(leads) => {
            format!(
                "Gateway of last resort is {} to network 0.0.0.0",
                leads.trim_start_matches("via ").trim_start_matches("is directly connected, ")
            )
        }
        None => "Gateway of last resort is not set".to_owned(),
    }
}

fn one(r: &PrefixRoutes, out: &mut String) {
    let star = if DEFAULTS.contains(&r.prefix.as_str()) { '*' } else { ' ' };
    let mut lines: Vec<(bool, char, String, Option<String>)> = Vec::new();
    let least = r.foreign.iter().map(|f| f.metric).min();
    for foreign in &r.foreign {
        let used = r.foreign_used && Some(foreign.metric) == least;
        let rest =
            format!("[-/{}] {}", foreign.metric, hop(foreign.via.as_ref(), foreign.device.as_ref(), None));
        lines.push((used, code(foreign), rest, None));
    }
    for candidate in &r.candidates {
        let used = candidate.best && !r.foreign_used;
        let mut rest = format!("[{}/{}] {}", candidate.distance, candidate.metric, candidate_hop(candidate));
        if used {
            let _ = write!(rest, ", {}", clock(r.since_s));
        }
        let why = match (candidate.best, &r.kernel) {
            (true, Some(kernel)) if r.foreign_used || kernel != "installed" => Some(kernel.clone()),
            _ => candidate.why_not.clone(),
        };
        let track = candidate.track.map(|track| format!("track {track}"));
        // The reason may name the track itself.
        let track = track.filter(|track| why.as_ref().is_none_or(|why| !why.contains(track)));
        let parts: Vec<String> = [candidate.name.clone(), track, why].into_iter().flatten().collect();
        lines.push((used, 'S', rest, (!parts.is_empty()).then(|| parts.join("; "))));
    }
    // The one in use first.
    lines.sort_by_key(|(used, ..)| !used);
    for (used, code, rest, remark) in lines {
        let mark = if used { '>' } else { ' ' };
        let _ = writeln!(out, "{code}{star}{mark} {:<18} {rest}", r.prefix);
        if let Some(remark) = remark {
            for line in wrapped(&remark, 72) {
                let _ = writeln!(out, "       {line}");
            }
        }
    }
    if let Some(draining) = &r.draining {
        let flows = match draining.flows {
            Some(1) => "1 flow stays".to_owned(),
            Some(flows) => format!("{flows} flows stay"),
            None => "flows stay".to_owned(),
        };
        let DrainingFlows { tunnel, left_s, failure, .. } = draining;
        let text = match failure {
            Some(failure) => format!("flows of {tunnel} move at once: {failure}"),
            None => format!("{flows} in {tunnel}, {left_s} s at most"),
        };
        for line in wrapped(&text, 72) {
            let _ = writeln!(out, "       {line}");
        }
    }
}

fn code(foreign: &ForeignRoute) -> char {
    match (foreign.protocol.as_str(), &foreign.via) {
        ("kernel", None) => 'C',
        ("static", _) => 'S',
        ("dhcp", _) => 'H',
        ("rip", _) => 'R',
        ("bgp", _) => 'B',
        ("ospf", _) => 'O',
        ("isis", _) => 'i',
        ("eigrp", _) => 'D',
        _ => 'K',
    }
}

fn candidate_hop(candidate: &RouteCandidate) -> String {
    hop(candidate.via.as_ref(), candidate.device.as_ref(), candidate.tunnel.as_ref())
}

fn hop(via: Option<&String>, device: Option<&String>, tunnel: Option<&String>) -> String {
    match (via, device.or(tunnel)) {
        (Some(via), Some(device)) => format!("via {via}, {device}"),
        (Some(via), None) => format!("via {via}"),
        (None, Some(device)) => format!("is directly connected, {device}"),
        (None, None) => "is directly connected, Null0".to_owned(),
    }
}

/// Lines of at most `width` characters, broken at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match out.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => out.push(word.to_owned()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    fn prefix(prefix: &str, candidates: Vec<RouteCandidate>) -> PrefixRoutes {
        let kernel = Some("installed".to_owned());
        PrefixRoutes {
            prefix: prefix.into(),
            candidates,
            since_s: 42,
            changes: 3,
            kernel,
            ..PrefixRoutes::default()
        }
    }

    #[test]
    fn the_route_in_use_stands_first_and_the_others_say_why_not() {
        let primary = RouteCandidate {
            via: Some("192.0.2.1".into()),
            device: Some("wan1".into()),
            distance: 1,
            metric: 1,
            track: Some(1),
            name: Some("primary".into()),
            why_not: Some("track 1 is down".into()),
            ..RouteCandidate::default()
        };
        let backup = RouteCandidate {
            tunnel: Some("Tunnel1".into()),
            distance: 254,
            metric: 254,
            best: true,
            ..RouteCandidate::default()
        };
        let foreign = |protocol: &str, metric, via: Option<&str>| ForeignRoute {
            protocol: protocol.into(),
            metric,
            via: via.map(str::to_owned),
            device: Some("wan0".into()),
        };
        let back = RouteCandidate {
            device: Some("wan1".into()),
            distance: 1,
            metric: 1,
            best: true,
            ..RouteCandidate::default()
        };
        let list = [
            prefix("0.0.0.0/0", vec![primary, backup.clone()]),
            PrefixRoutes {
                foreign: vec![
                    foreign("bgp", 20, Some("10.255.0.2")),
                    foreign("dhcp", 100, Some("198.51.100.1")),
                ],
                foreign_used: true,
                kernel: Some("the kernel prefers a route of another program, whose metric is less".into()),
                ..prefix("10.2.0.0/16", vec![backup])
            },
            prefix(
                "10.9.0.0/16",
                vec![RouteCandidate { distance: 254, metric: 254, best: true, ..RouteCandidate::default() }],
            ),
            PrefixRoutes {
                foreign: vec![foreign("kernel", 0, None)],
                foreign_used: true,
                ..prefix("198.51.100.0/24", Vec::new())
            },
            PrefixRoutes {
                table: Some("vrf-primary".into()),
                ..prefix("0.0.0.0/0", vec![RouteCandidate { via: Some("192.0.2.1".into()), ..back }])
            },
        ];
        let text = routes(&list);
        assert!(text.lines().all(|l| l.len() <= 80), "{text}");
        golden("ip-route.txt", &text);
        assert!(routes(&[]).contains("Gateway of last resort is not set"));
    }
}
