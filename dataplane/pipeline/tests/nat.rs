//! Translation of addresses on the way into a tunnel and out of it.

use sipsec_net::dp::{Adjacency, EspCipher, Event, Op, RejectReason};
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::nat::{NAT_POOL_ADDRESSES_MAX, NAT_RULES_MAX, NatPolicy, NatProtocol, NatRule, NatSide};
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps, TunnelId, checksum};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket, fragments, ipv4_udp};
use sipsec_pipeline::{InsideMode, Packet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const FAST: Kbps = Kbps(10_000_000);
const NOW: Instant = Instant::from_nanos(1_000_000_000);
/// What B knows A's hosts by: an address of A's LAN, so that B's routes lead to it.
const GLOBAL: Ipv4Addr = Ipv4Addr::new(10, 1, 255, 1);

fn prefix(text: &str) -> IpPrefix {
    text.parse().expect("a prefix")
}

fn overload() -> NatRule {
    NatRule::Overload {
        source: prefix("10.1.0.0/17"),
        destination: IpPrefix::ANY_V4,
        first: GLOBAL,
        last: GLOBAL,
        own_address: false,
    }
}

fn rule(rule: NatRule) -> Op {
    Op::NatRule { tunnel: Gateway::TUNNEL, rule }
}

/// Both in a call, and A translates by these rules.
fn pair(mode: InsideMode, rules: &[NatRule]) -> (Gateway, Gateway) {
    let (mut a, b) = Gateway::pair(mode, FAST, &Keys::new(EspCipher::Aes128Gcm16, false));
    a.apply(&rules.iter().map(|r| rule(*r)).collect::<Vec<_>>());
    (a, b)
}

/// The only frame sent inside, without its Ethernet header. Its header checksum is right, and that of its UDP if it has one.
fn inside(g: &mut Gateway) -> Vec<u8> {
    assert_eq!(g.out.inside.len(), 1);
    let ip = g.out.inside.pop().expect("one").data()[14..].to_vec();
    let h = Ipv4Header::parse(&ip).expect("an IPv4 packet");
    if h.protocol == 17 && !h.is_fragment() && ip[26..28] != [0, 0] {
        let pseudo = checksum::pseudo(h.source.into(), h.destination.into(), 17, h.total_len - 20);
        assert_eq!(checksum::finish(checksum::sum(&ip[20..], pseudo)), 0);
    }
    ip
}

fn ends(ip: &[u8]) -> (Ipv4Addr, Ipv4Addr) {
    let h = Ipv4Header::parse(ip).expect("an IPv4 packet");
    (h.source, h.destination)
}

/// The other direction of a UDP packet.
fn answer(ip: &[u8]) -> Vec<u8> {
    let mut back = ip.to_vec();
    back[12..16].copy_from_slice(&ip[16..20]);
    back[16..20].copy_from_slice(&ip[12..16]);
    back[20..22].copy_from_slice(&ip[22..24]);
    back[22..24].copy_from_slice(&ip[20..22]);
    back
}

#[test]
fn the_peer_sees_the_global_address_and_its_answer_comes_back() {
    for mode in [InsideMode::Host, InsideMode::Router] {
        let (mut a, mut b) = pair(mode, &[overload()]);
        let packet = ipv4_udp(Side::A.host(), Side::B.host(), 100);
        a.lan(NOW, &packet);
        assert_eq!(a.carry_to(NOW, &mut b), 1);
        let came = inside(&mut b);
        assert_eq!(ends(&came), (GLOBAL, Side::B.host()));
        assert_eq!(came[28..], packet[28..], "the data");
        b.lan(NOW, &answer(&came));
        b.carry_to(NOW, &mut a);
        let back = inside(&mut a);
        assert_eq!(ends(&back), (Side::B.host(), Side::A.host()));
        assert_eq!(back[20..24], answer(&packet)[20..24], "the ports");
        // From elsewhere behind the tunnel to the same port: RFC 4787 §5, address-dependent.
        let mut stranger = answer(&came);
        stranger[15] ^= 1;
        stranger[10..12].fill(0);
        let check = checksum::finish(checksum::sum(&stranger[..20], 0));
        stranger[10..12].copy_from_slice(&check.to_be_bytes());
        b.lan(NOW, &stranger);
        b.carry_to(NOW, &mut a);
        assert_eq!((a.out.inside.len(), a.pipeline.drops()[DropReason::NatFiltered.index()]), (0, 1));
    }
}

#[test]
fn what_waited_for_a_call_is_translated_when_it_leaves() {
    let keys = Keys::new(EspCipher::Aes128Gcm16, false);
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let mut b = Gateway::new(Side::B, InsideMode::Host);
    b.call(FAST, &keys);
    a.apply(&[rule(overload())]);
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    let Some(Event::Acquire { first, .. }) = a.out.events.first() else { panic!("{:?}", a.out.events) };
    assert_eq!(first.source, IpAddr::V4(Side::A.host()), "who has called is the host");
    a.call(FAST, &keys);
    a.poll(NOW);
    assert_eq!(a.carry_to(NOW, &mut b), 1);
    assert_eq!(ends(&inside(&mut b)), (GLOBAL, Side::B.host()));
}

#[test]
fn a_packet_that_is_cut_arrives_translated_and_one_that_may_not_be_is_quoted_as_it_was() {
    let (mut a, mut b) = pair(InsideMode::Host, &[overload()]);
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), 2000);
    a.lan(NOW, &inner.to_bytes());
    assert_eq!(a.carry_to(NOW, &mut b), 2);
    let parts: Vec<Vec<u8>> = b.out.inside.drain(..).map(|f| f.data()[14..].to_vec()).collect();
    assert!(parts.iter().all(|p| ends(p) == (GLOBAL, Side::B.host())));
    inner.dont_fragment = true;
    a.lan(NOW, &inner.to_bytes());
    let error = inside(&mut a);
    assert_eq!((error[20], error[21]), (3, 4));
    assert_eq!(
        ends(&error[28..48].iter().chain(&[0; 2100]).copied().collect::<Vec<_>>()),
        (Side::A.host(), Side::B.host())
    );
}

