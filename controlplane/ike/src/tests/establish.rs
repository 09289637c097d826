//! From nothing to a CHILD_SA.

use crate::algorithm::{DhGroup, EspEncr, EspProposal, IkeProposal, Integ, Prf};
use crate::testing::{Fate, Gateway, Install, LATENCY, Net, Packet, Side, config};
use crate::{Event, FingerprintBasis};
use core::time::Duration;

fn ike(s: &str) -> Vec<IkeProposal> {
    vec![s.parse().expect("a proposal")]
}

/// Both ends of both SAs agree, and nothing else is shared between them.
fn assert_mirrored(net: &Net) {
    let (a, b) = (net.a(), net.b());
    let (a_in, a_out) = a.bound.and_then(|c| a.sa(c)).expect("bound");
    let (b_in, b_out) = b.bound.and_then(|c| b.sa(c)).expect("bound");
    for (out, inn) in [(a_out, b_in), (b_out, a_in)] {
        assert_eq!(out.spi, inn.spi);
        assert_eq!(out.keymat.expose(), inn.keymat.expose());
        assert_eq!(out.keymat.len(), out.cipher.keymat_len());
        assert_eq!(
            (&out.selectors.local, &out.selectors.remote),
            (&inn.selectors.remote, &inn.selectors.local)
        );
    }
    assert_ne!(a_in.keymat.expose(), a_out.keymat.expose());
}

#[test]
fn every_suite_of_the_table_comes_up() {
    let suites = [
        "aes128gcm16-prfsha256-x25519",
        "aes256gcm16-prfsha384-ecp256",
        "chacha20poly1305-prfsha512-ecp384",
        "aes128-sha256-ecp521",
        "aes256-sha384-prfsha256-modp2048",
        "aes256-sha512-modp3072",
        "aes128-sha256-prfsha512-modp4096",
    ];
    let esp = [
        "aes128gcm16",
        "aes256-sha256",
        "chacha20poly1305",
        "aes256gcm16iiv-esn",
        "aes128-sha384",
        "aes256gcm16",
        "aes256-sha512-esn",
    ];
    for (suite, esp) in suites.into_iter().zip(esp) {
        let (mut a, mut b) = (config(Side::A), config(Side::B));
        for c in [&mut a, &mut b] {
            c.ike_proposals = ike(suite);
            c.esp_proposals = vec![esp.parse().expect("a proposal")];
        }
        let net = Net::established(a, b);
        assert_mirrored(&net);
        let view = net.a().endpoint.view();
        assert_eq!(view.suite.map(|s| s.to_string().replace("prf", "")), Some(expand(suite)), "{suite}");
        assert_eq!((view.spi_i, view.spi_r), {
            let b = net.b().endpoint.view();
            (b.spi_i, b.spi_r)
        });
    }
}

/// What an IOS router offers by itself (RFC 8247 and RFC 8221 warn of it) is agreed with a peer that is known to be one, in
/// both roles and with both groups, and with no other.
#[test]
fn an_old_router_is_met_only_where_it_is_expected() {
    let router = |c: &mut crate::EndpointConfig, group| {
        let mut proposal = IkeProposal::cisco();
        proposal.groups = vec![group];
        proposal.integ.retain(|i| *i == Integ::HmacSha1_96);
        proposal.prf.retain(|p| *p == Prf::HmacSha1);
        c.ike_proposals = vec![proposal];
        let mut esp = EspProposal::cisco();
        esp.integ.retain(|i| *i == Integ::HmacSha1_96);
        esp.encr.retain(|e| *e == EspEncr::Aes128Cbc);
        c.esp_proposals = vec![esp];
    };
    for group in DhGroup::LEGACY {
        for side in [Side::A, Side::B] {
            let (mut a, mut b) = (config(Side::A), config(Side::B));
            router(if side == Side::A { &mut a } else { &mut b }, group);
            let refused = (a.clone(), b.clone());
            let ours = if side == Side::A { &mut b } else { &mut a };
            ours.ike_proposals.push(IkeProposal::cisco());
            ours.esp_proposals.push(EspProposal::cisco());
            let net = Net::established(a, b);
            assert_mirrored(&net);
            for gateway in [net.a(), net.b()] {
                let view = gateway.endpoint.view();
                let suite = view.suite.expect("agreed").to_string();
                assert_eq!(suite, format!("aes256-sha1-prfsha1-{}", group.name()));
                assert_eq!(view.children[0].suite.to_string(), "aes128-sha1");
                assert_eq!(view.weak(), [group.name(), "prfsha1", "sha1"]);
            }
            let mut net = Net::new(refused.0, refused.1);
            net.run(Duration::from_secs(30));
            assert!(net.a().bound.is_none() && net.b().bound.is_none());
        }
    }
}

