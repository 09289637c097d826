//! ML-KEM-768 beside a classical key exchange: IKE_INTERMEDIATE (RFC 9242, RFC 9370).

use crate::Unanswered;
use crate::algorithm::{DhGroup, IkeProposal};
use crate::compute::{Job, Outcome};
use crate::error::Violation;
use crate::secret::Secret;
use crate::task::Task;
use crate::testing::{Fate, Net, Packet, Side, config};
use crate::wire::header::HEADER_LEN;
use crate::wire::sa::Proposal;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType};
use crate::{Endpoint, EndpointConfig, IkeError, Party};
use aws_lc_rs::kem;
use core::time::Duration;

const HYBRID: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768";
const OPTIONAL: &str = "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke1_none";
const CLASSICAL: &str = "aes256gcm16-prfsha384-x25519";

fn pair(a: &[&str], b: &[&str]) -> (EndpointConfig, EndpointConfig) {
    let parse =
        |list: &[&str]| list.iter().map(|s| s.parse().expect("a proposal")).collect::<Vec<IkeProposal>>();
    let (mut ca, mut cb) = (config(Side::A), config(Side::B));
    (ca.ike_proposals, cb.ike_proposals) = (parse(a), parse(b));
    (ca, cb)
}

fn hybrid() -> (EndpointConfig, EndpointConfig) {
    pair(&[HYBRID], &[HYBRID])
}

/// Runs to an end, good or bad.
fn outcome(a: EndpointConfig, b: EndpointConfig) -> Net {
    let mut net = Net::new(a, b);
    net.start();
    net.run(Duration::from_secs(40));
    net
}

fn ke1(e: &Endpoint) -> Option<DhGroup> {
    e.view().suite.and_then(|s| s.ke1)
}

fn exchanges(net: &Net, side: Side) -> Vec<&'static str> {
    let header = |m: &Vec<u8>| Header::parse(m).expect("ours").exchange.name();
    net.log.iter().filter(|(s, _)| *s == side).map(|(_, m)| header(m)).collect()
}

#[test]
fn both_key_exchanges_make_the_keys() {
    let (a, b) = hybrid();
    let net = Net::established(a, b);
    for g in [net.a(), net.b()] {
        assert_eq!(ke1(&g.endpoint), Some(DhGroup::MlKem768));
        assert_eq!(g.endpoint.view().suite.map(|s| s.to_string()).as_deref(), Some(HYBRID));
    }
    // 1184 bytes of key do not fit one fragment of 1200, 1088 of ciphertext do.
    let asked = ["IKE_SA_INIT", "IKE_INTERMEDIATE", "IKE_INTERMEDIATE", "IKE_AUTH"];
    assert_eq!(exchanges(&net, Side::A), asked);
    assert_eq!(exchanges(&net, Side::B), ["IKE_SA_INIT", "IKE_INTERMEDIATE", "IKE_AUTH"]);
    let (_, out) = net.a().bound.and_then(|c| net.a().sa(c)).expect("bound");
    let (inn, _) = net.b().bound.and_then(|c| net.b().sa(c)).expect("bound");
    assert_eq!(out.keymat.expose(), inn.keymat.expose());
}

#[test]
fn whole_or_in_pieces_of_any_size() {
    for (ours, theirs) in
        [(None, None), (Some(200), Some(576)), (Some(1200), Some(200)), (Some(4000), Some(400))]
    {
        let (mut a, mut b) = hybrid();
        (a.fragment_bytes_max, b.fragment_bytes_max) = (ours, theirs);
        let net = Net::established(a, b);
        let largest = net.log.iter().skip(2).map(|(_, m)| m.len()).max();
        assert_eq!(largest <= ours.max(theirs), ours.is_some(), "{ours:?} {theirs:?}");
    }
}

#[test]
fn rekeys_of_both_kinds_keep_what_the_hybrid_gave() {
    let (mut a, mut b) = hybrid();
    for c in [&mut a, &mut b] {
        c.esp_proposals = vec!["aes256gcm16-x25519".parse().expect("valid")];
    }
    let mut net = Net::established(a, b);
    for side in [Side::A, Side::B] {
        let child = net.gateways[side as usize].bound.expect("bound");
        net.with(side, |e, now| e.rekey_child(now, child));
        net.run(Duration::from_secs(5));
        net.with(side, |e, now| e.rekey_ike(now));
        net.run(Duration::from_secs(5));
        net.send_esp(side);
        net.run(Duration::from_secs(1));
    }
    let counters = net.a().endpoint.view().counters;
    assert_eq!((counters.rekeys_child, counters.rekeys_ike), (2, 2));
    assert_eq!((net.a().received + net.b().received, net.a().lost + net.b().lost), (2, 0));
}

