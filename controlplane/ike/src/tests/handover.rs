//! Sending goes over to the SA that the peer has made by a rekey (RFC 7296 §2.8).

use super::by_hand::{ANY, MS, ask, net, rekey_chain, rekey_of, sends_on};
use crate::output::ChildId;
use crate::task::handover::{GUARD, SUPERSEDED_FOR};
use crate::testing::{Net, Side};
use crate::wire::{Chain, Exchange};
use core::time::Duration;

const NEW: u32 = 0x1234_5678;
const NEWER: u32 = 0x1234_5679;

/// A rekey by A that A's own endpoint does not know of: nothing else will come of it.
fn rekeyed(net: &mut Net) -> ChildId {
    let chain = rekey_chain(net, Side::A, NEW, &ANY, &ANY);
    let answer = ask(net, Side::A, Exchange::CREATE_CHILD_SA, chain).expect("answered");
    assert!(answer.sa.is_some(), "{answer:?}");
    newest(net)
}

fn newest(net: &Net) -> ChildId {
    net.b().endpoint.view().children.last().expect("there").child
}

#[test]
fn a_packet_on_the_new_sa_takes_us_over_to_it() {
    let mut net = net();
    let before = sends_on(&net, Side::B).expect("up");
    let new = rekeyed(&mut net);
    assert_eq!(sends_on(&net, Side::B), Some(before), "not before the peer is known to have it");
    net.with(Side::B, |e, now| e.inbound_used(now, new));
    net.run(MS);
    assert_eq!((sends_on(&net, Side::B), net.b().installed()), (Some(NEW), 2), "the old one receives on");
}

#[test]
fn a_peer_that_neither_sends_nor_deletes_is_followed_in_the_end() {
    let mut net = net();
    let before = sends_on(&net, Side::B);
    rekeyed(&mut net);
    net.run(GUARD - MS * 100);
    assert_eq!(sends_on(&net, Side::B), before);
    net.run(MS * 200);
    assert_eq!(sends_on(&net, Side::B), Some(NEW), "{:?}", net.b().story());
}

/// The peer's part. Should it forget, the SA must not pile up.
#[test]
fn an_old_sa_that_the_peer_does_not_delete_is_deleted_by_us() {
    let mut net = net();
    net.with(Side::B, |e, _| e.ctx.config.linger = MS * 50);
    let new = rekeyed(&mut net);
    net.with(Side::B, |e, now| e.inbound_used(now, new));
    net.run(SUPERSEDED_FOR - MS);
    assert_eq!(net.b().installed(), 2);
    // Before A's endpoint, which knows of the old one alone, takes the call for empty.
    net.run(MS * 500);
    assert_eq!((net.b().installed(), sends_on(&net, Side::B)), (1, Some(NEW)), "{:?}", net.b().story());
}

#[test]
fn the_delete_of_the_old_one_after_a_packet_on_the_new_one() {
    let mut net = net();
    let old = net.a().sa(net.a().bound.expect("up")).expect("there").0.spi.get();
    let new = rekeyed(&mut net);
    net.with(Side::B, |e, now| e.inbound_used(now, new));
    let mut delete = Chain::new();
    delete.delete_esp(&[old]);
    let answer = ask(&mut net, Side::A, Exchange::INFORMATIONAL, delete).expect("answered");
    assert_eq!(answer.deletes, 1, "names our half");
    net.run(Duration::from_secs(4));
    assert_eq!((net.b().installed(), sends_on(&net, Side::B)), (1, Some(NEW)), "{:?}", net.b().story());
    assert_eq!(net.b().closed(), None);
}

/// A peer that cannot use what it has made goes back to the old one, which it still has.
#[test]
fn the_delete_of_the_new_one_after_we_went_over() {
    let mut net = net();
    let before = sends_on(&net, Side::B);
    let new = rekeyed(&mut net);
    net.with(Side::B, |e, now| e.inbound_used(now, new));
    let mut delete = Chain::new();
    delete.delete_esp(&[NEW]);
    let answer = ask(&mut net, Side::A, Exchange::INFORMATIONAL, delete).expect("answered");
    assert_eq!((answer.deletes, sends_on(&net, Side::B)), (1, before), "{:?}", net.b().story());
    net.run(Duration::from_secs(10));
    assert!(net.b().closed().is_none() && net.b().failed().is_none(), "{:?}", net.b().story());
}

#[test]
fn a_peer_that_rekeys_what_it_has_just_made() {
    let mut net = net();
    net.with(Side::B, |e, _| e.ctx.config.linger = MS * 50);
    rekeyed(&mut net);
    let answer = ask(&mut net, Side::A, Exchange::CREATE_CHILD_SA, rekey_of(NEW, NEWER, &ANY, &ANY));
    assert!(answer.expect("answered").sa.is_some());
    let newest = newest(&net);
    net.with(Side::B, |e, now| e.inbound_used(now, newest));
    net.run(MS);
    assert_eq!(sends_on(&net, Side::B), Some(NEWER));
    net.run(SUPERSEDED_FOR + MS * 500);
    assert_eq!(net.b().installed(), 1, "{:?}", net.b().story());
}

/// RFC 7296 §2.8.1: which SA of two crossing rekeys stays is decided by the nonces alone, not by what is sent meanwhile.
#[test]
fn a_packet_during_a_crossing_rekey_decides_nothing() {
    for seed in 1..9 {
        let (a, b) = super::by_hand::configs();
        let mut net = Net::established_seeded(a, b, seed);
        for side in [Side::A, Side::B] {
            let id = net.gateways[side as usize].bound.expect("up");
            net.with(side, |e, now| e.rekey_child(now, id));
        }
        for _ in 0..12 {
            net.run(MS * 5);
            for side in [Side::A, Side::B] {
                let children = net.gateways[side as usize].endpoint.view().children;
                for c in children {
                    net.with(side, |e, now| e.inbound_used(now, c.child));
                }
            }
        }
        net.run(Duration::from_secs(10));
        assert!(net.is_up(), "{seed}: {:?} {:?}", net.a().story(), net.b().story());
        assert_eq!((net.a().installed(), net.b().installed()), (1, 1), "{seed}: {:?}", net.b().story());
        for from in [Side::A, Side::B] {
            net.send_esp(from);
        }
        net.run(MS * 50);
        assert_eq!((net.a().lost, net.b().lost), (0, 0), "{seed}");
        assert!(net.a().received > 0 && net.b().received > 0);
    }
}
