//! The additional key exchange of CHILD_SAs: CREATE_CHILD_SA with IKE_FOLLOWUP_KE (RFC 9370 §2.2.4).

use super::by_hand::{MS, ask};
use crate::algorithm::{DhGroup, Prf};
use crate::crypto::keys::ChildKeys;
use crate::crypto::prf::prf_plus;
use crate::secret::Secret;
use crate::state::{Established, State};
use crate::testing::{Fate, Net, Packet, Side, config};
use crate::wire::{Chain, Exchange, Header, NotifyType};
use crate::{ChildId, EndpointConfig, IkeError};
use core::time::Duration;
use sipsec_net::dp::EspCipher;

const HYBRID: &str = "aes256gcm16-x25519-ke1_mlkem768";
const OPTIONAL: &str = "aes256gcm16-x25519-ke1_mlkem768-ke1_none";
const CLASSICAL: &str = "aes256gcm16-x25519";

fn pair(a: &str, b: &str) -> (EndpointConfig, EndpointConfig) {
    let (mut ca, mut cb) = (config(Side::A), config(Side::B));
    ca.esp_proposals = vec![a.parse().expect("a proposal")];
    cb.esp_proposals = vec![b.parse().expect("a proposal")];
    (ca, cb)
}

fn established(a: &str, b: &str) -> Net {
    let (a, b) = pair(a, b);
    Net::established(a, b)
}

fn child(net: &Net, side: Side) -> ChildId {
    net.gateways[side as usize].bound.expect("bound")
}

fn rekey(net: &mut Net, side: Side) {
    let old = child(net, side);
    net.with(side, |e, now| e.rekey_child(now, old));
}

fn state(net: &mut Net, side: Side) -> &mut Established {
    let State::Established(s) = &mut net.gateways[side as usize].endpoint.state else { panic!("up") };
    s
}

/// Of the CHILD_SA that carries the traffic of a side.
fn ke1(net: &Net, side: Side) -> Option<DhGroup> {
    let id = child(net, side);
    let view = net.gateways[side as usize].endpoint.view();
    view.children.iter().find(|c| c.child == id).and_then(|c| c.suite.ke1)
}

fn exchanges(log: &[(Side, Vec<u8>)], side: Side) -> Vec<Exchange> {
    let mut out: Vec<_> = log
        .iter()
        .filter(|(s, m)| *s == side && m[19] & 0x20 == 0)
        .map(|(_, m)| Header::parse(m).expect("ours").exchange)
        .collect();
    // The fragments of one message.
    out.dedup();
    out
}

/// Runs with a packet each way every tick, of which none is lost.
fn run_with_traffic(net: &mut Net, span: Duration) {
    let end = net.now + span;
    while net.now < end {
        net.send_esp(Side::A);
        net.send_esp(Side::B);
        net.run(MS * 5);
    }
    net.run(MS * 50);
    assert_eq!((net.a().lost, net.b().lost), (0, 0), "{:?}\n{:?}", net.a().story(), net.b().story());
}

/// Both sides on the same one CHILD_SA, with nothing left to do.
fn assert_settled(net: &mut Net) {
    net.run(Duration::from_secs(90));
    assert!(net.is_up(), "{:?}\n{:?}", net.a().story(), net.b().story());
    assert_eq!((net.a().installed(), net.b().installed()), (1, 1));
    let (a_in, a_out) = net.a().sa(child(net, Side::A)).expect("bound");
    let (b_in, b_out) = net.b().sa(child(net, Side::B)).expect("bound");
    assert_eq!((a_in.keymat.expose(), a_out.keymat.expose()), (b_out.keymat.expose(), b_in.keymat.expose()));
    for side in [Side::A, Side::B] {
        let s = state(net, side);
        assert!(s.agree_child.is_none() && s.answer_children.is_empty() && s.queue.is_empty());
    }
}

