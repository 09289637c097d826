//! Every tunnel has its line and its key; every key has its tunnel.

use crate::diagnose::{Problem, Sink, nearest};
use crate::model::{KeyOwner, Profile};
use crate::read::KeyPath;
use std::collections::HashSet;

pub fn check(profile: &Profile, sink: &Sink) {
    let mut lines: HashSet<&str> = HashSet::new();
    for (at, sip) in super::carriers(profile) {
        for (i, line) in sip.lines.iter().enumerate() {
            // One carrier's own are compared where they are read.
            if !lines.insert(line.number.as_str()) && at != KeyPath::dotted("sip") {
                let message = format!("line {} appears twice", line.number);
                let path = at.key("lines").index(i).key("number");
                let problem = Problem::error("sip::duplicate-line", &path, message);
                sink.push(problem.hint("a line belongs to one carrier: remove one of the two"));
            }
        }
    }
    let owners: HashSet<KeyOwner> = profile.ike.keyring.iter().map(|k| k.owner).collect();
    let tunnels = KeyPath::dotted("tunnels");
    for (i, tunnel) in profile.tunnels.iter().enumerate().take_while(|_| !sink.is_full()) {
        let local = tunnel.local_number.as_str();
        if !lines.contains(local) {
            let hint = match nearest(local, lines.iter().copied()) {
                Some(meant) => format!("did you mean {meant}? Otherwise add the line to `sip.lines`"),
                None => format!("add it to `sip.lines`, which has {}", some_of(profile)),
            };
            let message = format!("{} uses line {local}, which `sip.lines` does not have", tunnel.name);
            let problem =
                Problem::error("tunnels::unknown-line", &tunnels.index(i).key("local_number"), message);
            sink.push(problem.label("no such line").hint(hint));
        }
        if !owners.contains(&KeyOwner::Number(tunnel.remote_number)) && !owners.contains(&KeyOwner::Any) {
            let remote = tunnel.remote_number.as_str();
            let keyed = profile.ike.keyring.iter().filter_map(|k| match &k.owner {
                KeyOwner::Number(n) => Some(n.as_str()),
                KeyOwner::Any => None,
            });
            let message = match nearest(remote, keyed) {
                Some(entry) => format!("no PSK or certificate for number {remote}; closest entry {entry}"),
                None => format!("no PSK or certificate for number {remote}"),
            };
            let hint = "without it every call would be paid for and end in NEGOTIATING_IKE: correct the number, or add an entry to `ike.keyring`";
            let problem = Problem::error("ike::no-key", &tunnels.index(i).key("remote_number"), message);
            sink.push(problem.label("has no key").hint(hint));
        }
    }
    let called: HashSet<KeyOwner> =
        profile.tunnels.iter().map(|t| KeyOwner::Number(t.remote_number)).collect();
    let keyring = KeyPath::dotted("ike.keyring");
    for (i, entry) in profile.ike.keyring.iter().enumerate() {
        if let KeyOwner::Number(number) = entry.owner
            && !called.contains(&entry.owner)
        {
            let path = keyring.index(i).key("number");
            let problem = Problem::warning("ike::unused-key", &path, format!("no tunnel calls {number}"));
            sink.push(problem.label("unused").hint("remove the entry, or correct the number"));
        }
    }
}

/// The lines, or the first of them.
fn some_of(profile: &Profile) -> String {
    const SHOWN: usize = 8;
    let lines = &profile.sip.lines;
    let shown: Vec<_> = lines.iter().take(SHOWN).map(|l| l.number.as_str()).collect();
    let more = if lines.len() > SHOWN { format!(" and {} more", lines.len() - SHOWN) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
