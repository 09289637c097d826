//! strongSwan whose traffic selectors are narrower than our tunnel's routes: what is left out is told, and an SA that can
//! carry nothing ends the call.

use super::strongswan::{PORT, Role, TOOLS, connection, start};
use super::support::{
    Shown, ask, ensure_in, no_clear_text, ping_unanswered, pings, session, wait_shown, wait_status,
};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::peer::charon::Connection;
use crate::lab::peer::{Charon, Scratch};
use crate::lab::topology::{CENTRE_LAN_HOST, LAN};
use crate::lab::world::HEADEND_NUMBER;
use std::time::Duration;

pub const NARROWS: Scenario = Scenario {
    about: "strongSwan admits a part of our routes, then none of them: the event and the failure name both, nothing is in clear",
    tools: &[TOOLS[0], TOOLS[1]],
    run: narrows,
    ..Scenario::new("strongswan-narrows")
};

/// Of the tunnel's route 10.2.0.0/16: what strongSwan admits, and a host that it leaves out.
const PART: &str = "10.2.0.0/24";
const LEFT_OUT: &str = "10.2.1.2";
/// Outside of every route of the tunnel. charon installs a selector only with an address of its own inside.
const FOREIGN: &str = "192.168.77.0/24";
const FOREIGN_ADDRESS: &str = "192.168.77.1/24";
const REASON_LIMIT: Duration = Duration::from_secs(15);

fn admitting(selector: &str) -> Connection {
    let mut connection = connection(PORT, Role::Initiator);
    connection.local_ts = selector.into();
    [connection.rekey_child_s, connection.rekey_ike_s] = [0, 0];
    connection
}

fn narrows(context: &Context) -> Result<(), LabError> {
    let tag = "swn";
    let keys = Scratch::new("swn-keys")?;
    let mut world = start(context, tag, &keys, Role::Initiator, "")?;
    world.topology.headend.ip(&["addr", "add", FOREIGN_ADDRESS, "dev", LAN])?;
    let mut charon = Charon::start(&world.topology.headend, tag, &admitting(PART))?;
    let explained = |e: LabError| LabError::failed(e.to_string(), charon.log_tail());

    // A part: the rest is dropped at our side and counted, and the log names the route.
    pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "5", "0.05").map_err(explained)?;
    ping_unanswered(&world, &world.topology.branch_lan, LEFT_OUT)?;
    let branch = world.branch.as_ref().expect("started");
    let shown = ask(branch, &["show", "dataplane"])?;
    let dropped = shown["drops"]["selector-mismatch-out"].as_u64().unwrap_or_default();
    ensure_in(&world, dropped >= 1, "what the peer leaves out is counted", || {
        format!("{:#}", shown["drops"])
    })?;
    let log = std::fs::read_to_string(branch.log("controlplane")).unwrap_or_default();
    let told = log.lines().any(|line| {
        ["event=\"selectors-narrowed\"", "10.2.0.0/16", PART].iter().all(|word| line.contains(word))
    });
    ensure_in(&world, told, "the log names the route and what is admitted", || log.clone())?;
    let state = session(branch, HEADEND_NUMBER)?;
    ensure_in(&world, state["status"] == "SESSION_UP", "the session stays", || format!("{state:#}"))?;

    // Nothing of the routes: the call ends at once and says why.
    branch.cli(&["clear", "vpn-sip", "session"])?;
    world.carrier.wait("hung-up")?;
    let branch = world.branch.as_ref().expect("started");
    wait_status(&world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    charon.load(&admitting(FOREIGN))?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let words = &["10.2.0.0/16", FOREIGN];
    let failure = Shown { remote: HEADEND_NUMBER, code: "selectors", words };
    wait_shown(&world, branch, failure, REASON_LIMIT).map_err(explained)?;
    world.carrier.wait("hung-up")?;
    no_clear_text(&world)?;
    charon.check()?;
    world.check()
}
