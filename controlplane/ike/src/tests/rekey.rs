//! Rekeys, deletions, liveness: what an established SA does until its end.

use crate::Unanswered;
use crate::algorithm::EspProposal;
use crate::config::{Dpd, DpdMode, Lifetime};
use crate::state::State;
use crate::task::child::Stage;
use crate::testing::{Fate, Install, Net, Packet, Side, config};
use crate::{ChildDownCause, CloseCause, EndpointConfig, Event, IkeError};
use core::time::Duration;

const TICK: Duration = Duration::from_millis(5);

fn configs() -> (EndpointConfig, EndpointConfig) {
    (config(Side::A), config(Side::B))
}

/// Runs with a packet each way every tick, and says how many were sent.
fn run_with_traffic(net: &mut Net, span: Duration) -> u64 {
    let mut sent = 0;
    let end = net.now + span;
    while net.now < end {
        net.send_esp(Side::A);
        net.send_esp(Side::B);
        sent += 1;
        net.run(TICK);
    }
    net.run(Duration::from_millis(50));
    sent
}

fn assert_nothing_lost(net: &Net, sent: u64) {
    for g in [net.a(), net.b()] {
        assert_eq!((g.received, g.lost), (sent, 0), "{:?}\n{:?}", net.a().story(), net.b().story());
    }
}

/// After everything has settled, both sides have the same single CHILD_SA and the same single IKE SA.
fn assert_settled(net: &mut Net) {
    net.run(Duration::from_secs(90));
    let (a, b) = (net.a(), net.b());
    assert!(a.failed().is_none() && b.failed().is_none(), "{:?} {:?}", a.failed(), b.failed());
    assert_eq!((a.installed(), b.installed()), (1, 1), "{:?}\n{:?}", a.story(), b.story());
    let (va, vb) = (a.endpoint.view(), b.endpoint.view());
    assert_eq!((va.children.len(), vb.children.len()), (1, 1));
    assert_eq!((va.spi_i, va.spi_r), (vb.spi_i, vb.spi_r));
    let (a_in, a_out) = a.bound.and_then(|c| a.sa(c)).expect("bound");
    let (b_in, b_out) = b.bound.and_then(|c| b.sa(c)).expect("bound");
    assert_eq!((a_in.spi, a_out.spi), (b_out.spi, b_in.spi));
    assert_eq!((a_in.keymat.expose(), a_out.keymat.expose()), (b_out.keymat.expose(), b_in.keymat.expose()));
}

fn child(net: &Net, side: Side) -> crate::ChildId {
    net.gateways[side as usize].bound.expect("bound")
}

#[test]
fn a_child_is_rekeyed_by_either_side_without_a_lost_packet() {
    for (esp, side, install_ms) in [
        ("aes256gcm16", Side::A, 0),
        ("aes256gcm16", Side::B, 7),
        ("aes128gcm16-x25519", Side::A, 7),
        ("chacha20poly1305-ecp384", Side::B, 0),
    ] {
        let (mut a, mut b) = configs();
        for c in [&mut a, &mut b] {
            c.esp_proposals = vec![esp.parse::<EspProposal>().expect("valid")];
        }
        let mut net = Net::established(a, b);
        for g in &mut net.gateways {
            g.install = Install::After(Duration::from_millis(install_ms));
        }
        net.compute = Duration::from_millis(4);
        let old = child(&net, side);
        net.with(side, |e, now| e.rekey_child(now, old));
        let sent = run_with_traffic(&mut net, Duration::from_secs(1));
        assert_nothing_lost(&net, sent);
        assert_ne!(child(&net, side), old);
        assert_settled(&mut net);
        for g in [net.a(), net.b()] {
            let down = |e: &&Event| matches!(e, Event::ChildSaDown { cause: ChildDownCause::Replaced, .. });
            assert_eq!(g.events.iter().filter(down).count(), 1);
        }
    }
}

