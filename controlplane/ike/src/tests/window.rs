//! Message IDs and the window (RFC 7296 §2.2, §2.3): ours is 1, and we use no more of the peer's.

use crate::state::State;
use crate::task::Task;
use crate::testing::{Fate, Net, Packet, Side, config};
use crate::wire::notify::PROTOCOL_IKE;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, PayloadType};
use core::time::Duration;

const SET_WINDOW_SIZE: NotifyType = NotifyType(16385);

fn net() -> Net {
    Net::established(config(Side::A), config(Side::B))
}

/// A request of A with these contents.
fn ask(net: &mut Net, chain: Chain) {
    net.with(Side::A, |e, now| {
        let State::Established(s) = &mut e.state else { panic!("up") };
        s.current_mut().sa.request(&mut e.ctx, now, Exchange::INFORMATIONAL, chain, Task::Dpd);
    });
}

/// What B answers, which A's endpoint does not get to see.
fn answer(net: &mut Net, chain: Chain) -> Vec<(NotifyType, Vec<u8>)> {
    net.script = Box::new(|from, _, _| if from == Side::B { Fate::Drop } else { Fate::Deliver });
    ask(net, chain);
    net.run(Duration::from_millis(50));
    net.script = Box::new(|_, _, _| Fate::Deliver);
    let (from, bytes) = net.log.last().cloned().expect("an answer");
    assert_eq!(from, Side::B);
    let (now, e) = (net.now, &mut net.gateways[0].endpoint);
    let State::Established(s) = &mut e.state else { panic!("up") };
    let header = Header::parse(&bytes).expect("ours");
    let incoming = s.current_mut().sa.receive(&mut e.ctx, now, &header, &bytes).expect("for A");
    let m = Message::parse(incoming.first, &incoming.plaintext).expect("ours");
    m.notifies.iter().map(|n| (n.kind, n.data.to_vec())).collect()
}

#[test]
fn a_larger_window_of_the_peer_is_understood_and_not_used() {
    let mut net = net();
    let mut chain = Chain::new();
    chain.notify_spi(PROTOCOL_IKE, &[], SET_WINDOW_SIZE, &5u32.to_be_bytes());
    assert_eq!(answer(&mut net, chain), []);
    // Two things to do at once: B still asks one after the other.
    let child = net.b().bound.expect("bound");
    let sent = net.log.len();
    net.with(Side::B, |e, now| {
        e.rekey_child(now, child);
        e.rekey_ike(now);
    });
    let first: Vec<_> = net.log[sent..].to_vec();
    assert_eq!(first.len(), 1);
    net.run(Duration::from_secs(2));
    let counters = net.b().endpoint.view().counters;
    assert_eq!((counters.rekeys_child, counters.rekeys_ike), (1, 1));
}

#[test]
fn requests_beyond_our_window_wait_until_it_is_their_turn() {
    let mut net = net();
    // The first one is late: the second finds the window closed, is not answered, and comes again.
    let mut held = false;
    net.script = Box::new(move |from, _, p| match p {
        Packet::Ike(_) if from == Side::A && !core::mem::replace(&mut held, true) => {
            Fate::Late(Duration::from_millis(200))
        }
        _ => Fate::Deliver,
    });
    ask(&mut net, Chain::new());
    let State::Established(s) = &mut net.gateways[0].endpoint.state else { panic!("up") };
    assert!(matches!(s.current_mut().sa.abandon_request(), Some(Task::Dpd)));
    ask(&mut net, Chain::new());
    net.run(Duration::from_millis(100));
    assert_eq!(net.b().endpoint.view().counters.dropped_window, 1);
    let answered = net.b().endpoint.view().counters.responses_out;
    net.run(Duration::from_secs(2));
    let counters = net.b().endpoint.view().counters;
    assert_eq!(counters.responses_out, answered + 2);
    assert!(net.is_up());
}

/// RFC 7296 §2.5, in a protected request: it is answered, and the SA lives on.
#[test]
fn a_protected_payload_that_must_be_understood() {
    let mut net = net();
    let mut chain = Chain::new();
    chain.push(PayloadType(200), &[1, 2, 3]);
    assert_eq!(answer(&mut net, chain.clone()), []);
    chain.set_critical();
    assert_eq!(answer(&mut net, chain), [(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200])]);
    net.with(Side::B, |e, now| e.rekey_ike(now));
    net.run(Duration::from_secs(1));
    assert!(net.is_up() && net.b().endpoint.view().counters.rekeys_ike == 1);
}
