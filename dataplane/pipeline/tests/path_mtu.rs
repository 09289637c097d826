//! ICMP errors from the path between two gateways (RFC 4301 §8.2).

use sipsec_net::dp::{EspCipher, MediaBinding, Op};
use sipsec_net::{DropReason, Instant, Kbps};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{InsideMode, Packet, PathMtu};
use std::net::SocketAddr;
use std::time::Duration;

const START: Instant = Instant::from_nanos(10_000_000_000);
const FAST: Kbps = Kbps(1_000_000);
const TEN_MINUTES: Duration = Duration::from_secs(600);

fn keys() -> Keys {
    Keys::new(EspCipher::Aes128Gcm16, false)
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

fn up() -> (Gateway, Gateway) {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let mut b = Gateway::new(Side::B, InsideMode::Host);
    a.call(FAST, &keys());
    b.call(FAST, &keys());
    (a, b)
}

fn report(mtu: u32) -> PathMtu {
    PathMtu { media_port: Side::A.media_port(), remote: Side::B.media(), mtu, spi: Some(Side::B.spi()) }
}

fn whole(len: usize) -> Vec<u8> {
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), len - 28);
    inner.dont_fragment = true;
    inner.to_bytes()
}

/// Whether a packet of so many bytes that must not be cut leaves; if not, the MTU that its sender is told.
fn passes(a: &mut Gateway, now: Instant, len: usize) -> Result<(), u16> {
    a.lan(now, &whole(len));
    a.poll(now);
    if a.out.outside.pop().is_some() {
        assert!(a.out.inside.is_empty());
        return Ok(());
    }
    let error = a.out.inside.pop().expect("its sender is told");
    // RFC 1191 §4: destination unreachable, fragmentation needed, next-hop MTU.
    assert_eq!(error.data()[34..36], [3, 4]);
    Err(u16::from_be_bytes([error.data()[40], error.data()[41]]))
}

#[test]
fn the_mtu_of_the_path_is_learnt_told_to_the_sender_and_forgotten() {
    let (mut a, _) = up();
    assert_eq!(passes(&mut a, START, 1438), Ok(()));
    a.pipeline.path_mtu(START, &report(1400));
    // 1400 less 62 of ESP in UDP over IPv4.
    assert_eq!(passes(&mut a, START, 1438), Err(1338));
    assert_eq!(passes(&mut a, START, 1338), Ok(()));
    // What may be cut is cut before it is sealed.
    a.lan(START, &ipv4_udp(Side::A.host(), Side::B.host(), 1438));
    a.poll(START);
    let lens: Vec<usize> = a.out.outside.drain(..).map(|f| f.data().len() - 14).collect();
    assert!(lens.len() == 2 && lens.iter().all(|len| *len <= 1400), "{lens:?}");
    let counters = a.pipeline.registry().qos_counters(Gateway::TUNNEL).expect("configured");
    let read = counters.read().expect("a class");
    assert_eq!((read.outer_mtu, read.is_path_mtu), (1400, true));
    let end = START + TEN_MINUTES;
    assert_eq!(a.pipeline.next_deadline(), end);
    a.poll(end - Duration::from_nanos(1));
    assert_eq!(passes(&mut a, START, 1438), Err(1338));
    a.poll(end);
    assert_eq!(passes(&mut a, end, 1438), Ok(()));
    assert_eq!(drops(&a, DropReason::PathMtuIgnored), 0);
}

/// RFC 8899: what probes find bounds the call as an ICMP error does, until they say otherwise, and below it.
#[test]
fn what_probes_have_found_bounds_the_call() {
    let (mut a, _) = up();
    let media_port = Side::A.media_port();
    let seen = |a: &Gateway| {
        let counters = a.pipeline.registry().qos_counters(Gateway::TUNNEL).expect("configured");
        let read = counters.read().expect("a class");
        (read.outer_mtu, read.is_path_mtu, read.probe_ceiling)
    };
    assert_eq!(seen(&a), (1500, false, 1500));
    a.apply(&[Op::PathMtu { media_port, mtu: Some(1400) }]);
    assert_eq!(passes(&mut a, START, 1438), Err(1338));
    assert_eq!(passes(&mut a, START, 1338), Ok(()));
    assert_eq!(seen(&a), (1400, true, 1500));
    a.pipeline.path_mtu(START, &report(1300));
    assert_eq!(seen(&a), (1300, true, 1300), "the smaller of both");
    a.poll(START + TEN_MINUTES);
    assert_eq!(seen(&a), (1400, true, 1500), "what probes found is theirs to forget");
    a.apply(&[Op::PathMtu { media_port, mtu: None }]);
    assert_eq!(passes(&mut a, START + TEN_MINUTES, 1438), Ok(()));
}

