//! Calls that succeed.

use super::{Context, Scenario, ensure};
use crate::lab::carrier::Knobs;
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::sync::atomic::Ordering;
use std::time::Duration;

const HANG_UP_LIMIT: Duration = Duration::from_secs(40);

pub const FIRST_PACKET: Scenario = Scenario {
    name: "first-packet",
    about: "the first packet opens the call, no packet is lost, idle ends it, one call is billed",
    gateways: true,
    run: first_packet,
};

pub const HEADEND_CALLS: Scenario = Scenario {
    name: "headend-calls",
    about: "the same profile answers and calls; INVITE is challenged with 407",
    gateways: true,
    run: headend_calls,
};

pub const PEER_GONE: Scenario = Scenario {
    name: "peer-shutdown",
    about: "a gateway that is stopped hangs up first",
    gateways: true,
    run: peer_shutdown,
};

/// Ten pings, all answered.
fn ping_all(world: &World, from: &Namespace, to: &str) -> Result<(), LabError> {
    let args = ["-c", "10", "-i", "0.05", "-W", "5", to];
    let output = run(from.command("ping").args(args))
        .map_err(|e| LabError::failed("ping", format!("{e}{}", logs(world))))?;
    ensure(output.contains(" 0% packet loss"), "packets were lost", || output.clone() + &logs(world))
}

fn first_packet(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("first", Knobs::default())?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure(world.carrier.calls_up() == 1, "exactly one call is up", || world.carrier.bill_text())?;
    world.wait_hung_up(HANG_UP_LIMIT)?;

    let bill = world.carrier.bill_json();
    let calls = bill["calls"].as_array().cloned().unwrap_or_default();
    ensure(calls.len() == 1, "one call", || bill.to_string())?;
    let call = &calls[0];
    ensure(
        call["caller"] == BRANCH_NUMBER && call["called"] == HEADEND_NUMBER && call["kbps"] == 1000,
        "the bill names both numbers and the rate",
        || bill.to_string(),
    )?;
    ensure(call["ended_by"] == "caller", "the side whose idle timer is shorter hangs up", || {
        bill.to_string()
    })?;
    let clear = world.tally.clear_text.load(Ordering::Relaxed);
    ensure(clear == 0, "nothing goes in clear", || format!("{clear} packets"))?;
    let stats = world.carrier.stats();
    ensure(
        stats.malformed == 0 && stats.route_missing == 0 && stats.dialog_unknown == 0,
        "the carrier has nothing to complain about",
        || format!("{stats:?}"),
    )?;

    // And again: the next packet opens the next call.
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    ensure(world.carrier.calls() == 2, "a second call", || world.carrier.bill_text())
}

fn headend_calls(context: &Context) -> Result<(), LabError> {
    let knobs = Knobs { authenticate_invite: true, ..Knobs::default() };
    let mut world = context.world("back", knobs)?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    let bill = world.carrier.bill_json();
    let call = &bill["calls"][0];
    ensure(call["caller"] == HEADEND_NUMBER, "the head-end has called", || bill.to_string())?;
    ensure(world.carrier.stats().credentials_refused == 0, "the first answer to 407 is right", String::new)
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
    let bill = world.carrier.bill_json();
    ensure(bill["calls"][0]["ended_by"] == "called", "the stopped side hangs up", || bill.to_string())?;
    wait_for("the head-end's unregistration", Duration::from_secs(5), || {
        Ok(world.carrier.registered().iter().all(|n| n != HEADEND_NUMBER).then_some(()))
    })
}