/// The PRF defaults to the integrity algorithm's hash.
fn expand(suite: &str) -> String {
    let s = suite.replace("prf", "");
    match suite.split('-').collect::<Vec<_>>()[..] {
        [_, integ, _] if integ.starts_with("sha") => s.replacen(integ, &format!("{integ}-{integ}"), 1),
        _ => s,
    }
}

#[test]
fn one_event_of_each_kind_in_order_and_four_messages() {
    let net = Net::established(config(Side::A), config(Side::B));
    for g in [net.a(), net.b()] {
        let kinds: Vec<_> = g
            .events
            .iter()
            .map(|e| match e {
                Event::Authenticated(_, f) => {
                    assert_eq!(f.basis(), FingerprintBasis::PskNotExchanged);
                    "authenticated"
                }
                Event::ChildSaUp { .. } => "up",
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, ["authenticated", "up"]);
    }
    assert_eq!(net.log.iter().map(|(s, _)| *s).collect::<Vec<_>>(), [Side::A, Side::B, Side::A, Side::B]);
    let view = net.b().endpoint.view();
    assert_eq!(view.remote_id, Some(crate::Identity::KeyId(b"0388881001".to_vec())));
    // Forced encapsulation looks like a NAT in front of the other side.
    assert!(view.nat.supported && view.nat.remote && !view.nat.local);
}

#[test]
fn without_force_encap_no_nat_is_seen_and_a_real_one_is() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    a.force_encap = false;
    b.force_encap = false;
    let net = Net::established(a.clone(), b.clone());
    assert_eq!((net.a().endpoint.view().nat.local, net.a().endpoint.view().nat.remote), (false, false));
    // A believes itself elsewhere than B sees it.
    a.local = "10.0.0.5:4500".parse().expect("valid");
    let net = Net::established(a, b);
    let (va, vb) = (net.a().endpoint.view().nat, net.b().endpoint.view().nat);
    assert_eq!((va.local, va.remote), (true, false));
    assert_eq!((vb.local, vb.remote), (false, true));
}

/// RFC 3948 §4: only who is behind the NAT keeps it, and only if nothing else was sent.
#[test]
fn behind_a_nat_a_keepalive_goes_when_nothing_else_did() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    for c in [&mut a, &mut b] {
        c.dpd.mode = crate::DpdMode::Off;
    }
    a.local = "10.0.0.5:4500".parse().expect("valid");
    let mut net = Net::established(a.clone(), b.clone());
    let up = net.now;
    net.run(Duration::from_secs(35));
    net.send_esp(Side::A);
    net.send_esp(Side::B);
    net.run(Duration::from_secs(45));
    let seconds = |g: &Gateway| {
        g.keepalives.iter().map(|at| at.saturating_duration_since(up).as_secs()).collect::<Vec<_>>()
    };
    assert_eq!(seconds(net.a()), [19, 55, 75], "20 s after IKE_AUTH, ESP, and the keepalive before");
    assert_eq!(net.a().endpoint.view().counters.nat_keepalives_out, 3);
    assert_eq!(seconds(net.b()), [] as [u64; 0]);

    a.nat_keepalive = None;
    let mut net = Net::established(a, b);
    net.run(Duration::from_secs(80));
    assert_eq!(seconds(net.a()), [] as [u64; 0]);
}

