//! `dataplane:`

use super::item::{Item, Table};
use super::prefix::prefix;
use super::text::device;
use crate::diagnose::Problem;
use crate::model::limits::{
    FRAMES_MAX, LAN_ROUTERS_MAX, NAT_TRANSLATIONS_MAX, PEER_SUFFIX, TUNNELS_MAX, WORKERS_MAX,
};
use crate::model::{DataplaneSection, InsideDevice, LanRouter, OutsideDevice, Reassembly, Worker};
use sipsec_net::MacAddr;
use std::num::NonZeroU8;

/// The section, and whether every value of it could be read. Where one could not, its default stands in, so that the
/// other sections can be checked against the rest.
pub fn read(item: &Item<'_>) -> Option<(DataplaneSection, bool)> {
    let table = item.table()?;
    let outside = table.required("outside").and_then(|i| outside(&i));
    let inside = table.required("inside").and_then(|i| inside(&i));
    let worker = table.value("worker", Worker::default(), worker);
    let engine = table.word("engine");
    let xdp_mode = table.word("xdp_mode");
    let bind_mode = table.word("bind_mode");
    let huge_pages = table.flag("huge_pages");
    let (frames, tunnels_max) = (table.int("frames"), table.int("tunnels_max"));
    let nat_translations_max = table.int("nat_translations_max");
    table.finish();
    let (outside, inside) = (outside?, inside?);
    let distinct = outside.device != inside.device();
    if !distinct {
        let path = table.path.key("inside").key("device");
        let message = format!("{} is inside and outside", outside.device);
        table.report(
            Problem::error("dataplane::value", &path, message).hint("inside and outside must be two devices"),
        );
    }
    let whole = distinct
        && worker.is_some()
        && [engine.is_some(), xdp_mode.is_some(), bind_mode.is_some(), huge_pages.is_some()] == [true; 4]
        && frames.is_some()
        && tunnels_max.is_some()
        && nat_translations_max.is_some();
    let section = DataplaneSection {
        worker: worker.unwrap_or_default(),
        engine: engine.unwrap_or_default(),
        xdp_mode: xdp_mode.unwrap_or_default(),
        bind_mode: bind_mode.unwrap_or_default(),
        huge_pages: huge_pages.unwrap_or_default(),
        // The largest contradict no other section.
        frames: frames.unwrap_or(FRAMES_MAX),
        tunnels_max: tunnels_max.unwrap_or(TUNNELS_MAX),
        nat_translations_max: nat_translations_max.unwrap_or(NAT_TRANSLATIONS_MAX),
        outside,
        inside,
    };
    Some((section, whole))
}

fn outside(item: &Item<'_>) -> Option<OutsideDevice> {
    let table = item.table()?;
    let name = table.required("device").and_then(|i| device(&i, 0));
    let dont_fragment = table.word("dont_fragment");
    let reassembly = table.value("reassembly", Reassembly::default(), reassembly);
    table.finish();
    Some(OutsideDevice { device: name?, dont_fragment: dont_fragment?, reassembly: reassembly? })
}

fn reassembly(item: &Item<'_>) -> Option<Reassembly> {
    let table = item.table()?;
    let (datagrams_per_peer, fragments) = (table.int("datagrams_per_peer"), table.int("fragments"));
    let timeout_s = table.int("timeout_s");
    table.finish();
    Some(Reassembly { datagrams_per_peer: datagrams_per_peer?, fragments: fragments?, timeout_s: timeout_s? })
}

fn inside(item: &Item<'_>) -> Option<InsideDevice> {
    let table = item.table()?;
    let mode = table.required("mode").and_then(|i| i.known_word());
    let suffix = if mode == Some("host") { PEER_SUFFIX.len() } else { 0 };
    let name = table.required("device").and_then(|i| device(&i, suffix));
    let mtu = table.int_or_absent("mtu");
    let next_hop = table.value("next_hop", None, |i| mac(i).map(Some));
    let routers = table.list("routers", router);
    table.finish();
    match mode? {
        "router" => {
            let other = foreign(&table, "mtu", "router", "host");
            let next_hop = next_hop?.or_else(|| {
                let path = table.path.key("next_hop");
                let problem =
                    Problem::error("config::missing", &path, format!("`{path}` is missing")).at_key();
                table.report(problem.label("`next_hop` belongs here").hint(MAC_HINT));
                None
            })?;
            other?;
            let routers = routers?;
            if routers.len() > LAN_ROUTERS_MAX {
                let path = table.path.key("routers");
                let message = format!("{} routers are more than {LAN_ROUTERS_MAX}", routers.len());
                let problem = Problem::error("dataplane::value", &path, message);
                table.report(problem.hint("join prefixes, or let the next hop route them"));
                return None;
            }
            Some(InsideDevice::Router { device: name?, next_hop, routers })
        }
        mode => {
            foreign(&table, "next_hop", mode, "router")?;
            foreign(&table, "routers", mode, "router")?;
            let (device, mtu) = (name?, mtu?);
            Some(match mode {
                "tun" => InsideDevice::Tun { device, mtu },
                _ => InsideDevice::Host { device, mtu },
            })
        }
    }
}

