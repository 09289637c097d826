//! Two gateways back to back: what goes in on one LAN comes out on the other, or is counted.

use proptest::prelude::*;
use sipsec_net::dp::{
    Adjacency, Direction, EspCipher, Event, ExpireCause, Op, OuterDscp, PeerSource, RejectReason,
    SELECTOR_BLOCKS_MAX, SELECTORS_MAX, Selector, Selectors,
};
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps, SaId, Spi};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{InsideMode, Packet};
use std::net::IpAddr;

const FAST: Kbps = Kbps(10_000_000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn keys() -> Keys {
    Keys::new(EspCipher::Aes256Gcm16, true)
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

fn all_drops(g: &Gateway) -> u64 {
    g.pipeline.drops().iter().sum()
}

/// While the peer's port is open, ESP whose ICV holds decides it, once; what is forged or replayed does not.
#[test]
fn esp_with_a_good_icv_proves_the_port_that_it_came_from() {
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &keys());
    let media_port = Side::B.media_port();
    b.apply(&[Op::PeerSource { media_port, source: PeerSource::Unproven }]);
    let mut sealed = |port: u8| {
        a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
        let mut frame = a.out.outside.pop().expect("sealed");
        frame.data_mut()[35] = port;
        frame
    };
    let mut forged = sealed(9);
    *forged.data_mut().last_mut().expect("not empty") ^= 1;
    b.wan(NOW, forged);
    assert_eq!((drops(&b, DropReason::IcvFailed), &b.out.events[..]), (1, &[][..]));
    let (first, second, third) = (sealed(1), sealed(2), sealed(1));
    let port = 0xc300 | 1;
    for frame in [first.clone(), second, third, first] {
        b.wan(NOW, frame);
    }
    assert_eq!(b.out.inside.len(), 2);
    assert_eq!((drops(&b, DropReason::WrongSource), drops(&b, DropReason::ReplayDuplicate)), (1, 1));
    let proven =
        b.out.events.iter().filter(|e| matches!(e, Event::PeerPortProven { .. })).collect::<Vec<_>>();
    assert_eq!(proven, [&Event::PeerPortProven { media_port, port }]);
}

/// RFC 7296 §2.8: what does not pass the integrity check says nothing about the peer; the first packet that does is reported,
/// and no other. Another SA is reported by itself.
#[test]
fn the_first_valid_packet_of_an_inbound_sa_is_reported_once() {
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &keys());
    let inner = ipv4_udp(Side::A.host(), Side::B.host(), 100);
    a.lan(NOW, &inner);
    let mut forged = a.out.outside[0].clone();
    *forged.data_mut().last_mut().expect("not empty") ^= 1;
    b.wan(NOW, forged);
    assert_eq!((drops(&b, DropReason::IcvFailed), &b.out.events[..]), (1, &[][..]));
    let first = a.out.outside[0].clone();
    for _ in 0..3 {
        a.lan(NOW, &inner);
    }
    a.carry_to(NOW, &mut b);
    b.wan(NOW, first);
    assert_eq!(b.out.inside.len(), 4);
    assert_eq!(b.out.events, [Event::SaFirstInbound { sa: Gateway::SA_IN }]);

    let rekeyed = Keys::new(EspCipher::Aes128Gcm16, true);
    let spec = |side, direction, sa| {
        let mut spec = Gateway::sa(side, direction, &rekeyed);
        (spec.sa, spec.spi) = (SaId(sa), Spi::new(0xabcd).expect("not reserved"));
        spec
    };
    b.apply(&[Op::SaAdd(spec(Side::B, Direction::In, 30))]);
    a.apply(&[
        Op::SaAdd(spec(Side::A, Direction::Out, 31)),
        Op::TunnelBind { tunnel: Gateway::TUNNEL, outbound: SaId(31) },
    ]);
    a.lan(NOW, &inner);
    a.lan(NOW, &inner);
    a.carry_to(NOW, &mut b);
    assert_eq!(b.out.events[1..], [Event::SaFirstInbound { sa: SaId(30) }]);
}

fn route_v6(g: &mut Gateway) {
    let prefix: IpPrefix = "2001:db8::/32".parse().expect("valid");
    g.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
}

