//! Pauses after failures: what each failure, and each one in a row, costs (`brake.rs`).

use crate::support::{FakeDataplane, Setup, WANS, World, wan_address};
use crate::{MS, SECOND, clear, invites, logged, up};
use sipsec_net::dp::{Event, ExpireCause};
use sipsec_session::Input;

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
        for up_s in [0, 7, 30, 45] {
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

/// The way back breaks 45 s into each call, and each call lasts for longer than a minute before that is noticed.
#[test]
fn calls_that_are_heard_for_less_than_a_minute_are_braked() {
    let branch = Setup { one_way: Some(30 * SECOND), ..Setup::of(0) };
    let mut w = World::new([branch, Setup::of(1)]);
    let mut up_for = 0;
    for _ in 0..3600 {
        up_for = if w.status()[0] == "SESSION_UP" { up_for + 1 } else { 0 };
        traffic(&mut w, up_for < 45);
    }
    // Once, at once, and then after pauses of 10 s to 5 min.
    let calls = w.carrier.calls_answered;
    assert!((5..=18).contains(&calls), "{calls} calls in an hour");
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