#[test]
fn a_group_for_forward_secrecy_that_the_peer_does_not_like_is_changed() {
    let (mut a, mut b) = configs();
    a.esp_proposals = vec!["aes256gcm16-x25519-ecp256".parse().expect("valid")];
    b.esp_proposals = vec!["aes256gcm16-ecp256".parse().expect("valid")];
    let mut net = Net::established(a, b);
    let old = child(&net, Side::A);
    net.with(Side::A, |e, now| e.rekey_child(now, old));
    net.run(Duration::from_secs(1));
    assert_ne!(child(&net, Side::A), old);
    assert_settled(&mut net);
}

#[test]
fn the_ike_sa_is_rekeyed_by_either_side_and_keeps_its_children() {
    for side in [Side::A, Side::B] {
        let (a, b) = configs();
        let mut net = Net::established(a, b);
        let before = net.a().endpoint.view();
        net.with(side, |e, now| e.rekey_ike(now));
        let sent = run_with_traffic(&mut net, Duration::from_secs(1));
        assert_nothing_lost(&net, sent);
        let after = net.a().endpoint.view();
        assert_ne!((before.spi_i, before.spi_r), (after.spi_i, after.spi_r));
        // The new SA carries work from both sides: a child rekey each way, then another IKE rekey by the other.
        for s in [Side::A, Side::B] {
            let old = child(&net, s);
            net.with(s, |e, now| e.rekey_child(now, old));
            net.run(Duration::from_secs(5));
            assert_ne!(child(&net, s), old);
        }
        net.with(side.other(), |e, now| e.rekey_ike(now));
        net.run(Duration::from_secs(1));
        assert_ne!(net.a().endpoint.view().spi_i, after.spi_i);
        assert_settled(&mut net);
    }
}

#[test]
fn soft_lifetimes_rekey_by_themselves() {
    let (mut a, mut b) = configs();
    for c in [&mut a, &mut b] {
        c.child_lifetime.soft = Duration::from_secs(3);
        c.child_lifetime.hard = Duration::from_secs(60);
        c.ike_lifetime.soft = Duration::from_secs(7);
        c.ike_lifetime.hard = Duration::from_secs(60);
    }
    let mut net = Net::established(a, b);
    let sent = run_with_traffic(&mut net, Duration::from_secs(120));
    assert_nothing_lost(&net, sent);
    let c = net.a().endpoint.view().counters;
    assert!(c.rekeys_child > 30 && c.rekeys_ike > 15, "{c:?}");
    assert!(net.is_up());
}

#[test]
fn hard_lifetimes_end_it_when_no_rekey_succeeds() {
    let (mut a, b) = configs();
    a.child_lifetime.soft = Duration::from_secs(10);
    a.child_lifetime.hard = Duration::from_secs(12);
    a.child_lifetime.jitter_percent = 0;
    a.dpd.mode = DpdMode::Off;
    let mut net = Net::established(a, b);
    // Nothing of A's rekey gets through until the limit has passed.
    net.run(Duration::from_millis(9_500));
    net.script = Box::new(|from, _, _| if from == Side::A { Fate::Drop } else { Fate::Deliver });
    net.run(Duration::from_secs(4));
    assert_eq!(net.a().closed(), Some(CloseCause::HardLimit));
    net.script = Box::new(|_, _, _| Fate::Deliver);
    net.run(Duration::from_secs(10));
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted), "the DELETE is retransmitted");
}

/// What the dataplane is told, and what happens when it says that a limit is reached.
#[test]
fn limits_of_bytes() {
    let (mut a, mut b) = configs();
    for c in [&mut a, &mut b] {
        c.child_lifetime = Lifetime::of(Duration::from_secs(3_600), 1_000_000);
    }
    let mut net = Net::established(a, b);
    let mut soft = Vec::new();
    for _ in 0..8 {
        let old = child(&net, Side::A);
        let (inn, out) = net.a().sa(old).expect("installed");
        assert_eq!((inn.hard_bytes_max, out.hard_bytes_max), (1_000_000, 1_000_000));
        assert_eq!(inn.soft_bytes_max, out.soft_bytes_max);
        // Nine tenths, and up to a tenth of that earlier.
        assert!((810_000..=900_000).contains(&inn.soft_bytes_max));
        soft.push(inn.soft_bytes_max);
        net.with(Side::A, |e, now| e.rekey_child(now, old));
        let sent = run_with_traffic(&mut net, Duration::from_secs(1));
        assert_ne!(child(&net, Side::A), old);
        assert_nothing_lost(&net, sent);
        // The last packets of the old one may reach its hard limit: that ends nothing.
        net.with(Side::A, |e, now| e.expire_child(now, old));
        net.with(Side::B, |e, now| e.expire_child(now, old));
        assert!(net.is_up());
        (net.gateways[0].received, net.gateways[1].received) = (0, 0);
    }
    soft.dedup();
    assert!(soft.len() > 4, "jittered: {soft:?}");
    let live = child(&net, Side::B);
    net.with(Side::B, |e, now| e.expire_child(now, live));
    net.run(Duration::from_secs(1));
    assert_eq!(
        (net.b().closed(), net.a().closed()),
        (Some(CloseCause::HardLimit), Some(CloseCause::PeerDeleted))
    );
}

