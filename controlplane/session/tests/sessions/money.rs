//! What costs money: calls that cannot be hung up, and what a crash leaves.

use crate::support::{CARRIER, NUMBERS, Setup, WANS, World, wan_address};
use crate::{MS, SECOND, clear, invites, logged, up};
use sipsec_session::BackOff;
use std::net::SocketAddr;
use std::time::Duration;

/// RFC 3261 §15.1.1: a refused BYE ends nothing. The call may still be charged, which is shown, and no second call is placed
/// beside it. What is told in the end is how long it was really up.
#[test]
fn a_refused_bye_is_shown_and_the_next_call_waits_for_it() {
    let mut w = up();
    // Nothing but the BYE ends the call at the other side.
    w.mute_ike = [true; 2];
    w.carrier.knobs.refuse_bye = Some("500 Server Internal Error");
    w.advance(2 * SECOND);
    w.tell(0, clear());
    w.advance(3 * SECOND);
    let s = w.session(0);
    assert_eq!(s.status, "READY_TO_CONNECT");
    let [call] = s.unconfirmed.as_slice() else { panic!("{:?}", s.unconfirmed) };
    assert!(call.owed && call.refused == Some(500) && !call.recovered, "{call:?}");
    assert!(call.charged_for >= Some(3 * SECOND) && call.next_bye_in <= Some(5 * SECOND), "{call:?}");
    assert_eq!(w.gateways[0].core.unconfirmed_calls(w.now).len(), 1);
    let told = logged(&w, 0, "bye-owed");
    assert_eq!(told.len(), 1);
    let text = told[0];
    assert!(
        text.contains("refused with 500") && text.contains(NUMBERS[1]) && text.contains("Call-ID"),
        "{text}"
    );
    assert!(logged(&w, 0, "call-ended").is_empty(), "it has not");
    for _ in 0..30 {
        w.packet(0);
        w.advance(SECOND);
    }
    assert_eq!((invites(&w), w.carrier.billed.len()), (1, 1));
    let why = w.session(0).waits_for.expect("a reason");
    assert!(why.contains("not confirmed"), "{why}");
    w.carrier.knobs.refuse_bye = None;
    w.mute_ike = [false; 2];
    for _ in 0..10 {
        w.packet(0);
        w.advance(SECOND);
    }
    // BYEs at 0, 5, 15 and 35 s.
    let ended = logged(&w, 0, "call-ended");
    assert!(ended.len() == 1 && ended[0].starts_with("call ended after 38."), "{ended:?}");
    assert!(ended[0].contains("cleared by the operator"), "{ended:?}");
    assert_eq!((w.status(), w.carrier.billed.len()), (["SESSION_UP"; 2], 1));
    assert!(w.session(0).unconfirmed.is_empty());
    assert_eq!(w.gateways[0].core.byes_owed(), 3);
}

/// A BYE into a cable that is cut: told after 4 s, and again when it is given up for a while.
#[test]
fn a_bye_without_an_answer_is_shown_soon() {
    let mut w = up();
    w.mute_ike = [true; 2];
    w.carrier.knobs.swallow = vec!["BYE"];
    w.tell(0, clear());
    w.advance(3 * SECOND);
    assert!(logged(&w, 0, "bye-unanswered").is_empty());
    assert_eq!(w.session(0).unconfirmed.len(), 1);
    w.advance(SECOND);
    let told = logged(&w, 0, "bye-unanswered");
    assert!(told.len() == 1 && told[0].contains("no answer to its BYE for 4 s"), "{told:?}");
    w.advance(29 * SECOND);
    let told = logged(&w, 0, "bye-owed");
    assert!(told.len() == 1 && told[0].contains("was not answered, the next is sent in 5 s"), "{told:?}");
    assert!(logged(&w, 0, "call-ended").is_empty());
    w.carrier.knobs.swallow.clear();
    w.advance(6 * SECOND);
    let ended = logged(&w, 0, "call-ended");
    // A BYE transaction of 32 s, a pause of 5 s, and a second at most before the hang-up.
    let after = |s: u32| ended[0].starts_with(&format!("call ended after {s}."));
    assert!(ended.len() == 1 && (37..=38).any(after), "{ended:?}");
    w.advance(5 * SECOND);
    w.assert_no_call();
}

