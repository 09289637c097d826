//! Calls that succeed.

use super::support::{
    answered_calls, ask, both, calls, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered, session,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Knobs, NumberKnobs};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::probe::{Receiver, Sender};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, SVTI, WAN};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use serde_json::{Value, json};
use std::time::Duration;

const HANG_UP_LIMIT: Duration = Duration::from_secs(40);

pub const FIRST_PACKET: Scenario = Scenario {
    about: "the first packet opens the call, no packet is lost, idle ends it, one call is billed",
    run: first_packet,
    ..Scenario::new("first-packet")
};

pub const BURST: Scenario = Scenario {
    about: "as many packets as the trigger queue holds come before the session: none is lost, all in order",
    run: burst,
    ..Scenario::new("burst")
};

pub const HEADEND_CALLS: Scenario = Scenario {
    about: "the same profile answers and calls; INVITE is challenged with 407",
    run: headend_calls,
    ..Scenario::new("headend-calls")
};

pub const GLARE: Scenario = Scenario {
    about: "both sides call at once: one call survives and is billed, no packet is lost",
    run: glare,
    ..Scenario::new("glare")
};

pub const PEER_GONE: Scenario = Scenario {
    about: "a gateway that is stopped hangs up first, and lets nothing out in clear while it is",
    run: peer_shutdown,
    ..Scenario::new("peer-shutdown")
};

fn first_packet(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("first", Knobs::default())?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure_in(&world, world.carrier.calls_up() == 1, "exactly one call is up", || world.carrier.bill_text())?;
    topology_is_told(&world)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;

    let bill = calls(&world.carrier);
    ensure(bill.len() == 1, "one call", || format!("{bill:#?}"))?;
    let call = &bill[0];
    let named = call["caller"] == BRANCH_NUMBER && call["called"] == HEADEND_NUMBER && call["kbps"] == 1000;
    ensure(named, "the bill names both numbers and the rate", || format!("{call:#}"))?;
    let idle = call["ended_by"] == "caller" && call["byes"] == 1;
    ensure(idle, "the side whose idle timer is shorter hangs up, once", || format!("{call:#}"))?;
    no_clear_text(&world)?;
    let stats = world.carrier.stats();
    let clean = stats.malformed == 0 && stats.route_missing == 0 && stats.dialog_unknown == 0;
    ensure(clean, "the carrier has nothing to complain about", || format!("{stats:?}"))?;

    // The next packet opens the next call.
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure(world.carrier.calls() == 2, "a second call", || world.carrier.bill_text())?;
    world.check()
}

/// More packets than the queue holds, sent before the INVITE is even answered.
/// `show dataplane topology` on devices that are made of software.
fn topology_is_told(world: &World) -> Result<(), LabError> {
    let branch = both(world).0;
    let shown = ask(branch, &["show", "dataplane", "topology"])?;
    let [outside, inside] = ["outside", "inside"].map(|side| {
        let devices = shown["devices"].as_array().into_iter().flatten();
        devices.filter(|d| d["side"] == side).collect::<Vec<_>>()
    });
    let is_veth = |devices: &[&Value], name: &str| {
        matches!(devices, [d] if d["device"] == name && d["driver"] == "veth" && d["bus"].is_null()
            && d["attach"] == "copy-driver" && d["need_wakeup"] == true && d["queues"][0]["irqs"] == json!([])
            && d["why_not_better"].as_str().is_some_and(|why| why.contains("os error")))
    };
    let holds = is_veth(&outside, WAN)
        && is_veth(&inside, SVTI)
        && shown["workers"][0]["name"] == "worker-0"
        && shown["umem"]["frames"] == 4096
        && shown["verdicts"].as_array().is_some_and(|v| v.iter().all(|v| v["ok"] == v["cure"].is_null()));
    ensure(holds, "the topology of two veths and one worker", || format!("{shown:#}"))?;
    let text = branch.cli(&["show", "dataplane", "topology"])?;
    ensure(text.lines().all(|line| line.chars().count() <= 80), "80 columns", || text.clone())
}