#[test]
fn a_rekey_does_both_key_exchanges_by_either_side() {
    for (word, group) in [
        ("ke1_mlkem512", DhGroup::MlKem512),
        ("ke1_mlkem768", DhGroup::MlKem768),
        ("ke1_mlkem1024", DhGroup::MlKem1024),
    ] {
        let esp = format!("aes256gcm16-x25519-{word}");
        let mut net = established(&esp, &esp);
        // IKE_AUTH has no place for it (RFC 7296 §1.2).
        assert_eq!(exchanges(&net.log, Side::A), [Exchange::IKE_SA_INIT, Exchange::IKE_AUTH]);
        assert_eq!((ke1(&net, Side::A), ke1(&net, Side::B)), (None, None));
        for side in [Side::A, Side::B] {
            let (old, sent) = (child(&net, side), net.log.len());
            net.compute = MS * 4;
            rekey(&mut net, side);
            run_with_traffic(&mut net, Duration::from_secs(1));
            assert_ne!(child(&net, side), old);
            assert_eq!((ke1(&net, Side::A), ke1(&net, Side::B)), (Some(group), Some(group)));
            let want = [Exchange::CREATE_CHILD_SA, Exchange::IKE_FOLLOWUP_KE, Exchange::INFORMATIONAL];
            assert_eq!(exchanges(&net.log[sent..], side), want);
            assert_settled(&mut net);
        }
        let names: Vec<_> = net.a().endpoint.view().children.iter().map(|c| c.suite.to_string()).collect();
        assert_eq!(names, [esp]);
    }
}

#[test]
fn what_the_profiles_allow_is_what_a_rekey_does() {
    let some = Some(DhGroup::MlKem768);
    for (a, b, want) in [
        (OPTIONAL, CLASSICAL, None),
        (CLASSICAL, OPTIONAL, None),
        (OPTIONAL, HYBRID, some),
        (HYBRID, OPTIONAL, some),
    ] {
        let mut net = established(a, b);
        for side in [Side::A, Side::B] {
            let old = child(&net, side);
            rekey(&mut net, side);
            net.run(Duration::from_secs(1));
            assert_ne!(child(&net, side), old, "{a} {b}");
            assert_eq!((ke1(&net, Side::A), ke1(&net, Side::B)), (want, want), "{a} {b}");
            assert_settled(&mut net);
        }
    }
    // One insists, the other has none: the SA stays as it is.
    for (a, b) in [(HYBRID, CLASSICAL), (CLASSICAL, HYBRID)] {
        let mut net = established(a, b);
        let old = child(&net, Side::A);
        rekey(&mut net, Side::A);
        net.run(Duration::from_secs(1));
        assert!(net.is_up() && child(&net, Side::A) == old, "{a} {b}");
    }
}

/// RFC 9370 §2.2.4: KEYMAT = prf+(SK_d, SK(0) | Ni | Nr | SK(1)).
#[test]
fn keys_of_two_exchanges() {
    let secret = |b: u8| Secret::new(vec![b; 32]);
    let (sk_d, first, second) = (secret(1), secret(2), secret(3));
    let cipher = EspCipher::Aes256Gcm16;
    let shared = (Some(&first), Some(&second));
    let keys = ChildKeys::derive(Prf::HmacSha384, &sk_d, shared, (b"ni", b"nr"), cipher);
    let parts = [first.expose(), b"ni", b"nr", second.expose()];
    let want = prf_plus(Prf::HmacSha384, sk_d.expose(), &parts, 2 * cipher.keymat_len());
    let got = [keys.initiator_to_responder.expose(), keys.responder_to_initiator.expose()].concat();
    assert_eq!(got, want.expose());
}

/// Each message of the series is lost once, or comes twice.
#[test]
fn lost_and_repeated_messages_change_nothing() {
    for fate in [Fate::Drop, Fate::Twice, Fate::Late(MS * 700)] {
        for victim in 0..8 {
            let mut net = established(HYBRID, HYBRID);
            net.compute = MS * 3;
            let mut n = 0;
            net.script = Box::new(move |_, _, p| {
                n += usize::from(matches!(p, Packet::Ike(_)));
                if matches!(p, Packet::Ike(_)) && n == victim + 1 { fate } else { Fate::Deliver }
            });
            let old = child(&net, Side::A);
            rekey(&mut net, Side::A);
            run_with_traffic(&mut net, Duration::from_secs(3));
            assert_ne!(child(&net, Side::A), old);
            assert_eq!(ke1(&net, Side::B), Some(DhGroup::MlKem768));
            assert_settled(&mut net);
        }
    }
}

