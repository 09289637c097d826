//! What a router owes to packets that do not fit or have run out of hops, in both forms of the inside port.

use proptest::prelude::*;
use sipsec_net::dp::{Adjacency, Direction, EspCipher, Event, MediaBinding, Op, TunnelSpec};
use sipsec_net::ipv4::{self, Ipv4Header};
use sipsec_net::ipv6::Ipv6Header;
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps, MacAddr, SaId, TunnelId, checksum};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{DontFragment, InsideMode, Local, Packet, Pipeline};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const FAST: Kbps = Kbps(10_000_000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn pair(mode: InsideMode) -> (Gateway, Gateway) {
    Gateway::pair(mode, FAST, &Keys::new(EspCipher::Aes128Gcm16, false))
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

/// The only frame sent inside, without its Ethernet header.
fn inside(g: &mut Gateway) -> Vec<u8> {
    assert_eq!(g.out.inside.len(), 1);
    g.out.inside.pop().expect("one").data()[14..].to_vec()
}

/// An ICMP error about `original`, checked as its receiver would; type, code and the second word.
fn icmp_v4(packet: &[u8], original: &[u8]) -> (u8, u8, [u8; 4]) {
    let h = Ipv4Header::parse(packet).expect("an IPv4 packet");
    assert_eq!((h.protocol, usize::from(h.total_len)), (1, packet.len()));
    assert_eq!(h.destination.octets(), original[12..16], "to the sender");
    assert_eq!(checksum::finish(checksum::sum(&packet[20..], 0)), 0);
    assert!(packet.len() <= 576 && packet[28..].len() >= original.len().min(28));
    assert_eq!(packet[28..], original[..packet.len() - 28], "about its packet");
    (packet[20], packet[21], packet[24..28].try_into().expect("four"))
}

#[test]
fn too_big_with_df_is_told_to_the_sender_with_the_mtu_that_fits() {
    let (mut a, _) = pair(InsideMode::Host);
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 1411);
    inner.dont_fragment = true;
    let original = inner.to_bytes();
    a.lan(NOW, &original);
    let (kind, code, word) = icmp_v4(&inside(&mut a), &original);
    assert_eq!((kind, code, word), (3, 4, [0, 0, 0x05, 0x9e]), "1438 bytes");
    assert_eq!((drops(&a, DropReason::TooBigDf), a.out.outside.len()), (1, 0));
    // One byte fewer fits, exactly.
    inner.payload.pop();
    a.lan(NOW, &inner.to_bytes());
    assert_eq!(a.out.outside.pop().expect("sealed").data().len(), 14 + 1500);
}

#[test]
fn ipv6_is_told_too_and_never_cut() {
    let (mut a, _) = pair(InsideMode::Host);
    let prefix: IpPrefix = "2001:db8::/32".parse().expect("valid");
    a.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
    let addr = |s: &str| s.parse::<IpAddr>().expect("valid");
    let original = Inner::udp(addr("2001:db8:1::9"), addr("2001:db8:2::9"), 1439 - 48).to_bytes();
    a.lan(NOW, &original);
    let packet = inside(&mut a);
    let h = Ipv6Header::parse(&packet).expect("an IPv6 packet");
    assert_eq!((h.next_header, h.destination.octets()), (58, original[8..24].try_into().expect("16")));
    let sum = checksum::pseudo(h.source.into(), h.destination.into(), 58, h.payload_len);
    assert_eq!(checksum::finish(checksum::sum(&packet[40..], sum)), 0);
    assert_eq!(packet[40..48][..2], [2, 0]);
    assert_eq!(packet[44..48], [0, 0, 0x05, 0x9e]);
    assert_eq!(packet.len(), 1280);
    assert_eq!(packet[48..], original[..1280 - 48]);
}

#[test]
fn a_tunnel_that_the_wan_makes_too_small_for_ipv6_is_named() {
    // ESP ends at a multiple of four: 1344 bytes of the WAN leave 1282, one fewer 1278. Over IPv6, 20 more are needed.
    for (mtu, v6_outer, expected) in
        [(1344, false, None), (1343, false, Some(1278)), (1364, true, None), (1363, true, Some(1278))]
    {
        let mut config = Gateway::config(Side::A, InsideMode::Host);
        config.outside.mtu = mtu;
        let mut a = Gateway::with_config(Side::A, config);
        let prefix = "2001:db8:2::/48".parse().expect("valid");
        let mut binding = Gateway::binding(Side::A, FAST);
        if v6_outer {
            binding.outside_local = "[2001:db8::1]:50012".parse().expect("valid");
            binding.remote = "[2001:db8::2]:24825".parse().expect("valid");
        }
        a.apply(&[Op::MediaOpen(binding)]);
        a.apply(&Gateway::session(Side::A, &Keys::new(EspCipher::Aes128Gcm16, false)));
        assert_eq!(a.pipeline.registry().too_small_for_v6(Gateway::TUNNEL), None, "carries no IPv6");
        a.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
        assert_eq!(a.pipeline.registry().too_small_for_v6(Gateway::TUNNEL), expected, "{mtu}");
    }
}

#[test]
fn the_df_bit_outside_is_what_the_profile_says_and_ike_goes_without() {
    for (treatment, of_clear, of_set, of_v6) in [
        (DontFragment::Clear, false, false, false),
        (DontFragment::Set, true, true, true),
        (DontFragment::Copy, false, true, false),
    ] {
        let mut config = Gateway::config(Side::A, InsideMode::Host);
        config.outside.dont_fragment = treatment;
        let mut a = Gateway::with_config(Side::A, config);
        a.apply(&[Op::RouteAdd {
            prefix: IpPrefix::ANY_V6,
            tunnel: Gateway::TUNNEL,
            adjacency: Adjacency::Tunnel,
        }]);
        a.call(FAST, &Keys::new(EspCipher::Aes128Gcm16, false));
        let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 100);
        a.lan(NOW, &inner.to_bytes());
        inner.dont_fragment = true;
        a.lan(NOW, &inner.to_bytes());
        let addr = |text: &str| text.parse::<IpAddr>().expect("valid");
        a.lan(NOW, &Inner::udp(addr("2001:db8:1::9"), addr("2001:db8:2::9"), 100).to_bytes());
        a.pipeline.send_ike(NOW, Side::A.media_port(), Side::B.media(), &[7; 60], Some(VecPacket::new(&[])));
        a.poll(NOW + Duration::from_secs(1));
        // The header is parsed with its checksum.
        let df = |p: &VecPacket| Ipv4Header::parse(&p.data()[14..]).expect("an IPv4 packet").dont_fragment;
        let seen: Vec<bool> = a.out.outside.iter().map(df).collect();
        assert_eq!(seen, [of_clear, of_set, of_v6, false], "{treatment:?}");
    }
}

