//! One rule after the other: ports, networks, exemptions, the gateway's own address, fragments, limits.

use super::packet::{ACK, Packet, SYN};
use super::*;
use sipsec_net::nat::{NatFiltering, NatSide};

fn network(side: NatSide, local: &str, global: &str) -> NatRule {
    NatRule::Network { side, local: prefix(local), global: prefix(global) }
}

fn port_rule() -> NatRule {
    NatRule::Port { protocol: NatProtocol::Tcp, local: end("10.1.0.9:80"), global: end("192.0.2.1:8080") }
}

#[test]
fn a_port_rule_admits_every_sender_and_its_port_is_given_to_no_host() {
    for rules in [[port_rule(), pool()], [pool(), port_rule()]] {
        let mut nat =
            nat_of(&rules, NatPolicy { filtering: NatFiltering::AddressAndPortDependent, ..policy() });
        let syn = Packet::new(NatProtocol::Tcp, end("198.51.100.7:40000"), end("192.0.2.1:8080"));
        let inside = nat.receive(at(1), &syn).expect("let in");
        assert_eq!(inside.destination, end("10.1.0.9:80"));
        let answer = nat.send(at(1), &inside.answer()).expect("known");
        assert_eq!((answer.source, answer.destination), (end("192.0.2.1:8080"), end("198.51.100.7:40000")));
        // What the host begins itself from that port is of the same mapping.
        let own = Packet::new(NatProtocol::Tcp, end("10.1.0.9:80"), end("198.51.100.8:5"));
        assert_eq!(nat.send(at(1), &own).expect("translated").source, end("192.0.2.1:8080"));
        // And another port of it is not.
        assert_ne!(nat.udp(at(1), "10.1.0.9:80", "198.51.100.8:5"), Ok(end("192.0.2.1:8080")));
        let statistics = nat.statistics();
        assert_eq!((statistics.sessions, statistics.mappings), (3, 2));
        nat.poll(at(100_000));
        assert_eq!((nat.statistics().sessions, nat.statistics().mappings, nat.statistics().hosts), (0, 1, 0));
        assert!(nat.receive(at(100_000), &syn).is_ok(), "the rule stays");
    }
}

#[test]
fn a_port_rule_takes_its_port_from_a_translation_that_has_it() {
    let mut nat = nat(&[pool()]);
    let packet = Packet::new(NatProtocol::Tcp, end("10.1.0.1:1000"), end("198.51.100.7:80"));
    let taken = nat.send(at(1), &packet).expect("translated").source;
    let rule = NatRule::Port { protocol: NatProtocol::Tcp, local: end("10.1.0.9:80"), global: taken };
    nat.add_rule(T, TunnelId(7), &rule);
    nat.poll(at(1));
    assert_eq!(nat.statistics().sessions, 0);
    let syn = Packet::new(NatProtocol::Tcp, end("198.51.100.7:80"), taken);
    assert_eq!(nat.receive(at(1), &syn).expect("let in").destination, end("10.1.0.9:80"));
    assert_ne!(nat.send(at(1), &packet).expect("translated").source, taken);
}

#[test]
fn overlapping_networks_are_told_apart_at_both_ends() {
    // Both sites are 10.0.0.0/24; each calls the other by another prefix, translated here alone.
    let mut one = nat(&[
        network(NatSide::Inside, "10.0.0.0/24", "192.168.101.0/24"),
        network(NatSide::Outside, "192.168.102.0/24", "10.0.0.0/24"),
    ]);
    for protocol in NatProtocol::ALL {
        let packet = Packet {
            options: vec![1, 1, 1, 1],
            ..Packet::new(protocol, end("10.0.0.5:7"), end("192.168.102.9:0"))
        };
        let sent = one.send(at(1), &packet).expect("translated");
        assert_eq!((sent.source, sent.destination), (end("192.168.101.5:7"), end("10.0.0.9:0")));
        assert_eq!(one.receive(at(1), &sent.answer()), Ok(packet.answer()), "there and back");
    }
    // Any protocol: the header alone, and of those that cover the addresses the checksum.
    let mut esp = Packet::new(NatProtocol::Tcp, end("10.0.0.5:7"), end("192.168.102.9:0")).bytes();
    esp[9] = 50;
    super::packet::put_check(&mut esp[..20], 10, 0);
    let before = esp.clone();
    assert_eq!(one.outbound(at(1), T, &mut esp), Ok(true));
    assert_eq!((&esp[12..16], &esp[20..]), (&[192, 168, 101, 5][..], &before[20..]));
    assert_eq!(one.statistics().sessions, 0, "no state");
}

