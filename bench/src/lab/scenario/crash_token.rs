//! A gateway that has restarted while no BYE gets through.

use super::crash::watched_call;
use super::support::{both, ensure_in, no_clear_text, ping_all, ping_unanswered, session, wait_status};
use super::{Context, Scenario};
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::process::Process;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER};
use std::time::Duration;

pub const CRASH_TOKEN: Scenario = Scenario {
    about: "both processes die and no BYE gets through: the token of the next ones tells the peer (RFC 6290)",
    run: crash_token,
    ..Scenario::new("crash-token")
};

/// A peer without a token waits 16 s for the answer to its question.
const FOUND: Duration = Duration::from_secs(10);
const HANG_UP_LIMIT: Duration = Duration::from_secs(60);
/// More BYEs than are sent meanwhile.
const ALL: u32 = 1000;

fn crash_token(context: &Context) -> Result<(), LabError> {
    let mut world = watched_call(context, "token")?;
    world.carrier.set_knobs(|knobs| knobs.faults.lost_bye = ALL);
    let gateway = world.branch.as_mut().expect("started");
    gateway.controlplane().map(Process::kill);
    gateway.dataplane().map(Process::kill);
    gateway.start_dataplane(&world.topology.branch)?;
    gateway.start_controlplane(&world.topology.branch)?;
    let found = wait_for("the head-end to find out", FOUND, || {
        let _ = ping_unanswered(&world, &world.topology.centre_lan, BRANCH_LAN_HOST);
        let failure = session(both(&world).1, BRANCH_NUMBER)?["last_failure"].clone();
        Ok((failure["code"] == "peer-restarted").then_some(()))
    });
    found.map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    let up = world.carrier.calls_up();
    ensure_in(&world, up == 1, "no BYE got through", || world.carrier.bill_text())?;
    world.carrier.set_knobs(|knobs| knobs.faults.lost_bye = 0);
    world.wait_hung_up(HANG_UP_LIMIT)?;
    let branch = both(&world).0;
    wait_status(&world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    no_clear_text(&world)?;
    world.check()
}
