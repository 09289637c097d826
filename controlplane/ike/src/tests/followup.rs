//! The additional key exchange in rekeys of the IKE SA: IKE_FOLLOWUP_KE (RFC 9370 §2.2.4).

use crate::algorithm::DhGroup;
use crate::crypto::keys::{IkeKeys, Seed};
use crate::crypto::prf::{prf, prf_plus};
use crate::secret::Secret;
use crate::state::State;
use crate::testing::{Fate, Net, Side, config};
use crate::wire::{Exchange, Header};
use crate::{Endpoint, EndpointConfig};
use core::time::Duration;
use proptest::prelude::*;

const HYBRID: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768";
const CLASSICAL: &str = "aes256gcm16-prfsha384-x25519";

fn pair(a: &str, b: &str) -> (EndpointConfig, EndpointConfig) {
    let (mut ca, mut cb) = (config(Side::A), config(Side::B));
    ca.ike_proposals = vec![a.parse().expect("a proposal")];
    cb.ike_proposals = vec![b.parse().expect("a proposal")];
    (ca, cb)
}

fn ke1(e: &Endpoint) -> Option<DhGroup> {
    e.view().suite.and_then(|s| s.ke1)
}

/// Both sides on the same one IKE SA, with traffic.
fn assert_settled(net: &mut Net) {
    net.run(Duration::from_secs(90));
    assert!(net.is_up(), "{:?}\n{:?}", net.a().story(), net.b().story());
    let (va, vb) = (net.a().endpoint.view(), net.b().endpoint.view());
    assert_eq!((va.spi_i, va.spi_r), (vb.spi_i, vb.spi_r));
    for side in [Side::A, Side::B] {
        let State::Established(s) = &net.gateways[side as usize].endpoint.state else { panic!("up") };
        assert_eq!((s.slots.len(), s.answer_ikes.len(), s.agree_ike.is_some()), (1, 0, false));
        net.send_esp(side);
    }
    net.run(Duration::from_secs(1));
    assert_eq!((net.a().lost, net.b().lost), (0, 0));
    // It carries work.
    let id = net.a().bound.expect("bound");
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    net.run(Duration::from_secs(5));
    assert_ne!(net.a().bound, Some(id));
}

#[test]
fn an_ike_rekey_repeats_both_key_exchanges_by_either_side() {
    for side in [Side::A, Side::B] {
        let (a, b) = pair(HYBRID, HYBRID);
        let mut net = Net::established(a, b);
        let before = net.a().endpoint.view();
        let sent = net.log.len();
        net.with(side, |e, now| e.rekey_ike(now));
        net.run(Duration::from_secs(1));
        let after = net.a().endpoint.view();
        assert_ne!((before.spi_i, before.spi_r), (after.spi_i, after.spi_r));
        for g in [net.a(), net.b()] {
            assert_eq!(ke1(&g.endpoint), Some(DhGroup::MlKem768));
        }
        // All of it on the old IKE SA.
        let headers = net.log[sent..].iter().map(|(_, m)| Header::parse(m).expect("ours"));
        let followups: Vec<_> = headers.filter(|h| h.exchange == Exchange::IKE_FOLLOWUP_KE).collect();
        assert!(followups.len() >= 2);
        assert!(followups.iter().all(|h| (h.spi_i, h.spi_r) == (before.spi_i, before.spi_r)));
        net.with(side.other(), |e, now| e.rekey_ike(now));
        net.run(Duration::from_secs(1));
        assert_ne!(net.a().endpoint.view().spi_i, after.spi_i);
        assert_settled(&mut net);
    }
}

#[test]
fn without_it_at_the_peer_a_rekey_is_classical() {
    let (a, b) = pair(HYBRID, HYBRID);
    let mut net = Net::established(a, b);
    net.with(Side::B, |e, _| e.ctx.config.ike_proposals = vec![CLASSICAL.parse().expect("a proposal")]);
    net.with(Side::A, |e, now| e.rekey_ike(now));
    net.run(Duration::from_secs(1));
    assert_eq!((ke1(&net.a().endpoint), ke1(&net.b().endpoint)), (None, None));
    assert_settled(&mut net);
}

