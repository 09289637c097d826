//! What costs money: calls that cannot be hung up, crashes, and faults that come again and again.

use crate::support::{CARRIER, FakeDataplane, NUMBERS, Setup, WANS, World, wan_address};
use crate::{SECOND, up};
use sipsec_net::dp::{Event, ExpireCause};
use sipsec_session::{Admin, BackOff, Input};
use std::net::SocketAddr;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn clear() -> Input {
    Input::Admin(Admin::Clear { remote_number: None })
}

fn invites(w: &World) -> usize {
    w.carrier.seen.iter().filter(|s| s.starts_with("INVITE sip:0")).count()
}

fn logged<'a>(w: &'a World, side: usize, event: &str) -> Vec<&'a str> {
    w.gateways[side].log.iter().filter_map(|l| l.strip_prefix(event)?.strip_prefix(' ')).collect()
}

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

fn packets(w: &mut World, seconds: u32) {
    for _ in 0..seconds * 5 {
        w.packet(0);
        w.advance(200 * MS);
    }
}

/// A fault of this side ends each call as soon as it is up: the first time the next call comes at once, and
/// then less and less often.
#[test]
fn faults_of_ours_that_come_again_are_braked() {
    type Fault<'a> = (&'static str, &'a dyn Fn(&mut World));
    let dataplane = |w: &mut World| {
        w.gateways[0].dp = FakeDataplane::default();
        w.tell(0, Input::DataplaneDown);
        w.tell(0, Input::DataplaneUp);
    };
    let address = |w: &mut World| {
        w.tell(0, wan_address(None));
        w.tell(0, wan_address(Some(WANS[0].parse().expect("an address"))));
    };
    let crash = |w: &mut World| w.crash(0);
    let faults: [Fault<'_>; 3] =
        [("dataplane-gone", &dataplane), ("address-lost", &address), ("restarted", &crash)];
    for (code, fault) in faults {
        let mut w = World::default();
        let mut at = Vec::new();
        for _ in 0..600 {
            w.packet(0);
            w.advance(100 * MS);
            if w.session(0).status == "SESSION_UP" {
                at.push(w.now);
                fault(&mut w);
            }
        }
        // 0, at once, +10, +20, +40 s, with a quarter of jitter at most.
        assert!((3..=5).contains(&at.len()), "{code}: {} calls in a minute", at.len());
        assert!(at[1].saturating_duration_since(at[0]) < 2 * SECOND, "{code}: the first one brakes nothing");
        assert_eq!(w.failure(0), Some(code));
    }
}

/// A fault ends each call within a minute, at this side, at the other or between them: a quarter of an hour of it costs a few
/// calls, although both sides have packets all the time.
#[test]
fn no_fault_that_comes_again_costs_a_call_each_time() {
    type Fault = fn(&mut World);
    fn lose_dataplane(w: &mut World, side: usize) {
        w.gateways[side].dp = FakeDataplane::default();
        w.tell(side, Input::DataplaneDown);
        w.tell(side, Input::DataplaneUp);
    }
    fn lose_address(w: &mut World, side: usize) {
        w.tell(side, wan_address(None));
        w.tell(side, wan_address(Some(WANS[side].parse().expect("an address"))));
    }
    fn spend(w: &mut World, side: usize) {
        let sa = w.gateways[side].dp.bound.expect("up");
        let event = Event::SaExpire { sa, cause: ExpireCause::Bytes, hard: true };
        w.tell(side, Input::Dataplane(event));
    }
    fn silence(w: &mut World) {
        w.mute_ike = [true; 2];
        while w.status().contains(&"SESSION_UP") {
            w.packet(0);
            w.packet(1);
            w.advance(SECOND);
        }
        w.mute_ike = [false; 2];
    }
    let faults: [(&str, Fault); 9] = [
        ("our dataplane", |w| lose_dataplane(w, 0)),
        ("the peer's dataplane", |w| lose_dataplane(w, 1)),
        ("our address", |w| lose_address(w, 0)),
        ("the peer's address", |w| lose_address(w, 1)),
        ("our crash", |w| w.crash(0)),
        ("the peer's crash", |w| w.crash(1)),
        ("our SA", |w| spend(w, 0)),
        ("the peer's SA", |w| spend(w, 1)),
        ("silence", silence),
    ];
    // 0, at once, +10, +20, +40, +80, +160, +300 s, and a call of the peer, whose brake is its own.
    const CALLS_MAX: usize = 10;
    for (name, fault) in faults {
        for up_s in [0, 7, 30] {
            let mut w = World::default();
            let end = w.now + 900 * SECOND;
            let mut up_since = None;
            while w.now < end {
                w.packet(0);
                w.packet(1);
                w.advance(SECOND / 2);
                match (w.status(), up_since) {
                    (["SESSION_UP", "SESSION_UP"], None) => up_since = Some(w.now),
                    (["SESSION_UP", "SESSION_UP"], Some(since)) if since + up_s * SECOND <= w.now => {
                        fault(&mut w);
                        up_since = None;
                    }
                    (["SESSION_UP", "SESSION_UP"], _) => {}
                    _ => up_since = None,
                }
            }
            let calls = w.carrier.calls_answered;
            assert!((2..=CALLS_MAX).contains(&calls), "{name} after {up_s} s: {calls} calls");
        }
    }
}

/// The brake of a tunnel survives the process.
#[test]
fn a_restart_does_not_release_the_brake() {
    let mut w = World::default();
    w.carrier.knobs.rewrite = vec![("b=AS:64\r\n", "")];
    w.packet(0);
    w.advance(SECOND);
    assert_eq!((w.failure(0), w.carrier.calls_answered), (Some("sdp-missing-bandwidth"), 1));
    for _ in 0..4 {
        w.crash(0);
        packets(&mut w, 1);
    }
    assert_eq!(w.carrier.calls_answered, 1);
    assert!(w.session(0).retry_in.is_some());
    packets(&mut w, 3);
    assert_eq!(w.carrier.calls_answered, 2, "and not for longer than it was");
    // An operator releases it, for the next run too.
    w.tell(0, clear());
    assert!(w.gateways[0].brakes.is_empty());
}

/// A session that has lasted was a success: the next fault of ours is the first again.
#[test]
fn a_fault_after_a_long_session_is_the_first_again() {
    let mut w = up();
    for _ in 0..3 {
        for _ in 0..70 {
            w.packet(0);
            w.advance(SECOND);
        }
        let calls = w.carrier.calls_answered;
        w.crash(0);
        packets(&mut w, 2);
        assert_eq!((w.status(), w.carrier.calls_answered), (["SESSION_UP"; 2], calls + 1));
    }
}

/// Calls that cost nothing are tried again soon after the cause is gone, however often they failed.
#[test]
fn refused_calls_are_not_held_back_for_long() {
    let mut w = World::default();
    w.carrier.knobs.reject = Some("480 Temporarily Unavailable");
    packets(&mut w, 300);
    let tries = invites(&w);
    assert!((9..=14).contains(&tries), "{tries} tries");
    w.carrier.knobs.reject = None;
    packets(&mut w, 40);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
}

/// A shutdown has time for the BYE of the last call to be repeated (RFC 3261 §17.1.2.2, timer F: 32 s), and beyond that for
/// BYEs that wait for their turn.
#[test]
fn a_shutdown_knows_how_long_it_may_take() {
    let w = up();
    assert_eq!(w.gateways[0].core.shutdown_max(w.now), 34 * SECOND);
}

/// A second of traffic that leaves, and comes if `answered`.
fn traffic(w: &mut World, answered: bool) {
    w.packet(0);
    let now = w.now;
    let dp = &mut w.gateways[0].dp;
    if dp.bound.is_some() {
        dp.activity.packets_out += 50;
        if answered {
            dp.activity.packets_in += 50;
            dp.activity.last_in = now;
        }
    }
    w.advance(SECOND);
}

#[test]
fn a_tunnel_that_is_never_answered_is_called_anew_once_and_then_after_pauses() {
    let branch = Setup { one_way: Some(5 * SECOND), ..Setup::of(0) };
    let mut w = World::new([branch, Setup::of(1)]);
    for _ in 0..60 {
        traffic(&mut w, true);
    }
    assert_eq!(w.carrier.calls_answered, 1, "it is answered");
    let mut seconds = 0;
    while w.carrier.calls_answered == 1 {
        traffic(&mut w, false);
        seconds += 1;
        assert!(seconds < 12, "{:?}", w.gateways[0].log);
    }
    assert!(seconds >= 5, "{seconds}");
    let failed = logged(&w, 0, "failed");
    assert!(failed.len() == 1 && failed[0].contains("one way"), "{failed:?}");
    for _ in 0..12 {
        traffic(&mut w, false);
    }
    // The second in a row is a failure like any other.
    assert_eq!(w.carrier.calls_answered, 2);
    assert_eq!(logged(&w, 0, "failed").len(), 2);
    assert!(w.session(0).retry_in.is_some());
    // Two hours: the pauses become longer, and answers end them.
    for _ in 0..7200 {
        traffic(&mut w, false);
    }
    assert!(w.carrier.calls_answered < 40, "{}", w.carrier.calls_answered);
    // Answers again: the next call stays.
    let mut seconds = 0;
    while w.status()[0] != "SESSION_UP" {
        traffic(&mut w, true);
        seconds += 1;
        assert!(seconds < 400, "{:?}", w.status());
    }
    let calls = w.carrier.calls_answered;
    for _ in 0..60 {
        traffic(&mut w, true);
    }
    assert_eq!((w.carrier.calls_answered, w.status()[0]), (calls, "SESSION_UP"));
}

#[test]
fn a_tunnel_counts_as_failed_until_an_operator_clears_it() {
    let mut w = World::default();
    let failed = |w: &World| w.gateways[0].core.statuses(w.now).any(|t| t.failed);
    w.mute_ike = [true; 2];
    w.packet(0);
    w.advance(SECOND * 20);
    assert_eq!((failed(&w), w.failure(0)), (true, Some("negotiation-deadline")));
    w.tell(0, clear());
    w.run();
    assert_eq!((failed(&w), w.failure(0)), (false, Some("negotiation-deadline")), "it is still told");
}