#[test]
fn an_error_from_behind_the_tunnel_reaches_the_host() {
    let (mut a, mut b) = pair(InsideMode::Host, &[overload()]);
    let packet = ipv4_udp(Side::A.host(), Side::B.host(), 100);
    a.lan(NOW, &packet);
    a.carry_to(NOW, &mut b);
    let came = inside(&mut b);
    // B's host says that its port is closed.
    let mut error = Inner { protocol: 1, ..Inner::udp(Side::B.host().into(), GLOBAL.into(), 0) };
    error.payload = [&[3, 3, 0, 0, 0, 0, 0, 0][..], &came].concat();
    let check = checksum::finish(checksum::sum(&error.payload, 0));
    error.payload[2..4].copy_from_slice(&check.to_be_bytes());
    b.lan(NOW, &error.to_bytes());
    b.carry_to(NOW, &mut a);
    let told = inside(&mut a);
    assert_eq!(ends(&told), (Side::B.host(), Side::A.host()));
    assert_eq!(checksum::finish(checksum::sum(&told[20..], 0)), 0);
    assert_eq!(told[28..], packet, "about the packet as it was sent");
}

#[test]
fn two_sites_with_one_network_talk_by_their_global_prefixes() {
    let keys = Keys::new(EspCipher::Aes128Gcm16, false);
    let (site, host) = (prefix("192.168.1.0/24"), Ipv4Addr::new(192, 168, 1, 9));
    let globals = [(Side::A, "10.1.77.0/24"), (Side::B, "10.2.77.0/24")];
    let [mut a, mut b] = globals.map(|(side, global)| {
        let mut g = Gateway::new(side, InsideMode::Host);
        g.call(FAST, &keys);
        g.apply(&[rule(NatRule::Network { side: NatSide::Inside, local: site, global: prefix(global) })]);
        g
    });
    a.lan(NOW, &ipv4_udp(host, Ipv4Addr::new(10, 2, 77, 9), 64));
    a.carry_to(NOW, &mut b);
    let came = inside(&mut b);
    assert_eq!(ends(&came), (Ipv4Addr::new(10, 1, 77, 9), host));
    b.lan(NOW, &answer(&came));
    b.carry_to(NOW, &mut a);
    assert_eq!(ends(&inside(&mut a)), (Ipv4Addr::new(10, 2, 77, 9), host));
}

#[test]
fn a_host_reaches_another_by_its_global_address_and_a_forger_of_one_is_dropped() {
    let port = NatRule::Port {
        protocol: NatProtocol::Udp,
        local: "10.1.0.77:5006".parse().expect("valid"),
        global: "10.1.255.1:5006".parse().expect("valid"),
    };
    let (mut a, mut b) = pair(InsideMode::Host, &[port, overload()]);
    a.apply(&[Op::RouteAdd {
        prefix: prefix("10.1.255.0/24"),
        tunnel: Gateway::TUNNEL,
        adjacency: Adjacency::Tunnel,
    }]);
    a.lan(NOW, &ipv4_udp(Side::A.host(), GLOBAL, 64));
    assert_eq!(a.out.outside.len(), 0, "not into the tunnel");
    let came = inside(&mut a);
    assert_eq!(ends(&came), (GLOBAL, Ipv4Addr::new(10, 1, 0, 77)));
    a.lan(NOW, &answer(&came));
    assert_eq!(ends(&inside(&mut a)), (GLOBAL, Side::A.host()));
    // Behind the tunnel, a sender with the global address is a forger.
    b.apply(&[Op::RouteAdd {
        prefix: prefix("10.1.0.0/17"),
        tunnel: Gateway::TUNNEL,
        adjacency: Adjacency::Tunnel,
    }]);
    b.lan(NOW, &ipv4_udp(GLOBAL, Ipv4Addr::new(10, 1, 0, 77), 64));
    b.carry_to(NOW, &mut a);
    assert_eq!(a.pipeline.drops()[DropReason::SourceNotRouted.index()], 1);
}

