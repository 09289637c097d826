//! What the first look at a datagram decides, and messages of other dialects that must not cost a call.

use super::by_hand::{ANY, MS, answer_init, ask, auth_with, configs, gcm, init, net};
use crate::state::State;
use crate::testing::{Fate, Net, Side};
use crate::wire::notify::PROTOCOL_IKE;
use crate::wire::sa::{Proposal, TYPE_ENCR, TYPE_KE, TYPE_PRF, Transform};
use crate::wire::{Chain, Exchange, Header, NotifyType, PayloadType};
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
    for body in [
        &[1, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8][..],
        &[1, 8, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[1, 16, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8],
        &[1, 0, 0, 1],
    ] {
        let mut net = net();
        let mut chain = Chain::new();
        chain.push(PayloadType::DELETE, body);
        let answer = ask(&mut net, Side::A, Exchange::INFORMATIONAL, chain).expect("answered");
        assert_eq!(answer.notifies, [], "{body:?}");
        net.run(MS * 2000);
        assert_eq!((net.b().closed(), net.b().failed()), (Some(CloseCause::PeerDeleted), None), "{body:?}");
    }
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

/// RFC 7296 §3.1, §2.5: a minor version, reserved flags and reserved bits decide nothing.
#[test]
fn what_is_reserved_is_ignored() {
    let mut request = init(|_| {});
    (request[17], request[19]) = (0x2f, request[19] | 0xc7 | 0x10);
    // The reserved bits of the first payload's header.
    request[29] |= 0x7f;
    let (header, answer) = answer_init(configs().1, &request).expect("answered");
    assert!(header.response && answer.sa.is_some(), "{answer:?}");
}

/// RFC 7296 §3.3.1, §3.3.2: which proposal and which transform is the last one is known without the fields that say so.
#[test]
fn a_proposal_that_says_wrongly_whether_it_is_the_last() {
    let good = init(|_| {});
    // Behind the header and the payload's header: the proposal, and 8 bytes later its first transform.
    for (at, value) in [(32, 2), (32, 7), (40, 0), (40, 1)] {
        let mut request = good.clone();
        request[at] = value;
        let (_, answer) = answer_init(configs().1, &request).expect("answered");
        assert!(answer.sa.is_some(), "{at} {value}: {answer:?}");
    }
}

/// RFC 7296 §3.5: an identity may be of any length, and of an encoding that is none.
#[test]
fn an_identity_of_any_length_is_read() {
    use crate::wire::id::{encode, parse};
    let long = [&[9, 0, 0, 0][..], &[7; 5000]].concat();
    let latin = [&[2, 0, 0, 0][..], b"b\xfcro.example"].concat();
    for body in [&long, &latin, &[&[11, 0, 0, 0][..], &[0xff; 2000]].concat()] {
        let id = parse(body).expect("an identity");
        assert_eq!(&encode(&id), body);
        assert!(id.to_string().len() < 1200, "{id}");
    }
    assert_eq!(parse(&latin), Ok(crate::Identity::Other(2, b"b\xfcro.example".to_vec())));
    // The reason of the refusal is the identity, and not a malformed message.
    let (mut a, b) = configs();
    a.local_id = crate::Identity::Other(2, b"b\xfcro.example".to_vec());
    let mut net = Net::new(a, b);
    net.start();
    net.run(MS * 500);
    assert!(matches!(net.b().failed(), Some(IkeError::IdentityMismatch { .. })), "{:?}", net.b().story());
}

/// A peer offers all that it has: the protocol's own limits are 255 proposals and 255 transforms (RFC 7296 §3.3).
#[test]
fn an_offer_of_any_size_is_read() {
    let foreign = |kind, count: u16| (0..count).map(move |n| Transform::new(kind, 1000 + n));
    let offer = |before: u8, many: u16| {
        let mut transforms: Vec<_> = foreign(TYPE_ENCR, many).chain(foreign(TYPE_KE, many)).collect();
        transforms.extend([gcm(256), Transform::new(TYPE_PRF, 5), Transform::new(TYPE_KE, 31)]);
        let unknown =
            vec![Transform::new(TYPE_ENCR, 999), Transform::new(TYPE_PRF, 5), Transform::new(TYPE_KE, 31)];
        let mut all: Vec<_> = (1..=before)
            .map(|number| Proposal {
                number,
                protocol: PROTOCOL_IKE,
                spi: vec![],
                transforms: unknown.clone(),
            })
            .collect();
        all.push(Proposal { number: before + 1, protocol: PROTOCOL_IKE, spi: vec![], transforms });
        all
    };
    for (before, many) in [(0, 126), (200, 0), (100, 60)] {
        let mut chain = Chain::new();
        chain.sa(&offer(before, many));
        let mut public = [0; 32];
        public[0] = 9;
        chain.ke(31, &public);
        chain.nonce(&[5; 32]);
        let header = Header::parse(&init(|_| {})).expect("ours");
        let (_, answer) = answer_init(configs().1, &header.with_payloads(chain)).expect("answered");
        let sa = answer.sa.as_deref();
        assert_eq!(sa.map(|sa| sa[0].number), Some(before + 1), "{before} {many}: {answer:?}");
    }
}

/// A gateway with many addresses names each of them (RFC 4555 §3.4), and some send a vendor ID for everything.
#[test]
fn a_message_of_many_payloads_is_read() {
    let (a, b) = configs();
    let mut begun = Net::new(a, b);
    auth_with(&mut begun, &ANY, &ANY, |chain| {
        for n in 0..250u8 {
            chain.push(PayloadType(43), &[n; 16]);
            chain.notify(NotifyType(16397), &[192, 0, 2, n]);
        }
    });
    assert!(begun.b().failed().is_none(), "{:?}", begun.b().story());
    assert!(matches!(begun.b().endpoint.state, State::Established(_)), "{:?}", begun.b().story());

    // A DELETE that names what we never had, too, and a request of many attributes.
    let mut net = net();
    let mut chain = Chain::new();
    chain.delete_esp(&(0x7000_0001..0x7000_0065).collect::<Vec<_>>());
    assert!(ask(&mut net, Side::A, Exchange::INFORMATIONAL, chain).is_some());
    let mut chain = Chain::new();
    let attributes = [[0, 3, 0, 0]; 100].concat();
    chain.push(PayloadType::CP, &[&[1, 0, 0, 0][..], &attributes].concat());
    assert!(ask(&mut net, Side::A, Exchange::INFORMATIONAL, chain).is_some());
    net.run(MS * 2000);
    assert!(net.is_up(), "{:?}", net.b().story());
}

/// RFC 7383 §2.5: how many fragments a message takes is the sender's matter; certificate chains in small ones take hundreds.
#[test]
fn a_message_of_many_fragments_is_read() {
    let (mut a, b) = configs();
    a.fragment_bytes_max = Some(200);
    let mut net = Net::established(a, b);
    let before = net.b().endpoint.view().counters.fragments_in;
    let mut chain = Chain::new();
    for _ in 0..3 {
        chain.notify(NotifyType(40_000), &[7; 20_000]);
    }
    assert!(ask(&mut net, Side::A, Exchange::INFORMATIONAL, chain).is_some());
    let came = net.b().endpoint.view().counters.fragments_in - before;
    assert!(came > 400, "{came}");
}