/// A peer whose time-out is 1 s, as strongSwan may have it: whichever message of a rekey is lost, with any pace of the
/// dataplane and of the key exchange, each packet meets its SA. The side that answers goes on sending on the old one until
/// the peer is on the new one, and receives on both.
#[test]
fn a_lost_message_of_a_rekey_costs_no_packet() {
    for (esp, side) in [
        ("aes128-sha256-modp2048", Side::A),
        ("aes128-sha256-modp2048", Side::B),
        ("aes256gcm16", Side::B),
        ("aes256gcm16-x25519-ke1_mlkem768", Side::B),
    ] {
        // CREATE_CHILD_SA and its answer, IKE_FOLLOWUP_KE, DELETE and its answer.
        for lost in 1..=6 {
            for (install_ms, compute_ms) in [(0, 0), (7, 30), (40, 3)] {
                let (mut a, mut b) = configs();
                for c in [&mut a, &mut b] {
                    c.esp_proposals = vec![esp.parse().expect("valid")];
                    c.retransmit.first = Duration::from_secs(1);
                    c.fragment_bytes_max = None;
                }
                let mut net = Net::established(a, b);
                for g in &mut net.gateways {
                    g.install = Install::After(Duration::from_millis(install_ms));
                }
                net.compute = Duration::from_millis(compute_ms);
                let mut n = 0;
                net.script = Box::new(move |_, _, p| {
                    n += u32::from(matches!(p, Packet::Ike(_)));
                    if n == lost && matches!(p, Packet::Ike(_)) { Fate::Drop } else { Fate::Deliver }
                });
                let old = child(&net, side);
                net.with(side, |e, now| e.rekey_child(now, old));
                let sent = run_with_traffic(&mut net, Duration::from_secs(4));
                assert_nothing_lost(&net, sent);
                assert_ne!(child(&net, side), old, "{esp} {side:?} {lost}");
            }
        }
    }
}

/// The peer, which has answered our rekey of the IKE SA, asks on the new one while we compute its keys, or while the answer
/// is lost.
#[test]
fn a_request_on_the_new_ike_sa_is_not_too_early() {
    for (fate, computes) in [(Fate::Deliver, 50), (Fate::Late(Duration::from_millis(30)), 0)] {
        let (a, b) = configs();
        let mut net = Net::established(a, b);
        let old = child(&net, Side::B);
        let spi = net.b().endpoint.view().spi_i;
        net.with(Side::A, |e, now| e.rekey_ike(now));
        // A's key exchange is a matter of no time, its second half of some.
        net.run(Duration::from_millis(5));
        net.compute = Duration::from_millis(computes);
        let mut first = true;
        net.script = Box::new(move |from, _, p| match p {
            Packet::Ike(_) if from == Side::B && core::mem::replace(&mut first, false) => fate,
            _ => Fate::Deliver,
        });
        while net.b().endpoint.view().spi_i == spi {
            net.run(Duration::from_millis(1));
        }
        net.with(Side::B, |e, now| e.rekey_child(now, old));
        net.run(Duration::from_millis(400));
        let (a, b) = (net.a().endpoint.view().counters, net.b().endpoint.view().counters);
        assert_eq!((b.retransmits_out, a.dropped_spi), (0, 0), "{fate:?}");
        assert_eq!((a.rekeys_child, b.rekeys_child, a.rekeys_ike), (1, 1, 1), "{fate:?}");
        assert_settled(&mut net);
    }
}

