//! Errors that a peer reports on an IKE SA that is up: what each of them costs.

use super::by_hand::{MS, ask, net};
use crate::state::{Established, State};
use crate::testing::{Fate, Net, Side};
use crate::wire::{Chain, Exchange, Header, NotifyType};
use crate::{Endpoint, IkeError};
use core::time::Duration;
use sipsec_net::Instant;

/// All that have a name, some without, and two of those that RFC 7296 §3.10.1 leaves to vendors.
fn kinds() -> impl Iterator<Item = u16> {
    (1..=48).chain([8191, 8192, 16383])
}

fn up(e: &mut Endpoint) -> &mut Established {
    let State::Established(s) = &mut e.state else { panic!("not up") };
    s
}

/// B answers A's next request of this exchange with an error, as if it were another implementation.
fn refuse_next(
    net: &mut Net,
    exchange: Exchange,
    (kind, data): (NotifyType, &[u8]),
    begin: impl FnOnce(&mut Endpoint, Instant),
) {
    let logged = net.log.len();
    net.script = Box::new(|from, _, _| if from == Side::A { Fate::Drop } else { Fate::Deliver });
    net.with(Side::A, begin);
    net.run(MS * 20);
    net.script = Box::new(|_, _, _| Fate::Deliver);
    let asked = |(from, m): &&(Side, Vec<u8>)| *from == Side::A && m[18] == exchange.0;
    let request = net.log[logged..].iter().find(asked).expect("asked").1.clone();
    let header = Header::parse(&request).expect("ours");
    let mut chain = Chain::new();
    chain.notify(kind, data);
    net.with(Side::B, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("not up") };
        let slot = s.current().sa.local_spi();
        s.current_mut().sa.receive(&mut e.ctx, now, &header, &request).expect("for us");
        s.reply(&mut e.ctx, slot, exchange, header.id, chain);
    });
    net.run(MS * 20);
}

/// RFC 7296 §2.21.3: of all errors INVALID_SYNTAX alone ends the IKE SA. After any other the rekey is tried again, and the call
/// goes on.
#[test]
fn a_rekey_that_is_refused_for_whatever_reason_costs_no_call() {
    type Begin = fn(&mut Endpoint, Instant);
    let child: Begin = |e, now| {
        let id = up(e).children[0].id;
        e.rekey_child(now, id);
    };
    let ike: Begin = |e, now| e.rekey_ike(now);
    for (name, begin) in [("child", child), ("IKE", ike)] {
        for kind in kinds() {
            let mut net = net();
            refuse_next(&mut net, Exchange::CREATE_CHILD_SA, (NotifyType(kind), &[]), begin);
            if kind == NotifyType::INVALID_SYNTAX.0 {
                assert_eq!(net.a().failed(), Some(&IkeError::PeerNotify { notify: 7 }), "{name}");
                continue;
            }
            if kind == NotifyType::CHILD_SA_NOT_FOUND.0 && name == "child" {
                // The peer has none, so a new one is made (§2.25); this peer has one all the same, and refuses it.
                continue;
            }
            for _ in 0..30 {
                net.send_esp(Side::A);
                net.send_esp(Side::B);
                net.run(Duration::from_secs(2));
            }
            assert!(net.is_up(), "{name} {kind}: {:?} {:?}", net.a().story(), net.b().story());
            let c = net.a().endpoint.view().counters;
            let renewed = c.rekeys_child + c.rekeys_ike + c.reauthentications;
            assert!(renewed > 0, "{name} {kind}: not tried again, {c:?}");
        }
    }
}

/// RFC 7296 §3.10.1: errors in a request that are not understood, or that concern nothing here, are ignored. Two reject the
/// IKE SA (§2.21.2).
#[test]
fn an_error_in_a_request_is_answered_and_ends_nothing() {
    for kind in kinds() {
        let mut net = net();
        let mut chain = Chain::new();
        chain.notify(NotifyType(kind), &[1, 2, 3]);
        let answer = ask(&mut net, Side::A, Exchange::INFORMATIONAL, chain).expect("answered");
        assert!(answer.notifies.is_empty(), "{kind}: {answer:?}");
        net.run(MS * 1500);
        let ends = [NotifyType::AUTHENTICATION_FAILED.0, NotifyType::INVALID_SYNTAX.0].contains(&kind);
        assert_eq!(net.b().failed().is_some(), ends, "{kind}: {:?}", net.b().story());
    }
}

/// A question or a DELETE counts as answered also if the answer is an error.
#[test]
fn an_error_in_an_answer_to_a_question_ends_nothing() {
    for kind in kinds() {
        let mut net = net();
        let alive = |e: &mut Endpoint, now| {
            let State::Established(s) = &mut e.state else { panic!("not up") };
            s.ask_alive(&mut e.ctx, now);
        };
        refuse_next(&mut net, Exchange::INFORMATIONAL, (NotifyType(kind), &[]), alive);
        net.run(MS * 1500);
        assert!(net.is_up(), "{kind}: {:?}", net.a().story());
    }
}

/// RFC 7296 §2.7, §1.3: INVALID_KE_PAYLOAD that names what was not offered, or nothing, is no reason to go round in circles.
#[test]
fn a_group_that_cannot_be_ends_the_rekey_alone() {
    for data in [&[0, 22][..], &[0, 0], &[0xff, 0xff], &[19], &[]] {
        let mut net = net();
        let refused = (NotifyType::INVALID_KE_PAYLOAD, data);
        refuse_next(&mut net, Exchange::CREATE_CHILD_SA, refused, |e, now| e.rekey_ike(now));
        let sent = net.a().endpoint.view().counters.requests_out;
        net.run(Duration::from_secs(2));
        assert_eq!(net.a().endpoint.view().counters.requests_out, sent, "{data:?}");
        net.run(Duration::from_secs(30));
        assert!(net.is_up() && net.a().endpoint.view().counters.rekeys_ike == 1, "{data:?}");
    }
}

/// RFC 7296 §2.8: who rekeys the IKE SA deletes the one before. A peer that does not is left with an IKE SA that we have
/// forgotten, and the call goes on.
#[test]
fn an_ike_sa_that_the_peer_does_not_delete_is_forgotten() {
    let mut net = net();
    let old = net.b().endpoint.view().spi_i;
    net.script = Box::new(move |from, _, packet| match packet {
        crate::testing::Packet::Ike(m)
            if from == Side::A && m[18] == Exchange::INFORMATIONAL.0 && m[..8] == old.to_be_bytes() =>
        {
            Fate::Drop
        }
        _ => Fate::Deliver,
    });
    net.with(Side::A, |e, now| e.rekey_ike(now));
    net.run(MS * 500);
    assert_eq!(up(&mut net.gateways[1].endpoint).slots.len(), 2);
    // What is asked meanwhile goes over the new one.
    net.with(Side::B, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("not up") };
        s.ask_alive(&mut e.ctx, now);
    });
    assert_ne!(net.log.last().expect("asked").1[..8], old.to_be_bytes());
    net.run(Duration::from_secs(61));
    for side in [0, 1] {
        assert_eq!(up(&mut net.gateways[side].endpoint).slots.len(), 1, "{side}");
    }
    assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
}