#[test]
fn no_error_about_an_error_and_not_more_than_the_limit() {
    let (mut a, _) = pair(InsideMode::Host);
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 1450);
    inner.dont_fragment = true;
    inner.protocol = 1;
    inner.payload[0] = 3;
    a.lan(NOW, &inner.to_bytes());
    assert!(a.out.inside.is_empty(), "about an ICMP error");
    inner.payload[0] = 8;
    a.lan(NOW, &inner.to_bytes());
    assert_eq!(a.out.inside.len(), 1, "about an echo");
    let max = Gateway::config(Side::A, InsideMode::Host).limits.icmp_errors_per_second_max as usize;
    for _ in 0..2 * max {
        a.lan(NOW, &inner.to_bytes());
    }
    assert_eq!(a.out.inside.len(), max);
    a.lan(NOW + Duration::from_secs(1), &inner.to_bytes());
    assert_eq!(a.out.inside.len(), max + 1);
    assert_eq!(drops(&a, DropReason::TooBigDf) as usize, 2 * max + 3, "told or not, it is counted");
}

/// What a host does with fragments.
fn reassemble(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut last = true;
    for f in fragments {
        let h = Ipv4Header::parse(f).expect("a valid fragment");
        assert_eq!(usize::from(h.fragment_offset) * 8, payload.len(), "in order, nothing missing");
        payload.extend_from_slice(&f[usize::from(h.header_len)..]);
        last = !h.more_fragments;
    }
    assert!(last);
    payload
}