/// As the dataplane says it once, also of an SA that is not in use yet.
#[test]
fn a_limit_that_is_reached_early_is_heeded_later() {
    for hard in [false, true] {
        let (a, b) = configs();
        let mut net = Net::established(a, b);
        let old = child(&net, Side::A);
        net.gateways[1].install = Install::After(Duration::from_millis(30));
        net.with(Side::A, |e, now| e.rekey_child(now, old));
        net.run(Duration::from_millis(45));
        // B is going over to the new one.
        let State::Established(s) = &net.gateways[1].endpoint.state else { panic!("up") };
        let new = s.children.iter().find(|c| c.id != old).map(|c| (c.id, c.stage)).expect("made");
        assert!(matches!(new.1, Stage::Standby { .. } | Stage::Binding), "{new:?}");
        net.send_esp(Side::A);
        net.run(Duration::from_millis(15));
        net.with(Side::B, |e, now| if hard { e.expire_child(now, new.0) } else { e.rekey_child(now, new.0) });
        net.run(Duration::from_secs(2));
        if hard {
            assert_eq!(net.b().closed(), Some(CloseCause::HardLimit));
        } else {
            assert_ne!(child(&net, Side::B), new.0, "{:?}", net.b().story());
            assert_eq!(net.b().endpoint.view().counters.rekeys_child, 2);
        }
    }
}

#[test]
fn the_end_of_a_call_reaches_the_peer_even_behind_an_unanswered_request() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let old = child(&net, Side::A);
    // The answer to A's rekey is lost, so A's window is full when it closes.
    net.script = Box::new(|from, _, _| if from == Side::B { Fate::Drop } else { Fate::Deliver });
    net.with(Side::A, |e, now| e.rekey_child(now, old));
    net.run(Duration::from_millis(50));
    net.with(Side::A, |e, now| e.close(now, CloseCause::Idle));
    assert_eq!(net.a().closed(), Some(CloseCause::Idle));
    net.run(Duration::from_millis(50));
    assert_eq!(net.a().installed() + net.b().installed(), 0);
    net.run(Duration::from_secs(1));
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted));
}

#[test]
fn both_close_at_once() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    for side in [Side::A, Side::B] {
        net.with(side, |e, now| e.close(now, CloseCause::Admin));
    }
    net.run(Duration::from_secs(20));
    assert_eq!((net.a().closed(), net.b().closed()), (Some(CloseCause::Admin), Some(CloseCause::Admin)));
    assert_eq!(net.a().endpoint.poll_timeout(), None, "both answered, nothing is left to do");
    assert_eq!(net.b().endpoint.poll_timeout(), None);
}

#[test]
fn a_silent_peer_is_found_dead_and_traffic_proves_life() {
    let (mut a, mut b) = configs();
    a.dpd = Dpd { mode: DpdMode::OnDemand, interval: Duration::from_secs(2) };
    b.dpd.mode = DpdMode::Off;
    let mut net = Net::established(a, b);
    // Traffic flows, IKE does not: no question is asked.
    net.script = Box::new(|_, _, p| if matches!(p, Packet::Ike(_)) { Fate::Drop } else { Fate::Deliver });
    run_with_traffic(&mut net, Duration::from_secs(10));
    assert_eq!(net.a().endpoint.view().counters.dpd_sent, 0);
    net.run(Duration::from_secs(40));
    assert!(
        matches!(net.a().failed(), Some(IkeError::NoResponse(Unanswered { exchange: "INFORMATIONAL", .. }))),
        "{:?}",
        net.a().story()
    );
}

#[test]
fn periodic_questions_are_asked_whatever_is_seen() {
    let (mut a, mut b) = configs();
    a.dpd = Dpd { mode: DpdMode::Periodic, interval: Duration::from_secs(2) };
    b.dpd.mode = DpdMode::Off;
    let mut net = Net::established(a, b);
    run_with_traffic(&mut net, Duration::from_secs(11));
    assert_eq!(net.a().endpoint.view().counters.dpd_sent, 5);
    assert!(net.is_up());
}