#[test]
fn ipv6_prefixes_are_translated_without_touching_checksums() {
    let mut nat = nat(&[network(NatSide::Inside, "fd01:203:405::/48", "2001:db8:1::/48")]);
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
    packet.extend("fd01:203:405:1::1234".parse::<std::net::Ipv6Addr>().expect("address").octets());
    packet.extend("2001:db8:2::5".parse::<std::net::Ipv6Addr>().expect("address").octets());
    packet.extend([0, 7, 0, 9, 0, 8, 0xab, 0xcd]);
    let before = packet.clone();
    assert_eq!(nat.outbound(at(1), T, &mut packet), Ok(true));
    assert_eq!(
        packet[8..24],
        "2001:db8:1:d550::1234".parse::<std::net::Ipv6Addr>().expect("address").octets()
    );
    assert_eq!(packet[24..], before[24..]);
    // An error about it comes back with it as it was.
    let mut error = vec![0x60, 0, 0, 0, 0, 8 + 48, 58, 64];
    error.extend("2001:db8:2::1".parse::<std::net::Ipv6Addr>().expect("address").octets());
    error.extend(&packet[8..24]);
    error.extend([3, 0, 0, 0, 0, 0, 0, 0]);
    error.extend(&packet);
    assert_eq!(nat.inbound(at(1), T, &mut error), Ok(true));
    assert_eq!((&error[24..40], &error[48..]), (&before[8..24], &before[..]));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let exempt = NatRule::Exempt { source: prefix("10.1.0.0/16"), destination: prefix("10.9.0.0/16") };
    let mut nat = nat(&[exempt, pool()]);
    assert_eq!(nat.udp(at(1), "10.1.0.1:1000", "10.9.0.1:53"), Ok(end("10.1.0.1:1000")));
    assert_eq!(nat.udp(at(1), "10.2.0.1:1000", "198.51.100.1:53"), Ok(end("10.2.0.1:1000")), "no rule");
    assert_ne!(nat.udp(at(1), "10.1.0.1:1000", "198.51.100.1:53"), Ok(end("10.1.0.1:1000")));
    // To an address that is no translation's.
    let other = Packet::new(NatProtocol::Udp, end("198.51.100.1:53"), end("10.2.0.1:1000"));
    assert_eq!(nat.receive(at(1), &other), Ok(other));
}

#[test]
fn what_belongs_to_no_translation_is_the_gateways_if_it_has_the_address() {
    let mut nat = nat(&[own_address()]);
    let ping = Packet::new(NatProtocol::Icmp, end("198.51.100.1:77"), end("192.0.2.1:0"));
    assert_eq!(nat.receive(at(1), &ping), Ok(ping.clone()));
    assert_eq!(nat.send(at(1), &ping.answer()), Ok(ping.answer()));
    // The gateway's own connections keep their ports, and are not given to hosts.
    for protocol in [NatProtocol::Tcp, NatProtocol::Udp] {
        let own = Packet::new(protocol, end("192.0.2.1:40000"), end("198.51.100.1:179"));
        assert_eq!(nat.send(at(1), &own), Ok(own.clone()));
        assert_eq!(nat.receive(at(1), &own.answer()), Ok(own.answer()));
    }
    assert_eq!(nat.statistics().sessions, 2);
    let host = Packet::new(NatProtocol::Icmp, end("10.1.0.1:77"), end("198.51.100.1:0"));
    let sent = nat.send(at(1), &host).expect("translated");
    assert_eq!(nat.receive(at(1), &sent.answer()), Ok(host.answer()));
    nat.poll(at(100_000));
    assert_eq!((nat.statistics().mappings, nat.statistics().blocks), (0, 0));
}

