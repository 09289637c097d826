//! Sessions between two gateways, from the first packet to the last BYE, and every way in which they fail.

#[path = "sessions/brakes.rs"]
mod brakes;
#[path = "sessions/carriers.rs"]
mod carriers;
#[path = "sessions/certificates.rs"]
mod certificates;
#[path = "sessions/changes.rs"]
mod changes;
#[path = "sessions/crash_tokens.rs"]
mod crash_tokens;
#[path = "sessions/delayed.rs"]
mod delayed;
#[path = "sessions/ends.rs"]
mod ends;
#[path = "sessions/handover.rs"]
mod handover;
#[path = "sessions/key_change.rs"]
mod key_change;
#[path = "sessions/money.rs"]
mod money;
#[path = "sessions/peers.rs"]
mod peers;
#[path = "sessions/reasons.rs"]
mod reasons;
#[path = "sessions/routes.rs"]
mod routes;
#[path = "sessions/selectors.rs"]
mod selectors;
mod support;

use sipsec_net::dp::PeerSource;
use sipsec_net::{MediaPort, TelNumber};
use sipsec_session::{Admin, Input};
use std::time::Duration;
use support::{NUMBERS, Setup, World, number, wan_address};

const SECOND: Duration = Duration::from_secs(1);
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

fn up() -> World {
    let mut w = World::default();
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2], "{:?} {:?}", w.gateways[0].events, w.gateways[1].events);
    w
}

#[test]
fn a_packet_opens_a_session_at_the_smaller_rate() {
    let w = up();
    for (side, g) in w.gateways.iter().enumerate() {
        assert_eq!((g.dp.sas.len(), g.dp.media.len(), g.dp.replayed), (2, 1, 1));
        assert!(g.dp.bound.is_some());
        let s = w.session(side);
        // The seed: configured 1000, negotiated 64.
        assert_eq!(s.bandwidth_negotiated.map(|k| k.0), Some(64));
        assert_eq!(s.caller, Some(side == 0));
        assert_eq!(s.remote.map(|r| r.port()), Some(w.session(1 - side).local_port));
        assert_eq!(g.core.nat_translations().len(), 1);
    }
    assert_eq!(w.carrier.calls_answered, 1);
    let order = [
        "trigger",
        "invite-sent",
        "answered",
        "ike-started",
        "ike-authenticated",
        "sa-installed",
        "session-up",
    ];
    let events: Vec<_> = w.gateways[0].events.iter().filter(|e| order.contains(&e.as_str())).collect();
    assert_eq!(events, order);
}

#[test]
fn the_same_profile_calls_and_is_called() {
    let mut w = World::default();
    w.packet(1);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    assert_eq!(w.session(1).caller, Some(true));
}

#[test]
fn an_idle_session_hangs_up_and_the_next_packet_calls_again() {
    let mut w = up();
    w.advance(20 * SECOND);
    w.packet(0);
    w.advance(29 * SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2], "data 29 s ago");
    w.advance(3 * SECOND);
    assert_eq!(w.status(), ["READY_TO_CONNECT"; 2]);
    w.assert_no_call();
    assert_eq!(w.gateways[1].events.iter().filter(|e| *e == "bye-received").count(), 1);
    // No failure, so no back-off.
    w.packet(1);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    assert_eq!(w.carrier.calls_answered, 2);
}

#[test]
fn idle_hangs_up_at_once_even_without_an_answer() {
    let mut w = up();
    w.mute_ike = [true; 2];
    w.carrier.knobs.swallow = vec!["SIP/2.0 200", "BYE"];
    let seen = w.carrier.seen.len();
    w.advance(31 * SECOND);
    let byes = w.carrier.seen[seen..].iter().filter(|s| s.starts_with("BYE")).count();
    assert!(byes > 1, "BYE is repeated until it is answered");
    w.carrier.knobs.swallow.clear();
    w.advance(5 * SECOND);
    w.assert_no_call();
}

#[test]
fn an_operator_clears_one_number() {
    let mut w = up();
    let clear =
        |n: &str| Input::Admin(Admin::Clear { remote_number: Some(n.parse::<TelNumber>().expect("valid")) });
    w.tell(0, clear("0300000000"));
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    w.tell(0, clear(NUMBERS[1]));
    w.advance(SECOND);
    assert_eq!(w.status(), ["READY_TO_CONNECT"; 2]);
    w.assert_no_call();
}

