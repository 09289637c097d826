//! `qos:`

use super::item::{Item, Table, all};
use super::prefix::prefix;
use super::tunnels::tunnel_name;
use super::values::Node;
use crate::diagnose::Problem;
use crate::model::carrier::MediaDscp;
use crate::model::qos::{CLASS_DEFAULT, Dscp, Part, PoliceEntry, QosClass, QosMatch, QosPolicy, QosSection};
use sipsec_net::qos::{CLASSES_MAX, FILTERS_MAX, PortRange};
use std::collections::HashMap;

const POLICIES_MAX: usize = 256;
const DSCP_HINT: &str = "write 0 to 63, or a name: default, ef, cs1 to cs7, af11 to af43";

pub fn read(item: &Item<'_>) -> Option<QosSection> {
    let table = item.table()?;
    let mode = table.word("mode");
    let police = table.value("police", PoliceEntry::default(), police);
    let mut seen = Names::default();
    let policies = table.list("policies", |i| policy(i, &mut seen));
    table.finish();
    let policies = policies?;
    if policies.len() > POLICIES_MAX {
        let message = format!("{} policies are more than {POLICIES_MAX}", policies.len());
        table.report(
            Problem::error("qos::too-many", &table.path.key("policies"), message)
                .hint("let tunnels share them"),
        );
        return None;
    }
    Some(QosSection { mode: mode?, police: police?, policies })
}

/// Names that were given away, with the place of each.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    fn claim(&mut self, item: &Item<'_>, what: &str) -> Option<String> {
        let name = tunnel_name(item)?;
        if let Some(first) = self.0.get(&name) {
            let problem =
                Problem::error("qos::duplicate", &item.path, format!("two {what} are named {name}"));
            item.report(problem.label(format!("already {first}")).hint("give each its own name"));
            return None;
        }
        self.0.insert(name.clone(), item.path.to_string());
        Some(name)
    }
}

fn police(item: &Item<'_>) -> Option<PoliceEntry> {
    let table = item.table()?;
    let (exceed, burst_ms) = (table.word("exceed"), table.int("burst_ms"));
    let dscp = table.value("dscp", Dscp::CS1, dscp);
    table.finish();
    Some(PoliceEntry { exceed: exceed?, burst_ms: burst_ms?, dscp: dscp? })
}

fn policy(item: &Item<'_>, seen: &mut Names) -> Option<QosPolicy> {
    let table = item.table()?;
    let name = table.required("name").and_then(|i| seen.claim(&i, "policies"));
    let mut names = Names::default();
    let classes = table.required("classes").and_then(|i| all(&i, |i| class(i, &mut names)));
    let police = table.absent_or("police", police);
    table.finish();
    let classes = classes?;
    let path = table.path.key("classes");
    let (own, matches) = (
        classes.iter().filter(|c| !c.is_default()).count(),
        classes.iter().map(|c| c.matches.len()).sum::<usize>(),
    );
    if own >= CLASSES_MAX {
        let message = format!("{own} classes are more than {}", CLASSES_MAX - 1);
        let hint = format!("join some of them; `{CLASS_DEFAULT}` takes what they do not match");
        table.report(Problem::error("qos::too-many", &path, message).hint(hint));
        return None;
    }
    if matches > FILTERS_MAX {
        let message = format!("{matches} matches of one policy are more than {FILTERS_MAX}");
        let hint = "write wider prefixes or port ranges, or match by DSCP";
        table.report(Problem::error("qos::too-many", &path, message).hint(hint));
        return None;
    }
    Some(QosPolicy { name: name?, classes, police: police? })
}

fn class(item: &Item<'_>, seen: &mut Names) -> Option<QosClass> {
    let table = item.table()?;
    let name = table.required("name").and_then(|i| seen.claim(&i, "classes"));
    let matches = table.list("match", one_match);
    let priority = table.flag("priority");
    let guarantee = part(&table, "guarantee_kbps", "guarantee_percent");
    let ceiling = part(&table, "ceiling_kbps", "ceiling_percent");
    let outer = table.absent_or("dscp", outer_dscp);
    table.finish();
    let (name, matches) = (name?, matches?);
    if matches.is_empty() != (name == CLASS_DEFAULT) {
        let (message, hint) = match matches.is_empty() {
            true => (format!("the class {name} matches nothing"), "add `match: [{ dscp: [ef] }]`"),
            false => (
                format!("`{CLASS_DEFAULT}` takes what no other class matches"),
                "remove `match`, or rename the class",
            ),
        };
        table.report(Problem::error("qos::match", &table.path.key("match"), message).hint(hint));
        return None;
    }
    Some(QosClass {
        name,
        matches,
        priority: priority?,
        guarantee: guarantee?,
        ceiling: ceiling?,
        dscp: outer?,
    })
}

/// A rate, in one of two keys.
fn part(table: &Table<'_>, kbps: &'static str, percent: &'static str) -> Option<Option<Part>> {
    match (table.int_or_absent(kbps)?, table.int_or_absent(percent)?) {
        (Some(_), Some(_)) => {
            let message = format!("`{kbps}` and `{percent}` say the same in two ways");
            table.report(
                Problem::error("qos::rate", &table.path.key(percent), message).hint("keep one of them"),
            );
            None
        }
        (Some(kbps), None) => Some(Some(Part::Kbps(kbps))),
        (None, percent) => Some(percent.map(Part::Percent)),
    }
}

fn one_match(item: &Item<'_>) -> Option<QosMatch> {
    let table = item.table()?;
    let dscp = table.list("dscp", dscp);
    let source = table.absent_or("source", |i| prefix(i, "qos::host-bits"));
    let destination = table.absent_or("destination", |i| prefix(i, "qos::host-bits"));
    let protocol = table.word("protocol");
    let source_ports = table.absent_or("source_ports", ports);
    let destination_ports = table.absent_or("destination_ports", ports);
    table.finish();
    let built = QosMatch {
        dscp: dscp?,
        source: source?,
        destination: destination?,
        protocol: protocol?,
        source_ports: source_ports?,
        destination_ports: destination_ports?,
    };
    if built == QosMatch::default() {
        let problem = Problem::error("qos::match", &table.path, "this matches every packet");
        table
            .report(problem.hint(format!("write what the packets have in common, or use `{CLASS_DEFAULT}`")));
        return None;
    }
    Some(built)
}

fn ports(item: &Item<'_>) -> Option<PortRange> {
    let text = item.text()?;
    let parse = |text: &str| text.trim().parse::<u16>().ok();
    let range = text.split_once('-').and_then(|(first, last)| Some((parse(first)?, parse(last)?)));
    match range.filter(|(first, last)| first <= last) {
        Some((first, last)) => Some(PortRange { first, last }),
        None => {
            item.bad_value(text, "a range of ports", "write FIRST-LAST, as in 5060-5061");
            None
        }
    }
}

/// A number, or a name.
fn dscp(item: &Item<'_>) -> Option<Dscp> {
    let written = match item.node {
        Node::Int(value) => value.to_string(),
        _ => item.text()?.to_owned(),
    };
    let parsed = written.parse().ok();
    if parsed.is_none() {
        item.bad_value(&written, "a DSCP", DSCP_HINT);
    }
    parsed
}

fn outer_dscp(item: &Item<'_>) -> Option<MediaDscp> {
    if matches!(item.node, Node::Str(text) if text.trim() == "copy") {
        return Some(MediaDscp::Copy);
    }
    dscp(item).map(|dscp| MediaDscp::Fixed(dscp.value()))
}
