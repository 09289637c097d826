//! The primary fails: the tunnel takes over, and hands back.

use super::support::{ask, both, calls, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::failover::{Setup, on_primary, wait_primary, world, world_with};
use crate::lab::interrupt::wait_for;
use crate::lab::netns::run;
use crate::lab::primary::{PRIMARY_WAN, Path};
use crate::lab::probe::{Receiver, Sender};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::World;
use std::time::{Duration, Instant};

const NFT: &[(&str, &str)] = &[("nft", "nftables")];
/// A reader waits up to 1 s for packets that a cut has lost; the call must outlive that.
const IDLE_S: u32 = 2;
const FAILBACK: &str = "hold_s: 1, good_probes: 3, calls_per_hour: 60";
const HANG_UP_LIMIT: Duration = Duration::from_secs(15);

pub const FAILOVER: Scenario = Scenario {
    about: "the primary is cut: the tunnel takes over, hands back, and its call ends by idle",
    run: |context| failover(context, "fo", Path::Cut),
    tools: NFT,
    ..Scenario::new("failover")
};

pub const ROUTER: Scenario = Scenario {
    about: "the same in router mode: the primary's packets pass, the map of prefixes follows the routes, no packet is lost on return",
    run: router_mode,
    tools: NFT,
    ..Scenario::new("failover-router")
};

pub const TABLES: Scenario = Scenario {
    about: "the same with a table of its own for each line: SIP, probes and next hops follow them, and so does the way back",
    run: tables,
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-tables")
};

pub const LOSSY: Scenario = Scenario {
    about: "the same with a primary that loses 95 of 100 packets",
    run: |context| failover(context, "folo", Path::Lossy(95)),
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-lossy")
};

pub const ONE_WAY: Scenario = Scenario {
    about: "the same with a primary that carries one direction alone",
    run: |context| failover(context, "foow", Path::OneWay),
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-one-way")
};

pub const SLOW: Scenario = Scenario {
    about: "the same with a primary so slow that probes come too late",
    // Below what the probes of both ends need.
    run: |context| failover(context, "fosl", Path::Slow(4_000)),
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-slow")
};

pub const BOTH: Scenario = Scenario {
    about: "both ends fail over at the same instant with traffic from both: one call is left, and carries both directions",
    run: both_ends,
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-both")
};

pub const FLAP: Scenario = Scenario {
    about: "a primary that flaps causes no more calls than the profile allows in an hour",
    run: flap,
    tools: NFT,
    ..Scenario::new("failover-flap")
};

pub const CRASH: Scenario = Scenario {
    about: "the control plane is killed while it fails over; the next one finishes, and hands back",
    run: crash,
    tools: NFT,
    ..Scenario::new("failover-crash")
};

pub const DATAPLANE: Scenario = Scenario {
    about: "the dataplane is killed while the primary fails, and again while it is held down: no clear text, and traffic resumes",
    run: |context| dataplane(context, "fodp", false),
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-dataplane")
};

pub const DATAPLANE_ROUTER: Scenario = Scenario {
    about: "the same in router mode",
    run: |context| dataplane(context, "fodpr", true),
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-dataplane-router")
};

pub const PHASES: Scenario = Scenario {
    about: "the ends return to the primary out of step: packets go one way by it and the other way by the tunnel",
    run: phases,
    tools: NFT,
    nightly: true,
    ..Scenario::new("failover-phases")
};

pub const DEVICE: Scenario = Scenario {
    about: "the primary's device is removed and made again: the tunnel takes over, and hands back",
    run: device,
    tools: NFT,
    ..Scenario::new("failover-device")
};

const GAP: Duration = Duration::from_millis(10);

/// The numbers of the packets of this series that arrive from branch to centre while the path becomes another. A slow path
/// may still hold packets of an earlier series.
fn numbered(world: &World, series: u32, packets: u32, path: Path) -> Result<Vec<u32>, LabError> {
    const BEFORE: u32 = 20;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let arrived = std::thread::scope(|scope| {
        let reader = scope.spawn(|| receiver.take(series, packets, GAP * packets + Duration::from_secs(1)));
        for number in 0..packets {
            if number == BEFORE {
                world.topology.primary()?.set(path)?;
            }
            sender.send(series, number)?;
            std::thread::sleep(GAP);
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(arrived.into_iter().map(|(probe, _)| probe.number).collect())
}

/// From before a failure until the tunnel carries the packets.
fn through(world: &mut World, path: Path) -> Result<(), LabError> {
    const PACKETS: u32 = 200;
    let arrived = numbered(world, 0, PACKETS, path)?;
    let last = arrived.iter().max();
    ensure_in(world, last == Some(&(PACKETS - 1)), "the last packet arrives by the tunnel", || {
        format!("{} of {PACKETS} arrived, the last is {last:?}", arrived.len())
    })?;
    wait_primary(world, false)
}

/// The primary is good again: no packet is lost while traffic returns to it.
fn back(world: &mut World) -> Result<(), LabError> {
    // More than the hold-down and its probes.
    const PACKETS: u32 = 250;
    let arrived = numbered(world, 1, PACKETS, Path::Good)?;
    let lost: Vec<_> = (0..PACKETS).filter(|n| !arrived.contains(n)).collect();
    ensure_in(world, lost.is_empty(), "no packet is lost on return", || format!("lost: {lost:?}"))?;
    wait_primary(world, true)
}

/// An operation and a route change, and what the probes have measured stays.
fn changed(world: &World) -> Result<(), LabError> {
    let branch = world.branch.as_ref().expect("started");
    let probes = || -> Result<u64, LabError> {
        Ok(ask(branch, &["show", "ip", "sla", "statistics"])?[0]["statistics"]["sent"].as_u64().unwrap_or(0))
    };
    let start = branch.dir().join("profile.yaml");
    let fail = || LabError::io(start.display().to_string());
    let text = std::fs::read_to_string(&start).map_err(fail())?;
    let more = text.replace("down_count: 2", "down_count: 3").replace(
        "failback:",
        "  - { prefix: 10.77.0.0/16, via: 172.20.0.1, device: wan1, track: 1 }\nfailback:",
    );
    let before = probes()?;
    for (name, text, present) in [("more.yaml", &more, true), ("same.yaml", &text, false)] {
        let path = branch.dir().join(name);
        std::fs::write(&path, text).map_err(fail())?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(fail())?;
        let applied = ask(branch, &["apply", &path.display().to_string()])?;
        ensure(applied["hung_up"] == 0, "applied", || format!("{applied:#}"))?;
        wait_for("the route that changed", HANG_UP_LIMIT, || {
            let routes = run(world.topology.branch.command("ip").args(["route", "show", "10.77.0.0/16"]))?;
            Ok((routes.contains("wan1 proto 83") == present).then_some(()))
        })?;
        ensure(on_primary(branch)? == Some(true), "traffic stays on the primary", String::new)?;
    }
    let after = probes()?;
    ensure(after > before, "the operation's counters go on", || format!("{before} {after}"))
}

fn failover(context: &Context, tag: &str, path: Path) -> Result<(), LabError> {
    let mut world = world(context.places.clone(), tag, FAILBACK, IDLE_S)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    if path == Path::Cut {
        changed(&world)?;
    }
    ensure_in(&world, world.carrier.calls() == 0, "the primary needs no call", || world.carrier.bill_text())?;
    through(&mut world, path)?;
    let track = both(&world).0.cli(&["show", "track"])?;
    ensure(track.contains("Reachability is Down"), "show track tells it", || track.clone())?;
    back(&mut world)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let bill = calls(&world.carrier);
    ensure_in(&world, bill.len() == 1 && bill[0]["byes"] == 1, "one call, which ends once", || {
        world.carrier.bill_text()
    })?;
    // What the primary carried is in clear on the primary alone.
    no_clear_text(&world)?;
    world.check()
}

fn router_mode(context: &Context) -> Result<(), LabError> {
    let setup =
        Setup { tag: "foro", failback: FAILBACK, idle_s: IDLE_S, router_mode: true, ..Setup::default() };
    let mut world = world_with(context.places.clone(), setup)?;
    let route =
        |world: &World| run(world.topology.branch.command("ip").args(["route", "show", "10.2.0.0/16"]));
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls() == 0, "the primary needs no call", || world.carrier.bill_text())?;
    let text = route(&world)?;
    ensure(text.contains("dev wan1 proto 83") && text.contains("blackhole"), "the primary's route", || text)?;
    through(&mut world, Path::Cut)?;
    let text = route(&world)?;
    ensure(!text.contains("wan1") && text.contains("blackhole"), "only the discarding route", || text)?;
    back(&mut world)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    ensure_in(&world, calls(&world.carrier).len() == 1, "one call", || world.carrier.bill_text())?;
    // Without the dataplane the primary still works, and a failed primary leaks nothing.
    let gateway = world.branch.as_mut().expect("started");
    gateway.dataplane().map(crate::lab::process::Process::kill);
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.topology.primary()?.set(Path::Cut)?;
    let branch = world.branch.as_ref().expect("started");
    wait_for("the branch to leave the primary", HANG_UP_LIMIT, || {
        Ok((on_primary(branch)? == Some(false)).then_some(()))
    })?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)
}

fn tables(context: &Context) -> Result<(), LabError> {
    let setup = Setup { tag: "fotab", failback: FAILBACK, idle_s: IDLE_S, tables: true, ..Setup::default() };
    let mut world = world_with(context.places.clone(), setup)?;
    let table =
        |world: &World| run(world.topology.branch.command("ip").args(["route", "show", "table", "1010"]));
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls() == 0, "the primary needs no call", || world.carrier.bill_text())?;
    let there = table(&world)?;
    let back_to_lan = "10.1.0.0/16 dev lan0 proto 83";
    let whole =
        there.contains(back_to_lan) && there.contains("172.21.0.0/24 via 172.20.0.1 dev wan1 proto 83");
    ensure(whole, "the routes of the table", || there)?;
    let main = run(world.topology.branch.command("ip").args(["route", "show"]))?;
    ensure(
        !main.contains("172.21.0.0/24") && !main.contains("default"),
        "they are not in the main table",
        || main,
    )?;
    let shown = both(&world).0.cli(&["show", "ip", "route"])?;
    ensure(shown.contains("Routing Table: 1010"), "they are shown", || shown.clone())?;
    through(&mut world, Path::Cut)?;
    back(&mut world)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    // A route that another program deletes is put back.
    world.topology.branch.ip(&["route", "del", "10.1.0.0/16", "table", "1010"])?;
    wait_for("the deleted route", HANG_UP_LIMIT, || Ok(table(&world)?.contains(back_to_lan).then_some(())))?;
    // The next run takes them over, and what its profile has no more is removed.
    let branch = world.branch.as_mut().expect("started");
    branch.controlplane().map(crate::lab::process::Process::kill);
    ensure(table(&world)?.contains(back_to_lan), "the routes outlive the process", String::new)?;
    let path = world.branch.as_ref().expect("started").profile().to_owned();
    let text = std::fs::read_to_string(&path).map_err(LabError::io("profile"))?;
    let fewer: String =
        text.lines().filter(|l| !l.contains("device: lan0, table")).map(|l| format!("{l}\n")).collect();
    ensure(fewer.len() < text.len(), "the profile has the route", || text.clone())?;
    std::fs::write(&path, fewer).map_err(LabError::io("profile"))?;
    let branch = world.branch.as_mut().expect("started");
    branch.start_controlplane(&world.topology.branch)?;
    wait_for("the end of the route that the profile has no more", HANG_UP_LIMIT, || {
        Ok((!table(&world)?.contains(back_to_lan)).then_some(()))
    })?;
    wait_primary(&mut world, true)?;
    ensure(table(&world)?.contains("172.21.0.0/24"), "the other route stays", String::new)?;
    no_clear_text(&world)?;
    world.check()
}

fn both_ends(context: &Context) -> Result<(), LabError> {
    const PACKETS: u32 = 250;
    let mut world = world(context.places.clone(), "fobo", FAILBACK, 3)?;
    let (branch, centre) = (&world.topology.branch_lan, &world.topology.centre_lan);
    let ends = [
        (Sender::new(branch, CENTRE_LAN_HOST)?, Receiver::new(centre)?),
        (Sender::new(centre, BRANCH_LAN_HOST)?, Receiver::new(branch)?),
    ];
    let last = std::thread::scope(|scope| {
        let take = |receiver: &Receiver| receiver.take(0, PACKETS, GAP * PACKETS + Duration::from_secs(1));
        let readers = ends.each_ref().map(|(_, receiver)| scope.spawn(move || take(receiver)));
        for number in 0..PACKETS {
            if number == 20 {
                world.topology.primary()?.set(Path::Cut)?;
            }
            for (sender, _) in &ends {
                sender.send(0, number)?;
            }
            std::thread::sleep(GAP);
        }
        let mut last = Vec::new();
        for reader in readers {
            let arrived = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            last.push(arrived.iter().map(|(probe, _)| probe.number).max());
        }
        Ok::<_, LabError>(last)
    })?;
    drop(ends);
    ensure_in(&world, last == [Some(PACKETS - 1); 2], "the last packets arrive at both ends", || {
        format!("{last:?}")
    })?;
    ensure_in(&world, world.carrier.calls_up() == 1, "one call is up", || world.carrier.bill_text())?;
    wait_primary(&mut world, false)?;
    back(&mut world)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    no_clear_text(&world)?;
    world.check()
}

fn flap(context: &Context) -> Result<(), LabError> {
    const CALLS: usize = 2;
    let failback = format!("hold_s: 0, good_probes: 1, calls_per_hour: {CALLS}");
    let mut world = world(context.places.clone(), "flap", &failback, 1)?;
    // Without it each packet would be answered with an ICMP error.
    let _receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let end = Instant::now() + Duration::from_secs(10);
    let mut number = 0;
    // Down for 1 s, up for 1 s, with traffic all the time.
    for path in [Path::Cut, Path::Good].into_iter().cycle().take_while(|_| Instant::now() < end) {
        world.topology.primary()?.set(path)?;
        let next = Instant::now() + Duration::from_secs(1);
        while Instant::now() < next {
            sender.send(0, number)?;
            number += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        world.check()?;
    }
    let made = world.carrier.calls();
    ensure_in(&world, (1..=CALLS).contains(&made), "the calls are bounded", || {
        format!("{made} calls\n{}", world.carrier.bill_text())
    })?;
    no_clear_text(&world)
}

fn crash(context: &Context) -> Result<(), LabError> {
    let mut world = world(context.places.clone(), "focr", FAILBACK, IDLE_S)?;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.topology.primary()?.set(Path::Cut)?;
    let mut number = 0;
    let branch = world.branch.as_ref().expect("started");
    // Killed as soon as its route has left the primary: the call is being placed.
    wait_for("the failover", HANG_UP_LIMIT, || {
        sender.send(0, number)?;
        number += 1;
        Ok((on_primary(branch)? == Some(false)).then_some(()))
    })?;
    let branch = world.branch.as_mut().expect("started");
    branch.controlplane().map(crate::lab::process::Process::kill);
    no_clear_text(&world)?;
    let branch = world.branch.as_mut().expect("started");
    branch.start_controlplane(&world.topology.branch)?;
    wait_for("packets by the tunnel", Duration::from_secs(20), || {
        sender.send(1, number)?;
        number += 1;
        Ok((!receiver.take(1, 1, Duration::from_millis(50))?.is_empty()).then_some(()))
    })?;
    no_clear_text(&world)?;
    world.topology.primary()?.set(Path::Good)?;
    wait_primary(&mut world, true)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    no_clear_text(&world)
}

fn dataplane(context: &Context, tag: &str, router_mode: bool) -> Result<(), LabError> {
    const FAILBACK: &str = "hold_s: 3, good_probes: 3, calls_per_hour: 60";
    let setup = Setup { tag, failback: FAILBACK, idle_s: IDLE_S, router_mode, ..Setup::default() };
    let mut world = world_with(context.places.clone(), setup)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let mut number = 0;
    let mut by_tunnel = |world: &World, series| {
        wait_for("packets by the tunnel", Duration::from_secs(20), || {
            sender.send(series, number)?;
            number += 1;
            Ok((!receiver.take(series, 1, Duration::from_millis(50))?.is_empty()).then_some(()))
        })?;
        no_clear_text(world)
    };
    // Killed as soon as the route has left the primary: the call is being placed.
    world.topology.primary()?.set(Path::Cut)?;
    wait_primary(&mut world, false)?;
    sender.send(0, 0)?;
    kill_dataplane(&mut world)?;
    no_clear_text(&world)?;
    start_dataplane(&mut world)?;
    by_tunnel(&world, 1)?;
    // And while the primary is held down: the tunnel is still in use.
    world.topology.primary()?.set(Path::Good)?;
    kill_dataplane(&mut world)?;
    no_clear_text(&world)?;
    start_dataplane(&mut world)?;
    wait_primary(&mut world, true)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    // The tunnel takes over again.
    world.topology.primary()?.set(Path::Cut)?;
    wait_primary(&mut world, false)?;
    by_tunnel(&world, 2)?;
    world.topology.primary()?.set(Path::Good)?;
    wait_primary(&mut world, true)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let bill = calls(&world.carrier);
    ensure_in(&world, bill.iter().all(|call| call["byes"] == 1), "each call ends once", || {
        world.carrier.bill_text()
    })?;
    no_clear_text(&world)
}

fn kill_dataplane(world: &mut World) -> Result<(), LabError> {
    let gateway = world.branch.as_mut().expect("started");
    gateway.dataplane().map(crate::lab::process::Process::kill);
    let branch = world.branch.as_ref().expect("started");
    wait_for("the control plane to miss its dataplane", HANG_UP_LIMIT, || {
        Ok((!branch.cli(&["show", "vpn-sip", "session"])?.contains("SESSION_UP")).then_some(()))
    })
}

fn start_dataplane(world: &mut World) -> Result<(), LabError> {
    let gateway = world.branch.as_mut().expect("started");
    gateway.start_dataplane(&world.topology.branch)
}

fn phases(context: &Context) -> Result<(), LabError> {
    let setup = Setup {
        tag: "foph",
        failback: FAILBACK,
        idle_s: IDLE_S,
        branch: &[("hold_s: 1", "hold_s: 6")],
        ..Setup::default()
    };
    let mut world = world_with(context.places.clone(), setup)?;
    let both_ways = |world: &World| {
        ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
        ping_all(world, &world.topology.centre_lan, BRANCH_LAN_HOST)
    };
    both_ways(&world)?;
    world.topology.primary()?.set(Path::Cut)?;
    wait_primary(&mut world, false)?;
    both_ways(&world)?;
    for _ in 0..2 {
        world.topology.primary()?.set(Path::Good)?;
        let headend = world.headend.as_ref().expect("started");
        wait_for("the head-end to return first", HANG_UP_LIMIT, || {
            Ok((on_primary(headend)? == Some(true)).then_some(()))
        })?;
        let branch = world.branch.as_ref().expect("started");
        ensure(on_primary(branch)? == Some(false), "the branch is still in the tunnel", String::new)?;
        both_ways(&world)?;
        ensure_in(&world, world.carrier.calls_up() == 1, "its call is up", || world.carrier.bill_text())?;
        world.topology.primary()?.set(Path::Cut)?;
        wait_primary(&mut world, false)?;
        both_ways(&world)?;
    }
    world.topology.primary()?.set(Path::Good)?;
    wait_primary(&mut world, true)?;
    both_ways(&world)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let bill = calls(&world.carrier);
    ensure_in(&world, bill.len() == 1 && bill[0]["byes"] == 1, "one call, which ends once", || {
        world.carrier.bill_text()
    })?;
    no_clear_text(&world)?;
    world.check()
}

fn device(context: &Context) -> Result<(), LabError> {
    let mut world = world(context.places.clone(), "fodev", FAILBACK, IDLE_S)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.topology.branch.ip(&["link", "del", PRIMARY_WAN])?;
    wait_primary(&mut world, false)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.topology.primary()?.rejoin_branch(&world.topology.branch)?;
    wait_primary(&mut world, true)?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    no_clear_text(&world)?;
    world.check()
}
