//! Calls whose INVITE has no offer (RFC 3264 §5): refused, or answered with an offer where the profile wants it.

use crate::SECOND;
use crate::support::{Setup, World};

fn world(delayed_offers: bool, setup: &'static str) -> World {
    let called = Setup { delayed_offers, ..Setup::of(1) };
    let mut w = World::new([Setup::of(0), called]);
    w.carrier.knobs.takes_offers = Some(setup);
    w.packet(0);
    w
}

#[test]
fn the_ack_has_the_answer_and_the_session_comes_up() {
    let mut w = world(true, "active");
    w.advance(3 * SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2], "{:?}\n{:?}", w.gateways[0].events, w.gateways[1].events);
    let (caller, called) = (w.session(0), w.session(1));
    assert_eq!(called.remote.map(|r| r.port()), Some(caller.local_port));
    assert_eq!(caller.remote.map(|r| r.port()), Some(called.local_port));
    assert_eq!(called.bandwidth_negotiated.map(|k| k.0), Some(64), "the smaller rate of both");
    assert_eq!(called.caller, Some(false));
    let offers = w.carrier.bodies.iter().filter(|b| b.contains("ike-setup:actpass")).count();
    assert_eq!(offers, 0, "the carrier has made answers of them");
    w.advance(120 * SECOND);
    w.assert_no_call();
}

#[test]
fn without_the_profiles_wish_it_is_refused_with_a_reason_and_costs_nothing() {
    let mut w = world(false, "active");
    w.advance(3 * SECOND);
    assert_eq!(w.carrier.calls_answered, 0);
    let why = w.session(1).last_failure.map(|f| f.failure.to_string()).unwrap_or_default();
    assert!(why.contains("no offer"), "{why}");
    w.advance(60 * SECOND);
    w.assert_no_call();
}

/// The answer comes when the call is paid for already: one that cannot be used ends it at once.
#[test]
fn an_unusable_answer_ends_the_call() {
    for edit in [
        (|sdp: &str| {
            if sdp.contains("ike-setup:active") { sdp.replace("b=AS:", "b=TIAS:") } else { sdp.into() }
        }) as fn(&str) -> String,
        |sdp: &str| if sdp.contains("ike-setup:active") { String::new() } else { sdp.into() },
        |sdp: &str| if sdp.contains("ike-setup:active") { "no SDP".into() } else { sdp.into() },
    ] {
        let mut w = world(true, "active");
        w.carrier.knobs.edit = Some(edit);
        w.advance(3 * SECOND);
        assert!(w.failure(1).is_some(), "{:?}", w.gateways[1].events);
        w.carrier.knobs.edit = None;
        w.carrier.knobs.reject = Some("480 Temporarily Unavailable");
        w.advance(120 * SECOND);
        w.assert_no_call();
    }
}

/// A peer that never acknowledges is hung up after 64·T1, as one that was given an answer.
#[test]
fn without_an_ack_the_call_ends() {
    let mut w = world(true, "active");
    w.carrier.knobs.swallow = vec!["ACK"];
    w.advance(3 * SECOND);
    assert_eq!(w.carrier.calls_answered, 1);
    w.carrier.knobs.reject = Some("480 Temporarily Unavailable");
    w.advance(300 * SECOND);
    w.assert_no_call();
}