#[test]
fn a_probe_is_not_fragmented_on_its_way() {
    let (mut a, _) = up();
    let flags = |g: &mut Gateway, probe: bool| {
        let (port, remote) = (g.side.media_port(), g.side.other().media());
        let frame = Some(VecPacket::new(&[0; 9]));
        if probe {
            g.pipeline.send_probe(START, port, remote, &[7; 1468], frame);
        } else {
            g.pipeline.send_ike(START, port, remote, &[7; 1468], frame);
        }
        g.poll(START);
        let sent = g.out.outside.pop().expect("sent");
        assert_eq!(sent.data().len(), 1514);
        sent.data()[20] >> 6
    };
    assert_eq!((flags(&mut a, true), flags(&mut a, false)), (1, 0));
}

#[test]
fn an_mss_follows_the_path() {
    let (mut a, mut b) = up();
    // A SYN with an MSS of 1460, in each direction.
    let syn = |from: Side| {
        let mut inner = Inner::udp(from.host().into(), from.other().host().into(), 16);
        inner.protocol = 6;
        inner.payload =
            vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 180];
        inner.to_bytes()
    };
    let mss = |p: &VecPacket| u16::from_be_bytes([p.data()[14 + 42], p.data()[14 + 43]]);
    for (mtu, expected) in [(None, 1398), (Some(1400), 1298)] {
        if let Some(mtu) = mtu {
            a.pipeline.path_mtu(START, &report(mtu));
        }
        b.lan(START, &syn(Side::B));
        b.carry_to(START, &mut a);
        assert_eq!(a.out.inside.pop().map(|p| mss(&p)), Some(expected), "towards the LAN of A");
        a.lan(START, &syn(Side::A));
        a.carry_to(START, &mut b);
        assert_eq!(b.out.inside.pop().map(|p| mss(&p)), Some(expected), "from the LAN of A");
    }
}

#[test]
fn what_does_not_quote_a_live_call_changes_nothing() {
    let (mut a, _) = up();
    let other: SocketAddr = "198.51.100.7:24826".parse().expect("valid");
    let forged = [
        PathMtu { remote: other, ..report(1000) },
        PathMtu { media_port: sipsec_net::MediaPort(50_013), ..report(1000) },
        PathMtu { spi: Some(0xdead_beef), ..report(1000) },
        // Not less than what is known.
        report(1500),
        report(9000),
        report(100_000),
    ];
    for report in &forged {
        a.pipeline.path_mtu(START, report);
        assert_eq!(passes(&mut a, START, 1438), Ok(()), "{report:?}");
    }
    assert_eq!(drops(&a, DropReason::PathMtuIgnored), forged.len() as u64);
}

#[test]
fn a_forged_error_goes_no_lower_than_the_floor() {
    let (mut a, _) = up();
    a.pipeline.path_mtu(START, &PathMtu { spi: None, ..report(0) });
    let inner = passes(&mut a, START, 1000).expect_err("576 bytes outside");
    assert!((500..=514).contains(&inner), "{inner}");
    // RFC 8201 §4: over IPv6 no lower than 1280.
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let binding = MediaBinding {
        outside_local: "[2001:db8::1]:50012".parse().expect("valid"),
        remote: "[2001:db8::2]:24825".parse().expect("valid"),
        ..Gateway::binding(Side::A, FAST)
    };
    a.apply(&[Op::MediaOpen(binding)]);
    a.apply(&Gateway::session(Side::A, &keys()));
    a.pipeline.path_mtu(START, &PathMtu { remote: binding.remote, ..report(600) });
    assert_eq!(passes(&mut a, START, 1400), Err(1280 - 82));
}

#[test]
fn the_next_call_of_a_port_begins_with_the_wans_mtu() {
    let (mut a, _) = up();
    a.pipeline.path_mtu(START, &report(1000));
    a.apply(&[Op::TunnelUnbind(Gateway::TUNNEL), Op::MediaClose(Side::A.media_port())]);
    assert_eq!(a.pipeline.next_deadline(), Instant::MAX);
    a.call(FAST, &keys());
    assert_eq!(passes(&mut a, START, 1438), Ok(()));
}
