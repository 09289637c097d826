//! Processes that die without a word.

use super::support::{
    answered_calls, both, calls, ensure, ensure_in, no_clear_text, ping_all, ping_unanswered, wait_back_off,
    wait_status,
};
use super::{Context, Scenario};
use crate::lab::carrier::Knobs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::probe::{Receiver, Sender};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::time::Duration;

pub const CONTROL_PLANE: Scenario = Scenario {
    about: "a killed control plane loses no packet; the next one ends its call",
    run: control_plane,
    ..Scenario::new("controlplane-killed")
};

pub const DATAPLANE: Scenario = Scenario {
    about: "a killed dataplane: the call is hung up, nothing goes in clear, the next one calls again",
    run: dataplane,
    ..Scenario::new("dataplane-killed")
};

pub const POWER_CUT: Scenario = Scenario {
    about: "a gateway that vanishes is noticed by the other, which hangs up",
    run: power_cut,
    nightly: true,
    ..Scenario::new("power-cut")
};

const HANG_UP_LIMIT: Duration = Duration::from_secs(10);
/// Numbered packets while the control plane is dead: one second's.
const PACKETS: u32 = 100;
const GAP: Duration = Duration::from_millis(10);

fn control_plane(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("cp", Knobs::default())?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let receiver = Receiver::new(&world.topology.centre_lan)?;
    let sender = Sender::new(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let arrived = std::thread::scope(|scope| {
        let reader = scope.spawn(|| receiver.take(0, PACKETS, Duration::from_secs(10)));
        for number in 0..PACKETS {
            if number == PACKETS / 10 {
                let branch = world.branch.as_mut().expect("started");
                branch.controlplane().map(crate::lab::process::Process::kill);
            }
            sender.send(0, number)?;
            std::thread::sleep(GAP);
        }
        reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let numbers: Vec<u32> = arrived.iter().map(|(p, _)| p.number).collect();
    let all = numbers == (0..PACKETS).collect::<Vec<_>>();
    ensure_in(&world, all, "every packet arrives while the control plane is dead", || {
        format!("{numbers:?}")
    })?;
    ensure_in(&world, world.carrier.calls_up() == 1, "the call is still up", || world.carrier.bill_text())?;

    let branch = world.branch.as_mut().expect("started");
    branch.start_controlplane(&world.topology.branch)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let call = &calls(&world.carrier)[0];
    ensure_in(&world, call["ended_by"] == "caller", "the new control plane hangs up", || {
        format!("{call:#}")
    })?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    let (branch, headend) = both(&world);
    wait_status(&world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    wait_status(&world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    world.check()
}

fn dataplane(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("dp", Knobs::default())?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let branch = world.branch.as_mut().expect("started");
    branch.dataplane().map(crate::lab::process::Process::kill);
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let call = &calls(&world.carrier)[0];
    ensure_in(&world, call["ended_by"] == "caller", "the branch hangs up", || format!("{call:#}"))?;
    no_clear_text(&world)?;

    let branch = world.branch.as_mut().expect("started");
    branch.start_dataplane(&world.topology.branch)?;
    let (branch, lan) = (both(&world).0, &world.topology.branch_lan);
    wait_back_off(branch, HEADEND_NUMBER)?;
    wait_for("a way out", HANG_UP_LIMIT, || {
        Ok(super::support::session(branch, HEADEND_NUMBER)?["waits_for"].is_null().then_some(()))
    })?;
    ping_all(&world, lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    world.check()
}

/// A call whose head-end asks after 1 s of silence whether the branch is there.
pub(super) fn watched_call(context: &Context, name: &str) -> Result<World, LabError> {
    let mut world = context.world(name, Knobs::default())?;
    let branch = world.profile("branch")?;
    let headend = world.profile("headend")?.with("ike:\n", "ike:\n  dpd_s: 1\n")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    Ok(world)
}

/// Both processes at once; the head-end still has something to send.
fn power_cut(context: &Context) -> Result<(), LabError> {
    let mut world = watched_call(context, "cut")?;
    let gateway = world.branch.as_mut().expect("started");
    // In this order, or the control plane has the time to hang up.
    gateway.controlplane().map(crate::lab::process::Process::kill);
    gateway.dataplane().map(crate::lab::process::Process::kill);
    let noticed = wait_for("the head-end's BYE", Duration::from_secs(60), || {
        // Each is lost, and that is what the head-end has to notice.
        let _ = ping_unanswered(&world, &world.topology.centre_lan, BRANCH_LAN_HOST);
        Ok((world.carrier.calls_up() == 0).then_some(()))
    });
    noticed.map_err(|e| LabError::failed(e.to_string(), crate::lab::demo::logs(&world)))?;
    let ended = answered_calls(&world.carrier);
    ensure(ended[0]["ended_by"] == "called", "the head-end hangs up", || format!("{ended:#?}"))?;
    no_clear_text(&world)?;

    // The power is back: the new processes answer for the old ones' call and then serve.
    restart(&mut world)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    let branch = both(&world).0;
    wait_status(&world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)
}

fn restart(world: &mut World) -> Result<(), LabError> {
    let branch = world.branch.as_mut().expect("started");
    branch.start_dataplane(&world.topology.branch)?;
    branch.start_controlplane(&world.topology.branch)?;
    branch.wait_ready()
}