proptest! {
    #[test]
    fn without_df_it_is_cut_and_the_far_host_puts_it_together(
        len in 1400usize..3400,
        mtu in 576u16..=1438,
        options in prop_oneof![Just(vec![]), Just(vec![0x94u8, 4, 0, 0]), Just(vec![1, 1, 7, 3, 4, 0x94, 4, 9, 9, 0, 0, 0])],
    ) {
        let mode = InsideMode::Host;
        let (mut a, mut b) = pair(mode);
        let tunnel = TunnelSpec { inner_mtu: mtu, ..Gateway::tunnel() };
        let keys = Keys::new(EspCipher::Aes128Gcm16, false);
        a.apply(&[
            Op::TunnelRemove(Gateway::TUNNEL),
            Op::TunnelAdd(tunnel),
            Op::RouteAdd { prefix: Side::B.lan(), tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
        ]);
        a.call(FAST, &keys);
        let mut original = ipv4_udp(Side::A.host(), Side::B.host(), len);
        let payload = original.split_off(20);
        original.extend_from_slice(&options);
        original.extend_from_slice(&payload);
        let total = original.len() as u16;
        original[0] = 0x40 | (5 + options.len() as u8 / 4);
        original[2..4].copy_from_slice(&total.to_be_bytes());
        original[10..12].fill(0);
        let check = checksum::finish(checksum::sum(&original[..20 + options.len()], 0));
        original[10..12].copy_from_slice(&check.to_be_bytes());
        a.lan(NOW, &original);
        a.carry_to(NOW, &mut b);
        let got: Vec<Vec<u8>> = b.out.inside.iter().map(|p| p.data()[14..].to_vec()).collect();
        if original.len() > usize::from(mtu) {
            prop_assert!(got.len() >= 2);
        }
        for f in &got {
            prop_assert!(f.len() <= usize::from(mtu));
        }
        // RFC 791: options are repeated only if they say so.
        let copied: Vec<u8> = options.iter().position(|b| *b == 0x94).map_or(vec![], |at| options[at..at + 4].to_vec());
        for f in got.iter().skip(1) {
            prop_assert_eq!(&f[20..usize::from(f[0] & 15) * 4], &copied[..]);
        }
        prop_assert_eq!(reassemble(&got), payload);
        prop_assert_eq!(a.pipeline.drops().iter().sum::<u64>(), 0);
    }
}

#[test]
fn fragments_wait_for_the_sa_like_packets_and_frames_may_run_out() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 3000));
    assert_eq!(a.pipeline.live().trigger_waiting, 3);
    a.out.frames.truncate(1);
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 3000));
    assert_eq!((drops(&a, DropReason::FrameExhausted), a.pipeline.live().trigger_waiting), (1, 3));
}

fn syn(mss: u16) -> Vec<u8> {
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 16);
    inner.protocol = 6;
    inner.payload = vec![0; 24];
    inner.payload[12] = 6 << 4;
    inner.payload[13] = 2;
    inner.payload[20..22].copy_from_slice(&[2, 4]);
    inner.payload[22..].copy_from_slice(&mss.to_be_bytes());
    let sum = checksum::pseudo(inner.source, inner.destination, 6, 24);
    let check = checksum::finish(checksum::sum(&inner.payload, sum));
    inner.payload[16..18].copy_from_slice(&check.to_be_bytes());
    inner.to_bytes()
}

#[test]
fn tcp_is_made_to_fit_in_both_directions_unless_told_not_to() {
    for (clamp_a, clamp_b, expected) in [(true, false, 1398), (false, true, 1398), (false, false, 1460)] {
        let keys = Keys::new(EspCipher::Aes128Gcm16, false);
        let [mut a, mut b] = [(Side::A, clamp_a), (Side::B, clamp_b)].map(|(side, mss_clamp)| {
            let mut g = Gateway::new(side, InsideMode::Host);
            g.apply(&[
                Op::TunnelRemove(Gateway::TUNNEL),
                Op::TunnelAdd(TunnelSpec { mss_clamp, ..Gateway::tunnel() }),
                Op::RouteAdd {
                    prefix: side.other().lan(),
                    tunnel: Gateway::TUNNEL,
                    adjacency: Adjacency::Tunnel,
                },
            ]);
            g.call(FAST, &keys);
            g
        });
        a.lan(NOW, &syn(1460));
        a.carry_to(NOW, &mut b);
        let got = inside(&mut b);
        assert_eq!(got[42..44], u16::to_be_bytes(expected));
        let pseudo = checksum::pseudo(Side::A.host().into(), Side::B.host().into(), 6, 24);
        assert_eq!(checksum::finish(checksum::sum(&got[20..], pseudo)), 0);
    }
}

