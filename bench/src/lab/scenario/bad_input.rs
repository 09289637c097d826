//! What must not end in a tunnel: a reason is shown, no answered call is left, nothing goes in clear, and after the
//! back-off the next packet may call again.

use super::support::{
    Shown, answered_calls, both, calls, clear_all, ensure, ensure_in, held_back, no_clear_text, ping_all,
    ping_unanswered, wait_back_off, wait_called_again, wait_shown,
};
use super::{Context, Scenario};
use crate::lab::carrier::{Knobs, NumberKnobs, Reject, Rewrite};
use crate::lab::error::LabError;
use crate::lab::profile::Profile;
use crate::lab::topology::{BRANCH_LAN_HOST, CENTRE_LAN_HOST};
use crate::lab::world::{BRANCH_NUMBER, HEADEND_NUMBER, World};
use std::sync::atomic::Ordering;
use std::time::Duration;

pub const BAD_INPUT: Scenario = Scenario {
    about: "refused calls, SDP without b=AS, wrong fingerprints, silent and strange IKE peers: each with its reason",
    run: bad_input,
    ..Scenario::new("bad-input")
};

pub const UNKNOWN_NUMBER: Scenario = Scenario {
    about: "480 for a peer that is not registered, 404 for a number that the carrier does not know",
    run: unknown_number,
    ..Scenario::new("unknown-number")
};

pub const WRONG_PSK: Scenario = Scenario {
    about: "different keys end in a hung-up call and a reason, and nothing passes",
    run: wrong_psk,
    ..Scenario::new("wrong-psk")
};

/// The branch gives up before the head-end, so that one side's reason and one side's BYE are certain.
const DEADLINE_S: u64 = 3;
const REASON_LIMIT: Duration = Duration::from_secs(DEADLINE_S + 7);
const HANG_UP_LIMIT: Duration = Duration::from_secs(5);
const RETRY_AFTER_S: u32 = 8;

/// How the call ends for the carrier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Never answered.
    Status(u16),
    /// Answered, and one side hung up, once.
    Bye(&'static str),
}

