//! How sessions end, and how soon the next call may come.

use crate::support::{Setup, World};
use crate::{SECOND, up};
use sipsec_session::{Admin, Input};
use std::time::Duration;

/// RFC 3261 §17.1.2.2: a BYE is repeated for 32 s. Nothing else keeps a shutdown waiting that long.
#[test]
fn shutdown_waits_for_its_byes_and_not_for_the_registrar() {
    let complete = |w: &World| w.gateways[1].events.iter().any(|e| e == "shutdown-complete");
    let mut w = up();
    w.mute_ike = [true; 2];
    w.carrier.knobs.swallow = vec!["BYE"];
    w.tell(1, Input::Admin(Admin::Shutdown));
    w.advance(20 * SECOND);
    assert!(!complete(&w), "{:?}", w.gateways[1].events);
    w.carrier.knobs.swallow.clear();
    w.advance(7 * SECOND);
    w.assert_no_call();
    assert!(complete(&w));

    let mut w = up();
    w.mute_ike = [true; 2];
    w.carrier.knobs.swallow = vec!["BYE"];
    w.tell(1, Input::Admin(Admin::Shutdown));
    w.advance(35 * SECOND);
    assert!(complete(&w), "it has an end");

    let mut w = World::default();
    w.carrier.knobs.swallow = vec!["REGISTER"];
    w.tell(1, Input::Admin(Admin::Shutdown));
    w.advance(3 * SECOND);
    assert!(!complete(&w));
    w.advance(2 * SECOND);
    assert!(complete(&w));
}

/// A call that the carrier does not let go is given up in the end; the operator hears of it, once.
#[test]
fn a_call_that_cannot_be_hung_up_is_told_of() {
    let mut w = up();
    w.mute_ike = [true; 2];
    w.carrier.knobs.swallow = vec!["BYE"];
    w.tell(0, Input::Admin(Admin::Clear { remote_number: None }));
    w.advance(600 * SECOND);
    let told = |w: &World| w.gateways[0].events.iter().filter(|e| *e == "not-hung-up").count();
    assert_eq!((told(&w), w.gateways[0].core.sip_stats().byes_unanswered), (0, 0));
    w.advance(600 * SECOND);
    assert_eq!((told(&w), w.gateways[0].core.sip_stats().byes_unanswered), (1, 1));
}

/// How often an event came, and whether all of them came before any of the others.
fn before(w: &World, side: usize, first: &str, then: &str) -> (usize, bool) {
    let events = &w.gateways[side].events;
    let places = |name: &str| -> Vec<usize> {
        events.iter().enumerate().filter(|(_, e)| *e == name).map(|(n, _)| n).collect()
    };
    let (a, b) = (places(first), places(then));
    (a.len(), a.last() < b.first())
}

/// The end of a call is told when the dataplane has confirmed that nothing more is counted, on both sides, also when the
/// process ends. A dataplane that has gone confirms nothing.
#[test]
fn the_end_of_a_call_follows_its_last_numbers() {
    let mut w = up();
    w.tell(0, Input::Admin(Admin::Clear { remote_number: None }));
    w.advance(SECOND);
    for side in [0, 1] {
        assert_eq!(
            before(&w, side, "call-counted", "call-ended"),
            (1, true),
            "{:?}",
            w.gateways[side].events
        );
    }
    let mut w = up();
    w.tell(1, Input::Admin(Admin::Shutdown));
    w.advance(SECOND);
    assert_eq!(before(&w, 1, "call-counted", "call-ended"), (1, true));
    assert_eq!(before(&w, 1, "call-ended", "shutdown-complete"), (1, true));
    let mut w = up();
    w.tell(0, Input::DataplaneDown);
    w.advance(SECOND);
    assert_eq!(before(&w, 0, "call-ended", "never").0, 1, "{:?}", w.gateways[0].events);
    assert_eq!(before(&w, 1, "call-counted", "call-ended"), (1, true));
}

/// A dataplane that stops to answer keeps no shutdown and hides no call.
#[test]
fn a_dataplane_that_does_not_answer_hides_no_call() {
    let mut w = up();
    w.gateways[1].dp.silent = true;
    w.tell(1, Input::Admin(Admin::Shutdown));
    w.advance(10 * SECOND);
    assert_eq!(before(&w, 1, "call-ended", "shutdown-complete"), (1, true), "{:?}", w.gateways[1].events);
    let mut w = up();
    w.gateways[0].dp.silent = true;
    w.tell(0, Input::Admin(Admin::Clear { remote_number: None }));
    w.advance(SECOND);
    assert_eq!(before(&w, 0, "call-ended", "never").0, 0);
    w.tell(0, Input::DataplaneDown);
    w.advance(SECOND);
    assert_eq!(before(&w, 0, "call-counted", "call-ended"), (1, true));
}