/// A gateway falls back to a classical key exchange if its profile lists one, and not otherwise.
#[test]
fn what_the_profiles_allow_is_what_is_agreed() {
    let some = Some(Some(DhGroup::MlKem768));
    let none = Some(None);
    for (a, b, want) in [
        (&[HYBRID, CLASSICAL][..], &[HYBRID, CLASSICAL][..], some),
        (&[CLASSICAL, HYBRID], &[HYBRID, CLASSICAL], some),
        (&[HYBRID, CLASSICAL], &[CLASSICAL], none),
        (&[CLASSICAL], &[HYBRID, CLASSICAL], none),
        (&[OPTIONAL], &[CLASSICAL], none),
        (&[OPTIONAL], &[HYBRID], some),
        (&[CLASSICAL], &[OPTIONAL], none),
        (&[OPTIONAL], &[OPTIONAL], some),
        (&[HYBRID], &[CLASSICAL], None),
        (&[CLASSICAL], &[HYBRID], None),
    ] {
        let (ca, cb) = pair(a, b);
        let net = outcome(ca, cb);
        if let Some(want) = want {
            assert!(net.is_up(), "{a:?} {b:?}: {:?} {:?}", net.a().story(), net.b().story());
            assert_eq!((ke1(&net.a().endpoint), ke1(&net.b().endpoint)), (want, want), "{a:?} {b:?}");
        } else {
            let refused = net.a().failed();
            assert!(
                matches!(refused, Some(IkeError::NoProposalChosen { by: Party::Peer, .. })),
                "{refused:?}"
            );
        }
    }
}

/// An IKE_SA_INIT message that an attacker on the path has changed.
fn tampered(message: &[u8], proposals: impl FnOnce(Vec<Proposal>) -> Vec<Proposal>) -> Vec<u8> {
    let header = Header::parse(message).expect("ours");
    let m = Message::parse(header.first, &message[HEADER_LEN..]).expect("ours");
    let mut chain = Chain::new();
    chain.sa(&proposals(m.sa.expect("an offer")));
    let ke = m.ke.expect("KE");
    chain.ke(ke.group, ke.public);
    chain.nonce(m.nonce.expect("a nonce"));
    for n in m.notifies.iter().filter(|n| n.kind != NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED) {
        chain.notify(n.kind, n.data);
    }
    header.with_payloads(chain)
}

#[test]
fn an_offer_cut_down_on_the_way_fails_in_ike_auth() {
    let (a, b) = pair(&[HYBRID, CLASSICAL], &[HYBRID, CLASSICAL]);
    let mut net = Net::new(a, b);
    net.script = Box::new(|from, n, _| if from == Side::A && n == 0 { Fate::Drop } else { Fate::Deliver });
    net.start();
    net.run(Duration::ZERO);
    let request = tampered(&net.log[0].1, |offer| vec![offer[1].clone()]);
    net.inject(Side::B, &request);
    net.run(Duration::from_millis(300));
    assert!(
        matches!(net.b().failed(), Some(IkeError::AuthenticationFailed { by: Party::Us })),
        "{:?}",
        net.b().story()
    );
    assert!(!net.a().is_authenticated() && net.a().failed().is_some());
}

#[test]
fn an_answer_cut_down_on_the_way_leaves_the_responder_waiting_for_the_exchange() {
    let (a, b) = pair(&[HYBRID, CLASSICAL], &[HYBRID, CLASSICAL]);
    let mut net = Net::new(a, b);
    net.script = Box::new(|from, n, _| if from == Side::B && n == 0 { Fate::Drop } else { Fate::Deliver });
    net.start();
    net.run(Duration::from_millis(100));
    let answer = tampered(&net.log[1].1, |mut p| {
        p[0].number = 2;
        p[0].transforms.pop();
        p
    });
    net.inject(Side::A, &answer);
    net.run(Duration::from_millis(300));
    let missing = IkeError::ProtocolViolation(Violation::MissingPayload("IKE_INTERMEDIATE"));
    assert_eq!(net.b().failed(), Some(&missing));
    assert!(!net.a().is_authenticated() && net.a().failed().is_some());
}

#[test]
fn a_second_intermediate_exchange_was_not_agreed_on() {
    // A peer that would go on for ever (RFC 9242 §5).
    let (a, b) = hybrid();
    let mut net = Net::new(a, b);
    // A's IKE_AUTH is held back, and it is made to ask once more.
    net.script = Box::new(|_, _, p| match p {
        Packet::Ike(m) if Header::parse(m).is_ok_and(|h| h.exchange == Exchange::IKE_AUTH) => Fate::Drop,
        _ => Fate::Deliver,
    });
    net.start();
    net.run(Duration::from_millis(100));
    let crate::state::State::AuthSent(s) = &mut net.gateways[0].endpoint.state else { panic!("in IKE_AUTH") };
    let mut chain = Chain::new();
    chain.notify(NotifyType::INITIAL_CONTACT, &[]);
    let sa = s.sa_mut();
    sa.unsend();
    let now = net.now;
    sa.request(&mut net.gateways[0].endpoint.ctx, now, Exchange::IKE_INTERMEDIATE, chain, Task::KeyExchange);
    net.run(Duration::from_millis(100));
    let violation = IkeError::ProtocolViolation(Violation::NotOffered("IKE_INTERMEDIATE"));
    assert_eq!(net.b().failed(), Some(&violation));
}

