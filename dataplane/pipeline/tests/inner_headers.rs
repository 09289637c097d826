//! Inner packets with headers that few hosts send: nothing of them is changed that must not be, and none is lost over a header
//! that this node need not understand.

use sipsec_net::dp::{Adjacency, Direction, EspCipher, Op, Selector};
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{InsideMode, Packet};

const FAST: Kbps = Kbps(10_000_000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);
const TCP: u8 = 6;
const AH: u8 = 51;

fn keys() -> Keys {
    Keys::new(EspCipher::Aes128Gcm16, false)
}

/// Two gateways in a call, with an IPv6 route each.
fn pair() -> (Gateway, Gateway) {
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &keys());
    let prefix: IpPrefix = "2001:db8::/32".parse().expect("valid");
    for g in [&mut a, &mut b] {
        g.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
    }
    (a, b)
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

/// What B's LAN gets of a packet from A's, and which end it had otherwise.
fn through(a: &mut Gateway, b: &mut Gateway, ip: &[u8]) -> Vec<Vec<u8>> {
    a.lan(NOW, ip);
    a.carry_to(NOW, b);
    std::mem::take(&mut b.out.inside).iter().map(|p| p.data()[14..].to_vec()).collect()
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let addr = |text: &str| text.parse().expect("valid");
    let mut inner = Inner::udp(addr("2001:db8:1::9"), addr("2001:db8:2::9"), 0);
    inner.protocol = next;
    inner.payload = payload.to_vec();
    inner.to_bytes()
}

/// A SYN with an MSS of 1460, which no tunnel has room for.
fn syn() -> Vec<u8> {
    let mut tcp = vec![0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0];
    tcp.extend([2, 4, 0x05, 0xb4]);
    tcp
}

/// AH with an ICV of 12 bytes.
fn behind_ah(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut ah = vec![next, 4, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1];
    ah.extend([0xaa; 12]);
    ah.extend_from_slice(payload);
    ah
}

/// RFC 4302 §3.3.3.1: everything behind AH is under its ICV.
#[test]
fn what_ah_protects_is_not_touched() {
    let (mut a, mut b) = pair();
    // The same SYN without AH is clamped: the test can see a change.
    let plain = v6(TCP, &syn());
    let got = through(&mut a, &mut b, &plain);
    assert_eq!(got.len(), 1);
    assert_ne!(got[0], plain);
    let destination_options = [AH, 0, 1, 4, 0, 0, 0, 0];
    let mut v4 = Inner::udp(Side::A.host().into(), Side::B.host().into(), 0);
    (v4.protocol, v4.payload) = (AH, behind_ah(TCP, &syn()));
    for (what, ip) in [
        ("IPv6", v6(AH, &behind_ah(TCP, &syn()))),
        (
            "IPv6 behind destination options",
            v6(60, &[&destination_options[..], &behind_ah(TCP, &syn())].concat()),
        ),
        (
            "IPv6 with a hop-by-hop header behind AH",
            v6(AH, &behind_ah(0, &[&[TCP, 0, 1, 4, 0, 0, 0, 0][..], &syn()].concat())),
        ),
        ("IPv4", v4.to_bytes()),
    ] {
        assert_eq!(through(&mut a, &mut b, &ip), [ip], "{what}");
    }
}

/// RFC 4301 §4.4.1.1: AH is a next layer protocol of its own.
#[test]
fn a_selector_of_tcp_does_not_cover_tcp_behind_ah() {
    let (mut a, mut b) = pair();
    let tcp = Selector { protocol: TCP, ..Selector::ANY_V6 };
    let mut out = Gateway::sa(Side::A, Direction::Out, &keys());
    out.selectors.remote = [Some(tcp), None, None, None];
    a.apply(&[
        Op::SaRemove(Gateway::SA_OUT),
        Op::SaAdd(out),
        Op::TunnelBind { tunnel: Gateway::TUNNEL, outbound: Gateway::SA_OUT },
    ]);
    assert_eq!(through(&mut a, &mut b, &v6(TCP, &syn())).len(), 1);
    assert!(through(&mut a, &mut b, &v6(AH, &behind_ah(TCP, &syn()))).is_empty());
    assert_eq!(drops(&a, DropReason::SelectorMismatchOut), 1);
}

