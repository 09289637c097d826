//! What a carrier does to a gateway that it serves: answers that are lost or come twice, hang-ups that are lost, refusals, and
//! servers that forget or go. No charged call is left after any of them.

use super::support::{
    Shown, Traffic, answered_calls, ask, both, calls, ensure, ensure_in, explained, held_back, no_clear_text,
    ping_all, ping_unanswered, session, wait_back_off, wait_shown, wait_status,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Faults, Knobs, NumberKnobs};
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::profile::Profile;
use crate::lab::topology::{CARRIER_HEADEND_SIDE, CENTRE_LAN_HOST, Options};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World, carrier_address};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

pub const FAULTS: Scenario = Scenario {
    about: "lost 200, two called sides, late CANCEL, lost BYE, 503, a registrar that forgot: no call is left charged",
    run: faults,
    ..Scenario::new("carrier-faults")
};

pub const STANDBY: Scenario = Scenario {
    about: "a registrar that is silent under a call, and at a start: lines and the BYE find the other one",
    nightly: true,
    run: standby,
    ..Scenario::new("carrier-standby")
};

pub const DELAYED_OFFER: Scenario = Scenario {
    about: "an INVITE that arrives without SDP: the called side offers in its 200 where its profile wants that, else refuses",
    run: delayed_offer,
    ..Scenario::new("delayed-offer")
};

pub const STORM: Scenario = Scenario {
    about: "503 for the first registration and for three calls, under traffic: few tries, and then a call",
    nightly: true,
    run: storm,
    ..Scenario::new("carrier-storm")
};

/// A lost message is repeated after 0.5, 1 and 2 s, and so on.
const REPEATED: Duration = Duration::from_secs(15);
/// Pauses of 5, 10 and 20 s with a quarter of jitter each.
const STORM_OVER: Duration = Duration::from_secs(60);
/// A silent server is left after 8 s; before that its OPTIONS had to be due.
const FAIL_OVER: Duration = Duration::from_secs(25);

/// One thing that goes wrong.
struct Case<'a> {
    what: &'static str,
    faults: Faults,
    happens: &'a dyn Fn(&World) -> Result<(), LabError>,
}

fn faults(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("carfault", Knobs::default())?;
    let branch = world.profile("branch")?.with("idle_s: 5", "idle_s: 60")?;
    let headend = world.profile("headend")?.with("idle_s: 20", "idle_s: 60")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    let none = Faults::default;
    let cases = [
        Case { what: "a lost 200", faults: Faults { lost_200: 2, ..none() }, happens: &comes_up },
        Case { what: "a second called side", faults: Faults { forked_200: 1, ..none() }, happens: &comes_up },
        Case { what: "lost BYEs", faults: Faults { lost_bye: 2, ..none() }, happens: &comes_up },
        Case {
            what: "a CANCEL that crosses the 200",
            faults: Faults { lost_200: 2, late_cancel: true, ..none() },
            happens: &late_cancel,
        },
        Case {
            what: "503 with Retry-After",
            faults: Faults { storm: 1, storm_retry_after_s: 2, ..none() },
            happens: &overloaded,
        },
        Case { what: "a registrar that forgot under a call", faults: none(), happens: &forgets },
    ];
    for case in &cases {
        let before = answered_calls(&world.carrier).len();
        world.carrier.set_knobs(|k| k.faults = case.faults.clone());
        let told = |e: LabError| LabError::failed(format!("with {}: {e}", case.what), String::new());
        (case.happens)(&world).and_then(|()| ends(&mut world)).map_err(told)?;
        world.carrier.set_knobs(|k| k.faults = Faults::default());
        let bill = answered_calls(&world.carrier);
        let ended = |call: &Value| call["still_up"] == false && call["byes"].as_u64().is_some_and(|n| n >= 1);
        let clean = bill.len() == before + 1 && bill.iter().all(ended);
        ensure_in(&world, clean, case.what, || world.carrier.bill_text())?;
    }
    let stats = world.carrier.stats();
    let forks = (stats.forks_acknowledged, stats.forks_ended);
    ensure_in(&world, forks == (1, 1), "the second called side is acknowledged and hung up", || {
        format!("{stats:?}")
    })?;
    ensure(stats.route_missing + stats.malformed == 0, "no request was wrong", || format!("{stats:?}"))?;
    world.check()
}

fn comes_up(world: &World) -> Result<(), LabError> {
    ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)
}