/// A peer may rekey an SA that it has just made for us, before we have its answer: we do not say that there is none.
#[test]
fn a_rekey_of_what_our_lost_answer_was_about_to_bring() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let old = child(&net, Side::A);
    // B's answer is lost once; what comes behind it is not.
    let mut lost = false;
    net.script = Box::new(move |from, _, _| {
        if from == Side::B && !core::mem::replace(&mut lost, true) { Fate::Drop } else { Fate::Deliver }
    });
    net.with(Side::A, |e, now| e.rekey_child(now, old));
    net.run(Duration::from_millis(50));
    // Our own endpoint would wait until the old one is deleted; strongSwan does not.
    net.with(Side::B, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("established") };
        let new =
            s.children.iter_mut().find(|c| matches!(c.stage, Stage::Standby { .. })).expect("made for A");
        let id = core::mem::replace(&mut new.stage, Stage::Live);
        assert!(matches!(id, Stage::Standby { replaces, .. } if replaces == old));
        let id = new.id;
        e.rekey_child(now, id);
    });
    net.run(Duration::from_secs(20));
    for g in [net.a(), net.b()] {
        let gone = |e: &Event| matches!(e, Event::ChildSaDown { cause: ChildDownCause::PeerDeleted, .. });
        assert!(!g.events.iter().any(gone), "{:?}", g.story());
    }
    assert_settled(&mut net);
}

/// A peer that rekeys an SA twice and deletes it then, or the newer of the two, sends on what is left.
#[test]
fn of_two_successors_the_newest_takes_over_and_then_the_other() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let old = child(&net, Side::A);
    net.gateways[0].install = Install::Never;
    let mut made = Vec::new();
    for _ in 0..2 {
        net.with(Side::A, |e, now| {
            let State::Established(s) = &mut e.state else { panic!("established") };
            s.child_mut(old).expect("there").stage = Stage::Live;
            e.rekey_child(now, old);
        });
        net.run(Duration::from_millis(50));
        made.push(child(&net, Side::A));
    }
    assert!(made[0] != made[1] && made[0] != old);
    let inbound = |net: &Net, id| net.a().sa(id).expect("there").0.spi;
    let sent_on = |net: &Net| net.b().sa(child(net, Side::B)).expect("there").1.spi;
    assert_eq!(sent_on(&net), inbound(&net, old));
    net.gateways[0].install = Install::After(Duration::ZERO);
    net.run(Duration::from_millis(50));
    assert_eq!(sent_on(&net), inbound(&net, made[1]), "{:?}", net.b().story());
    net.with(Side::A, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("established") };
        s.child_mut(made[1]).expect("there").stage = Stage::Deleting;
        s.ask_delete(&mut e.ctx, now, made[1]);
    });
    net.run(Duration::from_millis(50));
    assert_eq!(sent_on(&net), inbound(&net, made[0]), "{:?}", net.b().story());
}

/// Both sides rekey at once, with traffic, latencies and loss by chance; `interleavings` walks all orders.
mod collisions {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Act {
        RekeyChild(Side),
        RekeyIke(Side),
        Close(Side),
    }

    fn side() -> impl Strategy<Value = Side> {
        prop_oneof![Just(Side::A), Just(Side::B)]
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![side().prop_map(Act::RekeyChild), side().prop_map(Act::RekeyIke)]
    }

    fn fate(loss: u32) -> impl Strategy<Value = Fate> {
        prop_oneof![
            6 => Just(Fate::Deliver),
            loss => Just(Fate::Drop),
            1 => Just(Fate::Twice),
            3 => (0u64..60).prop_map(|ms| Fate::Late(Duration::from_millis(ms))),
        ]
    }

    fn perform(net: &mut Net, act: Act) {
        match act {
            Act::RekeyChild(s) => {
                if let Some(c) = net.gateways[s as usize].bound {
                    net.with(s, |e, now| e.rekey_child(now, c));
                }
            }
            Act::RekeyIke(s) => net.with(s, |e, now| e.rekey_ike(now)),
            Act::Close(s) => net.with(s, |e, now| e.close(now, CloseCause::Admin)),
        }
    }