#[test]
fn hairpin_packets_bear_the_senders_global_endpoint() {
    let mut nat = nat_of(
        &[port_rule(), pool()],
        NatPolicy { filtering: NatFiltering::EndpointIndependent, ..policy() },
    );
    assert!(nat.is_hairpin(T, ip("192.0.2.1").into()) && !nat.is_hairpin(T, ip("192.0.2.3").into()));
    let syn = Packet::new(NatProtocol::Tcp, end("10.1.0.1:1000"), end("192.0.2.1:8080"));
    let out = nat.send(at(1), &syn).expect("out");
    let back = nat.receive(at(1), &out).expect("and in");
    assert_eq!((back.source, back.destination), (out.source, end("10.1.0.9:80")));
    assert!(pool().is_inside_global((*back.source.ip()).into()), "RFC 4787 REQ-9 a");
    let answer = nat.send(at(1), &back.answer()).expect("out");
    assert_eq!(nat.receive(at(1), &answer), Ok(syn.answer()));
}

#[test]
fn fragments_follow_the_first_one() {
    let mut nat = nat(&[pool()]);
    let packet = Packet {
        payload: vec![9; 64],
        ..Packet::new(NatProtocol::Udp, end("10.1.0.1:1000"), end("198.51.100.1:53"))
    };
    let [mut first, mut later] = packet.fragments(24);
    assert_eq!(nat.outbound(at(1), T, &mut later.clone()), Err(DropReason::NatFragment), "too early");
    assert_eq!(nat.outbound(at(1), T, &mut first), Ok(true));
    assert_eq!(nat.outbound(at(1), T, &mut later), Ok(true));
    // Together they are the packet that translation would have made of the whole.
    let whole = nat.send(at(1), &packet).expect("translated");
    assert_eq!([first.clone(), later.clone()], whole.fragments(24));
    // And back.
    let answer = Packet { payload: vec![8; 64], ..whole.answer() };
    let [mut first, mut later] = answer.fragments(16);
    assert_eq!(nat.inbound(at(1), T, &mut first), Ok(true));
    assert_eq!(nat.inbound(at(1), T, &mut later), Ok(true));
    assert_eq!([first, later], Packet { payload: vec![8; 64], ..packet.answer() }.fragments(16));
    assert_eq!(
        nat.inbound(at(70), T, &mut answer.fragments(16)[1]),
        Err(DropReason::NatFragment),
        "too late"
    );
}

#[test]
fn checksums_that_are_not_there_stay_away_and_wrong_ones_stay_wrong() {
    let mut nat = nat(&[pool()]);
    let none = Packet {
        no_checksum: true,
        ..Packet::new(NatProtocol::Udp, end("10.1.0.1:1000"), end("198.51.100.1:53"))
    };
    let sent = nat.send(at(1), &none).expect("translated");
    assert!(sent.no_checksum && sent.source != none.source);
    for payload in 0..=u16::MAX {
        // Among them are those whose checksum becomes zero, which UDP sends as all ones.
        let packet = Packet { no_checksum: false, payload: payload.to_be_bytes().to_vec(), ..none.clone() };
        let sent = nat.send(at(1), &packet).expect("translated");
        assert_eq!(sent, Packet { source: sent.source, ..packet });
    }
    // Damage on the way is still seen by the receiver: without it the packet would be right.
    let mut damaged = Packet { no_checksum: false, ..none }.bytes();
    damaged[30] ^= 0x55;
    assert_eq!(nat.outbound(at(1), T, &mut damaged), Ok(true));
    damaged[30] ^= 0x55;
    let _ = Packet::read(&damaged);
}

#[test]
fn what_has_no_ports_or_is_too_short_does_not_go() {
    let mut nat = nat(&[pool()]);
    let gre = |protocol: u8, len: usize| {
        let mut bytes = Packet::new(NatProtocol::Tcp, end("10.1.0.1:7"), end("198.51.100.1:0")).bytes();
        bytes.truncate(20 + len);
        bytes[9] = protocol;
        bytes
    };
    assert_eq!(nat.outbound(at(1), T, &mut gre(47, 20)), Err(DropReason::NatProtocol));
    assert_eq!(nat.outbound(at(1), T, &mut gre(17, 3)), Err(DropReason::NatMalformed));
    assert_eq!(nat.outbound(at(1), T, &mut gre(6, 20)[..19]), Err(DropReason::NatMalformed));
    let reply =
        Packet { icmp_type: 0, ..Packet::new(NatProtocol::Icmp, end("10.1.0.1:0"), end("198.51.100.1:7")) };
    assert_eq!(nat.send(at(1), &reply), Err(DropReason::NatNoTranslation));
    assert_eq!(nat.statistics().mappings, 0);
}

