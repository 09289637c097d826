//! Faults of the field: floods, flaps and crashes that once cost an outage, money or clear text.

use super::support::{
    answered_calls, both, calls, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered, session,
    wait_called_again, wait_status,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Knobs, NumberKnobs};
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::{check, wait_for};
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use crate::lab::topology::{CARRIER_BRANCH_SIDE, CENTRE_LAN_HOST, CENTRE_PREFIX, SVTI};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

pub const ADDRESS_SCAN: Scenario = Scenario {
    about: "a scan of the tunnel's own prefix stops neither routes nor calls",
    run: address_scan,
    ..Scenario::new("fault-address-scan")
};

pub const ROUTE_CHURN: Scenario = Scenario {
    about: "a routing daemon that adds and removes 50,000 routes stops neither routes nor calls",
    run: route_churn,
    ..Scenario::new("fault-route-churn")
};

pub const RINGING_CRASH: Scenario = Scenario {
    about: "a control plane that dies while it rings: the old call ends before the next begins",
    run: ringing_crash,
    ..Scenario::new("fault-ringing-crash")
};

pub const CALLED_CRASH: Scenario = Scenario {
    about: "a called control plane that dies between its 180 and its 200: the next one refuses the call, and the caller does not ring on",
    run: called_crash,
    ..Scenario::new("fault-called-crash")
};

pub const DATAPLANE_FLAPS: Scenario = Scenario {
    about: "a dataplane that dies again and again: calls back off",
    run: dataplane_flaps,
    ..Scenario::new("fault-dataplane-flaps")
};

pub const CARRIER_RESTART: Scenario = Scenario {
    about: "a carrier that forgot the registrations is registered with anew at once",
    run: carrier_restart,
    ..Scenario::new("fault-carrier-restart")
};

pub const SVTI_AWAY: Scenario = Scenario {
    about: "the sVTI down or deleted: nothing leaves in clear",
    run: svti_away,
    ..Scenario::new("fault-svti-away")
};

/// How soon a deleted route is back, and a call comes up.
const RECOVERY: Duration = Duration::from_secs(15);
const SCAN: Duration = Duration::from_secs(8);
/// Packets of a scan between two looks at the clock; 20,000 a second.
const SCAN_BURST: u32 = 200;
const SCAN_GAP: Duration = Duration::from_millis(10);
/// One for each address family, and the groups of both.
const NEIGHBOURS_MAX: usize = 8;
const CHURN_ROUTES: u32 = 50_000;
const CHURN_ROUNDS: usize = 2;

fn address_scan(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("scan", Knobs::default())?;
    world.start_gateways()?;
    // The centre has hosts in 10.2.0.0/24 alone; what comes out of the tunnel for the rest must not take its default route.
    world.topology.headend.ip(&["route", "add", "blackhole", CENTRE_PREFIX])?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    scan(&world.topology.branch_lan)?;
    let name = world.topology.branch.name();
    let shown = ["-n", name, "neigh", "show", "dev", SVTI, "nud", "all"];
    let neighbours = run(std::process::Command::new("ip").args(shown))?;
    let few = neighbours.lines().count() <= NEIGHBOURS_MAX;
    ensure_in(&world, few, "the sVTI has one neighbour for all destinations", || neighbours.clone())?;
    still_serves(&mut world)
}