#[test]
fn a_call_between_ipv6_addresses_leaves_less_room_in_both_directions() {
    let keys = Keys::new(EspCipher::Aes128Gcm16, false);
    let ends = ["[2001:db8::1]:50012", "[2001:db8::2]:24825"].map(|end| end.parse().expect("valid"));
    let [mut a, mut b] =
        [(Side::A, ends, true), (Side::B, [ends[1], ends[0]], false)].map(|(side, ends, first)| {
            let mut g = Gateway::new(side, InsideMode::Host);
            let [outside_local, remote] = ends;
            // The first only seals and the second only opens; each clamps by itself.
            let tunnel = TunnelSpec { mss_clamp: !first, ..Gateway::tunnel() };
            g.apply(&[
                Op::TunnelRemove(Gateway::TUNNEL),
                Op::TunnelAdd(tunnel),
                Op::RouteAdd {
                    prefix: side.other().lan(),
                    tunnel: Gateway::TUNNEL,
                    adjacency: Adjacency::Tunnel,
                },
                Op::MediaOpen(MediaBinding { outside_local, remote, ..Gateway::binding(side, FAST) }),
            ]);
            g.apply(&Gateway::session(side, &keys));
            g
        });
    a.lan(NOW, &syn(1460));
    a.carry_to(NOW, &mut b);
    assert_eq!(inside(&mut b)[42..44], u16::to_be_bytes(1378), "1418 less 40");
}

#[test]
fn hops_are_counted_by_whoever_forwards() {
    // The host's kernel forwards on both sides of the tunnel: a packet it lets through with TTL 1 is for the next hop.
    let (mut a, mut b) = pair(InsideMode::Host);
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 10);
    inner.ttl = 1;
    a.lan(NOW, &inner.to_bytes());
    a.carry_to(NOW, &mut b);
    assert_eq!(inside(&mut b), inner.to_bytes());

    let (mut a, mut b) = pair(InsideMode::Router);
    let original = inner.to_bytes();
    a.lan(NOW, &original);
    assert_eq!(icmp_v4(&inside(&mut a), &original), (11, 0, [0; 4]));
    // Enough for one router but not for two: the far one tells the sender, through the tunnel.
    inner.ttl = 2;
    a.lan(NOW, &inner.to_bytes());
    a.carry_to(NOW, &mut b);
    assert_eq!((drops(&b, DropReason::TtlExpired), b.out.inside.len()), (1, 0));
    b.carry_to(NOW, &mut a);
    inner.ttl = 1;
    assert_eq!(icmp_v4(&inside(&mut a), &inner.to_bytes()), (11, 0, [0; 4]));
    inner.ttl = 3;
    a.lan(NOW, &inner.to_bytes());
    a.carry_to(NOW, &mut b);
    inner.ttl = 1;
    assert_eq!(inside(&mut b), inner.to_bytes());
}

fn acquires(g: &Gateway) -> usize {
    g.out.events.iter().filter(|e| matches!(e, Event::Acquire { .. })).count()
}

#[test]
fn a_hub_passes_packets_from_tunnel_to_tunnel() {
    let (mut a, mut hub) = pair(InsideMode::Router);
    let next = TunnelId(9);
    let prefix: IpPrefix = "10.3.0.0/16".parse().expect("valid");
    hub.apply(&[
        Op::TunnelAdd(TunnelSpec { tunnel: next, ..Gateway::tunnel() }),
        Op::RouteAdd { prefix, tunnel: next, adjacency: Adjacency::Tunnel },
    ]);
    a.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
    a.lan(NOW, &ipv4_udp(Side::A.host(), Ipv4Addr::new(10, 3, 0, 1), 100));
    a.carry_to(NOW, &mut hub);
    assert!(hub.out.inside.is_empty());
    let waits = hub.pipeline.activity(next).expect("configured");
    assert_eq!((waits.trigger_queued, acquires(&hub)), (1, 1), "and asks for the second call");
}

#[test]
fn a_router_forwards_what_is_for_itself_or_its_virtual_router_and_leaves_others_theirs() {
    let (mut a, _) = pair(InsideMode::Router);
    let packet = ipv4_udp(Side::A.host(), Side::B.host(), 100);
    let own = Gateway::config(Side::A, InsideMode::Router).inside.mac;
    for mac in [own.0, [0, 0, 0x5e, 0, 1, 7], [0, 0, 0x5e, 0, 2, 255]] {
        a.lan_to(NOW, MacAddr(mac), &packet);
    }
    assert_eq!((a.out.outside.len(), drops(&a, DropReason::ForeignMac)), (3, 0));
    let next_router = Gateway::config(Side::A, InsideMode::Router).inside.next_hop;
    for mac in [next_router.0, [0xff; 6], [1, 0, 0x5e, 0, 0, 5], [0, 0, 0x5e, 0, 3, 7], [0; 6]] {
        a.lan_to(NOW, MacAddr(mac), &packet);
    }
    assert_eq!((a.out.outside.len(), drops(&a, DropReason::ForeignMac)), (3, 5));
    // The other end of the sVTI is the kernel's alone.
    let (mut a, _) = pair(InsideMode::Host);
    a.lan_to(NOW, next_router, &packet);
    assert_eq!(a.out.outside.len(), 1);
}