#[test]
fn rules_go_with_their_translations_and_a_clear_keeps_the_rules() {
    let mut nat = nat(&[port_rule(), pool()]);
    let fill = |nat: &mut Nat| {
        for host in 1..9 {
            nat.udp(at(1), &format!("10.1.0.{host}:1000"), "198.51.100.1:53").expect("translated");
        }
    };
    fill(&mut nat);
    nat.clear(Some(ip("10.1.0.3")));
    nat.poll(at(1));
    let mut hosts = Vec::new();
    nat.page(at(1), 0, 100, |e| hosts.push(*e.inside_local.ip()));
    assert_eq!((hosts.len(), hosts.contains(&ip("10.1.0.3"))), (7, false));
    nat.clear(None);
    assert_eq!(nat.page(at(1), 0, 100, |e| panic!("{e:?}")), None);
    assert_eq!(nat.deadline(), Instant::ZERO);
    nat.poll(at(1));
    assert_eq!((nat.statistics().sessions, nat.statistics().mappings, nat.statistics().cleared), (0, 1, 8));
    fill(&mut nat);
    nat.clear_rules(T);
    assert!(!nat.is_active(T));
    let packet = Packet::new(NatProtocol::Udp, end("10.1.0.1:1000"), end("198.51.100.1:53"));
    assert_eq!(nat.send(at(1), &packet), Ok(packet.clone()));
    nat.add_rule(T, TunnelId(8), &pool());
    assert_ne!(nat.send(at(1), &packet), Ok(packet));
    nat.poll(at(1));
    let statistics = nat.statistics();
    assert_eq!((statistics.sessions, statistics.mappings, statistics.blocks), (1, 1, 1));
}

#[test]
fn ports_of_a_host_are_bounded_and_of_all_hosts_too() {
    let tight = NatPolicy { port_first: 2048, port_last: 2048 + 191, blocks_per_host_max: 1, ..policy() };
    let one = NatRule::Overload {
        source: prefix("10.1.0.0/16"),
        destination: IpPrefix::ANY_V4,
        first: ip("192.0.2.1"),
        last: ip("192.0.2.1"),
        own_address: false,
    };
    let mut nat = nat_of(&[one], tight);
    // The table has room for 64 sessions and the block for 64 ports.
    for port in 0..64 {
        nat.udp(at(1), &format!("10.1.0.1:{}", 1000 + port), "198.51.100.1:53").expect("a port");
    }
    assert_eq!(nat.udp(at(1), "10.1.0.1:2000", "198.51.100.1:53"), Err(DropReason::NatTableFull));
    nat.poll(at(400));
    for host in 1..=3 {
        nat.udp(at(400), &format!("10.1.0.{host}:1"), "198.51.100.1:53").expect("a block each");
    }
    assert_eq!(nat.udp(at(400), "10.1.0.4:1", "198.51.100.1:53"), Err(DropReason::NatPortsExhausted));
    assert_eq!(nat.statistics().hosts, 3);
    nat.poll(at(800));
    assert!(nat.udp(at(800), "10.1.0.4:1", "198.51.100.1:53").is_ok());
}

#[test]
fn an_unanswered_connection_from_outside_ends_after_six_seconds() {
    let mut nat = nat(&[port_rule(), pool()]);
    let syn = Packet::new(NatProtocol::Tcp, end("198.51.100.7:40000"), end("192.0.2.1:8080"));
    let inside = nat.receive(at(10), &syn).expect("let in");
    nat.poll(at(16));
    assert_eq!(nat.statistics().sessions, 1);
    nat.poll(at(17));
    assert_eq!(nat.statistics().sessions, 0);
    nat.receive(at(20), &syn).expect("let in");
    nat.send(at(25), &Packet { tcp_flags: SYN | ACK, ..inside.answer() }).expect("answered");
    nat.poll(at(7465));
    assert_eq!(nat.statistics().sessions, 1, "7440 seconds from its last packet");
    nat.poll(at(7466));
    assert_eq!(nat.statistics().sessions, 0);
}
