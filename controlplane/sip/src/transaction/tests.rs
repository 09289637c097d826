//! The timers of each table, second by second.

use super::timers::Effects;
use super::*;
use crate::call::CallId;
use crate::transport::{Flow, FlowId, Transport};
use sipsec_net::Instant;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

/// Runs the timers until nothing is due: when something was sent, and when the user agent was told of a timeout.
fn run_client(t: &mut ClientTransaction) -> (Vec<u64>, Option<u64>) {
    let (mut sent, mut timeout) = (Vec::new(), None);
    while let Some(due) = t.due() {
        let ms = due.as_nanos() / 1_000_000;
        while let Some(effects) = t.tick(due) {
            if effects.send {
                sent.push(ms);
            }
            if effects.timeout {
                timeout = Some(ms);
            }
        }
    }
    assert!(t.terminated());
    (sent, timeout)
}

fn flow(transport: Transport) -> Flow {
    let remote = "192.0.2.1:5060".parse().expect("address");
    let local = "192.0.2.2:5060".parse().expect("address");
    Flow { transport, local, remote, id: FlowId(1) }
}

fn client(method: &'static str) -> ClientTransaction {
    ClientTransaction::new(method, Owner::Invite(CallId(1)), b"x".to_vec(), flow(Transport::Udp))
}

#[test]
fn an_invite_without_an_answer() {
    let mut t = client("INVITE");
    assert!(t.start(at(0)).send);
    // §17.1.1.2: after 0.5, 1, 2, 4, 8 and 16 s, until timer B at 64·T1.
    assert_eq!(run_client(&mut t), (vec![500, 1500, 3500, 7500, 15500, 31500], Some(32_000)));
}

#[test]
fn an_invite_that_rings_is_not_sent_again_and_has_no_end() {
    let mut t = client("INVITE");
    t.start(at(0));
    assert!(t.response(at(600), 180).pass);
    assert_eq!(t.due(), None);
    assert!(t.response(at(700), 183).pass);
    t.cancelled(at(10_000));
    assert_eq!(run_client(&mut t), (vec![], Some(42_000)), "§9.1: 64·T1 after the CANCEL");
}

#[test]
fn a_refused_invite_acknowledges_every_repetition() {
    let mut t = client("INVITE");
    t.start(at(0));
    assert_eq!(t.response(at(100), 486), Effects { pass: true, ack: true, ..Effects::default() });
    assert_eq!(t.response(at(600), 486), Effects { ack: true, ..Effects::default() });
    assert_eq!(t.response(at(601), 180), Effects::default());
    assert!(t.response(at(602), 200).pass, "a fork was answered after all");
    assert!(!t.pending());
    assert_eq!(run_client(&mut t), (vec![], None));
}

#[test]
fn an_answered_invite_passes_every_2xx_for_64_t1() {
    let mut t = client("INVITE");
    t.start(at(0));
    assert!(t.response(at(100), 200).pass);
    assert!(t.response(at(20_000), 200).pass);
    assert_eq!(t.response(at(20_000), 486), Effects::default());
    assert_eq!(t.due(), Some(at(32_100)), "timer M");
}

#[test]
fn a_bye_without_an_answer_and_with_a_slow_one() {
    let mut t = client("BYE");
    t.start(at(0));
    // §17.1.2.2: 0.5, 1, 2, then every 4 s, until timer F.
    let slow: Vec<u64> = std::iter::successors(Some(3500), |t| (*t < 31_500).then_some(t + 4000)).collect();
    assert_eq!(run_client(&mut t), ([vec![500, 1500], slow].concat(), Some(32_000)));
    let mut t = client("BYE");
    t.start(at(0));
    assert!(t.response(at(100), 100).pass);
    assert_eq!(t.due(), Some(at(4_100)), "T2 at once");
    assert!(t.response(at(5_000), 200).pass);
    assert_eq!(t.response(at(5_001), 200), Effects::default());
    assert_eq!(t.due(), Some(at(10_000)), "timer K");
}

