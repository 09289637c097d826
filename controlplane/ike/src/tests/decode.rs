//! Bytes from strangers, and from a peer that has the keys and no manners.

use crate::algorithm::{EspProposal, IkeProposal};
use crate::exchange::IkeSa;
use crate::negotiate::{esp, ike};
use crate::state::State;
use crate::task::Task;
use crate::testing::{Fate, Net, Side, config};
use crate::wire::header::HEADER_LEN;
use crate::wire::{Chain, Exchange, Header, Message, PayloadType, id, sa, ts};
use crate::{CloseCause, Event, Identity};
use core::time::Duration;
use proptest::prelude::*;
use sipsec_net::Spi;
use sipsec_net::dp::Selector;

/// Types that we parse, unknown ones, and none.
fn kind() -> impl Strategy<Value = u8> {
    prop_oneof![4 => 33u8..=53, 1 => any::<u8>()]
}

/// A chain of payloads that is well formed outside and anything inside.
fn chain() -> impl Strategy<Value = Chain> {
    prop::collection::vec((kind(), prop::collection::vec(any::<u8>(), 0..80)), 0..6).prop_map(|payloads| {
        let mut chain = Chain::new();
        for (kind, body) in payloads {
            if kind != 0 {
                chain.push(PayloadType(kind), &body);
            }
        }
        chain
    })
}

/// A chain that means something, with a few bytes of it changed.
fn nearly_valid() -> impl Strategy<Value = (PayloadType, Vec<u8>)> {
    (prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), any::<prop::sample::Index>())
        .prop_map(|(changes, cut)| {
            let (first, mut bytes) = valid().finish();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if cut.index(4) == 0 {
                bytes.truncate(cut.index(bytes.len()));
            }
            (first, bytes)
        })
}

fn valid() -> Chain {
    let spi = Spi::new(0x1234_5678).expect("valid");
    let mut c = Chain::new();
    c.sa(&ike::offer(&IkeProposal::defaults(), &[1, 2, 3, 4, 5, 6, 7, 8]));
    c.ke(31, &[7; 32]);
    c.nonce(&[9; 32]);
    c.push(PayloadType::IDI, &id::encode(&Identity::Fqdn("a.example".into())));
    c.push(PayloadType::IDR, &id::encode(&Identity::KeyId(b"0388881001".to_vec())));
    c.auth(2, &[3; 32]);
    c.notify_spi(3, &spi.get().to_be_bytes(), crate::wire::NotifyType::REKEY_SA, &[]);
    c.ts(PayloadType::TSI, &[Selector::ANY_V4]);
    c.ts(PayloadType::TSR, &[Selector::ANY_V4]);
    c.delete_esp(&[1, 2, 3]);
    c
}

/// The same chain in a message of B's current SA, protected with B's keys.
fn sealed(net: &mut Net, from: Side, exchange: Exchange, chain: Chain) {
    net.with(from, |e, now| {
        if let State::Established(s) = &mut e.state {
            let sa: &mut IkeSa = &mut s.current_mut().sa;
            if sa.can_request() {
                sa.request(&mut e.ctx, now, exchange, chain, Task::Dpd);
            }
        }
    });
}