/// An operator ends every call; the carrier and both gateways have none left.
fn ends(world: &mut World) -> Result<(), LabError> {
    let (branch, _) = both(world);
    branch.cli(&["clear", "vpn-sip", "session", "--yes"])?;
    world.wait_hung_up(REPEATED)?;
    let (branch, headend) = both(world);
    wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")
}

/// The operator gives up a call whose 200 is under way; CANCEL comes too late, and the 200 all the same.
fn late_cancel(world: &World) -> Result<(), LabError> {
    let before = answered_calls(&world.carrier).len();
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, _) = both(world);
    branch.cli(&["clear", "vpn-sip", "session", "--yes"])?;
    wait_for("the 200 in spite of the CANCEL", REPEATED, || {
        Ok((answered_calls(&world.carrier).len() > before).then_some(()))
    })?;
    wait_for("the end of that call", REPEATED, || Ok((world.carrier.calls_up() == 0).then_some(())))?;
    let bill = answered_calls(&world.carrier);
    let last = bill.last().cloned().unwrap_or_default();
    ensure_in(world, last["ended_by"] == "caller", "the caller hangs up what it gave up", || {
        format!("{last:#}")
    })
}

/// The first call is refused: the gateway says so, waits as long as the carrier asked, and calls again.
fn overloaded(world: &World) -> Result<(), LabError> {
    let lan = &world.topology.branch_lan;
    ping_unanswered(world, lan, CENTRE_LAN_HOST)?;
    let (branch, _) = both(world);
    let shown = Shown { remote: HEADEND_NUMBER, code: "sip-status", words: &["503"] };
    wait_shown(world, branch, shown, REPEATED)?;
    held_back(world, branch, HEADEND_NUMBER, || ping_unanswered(world, lan, CENTRE_LAN_HOST))?;
    wait_back_off(branch, HEADEND_NUMBER)?;
    comes_up(world)
}

