//! Schedules with a name: races whose outcome is known.

use crate::world::{Happening, IDLE, TUNNEL, World};
use sipsec_session::{Admin, Input};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn status(w: &World) -> [&'static str; 2] {
    [w.session(0).status, w.session(1).status]
}

fn failures(w: &World) -> [u32; 2] {
    [0, 1].map(|side| w.session(side).last_failure.map_or(0, |f| f.count))
}

fn answered(w: &World) -> usize {
    w.bills.values().filter(|b| b.answered.is_some()).count()
}

fn up() -> World {
    let mut w = World::new(7);
    w.at(Duration::ZERO, Happening::Packet { side: 0 });
    w.advance(SECOND);
    assert_eq!(status(&w), ["SESSION_UP"; 2], "{}", w.history());
    w
}

/// Whichever call comes first by however little: one call, one charge, no packet lost, no failure.
#[test]
fn of_two_calls_at_once_one_survives_and_no_packet_is_lost() {
    for first in 0..2 {
        for apart_ms in 0..70 {
            let mut w = World::new(apart_ms);
            w.at(Duration::ZERO, Happening::Packet { side: first });
            w.at(ms(apart_ms), Happening::Packet { side: 1 - first });
            w.advance(5 * SECOND);
            let text = || format!("side {first} {apart_ms} ms first\n{}", w.history());
            assert_eq!(status(&w), ["SESSION_UP"; 2], "{}", text());
            assert_eq!(w.live_calls().len(), 1, "{}", text());
            assert_eq!(w.delivered(), 2, "{}", text());
            assert_eq!(failures(&w), [0, 0], "{}", text());
        }
    }
}

/// The last call is still being left at either end when the next packet comes.
#[test]
fn a_packet_right_after_the_hang_up_is_not_lost() {
    for side in 0..2 {
        // Before that it may still have gone into the call that ended.
        for late_ms in [25, 30, 40, 50, 150, 199, 200, 201, 230] {
            let mut w = up();
            w.tell(0, Input::Admin(Admin::Clear { remote_number: None }));
            w.at(ms(late_ms), Happening::Packet { side });
            let before = w.delivered();
            w.advance(3 * SECOND);
            let text = || format!("side {side} {late_ms} ms later\n{}", w.history());
            assert_eq!(status(&w), ["SESSION_UP"; 2], "{}", text());
            assert_eq!(w.delivered(), before + 1, "{}", text());
        }
    }
}

/// A call whose INVITE was sent by a process that is gone: the new one cancels it, or acknowledges and hangs up at once.
#[test]
fn a_restart_while_dialling_costs_no_more_than_a_moment() {
    for at_ms in 0..120 {
        for side in 0..2 {
            let mut w = World::new(at_ms);
            w.at(Duration::ZERO, Happening::Packet { side: 0 });
            w.advance(ms(at_ms));
            w.crash(side, 99);
            w.advance(SECOND);
            // A packet that still waited may have called again.
            let lost = w.live_calls().len() - usize::from(status(&w) == ["SESSION_UP"; 2]);
            assert_eq!(lost, 0, "side {side} at {at_ms} ms\n{}", w.history());
        }
    }
}

/// Both ends hang up into the void; the carrier hears of it when there is a way again.
#[test]
fn a_bye_that_cannot_leave_leaves_later() {
    let mut w = up();
    w.lose_address(0, 90 * SECOND);
    w.lose_address(1, 100 * SECOND);
    w.advance(89 * SECOND);
    assert_eq!(w.live_calls().len(), 1);
    w.advance(12 * SECOND);
    assert!(w.live_calls().is_empty(), "{}", w.history());

    let mut w = up();
    w.cut(0, 70 * SECOND);
    w.cut(1, 70 * SECOND);
    w.advance(110 * SECOND);
    assert!(w.live_calls().is_empty(), "{}", w.history());
}