/// A router of the LAN and what is behind it.
fn router(item: &Item<'_>) -> Option<LanRouter> {
    let table = item.table()?;
    let prefix = table.required("prefix").and_then(|i| prefix(&i, "dataplane::host-bits"));
    let next_hop = table.required("next_hop").and_then(|i| mac(&i));
    table.finish();
    Some(LanRouter { prefix: prefix?, next_hop: next_hop? })
}

/// A key of the other mode.
fn foreign(table: &Table<'_>, key: &'static str, mode: &str, other: &str) -> Option<()> {
    let Some(item) = table.optional(key) else { return Some(()) };
    let message = format!("`{}` is for mode {other}, and the mode is {mode}", item.path);
    let problem = Problem::error("dataplane::mode", &item.path, message).at_key();
    table.report(problem.hint(format!("remove it, or write `mode: {other}`")));
    None
}

const MAC_HINT: &str = "write the Ethernet address of the LAN's router: `next_hop: \"02:00:5e:10:00:01\"`";

fn mac(item: &Item<'_>) -> Option<MacAddr> {
    let text = item.text()?;
    let parsed = parse_mac(text).filter(|mac| mac.0[0] & 1 == 0);
    if parsed.is_none() {
        item.bad_value(text, "the Ethernet address of one device", MAC_HINT);
    }
    parsed
}

fn parse_mac(text: &str) -> Option<MacAddr> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let hex = |p: &&str| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit());
        *byte = parts.next().filter(hex).and_then(|p| u8::from_str_radix(p, 16).ok())?;
    }
    parts.next().is_none().then_some(MacAddr(mac))
}

fn worker(item: &Item<'_>) -> Option<Worker> {
    let table = item.table()?;
    let count = table.int_or_absent::<u8>("count");
    let core = table.int_or_absent("core");
    let cores = table.list("cores", Item::int::<u16>);
    let idle = table.word("idle");
    let spin_us = table.int("spin_us");
    let busy_poll_us = table.int("busy_poll_us");
    let fifo_priority = table.int_or_absent("fifo_priority");
    table.finish();
    let (core, cores) = (core?, cores?);
    let count = processors(&table, count?, core, &cores)?;
    Some(Worker {
        count,
        core,
        cores,
        idle: idle?,
        spin_us: spin_us?,
        busy_poll_us: busy_poll_us?,
        fifo_priority: fifo_priority?,
    })
}

/// The number of workers where `cores` does not say it, if both agree.
fn processors(
    table: &Table<'_>,
    count: Option<u8>,
    core: Option<u16>,
    cores: &[u16],
) -> Option<Option<NonZeroU8>> {
    let listed = cores.len();
    let by_cores = listed.max(1);
    let workers = count.map_or(by_cores, usize::from);
    let path = table.path.key(if cores.is_empty() { "core" } else { "cores" });
    let (message, hint) = if core.is_some() && !cores.is_empty() {
        (format!("`{path}` and `core` both name processors"), "remove `core`".to_owned())
    } else if core.is_some() && workers > 1 {
        let hint = format!("write `cores: [..]` with {workers} of them");
        (format!("`{path}` names one processor for {workers} workers"), hint)
    } else if listed > usize::from(WORKERS_MAX) {
        (format!("`{path}` has {listed} entries"), format!("write at most {WORKERS_MAX}"))
    } else if listed > 0 && listed != workers {
        let hint = format!("write {workers} of them, or leave `count` out");
        (format!("`{path}` names {listed} processors, and `count` is {workers}"), hint)
    } else if let Some(twice) =
        cores.iter().enumerate().find_map(|(i, c)| cores[..i].contains(c).then_some(c))
    {
        (format!("`{path}` names processor {twice} twice"), "give each worker its own".to_owned())
    } else {
        return Some(count.filter(|_| workers != by_cores).and_then(NonZeroU8::new));
    };
    table.report(Problem::error("dataplane::cores", &path, message).hint(hint));
    None
}
