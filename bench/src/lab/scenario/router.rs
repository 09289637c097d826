//! Router mode: XDP on the LAN device takes what is for a tunnel; the kernel keeps the rest.

use super::support::{both, calls, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::failover::router;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::run;
use crate::lab::probe::Sender;
use crate::lab::topology::{BRANCH_LAN_HOST, CARRIER_BRANCH_SIDE, CENTRE_LAN_HOST, Options};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const LAN_ROUTERS: Scenario = Scenario {
    about: "router mode: routers of the LAN beside the next hop get what is behind them, and those of one prefix share its flows",
    run: lan_routers,
    ..Scenario::new("lan-routers")
};

pub const FIRST_PACKET: Scenario = Scenario {
    about: "the first packet in router mode; other traffic passes; a killed dataplane leaks nothing",
    run: first_packet,
    ..Scenario::new("router-mode")
};

fn first_packet(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "router".into(), router_mode: true, ..Options::default() };
    let mut world = World::up(context.places.clone(), options, Knobs::default())?;
    let branch = router(&world, "branch", &world.topology.branch_lan)?;
    let headend = router(&world, "headend", &world.topology.centre_lan)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    // What is not for a tunnel goes its way: here to the gateway itself.
    run(world.topology.branch_lan.command("ping").args(["-c", "1", "-W", "2", "10.1.0.1"]))?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, _) = both(&world);
    let routes = super::support::ask(branch, &["show", "control"])?["routes"].take();
    ensure(routes.as_object().is_none_or(serde_json::Map::is_empty), "no kernel route", || {
        routes.to_string()
    })?;
    no_clear_text(&world)?;
    world.wait_hung_up(Duration::from_secs(40))?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    ensure_in(&world, calls(&world.carrier).len() == 2, "two calls", || world.carrier.bill_text())?;

    // The kernel would route what XDP no longer takes, by its default route to the carrier.
    let gateway = world.branch.as_mut().expect("started");
    gateway.dataplane().map(crate::lab::process::Process::kill);
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(Duration::from_secs(10))?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    let reachable =
        run(world.topology.branch.command("ping").args(["-c", "1", "-W", "2", CARRIER_BRANCH_SIDE]));
    ensure(reachable.is_ok(), "the kernel still has its WAN", String::new)
}

/// Devices of the LAN's host that stand for two routers of one prefix, and one of another.
const ROUTERS: [(&str, &str, &str); 3] = [
    ("r2", "02:00:00:00:09:02", "10.1.8.0/24"),
    ("r3", "02:00:00:00:09:03", "10.1.8.0/24"),
    ("r4", "02:00:00:00:09:04", "10.1.8.128/25"),
];

fn lan_routers(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "lanr".into(), router_mode: true, ..Options::default() };
    let mut world = World::up(context.places.clone(), options, Knobs::default())?;
    let lan = &world.topology.branch_lan;
    for (device, mac, _) in ROUTERS {
        lan.ip(&[
            "link", "add", "link", "eth0", "name", device, "address", mac, "type", "macvlan", "mode",
            "bridge",
        ])?;
        lan.ip(&["link", "set", device, "up"])?;
    }
    for address in ["10.1.8.1/32", "10.1.8.129/32"] {
        lan.ip(&["addr", "add", address, "dev", "lo"])?;
    }
    let entries = ROUTERS.map(|(_, mac, prefix)| format!("{{ prefix: {prefix}, next_hop: \"{mac}\" }}"));
    let branch = router(&world, "branch", lan)?;
    let routers = format!("inside: {{ routers: [{}], mode: router", entries.join(", "));
    let branch = branch.with("inside: { mode: router", &routers)?;
    let headend = router(&world, "headend", &world.topology.centre_lan)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    let received = |world: &World| -> Result<[u64; 3], LabError> {
        let mut out = [0; 3];
        for (count, (device, ..)) in out.iter_mut().zip(ROUTERS) {
            let path = format!("/sys/class/net/{device}/statistics/rx_packets");
            let text = run(world.topology.branch_lan.command("cat").arg(path))?;
            *count = text.trim().parse().unwrap_or_default();
        }
        Ok(out)
    };
    // To the next hop, as ever.
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    let before = received(&world)?;
    ping_all(&world, &world.topology.centre_lan, "10.1.8.129")?;
    let after = received(&world)?;
    ensure(after[2] >= before[2] + 10 && after[..2] == before[..2], "the longest prefix counts", || {
        format!("{before:?} {after:?}")
    })?;
    // 32 flows: none of two routers is without any, but once in 2^31.
    let senders: Vec<_> =
        (0..32).map(|_| Sender::new(&world.topology.centre_lan, "10.1.8.1")).collect::<Result<_, _>>()?;
    for sender in &senders {
        sender.send(0, 0)?;
    }
    wait_for("all flows at the two routers", Duration::from_secs(5), || {
        let now = received(&world)?;
        let each = [now[0] - after[0], now[1] - after[1]];
        Ok((each.iter().sum::<u64>() >= 32 && each.iter().all(|n| *n > 0)).then_some(()))
    })?;
    no_clear_text(&world)?;
    world.check()
}