/// Data flows on while SAs are replaced, and the dataplane ends with one pair.
#[test]
fn a_rekey_loses_no_packet() {
    for side in 0..2 {
        let mut w = up();
        let before = (w.delivered(), w.sent);
        for n in 0..200 {
            w.at(ms(n * 5), Happening::Packet { side: (n % 2) as usize });
        }
        w.advance(ms(300));
        w.soft_limit(side);
        w.advance(10 * SECOND);
        assert_eq!(w.delivered() - before.0, (w.sent - before.1) as usize, "{}", w.history());
        for g in &w.gateways {
            assert_eq!(g.dp.tables.sas.len(), 2, "{}", w.history());
            assert!(g.dp.tables.bound.contains_key(&TUNNEL));
            assert!(g.dp.surprised.is_empty(), "{:?}", g.dp.surprised);
        }
        assert_eq!(answered(&w), 1);
    }
}

/// The SAs of a rekey that the dataplane refuses: the session goes on with those it has.
/// Packets under way on the old SA may still reach its limit; only the end of the one in use is the session's.
#[test]
fn a_hard_limit_ends_the_session_of_the_sa_in_use_alone() {
    for side in 0..2 {
        let mut w = up();
        let old = w.outbound(side).expect("up");
        w.soft_limit(side);
        w.advance(ms(300));
        w.limit(side, old, true);
        w.advance(SECOND);
        assert_eq!((status(&w), w.live_calls().len()), (["SESSION_UP"; 2], 1), "{}", w.history());
        w.advance(5 * SECOND);
        let new = w.outbound(side).expect("rekeyed");
        assert_ne!(new, old);
        w.limit(side, new, true);
        w.advance(2 * SECOND);
        assert_eq!((status(&w), w.live_calls().len()), (["READY_TO_CONNECT"; 2], 0), "{}", w.history());
        let failure = w.session(side).last_failure.expect("a reason").failure;
        assert_eq!(failure.code(), "sa-hard-limit", "{}", w.history());
    }
}

/// The called side's disk is slow and the caller gives up: it was never answered, and neither side failed.
#[test]
fn a_call_that_is_cancelled_while_its_answer_is_written_was_not_answered() {
    let mut w = World::new(1);
    w.gateways[1].journal_takes = 3 * SECOND;
    w.at(Duration::ZERO, Happening::Packet { side: 0 });
    w.advance(SECOND);
    assert_eq!((w.session(1).status, w.session(1).uptime), ("NEGOTIATING_IKE", None), "{}", w.history());
    w.tell(0, Input::Admin(Admin::Clear { remote_number: None }));
    w.advance(5 * SECOND);
    assert_eq!((answered(&w), failures(&w)), (0, [0, 0]), "{}", w.history());
    assert_eq!(w.session(1).retry_in, None);
}

/// The peer hangs up before our ACK: a call that we placed and that was answered, so no packet places the next at once.
#[test]
fn a_bye_before_our_ack_is_a_failure() {
    let mut w = World::new(1);
    w.at(Duration::ZERO, Happening::Packet { side: 0 });
    w.advance(ms(10));
    w.gateways[0].journal_takes = 3 * SECOND;
    w.advance(ms(45));
    w.crash(1, 99); // hangs up what its journal has
    w.advance(SECOND);
    let failure = w.session(0).last_failure.expect("a reason").failure;
    assert_eq!(failure.code(), "peer-hung-up", "{}", w.history());
    assert!(w.session(0).retry_in.is_some());
    w.advance(60 * SECOND);
    assert!(w.live_calls().is_empty(), "{}", w.history());
}

/// RFC 3261 §13.3.1.4: a call without its ACK ends after 32 s, however well the tunnel works. That is paid for, so it must
/// not go on for ever.
#[test]
fn calls_whose_ack_is_lost_back_off() {
    let mut w = World::new(1);
    w.carrier.knobs.swallow = vec!["ACK"];
    for n in 0..1200 {
        w.at(n * SECOND, Happening::Packet { side: 0 });
    }
    w.advance(1200 * SECOND);
    let code = |side: usize| w.session(side).last_failure.map(|f| f.failure.code());
    assert_eq!([code(0), code(1)], [Some("peer-ended-early"), Some("sip-no-ack")], "{}", w.history());
    assert!((3..=10).contains(&answered(&w)), "{}", answered(&w));
}