#[test]
fn shutdown_hangs_up_first() {
    let mut w = up();
    w.tell(1, Input::Admin(Admin::Shutdown));
    w.advance(SECOND);
    w.assert_no_call();
    assert_eq!(w.gateways[1].events.last().map(String::as_str), Some("shutdown-complete"));
}

/// Runs a first packet in a world that cannot work, and checks what must hold for any reason.
fn refused(mut w: World, side: usize) -> World {
    w.packet(0);
    w.advance(40 * SECOND);
    w.assert_no_call();
    let s = w.session(side);
    let f = s.last_failure.expect("a reason").failure;
    assert!(!f.to_string().is_empty() && !f.cure().is_empty());
    assert!(!f.to_string().contains("a key that both ends have"), "no secret in a reason");
    w
}

#[test]
fn an_answer_or_offer_without_bandwidth_fails_and_is_hung_up() {
    for find in ["b=AS:64\r\n", "b=AS:1000\r\n"] {
        let mut w = World::default();
        w.carrier.knobs.rewrite = vec![(find, "")];
        let side = usize::from(find.contains("1000"));
        let w = refused(w, side);
        assert_eq!(w.failure(side), Some("sdp-missing-bandwidth"), "{find}");
        assert_eq!(w.carrier.calls_answered, usize::from(side == 0));
    }
}

#[test]
fn another_key_is_found_before_ike_by_its_fingerprint() {
    let mut other = Setup::of(1);
    other.psk = b"another key, of which the branch knows nothing";
    let w = refused(World::new([Setup::of(0), other]), 1);
    assert_eq!(w.failure(1), Some("fingerprint-mismatch"));
    assert_eq!(w.failure(0), Some("sip-status"), "refused with 488 before it costs anything");
    assert_eq!(w.carrier.calls_answered, 0);
}

#[test]
fn a_fingerprint_changed_on_the_way_fails_even_if_the_key_is_right() {
    let mut w = World::default();
    let psk = Setup::of(0).psk;
    let good = sipsec_ike::psk_fingerprint(psk, sipsec_net::HashFunc::Sha256).to_string();
    let bad = good.replace(&good[8..10], if &good[8..10] == "00" { "11" } else { "00" });
    w.carrier.knobs.rewrite = vec![(Box::leak(good.into_boxed_str()), Box::leak(bad.into_boxed_str()))];
    let w = refused(w, 1);
    assert_eq!(w.failure(1), Some("fingerprint-mismatch"));
}

#[test]
fn another_key_without_fingerprints_fails_in_ike_and_is_hung_up() {
    let (mut a, mut b) = (Setup::of(0), Setup::of(1));
    (a.psk_fingerprint, b.psk_fingerprint) = (false, false);
    b.psk = b"another key, of which the branch knows nothing";
    let w = refused(World::new([a, b]), 0);
    assert_eq!(w.failure(0), Some("ike-authentication-failed"));
    assert_eq!(w.carrier.calls_answered, 1);
}

#[test]
fn a_key_for_another_number_is_caught_before_the_call() {
    let mut wrong = Setup::of(0);
    wrong.key_for = "0388882009";
    let mut w = World::new([wrong, Setup::of(1)]);
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.failure(0), Some("no-key"));
    let reason = w.session(0).last_failure.expect("a reason").failure.to_string();
    assert!(reason.contains("0388882001") && reason.contains("0388882009"), "{reason}");
    assert!(!w.carrier.seen.iter().any(|s| s.starts_with("INVITE")));
}

#[test]
fn an_unknown_number_is_refused_on_either_side() {
    let mut stranger = Setup::of(0);
    (stranger.remote, stranger.key_for) = ("0399999999", "0399999999");
    let w = refused(World::new([stranger, Setup::of(1)]), 0);
    assert_eq!(w.failure(0), Some("sip-status"));
    let mut closed = Setup::of(1);
    closed.remote = "0377777777";
    let w = refused(World::new([Setup::of(0), closed]), 0);
    assert_eq!(w.failure(0), Some("sip-status"));
    assert!(w.gateways[1].events.iter().any(|e| e == "incoming-refused"));
}

