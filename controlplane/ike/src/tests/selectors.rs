//! Lists of selectors of any honest length, and peers that take one pair only (RFC 7296 §2.9).

use super::by_hand::{ANY, Answer, MS, apart, ask, auth_with, configs, range, rekey_of, rewrite_held};
use crate::IkeError;
use crate::state::State;
use crate::testing::{Install, Net, Side};
use crate::wire::{Exchange, Message, NotifyType, PayloadType};
use core::time::Duration;
use sipsec_net::dp::{SELECTORS_MAX, Selector};

/// What B, whose dataplane is not ready yet, is going to answer.
fn held(net: &Net) -> Answer {
    let State::Established(s) = &net.b().endpoint.state else { panic!("not up: {:?}", net.b().story()) };
    let (first, bytes) = s.held[0].hold.chain.clone().finish();
    Answer::of(&Message::parse(first, &bytes).expect("ours"))
}

/// A responder that narrows our offer to what is behind it.
#[test]
fn a_responder_with_many_networks() {
    for count in [5, 20, SELECTORS_MAX as u8] {
        let (a, mut b) = configs();
        b.ts_local = apart(count);
        let net = Net::established(a, b);
        let (inbound, _) = net.a().bound.and_then(|c| net.a().sa(c)).expect("up");
        assert_eq!(inbound.selectors.remote[..], apart(count)[..]);
    }
    // More than an SA of ours holds: the reason is told.
    let (a, b) = configs();
    let mut net = Net::new(a, b);
    net.gateways[1].install = Install::Never;
    net.start();
    net.run(MS * 200);
    rewrite_held(&mut net, |payloads, c| {
        for (kind, body) in payloads {
            if kind == PayloadType::TSR {
                c.ts(kind, &apart(90))
            } else {
                c.push(kind, &body)
            };
        }
    });
    net.gateways[1].install = Install::After(Duration::ZERO);
    net.run(MS * 500);
    assert_eq!(net.a().failed(), Some(&IkeError::TooManySelectors { got: 90 }));
}

#[test]
fn an_initiator_with_many_networks_gets_them_all_or_is_told() {
    for (count, all) in [(5, true), (SELECTORS_MAX as u8, true), (100, false)] {
        let (a, b) = configs();
        let mut net = Net::new(a, b);
        net.gateways[1].install = Install::Never;
        auth_with(&mut net, &apart(count), &ANY, |_| {});
        let answer = held(&net);
        let got = answer.tsi.as_ref().map_or(0, Vec::len);
        assert_eq!(got == usize::from(count), all, "{got} of {count}");
        assert_eq!(answer.says(NotifyType::ADDITIONAL_TS_POSSIBLE), !all, "{count}");
    }
}

/// The packet that an SA is made for comes first in IKE_AUTH, and not at all in a rekey (RFC 7296 §2.9.2).
#[test]
fn a_rekey_of_what_a_packet_had_made() {
    for count in [5, 100] {
        let (a, b) = configs();
        let mut net = Net::new(a, b);
        let networks = apart(count);
        let packet = Selector { addr_end: networks[4].addr_start, ..networks[4] };
        let mut first = vec![packet];
        first.extend_from_slice(&networks);
        auth_with(&mut net, &first, &ANY, |_| {});
        assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
        let rekey = |order: &[Selector]| rekey_of(0x1234_5678, 0x1234_5679, order, &ANY);
        let mut order = networks.clone();
        order.reverse();
        let answer = ask(&mut net, Side::A, Exchange::CREATE_CHILD_SA, rekey(&order)).expect("answered");
        assert!(answer.sa.is_some(), "{count}: {answer:?}");
    }
}

/// Plays a peer that wants one pair for each CHILD_SA: its IKE_AUTH response, and then silence of our responder.
fn single_pair(net: &mut Net) {
    net.gateways[1].install = Install::Never;
    net.start();
    net.run(MS * 200);
    rewrite_held(net, |payloads, c| {
        let child = [PayloadType::SA, PayloadType::TSI, PayloadType::TSR];
        for (kind, body) in payloads.into_iter().filter(|(kind, _)| !child.contains(kind)) {
            c.push(kind, &body);
        }
        c.notify(NotifyType::SINGLE_PAIR_REQUIRED, &[]);
    });
    net.gateways[1].install = Install::After(Duration::ZERO);
}

#[test]
fn a_peer_that_takes_a_single_pair() {
    let (mut a, mut b) = configs();
    for c in [&mut a, &mut b] {
        c.ts_local = vec![Selector::ANY_V4, Selector::ANY_V6];
        c.ts_remote = vec![Selector::ANY_V4, Selector::ANY_V6];
    }
    let mut net = Net::new(a, b);
    single_pair(&mut net);
    net.run(MS);
    // B has made none.
    let State::Established(s) = &mut net.gateways[1].endpoint.state else { panic!("up") };
    s.children.clear();
    net.run(MS * 100);
    let (inbound, _) = net.a().bound.and_then(|c| net.a().sa(c)).expect("up");
    assert_eq!((&inbound.selectors.local[..], &inbound.selectors.remote[..]), (&ANY[..], &ANY[..]));
    assert_eq!((net.a().failed(), net.a().closed()), (None, None), "{:?}", net.a().story());
}

#[test]
fn a_peer_that_takes_a_single_pair_of_addresses() {
    let (mut a, b) = configs();
    let (from, to) = ([10, 1, 0, 2], [10, 2, 0, 2]);
    a.traffic = Some((from.into(), to.into()));
    let mut net = Net::new(a, b);
    single_pair(&mut net);
    net.run(MS);
    let State::Established(s) = &mut net.gateways[1].endpoint.state else { panic!("up") };
    s.children.clear();
    net.run(MS * 100);
    let (inbound, _) = net.a().bound.and_then(|c| net.a().sa(c)).expect("up");
    let want = (&[range(from, from)][..], &[range(to, to)][..]);
    assert_eq!((&inbound.selectors.local[..], &inbound.selectors.remote[..]), want);
    // A rekey asks for the same.
    let id = net.a().bound.expect("up");
    net.with(Side::A, |e, now| e.rekey_child(now, id));
    net.run(MS * 200);
    assert!(net.is_up() && net.a().bound != Some(id), "{:?}", net.a().story());
}

/// The peer that refuses that, too: the reason is its own, and it has a moment to make one itself.
#[test]
fn a_peer_that_takes_no_pair_at_all() {
    let (mut a, mut b) = configs();
    a.ts_remote = vec![Selector::ANY_V4, Selector::ANY_V6];
    b.ts_local.clone_from(&a.ts_remote);
    let mut net = Net::new(a, b);
    single_pair(&mut net);
    net.run(MS * 500);
    assert_eq!(net.a().failed(), None);
    net.run(Duration::from_secs(1));
    let notify = NotifyType::NO_ADDITIONAL_SAS.0;
    assert_eq!(net.a().failed(), Some(&IkeError::NoChildSa { notify }), "{:?}", net.a().story());
}