#[test]
fn pages_blocks_and_the_end_of_translations_are_reported() {
    let (mut a, _) = pair(InsideMode::Host, &[overload()]);
    for host in 1..=200 {
        a.lan(NOW, &ipv4_udp(Ipv4Addr::new(10, 1, 1, host), Side::B.host(), 64));
    }
    a.apply(&[Op::NatPage { from: 0 }]);
    a.poll(NOW);
    let count = |events: &[Event], wanted: fn(&Event) -> bool| events.iter().filter(|e| wanted(e)).count();
    assert_eq!(count(&a.out.events, |e| matches!(e, Event::NatEntry(e) if e.tunnel == Gateway::TUNNEL)), 200);
    let allocated = |e: &Event| matches!(e, Event::NatBlock(b) if b.is_allocated);
    assert_eq!(count(&a.out.events, allocated), 200);
    let Some(Event::NatPage { from: 0, next: None, statistics }) = a.out.events.last() else {
        panic!("{:?}", a.out.events.last())
    };
    assert_eq!((statistics.sessions, statistics.hosts, statistics.sessions_max), (200, 200, 1024));
    assert!(a.pipeline.next_deadline() <= NOW + Duration::from_secs(1));
    a.out.events.clear();
    a.apply(&[Op::NatClear(Some(Ipv4Addr::new(10, 1, 1, 7)))]);
    a.poll(NOW);
    a.poll(NOW);
    assert!(matches!(a.out.events[..], [Event::NatBlock(b)] if !b.is_allocated && b.host.octets()[3] == 7));
    a.poll(NOW + Duration::from_secs(302));
    a.poll(NOW + Duration::from_secs(302));
    assert_eq!(count(&a.out.events, |e| matches!(e, Event::NatBlock(_))), 200);
    assert_eq!(a.pipeline.next_deadline(), Instant::MAX);
    // A tunnel takes its rules with it.
    a.apply(&[Op::TunnelRemove(Gateway::TUNNEL), Op::TunnelAdd(Gateway::tunnel())]);
    a.apply(&[Op::NatRemove(Gateway::TUNNEL)]);
}

#[test]
fn rules_beyond_the_bounds_are_refused_as_a_whole() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let exempt = |n: u8| {
        rule(NatRule::Exempt {
            source: IpPrefix::host(Ipv4Addr::new(10, 1, 0, n).into()),
            destination: IpPrefix::ANY_V4,
        })
    };
    a.apply(&(0..NAT_RULES_MAX as u8).map(exempt).collect::<Vec<_>>());
    assert_eq!(a.pipeline.apply(NOW, &[exempt(99)]), Err((0, RejectReason::TableFull)));
    assert_eq!(a.pipeline.apply(NOW, &[Op::NatRemove(Gateway::TUNNEL), exempt(99)]), Ok(()));
    let pool = |n: u8| {
        let (first, last) = (Ipv4Addr::new(172, 16, n, 0), Ipv4Addr::new(172, 16, n, 255));
        let (source, destination) = (IpPrefix::ANY_V4, IpPrefix::ANY_V4);
        rule(NatRule::Overload { source, destination, first, last, own_address: false })
    };
    let pools = (NAT_POOL_ADDRESSES_MAX / 256) as u8;
    a.apply(&(0..pools).map(pool).collect::<Vec<_>>());
    assert_eq!(a.pipeline.apply(NOW, &[pool(200)]), Err((0, RejectReason::TableFull)));
    let wrong =
        NatRule::Network { side: NatSide::Inside, local: prefix("10.0.0.0/8"), global: prefix("10.0.0.0/9") };
    assert_eq!(a.pipeline.apply(NOW, &[rule(wrong)]), Err((0, RejectReason::Malformed)));
    let policy = NatPolicy { block_ports: 100, ..NatPolicy::default() };
    assert_eq!(a.pipeline.apply(NOW, &[Op::NatPolicy(policy)]), Err((0, RejectReason::Malformed)));
    let stranger = Op::NatRule { tunnel: TunnelId(99), rule: overload() };
    assert_eq!(a.pipeline.apply(NOW, &[stranger]), Err((0, RejectReason::UnknownTunnel)));
}