proptest! {
    /// Any size, any family inside, IPv4 and IPv6 outside, any order and duplication on the way.
    #[test]
    fn everything_arrives_once_and_unchanged(
        sizes in prop::collection::vec(0usize..=1370, 1..40),
        v6_inner: bool,
        v6_outer: bool,
        esn: bool,
        order in any::<u64>(),
    ) {
        let keys = Keys::new(EspCipher::Aes128Gcm16, esn);
        let mut gateways = [Side::A, Side::B].map(|side| {
            let mut g = Gateway::new(side, InsideMode::Host);
            route_v6(&mut g);
            let mut binding = Gateway::binding(side, FAST);
            if v6_outer {
                let addr = |s: Side| format!("[2001:db8::{:x}]:{}", s.media_port().0, s.media_port()).parse();
                binding.outside_local = addr(side).expect("valid");
                binding.remote = addr(side.other()).expect("valid");
            }
            g.apply(&[Op::MediaOpen(binding)]);
            g.apply(&Gateway::session(side, &keys));
            g
        });
        let [a, b] = &mut gateways;
        let (from, to): (IpAddr, IpAddr) = if v6_inner {
            ("2001:db8:1::9".parse().expect("valid"), "2001:db8:2::9".parse().expect("valid"))
        } else {
            (Side::A.host().into(), Side::B.host().into())
        };
        let mut sent: Vec<Vec<u8>> =
            sizes.iter().zip(0u16..).map(|(n, id)| {
                let mut inner = Inner::udp(from, to, *n);
                inner.identification = id;
                inner.to_bytes()
            }).collect();
        for ip in &sent {
            a.lan(NOW, ip);
        }
        let mut frames = std::mem::take(&mut a.out.outside);
        prop_assert_eq!(frames.len(), sent.len());
        // Shuffled, and every third one twice.
        let mut seed = order;
        for i in (1..frames.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            frames.swap(i, (seed >> 33) as usize % (i + 1));
        }
        let again: Vec<VecPacket> = frames.iter().step_by(3).cloned().collect();
        let copies = again.len() as u64;
        for f in frames.into_iter().chain(again) {
            prop_assert!(!contains(f.data(), &sent[0][sent[0].len().min(40)..]), "in clear");
            b.wan(NOW, f);
        }
        prop_assert_eq!(drops(b, DropReason::ReplayDuplicate), copies);
        prop_assert_eq!(all_drops(b), copies);
        let mut got: Vec<Vec<u8>> = b.out.inside.iter().map(|p| p.data()[14..].to_vec()).collect();
        got.sort();
        sent.sort();
        prop_assert_eq!(got, sent);
    }

    /// Frames of a live call, damaged anywhere: nothing but the untouched inner packet ever comes out, and every frame has
    /// exactly one end.
    #[test]
    fn damaged_frames_have_one_end_and_deliver_nothing_else(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in 0usize..40,
        ike: bool,
        mode in prop_oneof![Just(InsideMode::Host), Just(InsideMode::Router)],
    ) {
        let (mut a, mut b) = Gateway::pair(mode, FAST, &keys());
        let inner = ipv4_udp(Side::A.host(), Side::B.host(), 100);
        if ike {
            a.pipeline.send_ike(NOW, Side::A.media_port(), Side::B.media(), &[7; 60], Some(VecPacket::new(&[])));
            a.poll(NOW);
        } else {
            a.lan(NOW, &inner);
        }
        let mut bytes = a.out.outside.pop().expect("sent").data().to_vec();
        for (at, flip) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(vec![0; tail]);
        b.wan(NOW, VecPacket::new(&bytes));
        let ends = all_drops(&b) as usize + b.out.inside.len() + b.out.punted.len();
        prop_assert_eq!(ends, 1);
        for p in &b.out.inside {
            let ttl_moved = if mode == InsideMode::Router { 2 } else { 0 };
            prop_assert_eq!(p.data()[14 + 8] + ttl_moved, inner[8]);
            prop_assert_eq!(&p.data()[14 + 12..], &inner[12..]);
        }
        prop_assert!(b.out.outside.is_empty());
    }

    /// Anything at all from either port.
    #[test]
    fn no_bytes_make_it_fall_over(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        ether_type in prop_oneof![Just(0x0800u16), Just(0x86dd), Just(0x0806), any::<u16>()],
        version in prop_oneof![Just(0x45u8), Just(0x60), Just(0x4f), any::<u8>()],
        mode in prop_oneof![Just(InsideMode::Host), Just(InsideMode::Router)],
        outside: bool,
    ) {
        let (mut a, _) = Gateway::pair(mode, FAST, &keys());
        route_v6(&mut a);
        let mut frame = bytes;
        if frame.len() > 34 {
            frame[12..14].copy_from_slice(&ether_type.to_be_bytes());
            frame[14] = version;
            // A header that passes, so that what is behind it is reached.
            if ether_type == 0x0800 {
                let total = (frame.len() - 14) as u16;
                frame[16..18].copy_from_slice(&total.to_be_bytes());
                frame[30..34].copy_from_slice(&Side::B.host().octets());
                let end = (14 + usize::from(version & 15) * 4).min(frame.len());
                frame[24..26].fill(0);
                let check = sipsec_net::checksum::finish(sipsec_net::checksum::sum(&frame[14..end], 0));
                frame[24..26].copy_from_slice(&check.to_be_bytes());
            } else if frame.len() > 54 {
                let len = (frame.len() - 54) as u16;
                frame[18..20].copy_from_slice(&len.to_be_bytes());
                frame[22..26].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
                frame[38..42].copy_from_slice(&[0x20, 1, 0x0d, 0xb8]);
            }
        }
        let packet = VecPacket::new(&frame);
        if outside {
            a.wan(NOW, packet);
        } else {
            a.pipeline.from_inside(NOW, packet, &mut a.out);
        }
        prop_assert_eq!(all_drops(&a) as usize + a.out.outside.len() + a.out.inside.len(), 1);
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.len() >= 8 && haystack.windows(needle.len()).any(|w| w == needle)
}

#[test]
fn a_peer_speaks_only_for_what_was_negotiated() {
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &keys());
    let host = |addr: std::net::Ipv4Addr| Selector {
        addr_start: addr.into(),
        addr_end: addr.into(),
        port_start: 5000,
        port_end: 5010,
        protocol: 17,
    };
    let only = Selectors {
        local: [Some(host(Side::B.host())), None, None, None],
        remote: [Some(host(Side::A.host())), None, None, None],
    };
    let mut inbound = Gateway::sa(Side::B, Direction::In, &keys());
    inbound.selectors = only;
    b.apply(&[Op::SaRemove(Gateway::SA_IN), Op::SaAdd(inbound)]);
    let good = ipv4_udp(Side::A.host(), Side::B.host(), 100);
    let mut port = good.clone();
    port[21] = 0xff;
    let mut source = Inner::udp([10, 1, 0, 66].into(), Side::B.host().into(), 9).to_bytes();
    let mut later = Inner::udp(Side::A.host().into(), Side::B.host().into(), 40).to_bytes();
    // A later fragment has no ports: only a selector of all ports covers it.
    later[6..8].copy_from_slice(&5u16.to_be_bytes());
    for ip in [&mut source, &mut later] {
        ip[10..12].fill(0);
        let check = sipsec_net::checksum::finish(sipsec_net::checksum::sum(&ip[..20], 0));
        ip[10..12].copy_from_slice(&check.to_be_bytes());
    }
    for ip in [&port, &source, &later, &good] {
        a.lan(NOW, ip);
    }
    a.carry_to(NOW, &mut b);
    assert_eq!(drops(&b, DropReason::SelectorMismatchIn), 3);
    assert_eq!(b.out.inside.len(), 1);
    assert_eq!(b.out.inside[0].data()[14..], good);
    // Outbound the same, before anything is sealed.
    let mut outbound = Gateway::sa(Side::A, Direction::Out, &keys());
    outbound.selectors = Selectors { local: only.remote, remote: only.local };
    a.apply(&[
        Op::SaRemove(Gateway::SA_OUT),
        Op::SaAdd(outbound),
        Op::TunnelBind { tunnel: Gateway::TUNNEL, outbound: Gateway::SA_OUT },
    ]);
    for ip in [&port, &source, &later, &good] {
        a.lan(NOW, ip);
    }
    assert_eq!((drops(&a, DropReason::SelectorMismatchOut), a.out.outside.len()), (3, 1));
}

