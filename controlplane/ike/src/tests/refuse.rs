//! What must not come up, and says why; and what strangers cannot do.

use crate::algorithm::EspProposal;
use crate::auth::psk_fingerprint;
use crate::testing::{Fate, Net, PSK, Packet, Side, config};
use crate::wire::{Chain, Exchange, Header, NotifyType, PayloadType};
use crate::{
    AuthConfig, CloseCause, EndpointConfig, FingerprintBasis, Identity, IdentityPolicy, IkeError, Party,
    PskKeys,
};
use core::time::Duration;
use sipsec_net::{HashFunc, SecretBox};

fn configs() -> (EndpointConfig, EndpointConfig) {
    (config(Side::A), config(Side::B))
}

/// How both sides end, with no SA left.
fn fail(a: EndpointConfig, b: EndpointConfig) -> (Option<IkeError>, Option<IkeError>) {
    let mut net = Net::new(a, b);
    net.start();
    net.run(Duration::from_secs(60));
    assert_eq!(net.a().installed() + net.b().installed(), 0);
    assert!(!net.is_up());
    (net.a().failed().cloned(), net.b().failed().cloned())
}

#[test]
fn a_different_key() {
    let (a, mut b) = configs();
    b.auth = AuthConfig::Psk(PskKeys::one(SecretBox::new(b"another one").expect("fits")));
    let (ea, eb) = fail(a, b);
    assert_eq!(ea, Some(IkeError::AuthenticationFailed { by: Party::Peer }));
    assert_eq!(eb, Some(IkeError::AuthenticationFailed { by: Party::Us }));
}

#[test]
fn the_right_key_for_somebody_else() {
    // The responder sees who calls; the initiator sees who answers. Each is enough to fail, and both learn it.
    let (mut a, b) = configs();
    a.local_id = Identity::KeyId(b"0388889999".to_vec());
    let (ea, eb) = fail(a, b);
    assert_eq!(ea, Some(IkeError::AuthenticationFailed { by: Party::Peer }));
    let expected = Identity::KeyId(b"0388881001".to_vec());
    let got = Identity::KeyId(b"0388889999".to_vec());
    assert_eq!(eb, Some(IkeError::IdentityMismatch { expected, got }));

    let (a, mut b) = configs();
    b.local_id = Identity::Fqdn("somewhere.example".into());
    let (ea, eb) = fail(a, b);
    assert!(matches!(ea, Some(IkeError::IdentityMismatch { .. })), "{ea:?}");
    assert_eq!(eb, Some(IkeError::AuthenticationFailed { by: Party::Peer }));
}

#[test]
fn a_number_in_another_spelling_is_the_same_number() {
    let (mut a, b) = configs();
    a.local_id = Identity::KeyId(b"+81-3-8888-1001".to_vec());
    assert!(Net::established(a, b).is_up());
}

/// RFC 6193 §7: AUTH and fingerprint must both hold. Four combinations, one of which is a session.
#[test]
fn the_fingerprint_is_checked_besides_the_key() {
    let good = psk_fingerprint(PSK, HashFunc::Sha256);
    let bad = psk_fingerprint(b"another one", HashFunc::Sha256);
    for (key_holds, fingerprint_holds) in [(true, true), (true, false), (false, true), (false, false)] {
        let (mut a, mut b) = configs();
        if !key_holds {
            // The key differs at A only, so its own announced fingerprint is what SDP would hold.
            a.auth = AuthConfig::Psk(PskKeys::one(SecretBox::new(b"a third one").expect("fits")));
        }
        b.peer_fingerprints.expected = vec![if fingerprint_holds { good } else { bad }];
        b.peer_fingerprints.required = true;
        if key_holds && fingerprint_holds {
            let net = Net::established(a, b);
            let view = net.b().endpoint.view();
            assert_eq!(view.fingerprint, Some(FingerprintBasis::PskFingerprint(good)));
            continue;
        }
        let (_, eb) = fail(a, b);
        if fingerprint_holds {
            assert_eq!(eb, Some(IkeError::AuthenticationFailed { by: Party::Us }));
        } else {
            assert!(matches!(eb, Some(IkeError::PskFingerprintMismatch { .. })), "{eb:?}");
        }
    }
}