/// A packet of UDP in three fragments.
fn three(from: Ipv4Addr, to: Ipv4Addr, identification: u16) -> Vec<Vec<u8>> {
    let inner = Inner::udp(from.into(), to.into(), 1000);
    let whole = VecPacket::new(&[&[0; 12][..], &[8, 0], &inner.to_bytes()].concat());
    let cut = fragments(&whole, 400, identification);
    assert_eq!(cut.len(), 3);
    cut.iter().map(|f| f.data()[14..].to_vec()).collect()
}

fn orders() -> Vec<[usize; 3]> {
    vec![[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
}

/// RFC 4787 REQ-14.
#[test]
fn fragments_are_translated_in_whatever_order_they_come() {
    for (n, order) in orders().into_iter().enumerate() {
        for is_batch in [false, true] {
            let (mut a, mut b) = pair(InsideMode::Host, &[overload()]);
            let parts = three(Side::A.host(), Side::B.host(), n as u16);
            let sent: Vec<Vec<u8>> = order.iter().map(|i| parts[*i].clone()).collect();
            if is_batch {
                a.lan_batch(NOW, &sent);
            } else {
                sent.iter().for_each(|part| a.lan(NOW, part));
            }
            a.poll(NOW);
            assert_eq!(a.carry_to(NOW, &mut b), 3, "{order:?}");
            let came: Vec<_> = b.out.inside.drain(..).map(|f| f.data()[14..].to_vec()).collect();
            assert!(came.iter().all(|ip| ends(ip) == (GLOBAL, Side::B.host())), "{order:?}");
            // The answer comes in any order, too.
            let first = came.iter().find(|ip| {
                !Ipv4Header::parse(ip).expect("one").is_fragment() || ip[6] & 0x1f == 0 && ip[7] == 0
            });
            let port = u16::from_be_bytes(*first.expect("it came")[20..].first_chunk().expect("ports"));
            let mut answers = three(Side::B.host(), GLOBAL, 900 + n as u16);
            answers[0][22..24].copy_from_slice(&port.to_be_bytes());
            answers[0][20..22].copy_from_slice(&parts[0][22..24]);
            let sent: Vec<Vec<u8>> = order.iter().map(|i| answers[*i].clone()).collect();
            sent.iter().for_each(|part| b.lan(NOW, part));
            b.poll(NOW);
            let frames = std::mem::take(&mut b.out.outside);
            assert_eq!(frames.len(), 3);
            if is_batch {
                a.pipeline.batch_from_outside(NOW, frames, &mut a.out);
            } else {
                frames.into_iter().for_each(|f| a.wan(NOW, f));
            }
            let back: Vec<_> = a.out.inside.drain(..).map(|f| f.data()[14..].to_vec()).collect();
            assert_eq!(back.len(), 3, "{order:?} {:?}", a.pipeline.drops()[DropReason::NatFragment.index()]);
            assert!(back.iter().all(|ip| ends(ip) == (Side::B.host(), Side::A.host())), "{order:?}");
            assert_eq!(a.pipeline.drops().iter().sum::<u64>(), 0);
        }
    }
}

#[test]
fn fragments_that_wait_for_their_rate_are_translated_in_order() {
    for order in orders() {
        let keys = Keys::new(EspCipher::Aes128Gcm16, false);
        let (mut a, mut b) = Gateway::pair(InsideMode::Host, Kbps(64), &keys);
        a.apply(&[rule(overload())]);
        let parts = three(Side::A.host(), Side::B.host(), 5);
        order.iter().for_each(|i| a.lan(NOW, &parts[*i]));
        let mut now = NOW;
        let mut carried = 0;
        for _ in 0..1000 {
            now = now + Duration::from_millis(1);
            a.poll(now);
            carried += a.carry_to(now, &mut b);
        }
        assert_eq!((carried, b.out.inside.len()), (3, 3), "{order:?}");
        assert_eq!(a.pipeline.drops().iter().sum::<u64>(), 0);
    }
}

#[test]
fn fragments_without_a_first_end_in_time_and_hold_up_no_other_host() {
    let (mut a, mut b) = pair(InsideMode::Host, &[overload()]);
    for id in 0..500 {
        a.lan(NOW, &three(Side::A.host(), Side::B.host(), id)[1]);
    }
    let other = three(Ipv4Addr::new(10, 1, 0, 77), Side::B.host(), 1);
    for part in other.iter().rev() {
        a.lan(NOW, part);
    }
    assert_eq!(a.carry_to(NOW, &mut b), 3);
    assert!(a.pipeline.drops()[DropReason::NatFragment.index()] < 500, "some wait");
    let end = NOW + Duration::from_secs(2);
    assert_eq!(a.pipeline.next_deadline().min(end), a.pipeline.next_deadline());
    a.poll(end);
    assert_eq!(a.pipeline.drops()[DropReason::NatFragment.index()], 500);
}