proptest! {
    #[test]
    fn any_bytes_parse_or_do_not(first in kind(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Header::parse(&bytes);
        let _ = Message::parse(PayloadType(first), &bytes);
        let _ = sa::parse(&bytes);
        let _ = ts::parse(&bytes);
        let _ = id::parse(&bytes);
    }

    #[test]
    fn nearly_valid_chains_parse_or_do_not((first, bytes) in nearly_valid()) {
        let _ = Message::parse(first, &bytes);
    }

    #[test]
    fn what_we_write_is_what_is_read(
        start in any::<u32>(), len in any::<u16>(), protocol in any::<u8>(), ports in any::<(u16, u16)>(), digits in "[0-9]{1,20}",
    ) {
        let end = start.saturating_add(u32::from(len));
        let selector = Selector {
            addr_start: std::net::Ipv4Addr::from(start).into(),
            addr_end: std::net::Ipv4Addr::from(end).into(),
            protocol,
            port_start: ports.0.min(ports.1),
            port_end: ports.0.max(ports.1),
        };
        let v6 = Selector {
            addr_start: std::net::Ipv6Addr::from(u128::from(start)).into(),
            addr_end: std::net::Ipv6Addr::from(u128::from(end)).into(),
            ..selector
        };
        let identity = Identity::KeyId(digits.into_bytes());
        let spi = Spi::new(start | 0x100).expect("not reserved");
        let esp = esp::offer(&EspProposal::defaults(), spi, esp::Phase::Auth);
        let mut c = Chain::new();
        c.sa(&esp);
        c.push(PayloadType::IDR, &id::encode(&identity));
        c.ts(PayloadType::TSI, &[selector, v6]);
        let (first, bytes) = c.finish();
        let m = Message::parse(first, &bytes).expect("ours");
        prop_assert_eq!(m.sa, Some(esp));
        prop_assert_eq!(m.idr.map(|i| i.id), Some(identity));
        prop_assert_eq!(m.tsi, Some(vec![selector, v6]));
    }

    /// Datagrams with the right SPIs and anything else, in every state of both roles.
    #[test]
    fn strangers_break_nothing(
        datagrams in prop::collection::vec(
            (kind(), any::<[u8; 3]>(), any::<bool>(), 0u32..4, prop::collection::vec(any::<u8>(), 0..120)), 1..20,
        ),
        until in 0u64..60,
    ) {
        let mut net = Net::new(config(Side::A), config(Side::B));
        net.start();
        net.run(Duration::from_millis(until));
        for (first, [exchange, flags, reserved], to_a, id, body) in datagrams {
            let view = if to_a { net.a().endpoint.view() } else { net.b().endpoint.view() };
            let header = Header {
                spi_i: view.spi_i,
                spi_r: if flags & 1 == 0 { view.spi_r } else { 0 },
                first: PayloadType(first),
                exchange: Exchange(34 + exchange % 5),
                from_initiator: !to_a,
                response: flags & 2 == 0,
                id,
            };
            let mut bytes = header.encode(HEADER_LEN + body.len()).to_vec();
            bytes[19] |= reserved & 0xc7;
            bytes.extend_from_slice(&body);
            net.inject(if to_a { Side::A } else { Side::B }, &bytes);
        }
        net.run(Duration::from_secs(10));
        prop_assert!(net.is_up(), "{:?} {:?}", net.a().story(), net.b().story());
    }

    /// A peer that holds the keys and sends anything at all: we answer, or end, and our packets' SAs stay in order.
    #[test]
    fn a_peer_without_manners_breaks_nothing_of_ours(
        chains in prop::collection::vec((35u8..39, prop_oneof![chain(), nearly_valid().prop_map(rebuild)]), 1..8),
        sender in prop_oneof![Just(Side::A), Just(Side::B)],
    ) {
        let mut net = Net::established(config(Side::A), config(Side::B));
        net.script = Box::new(|_, _, _| Fate::Deliver);
        for (exchange, chain) in chains {
            sealed(&mut net, sender, Exchange(exchange), chain);
            net.run(Duration::from_millis(100));
        }
        let other = sender.other();
        net.with(other, |e, now| e.close(now, CloseCause::Admin));
        net.run(Duration::from_secs(30));
        let g = &net.gateways[other as usize];
        prop_assert!(g.closed().is_some() || g.failed().is_some());
        prop_assert_eq!(g.installed(), 0);
        let ends = g.events.iter().filter(|e| matches!(e, Event::Failed(_) | Event::Closed(_))).count();
        prop_assert_eq!(ends, 1);
    }
}

/// The payloads of nearly valid bytes, as far as they go.
fn rebuild((first, bytes): (PayloadType, Vec<u8>)) -> Chain {
    let mut chain = Chain::new();
    for raw in crate::wire::payload::Payloads::new(first, &bytes).map_while(Result::ok) {
        if raw.kind != PayloadType::NONE {
            chain.push(raw.kind, raw.body);
        }
    }
    chain
}