/// Up to the first IKE_FOLLOWUP_KE of A, which is held back.
fn between_the_exchanges(net: &mut Net) {
    net.script = Box::new(|from, _, p| match p {
        Packet::Ike(m) if from == Side::A && m[18] == Exchange::IKE_FOLLOWUP_KE.0 => Fate::Drop,
        _ => Fate::Deliver,
    });
    rekey(net, Side::A);
    net.run(MS * 100);
    assert!(state(net, Side::B).answer_children[0].awaited_until().is_some());
}

#[test]
fn a_peer_that_does_not_go_on_is_not_waited_for() {
    let mut net = established(HYBRID, HYBRID);
    between_the_exchanges(&mut net);
    let now = net.now;
    let s = state(&mut net, Side::A);
    let ours = s.agree_child.take().expect("in the middle");
    s.child_mut(ours.task.old).expect("live").rekey_at = now + Duration::from_secs(3_600);
    let _ = s.current_mut().sa.unsend();
    // B's own attempts are needless in the meantime, and not after.
    net.script = Box::new(|_, _, _| Fate::Deliver);
    net.run(Duration::from_secs(10));
    rekey(&mut net, Side::B);
    net.run(Duration::from_secs(1));
    assert_eq!(net.b().endpoint.view().counters.rekeys_child, 0);
    net.run(Duration::from_secs(12));
    assert!(state(&mut net, Side::B).answer_children.is_empty());
    net.run(Duration::from_secs(10));
    assert_eq!(net.b().endpoint.view().counters.rekeys_child, 1, "{:?}", net.b().story());
    assert_settled(&mut net);
}

/// RFC 9370 §2.2.4: STATE_NOT_FOUND fails the series and is tried again; "after several retries" it ends the IKE SA.
#[test]
fn a_peer_that_forgets_the_series_is_asked_again_and_not_for_ever() {
    let forget = |net: &mut Net| {
        between_the_exchanges(net);
        state(net, Side::B).answer_children.clear();
        net.script = Box::new(|_, _, _| Fate::Deliver);
        net.run(Duration::from_secs(1));
    };
    let mut net = established(HYBRID, HYBRID);
    let old = child(&net, Side::A);
    forget(&mut net);
    assert_eq!(child(&net, Side::A), old);
    run_with_traffic(&mut net, Duration::from_secs(10));
    assert_ne!(child(&net, Side::A), old, "tried again");
    assert_settled(&mut net);
    for _ in 0..4 {
        assert!(net.a().failed().is_none());
        forget(&mut net);
    }
    assert_eq!(net.a().failed(), Some(&IkeError::PeerNotify { notify: NotifyType::STATE_NOT_FOUND.0 }));
    net.run(Duration::from_secs(1));
    assert!(net.b().closed().is_some(), "A's DELETE");
}

#[test]
fn a_followup_of_nothing_is_answered_with_state_not_found() {
    let mut net = established(HYBRID, HYBRID);
    let mut chain = Chain::new();
    chain.ke(DhGroup::MlKem768.transform_id(), &[7; 1184]);
    chain.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, &[1, 2, 3, 4]);
    let answer = ask(&mut net, Side::A, Exchange::IKE_FOLLOWUP_KE, chain).expect("answered");
    assert!(answer.says(NotifyType::STATE_NOT_FOUND));
    assert!(net.is_up());
}

/// RFC 9370 §2.2.4: the peer has answered our CREATE_CHILD_SA and rekeys the same SA all the same.
#[test]
fn a_rekey_of_what_is_being_followed_up_is_put_off() {
    let mut net = established(HYBRID, HYBRID);
    between_the_exchanges(&mut net);
    // B forgets that it has answered, and begins its own.
    let kept = core::mem::take(&mut state(&mut net, Side::B).answer_children);
    rekey(&mut net, Side::B);
    net.run(MS * 60);
    let s = state(&mut net, Side::B);
    assert!(s.agree_child.is_none() && s.current().sa.can_request(), "refused");
    assert_eq!(s.children.len(), 1);
    s.answer_children = kept;
    net.script = Box::new(|_, _, _| Fate::Deliver);
    run_with_traffic(&mut net, Duration::from_secs(2));
    assert_eq!(net.a().endpoint.view().counters.rekeys_child, 1);
    assert_settled(&mut net);
}