/// However long the carrier refuses, the branch is not cut off for good; or not at all, if the profile says so.
#[test]
fn the_wait_for_a_confirmation_is_bounded_by_the_profile() {
    for (unconfirmed, before, after) in [(60 * SECOND, 59, 2), (Duration::ZERO, 0, 3), (10 * SECOND, 9, 2)] {
        let mut branch = Setup::of(0);
        branch.back_off = BackOff { unconfirmed, ..BackOff::default() };
        let mut w = World::new([branch, Setup::of(1)]);
        w.packet(0);
        w.advance(SECOND);
        w.mute_ike = [true; 2];
        w.carrier.knobs.refuse_bye = Some("403 Forbidden");
        w.tell(0, clear());
        // The peer has lost the call, and takes the next one.
        w.tell(1, clear());
        w.mute_ike = [false; 2];
        for _ in 0..before {
            w.packet(0);
            w.advance(SECOND);
            assert_eq!(w.carrier.calls_answered, 1, "{unconfirmed:?}");
        }
        for _ in 0..after {
            w.packet(0);
            w.advance(SECOND);
        }
        assert_eq!(w.carrier.calls_answered, 2, "{unconfirmed:?} {:?}", w.session(0).waits_for);
    }
}

/// A BYE that cannot leave is not told as sent, and the call's end is told once there is one.
#[test]
fn without_an_address_the_bye_is_owed_from_the_first_moment() {
    let mut w = up();
    w.advance(9 * SECOND);
    w.mute_ike = [true; 2];
    w.carrier.knobs.swallow = vec!["BYE"];
    w.tell(0, wan_address(None));
    w.advance(30 * SECOND);
    assert!(logged(&w, 0, "bye-sent").is_empty());
    let told = logged(&w, 0, "bye-owed");
    assert!(told.len() == 1 && told[0].contains("the WAN has no address"), "{told:?}");
    let failure = w.session(0).last_failure.expect("a reason").failure;
    assert_eq!(
        (failure.code(), failure.to_string().as_str()),
        ("address-lost", "the WAN lost its address during the call")
    );
    assert!(logged(&w, 0, "call-ended").is_empty());
    w.carrier.knobs.swallow.clear();
    w.tell(0, wan_address(Some(WANS[0].parse().expect("an address"))));
    w.advance(SECOND);
    let ended = logged(&w, 0, "call-ended");
    assert!(ended.len() == 1 && ended[0].starts_with("call ended after 40.0 s: the WAN lost"), "{ended:?}");
}

/// A crash while the call rings: it is cancelled, and the next call is placed when that is done.
#[test]
fn a_call_of_an_earlier_run_ends_before_the_next_one_begins() {
    let mut w = World::default();
    // The called side has answered, and its answer does not come through.
    w.carrier.knobs.swallow = vec!["SIP/2.0 200"];
    w.packet(0);
    w.advance(700 * MS);
    assert_eq!((w.session(0).status, invites(&w)), ("DIALING", 1));
    w.crash(0);
    w.packet(0);
    w.advance(MS);
    assert_eq!(invites(&w), 1, "not before the old call has ended");
    let why = w.session(0).waits_for.expect("a reason");
    assert!(why.contains("not confirmed"), "{why}");
    w.carrier.knobs.swallow.clear();
    w.advance(5 * SECOND);
    w.packet(0);
    w.advance(SECOND);
    let from = |what: &str| w.carrier.seen.iter().rposition(|s| s.starts_with(what)).expect("seen");
    assert!(from("BYE") < from("INVITE sip:0"), "{:#?}", w.carrier.seen);
    assert_eq!((w.status(), w.carrier.billed.len(), w.failure(0)), (["SESSION_UP"; 2], 1, None));
}

/// A carrier that answers neither CANCEL nor BYE keeps the tunnel no longer than the profile says.
#[test]
fn the_wait_for_calls_of_an_earlier_run_is_bounded() {
    let mut branch = Setup::of(0);
    branch.back_off = BackOff { unconfirmed: Duration::ZERO, ..BackOff::default() };
    let mut w = World::new([branch, Setup::of(1)]);
    w.packet(0);
    w.advance(SECOND);
    w.mute_ike = [true; 2];
    w.carrier.knobs.swallow = vec!["BYE"];
    w.crash(0);
    w.tell(1, clear());
    w.mute_ike = [false; 2];
    for _ in 0..3 {
        w.packet(0);
        w.advance(SECOND);
    }
    assert_eq!(w.carrier.calls_answered, 1);
    for _ in 0..2 {
        w.packet(0);
        w.advance(SECOND);
    }
    assert_eq!(w.carrier.calls_answered, 2);
}