#[test]
fn repeated_requests_get_the_same_answer_after_the_keys_have_changed() {
    let (a, b) = hybrid();
    let mut net = Net::new(a, b);
    // The first answer to IKE_INTERMEDIATE is lost, so that the request comes again.
    let mut lost = false;
    net.script = Box::new(move |from, _, p| match p {
        Packet::Ike(m)
            if from == Side::B
                && Header::parse(m).is_ok_and(|h| h.exchange == Exchange::IKE_INTERMEDIATE) =>
        {
            if core::mem::replace(&mut lost, true) {
                Fate::Deliver
            } else {
                Fate::Drop
            }
        }
        _ => Fate::Deliver,
    });
    net.start();
    net.run(Duration::from_secs(2));
    assert!(net.is_up());
    let of_b: Vec<_> = net.log.iter().filter(|(s, _)| *s == Side::B).map(|(_, m)| m).collect();
    assert_eq!(of_b.len(), 4);
    assert_eq!(of_b[1], of_b[2]);
}

#[test]
fn a_silent_peer_is_given_up_here_too() {
    let (a, b) = hybrid();
    let mut net = Net::new(a, b);
    net.script = Box::new(|from, n, _| if from == Side::A && n >= 2 { Fate::Drop } else { Fate::Deliver });
    net.start();
    net.run(Duration::from_secs(40));
    let failed = net.a().failed();
    assert!(
        matches!(failed, Some(IkeError::NoResponse(Unanswered { exchange: "IKE_INTERMEDIATE", .. }))),
        "{failed:?}"
    );
}

/// A whole negotiation with each parameter set.
#[test]
fn the_other_parameter_sets() {
    for (word, group) in [("ke1_mlkem512", DhGroup::MlKem512), ("ke1_mlkem1024", DhGroup::MlKem1024)] {
        let suite = format!("aes256gcm16-prfsha384-x25519-{word}");
        let (a, b) = pair(&[&suite], &[&suite]);
        let net = Net::established(a, b);
        for g in [net.a(), net.b()] {
            assert_eq!(ke1(&g.endpoint), Some(group));
        }
    }
}

/// Against another implementation of FIPS 203: each end of the exchange with the library that IKE does not use.
#[test]
fn another_implementation_agrees_on_the_secret() {
    let sets = [&kem::ML_KEM_512, &kem::ML_KEM_768, &kem::ML_KEM_1024];
    for (group, set) in [DhGroup::MlKem512, DhGroup::MlKem768, DhGroup::MlKem1024].into_iter().zip(sets) {
        agrees_with(group, set);
    }
}

fn agrees_with(group: DhGroup, set: &'static kem::Algorithm) {
    let seed = |n: u8| Secret::new((0..64).map(|i| i ^ n).collect());
    let Outcome::DhGenerated { public } = Job::DhGenerate { group, private: seed(1) }.run() else {
        panic!("public")
    };
    assert_eq!(public.len(), group.public_len());
    let theirs = kem::EncapsulationKey::new(set, &public).expect("our key is a key");
    let (ciphertext, want) = theirs.encapsulate().expect("encapsulates");
    let agree = Job::DhAgree { group, private: seed(1), peer_public: ciphertext.as_ref().to_vec() };
    let Outcome::DhAgreed { shared } = agree.run() else { panic!("agrees") };
    assert_eq!(shared.expose(), want.as_ref());

    let theirs = kem::DecapsulationKey::generate(set).expect("a key");
    let public =
        theirs.encapsulation_key().and_then(|k| k.key_bytes().map(|b| b.as_ref().to_vec())).expect("bytes");
    let respond = Job::DhRespond { group, private: seed(2), peer_public: public }.run();
    let Outcome::DhResponded { public, shared } = respond else { panic!("responds") };
    assert_eq!(public.len(), group.answer_len());
    let want = theirs.decapsulate(kem::Ciphertext::from(public.as_slice())).expect("decapsulates");
    assert_eq!(shared.expose(), want.as_ref());
}

#[test]
fn what_is_no_key_or_no_ciphertext_is_refused() {
    let group = DhGroup::MlKem768;
    let private = || Secret::new(vec![7; group.private_len()]);
    // FIPS 203 §7.2: coefficients must be below q = 3329.
    for peer_public in [vec![], vec![1; 1183], vec![1; 1185], vec![0xff; 1184]] {
        let outcome = Job::DhRespond { group, private: private(), peer_public }.run();
        assert!(matches!(outcome, Outcome::BadPeerValue));
    }
    for peer_public in [vec![], vec![1; 1087], vec![1; 1184]] {
        let outcome = Job::DhAgree { group, private: private(), peer_public }.run();
        assert!(matches!(outcome, Outcome::BadPeerValue));
    }
}