#[test]
fn a_peer_cannot_speak_for_the_network_behind_another_tunnel() {
    let prefix = |text: &str| text.parse::<IpPrefix>().expect("valid");
    let addr = |text: &str| text.parse::<IpAddr>().expect("valid");
    for mode in [InsideMode::Host, InsideMode::Router] {
        for (check_source, through) in [(true, 2), (false, 8)] {
            let (mut a, mut b) = pair(mode);
            a.apply(&[Op::RouteAdd {
                prefix: IpPrefix::ANY_V6,
                tunnel: Gateway::TUNNEL,
                adjacency: Adjacency::Tunnel,
            }]);
            let next = TunnelId(9);
            b.apply(&[
                Op::TunnelRemove(Gateway::TUNNEL),
                Op::TunnelAdd(TunnelSpec { check_source, ..Gateway::tunnel() }),
                Op::TunnelAdd(TunnelSpec { tunnel: next, ..Gateway::tunnel() }),
                Op::RouteAdd {
                    prefix: prefix("10.1.0.0/16"),
                    tunnel: Gateway::TUNNEL,
                    adjacency: Adjacency::Tunnel,
                },
                Op::RouteAdd {
                    prefix: prefix("2001:db8:1::/48"),
                    tunnel: Gateway::TUNNEL,
                    adjacency: Adjacency::Tunnel,
                },
                Op::RouteAdd { prefix: prefix("10.1.7.0/24"), tunnel: next, adjacency: Adjacency::Tunnel },
                Op::RouteAdd { prefix: prefix("10.3.0.0/16"), tunnel: next, adjacency: Adjacency::Tunnel },
                Op::RouteAdd {
                    prefix: prefix("2001:db8:3::/48"),
                    tunnel: next,
                    adjacency: Adjacency::Tunnel,
                },
            ]);
            b.call(FAST, &Keys::new(EspCipher::Aes128Gcm16, false));
            // Router mode: of the head-end itself, although a tunnel covers it.
            if mode == InsideMode::Router {
                let prefixes = vec![prefix("10.1.8.0/24")];
                b.pipeline.set_local(Local { prefixes, ..Local::default() });
            } else {
                b.apply(&[Op::RouteAdd {
                    prefix: prefix("10.1.8.0/24"),
                    tunnel: next,
                    adjacency: Adjacency::Tunnel,
                }]);
            }
            let (to_v4, to_v6) = (addr("10.2.0.9"), addr("2001:db8:2::9"));
            for (source, destination) in [
                ("10.1.0.9", to_v4),
                ("2001:db8:1::9", to_v6),
                // Another tunnel's: by itself, within ours, of IPv6; no tunnel's, of both families; the head-end's own.
                ("10.3.0.9", to_v4),
                ("10.1.7.9", to_v4),
                ("2001:db8:3::9", to_v6),
                ("192.0.2.99", to_v4),
                ("2001:db8:4::9", to_v6),
                ("10.1.8.1", to_v4),
            ] {
                a.lan(NOW, &Inner::udp(addr(source), destination, 100).to_bytes());
            }
            assert_eq!(a.carry_to(NOW, &mut b), 8);
            let activity = b.pipeline.activity(Gateway::TUNNEL).expect("configured");
            assert_eq!((b.out.inside.len() as u64, activity.packets_in), (through, through), "{mode:?}");
            assert_eq!(
                (drops(&b, DropReason::SourceNotRouted), activity.drops_in),
                (8 - through, 8 - through)
            );
        }
    }
}

#[test]
fn a_source_that_was_behind_the_tunnel_is_so_only_while_the_routes_say_so() {
    let (mut a, mut b) = pair(InsideMode::Router);
    let next = TunnelId(9);
    b.apply(&[Op::TunnelAdd(TunnelSpec { tunnel: next, ..Gateway::tunnel() })]);
    let prefix = IpPrefix::host(Side::A.host().into());
    let mut arrives = |b: &mut Gateway| {
        a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
        a.carry_to(NOW, b);
        b.out.inside.drain(..).count() == 1
    };
    assert!(arrives(&mut b) && arrives(&mut b));
    b.apply(&[Op::RouteAdd { prefix, tunnel: next, adjacency: Adjacency::Tunnel }]);
    assert!(!arrives(&mut b));
    b.apply(&[Op::RouteRemove { prefix }]);
    assert!(arrives(&mut b));
    b.pipeline.set_local(Local { prefixes: vec![prefix], ..Local::default() });
    assert!(!arrives(&mut b));
    b.pipeline.set_local(Local::default());
    assert!(arrives(&mut b));
    b.apply(&[Op::RouteRemove { prefix: Side::A.lan() }]);
    assert!(!arrives(&mut b));
    assert_eq!(drops(&b, DropReason::SourceNotRouted), 3);
}

