//! Both ends learn why a call failed.

use crate::SECOND;
use crate::support::{Setup, World};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn logged<'a>(w: &'a World, side: usize, event: &str) -> Vec<&'a str> {
    w.gateways[side].log.iter().filter_map(|l| l.strip_prefix(event)?.strip_prefix(' ')).collect()
}

fn different_keys() -> World {
    let (mut a, mut b) = (Setup::of(0), Setup::of(1));
    (a.psk_fingerprint, b.psk_fingerprint) = (false, false);
    b.psk = b"another key, of which the branch knows nothing";
    World::new([a, b])
}

/// The side that refuses in IKE lets its refusal arrive before its BYE ends the call.
#[test]
fn the_refusal_in_ike_is_heard_before_the_bye() {
    let mut w = different_keys();
    w.packet(0);
    w.advance(3 * SECOND);
    assert_eq!(logged(&w, 1, "bye-sent"), [""; 0], "the side that was refused hangs up");
    for side in 0..2 {
        assert_eq!(w.failure(side), Some("ike-authentication-failed"), "{side}");
        let ended = logged(&w, side, "call-ended");
        assert!(ended.len() == 1 && ended[0].contains("authenticat"), "{ended:?}");
    }
    w.assert_no_call();
}

/// A BYE that overtakes the reason: IKE is listened to for a moment.
#[test]
fn a_bye_that_comes_before_the_reason_does_not_hide_it() {
    let mut w = different_keys();
    // The answer of the called side is late by 200 ms, and its BYE is not.
    w.delay_ike[1] = Some(200 * MS);
    w.packet(0);
    w.advance(210 * MS);
    w.tell(1, sipsec_session::Input::Admin(sipsec_session::Admin::Clear { remote_number: None }));
    w.advance(MS);
    assert_eq!(w.failure(0), None, "not known yet");
    w.advance(SECOND);
    assert_eq!(w.failure(0), Some("ike-authentication-failed"));
    let ended = logged(&w, 0, "call-ended");
    assert!(
        ended.len() == 1 && ended[0].contains("the peer does not accept our authentication"),
        "{ended:?}"
    );
    w.assert_no_call();
}

/// No reason comes: what was seen here is told.
#[test]
fn a_hang_up_without_a_reason_tells_what_was_seen() {
    let mut w = World::default();
    w.mute_ike = [false, true];
    w.packet(0);
    w.advance(4 * SECOND);
    w.tell(1, sipsec_session::Input::Admin(sipsec_session::Admin::Clear { remote_number: None }));
    w.advance(400 * MS);
    assert_eq!(w.failure(0), None);
    w.advance(200 * MS);
    let failure = w.session(0).last_failure.expect("a reason").failure;
    assert_eq!(failure.code(), "peer-hung-up");
    let text = failure.to_string();
    assert!(
        text.contains("IKE_SA_INIT request (")
            && text.contains("was sent")
            && text.ends_with("no answer came"),
        "{text}"
    );
    let ended = logged(&w, 0, "call-ended");
    assert!(
        ended.len() == 1
            && ended[0]
                .contains("the peer hung up before the SA was up: cleared by the operator; IKE_SA_INIT"),
        "{ended:?}"
    );
    w.advance(SECOND);
    w.assert_no_call();
}

/// The peer calls while its reason is listened for: its call is taken, and the failure of the last one is told.
#[test]
fn a_call_of_the_peer_ends_the_listening() {
    let mut w = World::default();
    w.mute_ike = [false, true];
    w.packet(0);
    w.advance(4 * SECOND);
    w.tell(1, sipsec_session::Input::Admin(sipsec_session::Admin::Clear { remote_number: None }));
    w.advance(100 * MS);
    w.mute_ike = [false, false];
    w.packet(1);
    w.advance(2 * SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    assert_eq!((w.failure(0), w.session(0).caller), (Some("peer-hung-up"), Some(false)));
}

/// Both sides' deadlines pass together: the BYE of the other side hides nothing of what this one saw.
#[test]
fn a_deadline_tells_which_message_got_no_answer() {
    let mut w = World::default();
    w.mute_ike = [true, true];
    w.packet(0);
    w.advance(17 * SECOND);
    let text = w.session(0).last_failure.expect("a reason").failure.to_string();
    assert!(text.contains("IKE_SA_INIT request (") && text.contains("times, no answer came"), "{text}");
    w.advance(SECOND);
    w.assert_no_call();
}

/// The commonest provisioning fault: the far end has no tunnel for the caller. The caller is told so.
#[test]
fn a_caller_without_a_tunnel_is_told_that_the_far_end_has_none() {
    let mut closed = Setup::of(1);
    closed.remote = "0377777777";
    let mut w = World::new([Setup::of(0), closed]);
    w.packet(0);
    w.advance(SECOND);
    let failure = w.session(0).last_failure.expect("a reason").failure;
    assert_eq!(failure.code(), "sip-status");
    assert!(failure.to_string().contains("403 Forbidden: no tunnel has this number"), "{failure}");
    assert!(failure.cure().starts_with("at the far end"), "{}", failure.cure());
}

/// A BYE says why, and the other side shows it, in the same line as the end of the call.
#[test]
fn the_reason_of_a_bye_is_shown_at_the_other_side() {
    let mut w = crate::up();
    w.mute_ike = [true; 2];
    w.tell(1, sipsec_session::Input::Admin(sipsec_session::Admin::Clear { remote_number: None }));
    w.advance(SECOND);
    let ended = logged(&w, 0, "call-ended");
    assert!(ended.len() == 1 && ended[0].contains("cleared by the operator"), "{ended:?}");

    let mut w = World::default();
    w.mute_ike = [true, true];
    w.packet(0);
    w.advance(17 * SECOND);
    for side in 0..2 {
        let ended = logged(&w, side, "call-ended");
        assert!(ended.len() == 1 && ended[0].contains("no SA within 15 s"), "{side} {ended:?}");
    }
}

/// What one side knows of its own keyring is not told to the other.
#[test]
fn no_neighbour_of_a_missing_key_is_told_to_the_caller() {
    let mut other = Setup::of(1);
    other.key_for = "0388881009";
    let mut w = World::new([Setup::of(0), other]);
    w.packet(0);
    w.advance(SECOND);
    let failure = w.session(0).last_failure.expect("a reason").failure.to_string();
    assert!(
        failure.contains("no key or certificate for this number") && !failure.contains("0388881009"),
        "{failure}"
    );
}

/// What IOS does with a static policy on a tunnel: neither side's calls become sessions, and nothing is paid.
#[test]
fn a_policy_fails_the_calls_of_a_strict_gateway_and_of_no_other() {
    let with_policy = |strict_cisco| Setup { filters: 9, strict_cisco, ..Setup::of(0) };
    let mut w = World::new([with_policy(true), Setup::of(1)]);
    w.packet(0);
    w.advance(3 * SECOND);
    assert_eq!(w.failure(0), Some("static-qos"));
    w.packet(1);
    w.advance(3 * SECOND);
    let refused = w.session(1).last_failure.expect("a reason").failure.to_string();
    assert!(refused.contains("static QoS policy"), "{refused}");
    w.assert_no_call();

    let mut w = World::new([with_policy(false), Setup::of(1)]);
    w.packet(0);
    w.advance(3 * SECOND);
    let known = &w.gateways[0].dp;
    assert_eq!((w.failure(0), known.classes, known.filters), (None, 2, 9));
}
