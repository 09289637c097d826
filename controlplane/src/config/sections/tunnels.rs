//! `tunnels:`

use super::number;
use crate::config::diagnostic::Problem;
use crate::config::profile::{INNER_MTU_MIN, TUNNELS_MAX, Trigger, Tunnel};
use crate::config::reader::{Item, Table};
use sipsec_net::prefix::PrefixError;
use sipsec_net::{IpPrefix, Kbps, TunnelId};
use std::collections::HashMap;
use std::time::Duration;

const BANDWIDTH_MAX: u32 = 10_000_000;
/// The seed recommends it.
pub const IDLE_DEFAULT_S: u64 = 120;

/// Tunnels that say nothing of their MTU get the one given.
pub fn read(item: &Item<'_>, mtu: u16) -> Option<Vec<Tunnel>> {
    let items = item.list()?;
    let wanted = items.len();
    if wanted > TUNNELS_MAX {
        let message = format!("{wanted} tunnels are more than {TUNNELS_MAX}");
        item.report(
            Problem::error("tunnels::too-many", &item.path, message)
                .cure("spread them over several gateways"),
        );
        return None;
    }
    let mut seen = Seen::default();
    let mut out = Vec::with_capacity(wanted);
    for (i, entry) in items.iter().enumerate() {
        let id = TunnelId(u32::try_from(i + 1).unwrap_or(u32::MAX)); // at most TUNNELS_MAX
        out.extend(tunnel(entry, id, mtu, &mut seen));
    }
    (out.len() == wanted).then_some(out)
}

/// What two tunnels must not share, and who has it.
#[derive(Default)]
struct Seen(HashMap<String, String>);

impl Seen {
    fn claim(&mut self, at: &Item<'_>, key: String, message: String, cure: &str) -> bool {
        match self.0.get(&key) {
            Some(first) => {
                let problem = Problem::error("tunnels::duplicate", &at.path, message);
                at.report(problem.label(format!("already {first}")).cure(cure));
                false
            }
            None => {
                self.0.insert(key, at.path.to_string());
                true
            }
        }
    }
}

fn tunnel(item: &Item<'_>, id: TunnelId, mtu: u16, seen: &mut Seen) -> Option<Tunnel> {
    let table = item.table()?;
    let name = table.required("name", "Tunnel1").and_then(|i| name(&i, seen));
    let local = table.required("local_number", "\"0388881001\"").and_then(|i| number(&i));
    let remote_item = table.required("remote_number", "\"0388882001\"");
    let remote = remote_item.as_ref().and_then(number);
    let bandwidth = table.required("bandwidth_kbps", "1000").and_then(|i| i.int(1..=BANDWIDTH_MAX)).map(Kbps);
    let idle = super::seconds(&table, "idle_s", IDLE_DEFAULT_S, 1..=86_400);
    let call_max = match table.optional("call_max_s") {
        Some(i) => i.int(60..=2_592_000_u32).map(|s| Some(Duration::from_secs(s.into()))),
        None => Some(None),
    };
    let routes = match table.optional("routes") {
        Some(i) => routes(&i, seen),
        None => Some(Vec::new()),
    };
    let metric = match table.optional("metric") {
        Some(i) => i.int(1..=u32::MAX).map(Some),
        None => Some(None),
    };
    let mtu = match table.optional("mtu") {
        Some(i) => i.int(INNER_MTU_MIN..=u16::MAX),
        None => Some(mtu),
    };
    let check_source = super::flag(&table, "check_source", true);
    let trigger = match table.optional("trigger") {
        Some(i) => i.table().and_then(|t| trigger(&t)),
        None => Some(Trigger::default()),
    };
    table.finish();
    let (local_number, remote_number) = (local?, remote?);
    let distinct = remote_item.is_some_and(|at| {
        if local_number == remote_number {
            let message = format!("the tunnel calls its own number {remote_number}");
            at.report(Problem::error("tunnels::self", &at.path, message).cure("write the peer's number"));
            return false;
        }
        let message = format!("two tunnels join {local_number} and {remote_number}");
        let cure = "one tunnel for each pair of numbers: a call could not tell them apart";
        seen.claim(&at, format!("pair {local_number} {remote_number}"), message, cure)
    });
    let built = Tunnel {
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

fn routes(item: &Item<'_>, seen: &mut Seen) -> Option<Vec<IpPrefix>> {
    let items = item.list()?;
    let wanted = items.len();
    let prefixes: Vec<_> = items.iter().filter_map(|i| route(i, seen)).collect();
    (prefixes.len() == wanted).then_some(prefixes)
}

fn route(item: &Item<'_>, seen: &mut Seen) -> Option<IpPrefix> {
    let text = item.text()?;
    match text.trim().parse::<IpPrefix>() {
        Ok(prefix) if !is_routable(prefix) => {
            let cure = "write the prefixes that are behind the peer, as in 10.2.0.0/16";
            item.bad_value(text, "a network that can be behind a tunnel", cure);
            None
        }
        Ok(prefix) => {
            let message = format!("the route {prefix} stands here twice");
            let cure = "a packet can take one tunnel only: remove one of the two, or make it longer";
            seen.claim(item, format!("route {prefix}"), message, cure).then_some(prefix)
        }
        Err(PrefixError::HostBits(meant)) => {
            let problem = Problem::error(
                "tunnels::host-bits",
                &item.path,
                format!("the prefix {text} has host bits set"),
            );
            let (addr, len) =
                (text.split('/').next().unwrap_or_default(), if meant.addr().is_ipv4() { 32 } else { 128 });
            let cure = format!("write {meant}, or {addr}/{len} for that one host");
            item.report(problem.label(format!("the network is {meant}")).cure(cure));
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

/// Nothing of these is ever forwarded: RFC 1122 §3.2.1.3 loopback, RFC 3927 §2.7 and RFC 4291 §2.5.6 link-local,
/// multicast.
fn is_routable(prefix: IpPrefix) -> bool {
    const NEVER: [&str; 6] =
        ["127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "::1/128", "fe80::/10", "ff00::/8"];
    let mut never = NEVER.iter().filter_map(|p| p.parse::<IpPrefix>().ok());
    !never.any(|never| never.prefix_len() <= prefix.prefix_len() && never.contains(prefix.addr()))
}

fn trigger(table: &Table<'_>) -> Option<Trigger> {
    let default = Trigger::default();
    let packets = table.optional("packets").map_or(Some(default.packets), |i| i.int(1..=4096));
    let bytes = table.optional("bytes").map_or(Some(default.bytes), |i| i.int(1500..=16_777_216));
    let age = match table.optional("age_ms") {
        Some(i) => i.int(1..=60_000_u32).map(|ms| Duration::from_millis(ms.into())),
        None => Some(default.age),
    };
    table.finish();
    Some(Trigger { packets: packets?, bytes: bytes?, age: age? })
}