#[test]
fn a_fingerprint_mismatch_is_found_before_anything_is_sent() {
    let (mut a, b) = configs();
    a.peer_fingerprints.expected = vec![psk_fingerprint(b"another one", HashFunc::Sha256)];
    let mut net = Net::new(a, b);
    net.start();
    assert!(matches!(net.a().failed(), Some(IkeError::PskFingerprintMismatch { .. })));
    assert!(net.log.is_empty());
    // RFC 8122 §5.1: the strongest function offered decides, so a weaker one that fits does not help…
    let (mut a, b) = configs();
    a.peer_fingerprints.expected =
        vec![psk_fingerprint(PSK, HashFunc::Sha1), psk_fingerprint(b"another one", HashFunc::Sha256)];
    let mut net = Net::new(a, b.clone());
    net.start();
    assert!(net.a().failed().is_some());
    // …and one of several of that function is enough.
    let (mut a, _) = configs();
    a.peer_fingerprints.expected = vec![
        psk_fingerprint(PSK, HashFunc::Sha256),
        psk_fingerprint(b"the next key", HashFunc::Sha256),
        psk_fingerprint(b"another one", HashFunc::Sha1),
    ];
    assert!(Net::established(a, b).is_up());
}

#[test]
fn a_required_fingerprint_that_is_missing() {
    let (mut a, b) = configs();
    a.peer_fingerprints.required = true;
    assert_eq!(fail(a, b).0, Some(IkeError::FingerprintMissing));
}

#[test]
fn no_common_suite() {
    let (mut a, b) = configs();
    a.ike_proposals = vec!["aes256gcm16-prfsha256-x25519".parse().expect("valid")];
    let mut other = b.clone();
    other.ike_proposals = vec!["aes128gcm16-prfsha256-x25519".parse().expect("valid")];
    let (ea, eb) = fail(a.clone(), other);
    assert!(matches!(ea, Some(IkeError::NoProposalChosen { by: Party::Peer, .. })), "{ea:?}");
    // An offer in clear may be forged: the responder listened on, and nothing acceptable came.
    assert!(matches!(eb, Some(IkeError::NoProposalChosen { by: Party::Us, .. })), "{eb:?}");

    let esp = |s: &str| vec![s.parse::<EspProposal>().expect("valid")];
    let (mut a, mut b) = configs();
    a.esp_proposals = esp("aes128gcm16");
    b.esp_proposals = esp("aes256gcm16");
    let (ea, eb) = fail(a, b);
    assert!(matches!(ea, Some(IkeError::NoProposalChosen { by: Party::Peer, .. })), "{ea:?}");
    let Some(IkeError::NoProposalChosen { by: Party::Us, ours, theirs }) = eb else { panic!("{eb:?}") };
    assert_eq!((ours.as_str(), theirs.as_str()), ("aes256gcm16-noesn", "#1(1:20/128,5:0)"));
}

#[test]
fn no_common_selectors() {
    let (mut a, mut b) = configs();
    let only = |s: &str| {
        let addr = s.parse().expect("valid");
        vec![sipsec_net::dp::Selector {
            addr_start: addr,
            addr_end: addr,
            ..sipsec_net::dp::Selector::ANY_V4
        }]
    };
    a.ts_remote = only("10.9.9.9");
    b.ts_local = only("10.2.0.1");
    let (ea, eb) = fail(a, b);
    assert_eq!(ea, Some(IkeError::TsUnacceptable { by: Party::Peer }));
    assert_eq!(eb, Some(IkeError::TsUnacceptable { by: Party::Us }));
}