#[test]
fn a_rekey_that_the_dataplane_refuses_costs_nothing() {
    let mut w = up();
    w.gateways[0].dp.refuse = 1;
    w.soft_limit(0);
    w.advance(2 * SECOND);
    let before = w.delivered();
    for side in 0..2 {
        w.at(Duration::ZERO, Happening::Packet { side });
    }
    w.advance(SECOND);
    assert_eq!(status(&w), ["SESSION_UP"; 2], "{}", w.history());
    assert_eq!(w.delivered(), before + 2, "{}", w.history());
    assert!(w.gateways.iter().all(|g| g.dp.surprised.is_empty()));
}

/// The peer has moved to the SA that our dataplane does not send on, and waits for our answer: no session hangs on that.
#[test]
fn a_bind_that_the_dataplane_refuses_ends_the_session_at_both_sides() {
    let mut w = up();
    w.gateways[1].dp.refuse_bind = true;
    w.soft_limit(0);
    w.advance(3 * SECOND);
    assert_eq!(status(&w), ["READY_TO_CONNECT"; 2], "{}", w.history());
    assert!(w.live_calls().is_empty(), "{}", w.history());
    let failure = w.session(1).last_failure.expect("a reason").failure;
    assert!(failure.to_string().contains("the dataplane refused"), "{failure}");
}

#[test]
fn only_data_keeps_a_session() {
    let mut w = up();
    // DPD asks every 10 s of silence and is answered; that is no use of the call.
    w.advance(IDLE + SECOND);
    assert_eq!(status(&w), ["READY_TO_CONNECT"; 2], "{}", w.history());
    assert!(w.live_calls().is_empty());

    let mut w = up();
    for n in 0..20 {
        w.at(20 * SECOND * n, Happening::Packet { side: 1 });
    }
    // Data does, from either side, but not beyond the longest call.
    w.advance(295 * SECOND);
    assert_eq!(status(&w), ["SESSION_UP"; 2], "{}", w.history());
    w.advance(10 * SECOND);
    assert!(w.history().contains("longest duration"), "{}", w.history());
    assert!(w.live_calls().is_empty() || answered(&w) > 1, "{}", w.history());
}

#[test]
fn a_call_that_only_rings_is_given_up_with_its_reason() {
    let mut w = World::new(1);
    w.carrier.knobs.swallow = vec!["SIP/2.0 200"];
    w.at(Duration::ZERO, Happening::Packet { side: 0 });
    w.advance(39 * SECOND);
    assert_eq!(w.session(0).status, "DIALING");
    w.advance(2 * SECOND);
    let failure = w.session(0).last_failure.expect("a reason").failure;
    assert_eq!(failure.code(), "only-rings", "{}", w.history());
    w.carrier.knobs.swallow.clear();
    w.advance(60 * SECOND);
    assert!(w.live_calls().is_empty(), "{}", w.history());
    assert_eq!(status(&w), ["READY_TO_CONNECT"; 2], "{}", w.history());
}

#[test]
fn a_called_gateway_that_cannot_open_its_port_refuses_before_it_costs() {
    let mut w = World::new(1);
    w.gateways[1].no_next_hop = true;
    w.at(Duration::ZERO, Happening::Packet { side: 0 });
    w.advance(6 * SECOND);
    let failure = w.session(1).last_failure.expect("a reason").failure;
    assert_eq!(failure.code(), "no-next-hop", "{}", w.history());
    assert!(failure.to_string().len() > 10 && failure.cure().len() > 10);
    assert_eq!((answered(&w), failures(&w)), (0, [1, 1]));
}

#[test]
fn a_packet_waits_for_the_address_and_the_registration() {
    let mut w = World::new(1);
    w.lose_address(0, 2 * SECOND);
    w.at(SECOND, Happening::Packet { side: 0 });
    w.advance(ms(2001));
    assert_eq!(w.session(0).waits_for, Some("the line is not registered"), "{}", w.history());
    w.advance(SECOND);
    assert_eq!((status(&w), w.delivered()), (["SESSION_UP"; 2], 1), "{}", w.history());
}