/// One packet to each of many addresses of the centre's prefix.
fn scan(lan: &Namespace) -> Result<(), LabError> {
    let socket = lan.run(|| UdpSocket::bind("0.0.0.0:0"))?;
    socket.set_nonblocking(true).map_err(LabError::io("scan"))?;
    let (start, mut sent) = (Instant::now(), 0u32);
    while start.elapsed() < SCAN {
        check()?;
        for _ in 0..SCAN_BURST {
            sent = sent.wrapping_add(1);
            // 40,503 is odd, so every host of the /16 has its turn.
            let host = sent.wrapping_mul(40_503) as u16;
            let [high, low] = host.to_be_bytes();
            // A full queue of the LAN host loses packets, as a scanner does.
            let _ = socket.send_to(&[0; 16], (Ipv4Addr::new(10, 2, high, low), 9));
        }
        let due = SCAN_GAP * (sent / SCAN_BURST);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    Ok(())
}

fn route_churn(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("churn", Knobs::default())?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let directory = world.profile("branch")?.dir().to_owned();
    for round in 0..CHURN_ROUNDS {
        for verb in ["add", "del"] {
            let mut batch = String::new();
            for i in 0..CHURN_ROUTES {
                let [_, b, c, d] = i.to_be_bytes();
                let _ = writeln!(batch, "route {verb} 172.{}.{c}.{d}/32 via {CARRIER_BRANCH_SIDE}", 16 + b);
            }
            let path = directory.join(format!("churn-{round}-{verb}"));
            std::fs::write(&path, batch).map_err(LabError::io("churn"))?;
            run(std::process::Command::new("ip")
                .args(["-n", world.topology.branch.name(), "-force", "-batch"])
                .arg(&path))?;
        }
    }
    still_serves(&mut world)
}

/// A route that goes comes back, and a call can be hung up and placed.
fn still_serves(world: &mut World) -> Result<(), LabError> {
    world.check()?;
    world.topology.branch.ip(&["route", "del", CENTRE_PREFIX, "dev", SVTI])?;
    wait_for("the route that was deleted", RECOVERY, || Ok(has_route(world)?.then_some(())))
        .map_err(|e| LabError::failed(e.to_string(), crate::lab::demo::logs(world)))?;
    super::support::clear_all(world)?;
    let (world, lan) = (&*world, &world.topology.branch_lan);
    wait_called_again(world, || {
        // The trigger itself may time out while the machine is busy.
        let _ = run(lan.command("ping").args(["-c", "1", "-W", "2", CENTRE_LAN_HOST]));
        Ok(())
    })?;
    wait_status(world, both(world).0, HEADEND_NUMBER, "SESSION_UP")?;
    ping_all(world, lan, CENTRE_LAN_HOST)?;
    no_clear_text(world)
}

fn has_route(world: &World) -> Result<bool, LabError> {
    let name = world.topology.branch.name();
    let routes = run(std::process::Command::new("ip").args(["-n", name, "route", "show", "dev", SVTI]))?;
    Ok(routes.contains(CENTRE_PREFIX))
}

fn ringing_crash(context: &Context) -> Result<(), LabError> {
    let held = NumberKnobs { delay: Duration::from_secs(3), ..NumberKnobs::default() };
    let mut knobs = Knobs::default();
    knobs.numbers.insert(HEADEND_NUMBER.into(), held);
    let mut world = context.world("ring", knobs)?;
    world.start_gateways()?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    wait_for("the INVITE", RECOVERY, || Ok((world.carrier.calls() == 1).then_some(())))?;
    let branch = world.branch.as_mut().expect("started");
    branch.controlplane().map(Process::kill);
    branch.start_controlplane(&world.topology.branch)?;
    // The next packet asks for a call while the old one may still ring.
    wait_called_again(&world, || ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST))?;
    let calls = calls(&world.carrier);
    let (old_ended, next_began) = (calls[0]["ended_at_s"].as_f64(), calls[1]["invited_at_s"].as_f64());
    let in_order = old_ended.zip(next_began).is_some_and(|(end, begin)| end <= begin);
    ensure_in(&world, in_order, "the old call ends before the next one begins", || format!("{calls:#?}"))?;
    world.carrier.set_knobs(|knobs| knobs.numbers.clear());
    wait_status(&world, both(&world).0, HEADEND_NUMBER, "SESSION_UP")?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)
}

