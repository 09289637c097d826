//! ICMP errors, both ways, and what they quote.

use super::packet::{Packet, error, put_check};
use super::*;
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::nat::NatSide;

const UNREACHABLE: [u8; 2] = [3, 4];
const EXCEEDED: [u8; 2] = [11, 0];

/// The error and the packet that it quotes; the checksums of both are right.
fn read(bytes: &[u8]) -> (Ipv4Header, [u8; 2], Vec<u8>) {
    let header = Ipv4Header::parse(bytes).expect("a right header");
    let mut upper = bytes[20..].to_vec();
    put_check(&mut upper, 2, 0);
    assert_eq!(upper, &bytes[20..], "the checksum of the error");
    (header, [upper[0], upper[1]], upper[8..].to_vec())
}

#[test]
fn a_host_is_told_about_the_packet_that_it_sent() {
    for protocol in NatProtocol::ALL {
        for len in [28, 36, 44, 200] {
            let mut nat = nat(&[pool()]);
            let packet = Packet::new(
                protocol,
                end("10.1.0.1:1000"),
                end(if protocol == NatProtocol::Icmp { "198.51.100.1:0" } else { "198.51.100.1:53" }),
            );
            let sent = nat.send(at(1), &packet).expect("translated");
            let before = nat.statistics();
            // From a router on the way, not from the peer itself.
            let mut bytes = error(ip("203.0.113.9"), *sent.source.ip(), EXCEEDED, &sent.bytes(), len);
            assert_eq!(nat.inbound(at(2), T, &mut bytes), Ok(true));
            let (header, kind, quoted) = read(&bytes);
            assert_eq!(
                (header.source, header.destination, kind),
                (ip("203.0.113.9"), ip("10.1.0.1"), EXCEEDED)
            );
            assert_eq!(quoted, packet.bytes()[..len.min(packet.bytes().len())], "{protocol:?} {len}");
            assert_eq!(nat.statistics(), before, "it keeps nothing alive");
            nat.page(at(2), 0, 9, |e| assert_eq!(e.idle_s, 1));
        }
    }
}

#[test]
fn a_host_tells_about_a_packet_that_came_in() {
    for (about, router) in
        [(NatProtocol::Tcp, "10.1.0.1"), (NatProtocol::Udp, "10.1.0.254"), (NatProtocol::Icmp, "10.9.9.9")]
    {
        let mut nat = nat(&[pool()]);
        let remote = end(if about == NatProtocol::Icmp { "198.51.100.1:0" } else { "198.51.100.1:53" });
        let sent = nat.send(at(1), &Packet::new(about, end("10.1.0.1:1000"), remote)).expect("translated");
        let came = nat.receive(at(1), &sent.answer()).expect("let in");
        let mut bytes = error(ip(router), ip("198.51.100.1"), UNREACHABLE, &came.bytes(), 200);
        assert_eq!(nat.outbound(at(1), T, &mut bytes), Ok(true));
        let (header, kind, quoted) = read(&bytes);
        assert_eq!(
            (header.source, header.destination, kind),
            (*sent.source.ip(), ip("198.51.100.1"), UNREACHABLE)
        );
        assert_eq!(quoted, sent.answer().bytes(), "{about:?}");
    }
}

