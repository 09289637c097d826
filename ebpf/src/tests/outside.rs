use super::fixtures::{LOCAL_V4, LOCAL_V6, PEER_V4, PEER_V6, TCP, UDP, V4, eth, tagged, udp, v6, with_tag};
use super::*;
use sipsec_abi::bpf::PROG_OUTSIDE;
use sipsec_net::{MediaPort, TunnelId};
use std::net::{IpAddr, SocketAddr};

const PORT: u16 = 50_001;

/// VID 0, PCP 3.
const PRIORITY: [u8; 4] = [0x81, 0, 0x60, 0];

fn peer_of(local: SocketAddr) -> IpAddr {
    if local.is_ipv4() { PEER_V4.into() } else { PEER_V6.into() }
}

fn rig_with_open_port() -> Option<Rig> {
    let mut rig = Rig::new(true)?;
    for local in [SocketAddr::from((LOCAL_V4, PORT)), SocketAddr::from((LOCAL_V6, PORT + 1))] {
        rig.steering.media_port_open(local, peer_of(local), TunnelId(7)).expect("opens");
    }
    Some(rig)
}

#[test]
fn udp_to_a_live_media_port_goes_to_the_socket() {
    let Some(mut rig) = rig_with_open_port() else { return };
    let plain = V4::udp(LOCAL_V4, PORT);
    // RFC 791 §3.1: options move the UDP header; four bytes and the most there can be.
    let router_alert = V4 { options: vec![0x94, 4, 0, 0], ..plain.clone() };
    let all_options = V4 { options: vec![1; 40], ..plain.clone() };
    let dont_fragment = V4 { fragment: 0x4000, ..plain.clone() };
    for frame in [
        plain.frame(),
        router_alert.frame(),
        all_options.frame(),
        dont_fragment.frame(),
        v6(UDP, LOCAL_V6, &udp(PORT + 1)),
        // RFC 6946: atomic.
        v6_fragment(UDP, 0, 9, &udp(PORT + 1)),
        // IEEE 802.1Q §6.9: a priority tag leaves the frame untagged.
        with_tag(&plain.frame(), PRIORITY),
        with_tag(&with_tag(&all_options.frame(), PRIORITY), [0x88, 0xa8, 0xf0, 0]),
        with_tag(&v6(UDP, LOCAL_V6, &udp(PORT + 1)), PRIORITY),
    ] {
        assert_eq!(rig.run(PROG_OUTSIDE, &frame), (XDP_REDIRECT, Counter::OutsideRedirect), "{frame:02x?}");
    }
}

#[test]
fn everything_else_is_the_kernels() {
    let Some(mut rig) = rig_with_open_port() else { return };
    let plain = V4::udp(LOCAL_V4, PORT);
    for (what, frame) in [
        ("SIP", V4::udp(LOCAL_V4, 5060).frame()),
        ("a closed port", V4::udp(LOCAL_V4, PORT + 1).frame()),
        ("the port of the other family", v6(UDP, LOCAL_V6, &udp(PORT))),
        ("the same port of an address that is not ours", V4::udp(PEER_V4, PORT).frame()),
        ("TCP to the same port", V4 { protocol: TCP, ..plain.clone() }.frame()),
        ("IPv6 TCP to the same port", v6(TCP, LOCAL_V6, &udp(PORT + 1))),
        ("IPv6 with a destination options header", v6(60, LOCAL_V6, &udp(PORT + 1))),
        ("an atomic IPv6 fragment of TCP", v6_fragment(TCP, 0, 1, &udp(PORT + 1))),
        ("an atomic IPv6 fragment for SIP", v6_fragment(UDP, 0, 1, &udp(5060))),
        ("ARP", eth(0x0806, &[0; 46])),
        ("802.1Q", tagged(&plain.frame())),
        ("802.1ad", with_tag(&plain.frame(), [0x88, 0xa8, 0, 7])),
        ("a VLAN inside a priority tag", with_tag(&tagged(&plain.frame()), PRIORITY)),
        ("a priority tag inside a VLAN", tagged(&with_tag(&plain.frame(), PRIORITY))),
        ("three priority tags", (0..3).fold(plain.frame(), |f, _| with_tag(&f, PRIORITY))),
        ("a VID in the upper bits only", with_tag(&plain.frame(), [0x81, 0, 0x61, 0])),
        ("an IPv4 ethertype with another version", eth(0x0800, &[0x65; 60])),
        ("an IPv6 ethertype with another version", eth(0x86dd, &[0x45; 60])),
        ("IHL below five", eth(0x0800, &[&[0x44][..], &plain.packet()[1..]].concat())),
    ] {
        assert_eq!(rig.run(PROG_OUTSIDE, &frame), (XDP_PASS, Counter::OutsidePass), "{what}");
    }
}

