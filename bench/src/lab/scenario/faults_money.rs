//! Faults that could leave a call at the carrier, which charges for it.

use super::faults_support::{Journal, many};
use super::support::{PINGS, both, calls, ensure, ensure_in, no_clear_text, ping_all, wait_status};
use super::{Context, Scenario};
use crate::lab::api::post;
use crate::lab::carrier::Knobs;
use crate::lab::demo::logs;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::process::{LogReader, Process};
use crate::lab::topology::{CENTRE_LAN_HOST, Options};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use serde_json::Value;
use std::time::Duration;

pub const MASS_HANG_UP: Scenario = Scenario {
    about: "300 calls are hung up at once, by command and by SIGTERM: paced BYEs, none lost, none left",
    run: mass_hang_up,
    ..Scenario::new("fault-mass-hang-up")
};

pub const MISSPELT_CLEAR: Scenario = Scenario {
    about: "a misspelt request to hang up changes nothing",
    run: misspelt_clear,
    ..Scenario::new("fault-misspelt-clear")
};

pub const OTHER_JOURNAL: Scenario = Scenario {
    about: "a journal of another release: its call is told and kept, and hung up by the release that can read it",
    run: other_journal,
    ..Scenario::new("fault-other-journal")
};

const CALLS: usize = 300;
/// Calls that SIGTERM ends: more than the burst, so that their BYEs are paced.
const CALLS_AT_TERM: usize = 80;
/// How long so many negotiations may take on a slow machine.
const UP_LIMIT: Duration = Duration::from_secs(120);
/// Longer than 64·T1 (RFC 3261 §17.1.2.2), which bounds the repetitions of one BYE, and the paced beginning of the last.
const DOWN_LIMIT: Duration = Duration::from_secs(60);
/// Datagrams of a burst beyond this are lost, as in a carrier that is overloaded.
const SLOW_BUFFER: usize = 4096;
/// New BYEs in a second, and at once after a pause.
const BYES_PER_S: f64 = 100.0;
const BYES_AT_ONCE: f64 = 20.0;
/// How much later than the others the first BYE may be read.
const READ_LATE_S: f64 = 0.5;

fn mass_hang_up(context: &Context) -> Result<(), LabError> {
    let options = Options { tag: "mass".into(), ..Options::default() };
    let mut carrier_socket = None;
    let mut world = World::with(context.places.clone(), options, |topology| {
        let (carrier, socket) = many::carrier(topology, CALLS)?;
        carrier_socket = Some(socket);
        Ok(carrier)
    })?;
    many::start(&mut world, CALLS)?;
    many::call_all(&world, CALLS, UP_LIMIT)?;
    // Each waits for its turn; none is refused because the answers to those before it wait, too.
    let refused = calls(&world.carrier).into_iter().filter(|call| call["ended_by"] == 480).count();
    ensure_in(&world, refused == 0, "no call is refused for want of a media port", || {
        format!("{refused} calls")
    })?;
    if let Some(socket) = carrier_socket {
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SLOW_BUFFER)
            .map_err(|e| LabError::Io { what: "the carrier's buffer".into(), source: e.into() })?;
    }

    both(&world).0.cli(&["clear", "vpn-sip", "session", "--yes"])?;
    all_hung_up(&mut world, 0, CALLS)?;
    for gateway in [world.branch.as_mut(), world.headend.as_mut()].into_iter().flatten() {
        gateway.wait_free()?;
    }

    let before = calls(&world.carrier).len();
    many::call_all(&world, CALLS_AT_TERM, UP_LIMIT)?;
    // `systemctl stop`
    let branch = world.branch.as_mut().and_then(|b| b.controlplane()).expect("started");
    branch.ask_to_end();
    let status = branch.wait(DOWN_LIMIT)?;
    ensure_in(&world, status.success(), "the control plane ends well", || status.to_string())?;
    all_hung_up(&mut world, before, CALLS_AT_TERM)?;
    no_clear_text(&world)
}

