use super::fixtures::{LOCAL_V4, LOCAL_V6, PEER_V4, TCP, UDP, V4, eth, tagged, udp, v6, with_tag};
use super::*;
use sipsec_abi::bpf::PROG_OUTSIDE;
use sipsec_net::{MediaPort, TunnelId};
use std::net::SocketAddr;

const PORT: u16 = 50_001;

/// VID 0, PCP 3.
const PRIORITY: [u8; 4] = [0x81, 0, 0x60, 0];

fn rig_with_open_port() -> Option<Rig> {
    let mut rig = Rig::new(true)?;
    for local in [SocketAddr::from((LOCAL_V4, PORT)), SocketAddr::from((LOCAL_V6, PORT + 1))] {
        rig.steering.media_port_open(local, TunnelId(7)).expect("opens");
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
    let udp_in_fragment_header = [&[UDP, 0, 0, 0, 0, 0, 0, 1][..], &udp(PORT + 1)].concat();
    for (what, frame) in [
        ("SIP", V4::udp(LOCAL_V4, 5060).frame()),
        ("a closed port", V4::udp(LOCAL_V4, PORT + 1).frame()),
        ("the port of the other family", v6(UDP, LOCAL_V6, &udp(PORT))),
        ("the same port of an address that is not ours", V4::udp(PEER_V4, PORT).frame()),
        ("TCP to the same port", V4 { protocol: TCP, ..plain.clone() }.frame()),
        ("IPv6 TCP to the same port", v6(TCP, LOCAL_V6, &udp(PORT + 1))),
        ("IPv6 with a destination options header", v6(60, LOCAL_V6, &udp(PORT + 1))),
        ("an IPv6 fragment", v6(44, LOCAL_V6, &udp_in_fragment_header)),
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

#[test]
fn fragments_are_the_kernels() {
    let Some(mut rig) = rig_with_open_port() else { return };
    for (what, fragment) in [
        ("first", 0x2000),
        ("middle", 0x2001),
        ("last", 0x0001),
        ("last, offset in the low byte only", 0x00ff),
        ("last, offset in the high byte only", 0x1f00),
    ] {
        let frame = V4 { fragment, ..V4::udp(LOCAL_V4, PORT) }.frame();
        assert_eq!(rig.run(PROG_OUTSIDE, &frame), (XDP_PASS, Counter::OutsideFragment), "{what}");
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
    rig.steering.media_port_open((LOCAL_V4, PORT).into(), TunnelId(8)).expect("opens again");
    assert_eq!(rig.run(PROG_OUTSIDE, &frame), (XDP_REDIRECT, Counter::OutsideRedirect));
}

#[test]
fn the_table_of_ports_is_bounded_and_a_port_opens_once() {
    let Some(mut rig) = Rig::new(false) else { return };
    for port in 1..=4 {
        rig.steering.media_port_open((LOCAL_V4, port).into(), TunnelId(1)).expect("opens");
    }
    assert!(matches!(
        rig.steering.media_port_open((LOCAL_V4, 4).into(), TunnelId(1)),
        Err(SteeringError::MediaPortOpen(MediaPort(4)))
    ));
    assert!(matches!(
        rig.steering.media_port_open((LOCAL_V4, 5).into(), TunnelId(1)),
        Err(SteeringError::Full { .. })
    ));
    rig.steering.media_port_close(MediaPort(1)).expect("closes");
    rig.steering.media_port_open((LOCAL_V4, 5).into(), TunnelId(1)).expect("there is room");
}

/// The kernel would answer ICMP port unreachable, and the peer would give up a paid call.
#[test]
fn a_live_port_without_a_socket_drops() {
    let Some(mut rig) = Rig::new(false) else { return };
    rig.steering.media_port_open((LOCAL_V4, PORT).into(), TunnelId(7)).expect("opens");
    let frame = V4::udp(LOCAL_V4, PORT).frame();
    assert_eq!(rig.run(PROG_OUTSIDE, &frame), (XDP_DROP, Counter::OutsideNoSocket));
}