/// RFC 4301 §5.2: exactly the ranges of a long list, whose blocks come in one transaction.
#[test]
fn an_sa_of_many_ranges_admits_exactly_those() {
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &keys());
    let host = |addr: std::net::Ipv4Addr| Selector {
        addr_start: addr.into(),
        addr_end: addr.into(),
        ..Selector::ANY_V4
    };
    let every = |n: u8| host([10, 9, n, 1].into());
    let mut remote: Vec<_> = (0..SELECTORS_MAX as u8 - 1).map(every).collect();
    remote.push(host(Side::A.host()));
    let local = [host(Side::B.host())];
    let mut inbound = Gateway::sa(Side::B, Direction::In, &keys());
    let mut blocks = Selectors::blocks(&local, &remote);
    inbound.selectors = blocks.next().expect("at least one");
    let more = blocks.map(|more| Op::SaSelectors { sa: Gateway::SA_IN, more });
    let mut ops = vec![Op::SaRemove(Gateway::SA_IN), Op::SaAdd(inbound)];
    ops.extend(more);
    assert_eq!(ops.len(), 1 + SELECTOR_BLOCKS_MAX);
    b.apply(&ops);
    let good = ipv4_udp(Side::A.host(), Side::B.host(), 100);
    let other = Inner::udp([10, 1, 0, 66].into(), Side::B.host().into(), 9).to_bytes();
    a.lan(NOW, &good);
    a.lan(NOW, &other);
    a.carry_to(NOW, &mut b);
    assert_eq!((drops(&b, DropReason::SelectorMismatchIn), b.out.inside.len()), (1, 1));
    // One block too many, and blocks of an SA that is not made here.
    let block = Op::SaSelectors { sa: Gateway::SA_IN, more: Selectors::ANY_V4 };
    let mut too_many = ops.clone();
    too_many.push(block.clone());
    let refused = |b: &mut Gateway, ops: &[Op]| b.pipeline.apply(NOW, ops);
    assert_eq!(refused(&mut b, &too_many), Err((too_many.len() as u16 - 1, RejectReason::TableFull)));
    assert_eq!(refused(&mut b, &[block]), Err((0, RejectReason::UnknownSa)));
}

