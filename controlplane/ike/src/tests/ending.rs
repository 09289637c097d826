//! How an established SA ends: nothing that is paid for outlives its use, and nothing that works is given up.

use crate::Unanswered;
use crate::algorithm::Encr;
use crate::config::{DpdMode, Lifetime};
use crate::error::Violation;
use crate::negotiate::ike;
use crate::state::State;
use crate::state::established::Standing;
use crate::task::child::Stage;
use crate::testing::{Fate, Net, Packet, Side, config};
use crate::view::StateName;
use crate::wire::{Chain, Exchange, NotifyType};
use crate::{ChildDownCause, ChildId, CloseCause, Endpoint, EndpointConfig, Event, IkeError};
use core::time::Duration;
use sipsec_net::Instant;
use sipsec_net::dp::Selector;

fn configs() -> (EndpointConfig, EndpointConfig) {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    for c in [&mut a, &mut b] {
        c.dpd.mode = DpdMode::Off;
    }
    (a, b)
}

fn child(net: &Net, side: Side) -> ChildId {
    net.gateways[side as usize].bound.expect("bound")
}

fn with_established(
    net: &mut Net,
    side: Side,
    f: impl FnOnce(&mut crate::state::Established, &mut crate::ctx::Ctx, Instant),
) {
    net.with(side, |e: &mut Endpoint, now| {
        let State::Established(s) = &mut e.state else { panic!("up") };
        f(s, &mut e.ctx, now);
    });
}

#[test]
fn when_the_peer_deletes_the_only_child_the_ike_sa_goes_too() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let id = child(&net, Side::B);
    with_established(&mut net, Side::B, |s, ctx, now| {
        s.child_mut(id).expect("live").stage = Stage::Deleting;
        s.ask_delete(ctx, now, id);
    });
    net.run(Duration::from_millis(500));
    let down = |e: &Event| matches!(e, Event::ChildSaDown { cause: ChildDownCause::PeerDeleted, .. });
    assert!(net.a().events.iter().any(down), "{:?}", net.a().story());
    assert_eq!(net.a().closed(), None, "the peer may make a new one");
    net.run(Duration::from_secs(2));
    assert_eq!(net.a().closed(), Some(CloseCause::NoChild));
    assert!(net.b().closed().is_some());
}

/// RFC 7296 §2.25: what the peer does not have is made anew.
#[test]
fn a_child_that_the_peer_has_lost_is_replaced() {
    for esp in ["aes256gcm16", "aes256gcm16-x25519"] {
        let (mut a, mut b) = configs();
        for c in [&mut a, &mut b] {
            c.esp_proposals = vec![esp.parse().expect("valid")];
        }
        let mut net = Net::established(a, b);
        let old = child(&net, Side::A);
        with_established(&mut net, Side::B, |s, _, _| s.children.clear());
        net.with(Side::A, |e, now| e.rekey_child(now, old));
        net.run(Duration::from_secs(5));
        assert!(net.is_up(), "{:?}\n{:?}", net.a().story(), net.b().story());
        assert_ne!(child(&net, Side::A), old);
        let (a_in, _) = net.a().sa(child(&net, Side::A)).expect("installed");
        let (_, b_out) = net.b().sa(child(&net, Side::B)).expect("installed");
        assert_eq!(a_in.spi, b_out.spi);
    }
}

/// Its proposals suit each other in IKE_AUTH, which has no group, and never again.
fn no_rekey() -> (EndpointConfig, EndpointConfig) {
    let (mut a, mut b) = configs();
    a.esp_proposals = vec!["aes256gcm16-x25519".parse().expect("valid")];
    b.esp_proposals = vec!["aes256gcm16-ecp256".parse().expect("valid")];
    a.child_lifetime = Lifetime::of(Duration::from_secs(1_000), 0);
    (a, b)
}

#[test]
fn a_peer_that_rekeys_nothing_keeps_its_sa_to_the_hard_limit() {
    let (a, b) = no_rekey();
    let mut net = Net::established(a, b);
    let id = child(&net, Side::A);
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    let asked = net.a().endpoint.view().counters.requests_out;
    net.run(Duration::from_secs(990));
    assert!(net.is_up(), "{:?}", net.a().story());
    let asked = net.a().endpoint.view().counters.requests_out - asked;
    assert!((10..40).contains(&asked), "{asked}: again and again, and no more often than makes sense");
    net.run(Duration::from_secs(20));
    assert_eq!(net.a().closed(), Some(CloseCause::HardLimit));
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted));
}

