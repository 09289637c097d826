//! `tunnels:`

use super::item::Item;
use super::text::number;
use crate::diagnose::{Problem, shown_raw};
use crate::model::limits::TUNNELS_MAX;
use crate::model::{TriggerQueue, TunnelEntry};
use sipsec_net::prefix::PrefixError;
use sipsec_net::{IpPrefix, Kbps, TunnelId};
use std::collections::HashMap;
use std::time::Duration;

pub fn read(item: &Item<'_>) -> Option<Vec<TunnelEntry>> {
    let items = item.list()?;
    let wanted = items.len();
    if wanted > TUNNELS_MAX as usize {
        let message = format!("{wanted} tunnels are more than {TUNNELS_MAX}");
        item.report(
            Problem::error("tunnels::too-many", &item.path, message)
                .hint("spread them over several gateways"),
        );
        return None;
    }
    let mut seen = Seen::default();
    let mut out = Vec::with_capacity(wanted);
    for (entry, id) in items.iter().zip(1..) {
        out.extend(tunnel(entry, TunnelId(id), &mut seen));
    }
    (out.len() == wanted).then_some(out)
}

/// The values are read with each tunnel that takes them; here they are checked once, so that an error in them is reported
/// once.
pub fn defaults(item: &Item<'_>) -> Option<()> {
    let table = item.table()?;
    let local = table.value("local_number", None, |i| number(i).map(Some));
    let ints = ["bandwidth_kbps", "idle_s", "call_max_s", "metric", "mtu"]
        .map(|key| table.int_or_absent::<u64>(key).is_some());
    let check_source = table.flag("check_source");
    let trigger = table.value("trigger", TriggerQueue::default(), trigger);
    table.finish();
    let _ = (local?, check_source?, trigger?);
    ints.iter().all(|ok| *ok).then_some(())
}

/// What two tunnels must not share, and the path of its owner.
#[derive(Default)]
struct Seen(HashMap<String, String>);

impl Seen {
    fn claim(&mut self, at: &Item<'_>, key: String, message: String, hint: &str) -> bool {
        match self.0.get(&key) {
            Some(first) => {
                let problem = Problem::error("tunnels::duplicate", &at.path, message);
                at.report(problem.label(format!("already {first}")).hint(hint));
                false
            }
            None => {
                self.0.insert(key, at.path.to_string());
                true
            }
        }
    }
}

fn tunnel(item: &Item<'_>, id: TunnelId, seen: &mut Seen) -> Option<TunnelEntry> {
    let table = item.table()?;
    let name = table.required("name").and_then(|i| name(&i, seen));
    let local = table.required("local_number").and_then(|i| number(&i));
    let remote_item = table.required("remote_number");
    let remote = remote_item.as_ref().and_then(number);
    let bandwidth = table.int("bandwidth_kbps").map(Kbps);
    let idle = table.seconds("idle_s");
    let call_max = table.int_or_absent("call_max_s").map(|s| s.map(Duration::from_secs));
    let routes = table.list("routes", |i| route(i, seen));
    let metric = table.int_or_absent("metric");
    let mtu = table.int_or_absent("mtu");
    let check_source = table.flag("check_source");
    let routing_hellos = table.flag("routing_hellos");
    let trigger = table.value("trigger", TriggerQueue::default(), trigger);
    table.finish();
    let (local_number, remote_number) = (local?, remote?);
    let distinct = remote_item.is_some_and(|at| {
        if local_number == remote_number {
            let message = format!("the tunnel calls its own number {remote_number}");
            at.report(Problem::error("tunnels::self", &at.path, message).hint("write the peer's number"));
            return false;
        }
        let message = format!("two tunnels join {local_number} and {remote_number}");
        let hint = "one tunnel for each pair of numbers: a call could not tell them apart";
        seen.claim(&at, format!("pair {local_number} {remote_number}"), message, hint)
    });
    let built = TunnelEntry {
        id,
        name: name?,
        local_number,
        remote_number,
        bandwidth: bandwidth?,
        idle: idle?,
        call_max: call_max?,
        routes: routes?,
        metric: metric?,
        mtu: mtu?,
        check_source: check_source?,
        routing_hellos: routing_hellos?,
        trigger: trigger?,
    };
    distinct.then_some(built)
}

fn name(item: &Item<'_>, seen: &mut Seen) -> Option<String> {
    let text = item.text()?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if text.is_empty() || text.len() > 32 || !text.chars().all(legal) {
        item.bad_value(
            text,
            "a tunnel's name",
            "use 1 to 32 letters, digits, '-', '_', '.' and '/', as in Tunnel1",
        );
        return None;
    }
    let message = format!("two tunnels are named {text}");
    seen.claim(item, format!("name {text}"), message, "give each tunnel its own name")
        .then(|| text.to_owned())
}

fn route(item: &Item<'_>, seen: &mut Seen) -> Option<IpPrefix> {
    let text = item.text()?;
    match text.trim().parse::<IpPrefix>() {
        Ok(prefix) if !is_routable(prefix) => {
            let hint = "write the prefixes that are behind the peer, as in 10.2.0.0/16";
            item.bad_value(text, "a network that can be behind a tunnel", hint);
            None
        }
        Ok(prefix) => {
            let message = format!("the route {prefix} appears twice");
            let hint = "a packet can take one tunnel only: remove one of the two, or make it longer";
            seen.claim(item, format!("route {prefix}"), message, hint).then_some(prefix)
        }
        Err(PrefixError::HostBits(meant)) => {
            let message = format!("the prefix {} has host bits set", shown_raw(text));
            let problem = Problem::error("tunnels::host-bits", &item.path, message);
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

fn trigger(item: &Item<'_>) -> Option<TriggerQueue> {
    let table = item.table()?;
    let (packets, bytes) = (table.int("packets"), table.int("bytes"));
    let age = table.int("age_ms").map(Duration::from_millis);
    table.finish();
    Some(TriggerQueue { packets: packets?, bytes: bytes?, age: age? })
}