fn destination_options(count: usize, last: u8, payload: &[u8]) -> Vec<u8> {
    let mut chain = Vec::new();
    for i in 1..=count {
        chain.extend([if i == count { last } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
    }
    chain.extend_from_slice(payload);
    v6(60, &chain)
}

/// RFC 8200 §4: extension headers are not processed on the way. RFC 4301 §4.4.1.1: what is not found is OPAQUE, which ANY covers
/// and nothing else does.
#[test]
fn any_number_of_extension_headers_passes_a_selector_of_everything() {
    let (mut a, mut b) = pair();
    let udp = [0x13, 0x8c, 0x13, 0x8e, 0, 8, 0, 0];
    for count in [1, 7, 8, 9, 10, 100] {
        let ip = destination_options(count, 17, &udp);
        assert_eq!(through(&mut a, &mut b, &ip), [ip], "{count} headers");
        // Not a byte of it is changed, also if it were a SYN.
        let ip = destination_options(count.max(8), TCP, &syn());
        assert_eq!(through(&mut a, &mut b, &ip), [ip], "{count} headers before a SYN");
    }
    for (what, ip) in [
        ("mobility", v6(135, &[59, 0, 0, 0, 0, 0, 0, 0])),
        ("no next header", v6(59, &[])),
        ("ESP", v6(50, &[0, 0, 1, 1, 0, 0, 0, 1])),
    ] {
        assert_eq!(through(&mut a, &mut b, &ip), [ip], "{what}");
    }
    // A header that says it is longer than the packet is no header.
    assert!(through(&mut a, &mut b, &v6(60, &[17, 200, 1, 4, 0, 0, 0, 0])).is_empty());
    assert_eq!(drops(&a, DropReason::MalformedIp), 1);

    let (mut a, mut b) = pair();
    let mut out = Gateway::sa(Side::A, Direction::Out, &keys());
    let udp_only = Selector { protocol: 17, ..Selector::ANY_V6 };
    out.selectors.remote = [Some(udp_only), None, None, None];
    a.apply(&[
        Op::SaRemove(Gateway::SA_OUT),
        Op::SaAdd(out),
        Op::TunnelBind { tunnel: Gateway::TUNNEL, outbound: Gateway::SA_OUT },
    ]);
    assert_eq!(through(&mut a, &mut b, &destination_options(3, 17, &udp)).len(), 1);
    assert!(through(&mut a, &mut b, &destination_options(9, 17, &udp)).is_empty());
    assert_eq!(drops(&a, DropReason::SelectorMismatchOut), 1);
}

/// RFC 4443 §2.4 (e): an error about an ICMP error is never sent, so none is about a packet that may be one.
#[test]
fn no_icmp_error_about_a_packet_whose_upper_layer_is_not_known() {
    let (mut a, mut b) = pair();
    for (count, told) in [(8, 0), (3, 1)] {
        let ip = destination_options(count, 17, &[0; 1500]);
        assert!(through(&mut a, &mut b, &ip).is_empty());
        assert_eq!(a.out.inside.len(), told, "{count} headers");
    }
    assert_eq!(drops(&a, DropReason::TooBigDf), 2);
}

fn v4_fragment(flags_and_offset: u16, payload: &[u8]) -> Vec<u8> {
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 0);
    inner.payload = payload.to_vec();
    let mut ip = inner.to_bytes();
    let header = Ipv4Header::parse(&ip).expect("valid");
    let header = Ipv4Header {
        more_fragments: flags_and_offset & 0x2000 != 0,
        fragment_offset: flags_and_offset & 0x1fff,
        ..header
    };
    ip[..20].copy_from_slice(&header.to_bytes());
    ip
}

/// RFC 791 §3.1: a datagram has at most 65,535 bytes. A fragment that ends beyond is part of none, and must not become a part of
/// another one when it is cut.
#[test]
fn a_fragment_that_ends_beyond_the_longest_datagram_goes_nowhere() {
    let data = [0x41; 1472];
    for offset in [0x1fff, 0x1ff0, 0x1fa0, 0x1f46] {
        for more in [0, 0x2000] {
            let (mut a, mut b) = pair();
            assert!(through(&mut a, &mut b, &v4_fragment(offset | more, &data)).is_empty(), "{offset:#x}");
            assert_eq!(drops(&a, DropReason::MalformedIp), 1, "{offset:#x}");
        }
    }
    // The last that is one is cut, and its parts are where they belong.
    let (mut a, mut b) = pair();
    let last = 0x1f45;
    let parts = through(&mut a, &mut b, &v4_fragment(last, &data));
    let headers: Vec<_> = parts.iter().map(|p| Ipv4Header::parse(p).expect("valid")).collect();
    let ends: Vec<_> = headers.iter().map(|h| (h.fragment_offset, h.more_fragments)).collect();
    assert_eq!(ends, [(last, true), (last + 1416 / 8, false)]);
}

/// IEEE 802.1Q §6.9: a priority-tagged frame is an untagged one, from either side.
#[test]
fn priority_tags_are_looked_through_and_vlans_are_not() {
    let good = ipv4_udp(Side::A.host(), Side::B.host(), 100);
    let with_tags = |frame: &[u8], tags: &[u8]| {
        let mut frame = frame.to_vec();
        frame.splice(12..12, tags.iter().copied());
        VecPacket::new(&frame)
    };
    let (priority, vlan) = ([0x81, 0, 0x60, 0], [0x81, 0, 0x60, 5]);
    for (tags, passes) in [
        (&priority[..], true),
        (&[[0x88, 0xa8, 0x60, 0], priority].concat()[..], true),
        (&vlan[..], false),
        (&[priority, vlan].concat()[..], false),
    ] {
        let (mut a, mut b) = pair();
        a.lan(NOW, &good);
        let sealed = a.out.outside.pop().expect("sealed").data().to_vec();
        b.wan(NOW, with_tags(&sealed, tags));
        assert_eq!(b.out.inside.len(), usize::from(passes), "WAN {tags:02x?}");
        assert_eq!(drops(&b, DropReason::UnsupportedEtherType), u64::from(!passes));

        let mut frame = Gateway::config(Side::A, InsideMode::Host).inside.mac.0.to_vec();
        frame.extend([0; 6]);
        frame.extend([8, 0]);
        frame.extend_from_slice(&good);
        a.pipeline.from_inside(NOW, with_tags(&frame, tags), &mut a.out);
        assert_eq!(a.out.outside.len(), usize::from(passes), "LAN {tags:02x?}");
    }
}