/// `fragment` is what stands in the header behind the reserved byte: offset and more-fragments.
fn v6_fragment(next_header: u8, fragment: u16, identification: u32, payload: &[u8]) -> Vec<u8> {
    let [high, low] = fragment.to_be_bytes();
    let id = identification.to_be_bytes();
    v6(44, LOCAL_V6, &[&[next_header, 0, high, low][..], &id, payload].concat())
}

const TO_SOCKET: (u32, Counter) = (XDP_REDIRECT, Counter::OutsideFragmentRedirect);
const TO_KERNEL: (u32, Counter) = (XDP_PASS, Counter::OutsideFragment);

#[test]
fn fragments_from_a_live_peer_go_to_the_socket() {
    let Some(mut rig) = rig_with_open_port() else { return };
    for (what, fragment) in [
        ("first", 0x2000),
        ("middle", 0x2001),
        ("last", 0x0001),
        ("last, offset in the low byte only", 0x00ff),
        ("last, offset in the high byte only", 0x1f00),
    ] {
        let frame = V4 { fragment, ..V4::udp(LOCAL_V4, PORT) }.frame();
        assert_eq!(rig.run(PROG_OUTSIDE, &frame), TO_SOCKET, "{what}");
        let stranger = rig.run(PROG_OUTSIDE, &[&frame[..26], &[192, 0, 2, 77], &frame[30..]].concat());
        assert_eq!(stranger, TO_KERNEL, "{what}, from another address");
        let tcp = V4 { fragment, protocol: TCP, ..V4::udp(LOCAL_V4, PORT) }.frame();
        assert_eq!(rig.run(PROG_OUTSIDE, &tcp), (XDP_PASS, Counter::OutsidePass), "{what}, of TCP");
    }
    for fragment in [0x0001, 0x0009, 0x0008, 0x0100] {
        let frame = v6_fragment(UDP, fragment, 3, &udp(PORT + 1));
        assert_eq!(rig.run(PROG_OUTSIDE, &frame), TO_SOCKET, "{fragment:04x}");
    }
    rig.steering.media_port_close(MediaPort(PORT)).expect("closes");
    let last = V4 { fragment: 1, ..V4::udp(LOCAL_V4, PORT) }.frame();
    assert_eq!(rig.run(PROG_OUTSIDE, &last), TO_KERNEL, "the peer's last call has ended");
}

/// SIP and media may come from one address.
#[test]
fn fragments_of_another_port_follow_their_first() {
    let Some(mut rig) = rig_with_open_port() else { return };
    let v4 = |fragment, port| V4 { fragment, ..V4::udp(LOCAL_V4, port) }.frame();
    assert_eq!(rig.run(PROG_OUTSIDE, &v4(0x2000, 5060)), TO_KERNEL);
    assert_eq!(rig.run(PROG_OUTSIDE, &v4(0x0002, 5060)), TO_KERNEL);
    // The same identification, now of a datagram for the call.
    assert_eq!(rig.run(PROG_OUTSIDE, &v4(0x2000, PORT)), TO_SOCKET);
    assert_eq!(rig.run(PROG_OUTSIDE, &v4(0x0002, PORT)), TO_SOCKET);
    let v6 = |fragment, id, port| v6_fragment(UDP, fragment, id, &udp(port));
    assert_eq!(rig.run(PROG_OUTSIDE, &v6(1, 0x0102_0304, 5060)), TO_KERNEL);
    assert_eq!(rig.run(PROG_OUTSIDE, &v6(8, 0x0102_0304, 5060)), TO_KERNEL);
    assert_eq!(rig.run(PROG_OUTSIDE, &v6(8, 0x0102_0305, 5060)), TO_SOCKET, "another datagram");
}