#[test]
fn groups_that_go_round_in_circles_end() {
    let (mut a, mut b) = configs();
    a.ike_proposals = vec!["aes256gcm16-prfsha256-x25519-ecp256".parse().expect("valid")];
    // A responder that always wants the other one, as a confused or hostile one would.
    b.ike_proposals = a.ike_proposals.clone();
    let mut net = Net::new(a, b);
    net.script = Box::new(|_, _, _| Fate::Deliver);
    net.with(Side::A, |e, now| e.start(now));
    net.run(Duration::ZERO);
    for _ in 0..12 {
        let Some((Side::A, request)) = net.log.last().cloned() else { break };
        let header = Header::parse(&request).expect("ours");
        let group = u16::from_be_bytes(ke_group(&request));
        let mut chain = Chain::new();
        chain.notify(NotifyType::INVALID_KE_PAYLOAD, &(if group == 31 { 19u16 } else { 31 }).to_be_bytes());
        let answer = Header { response: true, from_initiator: false, ..header }.with_payloads(chain);
        net.inject(Side::A, &answer);
        net.run(Duration::from_millis(1));
    }
    net.run(Duration::from_secs(30));
    assert!(matches!(net.a().failed(), Some(IkeError::GroupRefused { .. })), "{:?}", net.a().story());
    let counters = net.a().endpoint.view().counters;
    assert_eq!(counters.requests_out, 2);
}

fn ke_group(request: &[u8]) -> [u8; 2] {
    let header = Header::parse(request).expect("valid");
    crate::wire::payload::Payloads::new(header.first, &request[28..])
        .flatten()
        .find(|p| p.kind == PayloadType::KE)
        .and_then(|p| p.body.first_chunk().copied())
        .expect("has KE")
}

/// RFC 7296 §2.21.1: a message without protection decides nothing while the true peer can still answer.
#[test]
fn errors_in_clear_do_not_stop_a_negotiation() {
    let (a, b) = configs();
    let kinds = [
        NotifyType::NO_PROPOSAL_CHOSEN,
        NotifyType::AUTHENTICATION_FAILED,
        NotifyType::INVALID_SYNTAX,
        NotifyType(11),
    ];
    for kind in kinds {
        let mut net = Net::new(a.clone(), b.clone());
        net.start();
        net.run(Duration::ZERO);
        for stage in 0..3 {
            // Before the answer, after it, and when all is up.
            let (spi_i, spi_r) = if stage == 0 {
                let first = Header::parse(&net.log[0].1).expect("ours");
                (first.spi_i, 0)
            } else {
                let view = net.a().endpoint.view();
                (view.spi_i, view.spi_r)
            };
            for (exchange, id) in
                [(Exchange::IKE_SA_INIT, 0), (Exchange::IKE_AUTH, 1), (Exchange::INFORMATIONAL, 2)]
            {
                for response in [true, false] {
                    for (to, from_initiator) in [(Side::A, false), (Side::B, true)] {
                        let mut chain = Chain::new();
                        chain.notify(kind, &[]);
                        let first = PayloadType::NONE;
                        let h = Header { spi_i, spi_r, first, exchange, from_initiator, response, id };
                        net.inject(to, &h.with_payloads(chain));
                    }
                }
            }
            net.run(Duration::from_millis(if stage == 0 { 30 } else { 200 }));
        }
        assert!(net.is_up(), "{kind:?} {:?} {:?}", net.a().story(), net.b().story());
        assert!(net.a().endpoint.view().counters.dropped_clear_text > 0);
    }
}

#[test]
fn replayed_and_mutated_messages_change_nothing() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let log = net.log.clone();
    let before = (net.a().events.len(), net.b().events.len());
    for (from, message) in &log {
        // As it was, and with each byte changed.
        for at in 0..=message.len() {
            let mut copy = message.clone();
            if let Some(byte) = copy.get_mut(at) {
                *byte ^= 0x41;
            }
            net.inject(from.other(), &copy);
        }
    }
    net.run(Duration::from_millis(100));
    assert_eq!((net.a().events.len(), net.b().events.len()), before);
    let b = net.b().endpoint.view().counters;
    assert!(b.dropped_integrity > 100 && b.duplicates_in >= 1);
    // The IKE_AUTH request got its cached response again, bit for bit.
    let protected = |m: &[u8]| m[16] != PayloadType::NOTIFY.0; // not the answer to another major version
    let answers: Vec<_> =
        net.log[log.len()..].iter().filter(|(s, m)| *s == Side::B && protected(m)).collect();
    assert!(!answers.is_empty() && answers.iter().all(|(_, m)| *m == log[3].1));
    // And the SA still works.
    net.with(Side::A, |e, now| e.close(now, CloseCause::Admin));
    net.run(Duration::from_secs(1));
    assert_eq!(net.b().closed(), Some(CloseCause::PeerDeleted));
}