/// RFC 7296 §2.25.1, of the IKE SA on which the series runs.
#[test]
fn the_ike_sa_is_not_replaced_in_the_middle() {
    for side in [Side::A, Side::B] {
        let mut net = established(HYBRID, HYBRID);
        between_the_exchanges(&mut net);
        let before = net.a().endpoint.view().spi_i;
        net.with(side, |e, now| e.rekey_ike(now));
        net.run(MS * 100);
        assert_eq!(net.a().endpoint.view().spi_i, before);
        net.script = Box::new(|_, _, _| Fate::Deliver);
        run_with_traffic(&mut net, Duration::from_secs(15));
        let counters = net.gateways[side as usize].endpoint.view().counters;
        assert_eq!((counters.rekeys_child, counters.rekeys_ike), (1, 1), "{side:?}");
        assert_settled(&mut net);
    }
}

/// At most one request waits for its IKE_FOLLOWUP_KE, however many a peer begins.
#[test]
fn a_peer_that_only_begins_takes_no_room() {
    let mut net = established(HYBRID, HYBRID);
    for _ in 0..30 {
        between_the_exchanges(&mut net);
        let s = state(&mut net, Side::A);
        s.agree_child = None;
        let _ = s.current_mut().sa.unsend();
        assert_eq!(state(&mut net, Side::B).answer_children.len(), 1);
        net.run(Duration::from_secs(1));
    }
    assert_eq!((net.a().installed(), net.b().installed()), (1, 1));
    net.run(Duration::from_secs(30));
    net.script = Box::new(|_, _, _| Fate::Deliver);
    rekey(&mut net, Side::A);
    run_with_traffic(&mut net, Duration::from_secs(10));
    assert_settled(&mut net);
}

/// A key exchange that comes to no end, at each of the five places.
#[test]
fn a_job_that_fails_is_tried_again() {
    for (side, at) in [(Side::A, 0), (Side::A, 1), (Side::A, 2), (Side::A, 3), (Side::B, 0), (Side::B, 1)] {
        let mut net = established(HYBRID, HYBRID);
        net.compute = Duration::from_secs(3_600);
        let old = child(&net, Side::A);
        rekey(&mut net, Side::A);
        let mut seen = 0;
        // One job after the other, until the one that fails.
        loop {
            net.run(MS * 50);
            if net.jobs(side) > 0 {
                if seen == at {
                    net.compute = Duration::ZERO;
                    net.fail_jobs(side);
                    break;
                }
                seen += 1;
            }
            net.finish_jobs();
        }
        net.finish_jobs();
        run_with_traffic(&mut net, Duration::from_secs(12));
        assert_ne!(child(&net, Side::A), old, "{side:?} {at}");
        assert_settled(&mut net);
    }
}

/// The peer asks for a key exchange that is none: its request and the IKE SA end (RFC 7296 §2.21.3).
#[test]
fn a_value_that_is_no_key_ends_it() {
    let mut net = established(HYBRID, HYBRID);
    between_the_exchanges(&mut net);
    let s = state(&mut net, Side::B);
    let link = s.answer_children[0].second.as_ref().map(|x| x.spi_in.get().to_be_bytes()).expect("waits");
    let a = state(&mut net, Side::A);
    a.agree_child = None;
    let _ = a.current_mut().sa.unsend();
    let mut chain = Chain::new();
    chain.ke(DhGroup::MlKem768.transform_id(), &[0xff; 1184]);
    chain.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, &link);
    let answer = ask(&mut net, Side::A, Exchange::IKE_FOLLOWUP_KE, chain).expect("answered");
    assert!(answer.says(NotifyType::INVALID_SYNTAX));
    assert_eq!(net.b().failed(), Some(&IkeError::BadKeyExchange { group: DhGroup::MlKem768 }));
}
