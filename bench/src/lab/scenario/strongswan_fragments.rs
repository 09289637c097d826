//! IKE messages in fragments (RFC 7383) with strongSwan, in both roles and through a rekey of the IKE SA.

use super::strongswan::{PORT, Role, TOOLS, call_branch, connection, start};
use super::support::{ask, ensure_in, no_clear_text, pings, wait_status};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::{Charon, Scratch};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::HEADEND_NUMBER;
use serde_json::Value;
use std::time::Duration;

pub const FRAGMENTS: Scenario = Scenario {
    about: "IKE_AUTH and a rekey of the IKE SA in fragments of 200 bytes, to strongSwan and from it, in both roles; show counts them",
    tools: &[TOOLS[0], TOOLS[1]],
    run: fragments,
    ..Scenario::new("strongswan-fragments")
};

/// The least that a profile may ask for; strongSwan counts the headers of IP and UDP.
const OURS: u32 = 200;
const THEIRS: &str = "fragment_size = 228";
const REKEY_LIMIT: Duration = Duration::from_secs(10);

fn fragments(context: &Context) -> Result<(), LabError> {
    for role in [Role::Initiator, Role::Responder] {
        call(context, role)?;
    }
    Ok(())
}

fn call(context: &Context, role: Role) -> Result<(), LabError> {
    let tag = if role == Role::Initiator { "sfi" } else { "sfr" };
    let keys = Scratch::new(&format!("{tag}-keys"))?;
    let mut world = start(context, tag, &keys, role, &format!("  fragment_bytes: {OURS}\n"))?;
    let mut there = connection(PORT, role);
    [there.rekey_child_s, there.rekey_ike_s] = [0, 2];
    // With a key exchange that is longer than a fragment.
    there.ike = "aes256gcm16-prfsha256-modp2048";
    let mut charon = Charon::start_with(&world.topology.headend, tag, &there, THEIRS)?;
    let explained = |e: LabError| LabError::failed(e.to_string(), charon.log_tail());
    match role {
        Role::Initiator => {
            pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "5", "0.05").map_err(explained)?;
        }
        Role::Responder => {
            there.remote.set_port(call_branch(&mut world)?);
            charon.load(&there)?;
            charon.initiate()?;
            wait_status(&world, world.branch.as_ref().expect("started"), HEADEND_NUMBER, "SESSION_UP")?;
            pings(&world, &world.topology.centre_lan, BRANCH_LAN_HOST, "5", "0.05").map_err(explained)?;
        }
    }
    let shown = || -> Result<Value, LabError> {
        let branch = world.branch.as_ref().expect("started");
        Ok(ask(branch, &["show", "crypto", "session", "detail"])?[0]["ike"].take())
    };
    let number = |ike: &Value, name: &str| ike[name].as_u64().unwrap_or_default();
    let first = shown()?;
    let fragmented = first["fragment_bytes"] == OURS
        && number(&first, "fragments_out") >= 2
        && number(&first, "fragments_in") >= 1;
    ensure_in(&world, fragmented, "IKE_AUTH went and came in fragments", || {
        format!("{first:#}{}", charon.log_tail())
    })?;
    // strongSwan renews the IKE SA: its request is in fragments, and so is our answer.
    let renewed = wait_for("another IKE SA", REKEY_LIMIT, || {
        let now = shown()?;
        let other = now["spi_initiator"] != first["spi_initiator"];
        let more = ["fragments_out", "fragments_in"].iter().all(|n| number(&now, n) > number(&first, n));
        Ok((other && more).then_some(()))
    });
    renewed.map_err(explained)?;
    pings(&world, &world.topology.branch_lan, CENTRE_LAN_HOST, "5", "0.05")?;
    no_clear_text(&world)?;
    charon.check()?;
    world.check()
}