/// RFC 7296 §2.25: TEMPORARY_FAILURE for several minutes.
#[test]
fn a_peer_that_is_always_busy_is_left_with_a_delete() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let (id, busy) = (child(&net, Side::A), child(&net, Side::B));
    with_established(&mut net, Side::B, |s, _, _| {
        s.child_mut(busy).expect("live").stage = Stage::Installing { standby_of: None };
    });
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    net.run(Duration::from_secs(170));
    assert_eq!(net.a().failed(), None);
    net.run(Duration::from_secs(30));
    let notify = NotifyType::TEMPORARY_FAILURE.0;
    assert_eq!(net.a().failed(), Some(&IkeError::PeerNotify { notify }));
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted));
}

/// RFC 7296 §2.21.2: where only the CHILD_SA is refused, the peer has an IKE SA, and may keep it.
#[test]
fn a_responder_that_refuses_the_child_deletes_the_ike_sa() {
    let (mut a, mut b) = configs();
    a.esp_proposals = vec!["aes128gcm16".parse().expect("valid")];
    b.esp_proposals = vec!["aes256gcm16".parse().expect("valid")];
    let mut net = Net::new(a, b);
    // Our own initiator would delete it by itself; of what it says after IKE_AUTH only its answers get through, and the
    // first of them does not.
    let mut answers = 0;
    net.script = Box::new(move |from, _, p| match p {
        Packet::Ike(bytes) if from == Side::A && bytes[18] == Exchange::INFORMATIONAL.0 => {
            answers += usize::from(bytes[19] & 0x20 != 0);
            if bytes[19] & 0x20 == 0 || answers == 1 { Fate::Drop } else { Fate::Deliver }
        }
        _ => Fate::Deliver,
    });
    net.start();
    net.run(Duration::from_secs(5));
    assert!(matches!(net.b().failed(), Some(IkeError::NoProposalChosen { .. })));
    let asked = |(from, m): &&(Side, Vec<u8>)| {
        *from == Side::B && m[18] == Exchange::INFORMATIONAL.0 && m[19] & 0x20 == 0
    };
    assert_eq!(net.log.iter().filter(asked).count(), 2, "a DELETE, once more");
    assert_eq!(net.b().endpoint.view().state, StateName::Closed, "and answered");
}

/// RFC 7296 §2.25.2: while we close, and our DELETE is lost, the peer goes on asking.
#[test]
fn whatever_is_asked_of_an_sa_that_is_being_closed_is_answered() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    net.script = Box::new(|from, _, p| match p {
        Packet::Ike(bytes) if from == Side::B && bytes[19] & 0x20 == 0 => Fate::Drop,
        _ => Fate::Deliver,
    });
    net.with(Side::B, |e, now| e.close(now, CloseCause::Admin));
    let id = child(&net, Side::A);
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    net.run(Duration::from_millis(100));
    let counters = net.a().endpoint.view().counters;
    assert_eq!((counters.responses_in, counters.retransmits_out), (3, 0), "TEMPORARY_FAILURE");
    net.with(Side::A, |e, now| e.close(now, CloseCause::Admin));
    net.run(Duration::from_millis(100));
    assert_eq!(net.a().endpoint.view().state, StateName::Closed, "its DELETE is answered");
}