#[test]
fn a_caller_whom_the_carrier_does_not_name_is_refused() {
    let mut w = World::default();
    w.carrier.knobs.no_identity = true;
    let w = refused(w, 0);
    assert!(w.gateways[1].events.iter().any(|e| e == "incoming-refused"));
}

#[test]
fn a_silent_ike_peer_costs_at_most_the_deadline() {
    let mut w = World::default();
    w.mute_ike = [false, true];
    w.packet(0);
    w.advance(14 * SECOND);
    assert_eq!(w.session(0).status, "NEGOTIATING_IKE");
    w.advance(3 * SECOND);
    w.assert_no_call();
    assert_eq!(w.failure(0), Some("negotiation-deadline"));
}

#[test]
fn ike_from_elsewhere_is_the_reason_that_is_shown() {
    let mut w = World::default();
    w.move_source = true;
    let w = refused(w, 1);
    assert_eq!(w.failure(1), Some("wrong-source"));
    let reason = w.session(1).last_failure.expect("a reason").failure.to_string();
    assert!(reason.contains("packets came from 198.51.100.6:"), "{reason}");
}

#[test]
fn an_operator_calls_without_a_packet_and_hangs_up() {
    let mut w = World::default();
    let call = || Input::Admin(Admin::Call(support::TUNNEL));
    w.tell(0, call());
    // While there is a call the command is none.
    w.tell(0, call());
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    let invites = w.carrier.seen.iter().filter(|s| s.starts_with("INVITE")).count();
    assert_eq!(invites, 1, "{:?}", w.carrier.seen);
    w.tell(0, Input::Admin(Admin::Clear { remote_number: None }));
    w.advance(SECOND);
    w.assert_no_call();
}

#[test]
fn what_an_invite_would_offer_is_told_and_nothing_is_placed() {
    let mut w = World::default();
    let wan = "198.51.100.6".parse().expect("an address");
    let offer = w.gateways[0].core.rehearse_offer(number(NUMBERS[1]), wan).expect("a tunnel");
    let text = offer.description.to_string();
    assert!(text.contains("c=IN IP4 198.51.100.6\r\n") && text.contains("b=AS:1000\r\n"), "{text}");
    assert!(w.gateways[0].core.rehearse_offer(number("0311112222"), wan).is_err());
    w.assert_no_call();
    assert_eq!(w.status(), ["READY_TO_CONNECT"; 2]);
}

/// A relay that sends from another port than it listens to. Both sides learn it from IKE, once, and go on sending to the
/// port of SDP.
#[test]
fn the_port_of_a_relay_is_learnt_from_ike_that_fits_the_exchange() {
    let mut setups = [Setup::of(0), Setup::of(1)];
    setups.iter_mut().for_each(|s| s.learn_peer_port = true);
    let mut w = World::new(setups);
    w.move_source = true;
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    for side in 0..2 {
        let session = w.session(side);
        let sdp = session.remote.expect("a call").port();
        assert_eq!(session.peer_port, Some(sdp ^ 1));
        assert_eq!(w.gateways[side].core.peer_ports_learnt(), 1);
        let learnt = w.gateways[side].events.iter().filter(|e| e.contains("peer-port-learnt")).count();
        assert_eq!(learnt, 1, "{:?}", w.gateways[side].events);
        let port = MediaPort(session.local_port);
        assert_eq!(w.gateways[side].dp.sources.get(&port), Some(&PeerSource::Port(sdp ^ 1)));
    }
    // What fits no exchange teaches nothing.
    let mut setups = [Setup::of(0), Setup::of(1)];
    setups.iter_mut().for_each(|s| s.learn_peer_port = true);
    let mut w = World::new(setups);
    w.mute_ike = [true, true];
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.session(0).status, "NEGOTIATING_IKE");
    for side in 0..2 {
        let port = MediaPort(w.session(side).local_port);
        let mut from = w.session(side).remote.expect("a call");
        from.set_port(7);
        for bytes in [vec![0; 64], vec![0xff; 28], Vec::new()] {
            w.tell(side, Input::IkeDatagram { media_port: port, from, bytes });
        }
        assert_eq!(w.session(side).peer_port, None);
        assert_eq!(w.gateways[side].dp.sources.get(&port), Some(&PeerSource::Unproven));
    }
}

