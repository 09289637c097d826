//! Packets that no good host sends, one by one: each has exactly one end, and it is the one that its fault asks for.

use sipsec_net::dp::{EspCipher, Op};
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::nat::NatRule;
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps, checksum};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{InsideMode, Packet};
use std::net::Ipv4Addr;

const FAST: Kbps = Kbps(10_000_000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);
const GLOBAL: Ipv4Addr = Ipv4Addr::new(10, 1, 255, 1);
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

fn pair(translates: bool) -> (Gateway, Gateway) {
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, FAST, &Keys::new(EspCipher::Aes128Gcm16, false));
    let prefix: IpPrefix = "2001:db8::/32".parse().expect("valid");
    let route =
        Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: sipsec_net::dp::Adjacency::Tunnel };
    a.apply(core::slice::from_ref(&route));
    b.apply(&[route]);
    if translates {
        let rule = NatRule::Overload {
            source: "10.1.0.0/17".parse().expect("valid"),
            destination: IpPrefix::ANY_V4,
            first: GLOBAL,
            last: GLOBAL,
            own_address: false,
        };
        a.apply(&[Op::NatRule { tunnel: Gateway::TUNNEL, rule }]);
    }
    (a, b)
}

/// The reasons that were counted, each as often as it was.
fn reasons(g: &Gateway) -> Vec<DropReason> {
    let count = |r: &DropReason| g.pipeline.drops()[r.index()] as usize;
    DropReason::ALL.iter().flat_map(|r| std::iter::repeat_n(*r, count(r))).collect()
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 0);
    (inner.protocol, inner.payload) = (protocol, payload.to_vec());
    inner.to_bytes()
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse().expect("valid");
    let mut inner = Inner::udp(address("2001:db8:1::9"), address("2001:db8:2::9"), 0);
    (inner.protocol, inner.payload) = (next, payload.to_vec());
    inner.to_bytes()
}

/// With bytes of the IPv4 header changed, and its checksum right.
fn patched(mut ip: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut ip);
    ip[10..12].fill(0);
    let check = checksum::finish(checksum::sum(&ip[..20], 0));
    ip[10..12].copy_from_slice(&check.to_be_bytes());
    ip
}

/// An ICMP error, unreachable port, that quotes so many bytes of a packet from the far side.
fn error_about(quoted: usize) -> Vec<u8> {
    let about = ipv4_udp(Side::B.host(), Side::A.host(), 100);
    let mut icmp = vec![3, 3, 0, 0, 0, 0, 0, 0];
    icmp.extend(&about[..quoted]);
    let check = checksum::finish(checksum::sum(&icmp, 0));
    icmp[2..4].copy_from_slice(&check.to_be_bytes());
    v4(ICMP, &icmp)
}

fn tcp(len: usize, offset: u8) -> Vec<u8> {
    let mut tcp =
        vec![0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, offset << 4, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 180];
    tcp.truncate(len);
    v4(TCP, &tcp)
}