struct Case {
    name: &'static str,
    /// Whose packet opens the call, and so whose knobs count: the other side's number.
    from_branch: bool,
    knobs: NumberKnobs,
    end: End,
    /// Stable name and words of the reason at the branch, and at the head-end if it has one.
    branch: Option<(&'static str, &'static [&'static str])>,
    headend: Option<(&'static str, &'static [&'static str])>,
}

fn cases() -> Vec<Case> {
    let knobs = NumberKnobs::default;
    let case = |name, end, knobs, code, words| Case {
        name,
        from_branch: true,
        knobs,
        end,
        branch: Some((code, words)),
        headend: None,
    };
    let reject = |reject| NumberKnobs { reject: Some(reject), ..knobs() };
    let offer = |rewrite| NumberKnobs { offer: vec![rewrite], ..knobs() };
    let answer = |rewrite| NumberKnobs { answer: vec![rewrite], ..knobs() };
    vec![
        case("busy", End::Status(486), reject(Reject::busy()), "sip-status", &["486 Busy Here"]),
        case(
            "Retry-After",
            End::Status(503),
            reject(Reject::overloaded(RETRY_AFTER_S)),
            "sip-status",
            &["503", "retry after 8 s"],
        ),
        case(
            "a caller whom the head-end does not know",
            End::Status(403),
            NumberKnobs { asserted: Some("0388889009".into()), ..knobs() },
            "sip-status",
            &["403"],
        ),
        case(
            "no b=AS in the answer",
            End::Bye("caller"),
            answer(Rewrite::DropBandwidth),
            "sdp-missing-bandwidth",
            &["no b=AS"],
        ),
        Case {
            headend: Some(("sdp-missing-bandwidth", &["no b=AS"])),
            ..case(
                "no b=AS in the offer",
                End::Status(488),
                offer(Rewrite::DropBandwidth),
                "sip-status",
                &["488"],
            )
        },
        case(
            "another fingerprint in the answer",
            End::Bye("caller"),
            answer(Rewrite::SpoilFingerprint("psk-fingerprint")),
            "fingerprint-mismatch",
            &["different pre-shared keys"],
        ),
        Case {
            headend: Some(("fingerprint-mismatch", &["different pre-shared keys"])),
            ..case(
                "another fingerprint in the offer",
                End::Status(488),
                offer(Rewrite::SpoilFingerprint("psk-fingerprint")),
                "sip-status",
                &["488"],
            )
        },
        case(
            "an IKE peer that is silent",
            End::Bye("caller"),
            answer(Rewrite::MediaPort(50_998)),
            "negotiation-deadline",
            &["no SA within 3 s", "no IKE message came"],
        ),
        Case {
            from_branch: false,
            ..case(
                "IKE from another port than SDP says",
                End::Bye("called"),
                offer(Rewrite::MediaPort(40_000)),
                "wrong-source",
                &["packets came from 203.0.113.9:5", "SDP said 203.0.113.9:40000"],
            )
        },
    ]
}

/// Keys are announced, and the branch is the impatient side.
fn profiles(world: &World) -> Result<[Profile; 2], LabError> {
    let announce = |gateway| world.profile(gateway)?.with("ike:\n", "ike:\n  psk_fingerprint: true\n");
    let branch = announce("branch")?
        .with("ike:\n", &format!("ike:\n  negotiation_deadline_s: {DEADLINE_S}\n"))?
        .with("idle_s: 5", "idle_s: 60")?;
    Ok([branch, announce("headend")?.with("idle_s: 20", "idle_s: 60")?])
}

fn bad_input(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("bad", Knobs::default())?;
    let [branch, headend] = profiles(&world)?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    for case in cases() {
        one(&mut world, &case)
            .map_err(|e| LabError::failed(format!("the case of {}: {e}", case.name), String::new()))?;
    }
    let stats = world.carrier.stats();
    let clean = stats.malformed == 0 && stats.route_missing == 0 && stats.dialog_unknown == 0;
    ensure_in(&world, clean, "the carrier has nothing to complain about", || format!("{stats:?}"))
}

fn one(world: &mut World, case: &Case) -> Result<(), LabError> {
    let called = if case.from_branch { HEADEND_NUMBER } else { BRANCH_NUMBER };
    world.carrier.set_knobs(|k| drop(k.numbers.insert(called.into(), case.knobs.clone())));
    let (billed, esp) = (calls(&world.carrier).len(), world.tally.esp.load(Ordering::Relaxed));
    let packet = |world: &World| {
        if case.from_branch {
            ping_unanswered(world, &world.topology.branch_lan, CENTRE_LAN_HOST)
        } else {
            ping_unanswered(world, &world.topology.centre_lan, BRANCH_LAN_HOST)
        }
    };
    packet(world)?;
    let (branch, headend) = both(world);
    for (gateway, remote, reason) in
        [(branch, HEADEND_NUMBER, case.branch), (headend, BRANCH_NUMBER, case.headend)]
    {
        if let Some((code, words)) = reason {
            wait_shown(world, gateway, Shown { remote, code, words }, REASON_LIMIT)?;
        }
    }
    world.wait_hung_up(HANG_UP_LIMIT)?;

    let bill = calls(&world.carrier);
    ensure_in(world, bill.len() == billed + 1, "exactly one call", || format!("{bill:#?}"))?;
    let call = &bill[billed];
    let as_expected = match case.end {
        End::Status(status) => {
            call["ended_by"] == status && call["answered_at_s"].is_null() && call["byes"] == 0
        }
        End::Bye(by) => call["ended_by"] == by && call["byes"] == 1,
    };
    ensure_in(world, as_expected, "the call ends as it should, once", || format!("{call:#}"))?;
    no_clear_text(world)?;
    let passed = world.tally.esp.load(Ordering::Relaxed) - esp;
    ensure_in(world, passed == 0, "no ESP without an agreement", || passed.to_string())?;

    let (branch, headend) = both(world);
    let (caller, remote) = if case.from_branch { (branch, HEADEND_NUMBER) } else { (headend, BRANCH_NUMBER) };
    if case.knobs.reject.as_ref().is_some_and(|r| r.retry_after_s.is_some()) {
        let left = super::support::session(caller, remote)?["retry_in_s"].as_u64();
        let obeyed = left.is_some_and(|s| s > u64::from(RETRY_AFTER_S) - 4);
        ensure(obeyed, "Retry-After is obeyed", || format!("{left:?}"))?;
    }
    held_back(world, caller, remote, || packet(world))?;
    world.carrier.set_knobs(|k| k.numbers.clear());
    wait_back_off(caller, remote)?;
    if case.from_branch {
        ping_all(world, &world.topology.branch_lan, CENTRE_LAN_HOST)?;
    } else {
        ping_all(world, &world.topology.centre_lan, BRANCH_LAN_HOST)?;
    }
    clear_all(world)?;
    world.check()
}

/// The branch has a second tunnel, to a number that the carrier does not know.
fn unknown_number(context: &Context) -> Result<(), LabError> {
    const NOBODY: &str = "0388889999";
    const BEHIND_NOBODY: &str = "10.9.0.1";
    let mut world = context.world("absent", Knobs::default())?;
    let second = format!(
        "routes: [10.2.0.0/16]\n  - name: Tunnel2\n    local_number: \"{BRANCH_NUMBER}\"\n    \
         remote_number: \"{NOBODY}\"\n    bandwidth_kbps: 64\n    routes: [10.9.0.0/16]\n"
    );
    let key = "ike:\n  keyring:\n";
    let branch = world.profile("branch")?.with("routes: [10.2.0.0/16]\n", &second)?.with(
        key,
        &format!("{key}    - {{ number: \"{NOBODY}\", psk: \"lab-only-9d8e7f6a5b4c3d2e1f\" }}\n"),
    )?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER])?;
    for (remote, to, status) in [(HEADEND_NUMBER, CENTRE_LAN_HOST, "480"), (NOBODY, BEHIND_NOBODY, "404")] {
        let lan = &world.topology.branch_lan;
        ping_unanswered(&world, lan, to)?;
        let branch = world.branch.as_ref().expect("started");
        let shown = Shown { remote, code: "sip-status", words: &[status] };
        wait_shown(&world, branch, shown, REASON_LIMIT)?;
        held_back(&world, branch, remote, || ping_unanswered(&world, lan, to))?;
        wait_called_again(&world, || ping_unanswered(&world, lan, to))?;
    }
    no_clear_text(&world)?;
    world.check()
}

fn wrong_psk(context: &Context) -> Result<(), LabError> {
    let mut world = context.world("psk", Knobs::default())?;
    let other = "lab-only-00000000000000000000000000000001";
    let headend = world.profile("headend")?.with("lab-only-3f9d1c7a5be04826d1907cf2a4e86b53", other)?;
    let branch = world.profile("branch")?;
    world.start_headend(&headend)?;
    world.start_branch(&branch)?;
    world.wait_registered(&[BRANCH_NUMBER, HEADEND_NUMBER])?;
    let lan = &world.topology.branch_lan;
    ping_unanswered(&world, lan, CENTRE_LAN_HOST)?;
    let (branch, headend) = both(&world);
    for (gateway, remote) in [(branch, HEADEND_NUMBER), (headend, BRANCH_NUMBER)] {
        // The responder finds it out and tells the initiator, unless its BYE is there first.
        let code = if gateway.name == "headend" { "ike-authentication-failed" } else { "ike" };
        let mut last = serde_json::Value::Null;
        let seen = crate::lab::interrupt::wait_for("the reason", REASON_LIMIT, || {
            last = super::support::session(gateway, remote)?;
            let found = last["last_failure"]["code"].as_str().unwrap_or_default();
            Ok((found.starts_with(code) || (code == "ike" && found == "peer-hung-up")).then_some(()))
        });
        seen.map_err(|e| LabError::failed(format!("{e} at the {}", gateway.name), format!("{last:#}")))?;
    }
    drop_calls(&mut world)?;
    let esp = world.tally.esp.load(Ordering::Relaxed);
    ensure(esp == 0, "ESP passed between gateways that do not share a key", || esp.to_string())?;
    no_clear_text(&world)?;

    let branch = world.branch.as_ref().expect("started");
    let lan = &world.topology.branch_lan;
    held_back(&world, branch, HEADEND_NUMBER, || ping_unanswered(&world, lan, CENTRE_LAN_HOST))?;
    wait_called_again(&world, || ping_unanswered(&world, lan, CENTRE_LAN_HOST))?;
    drop_calls(&mut world)?;
    world.check()
}

/// Every call is hung up, by one side or by both at the same moment.
pub fn drop_calls(world: &mut World) -> Result<(), LabError> {
    world.wait_hung_up(HANG_UP_LIMIT)?;
    for call in answered_calls(&world.carrier) {
        let byes = call["byes"].as_u64().unwrap_or_default();
        ensure_in(world, byes == 1 || byes == 2, "a BYE of one side or of each", || format!("{call:#}"))?;
    }
    Ok(())
}