/// A registrar that restarted knows no line; the call that is up stays, and the next one makes the line register again.
fn forgets(world: &World) -> Result<(), LabError> {
    comes_up(world)?;
    let traffic = Traffic::start(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.carrier.forget_registrations();
    comes_up(world)?;
    let lost = traffic.lost()?;
    ensure_in(world, lost == 0, "the call stays", || format!("{lost} packets lost"))?;
    let (branch, _) = both(world);
    branch.cli(&["clear", "vpn-sip", "session", "--yes"])?;
    wait_for("the end of the call", REPEATED, || Ok((world.carrier.calls_up() == 0).then_some(())))?;
    wait_status(world, branch, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let shown = Shown { remote: HEADEND_NUMBER, code: "sip-status", words: &["403"] };
    wait_shown(world, branch, shown, REPEATED)?;
    wait_for("registration anew", REPEATED, || {
        Ok(world.carrier.registered().iter().any(|n| n == BRANCH_NUMBER).then_some(()))
    })
}

/// Two servers of one carrier, of which one is silent at a time.
fn standby(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "standby".into(), ..Options::default() };
    let first = carrier_address();
    let second = SocketAddr::new(CARRIER_HEADEND_SIDE.parse().expect("an address"), first.port());
    // A route that names the silent server leads nowhere, so the other one has to do without.
    let knobs = Knobs { require_route: false, ..Knobs::default() };
    let mut world = World::up_at(context.places.clone(), options, knobs, vec![second])?;
    let result = one_goes(&mut world, first, second);
    explained(&world, result)
}

fn one_goes(world: &mut World, first: SocketAddr, second: SocketAddr) -> Result<(), LabError> {
    let both_servers = format!("registrar: [\"{first}\", \"{second}\"]\n  options_s: 1");
    let on_both = |profile: Profile| profile.with("registrar: 198.51.100.1:5060", &both_servers);
    let branch = on_both(world.profile("branch")?.with("idle_s: 5", "idle_s: 3")?)?;
    let headend = on_both(world.profile("headend")?)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    uses(world, first)?;

    comes_up(world)?;
    let traffic = Traffic::start(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    world.carrier.set_knobs(|k| k.faults.down = Some(first));
    uses(world, second)?;
    let lost = traffic.lost()?;
    ensure_in(world, lost == 0, "the call stays", || format!("{lost} packets lost"))?;
    let bill = calls(&world.carrier);
    ensure_in(world, bill.len() == 1, "one call", || world.carrier.bill_text())?;
    // Its idle BYE is for the silent server first.
    world.wait_hung_up(FAIL_OVER)?;
    let (branch_now, headend) = both(world);
    wait_status(world, branch_now, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    wait_status(world, headend, BRANCH_NUMBER, "READY_TO_CONNECT")?;
    let counted = ask(branch_now, &["show", "control"])?["counters"]["sip_failed_over"].take();
    ensure(counted.as_u64().is_some_and(|n| n >= 1), "fail-over is counted", || counted.to_string())?;

    // A gateway that starts while the first server is silent.
    world.branch = None;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    uses(world, second)?;
    comes_up(world)?;
    world.wait_hung_up(FAIL_OVER)?;
    let bill = answered_calls(&world.carrier);
    let ended = bill.iter().all(|call| call["ended_by"] == "caller");
    ensure(bill.len() == 2 && ended, "two calls, both hung up", || world.carrier.bill_text())
}

/// Until both gateways are registered at this server, and say so.
fn uses(world: &World, server: SocketAddr) -> Result<(), LabError> {
    let (branch, headend) = both(world);
    wait_for(&format!("registration at {server}"), FAIL_OVER, || {
        for gateway in [branch, headend] {
            let line = ask(gateway, &["show", "vpn-sip", "sip", "registrar"])?[0].take();
            if line["registered"] != true || line["server"] != server.to_string() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let text = branch.cli(&["show", "vpn-sip", "sip", "registrar"])?;
    ensure(text.contains(&server.to_string()), "the server in the text", || text.clone())?;
    for (gateway, remote) in [(branch, HEADEND_NUMBER), (headend, BRANCH_NUMBER)] {
        let session = session(gateway, remote)?;
        ensure(session["waits_for"].is_null(), "calls can be placed", || format!("{session:#}"))?;
    }
    Ok(())
}

fn delayed_offer(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("delayed", Knobs::default())?;
    let knobs = NumberKnobs { delayed_offer: true, ..NumberKnobs::default() };
    world.carrier.set_knobs(|k| drop(k.numbers.insert(HEADEND_NUMBER.to_owned(), knobs)));
    let result = offered_late(&mut world);
    explained(&world, result)
}

fn offered_late(world: &mut World) -> Result<(), LabError> {
    let plain = world.profile("headend")?;
    let offers = plain.clone().with("\nsip:\n", "\nsip:\n  delayed_offers: true\n")?;
    world.start_headend(&offers)?;
    let branch = world.profile("branch")?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    comes_up(world)?;
    ends(world)?;
    let ended = |call: &Value| call["kbps"] == 1000 && call["byes"].as_u64().is_some_and(|n| n >= 1);
    let bill = answered_calls(&world.carrier);
    ensure(bill.len() == 1 && bill.iter().all(ended), "one call, hung up", || world.carrier.bill_text())?;

    // Where the profile does not want it, the call is refused, costs nothing, and both ends say why.
    world.headend = None;
    world.start_headend(&plain)?;
    world.wait_registered(&[HEADEND_NUMBER])?;
    ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let (branch, headend) = both(world);
    let at_caller = Shown { remote: HEADEND_NUMBER, code: "sip-status", words: &["488", "no offer"] };
    wait_shown(world, branch, at_caller, REPEATED)?;
    let at_called = Shown { remote: BRANCH_NUMBER, code: "sdp", words: &["no offer"] };
    wait_shown(world, headend, at_called, REPEATED)?;
    ensure(answered_calls(&world.carrier).len() == 1, "nothing more is charged", || {
        world.carrier.bill_text()
    })?;
    no_clear_text(world)?;
    world.check()
}

fn storm(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("storm", Knobs::default())?;
    world.carrier.set_knobs(|k| k.faults.register_storm = 1);
    let result = through_a_storm(&mut world);
    explained(&world, result)
}

fn through_a_storm(world: &mut World) -> Result<(), LabError> {
    world.start_gateways()?;
    world.carrier.set_knobs(|k| (k.faults.storm, k.faults.storm_retry_after_s) = (3, 1));
    let (branch, _) = both(world);
    let traffic = Traffic::start(&world.topology.branch_lan, CENTRE_LAN_HOST)?;
    wait_for("a call after the storm", STORM_OVER, || {
        Ok((session(branch, HEADEND_NUMBER)?["status"] == "SESSION_UP").then_some(()))
    })?;
    comes_up(world)?;
    traffic.lost()?;
    let (tried, answered) = (calls(&world.carrier).len(), answered_calls(&world.carrier).len());
    ensure_in(world, (tried, answered) == (4, 1), "a try after each pause", || world.carrier.bill_text())?;
    ends(world)?;
    no_clear_text(world)?;
    world.check()
}