#[test]
fn spis_belong_to_their_port_and_directions_are_not_mixed_up() {
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &keys());
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    let sealed = a.out.outside.pop().expect("sealed");
    // Reflected to its sender (addresses swapped, as an attacker on the path would): its own SPI is not inbound there.
    let mut reflected = sealed.data().to_vec();
    reflected[26..34].rotate_left(4);
    reflected[34..38].rotate_left(2);
    a.wan(NOW, VecPacket::new(&reflected));
    assert_eq!(drops(&a, DropReason::UnknownSpi), 1);
    // After the call: the port is closed.
    b.apply(&[Op::MediaClose(Side::B.media_port())]);
    b.wan(NOW, sealed);
    assert_eq!(drops(&b, DropReason::MediaPortClosed), 1);
    assert_eq!(b.pipeline.live().sas, 0);
}

#[test]
fn congestion_marks_cross_the_tunnel_both_ways_and_dscp_as_told() {
    for (dscp, outer) in [(OuterDscp::CopyInner, 0xb8), (OuterDscp::Fixed(8), 0x20)] {
        let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &keys());
        let mut binding = Gateway::binding(Side::A, FAST);
        binding.outer_dscp = dscp;
        a.apply(&[Op::MediaClose(Side::A.media_port()), Op::MediaOpen(binding)]);
        a.apply(&Gateway::session(Side::A, &keys()));
        for ecn in 0..4 {
            let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 10);
            inner.class = 0xb8 | ecn;
            a.lan(NOW, &inner.to_bytes());
            let mut frame = a.out.outside.pop().expect("sealed").data().to_vec();
            assert_eq!(frame[15], outer | ecn);
            // A router on the way is congested.
            sipsec_net::ipv4::set_byte(&mut frame[14..], 1, outer | 3);
            b.wan(NOW, VecPacket::new(&frame));
            match b.out.inside.pop() {
                Some(p) => {
                    inner.class = 0xb8 | 3;
                    assert_eq!(p.data()[14..], inner.to_bytes(), "marked, and the checksum holds");
                }
                None => assert_eq!((ecn, drops(&b, DropReason::EcnIllegal)), (0, 1)),
            }
        }
    }
}

#[test]
fn limits_of_an_sa_are_reported_once_each_and_the_hard_one_stops_it() {
    let keys = keys();
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let mut out = Gateway::sa(Side::A, Direction::Out, &keys);
    out.soft_bytes_max = 300;
    out.hard_bytes_max = 700;
    a.apply(&[
        Op::MediaOpen(Gateway::binding(Side::A, FAST)),
        Op::SaAdd(out),
        Op::TunnelBind { tunnel: Gateway::TUNNEL, outbound: Gateway::SA_OUT },
    ]);
    // 100 bytes inside are 136 of ESP.
    for _ in 0..10 {
        a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    }
    assert_eq!((a.out.outside.len(), drops(&a, DropReason::SaHardExpired)), (6, 4));
    let expire = |hard| Event::SaExpire { sa: Gateway::SA_OUT, cause: ExpireCause::Bytes, hard };
    assert_eq!(a.out.events, [expire(false), expire(true)]);
}