#[test]
fn a_peer_of_two_calls_is_one_until_the_last_ends() {
    let Some(mut rig) = Rig::new(true) else { return };
    for port in [PORT, PORT + 2] {
        rig.steering.media_port_open((LOCAL_V4, port).into(), PEER_V4.into(), TunnelId(7)).expect("opens");
    }
    let last = V4 { fragment: 1, ..V4::udp(LOCAL_V4, PORT) }.frame();
    for (close, expected) in [(None, TO_SOCKET), (Some(PORT), TO_SOCKET), (Some(PORT + 2), TO_KERNEL)] {
        if let Some(port) = close {
            rig.steering.media_port_close(MediaPort(port)).expect("closes");
        }
        assert_eq!(rig.run(PROG_OUTSIDE, &last), expected, "{close:?}");
    }
}

/// Every prefix of a good frame that ends inside its headers is passed, and nothing is read beyond its end.
#[test]
fn a_frame_shorter_than_its_headers_is_passed() {
    let Some(mut rig) = rig_with_open_port() else { return };
    let v4 = V4 { options: vec![1; 8], ..V4::udp(LOCAL_V4, PORT) }.frame();
    let v6 = v6(UDP, LOCAL_V6, &udp(PORT + 1));
    let tagged = with_tag(&with_tag(&v4, PRIORITY), PRIORITY);
    for (frame, headers) in [(v4, 14 + 28 + 8), (v6, 14 + 40 + 8), (tagged, 22 + 28 + 8)] {
        for len in 14..headers {
            assert_eq!(
                rig.run(PROG_OUTSIDE, &frame[..len]),
                (XDP_PASS, Counter::OutsideTruncated),
                "{len} of {headers}"
            );
        }
        assert_eq!(rig.run(PROG_OUTSIDE, &frame[..headers]), (XDP_REDIRECT, Counter::OutsideRedirect));
    }
}

#[test]
fn a_closed_port_is_the_kernels_again() {
    let Some(mut rig) = rig_with_open_port() else { return };
    let frame = V4::udp(LOCAL_V4, PORT).frame();
    rig.steering.media_port_close(MediaPort(PORT)).expect("closes");
    assert_eq!(rig.run(PROG_OUTSIDE, &frame), (XDP_PASS, Counter::OutsidePass));
    assert!(matches!(
        rig.steering.media_port_close(MediaPort(PORT)),
        Err(SteeringError::MediaPortNotOpen(MediaPort(PORT)))
    ));
    rig.steering.media_port_open((LOCAL_V4, PORT).into(), PEER_V4.into(), TunnelId(8)).expect("opens again");
    assert_eq!(rig.run(PROG_OUTSIDE, &frame), (XDP_REDIRECT, Counter::OutsideRedirect));
}

#[test]
fn the_table_of_ports_is_bounded_and_a_port_opens_once() {
    let Some(mut rig) = Rig::new(false) else { return };
    for port in 1..=4 {
        rig.steering.media_port_open((LOCAL_V4, port).into(), PEER_V4.into(), TunnelId(1)).expect("opens");
    }
    assert!(matches!(
        rig.steering.media_port_open((LOCAL_V4, 4).into(), PEER_V4.into(), TunnelId(1)),
        Err(SteeringError::MediaPortOpen(MediaPort(4)))
    ));
    assert!(matches!(
        rig.steering.media_port_open((LOCAL_V4, 5).into(), PEER_V4.into(), TunnelId(1)),
        Err(SteeringError::Full { .. })
    ));
    rig.steering.media_port_close(MediaPort(1)).expect("closes");
    rig.steering.media_port_open((LOCAL_V4, 5).into(), PEER_V4.into(), TunnelId(1)).expect("there is room");
}

/// The kernel would answer ICMP port unreachable, and the peer would give up a paid call.
#[test]
fn a_live_port_without_a_socket_drops() {
    let Some(mut rig) = Rig::new(false) else { return };
    rig.steering.media_port_open((LOCAL_V4, PORT).into(), PEER_V4.into(), TunnelId(7)).expect("opens");
    let frame = V4::udp(LOCAL_V4, PORT).frame();
    assert_eq!(rig.run(PROG_OUTSIDE, &frame), (XDP_DROP, Counter::OutsideNoSocket));
}