/// RFC 7296 §2.21.3: INVALID_SYNTAX is fatal in both peers, and needs no DELETE.
#[test]
fn a_malformed_request_ends_the_sa_at_both_sides() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    net.script = Box::new(|_, _, _| Fate::Drop);
    net.with(Side::A, |e, now| e.rekey_ike(now));
    net.run(Duration::from_millis(1));
    net.script = Box::new(|_, _, _| Fate::Deliver);
    // The same exchange, but without KE.
    with_established(&mut net, Side::A, |s, ctx, now| {
        let sa = &mut s.current_mut().sa;
        let task = sa.unsend().expect("asked");
        let mut chain = Chain::new();
        chain.sa(&ike::offer(&ctx.config.ike_proposals, &[7; 8]));
        chain.nonce(&[7; 32]);
        sa.request(ctx, now, Exchange::CREATE_CHILD_SA, chain, task);
    });
    net.run(Duration::from_millis(100));
    assert!(matches!(net.b().failed(), Some(IkeError::ProtocolViolation(_))), "{:?}", net.b().story());
    let notify = NotifyType::INVALID_SYNTAX.0;
    assert_eq!(net.a().failed(), Some(&IkeError::PeerNotify { notify }));
    let informational = |(_, m): &&(Side, Vec<u8>)| m[18] == Exchange::INFORMATIONAL.0;
    assert_eq!(net.log.iter().filter(informational).count(), 0);
}

/// A key exchange that we could not compute is no fault of the peer.
#[test]
fn a_job_of_ours_that_fails_ends_nothing() {
    let (mut a, mut b) = configs();
    for c in [&mut a, &mut b] {
        c.esp_proposals = vec!["aes256gcm16-x25519".parse().expect("valid")];
    }
    let mut net = Net::established(a, b);
    let id = child(&net, Side::A);
    for rekey_ike in [false, true] {
        net.with(Side::A, |e, now| if rekey_ike { e.rekey_ike(now) } else { e.rekey_child(now, id) });
        net.run(Duration::from_millis(5));
        net.compute = Duration::from_millis(500);
        net.run(Duration::from_millis(10));
        net.fail_jobs(Side::B);
        net.compute = Duration::ZERO;
        net.run(Duration::from_millis(50));
        assert!(net.is_up(), "{:?}\n{:?}", net.a().story(), net.b().story());
        net.run(Duration::from_secs(10));
        assert!(net.is_up());
    }
    let counters = net.a().endpoint.view().counters;
    assert_eq!((counters.rekeys_child, counters.rekeys_ike), (1, 1), "done a little later");
}

/// RFC 7296 §2.4: what arrives is fresh proof that the peer lives, though its IKE does not answer for the moment.
#[test]
fn a_late_answer_ends_nothing_while_esp_arrives() {
    for silence in [30, 90] {
        let (a, b) = configs();
        let mut net = Net::established(a, b);
        let id = child(&net, Side::A);
        net.script = Box::new(|_, _, p| if matches!(p, Packet::Ike(_)) { Fate::Drop } else { Fate::Deliver });
        net.with(Side::A, |e, now| e.rekey_child(now, id));
        for _ in 0..silence {
            net.send_esp(Side::B);
            net.run(Duration::from_secs(1));
        }
        if silence == 90 {
            let failed = net.a().failed();
            assert!(
                matches!(failed, Some(IkeError::NoResponse(Unanswered { transmissions: 12, .. }))),
                "{failed:?}"
            );
            continue;
        }
        net.script = Box::new(|_, _, _| Fate::Deliver);
        net.run(Duration::from_secs(6));
        assert!(net.is_up() && child(&net, Side::A) != id, "{:?}", net.a().story());
    }
}

/// The peer may keep an IKE SA that has been replaced until it is told.
#[test]
fn a_close_does_not_forget_the_delete_of_the_ike_sa_before() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let old = net.a().endpoint.view().spi_i;
    let deletes = move |bytes: &[u8]| {
        bytes[..8] == old.to_be_bytes() && bytes[18] == Exchange::INFORMATIONAL.0 && bytes[19] & 0x20 == 0
    };
    net.script = Box::new(move |_, _, p| match p {
        Packet::Ike(bytes) if deletes(bytes) => Fate::Drop,
        _ => Fate::Deliver,
    });
    net.with(Side::A, |e, now| e.rekey_ike(now));
    net.run(Duration::from_millis(100));
    net.with(Side::A, |e, now| e.close(now, CloseCause::CallEnded));
    net.run(Duration::from_millis(100));
    assert_eq!((net.b().installed(), net.b().endpoint.view().state), (0, StateName::Reauthenticating));
    assert_eq!(net.a().endpoint.view().state, StateName::Closing);
    net.script = Box::new(|_, _, _| Fate::Deliver);
    net.run(Duration::from_secs(2));
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted));
    assert_eq!(net.log.iter().filter(|(_, m)| deletes(m)).count(), 2);
    assert_eq!(net.a().endpoint.view().state, StateName::Closed, "and the peer answers it");
}