#[test]
fn the_answer_waits_until_the_dataplane_has_the_sas() {
    let mut net = Net::new(config(Side::A), config(Side::B));
    net.gateways[1].install = Install::Never;
    net.start();
    net.run(Duration::from_secs(3));
    // A retransmits; B neither answers nor installs twice.
    assert_eq!(net.log.iter().filter(|(s, _)| *s == Side::B).count(), 1);
    assert_eq!(net.b().installed(), 1);
    assert!(!net.a().is_authenticated());
    net.gateways[1].install = Install::After(Duration::from_millis(1));
    net.run(Duration::from_secs(2));
    assert!(net.is_up());
}

#[test]
fn a_dataplane_that_refuses_ends_it_at_both_sides() {
    for side in [Side::A, Side::B] {
        let mut net = Net::new(config(Side::A), config(Side::B));
        net.gateways[side as usize].install = Install::Reject;
        net.start();
        net.run(Duration::from_secs(20));
        assert!(net.gateways[side as usize].failed().is_some());
        let other = &net.gateways[side.other() as usize];
        assert!(other.failed().is_some() || other.closed().is_some(), "{:?}", other.events);
        assert_eq!(net.a().installed() + net.b().installed(), 0);
    }
}

#[test]
fn the_responder_picks_the_group_and_asks_for_it() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    a.ike_proposals = ike("aes256gcm16-prfsha256-x25519-ecp256-modp2048");
    b.ike_proposals = ike("aes256gcm16-prfsha256-modp2048");
    let net = Net::established(a, b);
    assert_eq!(net.a().endpoint.view().suite.map(|s| s.group), Some(DhGroup::Modp2048));
    assert_eq!(net.log.len(), 6);
}

#[test]
fn a_cookie_is_asked_for_and_brought() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    // Both retries of RFC 7296 §2.6.1 in one negotiation.
    a.ike_proposals = ike("aes256gcm16-prfsha256-x25519-ecp256");
    b.ike_proposals = ike("aes256gcm16-prfsha256-ecp256");
    b.cookie_threshold = 0;
    let net = Net::established(a, b);
    let counters = net.b().endpoint.view().counters;
    // The cookie is brought with every retry, so the second one needs no new one.
    assert_eq!((counters.cookies_sent, counters.cookies_accepted), (1, 2));
}

#[test]
fn small_fragments_carry_everything() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    for c in [&mut a, &mut b] {
        c.fragment_bytes_max = Some(200);
    }
    let net = Net::established(a.clone(), b.clone());
    assert!(net.log.iter().skip(2).all(|(_, m)| m.len() <= 200));
    assert!(net.b().endpoint.view().counters.fragments_in >= 1);
    // Only when both say that they can.
    b.fragment_bytes_max = None;
    let net = Net::established(a, b);
    assert!(net.log.iter().skip(2).any(|(_, m)| m.len() > 200));
}

#[test]
fn selectors_are_narrowed_to_what_both_allow() {
    let (a, mut b) = (config(Side::A), config(Side::B));
    let net = |s: &str, e: &str| sipsec_net::dp::Selector {
        addr_start: s.parse().expect("valid"),
        addr_end: e.parse().expect("valid"),
        ..sipsec_net::dp::Selector::ANY_V4
    };
    b.ts_local = vec![net("10.2.0.0", "10.2.255.255"), net("10.3.0.0", "10.3.0.255")];
    let up = Net::established(a, b);
    assert_mirrored(&up);
    let (inn, _) = up.a().bound.and_then(|c| up.a().sa(c)).expect("bound");
    assert_eq!(inn.selectors.remote[..], [net("10.2.0.0", "10.3.0.255")], "one range of both");
}