/// A hub whose second tunnel, to 10.3.0.0/16, is in a call, too; A knows the way there.
fn hub_of_two_calls() -> (Gateway, Gateway) {
    let (mut a, mut hub) = pair(InsideMode::Router);
    let next = TunnelId(9);
    let prefix: IpPrefix = "10.3.0.0/16".parse().expect("valid");
    let mut outside_local = Side::B.media();
    outside_local.set_port(50_014);
    let binding = MediaBinding { tunnel: next, outside_local, ..Gateway::binding(Side::B, FAST) };
    let mut sa = Gateway::sa(Side::B, Direction::Out, &Keys::new(EspCipher::Aes128Gcm16, false));
    (sa.tunnel, sa.sa, sa.media_port) = (next, SaId(9), binding.media_port());
    hub.apply(&[
        Op::TunnelAdd(TunnelSpec { tunnel: next, ..Gateway::tunnel() }),
        Op::RouteAdd { prefix, tunnel: next, adjacency: Adjacency::Tunnel },
        Op::MediaOpen(binding),
        Op::SaAdd(sa),
        Op::TunnelBind { tunnel: next, outbound: SaId(9) },
    ]);
    a.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
    (a, hub)
}

#[test]
fn congestion_before_a_hub_is_told_after_it() {
    let (mut a, mut hub) = hub_of_two_calls();
    let mut inner = Inner::udp(Side::A.host().into(), [10, 3, 0, 1].into(), 100);
    // ECT(0); a router on the way marks the outer header.
    inner.class = 2;
    a.lan(NOW, &inner.to_bytes());
    let mut frame = a.out.outside.pop().expect("sealed").data().to_vec();
    assert_eq!(frame[15], 2);
    ipv4::set_byte(&mut frame[14..], 1, 3);
    hub.wan(NOW, VecPacket::new(&frame));
    assert_eq!(hub.out.outside.pop().expect("sealed again").data()[15], 3);
}