/// Which calls are hung up after a crash, and how old they are.
#[test]
fn calls_of_an_earlier_run_are_told_one_by_one() {
    let mut w = up();
    w.advance(6 * SECOND);
    w.crash(0);
    let told = logged(&w, 0, "recovered-call");
    assert_eq!(told.len(), 1);
    let text =
        format!("hanging up the answered call with {} of an earlier run, 7 s old (Call-ID ", NUMBERS[1]);
    assert!(told[0].starts_with(&text), "{told:?}");
    assert_eq!(logged(&w, 0, "recovered"), ["hanging up 1 call of an earlier run"]);
    w.advance(3 * SECOND);
    assert!(logged(&w, 0, "call-ended")[0].starts_with("call of an earlier run ended (Call-ID"));
    assert_eq!(w.failure(0), Some("restarted"));
    w.assert_no_call();
}

/// What this release cannot read is told at each start, and stays for the release that can.
#[test]
fn records_of_another_release_are_told_and_kept() {
    let mut w = up();
    let (key, mut record) = w.gateways[0].journal.pop_first().expect("of the call");
    record[0] = 9;
    w.gateways[0].journal.insert(key, record.clone());
    w.gateways[0].journal.insert(key + 1, vec![255, 1, 2]);
    for _ in 0..2 {
        w.crash(0);
        let told = logged(&w, 0, "records-unreadable");
        let text = told.last().expect("told");
        assert!(text.contains("2 records") && text.contains("version 9, 255"), "{text}");
        assert!(text.contains(NUMBERS[1]) && text.contains("start the release that wrote them"), "{text}");
        assert_eq!(w.gateways[0].journal.get(&key), Some(&record));
    }
    // New calls do not overwrite them.
    w.tell(1, clear());
    w.advance(5 * SECOND);
    w.packet(0);
    w.advance(SECOND);
    assert_eq!((w.gateways[0].journal.get(&key), w.gateways[0].journal.len()), (Some(&record), 3));
}

/// The SIP record of a call as releases wrote it that knew of UDP alone, and what stands before it and its length.
fn of_udp_alone(record: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let carrier = record.windows(8).rposition(|w| w == b"\x07default").expect("the carrier's name");
    // Behind it are the addresses of the media.
    let record = &record[..carrier];
    // version, two strings, a varint of 5 bytes for the time, the length of the SIP record
    let at = record.windows(2).position(|b| b == [4, 32]).expect("the SIP record and its Call-ID's length");
    let length_bytes = if record.len() - at > 127 { 2 } else { 1 };
    let mut dialog = record[at..].to_vec();
    dialog[0] = 2;
    let SocketAddr::V4(carrier) = CARRIER.parse().expect("an address") else { panic!("IPv4") };
    let target = [&[0, 0], carrier.ip().octets().as_slice(), &[0xc4, 0x27, 0]].concat();
    let found = dialog.windows(target.len()).position(|w| w == target).expect("UDP, the address, no name");
    dialog.remove(found + target.len() - 1);
    dialog.remove(found);
    (record[..at - length_bytes].to_vec(), dialog)
}

/// The releases before wrote the SIP record alone, or with the numbers and the time before it.
#[test]
fn records_of_the_releases_before_are_hung_up() {
    for alone in [true, false] {
        let mut w = up();
        w.mute_ike = [true; 2];
        for record in w.gateways[0].journal.values_mut() {
            let (mut before, dialog) = of_udp_alone(record);
            before[0] = 3;
            let length = [
                u8::try_from(dialog.len() % 128).expect("below 128") | 128,
                u8::try_from(dialog.len() / 128).expect("short"),
            ];
            *record = if alone { dialog } else { [before, length.to_vec(), dialog].concat() };
        }
        w.crash(0);
        w.advance(3 * SECOND);
        w.assert_no_call();
        assert!(logged(&w, 0, "recovered-call")[0].contains(NUMBERS[1]));
    }
}

/// A shutdown has time for the BYE of the last call to be repeated (RFC 3261 §17.1.2.2, timer F: 32 s), and beyond that for
/// BYEs that wait for their turn.
#[test]
fn a_shutdown_knows_how_long_it_may_take() {
    let w = up();
    assert_eq!(w.gateways[0].core.shutdown_max(w.now), 34 * SECOND);
}
