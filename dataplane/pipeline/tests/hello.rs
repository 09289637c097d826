//! Hellos of routing protocols pass a tunnel that has the option and is up; they open none and keep none open.

use sipsec_net::dp::{Adjacency, EspCipher, Event, Op, TunnelSpec};
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps, TunnelId};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, ipv4_udp};
use sipsec_pipeline::{InsideMode, Packet};
use std::net::IpAddr;

const FAST: Kbps = Kbps(10_000_000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);
const OSPF: u8 = 89;

fn gateway(side: Side, mode: InsideMode, routing_hellos: bool) -> Gateway {
    let mut g = Gateway::new(side, mode);
    g.apply(&[
        Op::TunnelRemove(Gateway::TUNNEL),
        Op::TunnelAdd(TunnelSpec { routing_hellos, ..Gateway::tunnel() }),
        Op::RouteAdd { prefix: side.other().lan(), tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
    ]);
    g
}

fn call(g: &mut Gateway) {
    g.call(FAST, &Keys::new(EspCipher::Aes128Gcm16, false));
}

fn pair(mode: InsideMode, at_a: bool, at_b: bool) -> (Gateway, Gateway) {
    let (mut a, mut b) = (gateway(Side::A, mode, at_a), gateway(Side::B, mode, at_b));
    call(&mut a);
    call(&mut b);
    (a, b)
}

fn hello(source: &str, destination: &str) -> Vec<u8> {
    let addr = |text: &str| text.parse::<IpAddr>().expect("valid");
    let mut hello = Inner::udp(addr(source), addr(destination), 0);
    hello.protocol = OSPF;
    hello.ttl = 1;
    hello.class = 0xc0;
    hello.payload = vec![2, 1, 0, 44];
    hello.payload.extend([0; 40]);
    hello.to_bytes()
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

fn got(g: &mut Gateway) -> Vec<Vec<u8>> {
    std::mem::take(&mut g.out.inside).iter().map(|p| p.data()[14..].to_vec()).collect()
}

const HELLOS: [(&str, &str); 5] = [
    // OSPF, without and with a source of the tunnel's routes; RIP version 2; OSPFv3; BGP between link-local addresses.
    ("192.168.255.1", "224.0.0.5"),
    ("10.1.255.1", "224.0.0.6"),
    ("10.1.255.1", "224.0.0.9"),
    ("fe80::1", "ff02::5"),
    ("fe80::1", "fe80::2"),
];

#[test]
fn they_pass_with_the_option_at_both_ends_and_are_no_activity() {
    let (mut a, mut b) = pair(InsideMode::Host, true, true);
    for (source, destination) in HELLOS {
        let ip = hello(source, destination);
        a.lan(NOW, &ip);
        assert_eq!(a.carry_to(NOW, &mut b), 1, "{destination}");
        assert_eq!(got(&mut b), [ip], "{destination}");
    }
    for g in [&a, &b] {
        let activity = g.pipeline.activity(Gateway::TUNNEL).expect("configured");
        assert_eq!(activity.last_data(), Instant::ZERO, "the tunnel is idle");
        assert_eq!(activity.packets_in + activity.packets_out, 5);
    }
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    a.carry_to(NOW, &mut b);
    assert_eq!(b.pipeline.activity(Gateway::TUNNEL).expect("configured").last_in, NOW);
}

#[test]
fn they_stop_at_either_end_without_the_option_and_in_router_mode() {
    for (mode, at_a, at_b) in
        [(InsideMode::Host, false, true), (InsideMode::Host, true, false), (InsideMode::Router, true, true)]
    {
        let (mut a, mut b) = pair(mode, at_a, at_b);
        for (source, destination) in HELLOS {
            a.lan(NOW, &hello(source, destination));
            a.carry_to(NOW, &mut b);
        }
        assert!(b.out.inside.is_empty(), "{mode:?}, {at_a}, {at_b}");
        let sent = if mode == InsideMode::Host && at_a { 5 } else { 0 };
        assert_eq!((drops(&a, DropReason::NotUnicast), drops(&b, DropReason::NotUnicast)), (5 - sent, sent));
    }
}

#[test]
fn they_ask_for_no_call_and_wait_for_none() {
    let mut a = gateway(Side::A, InsideMode::Host, true);
    for (source, destination) in HELLOS {
        a.lan(NOW, &hello(source, destination));
    }
    assert_eq!(drops(&a, DropReason::HelloWithoutSa), 5);
    assert_eq!((a.out.events.len(), a.pipeline.live().trigger_waiting), (0, 0));
    // A packet does, and the hellos do not go with it.
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    a.lan(NOW, &hello("10.1.255.1", "224.0.0.5"));
    assert!(matches!(a.out.events[..], [Event::Acquire { .. }]));
    call(&mut a);
    a.poll(NOW);
    assert_eq!(a.out.outside.len(), 1);
}

/// What is not of one link stays out of every tunnel: groups with a wider scope, broadcast, loopback, no source.
#[test]
fn other_addresses_that_are_not_forwarded_stay_out() {
    let (mut a, mut b) = pair(InsideMode::Host, true, true);
    let others = [
        ("10.1.255.1", "239.1.1.1"),
        ("10.1.255.1", "224.0.1.1"),
        ("10.1.255.1", "255.255.255.255"),
        ("10.1.255.1", "127.0.0.1"),
        ("224.0.0.5", "224.0.0.5"),
        ("0.0.0.0", "224.0.0.22"),
        ("fe80::1", "ff05::2"),
        ("fe80::1", "ff01::1"),
        ("::", "ff02::1"),
        ("::1", "fe80::2"),
    ];
    for (source, destination) in others {
        a.lan(NOW, &hello(source, destination));
    }
    assert_eq!((a.carry_to(NOW, &mut b), drops(&a, DropReason::NotUnicast)), (0, 10));
}

/// With several such tunnels at one sVTI a route says which is meant; without one, none is.
#[test]
fn with_several_tunnels_a_route_decides() {
    let (mut a, _) = pair(InsideMode::Host, true, true);
    let next = TunnelId(9);
    a.apply(&[Op::TunnelAdd(TunnelSpec { tunnel: next, routing_hellos: true, ..Gateway::tunnel() })]);
    let ospf = hello("10.1.255.1", "224.0.0.5");
    a.lan(NOW, &ospf);
    assert_eq!((a.out.outside.len(), drops(&a, DropReason::NotUnicast)), (0, 1));
    let prefix: IpPrefix = "224.0.0.5/32".parse().expect("valid");
    a.apply(&[Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel }]);
    a.lan(NOW, &ospf);
    assert_eq!(a.out.outside.len(), 1);
    a.apply(&[Op::RouteRemove { prefix }, Op::TunnelRemove(next)]);
    a.lan(NOW, &ospf);
    assert_eq!(a.out.outside.len(), 2, "the only one again");
}