#[test]
fn extended_sequence_numbers_when_both_want_them() {
    let (mut a, mut b) = (config(Side::A), config(Side::B));
    a.esp_proposals = vec!["aes256gcm16-esn-noesn".parse::<EspProposal>().expect("valid")];
    for (theirs, want) in
        [("aes256gcm16-noesn", false), ("aes256gcm16-noesn-esn", false), ("aes256gcm16-esn", true)]
    {
        b.esp_proposals = vec![theirs.parse().expect("valid")];
        let net = Net::established(a.clone(), b.clone());
        let (inn, out) = net.a().bound.and_then(|c| net.a().sa(c)).expect("bound");
        assert_eq!((inn.esn, out.esn), (want, want), "{theirs}");
    }
}

mod loss {
    use super::*;
    use proptest::prelude::*;

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![
            6 => Just(Fate::Deliver),
            2 => Just(Fate::Drop),
            1 => Just(Fate::Twice),
            1 => (0u64..400).prop_map(|ms| Fate::Late(Duration::from_millis(ms))),
        ]
    }

    proptest! {
        /// Loss, duplication and reordering of the first messages delay, and never break or double anything.
        #[test]
        fn an_unreliable_network_only_delays(
            fates in prop::collection::vec(fate(), 24),
            fragment in prop_oneof![Just(200usize), Just(1200)],
            cookie in any::<bool>(),
            hybrid in any::<bool>(),
            compute in 0u64..30,
            seed in 1u64..1000,
        ) {
            let (mut a, mut b) = (config(Side::A), config(Side::B));
            for c in [&mut a, &mut b] {
                if hybrid {
                    c.ike_proposals = ike("aes256gcm16-prfsha256-x25519-ke1_mlkem768");
                }
                c.fragment_bytes_max = Some(fragment);
                c.retransmit.tries_max = 40;
                c.retransmit.wait_max = Duration::from_secs(1);
                c.half_open_age_max = Duration::from_secs(100);
            }
            if cookie {
                b.cookie_threshold = 0;
            }
            let mut net = Net::seeded(a, b, seed);
            net.compute = Duration::from_millis(compute);
            // Each side's packets take the script's fates in turn; afterwards the network is whole.
            let mut next = fates.into_iter();
            net.script = Box::new(move |_, _, _| next.next().unwrap_or(Fate::Deliver));
            net.start();
            net.run(Duration::from_secs(60));
            prop_assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
            assert_mirrored(&net);
            prop_assert_eq!((net.a().installed(), net.b().installed()), (1, 1));
        }
    }

    #[test]
    fn retransmissions_are_the_same_bytes() {
        let mut net = Net::new(config(Side::A), config(Side::B));
        // The first two copies of each request are lost.
        let mut seen: Vec<Vec<u8>> = Vec::new();
        net.script = Box::new(move |from, _, p| match p {
            Packet::Ike(bytes) if from == Side::A => {
                seen.push(bytes.clone());
                let copies = seen.iter().filter(|b| *b == bytes).count();
                if copies <= 2 { Fate::Drop } else { Fate::Deliver }
            }
            _ => Fate::Deliver,
        });
        net.start();
        net.run(Duration::from_secs(10));
        assert!(net.is_up());
        let of_a: Vec<_> = net.log.iter().filter(|(s, _)| *s == Side::A).map(|(_, m)| m).collect();
        assert_eq!(of_a.len(), 6);
        assert!(of_a[0] == of_a[1] && of_a[1] == of_a[2] && of_a[3] == of_a[4] && of_a[4] == of_a[5]);
        assert_eq!(net.a().endpoint.view().counters.retransmits_out, 4);
    }

    #[test]
    fn nobody_answers() {
        let mut net = Net::new(config(Side::A), config(Side::B));
        net.script = Box::new(|_, _, _| Fate::Drop);
        net.start();
        net.run(Duration::from_secs(60));
        match net.a().failed() {
            Some(crate::IkeError::NoResponse(crate::Unanswered {
                exchange: "IKE_SA_INIT",
                transmissions: 6,
                fragments: 1,
                waited,
                ..
            })) => {
                assert!(*waited > LATENCY && *waited < Duration::from_secs(20));
            }
            other => panic!("{other:?}"),
        }
    }
}