/// RFC 7296 §2.21: an answer that we cannot take is not left standing at the peer.
#[test]
fn a_child_whose_answer_is_not_acceptable_is_deleted_at_the_peer() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let id = child(&net, Side::A);
    net.with(Side::A, |e, now| {
        e.rekey_child(now, id);
        // Not what the answer will hold.
        let nowhere = "203.0.113.1".parse().expect("an address");
        e.ctx.config.ts_local = vec![Selector { addr_start: nowhere, addr_end: nowhere, ..Selector::ANY_V4 }];
    });
    net.run(Duration::from_millis(15));
    assert_eq!(net.b().installed(), 2, "made by the peer");
    net.run(Duration::from_millis(100));
    assert_eq!((net.a().installed(), net.b().installed()), (1, 1), "{:?}", net.b().story());
    assert!(net.is_up() && child(&net, Side::A) == id);
}

/// RFC 7296 §2.9.2: what is in use is not narrowed by a rekey of either side.
#[test]
fn a_rekey_that_would_narrow_the_selectors_comes_to_nothing() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let id = child(&net, Side::A);
    let one = "203.0.113.1".parse().expect("an address");
    let narrow = vec![Selector { addr_start: one, addr_end: one, ..Selector::ANY_V4 }];
    net.with(Side::B, |e, _| e.ctx.config.ts_local = narrow);
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    net.run(Duration::from_millis(100));
    assert!(net.is_up() && child(&net, Side::A) == id, "refused by the responder");

    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let id = child(&net, Side::A);
    with_established(&mut net, Side::A, |s, _, _| {
        s.child_mut(id).expect("live").selectors.local = [Selector::ANY_V4, Selector::ANY_V6].into();
    });
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    net.run(Duration::from_millis(15));
    assert_eq!(net.b().installed(), 2);
    net.run(Duration::from_millis(100));
    assert!(net.is_up() && child(&net, Side::A) == id, "not taken by the initiator");
    assert_eq!(net.b().installed(), 1, "and deleted");
}

/// The keys of the new one are the peer's alone, so it is the call that ends.
#[test]
fn an_ike_sa_whose_answer_is_not_acceptable_is_the_end() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    net.with(Side::A, |e, now| e.rekey_ike(now));
    net.run(Duration::from_millis(1));
    with_established(&mut net, Side::A, |s, _, _| {
        s.current_mut().sa.suite.encr = Encr::ChaCha20Poly1305;
    });
    net.run(Duration::from_millis(100));
    let violation = Violation::NotOffered("IKE SA");
    assert_eq!(net.a().failed(), Some(&IkeError::ProtocolViolation(violation)), "{:?}", net.a().story());
    let deletes = |(from, m): &&(Side, Vec<u8>)| {
        *from == Side::A && m[18] == Exchange::INFORMATIONAL.0 && m[19] & 0x20 == 0
    };
    assert_eq!(net.log.iter().filter(deletes).count(), 1);
}

/// Both rekey the IKE SA. A has answered and waits for its own answer, and its call ends: with this seed B's SA wins, so
/// B is on it when the DELETE of the old one comes.
#[test]
fn a_close_takes_along_what_the_peer_has_just_made() {
    let (a, b) = configs();
    let mut net = Net::established_seeded(a, b, 3);
    net.script = Box::new(|from, _, p| match p {
        Packet::Ike(bytes) if from == Side::B && bytes[19] & 0x20 != 0 => Fate::Drop,
        _ => Fate::Deliver,
    });
    for side in [Side::A, Side::B] {
        net.with(side, |e, now| e.rekey_ike(now));
    }
    net.run(Duration::from_millis(15));
    with_established(&mut net, Side::A, |s, _, _| {
        assert!(s.slots.iter().any(|s| s.standing == Standing::Candidate));
    });
    net.with(Side::A, |e, now| e.close(now, CloseCause::CallEnded));
    net.run(Duration::from_secs(1));
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted), "{:?}", net.b().endpoint.view().state);
}
