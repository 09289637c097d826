//! strongSwan authenticates anew within one call: with the IKE SA before still there, after its end, and after a crash.

use super::strongswan::{Lab, PORT, Role, TOOLS, call_branch, connection, start};
use super::support::{ask, ensure, ensure_in, no_clear_text, pings, session, wait_status};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::charon::Connection;
use crate::lab::peer::{Charon, Scratch};
use crate::lab::topology::BRANCH_LAN_HOST;
use crate::lab::world::HEADEND_NUMBER;
use serde_json::Value;
use std::time::Duration;

pub const REAUTH: Scenario = Scenario {
    about: "strongSwan reauthenticates, make-before-break and break-before-make, and starts anew after a crash: one call",
    tools: TOOLS,
    run: reauth,
    ..Scenario::new("strongswan-reauth")
};

/// The gateway asks whether the peer lives, waits for nothing else, and has the further IKE SA by then.
const REPLACED: Duration = Duration::from_secs(15);

fn quiet(gateway_port: u16) -> Connection {
    Connection { rekey_child_s: 0, rekey_ike_s: 0, ..connection(gateway_port, Role::Responder) }
}

fn reauth(context: &Context) -> Result<(), LabError> {
    let keys = Scratch::new("swa-keys")?;
    let mut world = start(context, "swa", &keys, Role::Responder, "")?;
    let overlapping = "make_before_break = yes";
    let mut charon = Charon::start_with(&world.topology.headend, "swa", &quiet(PORT), overlapping)?;
    let port = call_branch(&mut world)?;
    charon.load(&quiet(port))?;
    charon.initiate()?;
    let branch = world.branch.as_ref().expect("started");
    wait_status(&world, branch, HEADEND_NUMBER, "SESSION_UP")?;
    replaced(&world, &charon, "make before break", rekey)?;

    // Killed and started again: it knows nothing of the IKE SA that the gateway has.
    charon.kill();
    let mut charon = Charon::start(&world.topology.headend, "swb", &quiet(port))?;
    replaced(&world, &charon, "after a crash", Charon::initiate)?;
    replaced(&world, &charon, "break before make", rekey)?;
    charon.check()?;
    ensure(world.carrier.count("answered") == 1, "it is one call", || {
        format!("{:?}", world.carrier.events())
    })?;
    charon.swanctl(&["--terminate", "--ike", "gw", "--timeout", "5"])?;
    world.carrier.wait("hung-up")?;
    no_clear_text(&world)?;
    world.check()
}

fn rekey(charon: &Charon) -> Result<(), LabError> {
    charon.swanctl(&["--rekey", "--ike", "gw", "--reauth"]).map(drop)
}

fn ike_sa(world: &Lab) -> Result<Value, LabError> {
    let branch = world.branch.as_ref().expect("started");
    Ok(ask(branch, &["show", "crypto", "session", "detail"])?[0]["ike"].take())
}

/// Another IKE SA carries the same call.
fn replaced(
    world: &Lab,
    charon: &Charon,
    how: &str,
    begin: impl FnOnce(&Charon) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let explain = |e: LabError| LabError::failed(format!("{how}: {e}"), charon.log_tail());
    let before = ike_sa(world)?["spi_initiator"].clone();
    begin(charon).map_err(explain)?;
    wait_for("another IKE SA", REPLACED, || {
        let now = ike_sa(world)?["spi_initiator"].clone();
        Ok((now.is_string() && now != before).then_some(()))
    })
    .map_err(explain)?;
    pings(world, &world.topology.centre_lan, BRANCH_LAN_HOST, "10", "0.05").map_err(explain)?;
    let state = session(world.branch.as_ref().expect("started"), HEADEND_NUMBER)?;
    ensure_in(world, state["status"] == "SESSION_UP", how, || format!("{state:#}"))
}