/// A peer that ends every session as soon as it is up is not called as fast as packets come.
#[test]
fn sessions_that_the_peer_ends_at_once_are_damped() {
    let clear = || Input::Admin(Admin::Clear { remote_number: None });
    let mut w = World::default();
    for _ in 0..60 {
        w.packet(0);
        w.advance(SECOND);
        if w.status() == ["SESSION_UP"; 2] {
            w.tell(1, clear());
        }
        w.advance(SECOND);
    }
    assert_eq!(w.failure(0), Some("peer-ended-early"));
    assert!((3..=7).contains(&w.carrier.calls_answered), "{}", w.carrier.calls_answered);
    // An operator's clear at this side ends the row: the next end is the first again.
    let calls = w.carrier.calls_answered;
    w.tell(0, clear());
    for _ in 0..2 {
        w.packet(0);
        w.advance(SECOND);
        w.tell(1, clear());
        w.advance(SECOND);
    }
    assert_eq!(w.carrier.calls_answered, calls + 2);
    // One that lasts ends it, too.
    w.advance(300 * SECOND);
    for _ in 0..70 {
        w.packet(0);
        w.advance(SECOND);
    }
    w.tell(1, clear());
    w.advance(SECOND);
    let calls = w.carrier.calls_answered;
    w.packet(0);
    w.advance(SECOND);
    assert_eq!((w.status(), w.carrier.calls_answered), (["SESSION_UP"; 2], calls + 1));
}

/// RFC 7296 §2.4: received data is a sign of life. The dataplane is polled for it at least twice in each interval of DPD.
#[test]
fn live_traffic_needs_no_question() {
    let mut often = Setup::of(0);
    often.dpd = SECOND;
    let mut w = World::new([often, Setup::of(1)]);
    w.packet(0);
    w.advance(SECOND);
    let asked = |w: &World| {
        let view = w.gateways[0].core.crypto_sessions(w.now).remove(0);
        view.sa.expect("up").counters.dpd_sent
    };
    let before = asked(&w);
    for _ in 0..200 {
        w.packet(0);
        w.gateways[0].dp.activity.last_in = w.now;
        w.advance(Duration::from_millis(100));
    }
    assert_eq!((w.status(), asked(&w)), (["SESSION_UP"; 2], before));
    w.advance(2 * SECOND);
    assert!(asked(&w) > before, "and silence does");
}

/// The peer's idle timer is the shorter one: no fault.
#[test]
fn a_peer_that_hangs_up_an_idle_session_is_called_at_once() {
    let mut patient = Setup::of(0);
    patient.idle = 300 * SECOND;
    let mut hasty = Setup::of(1);
    hasty.idle = 10 * SECOND;
    let mut w = World::new([patient, hasty]);
    for calls in 1..5 {
        w.packet(0);
        w.advance(SECOND);
        assert_eq!((w.status(), w.carrier.calls_answered), (["SESSION_UP"; 2], calls));
        w.advance(15 * SECOND);
        w.assert_no_call();
    }
    assert_eq!(w.failure(0), None);
}

/// Behind a SIP peer may be an IKE peer that knows of no BYE. The BYE waits for none of it, and neither does the next call.
#[test]
fn a_lost_delete_is_repeated_unless_a_packet_waits() {
    let clear = || Input::Admin(Admin::Clear { remote_number: None });
    for waits in [false, true] {
        let mut w = up();
        w.mute_ike[0] = true;
        // The peer hears nothing of the end by SIP.
        w.carrier.knobs.swallow = vec!["BYE"];
        let heard = |w: &World| w.gateways[1].events.iter().any(|e| e == "bye-sent");
        w.tell(0, clear());
        assert!(w.carrier.seen.iter().any(|s| s.starts_with("BYE")), "at once");
        w.advance(Duration::from_millis(50));
        if waits {
            w.packet(0);
        }
        w.advance(Duration::from_millis(250));
        assert_eq!(w.gateways[0].dp.media.is_empty(), waits);
        w.mute_ike[0] = false;
        w.advance(Duration::from_millis(1500));
        assert_eq!(heard(&w), !waits, "{:?}", w.gateways[1].events);
    }
}

/// The kernel is asked for the next hop of a call no longer than the call needs it, however the call ends.
#[test]
fn next_hops_are_followed_for_calls_alone() {
    type End = fn(&mut World);
    let ends: [(&str, End); 3] = [
        ("no next hop", |w| w.advance(20 * SECOND)),
        ("no dataplane", |w| w.tell(0, Input::DataplaneDown)),
        ("port refused", |w| {
            let g = &mut w.gateways[0];
            g.dp.refuse_media = true;
            let port = *g.resolved.first().expect("asked for");
            w.tell(0, Input::NextHop { media_port: port, mac: sipsec_net::MacAddr([2; 6]) });
        }),
    ];
    for (name, end) in ends {
        let mut w = World::default();
        w.gateways[0].no_next_hop = true;
        w.packet(0);
        w.advance(SECOND / 10);
        assert_eq!(w.gateways[0].resolved.len(), 1, "{name}");
        end(&mut w);
        w.run();
        assert!(w.gateways[0].resolved.is_empty(), "{name}");
    }
}