/// The called side's dataplane stands still, so that the media port stays closed and the call rings.
fn called_crash(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("called", Knobs::default())?;
    world.start_gateways()?;
    let headend = world.headend.as_mut().expect("started");
    headend.dataplane().expect("started").pause();
    let mut told = both(&world).0.events();
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let mut log = Vec::new();
    wait_for("the caller to hear ringing", RECOVERY, || {
        log.extend(told.lines());
        Ok(log.iter().any(|line| line.contains("180 from the called side")).then_some(()))
    })?;
    let headend = world.headend.as_mut().expect("started");
    headend.controlplane().map(Process::kill);
    headend.dataplane().expect("started").resume();
    let killed = Instant::now();
    headend.start_controlplane(&world.topology.headend)?;
    wait_for("the end of the call that rang", RECOVERY, || {
        Ok((!calls(&world.carrier)[0]["ended_at_s"].is_null()).then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    let took = killed.elapsed();
    let call = &calls(&world.carrier)[0];
    // Without the refusal the caller gives up after 40 s.
    ensure_in(
        &world,
        took < RECOVERY && call["answered_at_s"].is_null(),
        "it ends soon, unanswered",
        || format!("{took:?} {call:#}"),
    )?;
    let failure = session(both(&world).0, HEADEND_NUMBER)?["last_failure"].clone();
    let told = failure["reason"].as_str().is_some_and(|reason| reason.contains("the gateway restarted"));
    ensure_in(&world, told, "the caller is told why", || format!("{failure:#}"))?;
    world.wait_registered(&[HEADEND_NUMBER])?;
    no_clear_text(&world)
}

/// Time over which the dataplane dies whenever the tunnel is up, and the calls that this may cost: the first at once, one
/// more at once, then after 5 and 10 s with a quarter of jitter.
const FLAPS: Duration = Duration::from_secs(15);
const FLAP_CALLS_MAX: usize = 4;

fn dataplane_flaps(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("flap", Knobs::default())?;
    world.start_gateways()?;
    let start = Instant::now();
    while start.elapsed() < FLAPS {
        check()?;
        let _ = run(world.topology.branch_lan.command("ping").args(["-c", "1", "-W", "1", CENTRE_LAN_HOST]));
        if world.carrier.calls_up() > 0 {
            let branch = world.branch.as_mut().expect("started");
            branch.dataplane().map(Process::kill);
            branch.start_dataplane(&world.topology.branch)?;
        }
    }
    let answered = answered_calls(&world.carrier);
    ensure_in(&world, answered.len() <= FLAP_CALLS_MAX, "calls back off when the dataplane dies", || {
        format!("{} calls in {} s: {answered:#?}", answered.len(), FLAPS.as_secs())
    })?;
    world.wait_hung_up(RECOVERY)?;
    no_clear_text(&world)
}

fn carrier_restart(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("carrier", Knobs::default())?;
    world.start_gateways()?;
    world.carrier.forget_registrations();
    ensure(world.carrier.registered().is_empty(), "the carrier has forgotten", String::new)?;
    // The first call is refused, and says that the line is not registered.
    let _ = run(world.topology.branch_lan.command("ping").args(["-c", "1", "-W", "1", CENTRE_LAN_HOST]));
    world.wait_registered(&[BRANCH_NUMBER])?;
    no_clear_text(&world)?;
    world.check()
}

fn svti_away(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("svti", Knobs::default())?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    // The gateway may mend its device at once, so a ping may be answered; it must not leave in clear.
    let pings = |world: &World| {
        for _ in 0..3 {
            let ping = world
                .topology
                .branch_lan
                .command("ping")
                .args(["-c", "1", "-W", "1", CENTRE_LAN_HOST])
                .output();
            drop(ping);
        }
        no_clear_text(world)
    };
    world.topology.branch.ip(&["link", "set", SVTI, "down"])?;
    pings(&world)?;
    wait_for("the route after the device was down", RECOVERY, || Ok(has_route(&world)?.then_some(())))?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;

    world.topology.branch.ip(&["link", "del", SVTI])?;
    pings(&world)?;
    // The same process makes the device again, and binds its sockets to it.
    wait_for("the route into the new sVTI", RECOVERY, || Ok(has_route(&world)?.then_some(())))
        .map_err(|e| LabError::failed(e.to_string(), crate::lab::demo::logs(&world)))?;
    world.branch.as_mut().expect("started").wait_ready()?;
    wait_for("an answer through the new sVTI", RECOVERY, || {
        let ping =
            run(world.topology.branch_lan.command("ping").args(["-c", "1", "-W", "2", CENTRE_LAN_HOST]));
        Ok(ping.is_ok().then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), crate::lab::demo::logs(&world)))?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    world.check()
}
