//! `tunnels:`

use super::item::Item;
use super::prefix::tunnel_route;
use super::text::{device, number};
use crate::diagnose::Problem;
use crate::model::limits::TUNNELS_MAX;
use crate::model::{TriggerQueue, TunnelEntry, TunnelRoute};
use sipsec_net::{Kbps, TunnelId};
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
    let ints = ["bandwidth_kbps", "idle_s", "call_max_s", "metric", "mtu", "one_way_s"]
        .map(|key| table.int_or_absent::<u64>(key).is_some());
    let check_source = table.flag("check_source");
    let probe_path_mtu = table.flag("probe_path_mtu");
    let qos = table.absent_or("qos", tunnel_name);
    let trigger = table.value("trigger", TriggerQueue::default(), trigger);
    let filters = FILTERS.map(|key| table.absent_or(key, tunnel_name).is_some());
    table.finish();
    let _ = (qos?, local?, check_source?, probe_path_mtu?, trigger?);
    let ints = [&ints[..], &filters].concat();
    ints.iter().all(|ok| *ok).then_some(())
}

const FILTERS: [&str; 2] = ["trigger_filter", "idle_filter"];

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
    let routes = table.list("routes", |i| route(i, seen, id));
    let metric = table.int_or_absent("metric");
    let mtu = table.int_or_absent("mtu");
    let check_source = table.flag("check_source");
    let probe_path_mtu = table.flag("probe_path_mtu");
    let routing_hellos = table.flag("routing_hellos");
    let own_device = table.absent_or("device", |i| device(i, 0));
    let unnumbered = table.absent_or("unnumbered", |i| device(i, 0));
    let one_way = table.int_or_absent("one_way_s").map(|s| s.map(Duration::from_secs));
    let nat = table.list("nat", super::nat::rule);
    let qos = table.absent_or("qos", tunnel_name);
    let trigger = table.value("trigger", TriggerQueue::default(), trigger);
    let [trigger_filter, idle_filter] = FILTERS.map(|key| table.absent_or(key, tunnel_name));
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
        probe_path_mtu: probe_path_mtu?,
        routing_hellos: routing_hellos?,
        device: own_device?,
        unnumbered: unnumbered?,
        one_way: one_way?,
        nat: nat?,
        qos: qos?,
        trigger: trigger?,
        trigger_filter: trigger_filter?,
        idle_filter: idle_filter?,
    };
    distinct.then_some(built)
}

fn name(item: &Item<'_>, seen: &mut Seen) -> Option<String> {
    let text = tunnel_name(item)?;
    let message = format!("two tunnels are named {text}");
    seen.claim(item, format!("name {text}"), message, "give each tunnel its own name").then_some(text)
}

/// What may name a tunnel.
pub fn tunnel_name(item: &Item<'_>) -> Option<String> {
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
    Some(text.to_owned())
}

/// Two routes of one prefix need different distances; that is checked with those of `routes`. The same line twice is a slip.
fn route(item: &Item<'_>, seen: &mut Seen, own: TunnelId) -> Option<TunnelRoute> {
    let route = tunnel_route(item)?;
    let message = format!("the route {} appears twice", route.prefix);
    let hint = "remove one of the two, or make it longer";
    seen.claim(item, format!("route {} {}", own.0, route.prefix), message, hint).then_some(route)
}

fn trigger(item: &Item<'_>) -> Option<TriggerQueue> {
    let table = item.table()?;
    let (packets, bytes) = (table.int("packets"), table.int("bytes"));
    let age = table.int("age_ms").map(Duration::from_millis);
    table.finish();
    Some(TriggerQueue { packets: packets?, bytes: bytes?, age: age? })
}