#[test]
fn refused_and_unanswered_calls_back_off_and_then_try_again() {
    for (reject, code) in [("486 Busy Here", "sip-status"), ("503 Service Unavailable", "sip-status")] {
        let mut w = World::default();
        w.carrier.knobs.reject = Some(reject);
        w.packet(0);
        w.advance(SECOND);
        assert_eq!(w.failure(0), Some(code));
        let invites = |w: &World| w.carrier.seen.iter().filter(|s| s.starts_with("INVITE")).count();
        let before = invites(&w);
        for _ in 0..30 {
            w.packet(0);
            w.advance(Duration::from_millis(100));
        }
        assert_eq!(invites(&w), before, "packets do not dial while a failure is fresh");
        w.carrier.knobs.reject = None;
        w.advance(10 * SECOND);
        w.packet(0);
        w.advance(SECOND);
        assert_eq!(w.status(), ["SESSION_UP"; 2]);
    }
}

/// RFC 3261 §21.5.4: that pause is for every call of this gateway, and a new attempt of an operator's changes nothing.
#[test]
fn a_carrier_that_asks_for_a_pause_gets_one() {
    let mut w = World::default();
    w.carrier.knobs.reject = Some("503 Service Unavailable\r\nRetry-After: 60");
    w.packet(0);
    w.advance(SECOND);
    w.carrier.knobs.reject = None;
    w.tell(0, Input::Admin(Admin::Clear { remote_number: None }));
    let why = w.session(0).waits_for.expect("a reason");
    assert!(why.contains("carrier"), "{why}");
    for _ in 0..58 {
        w.packet(0);
        w.advance(SECOND);
    }
    assert_eq!(w.carrier.calls_answered, 0);
    // A quarter of it at most on top.
    for _ in 0..17 {
        w.packet(0);
        w.advance(SECOND);
    }
    assert_eq!((w.carrier.calls_answered, w.status()), (1, ["SESSION_UP"; 2]));
}

/// RFC 3261 §21.5.1: a gateway that restarts says when it is ready again. It is believed once in a row.
#[test]
fn a_refusal_that_says_when_to_try_again_is_believed_once() {
    let mut w = World::default();
    let invites = |w: &World| w.carrier.seen.iter().filter(|s| s.starts_with("INVITE")).count();
    let mut pause = |reject: Option<&'static str>| {
        w.carrier.knobs.reject = reject;
        let before = invites(&w);
        let mut waited = 0;
        while invites(&w) == before && waited < 1000 {
            w.packet(0);
            w.advance(Duration::from_millis(100));
            waited += 1;
        }
        waited
    };
    let brief = Some("500 Server Internal Error\r\nRetry-After: 2");
    pause(brief);
    // 2 s, and a quarter at most on top; then the second pause of our own, 10 s.
    let waited = pause(brief);
    assert!((19..=26).contains(&waited), "{waited}");
    let waited = pause(None);
    assert!((98..=126).contains(&waited), "{waited}");
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
}

#[test]
fn a_carrier_that_says_nothing_ends_the_attempt() {
    let mut w = World::default();
    w.carrier.knobs.swallow = vec!["INVITE"];
    w.packet(0);
    w.advance(33 * SECOND);
    assert_eq!(w.failure(0), Some("sip-timeout"));
    w.assert_no_call();
}

#[test]
fn a_dataplane_that_refuses_or_dies_costs_no_call() {
    let mut w = World::default();
    w.gateways[0].dp.refuse_media = true;
    let w = refused(w, 0);
    assert_eq!(w.failure(0), Some("dataplane-rejected"));

    let mut w = up();
    w.gateways[0].dp = support::FakeDataplane::default();
    w.tell(0, Input::DataplaneDown);
    w.advance(2 * SECOND);
    w.assert_no_call();
    assert_eq!(w.failure(0), Some("dataplane-gone"));
    w.tell(0, Input::DataplaneUp);
    w.advance(10 * SECOND);
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
}

