//! strongSwan with suites other than AES-GCM: what an IOS router has by default, and AES-CBC with SHA-2.

use super::strongswan::{Lab, PACKETS, PORT, Role, TOOLS, call_branch, connection, start_with, under_rekeys};
use super::support::{
    Shown, ask, ensure, no_clear_text, ping_unanswered, pings, session, wait_shown, wait_status,
};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::peer::charon::Connection;
use crate::lab::peer::{Capture, Charon, Scratch};
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST, TO_HEADEND};
use crate::lab::world::HEADEND_NUMBER;
use std::time::Duration;

const REASON_LIMIT: Duration = Duration::from_secs(30);

pub const SUITES: Scenario = Scenario {
    about: "what an IOS router has by default (AES with SHA-1, groups 5 and 2) in both roles, for `peer: cisco` alone; AES-CBC with \
            SHA-2; rekeys, every ICV good in tshark",
    tools: TOOLS,
    run: suites,
    ..Scenario::new("strongswan-suites")
};

/// A suite of strongSwan's side.
struct Suite {
    tag: &'static str,
    role: Role,
    ike: &'static str,
    esp: &'static str,
    /// How `show crypto session detail` names what was agreed.
    shown: [&'static str; 2],
    old_router: bool,
}

const OLD_GROUP_5: Suite = Suite {
    tag: "swo",
    role: Role::Initiator,
    ike: "aes256-sha1-modp1536",
    esp: "aes128-sha1",
    shown: ["aes256-sha1-prfsha1-modp1536 (weak: sha1, prfsha1, modp1536)", "aes128-sha1 (weak: sha1)"],
    old_router: true,
};

const OLD_GROUP_2: Suite = Suite {
    tag: "swp",
    role: Role::Responder,
    ike: "aes128-sha1-modp1024",
    shown: ["aes128-sha1-prfsha1-modp1024 (weak: sha1, prfsha1, modp1024)", "aes128-sha1 (weak: sha1)"],
    ..OLD_GROUP_5
};

const CBC: Suite = Suite {
    tag: "swb",
    role: Role::Initiator,
    ike: "aes256-sha512-modp2048",
    esp: "aes256-sha256",
    shown: ["aes256-sha512-prfsha512-modp2048", "aes256-sha256"],
    old_router: false,
};

fn suites(context: &Context) -> Result<(), LabError> {
    for suite in [OLD_GROUP_5, OLD_GROUP_2, CBC] {
        with_suite(context, &suite).map_err(|e| LabError::failed(suite.esp, e.to_string()))?;
    }
    unexpected_router(context)
}

fn suite_connection(suite: &Suite, gateway_port: u16) -> Connection {
    let Suite { ike, esp, .. } = *suite;
    Connection { ike, esp, ..connection(gateway_port, suite.role) }
}

/// The branch with what its profile offers by itself, and for an old router what `peer: cisco` adds.
fn start_suite(context: &Context, suite: &Suite, keys: &Scratch, cisco: bool) -> Result<Lab, LabError> {
    let entry = "{ number: \"0388882001\", ";
    let with = if cisco { format!("{entry}peer: cisco, ") } else { entry.to_owned() };
    start_with(context, suite.tag, keys, "", |profile| profile.with(entry, &with))
}

fn with_suite(context: &Context, suite: &Suite) -> Result<(), LabError> {
    let keys = Scratch::new(&format!("{}-keys", suite.tag))?;
    let mut world = start_suite(context, suite, &keys, suite.old_router)?;
    let capture = Capture::start(&world.topology.carrier, TO_HEADEND, keys.path())?;
    let mut charon = Charon::start(&world.topology.headend, suite.tag, &suite_connection(suite, PORT))?;
    let result = suite_call(&mut world, &charon, suite);
    let gateway_port = result.map_err(|e| LabError::failed(e.to_string(), charon.log_tail()))?;
    charon.check()?;
    world.check()?;
    let verdict = capture.judge(keys.path(), &[PORT, gateway_port])?;
    let good = verdict.icv_bad == 0 && verdict.icv_good == verdict.esp && verdict.esp > PACKETS as usize;
    ensure(good, "every ESP packet has a good ICV in tshark", || format!("{verdict:?}"))
}

fn suite_call(world: &mut Lab, charon: &Charon, suite: &Suite) -> Result<u16, LabError> {
    match suite.role {
        Role::Initiator => pings(world, &world.topology.branch_lan, CENTRE_LAN_HOST, "10", "0.05")?,
        Role::Responder => {
            let port = call_branch(world)?;
            charon.load(&suite_connection(suite, port))?;
            charon.initiate()?;
            let branch = world.branch.as_ref().expect("started");
            wait_status(world, branch, HEADEND_NUMBER, "SESSION_UP")?;
            pings(world, &world.topology.centre_lan, BRANCH_LAN_HOST, "10", "0.05")?;
        }
    }
    let branch = world.branch.as_ref().expect("started");
    let state = session(branch, HEADEND_NUMBER)?;
    let port = state["local_port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or_default();
    let crypto = ask(branch, &["show", "crypto", "session", "detail"])?[0].take();
    let shown = [&crypto["ike"]["algorithms"], &crypto["flows"][0]["algorithm"]];
    ensure(shown.iter().zip(suite.shown).all(|(a, b)| *a == b), "the suite is shown", || {
        format!("{crypto:#}")
    })?;
    let log = std::fs::read_to_string(branch.log("controlplane")).unwrap_or_default();
    let told = log.contains("event=\"weak-algorithms\"");
    ensure(told == suite.old_router, "weak algorithms are in the log, and no others", || log.clone())?;
    under_rekeys(world, charon)?;
    no_clear_text(world)?;
    Ok(port)
}

/// Without `peer: cisco` nothing of the suite is accepted: the call ends with that reason.
fn unexpected_router(context: &Context) -> Result<(), LabError> {
    let suite = Suite { tag: "swu", ..OLD_GROUP_5 };
    let keys = Scratch::new("swu-keys")?;
    let world = start_suite(context, &suite, &keys, false)?;
    let _charon = Charon::start(&world.topology.headend, suite.tag, &suite_connection(&suite, PORT))?;
    ping_unanswered(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let branch = world.branch.as_ref().expect("started");
    let shown = Shown { remote: HEADEND_NUMBER, code: "no-proposal-chosen", words: &[] };
    wait_shown(&world, branch, shown, REASON_LIMIT)?;
    no_clear_text(&world)
}