fn burst(context: &Context) -> Result<(), LabError> {
    /// The bound of the profile's default.
    const QUEUE: u32 = 64;
    const SENT: u32 = 100;
    let held = NumberKnobs { delay: Duration::from_millis(200), ..NumberKnobs::default() };
    let knobs = Knobs { numbers: [(HEADEND_NUMBER.to_owned(), held)].into(), ..Knobs::default() };
    let mut world = context.world("burst", knobs)?;
    world.start_gateways()?;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    for number in 0..SENT {
        sender.send(0, number)?;
    }
    let arrived: Vec<u32> =
        receiver.take(0, QUEUE, Duration::from_secs(10))?.iter().map(|(probe, _)| probe.number).collect();
    let wanted: Vec<u32> = (0..QUEUE).collect();
    ensure_in(&world, arrived == wanted, "the first packets arrive in order", || format!("{arrived:?}"))?;
    // The counters are published now and then.
    let (branch, _) = both(&world);
    let mut traffic = serde_json::Value::Null;
    let counted = wait_for("the counters of the trigger queue", Duration::from_secs(2), || {
        traffic = session(branch, HEADEND_NUMBER)?["traffic"].take();
        let moved = traffic["trigger_queued"] == QUEUE && traffic["trigger_replayed"] == QUEUE;
        Ok((moved && traffic["trigger_dropped"] == SENT - QUEUE).then_some(()))
    });
    counted.map_err(|e| LabError::failed(e.to_string(), format!("{traffic:#}")))?;
    ensure(world.carrier.calls() == 1, "one call", || world.carrier.bill_text())?;
    no_clear_text(&world)?;
    world.check()
}

fn headend_calls(context: &Context) -> Result<(), LabError> {
    let knobs = Knobs { authenticate_invite: true, ..Knobs::default() };
    let mut world = context.world("back", knobs)?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    let call = &calls(&world.carrier)[0];
    ensure(call["caller"] == HEADEND_NUMBER, "the head-end has called", || format!("{call:#}"))?;
    ensure(world.carrier.stats().credentials_refused == 0, "the first answer to 407 is right", String::new)?;
    world.check()
}

/// The carrier holds both INVITEs back, so that each side has called before the other's call comes.
fn glare(context: &Context) -> Result<(), LabError> {
    let held = NumberKnobs { delay: Duration::from_millis(500), ..NumberKnobs::default() };
    let numbers = [BRANCH_NUMBER, HEADEND_NUMBER].map(|n| (n.to_owned(), held.clone()));
    let mut world = context.world("glare", Knobs { numbers: numbers.into(), ..Knobs::default() })?;
    world.start_gateways()?;
    let lans = [(&world.topology.branch_lan, CENTRE_LAN_HOST), (&world.topology.centre_lan, BRANCH_LAN_HOST)];
    std::thread::scope(|scope| {
        let world = &world;
        let pings = lans.map(|(lan, to)| scope.spawn(move || ping_all(world, lan, to)));
        pings
            .into_iter()
            .map(|p| p.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Result<Vec<()>, _>>()
    })?;
    let bill = calls(&world.carrier);
    ensure_in(&world, bill.len() == 2, "both sides have called", || format!("{bill:#?}"))?;
    let up = world.carrier.calls_up();
    let answered = answered_calls(&world.carrier);
    ensure_in(&world, up == 1 && answered.len() == 1, "one call is answered and up", || {
        format!("{bill:#?}")
    })?;
    // Both decide alike without a word: the call of the smaller number stays.
    ensure(answered[0]["caller"] == BRANCH_NUMBER, "the smaller number's call", || format!("{bill:#?}"))?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    no_clear_text(&world)?;
    world.check()
}

fn peer_shutdown(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("stop", Knobs::default())?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let headend = world.headend.as_mut().expect("started");
    if let Some(controlplane) = headend.controlplane() {
        controlplane.terminate();
    }
    ensure(world.carrier.calls_up() == 0, "a stopped gateway leaves a call", || world.carrier.bill_text())?;
    let call = &calls(&world.carrier)[0];
    ensure(call["ended_by"] == "called", "the stopped side hangs up", || format!("{call:#}"))?;
    wait_for("the head-end's unregistration", Duration::from_secs(5), || {
        Ok(world.carrier.registered().iter().all(|n| n != HEADEND_NUMBER).then_some(()))
    })?;

    // The other one, too. Its LAN does not know and goes on sending.
    let branch = world.branch.as_mut().expect("started");
    if let Some(controlplane) = branch.controlplane() {
        controlplane.terminate();
    }
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)
}
