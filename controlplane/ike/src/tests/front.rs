//! What the first look at a datagram decides, and messages of other dialects that must not cost a call.

use super::by_hand::{ANY, MS, answer_init, ask, auth_with, configs, init, net};
use crate::testing::{Fate, Net, Side};
use crate::wire::{Chain, Exchange, NotifyType, PayloadType};
use crate::{CloseCause, IkeError};

/// RFC 7296 §2.5: a higher major version SHOULD be answered with INVALID_MAJOR_VERSION and ours.
#[test]
fn a_higher_major_version() {
    let mut request = init(|_| {});
    request[17] = 0x30;
    let (header, answer) = answer_init(configs().1, &request).expect("answered");
    assert!(header.response && !header.from_initiator);
    assert_eq!(answer.notifies, [(NotifyType::INVALID_MAJOR_VERSION, vec![2])]);
    // A response is not answered, nor is version 1.
    request[19] |= 0x20;
    assert!(answer_init(configs().1, &request).is_none());
    let mut request = init(|_| {});
    request[17] = 0x10;
    assert!(answer_init(configs().1, &request).is_none());
}

#[test]
fn answers_to_other_versions_are_limited() {
    let mut net = net();
    let mut request = init(|_| {});
    request[17] = 0x30;
    net.script = Box::new(|_, _, _| Fate::Drop);
    let logged = net.log.len();
    for _ in 0..100 {
        net.inject(Side::B, &request);
    }
    let answered = net.log.len() - logged;
    assert!((1..10).contains(&answered), "{answered}");
    assert_eq!(net.b().endpoint.view().counters.dropped_version, 100);
}

/// RFC 7296 §3.1: Length is the message's. Some peers pad the datagram.
#[test]
fn bytes_behind_a_message_are_not_part_of_it() {
    let mut request = init(|_| {});
    request.extend([0; 16]);
    assert!(answer_init(configs().1, &request).is_some());
    // In every message of a whole negotiation, protected ones included.
    let (a, b) = configs();
    let mut net = Net::new(a, b);
    net.start();
    for _ in 0..8 {
        net.script = Box::new(|_, _, _| Fate::Drop);
        net.run(MS);
        let sent: Vec<_> = net.log.drain(..).collect();
        for (from, mut bytes) in sent {
            bytes.extend([0xaa; 4]);
            net.inject(from.other(), &bytes);
        }
    }
    assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
    // Fewer bytes than it says are no message.
    let mut request = init(|_| {});
    request.pop();
    assert!(answer_init(configs().1, &request).is_none());
}

/// RFC 7296 §3.11: the SPI Size of IKE is zero; a peer that names its SPIs means the same.
#[test]
fn a_delete_of_ike_that_names_spis() {
    let mut net = net();
    let mut chain = Chain::new();
    chain.push(PayloadType::DELETE, &[1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]);
    let answer = ask(&mut net, Side::A, Exchange::INFORMATIONAL, chain).expect("answered");
    assert_eq!(answer.notifies, []);
    net.run(MS * 2000);
    assert_eq!((net.b().closed(), net.b().failed()), (Some(CloseCause::PeerDeleted), None));
}

/// RFC 7296 §3.15.4: a request for an address is refused by its own notify; other questions are passed over.
#[test]
fn a_request_for_an_address() {
    // CFG_REQUEST with INTERNAL_IP4_ADDRESS and INTERNAL_IP4_DNS; without the first; CFG_SET.
    for (body, refused) in [
        (&[1, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0][..], true),
        (&[1, 0, 0, 0, 0, 8, 0, 1, 0xff], true),
        (&[1, 0, 0, 0, 0, 3, 0, 0], false),
        (&[3, 0, 0, 0, 0, 1, 0, 4, 10, 0, 0, 1], false),
    ] {
        let (a, b) = configs();
        let mut net = Net::new(a, b);
        auth_with(&mut net, &ANY, &ANY, |c| {
            c.push(PayloadType::CP, body);
        });
        if refused {
            assert_eq!(net.b().failed(), Some(&IkeError::AddressWanted), "{body:?}");
            let notify = NotifyType::INTERNAL_ADDRESS_FAILURE.0;
            assert_eq!(net.a().failed(), Some(&IkeError::NoChildSa { notify }), "{:?}", net.a().story());
        } else {
            assert!(net.is_up(), "{body:?} {:?}", net.b().story());
        }
    }
}

/// A request of an exchange that a later RFC may define is answered, and the call goes on.
#[test]
fn an_exchange_that_we_do_not_know() {
    let mut net = net();
    let answer = ask(&mut net, Side::A, Exchange(60), Chain::new()).expect("answered");
    assert_eq!((answer.notifies.len(), net.b().failed()), (0, None));
    assert_eq!(net.b().endpoint.view().counters.unknown_exchanges_in, 1);
    let alive = ask(&mut net, Side::A, Exchange::INFORMATIONAL, Chain::new());
    assert!(alive.is_some() && net.b().closed().is_none());
}