    /// Of A and of B.
    const ESP: &[[&str; 2]] = &[
        ["aes256gcm16"; 2],
        ["aes256gcm16-x25519"; 2],
        ["aes256gcm16-x25519-ke1_mlkem768"; 2],
        ["aes256gcm16-x25519-ke1_mlkem512-ke1_none", "aes256gcm16-x25519"],
        ["aes256gcm16-x25519-ke1_none-ke1_mlkem512", "aes256gcm16-x25519-ke1_mlkem512-ke1_none"],
    ];

    /// B has not finished its own rekey when A, which has won, closes: the SA that B is about to take up goes as well.
    #[test]
    fn a_close_reaches_a_peer_that_is_behind_with_a_crossing_rekey() {
        let (a, b) = configs();
        let mut net = Net::established_seeded(a, b, 904);
        let late = Fate::Late(Duration::from_millis(10));
        // Both requests and their answers; then A's DELETE of the old SA is lost.
        let fates = [Fate::Deliver, Fate::Twice, late, Fate::Deliver, Fate::Deliver, Fate::Drop];
        let mut next = fates.into_iter();
        net.script = Box::new(move |_, _, _| next.next().unwrap_or(Fate::Deliver));
        perform(&mut net, Act::RekeyIke(Side::B));
        net.run(Duration::ZERO);
        perform(&mut net, Act::RekeyIke(Side::A));
        net.run(Duration::from_millis(20));
        perform(&mut net, Act::Close(Side::A));
        net.run(Duration::from_secs(90));
        let stories = (net.a().story(), net.b().story());
        assert_eq!(net.a().installed() + net.b().installed(), 0, "{stories:?}");
        assert_eq!(net.a().closed(), Some(CloseCause::Admin));
    }

    proptest! {
        /// With any crossing exchanges, any order and any loss of IKE messages, no packet of the tunnel is lost and both
        /// sides end with the same one SA.
        #[test]
        fn crossing_rekeys_lose_nothing_and_settle(
            acts in prop::collection::vec((act(), 0u64..80), 1..6),
            fates in prop::collection::vec(fate(2), 0..40),
            esp in prop::sample::select(ESP),
            compute in 0u64..20,
            install in 0u64..20,
            seed in 1u64..10_000,
        ) {
            let (mut a, mut b) = configs();
            for c in [&mut a, &mut b] {
                c.retransmit.tries_max = 30;
            }
            for (c, esp) in [&mut a, &mut b].into_iter().zip(esp) {
                c.esp_proposals = vec![esp.parse().expect("valid")];
            }
            let mut net = Net::established_seeded(a, b, seed);
            net.compute = Duration::from_millis(compute);
            for g in &mut net.gateways {
                g.install = Install::After(Duration::from_millis(install));
            }
            let mut next = fates.into_iter();
            net.script = Box::new(move |_, _, p| match p {
                Packet::Ike(_) => next.next().unwrap_or(Fate::Deliver),
                Packet::Esp(..) => Fate::Deliver,
            });
            let mut sent = 0;
            for (act, wait) in acts {
                perform(&mut net, act);
                sent += run_with_traffic(&mut net, Duration::from_millis(wait));
            }
            sent += run_with_traffic(&mut net, Duration::from_secs(5));
            assert_nothing_lost(&net, sent);
            assert_settled(&mut net);
        }

        /// And a close in the middle of it ends both.
        #[test]
        fn a_close_among_crossing_rekeys_ends_both(
            acts in prop::collection::vec((act(), 0u64..60), 0..5),
            closer in side(),
            fates in prop::collection::vec(fate(1), 0..30),
            seed in 1u64..10_000,
        ) {
            let (a, b) = configs();
            let mut net = Net::established_seeded(a, b, seed);
            let mut next = fates.into_iter();
            net.script = Box::new(move |_, _, _| next.next().unwrap_or(Fate::Deliver));
            for (act, wait) in acts {
                perform(&mut net, act);
                net.run(Duration::from_millis(wait));
            }
            perform(&mut net, Act::Close(closer));
            net.run(Duration::from_secs(90));
            prop_assert_eq!(net.a().installed() + net.b().installed(), 0, "{:?}\n{:?}", net.a().story(), net.b().story());
            prop_assert_eq!(net.gateways[closer as usize].closed(), Some(CloseCause::Admin));
        }
    }
}