/// Ours is the answerer of a peer that stops in the middle, and goes on by itself.
#[test]
fn a_peer_that_does_not_go_on_is_not_waited_for() {
    let (a, b) = pair(HYBRID, HYBRID);
    let mut net = Net::established(a, b);
    net.compute = Duration::from_millis(20);
    net.with(Side::A, |e, now| e.rekey_ike(now));
    // CREATE_CHILD_SA is answered, and A is at the first of the two key exchanges.
    net.run(Duration::from_millis(70));
    net.with(Side::A, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("up") };
        assert!(s.agree_ike.is_some());
        s.forget_own_ike_rekey();
        s.rekey_at = now + Duration::from_secs(3_600);
    });
    net.run(Duration::from_secs(30));
    net.with(Side::B, |e, now| e.rekey_ike(now));
    net.run(Duration::from_secs(2));
    assert_eq!(net.b().endpoint.view().counters.rekeys_ike, 1);
}

/// RFC 9370 §2.2.4: SKEYSEED = prf(SK_d, SK(0) | Ni | Nr | SK(1)).
#[test]
fn keys_of_two_exchanges() {
    let (a, _) = pair(HYBRID, HYBRID);
    let p = &a.ike_proposals[0];
    let suite = crate::algorithm::IkeSuite {
        encr: p.encr[0],
        integ: None,
        prf: p.prf[0],
        group: p.groups[0],
        ke1: p.ke1[0],
    };
    let secret = |b: u8| Secret::new(vec![b; 32]);
    let (sk_d, first, second) = (secret(1), secret(2), secret(3));
    let seed = Seed { ni: b"ni", nr: b"nr", spi_i: 4, spi_r: 5 };
    let keys = IkeKeys::rekeyed_with(&suite, (suite.prf, &sk_d), &first, Some(&second), &seed);
    let skeyseed = prf(suite.prf, sk_d.expose(), &[first.expose(), b"ni", b"nr", second.expose()]);
    let (i, r) = (4u64.to_be_bytes(), 5u64.to_be_bytes());
    let stream = prf_plus(suite.prf, skeyseed.expose(), &[b"ni", b"nr", &i, &r], 48);
    assert_eq!(keys.d.expose(), stream.expose());
}

/// B will not have IKE_FOLLOWUP_KE and has lost: A, which answers with it, goes on with its own rekey.
#[test]
fn the_loser_of_crossing_rekeys_is_not_waited_for() {
    let (a, b) = pair(HYBRID, HYBRID);
    let mut net = Net::established_seeded(a, b, 2129);
    net.with(Side::B, |e, _| e.ctx.config.ike_proposals = vec![CLASSICAL.parse().expect("a proposal")]);
    net.compute = Duration::from_millis(4);
    let mut late = false;
    net.script = Box::new(move |_, _, _| {
        if core::mem::replace(&mut late, true) {
            Fate::Deliver
        } else {
            Fate::Late(Duration::from_millis(47))
        }
    });
    net.with(Side::B, |e, now| e.rekey_ike(now));
    net.run(Duration::from_millis(30));
    net.with(Side::A, |e, now| e.rekey_ike(now));
    assert_settled(&mut net);
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Deliver),
        2 => Just(Fate::Drop),
        1 => Just(Fate::Twice),
        3 => (0u64..60).prop_map(|ms| Fate::Late(Duration::from_millis(ms))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Both sides rekey, with any order of messages: both end on the same SA.
    #[test]
    fn crossing_rekeys_settle(
        acts in prop::collection::vec((any::<bool>(), 0u64..80), 1..4),
        fates in prop::collection::vec(fate(), 0..30),
        compute in 0u64..20,
        mixed in any::<bool>(),
        seed in 1u64..10_000,
    ) {
        let (mut a, mut b) = pair(HYBRID, HYBRID);
        for c in [&mut a, &mut b] {
            c.retransmit.tries_max = 30;
        }
        let mut net = Net::established_seeded(a, b, seed);
        if mixed {
            net.with(Side::B, |e, _| e.ctx.config.ike_proposals = vec![CLASSICAL.parse().expect("a proposal")]);
        }
        net.compute = Duration::from_millis(compute);
        let mut next = fates.into_iter();
        net.script = Box::new(move |_, _, _| next.next().unwrap_or(Fate::Deliver));
        for (by_a, wait) in acts {
            net.with(if by_a { Side::A } else { Side::B }, |e, now| e.rekey_ike(now));
            net.run(Duration::from_millis(wait));
        }
        net.run(Duration::from_secs(5));
        net.script = Box::new(|_, _, _| Fate::Deliver);
        assert_settled(&mut net);
    }
}