/// The connection was lost and is there again before its loss was reported.
#[test]
fn a_new_dataplane_ends_what_the_last_one_had() {
    let mut w = up();
    w.gateways[0].dp = support::FakeDataplane::default();
    w.tell(0, Input::DataplaneUp);
    w.advance(2 * SECOND);
    w.assert_no_call();
    assert_eq!(w.failure(0), Some("dataplane-gone"));
    w.packet(0);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
}

#[test]
fn a_changed_address_hangs_up_and_registers_anew() {
    let mut w = up();
    w.tell(1, wan_address(None));
    w.advance(SECOND);
    assert_eq!(w.session(1).status, "READY_TO_CONNECT");
    assert_eq!(w.session(1).waits_for, Some("the WAN interface has no address"));
    // Its BYE could not leave; the other end finds out by itself.
    w.advance(60 * SECOND);
    assert!(w.carrier.billed.is_empty());
}

#[test]
fn an_address_that_comes_back_brings_the_bye_and_the_next_call() {
    let mut w = up();
    // Nothing of the end gets through, and the other end finds out nothing.
    w.mute_ike = [true; 2];
    w.carrier.knobs.swallow = vec!["BYE"];
    w.tell(1, wan_address(None));
    w.advance(3 * SECOND);
    assert_eq!(w.carrier.billed.len(), 1);
    w.mute_ike = [false; 2];
    w.carrier.knobs.swallow.clear();
    w.tell(1, wan_address(Some("203.0.113.9".parse().expect("an address"))));
    w.advance(5 * SECOND);
    w.assert_no_call();
    // No fault of the peer's: no back-off.
    w.packet(1);
    w.advance(SECOND);
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
}

#[test]
fn when_both_call_at_once_one_call_survives() {
    for first in 0..2 {
        let mut w = World::default();
        w.packet(first);
        w.packet(1 - first);
        w.advance(5 * SECOND);
        assert_eq!(w.status(), ["SESSION_UP"; 2], "{:?} {:?}", w.gateways[0].events, w.gateways[1].events);
        assert_eq!(w.carrier.billed.len(), 1);
        // The smaller number's call.
        assert_eq!(w.session(0).caller, Some(true));
        w.advance(60 * SECOND);
        w.assert_no_call();
    }
}

#[test]
fn crashes_at_every_step_leave_no_call() {
    for side in 0..2 {
        for step in 0..80 {
            let mut w = World::default();
            w.packet(0);
            let mut left = step;
            while left > 0 && w.step() {
                left -= 1;
            }
            w.crash(side);
            w.advance(260 * SECOND);
            assert!(
                w.carrier.billed.is_empty(),
                "side {side} step {step}: {:?}\n{:#?}",
                w.carrier.billed,
                w.carrier.seen
            );
            for g in &w.gateways {
                assert!(
                    g.journal.is_empty(),
                    "side {side} step {step}: {:?} {:#?}",
                    g.events,
                    w.carrier.seen
                );
            }
        }
    }
}

/// Traffic waits for the next call no longer than for the end of the one that the caller's crash left, at whichever step that
/// was: also before its INVITE has left, of which the carrier knows nothing.
#[test]
fn traffic_flows_soon_after_a_crash_at_any_step() {
    for step in 0..80 {
        let mut w = World::default();
        w.packet(0);
        let mut left = step;
        while left > 0 && w.step() {
            left -= 1;
        }
        w.crash(0);
        // As packets that are not answered come again.
        for _ in 0..80 {
            w.packet(0);
            w.advance(100 * MS);
        }
        let up = (w.status(), w.carrier.billed.len());
        assert_eq!(up, (["SESSION_UP"; 2], 1), "step {step}: {:#?}", w.gateways[0].log);
    }
}

#[test]
fn a_late_message_for_a_closed_port_is_dropped() {
    let mut w = up();
    let from = "203.0.113.9:50000".parse().expect("an address");
    w.tell(0, Input::IkeDatagram { media_port: MediaPort(50_077), from, bytes: vec![0; 64] });
    assert_eq!(w.status(), ["SESSION_UP"; 2]);
    assert_eq!(number(NUMBERS[0]).as_str(), NUMBERS[0]);
}