type End = Result<(), DropReason>;
/// A packet, its end without translation, and with it.
type Case = (&'static str, Vec<u8>, End, End);

const PASSES: End = Ok(());

/// What becomes of a packet from the LAN, without translation and with it.
#[test]
fn inner_packets() {
    use DropReason::{MalformedIp, NatMalformed, NatNoTranslation, NatProtocol, NotUnicast, TooBigDf};
    let good = v4(UDP, &[0x13, 0x8c, 0x13, 0x8e, 0, 8, 0, 0]);
    let with = |change: fn(&mut [u8])| patched(good.clone(), change);
    let cut = |len: usize| good[..len].to_vec();
    let mut wrong_sum = good.clone();
    wrong_sum[10] ^= 1;
    let jumbo = v6(0, &[UDP, 0, 0xc2, 4, 0, 1, 0, 0, 0x13, 0x8c, 0x13, 0x8e, 0, 8, 0, 0]);
    let jumbo_without_length = [&jumbo[..4], &[0, 0], &jumbo[6..]].concat();
    let mut large = Inner::udp(Side::A.host().into(), Side::B.host().into(), 1439 - 28);
    large.dont_fragment = true;
    let cases: Vec<Case> = vec![
        ("UDP without data", good.clone(), PASSES, PASSES),
        ("UDP that says length 0", v4(UDP, &[0x13, 0x8c, 0x13, 0x8e, 0, 0, 0, 0]), PASSES, PASSES),
        ("UDP of three bytes", v4(UDP, &[0x13, 0x8c, 0x13]), PASSES, Err(NatMalformed)),
        ("no data at all", v4(UDP, &[]), PASSES, Err(NatMalformed)),
        ("version 5", with(|ip| ip[0] = 0x55), Err(MalformedIp), Err(MalformedIp)),
        ("a header of 16 bytes", with(|ip| ip[0] = 0x44), Err(MalformedIp), Err(MalformedIp)),
        ("a header longer than the packet", with(|ip| ip[0] = 0x4f), Err(MalformedIp), Err(MalformedIp)),
        ("a length beyond the frame", with(|ip| ip[3] = 200), Err(MalformedIp), Err(MalformedIp)),
        ("a length below the header", with(|ip| ip[3] = 19), Err(MalformedIp), Err(MalformedIp)),
        ("a wrong header checksum", wrong_sum, Err(MalformedIp), Err(MalformedIp)),
        ("cut in its header", cut(19), Err(MalformedIp), Err(MalformedIp)),
        ("TCP with data offset 0", tcp(24, 0), PASSES, PASSES),
        ("TCP with an offset beyond its end", tcp(24, 15), PASSES, PASSES),
        ("TCP of its ports alone", tcp(4, 5), PASSES, PASSES),
        ("TCP of three bytes", tcp(3, 5), PASSES, Err(NatMalformed)),
        ("an error that quotes nothing", error_about(0), PASSES, Err(NatMalformed)),
        ("an error that quotes half a header", error_about(10), PASSES, Err(NatMalformed)),
        ("an error about nothing that came in", error_about(28), PASSES, Err(NatNoTranslation)),
        ("ICMP of one byte", v4(ICMP, &[8]), PASSES, Err(NatMalformed)),
        ("GRE", v4(47, &[0; 8]), PASSES, Err(NatProtocol)),
        ("protocol 255", v4(255, &[0; 8]), PASSES, Err(NatProtocol)),
        ("from a group", with(|ip| ip[12] = 224), Err(NotUnicast), Err(NotUnicast)),
        ("from loopback", with(|ip| ip[12] = 127), Err(NotUnicast), Err(NotUnicast)),
        ("too large and not to be cut", large.to_bytes(), Err(TooBigDf), Err(TooBigDf)),
        ("IPv6 without a next header", v6(59, &[]), PASSES, PASSES),
        ("IPv6 UDP without a checksum", v6(UDP, &[0x13, 0x8c, 0x13, 0x8e, 0, 8, 0, 0]), PASSES, PASSES),
        ("a jumbogram's option with a length", jumbo, PASSES, PASSES),
        ("a jumbogram", jumbo_without_length, Err(MalformedIp), Err(MalformedIp)),
        (
            "IPv6 cut in an extension header",
            v6(0, &[UDP, 1, 0, 0, 0, 0, 0, 0]),
            Err(MalformedIp),
            Err(MalformedIp),
        ),
        ("IPv6 cut in its fragment header", v6(44, &[UDP, 0, 0]), Err(MalformedIp), Err(MalformedIp)),
        (
            "an atomic fragment",
            v6(44, &[UDP, 0, 0, 0, 0, 0, 0, 1, 0x13, 0x8c, 0x13, 0x8e, 0, 8, 0, 0]),
            PASSES,
            PASSES,
        ),
        (
            "a routing header",
            v6(43, &[UDP, 0, 4, 0, 0, 0, 0, 0, 0x13, 0x8c, 0x13, 0x8e, 0, 8, 0, 0]),
            PASSES,
            PASSES,
        ),
    ];
    for (what, ip, plain, translated) in cases {
        for (translates, expected) in [(false, plain), (true, translated)] {
            let (mut a, mut b) = pair(translates);
            a.lan(NOW, &ip);
            let sent = a.carry_to(NOW, &mut b);
            let end = match reasons(&a)[..] {
                [] => PASSES,
                [reason] => Err(reason),
                ref more => panic!("{what}: {more:?}"),
            };
            assert_eq!(end, expected, "{what}, translated: {translates}");
            assert_eq!((sent, b.out.inside.len()), (usize::from(end.is_ok()), sent), "{what}");
            assert!(reasons(&b).is_empty(), "{what}: {:?}", reasons(&b));
            let told = usize::from(end == Err(TooBigDf));
            assert_eq!(a.out.inside.len(), told, "{what}");
            if let (Some(came), false) = (b.out.inside.first(), translates) {
                let mut as_sent = ip.clone();
                if ip.len() == 44 && ip[9] == TCP {
                    // The MSS may be clamped.
                    as_sent.clone_from(&came.data()[14..].to_vec());
                }
                assert_eq!(came.data()[14..], as_sent, "{what}");
            }
        }
    }
}

/// RFC 1812 §5.3.1: the pipeline is the router.
#[test]
fn a_packet_at_its_last_hop_is_answered() {
    for ttl in [0, 1] {
        let (mut a, mut b) =
            Gateway::pair(InsideMode::Router, FAST, &Keys::new(EspCipher::Aes128Gcm16, false));
        a.lan(NOW, &patched(ipv4_udp(Side::A.host(), Side::B.host(), 100), |ip| ip[8] = ttl));
        assert_eq!((a.carry_to(NOW, &mut b), reasons(&a)), (0, vec![DropReason::TtlExpired]));
        let error = a.out.inside.pop().expect("time exceeded");
        assert_eq!((error.data()[14 + 9], error.data()[14 + 20]), (ICMP, 11));
    }
}

/// What becomes of a UDP payload, or of a whole packet, from the peer.
#[test]
fn outer_packets() {
    use DropReason::{
        EspMalformed, IkePuntFull, Keepalive, MalformedEncap, MalformedIp, MalformedUdp, UnknownSpi,
    };
    let esp = |spi: u32, len: usize| {
        let mut payload = spi.to_be_bytes().to_vec();
        payload.extend([0, 0, 0, 1]);
        payload.resize(len, 0xaa);
        payload
    };
    let payloads: Vec<(&str, Vec<u8>, DropReason)> = vec![
        ("SPI 1", esp(1, 60), UnknownSpi),
        ("SPI 255, reserved", esp(255, 60), UnknownSpi),
        ("SPI of all ones", esp(u32::MAX, 60), UnknownSpi),
        ("ESP of no data", esp(Side::B.spi(), 8), MalformedEncap),
        ("ESP without room for its ICV", esp(Side::B.spi(), 20), EspMalformed),
        ("ESP of an odd length", esp(Side::B.spi(), 57), EspMalformed),
        ("ESP with a tag that no key made", esp(Side::B.spi(), 56), DropReason::IcvFailed),
        ("a keepalive", vec![0xff], Keepalive),
        ("a keepalive of another byte", vec![0], MalformedEncap),
        ("nothing", vec![], MalformedEncap),
        ("the marker of IKE alone", vec![0; 4], MalformedEncap),
    ];
    let frame = |payload: &[u8]| {
        let (from, to) = (Side::A.media(), Side::B.media());
        let mut outer = Inner::udp(from.ip(), to.ip(), 0);
        outer.payload = from.port().to_be_bytes().to_vec();
        outer.payload.extend(to.port().to_be_bytes());
        outer.payload.extend((8 + payload.len() as u16).to_be_bytes());
        outer.payload.extend([0, 0]);
        outer.payload.extend(payload);
        [&[0; 12][..], &[8, 0], &outer.to_bytes()].concat()
    };
    let good = frame(&esp(Side::B.spi(), 56));
    let with = |change: fn(&mut [u8])| {
        let mut frame = good[..14].to_vec();
        frame.extend(patched(good[14..].to_vec(), change));
        frame
    };
    let mut frames: Vec<(&str, Vec<u8>, DropReason)> = vec![
        ("UDP that says length 0", with(|ip| ip[24..26].fill(0)), MalformedUdp),
        ("UDP that says length 7", with(|ip| ip[25] = 7), MalformedUdp),
        ("UDP longer than its packet", with(|ip| ip[25] = 200), MalformedUdp),
        ("TCP", with(|ip| ip[9] = TCP), MalformedUdp),
        ("version 6 in an IPv4 frame", with(|ip| ip[0] = 0x65), MalformedIp),
        ("an Ethernet header alone", good[..14].to_vec(), MalformedIp),
        ("half an Ethernet header", good[..7].to_vec(), DropReason::MalformedFrame),
        ("ARP", [&good[..12], &[8, 6], &good[14..]].concat(), DropReason::UnsupportedEtherType),
        ("from another port", with(|ip| ip[20] ^= 1), DropReason::WrongSource),
        ("from another address", with(|ip| ip[15] ^= 1), DropReason::WrongSource),
        ("to another port", with(|ip| ip[22] ^= 1), DropReason::MediaPortClosed),
        ("to another address", with(|ip| ip[19] ^= 1), DropReason::MediaPortClosed),
    ];
    frames.extend(payloads.into_iter().map(|(what, payload, reason)| (what, frame(&payload), reason)));
    for (what, frame, reason) in frames {
        let (_, mut b) = pair(false);
        b.wan(NOW, VecPacket::new(&frame));
        assert_eq!(reasons(&b), [reason], "{what}");
        assert!(b.out.inside.is_empty() && b.out.outside.is_empty() && b.out.punted.is_empty(), "{what}");
    }
    // The bound of IKE messages that come at once.
    let (_, mut b) = pair(false);
    let ike = frame(&[&[0; 4][..], &[7; 60]].concat());
    for _ in 0..1000 {
        b.wan(NOW, VecPacket::new(&ike));
    }
    let refused = reasons(&b);
    assert!(refused.iter().all(|r| *r == IkePuntFull) && refused.len() + b.out.punted.len() == 1000);
    let header = Ipv4Header::parse(&good[14..]).expect("the good one is");
    assert_eq!(header.protocol, UDP);
}