#[test]
fn a_changed_address_costs_one_call_and_no_back_off() {
    for side in 0..2 {
        let mut w = up();
        let before = w.delivered();
        w.lose_address(side, ms(100));
        // The peer hears of it by the BYE that leaves from the new address.
        w.at(ms(300), Happening::Packet { side });
        w.advance(2 * SECOND);
        assert_eq!(status(&w), ["SESSION_UP"; 2], "{}", w.history());
        assert_eq!(w.delivered(), before + 1, "{}", w.history());
        assert_eq!((answered(&w), w.live_calls().len()), (2, 1), "{}", w.history());
    }
}

/// An unreadable description is refused by the called side or hung up by the calling side, with the reason.
#[test]
fn unreadable_descriptions_are_named() {
    let cases = [
        ("b=AS:1000", "b=AS:0", 1),
        ("m=application", "m=audio", 1),
        ("a=ike-setup:active", "a=ike-setup:holdconn", 1),
        ("a=ike-setup:passive", "a=ike-setup:holdconn", 0),
        ("a=ike-setup:passive", "a=ike-setup:active", 0),
    ];
    for (find, replace, side) in cases {
        let mut w = World::new(1);
        w.carrier.knobs.rewrite = vec![(find, replace)];
        w.at(Duration::ZERO, Happening::Packet { side: 0 });
        w.advance(3 * SECOND);
        let failure = w.session(side).last_failure.expect("a reason").failure;
        assert_eq!(failure.code(), "sdp", "{find} {replace}\n{}", w.history());
        assert_eq!(answered(&w), usize::from(side == 0), "{}", w.history());
        assert!(w.live_calls().is_empty(), "{}", w.history());
        // The side that refused may call all the same.
        assert_eq!(w.session(side).retry_in.is_some(), side == 0);
    }
}

/// A gateway without power says nothing. The other one, which has data to send, notices by IKE.
#[test]
fn a_peer_that_vanishes_is_noticed_while_data_goes_to_it() {
    let mut w = up();
    w.cut(0, 200 * SECOND);
    for n in 0..100 {
        w.at(n * SECOND, Happening::Packet { side: 1 });
    }
    // DPD after 10 s of silence (RFC 7296 §2.4), which IKE repeats for 16 s; the dataplane is asked every 5 s.
    w.advance(33 * SECOND);
    assert!(w.live_calls().is_empty(), "{}", w.history());
    let failure = w.session(1).last_failure.expect("a reason").failure;
    assert_eq!(failure.code(), "ike", "{failure}");
}

/// The link is back: the next call comes as soon as the BYE that was owed is answered.
#[test]
fn after_a_cut_the_next_call_comes_soon() {
    for cut_s in [28, 40, 62, 75] {
        let mut w = up();
        w.cut(0, cut_s * SECOND);
        for n in 0..200 {
            w.at(n * SECOND / 2, Happening::Packet { side: 0 });
        }
        w.advance(cut_s * SECOND);
        let calls = answered(&w);
        w.advance(8 * SECOND);
        assert_eq!((status(&w), answered(&w)), (["SESSION_UP"; 2], calls + 1), "{cut_s} s\n{}", w.history());
        assert_eq!(w.live_calls().len(), 1, "{}", w.history());
    }
}

#[test]
fn a_tunnel_that_is_removed_and_comes_back_calls_again() {
    for gone_ms in [0, 1, 5, 100, 5000] {
        for up_first in [false, true] {
            let mut w = if up_first { up() } else { World::new(1) };
            w.apply_profile(0, |new| new.tunnels.clear());
            w.at(ms(gone_ms), Happening::Profile { side: 0 });
            w.advance(10 * SECOND);
            let before = w.delivered();
            w.at(Duration::ZERO, Happening::Packet { side: 0 });
            w.advance(3 * SECOND);
            assert_eq!(status(&w), ["SESSION_UP"; 2], "{gone_ms} ms\n{}", w.history());
            assert_eq!(w.delivered(), before + 1, "{gone_ms} ms\n{}", w.history());
            assert_eq!(w.live_calls().len(), 1, "{gone_ms} ms\n{}", w.history());
        }
    }
}