#[test]
fn a_rekey_loses_nothing() {
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &keys());
    let fresh = Keys::new(EspCipher::Aes128Gcm16, false);
    let mut new_in = Gateway::sa(Side::B, Direction::In, &fresh);
    let mut new_out = Gateway::sa(Side::A, Direction::Out, &fresh);
    for sa in [&mut new_in, &mut new_out] {
        sa.sa.0 += 100;
        sa.spi = sipsec_net::Spi::new(0xd000_0000).expect("not reserved");
    }
    let send = |a: &mut Gateway| a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    send(&mut a);
    b.apply(&[Op::SaAdd(new_in)]);
    send(&mut a);
    let outbound = new_out.sa;
    a.apply(&[Op::SaAdd(new_out), Op::TunnelBind { tunnel: Gateway::TUNNEL, outbound }]);
    send(&mut a);
    a.apply(&[Op::SaRemove(Gateway::SA_OUT)]);
    send(&mut a);
    // Old and new, in any order on the way.
    a.out.outside.reverse();
    assert_eq!(a.carry_to(NOW, &mut b), 4);
    assert_eq!((b.out.inside.len(), all_drops(&a), all_drops(&b)), (4, 0, 0));
    let activity = b.pipeline.activity(Gateway::TUNNEL).expect("configured");
    assert_eq!(
        (activity.packets_in, activity.bytes_in, activity.last_in, activity.last_data()),
        (4, 400, NOW, NOW)
    );
}

#[test]
fn only_what_the_peer_has_sealed_counts_against_a_limit() {
    let mut b = Gateway::new(Side::B, InsideMode::Host);
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.call(FAST, &keys());
    let mut inbound = Gateway::sa(Side::B, Direction::In, &keys());
    inbound.hard_bytes_max = 200;
    b.apply(&[Op::MediaOpen(Gateway::binding(Side::B, FAST)), Op::SaAdd(inbound)]);
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    let good = a.out.outside.pop().expect("sealed").data().to_vec();
    // One byte short, with lengths to match: no ESP at all.
    let mut short = good[..good.len() - 1].to_vec();
    let total = (short.len() - 14) as u16;
    short[16..18].copy_from_slice(&total.to_be_bytes());
    short[38..40].copy_from_slice(&(total - 20).to_be_bytes());
    short[24..26].fill(0);
    let check = sipsec_net::checksum::finish(sipsec_net::checksum::sum(&short[14..34], 0));
    short[24..26].copy_from_slice(&check.to_be_bytes());
    for _ in 0..10 {
        b.wan(NOW, VecPacket::new(&short));
    }
    assert_eq!((drops(&b, DropReason::EspMalformed), b.out.events.len()), (10, 0));
    b.wan(NOW, VecPacket::new(&good));
    assert_eq!(b.out.inside.len(), 1);
}

#[test]
fn a_batch_over_many_tunnels_takes_each_packet_its_own_way() {
    const TUNNELS: u16 = 300;
    let keys = Keys::new(EspCipher::Aes128Gcm16, false);
    let engine = || Box::new(sipsec_pipeline::testing::TestEngine);
    let [mut a, mut b] =
        [Side::A, Side::B].map(|side| Gateway::with_tunnels(side, TUNNELS, FAST, &keys, engine()));
    // Twice each, neighbours far apart.
    let packets: Vec<Vec<u8>> = (0..2 * TUNNELS)
        .map(|i| ipv4_udp(Side::A.host_of(i * 7 % TUNNELS), Side::B.host_of(i * 7 % TUNNELS), 60))
        .collect();
    a.lan_batch(NOW, &packets);
    let frames = std::mem::take(&mut a.out.outside);
    let ports: Vec<u16> = frames.iter().map(|f| u16::from_be_bytes([f.data()[36], f.data()[37]])).collect();
    let expected: Vec<u16> = (0..2 * TUNNELS).map(|i| Gateway::FIRST_PORT + i * 7 % TUNNELS).collect();
    assert_eq!(ports, expected);
    b.pipeline.batch_from_outside(NOW, frames, &mut b.out);
    let got: Vec<Vec<u8>> = b.out.inside.iter().map(|p| p.data()[14..].to_vec()).collect();
    assert_eq!(got, packets);
    assert_eq!((all_drops(&a), all_drops(&b)), (0, 0));
}