/// Each call from the given one on has ended, nothing is owed, and each side's BYEs were paced.
fn all_hung_up(world: &mut World, from: usize, calls_up: usize) -> Result<(), LabError> {
    world.wait_hung_up(DOWN_LIMIT).map_err(|e| LabError::failed(e.to_string(), logs(world)))?;
    let ended: Vec<Value> = calls(&world.carrier).split_off(from);
    let answered = ended.iter().filter(|c| !c["answered_at_s"].is_null()).count();
    ensure_in(world, answered >= calls_up, "every call was up", || format!("{answered} of {calls_up}"))?;
    for side in ["caller", "called"] {
        let of_side = ended.iter().filter(|c| c["ended_by"] == side);
        let mut times: Vec<f64> = of_side.filter_map(|c| c["ended_at_s"].as_f64()).collect();
        times.sort_by(f64::total_cmp);
        let span = times.first().zip(times.last()).map_or(0.0, |(first, last)| last - first);
        let least = (times.len() as f64 - BYES_AT_ONCE) / BYES_PER_S;
        ensure_in(world, span + READ_LATE_S >= least, "BYEs are paced", || {
            format!("{} BYEs of the {side} side within {span:.2} s", times.len())
        })?;
    }
    let headend = both(world).1;
    wait_for("the last answers to BYEs", DOWN_LIMIT, || {
        let control = super::support::ask(headend, &["show", "control"])?;
        Ok((control["counters"]["calls_unconfirmed"] == 0).then_some(()))
    })
}

