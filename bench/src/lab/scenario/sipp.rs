//! SIPp in both roles: a SIP stack of others judges registration, calls and their ends.

use super::support::{Shown, ask, ensure, explained, no_clear_text, ping_unanswered, wait_shown};
use super::{Context, Scenario};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::peer::Sipp;
use crate::lab::topology::{BRANCH_WAN, CENTRE_LAN_HOST, Options};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World, carrier_address};
use std::net::SocketAddr;
use std::time::Duration;

pub const SIPP: Scenario = Scenario {
    about: "SIPp as registrar, called side and caller: digest, reliable ringing, session refresh, audit, BYE each way, refusal",
    tools: &[("sipp", "sip-tester")],
    nightly: true,
    run: sipp,
    ..Scenario::new("sipp")
};

const PROXY_PORT: u16 = 5070;
const CALLER_PORT: u16 = 5080;
/// The negotiation's deadline, the BYE, and what a loaded machine takes.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Another of SIPp's sockets beside the registrar.
fn at(port: u16) -> SocketAddr {
    SocketAddr::new(carrier_address().ip(), port)
}

fn sipp(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "sipp".into(), ..Options::default() };
    let scenarios = context.places.peers.join("sipp");
    let mut world = World::with(context.places.clone(), options, |topology| {
        Sipp::start(&topology.carrier, &scenarios, "sipp", carrier_address())
    })?;
    let result = both_roles(&mut world);
    explained(&world, result)
}

fn both_roles(world: &mut World<Sipp>) -> Result<(), LabError> {
    let proxy = format!("  outbound_proxy: \"{}\"\n  domain: carrier.example\n", at(PROXY_PORT));
    let profile = world.profile("branch")?.with("  domain: carrier.example\n", &proxy)?;
    let profile = profile.with("ike:\n", "ike:\n  negotiation_deadline_s: 4\n")?;
    world.start_branch(&profile)?;
    world.wait_registered(&[BRANCH_NUMBER])?;

    // The branch calls; the media port that SIPp names answers nothing, so the call ends by the deadline.
    let callee = world.carrier.call(&world.topology.carrier, "callee", at(PROXY_PORT), &[])?;
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    callee.succeeds(CALL_LIMIT)?;
    let branch = world.branch.as_ref().expect("started");
    let shown =
        Shown { remote: HEADEND_NUMBER, code: "negotiation-deadline", words: &["no IKE message came"] };
    wait_shown(world, branch, shown, CALL_LIMIT)?;

    // SIPp calls and hangs up; its reason is shown.
    let gateway = format!("{BRANCH_WAN}:5060");
    let call = |scenario, caller| {
        let words = ["-s", BRANCH_NUMBER, "-key", "caller", caller, &gateway];
        world.carrier.call(&world.topology.carrier, scenario, at(CALLER_PORT), &words)?.succeeds(CALL_LIMIT)
    };
    call("caller", HEADEND_NUMBER)?;
    let shown = Shown { remote: HEADEND_NUMBER, code: "peer-hung-up", words: &["SIPp is done"] };
    wait_shown(world, branch, shown, CALL_LIMIT)?;
    call("refused", "0300000000")?;

    let counters = ask(branch, &["show", "control"])?["counters"].take();
    let faults = ["sip_malformed", "sip_flawed_responses", "sip_byes_unanswered", "sip_stray_responses"];
    ensure(faults.iter().all(|name| counters[*name] == 0), "no fault is counted", || counters.to_string())?;
    no_clear_text(world)?;

    let branch = world.branch.as_mut().expect("started");
    if let Some(controlplane) = branch.controlplane() {
        controlplane.terminate();
    }
    wait_for("the removal of the binding", Duration::from_secs(5), || {
        Ok((world.carrier.registers().last() == Some(&(BRANCH_NUMBER.to_owned(), 0))).then_some(()))
    })
}