#[test]
fn two_calls_to_one_relay_share_no_identification() {
    let (_, mut hub) = hub_of_two_calls();
    let own = [10, 1, 0, 9].into();
    for to in [own, [10, 3, 0, 1].into(), own, [10, 3, 0, 1].into()] {
        hub.lan(NOW, &ipv4_udp(Side::B.host(), to, 100));
    }
    hub.pipeline.send_ike(NOW, Side::B.media_port(), Side::A.media(), &[7; 60], Some(VecPacket::new(&[])));
    hub.poll(NOW + Duration::from_secs(1));
    let header = |p: &VecPacket| Ipv4Header::parse(&p.data()[14..]).expect("an IPv4 packet");
    let headers: Vec<Ipv4Header> = hub.out.outside.iter().map(header).collect();
    assert!(headers.iter().all(|h| (h.source, h.destination) == (headers[0].source, headers[0].destination)));
    let mut ids: Vec<u16> = headers.iter().map(|h| h.identification).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[test]
fn what_is_not_between_two_hosts_stays_out_of_tunnels() {
    let (mut a, _) = pair(InsideMode::Host);
    a.apply(&[Op::RouteAdd {
        prefix: IpPrefix::ANY_V4,
        tunnel: Gateway::TUNNEL,
        adjacency: Adjacency::Tunnel,
    }]);
    for (from, to) in [
        ([10, 1, 0, 9], [224, 0, 0, 5]),
        ([10, 1, 0, 9], [255, 255, 255, 255]),
        ([10, 1, 0, 9], [127, 0, 0, 1]),
        ([0, 0, 0, 0], [10, 2, 0, 9]),
        ([224, 0, 0, 1], [10, 2, 0, 9]),
    ] {
        a.lan(NOW, &ipv4_udp(from.into(), to.into(), 60));
    }
    assert_eq!((drops(&a, DropReason::NotUnicast), a.out.outside.len()), (5, 0));
}

/// Both sides with a tunnel whose prefix covers their own LANs.
fn covering() -> (Gateway, Gateway) {
    let (mut a, mut b) = pair(InsideMode::Router);
    for g in [&mut a, &mut b] {
        let ten: IpPrefix = "10.0.0.0/8".parse().expect("valid");
        g.apply(&[
            Op::RouteRemove { prefix: g.side.other().lan() },
            Op::RouteAdd { prefix: ten, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
        ]);
    }
    (a, b)
}

#[test]
fn what_comes_out_of_a_tunnel_does_not_go_back_into_it() {
    let (mut a, mut b) = covering();
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    assert_eq!(a.carry_to(NOW, &mut b), 1);
    assert_eq!((b.out.inside.len(), b.out.outside.len()), (1, 0));
}

#[test]
fn the_hosts_own_prefixes_are_no_tunnels() {
    let (mut a, mut hub) = covering();
    let prefix = |text: &str| text.parse::<IpPrefix>().expect("valid");
    let own = "10.2.0.1".parse().expect("valid");
    hub.pipeline.set_local(Local {
        prefixes: vec![prefix("10.2.0.0/16"), prefix("10.2.0.1/32")],
        icmp_source_v4: Some(own),
        icmp_source_v6: None,
    });
    // Another branch whose prefix covers the hub's LAN as well, and a part of the LAN that is moved to it.
    let next = TunnelId(9);
    hub.apply(&[
        Op::TunnelAdd(TunnelSpec { tunnel: next, ..Gateway::tunnel() }),
        Op::RouteAdd { prefix: prefix("10.0.0.0/12"), tunnel: next, adjacency: Adjacency::Tunnel },
        Op::RouteAdd { prefix: prefix("10.2.9.0/24"), tunnel: next, adjacency: Adjacency::Tunnel },
        Op::RouteAdd { prefix: Side::A.lan(), tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
    ]);
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    a.carry_to(NOW, &mut hub);
    assert_eq!((hub.out.inside.len(), acquires(&hub)), (1, 0), "to the LAN, and no call");
    a.lan(NOW, &ipv4_udp(Side::A.host(), Ipv4Addr::new(10, 2, 9, 1), 100));
    a.carry_to(NOW, &mut hub);
    assert_eq!((hub.out.inside.len(), acquires(&hub)), (1, 1));
    // Should one for the host itself come this way, it asks for no call either.
    hub.lan(NOW, &ipv4_udp(Side::B.host(), own, 100));
    assert_eq!(drops(&hub, DropReason::NoRoute), 1);
    // Errors come from the host's own address.
    hub.out.inside.clear();
    let mut inner = Inner::udp(Side::B.host().into(), Side::A.host().into(), 100);
    inner.ttl = 1;
    hub.lan(NOW, &inner.to_bytes());
    assert_eq!(Ipv4Header::parse(&inside(&mut hub)).expect("an error").source, own);
}

#[test]
fn a_hub_tells_the_sender_behind_the_tunnel_what_is_too_big_for_the_next() {
    let (mut a, mut hub) = pair(InsideMode::Router);
    let next = TunnelId(9);
    let prefix: IpPrefix = "10.3.0.0/16".parse().expect("valid");
    hub.apply(&[
        Op::TunnelAdd(TunnelSpec { tunnel: next, inner_mtu: 1000, ..Gateway::tunnel() }),
        Op::RouteAdd { prefix, tunnel: next, adjacency: Adjacency::Tunnel },
    ]);
    a.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
    let mut inner = Inner::udp(Side::A.host().into(), [10, 3, 0, 1].into(), 1100);
    inner.dont_fragment = true;
    a.lan(NOW, &inner.to_bytes());
    a.carry_to(NOW, &mut hub);
    assert_eq!((drops(&hub, DropReason::TooBigDf), hub.out.inside.len()), (1, 0));
    assert_eq!(hub.carry_to(NOW, &mut a), 1);
    inner.ttl -= 2;
    let told = inside(&mut a);
    assert_eq!((told[9], told[20], told[21], &told[24..28]), (1, 3, 4, &[0, 0, 3, 0xe8][..]));
    assert_eq!(told[16..20], Side::A.host().octets());
}

/// A WAN whose MTU is lowered while a call is up (RFC 1191 at the tunnel's entry), and raised again.
#[test]
fn the_mtu_of_the_wan_may_change_during_a_call() {
    let (mut a, _) = pair(InsideMode::Host);
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 1410);
    inner.dont_fragment = true;
    let largest = |a: &mut Gateway| {
        let sent = a.out.outside.drain(..).map(|f| f.data().len() - 14).max();
        sent.unwrap_or(0)
    };
    for (wan, fits) in [(1500, true), (1280, false), (576, false), (9000, true), (1400, false), (1500, true)]
    {
        a.pipeline.set_outside_mtu(wan);
        let original = inner.to_bytes();
        a.lan(NOW, &original);
        if fits {
            assert_eq!(largest(&mut a), 1500, "never more than at build");
        } else {
            let (kind, code, word) = icmp_v4(&inside(&mut a), &original);
            let inner_mtu = u16::from_be_bytes([word[2], word[3]]);
            assert_eq!((kind, code), (3, 4), "WAN {wan}");
            assert!(inner_mtu < wan - 28);
            // Without DF it is cut to what fits.
            inner.dont_fragment = false;
            a.lan(NOW, &inner.to_bytes());
            inner.dont_fragment = true;
            let outer = largest(&mut a);
            assert!(outer <= usize::from(wan) && outer > usize::from(wan) - 40, "{outer} for {wan}");
        }
    }
    // What waited for its rate is cut when its turn comes.
    let slow = Kbps(64);
    let (mut a, _) = Gateway::pair(InsideMode::Host, slow, &Keys::new(EspCipher::Aes128Gcm16, false));
    inner.dont_fragment = false;
    for _ in 0..4 {
        a.lan(NOW, &inner.to_bytes());
    }
    largest(&mut a);
    a.pipeline.set_outside_mtu(1000);
    for s in 1..20 {
        a.poll(NOW + Duration::from_secs(s));
    }
    let outer = largest(&mut a);
    assert!(outer > 900 && outer <= 1000, "{outer}");
}

/// The worker may move a pipeline to its thread.
#[test]
fn a_pipeline_can_be_sent() {
    fn is_send<T: Send>() {}
    is_send::<Pipeline<VecPacket>>();
}

fn set(g: &mut Gateway, side: Side, adjacency: Adjacency) {
    g.apply(&[Op::RouteAdd { prefix: side.lan(), tunnel: Gateway::TUNNEL, adjacency }]);
}

fn to_b() -> Vec<u8> {
    Inner::udp(Side::A.host().into(), Side::B.host().into(), 100).to_bytes()
}

/// What was taken off the LAN just before its prefix was left to the kernel is carried by a tunnel that is up, and places no
/// call for one that is not.
#[test]
fn a_prefix_that_is_left_to_the_kernel_calls_nobody_and_loses_nothing_of_a_live_tunnel() {
    let (mut a, mut b) = pair(InsideMode::Router);
    set(&mut a, Side::B, Adjacency::Outside);
    a.lan(NOW, &to_b());
    let frame = a.out.outside.pop().expect("the tunnel is up");
    // The other end has failed over the other way round: our source is feasible all the same.
    set(&mut b, Side::A, Adjacency::Outside);
    b.wan(NOW, frame);
    assert_eq!((b.out.inside.len(), drops(&b, DropReason::SourceNotRouted)), (1, 0));
    a.apply(&[Op::TunnelUnbind(Gateway::TUNNEL)]);
    a.out.events.clear();
    a.lan(NOW, &to_b());
    assert_eq!((a.out.outside.len(), a.out.events.len(), drops(&a, DropReason::RoutedOutside)), (0, 0, 1));
    set(&mut a, Side::B, Adjacency::Tunnel);
    a.lan(NOW, &to_b());
    assert!(matches!(a.out.events[..], [Event::Acquire { .. }]), "{:?}", a.out.events);
}

#[test]
fn a_discarding_route_ends_a_packet_from_both_sides() {
    let (mut a, mut b) = pair(InsideMode::Router);
    set(&mut a, Side::B, Adjacency::Discard);
    a.lan(NOW, &to_b());
    assert_eq!((a.out.outside.len(), drops(&a, DropReason::RouteDiscards)), (0, 1));
    set(&mut a, Side::B, Adjacency::Tunnel);
    // From the tunnel to a prefix behind it that discards.
    let prefix = "10.9.0.0/16".parse().expect("valid");
    b.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Discard }]);
    let wide = "10.0.0.0/8".parse().expect("valid");
    a.apply(&[Op::RouteAdd { prefix: wide, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
    a.lan(NOW, &Inner::udp(Side::A.host().into(), Ipv4Addr::new(10, 9, 0, 1).into(), 10).to_bytes());
    let frame = a.out.outside.pop().expect("sealed");
    b.wan(NOW, frame);
    assert_eq!((b.out.inside.len(), drops(&b, DropReason::RouteDiscards)), (0, 1));
}