#[test]
fn a_refused_call_repeats_until_its_ack() {
    let dest = flow(Transport::Udp);
    let mut t = ServerTransaction::new(true, dest, 5060);
    assert!(t.respond(at(0), 100, b"100".to_vec()).send);
    assert!(t.request(at(200)).send);
    assert_eq!(t.due(), None, "a call rings as long as its user agent lets it");
    assert!(t.respond(at(1000), 486, b"486".to_vec()).send);
    let mut sent = Vec::new();
    while let Some(due) = t.due().filter(|at| at.as_nanos() < 10_000_000_000) {
        if t.tick(due).is_some_and(|e| e.send) {
            sent.push(due.as_nanos() / 1_000_000);
        }
    }
    assert_eq!(sent, [1500, 2500, 4500, 8500], "timer G");
    t.acknowledged(at(10_000));
    assert_eq!(t.due(), Some(at(15_000)), "timer I");
    t.request(at(11_000));
    t.tick(at(15_000));
    assert!(t.terminated());
}

#[test]
fn an_answered_call_absorbs_its_invite_and_passes_its_ack() {
    let dest = flow(Transport::Udp);
    let mut t = ServerTransaction::new(true, dest, 5060);
    t.respond(at(0), 100, b"100".to_vec());
    assert!(t.respond(at(1), 200, b"200".to_vec()).send);
    assert_eq!(t.request(at(2)), Effects::default());
    assert!(t.acknowledged(at(3)).pass);
    assert_eq!(t.due(), Some(at(32_001)), "timer L");
    let mut t = ServerTransaction::new(false, dest, 5060);
    assert_eq!(t.request(at(0)), Effects::default(), "nothing to repeat yet");
    assert!(t.respond(at(1), 200, b"200".to_vec()).send);
    assert!(t.request(at(2)).send);
    assert_eq!(t.due(), Some(at(32_001)), "timer J");
}

/// RFC 3261 §17: over a reliable transport nothing is sent again, and nothing waits for repetitions.
#[test]
fn reliable_transports_have_no_retransmissions() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let new =
            |method| ClientTransaction::new(method, Owner::Invite(CallId(1)), Vec::new(), flow(transport));
        for method in ["INVITE", "BYE"] {
            let mut t = new(method);
            assert!(t.start(at(0)).send);
            assert_eq!(run_client(&mut t), (vec![], Some(32_000)), "{method}: timers B and F alone");
        }
        let mut t = new("INVITE");
        t.start(at(0));
        assert_eq!(t.response(at(100), 486), Effects { pass: true, ack: true, ..Effects::default() });
        assert_eq!(t.due(), Some(at(100)), "timer D");
        let mut t = new("INVITE");
        t.start(at(0));
        t.response(at(50), 180);
        t.response(at(100), 486);
        assert_eq!(t.due(), Some(at(100)), "timer D");
        let mut t = new("INVITE");
        t.start(at(0));
        t.response(at(100), 200);
        assert_eq!(t.due(), Some(at(32_100)), "timer M: 2xx are repeated end to end");
        let mut t = new("BYE");
        t.start(at(0));
        t.response(at(100), 100);
        assert_eq!(t.due(), Some(at(32_000)), "nothing at T2");
        t.response(at(200), 200);
        assert_eq!(t.due(), Some(at(200)), "timer K");

        let mut t = ServerTransaction::new(true, flow(transport), 5060);
        t.respond(at(0), 100, b"100".to_vec());
        assert!(t.respond(at(10), 486, b"486".to_vec()).send);
        assert_eq!(t.due(), Some(at(32_010)), "timer H, and no timer G");
        t.acknowledged(at(100));
        assert_eq!(t.due(), Some(at(100)), "timer I");
        let mut t = ServerTransaction::new(false, flow(transport), 5060);
        t.respond(at(10), 200, b"200".to_vec());
        assert_eq!(t.due(), Some(at(10)), "timer J");
    }
}