#[test]
fn half_open_floods_cost_a_cookie_and_no_more() {
    let (a, b) = configs();
    let mut net = Net::new(a, b);
    net.start();
    net.run(Duration::ZERO);
    net.script = Box::new(|from, _, _| if from == Side::A { Fate::Drop } else { Fate::Deliver });
    let genuine = net.log[0].1.clone();
    for i in 0..1000u64 {
        let mut forged = genuine.clone();
        forged[..8].copy_from_slice(&(i + 1).to_be_bytes());
        net.inject(Side::B, &forged);
        net.run(Duration::from_millis(1));
    }
    let counters = net.b().endpoint.view().counters;
    // The genuine one and one forged one were computed with; the rest was told to bring a cookie.
    assert_eq!(counters.requests_in, 2);
    assert_eq!(counters.cookies_sent, 999);
    // The genuine peer still gets through.
    net.script = Box::new(|_, _, p| match p {
        Packet::Ike(_) => Fate::Deliver,
        Packet::Esp(..) => Fate::Drop,
    });
    net.run(Duration::from_secs(10));
    assert!(net.is_up());
}

#[test]
fn unknown_payloads_matter_only_if_critical() {
    for critical in [false, true] {
        let (a, b) = configs();
        let mut net = Net::new(a, b);
        net.with(Side::A, |e, now| e.start(now));
        net.with(Side::B, |e, now| e.start(now));
        net.run(Duration::ZERO);
        let mut request = net.log[0].1.clone();
        // One more payload of an unknown type, in front.
        let first = request[16];
        request[16] = 200;
        let extra = [first, if critical { 0x80 } else { 0 }, 0, 8, 1, 2, 3, 4];
        request.splice(28..28, extra);
        let len = u32::try_from(request.len()).expect("short").to_be_bytes();
        request[24..28].copy_from_slice(&len);
        net.script = Box::new(|_, _, _| Fate::Drop);
        net.inject(Side::B, &request);
        net.run(Duration::from_millis(1));
        let (from, answer) = net.log.last().expect("an answer");
        assert_eq!(*from, Side::B);
        let header = Header::parse(answer).expect("valid");
        let m = crate::wire::Message::parse(header.first, &answer[28..]).expect("valid");
        match m.notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD) {
            Some(n) => assert!(critical && n.data == [200]),
            None => assert!(!critical && m.sa.is_some()),
        }
    }
}

#[test]
fn ikev1_is_counted_and_dropped() {
    let (a, b) = configs();
    let mut net = Net::established(a, b);
    let mut old = net.log[0].1.clone();
    old[17] = 0x10;
    net.inject(Side::B, &old);
    assert_eq!(net.b().endpoint.view().counters.dropped_version, 1);
}

#[test]
fn bad_configurations_are_told_at_the_start() {
    let spoil: [fn(&mut EndpointConfig); 5] = [
        |c| c.ike_proposals.clear(),
        |c| c.esp_proposals.clear(),
        |c| c.ts_local.clear(),
        |c| c.fragment_bytes_max = Some(100),
        |c| c.auth = AuthConfig::Psk(PskKeys::one(SecretBox::new(b"").expect("fits"))),
    ];
    for spoil in spoil {
        let (mut a, b) = configs();
        spoil(&mut a);
        assert!(matches!(fail(a, b).0, Some(IkeError::BadConfig(_))));
    }
    let (mut a, b) = configs();
    a.remote_id = IdentityPolicy::Any;
    assert!(Net::established(a, b).is_up());
}