/// `POST /v1/clear` with each body, and the statuses that it may have.
const CLEARS: [(&str, &[u16]); 9] = [
    (r#"{"remote-number":"0388882001"}"#, &[400, 422]),
    (r#"{"remoteNumber":"0388882001"}"#, &[400, 422]),
    (r#"{"all":true,"remote_numbers":["0388882001"]}"#, &[400, 422]),
    (r#"{"all":true,"interface":"Tunnel1"}"#, &[400]),
    (r#"{"all":"yes"}"#, &[400, 422]),
    (r#"{"all":false}"#, &[400]),
    ("{}", &[400]),
    ("", &[400, 415, 422]),
    (r#"{"remote_number":"0388889999"}"#, &[404]),
];

fn misspelt_clear(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("clear", Knobs::default())?;
    world.start_gateways()?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let socket = world.profile("branch")?.dir().join("control.sock");
    for (body, statuses) in CLEARS {
        let (status, answer) = post(&socket, "/v1/clear", body)?;
        ensure_in(&world, statuses.contains(&status), "the request is refused", || {
            format!("{body}: {status} {answer}")
        })?;
    }
    let (status, answer) = post(&socket, "/v1/clear?all=true", r#"{"remote_number":"0388889999"}"#)?;
    ensure_in(&world, status == 404 || status == 400, "a query is no body", || format!("{status} {answer}"))?;
    wait_status(&world, both(&world).0, HEADEND_NUMBER, "SESSION_UP")?;
    let up = world.carrier.calls_up();
    ensure_in(&world, up == 1, "the call is still up", || world.carrier.bill_text())?;
    // The same request, spelt as it should be.
    let (status, answer) = post(&socket, "/v1/clear", r#"{"remote_number":"0388882001"}"#)?;
    ensure(status == 200, "the request is obeyed", || format!("{status} {answer}"))?;
    world.wait_hung_up(DOWN_LIMIT)?;
    wait_status(&world, both(&world).0, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    history_is_kept(&mut world)?;
    no_clear_text(&world)
}

/// Bytes of a ping with its IPv4 header.
const PING_BYTES: u64 = 84;

/// Both sides know the call with all that it carried, to its last packet, and its cost, also after a restart.
fn history_is_kept(world: &mut World) -> Result<(), LabError> {
    let words = ["show", "vpn-sip", "history"];
    let bill = calls(&world.carrier).swap_remove(0);
    {
        let (branch, headend) = both(world);
        for (gateway, caller, ended_by) in [(branch, true, "us"), (headend, false, "peer")] {
            let list = super::support::ask(gateway, &words)?;
            let call = &list[0];
            let number = |name: &str| call[name].as_u64().unwrap_or_default();
            let holds = list.as_array().is_some_and(|l| l.len() == 1)
                && call["call_id"] == bill["call_id"]
                && call["caller"] == caller
                && call["ended_by"] == ended_by
                && number("kbps") == 1000
                && (number("packets_in"), number("packets_out")) == (PINGS, PINGS)
                && (number("bytes_in"), number("bytes_out")) == (PINGS * PING_BYTES, PINGS * PING_BYTES)
                && call["cost"]["units"] == bill["units"]
                && call["confirmed"] == true;
            ensure_in(world, holds, "the call is in the history", || format!("{list:#}"))?;
        }
        let csv = branch.cli(&[&words[..], &["--csv"]].concat())?;
        let id = bill["call_id"].as_str().unwrap_or_default();
        ensure(csv.lines().count() == 2 && csv.contains(id), "the history as CSV", || csv.clone())?;
    }
    kill_controlplane(world);
    restart(world)?;
    let list = super::support::ask(both(world).0, &words)?;
    let same = list.as_array().is_some_and(|l| l.len() == 1) && list[0]["call_id"] == bill["call_id"];
    ensure_in(world, same, "the call in the history after a restart", || format!("{list:#}"))
}

fn other_journal(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("version", Knobs::default())?;
    let branch = world.profile("branch")?;
    // The call must outlive the branch's control planes that cannot read its record.
    let headend = world.profile("headend")?.with("idle_s: 20", "idle_s: 600")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    ping_all(&world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    let journal = Journal(branch.dir().join("state/journal.redb"));
    kill_controlplane(&mut world);

    // A record of a later release.
    let record = journal.change(|record| record[0] = 0xf0)?;
    let mut log = controlplane_log(&world);
    restart(&mut world)?;
    told(&world, &mut log, &["1 record", "version 240", HEADEND_NUMBER])?;
    kill_controlplane(&mut world);
    ensure_in(&world, world.carrier.calls_up() == 1, "the call is still up", || world.carrier.bill_text())?;
    let kept = journal.change(|r| r.clone_from(&record))?;
    ensure(kept[0] == 0xf0 && kept[1..] == record[1..], "the record was kept", || format!("{kept:02x?}"))?;

    // The table of a later release.
    journal.move_to("calls/9")?;
    let mut log = controlplane_log(&world);
    restart(&mut world)?;
    told(&world, &mut log, &["`calls/9` with 1 entry", "may still be charged"])?;
    kill_controlplane(&mut world);
    ensure_in(&world, world.carrier.calls_up() == 1, "the call is still up", || world.carrier.bill_text())?;
    journal.move_from("calls/9")?;

    // The release before wrote what SIP needs, and nothing else.
    journal.change(|r| *r = super::faults_support::record_before(r))?;
    restart(&mut world)?;
    world.wait_hung_up(DOWN_LIMIT).map_err(|e| LabError::failed(e.to_string(), logs(&world)))?;
    let call = &calls(&world.carrier)[0];
    ensure(call["ended_by"] == "caller", "the branch hangs up", || format!("{call:#}"))?;
    wait_status(&world, both(&world).0, HEADEND_NUMBER, "READY_TO_CONNECT")?;
    no_clear_text(&world)
}

fn kill_controlplane(world: &mut World) {
    world.branch.as_mut().and_then(|b| b.controlplane()).map(Process::kill);
}

fn restart(world: &mut World) -> Result<(), LabError> {
    let branch = world.branch.as_mut().expect("started");
    branch.start_controlplane(&world.topology.branch)?;
    branch.wait_ready()
}

/// What comes to it from now on.
fn controlplane_log(world: &World) -> LogReader {
    let mut log = both(world).0.events();
    log.lines();
    log
}

/// Waits for one line with all these words.
fn told(world: &World, log: &mut LogReader, words: &[&str]) -> Result<(), LabError> {
    wait_for(&format!("a line with {words:?}"), DOWN_LIMIT, || {
        Ok(log.lines().iter().any(|line| words.iter().all(|w| line.contains(w))).then_some(()))
    })
    .map_err(|e| LabError::failed(e.to_string(), logs(world)))
}