#[test]
fn errors_about_nothing_that_was_sent_do_not_pass() {
    let mut nat = nat(&[pool()]);
    let packet = Packet::new(NatProtocol::Udp, end("10.1.0.1:1000"), end("198.51.100.1:53"));
    let sent = nat.send(at(1), &packet).expect("translated");
    let global = *sent.source.ip();
    let mut refused = |about: &Packet, to: Ipv4Addr, reason| {
        let mut bytes = error(ip("203.0.113.9"), to, EXCEEDED, &about.bytes(), 100);
        assert_eq!(nat.inbound(at(1), T, &mut bytes), Err(reason));
    };
    refused(
        &Packet { destination: end("198.51.100.2:53"), ..sent.clone() },
        global,
        DropReason::NatNoTranslation,
    );
    refused(
        &Packet { destination: end("198.51.100.1:54"), ..sent.clone() },
        global,
        DropReason::NatNoTranslation,
    );
    let other_port = SocketAddrV4::new(global, sent.source.port() ^ 1);
    refused(&Packet { source: other_port, ..sent.clone() }, global, DropReason::NatNoTranslation);
    refused(&Packet { source: end("10.1.0.1:1000"), ..sent.clone() }, global, DropReason::NatNoTranslation);
    // About another address than the one that it is sent to.
    let other = if global == ip("192.0.2.1") { ip("192.0.2.2") } else { ip("192.0.2.1") };
    refused(&sent, other, DropReason::NatNoTranslation);
    for (len, wrong_sum) in [(19, false), (22, false), (100, true)] {
        let mut bytes = error(ip("203.0.113.9"), global, EXCEEDED, &sent.bytes(), len);
        bytes[22] ^= u8::from(wrong_sum);
        assert_eq!(nat.inbound(at(1), T, &mut bytes), Err(DropReason::NatMalformed), "{len}");
    }
    // From inside, about what never came.
    let mut bytes = error(
        ip("10.1.0.1"),
        ip("198.51.100.1"),
        EXCEEDED,
        &Packet { source: end("198.51.100.1:53"), destination: end("10.1.0.2:9"), ..sent }.bytes(),
        100,
    );
    assert_eq!(nat.outbound(at(1), T, &mut bytes), Err(DropReason::NatNoTranslation));
}

#[test]
fn networks_translate_what_errors_quote_without_state() {
    let rules = [
        NatRule::Network {
            side: NatSide::Inside,
            local: prefix("10.0.0.0/24"),
            global: prefix("192.168.101.0/24"),
        },
        NatRule::Network {
            side: NatSide::Outside,
            local: prefix("192.168.102.0/24"),
            global: prefix("10.0.0.0/24"),
        },
    ];
    let mut nat = nat(&rules);
    let packet = Packet::new(NatProtocol::Udp, end("10.0.0.5:7"), end("192.168.102.9:53"));
    let sent = nat.send(at(1), &packet).expect("translated");
    let mut bytes = error(ip("10.0.0.254"), *sent.source.ip(), EXCEEDED, &sent.bytes(), 100);
    assert_eq!(nat.inbound(at(1), T, &mut bytes), Ok(true));
    let (header, _, quoted) = read(&bytes);
    assert_eq!((header.source, header.destination), (ip("192.168.102.254"), ip("10.0.0.5")));
    assert_eq!(quoted, packet.bytes());
    let came = nat.receive(at(1), &sent.answer()).expect("let in");
    for (router, as_seen) in [("10.0.0.1", "192.168.101.1"), ("172.16.0.1", "192.168.101.5")] {
        let mut bytes = error(ip(router), ip("192.168.102.9"), UNREACHABLE, &came.bytes(), 100);
        assert_eq!(nat.outbound(at(1), T, &mut bytes), Ok(true));
        let (header, _, quoted) = read(&bytes);
        assert_eq!((header.source, header.destination), (ip(as_seen), ip("10.0.0.9")));
        assert_eq!(quoted, sent.answer().bytes());
    }
}

#[test]
fn hairpin_errors_come_back() {
    let mut nat = nat_of(
        &[pool()],
        NatPolicy { filtering: sipsec_net::nat::NatFiltering::EndpointIndependent, ..policy() },
    );
    let b = nat.udp(at(1), "10.1.0.2:2000", "198.51.100.1:53").expect("translated");
    let packet = Packet::new(NatProtocol::Udp, end("10.1.0.1:1000"), b);
    let out = nat.send(at(1), &packet).expect("out");
    let came = nat.receive(at(1), &out).expect("in");
    let mut bytes = error(ip("10.1.0.2"), *came.source.ip(), UNREACHABLE, &came.bytes(), 100);
    assert_eq!(nat.outbound(at(1), T, &mut bytes), Ok(true));
    assert_eq!(nat.inbound(at(1), T, &mut bytes), Ok(true));
    let (header, _, quoted) = read(&bytes);
    assert_eq!((header.source, header.destination), (*b.ip(), ip("10.1.0.1")));
    assert_eq!(quoted, packet.bytes());
}
