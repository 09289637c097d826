//! Packets before and after translation that scapy made (`tests/golden/generate.py`): another implementation of every
//! checksum, of ICMP errors, of IP options and of protocols that are not known here.

use super::*;
use sipsec_net::nat::NatSide;

const FRAMES: &str = include_str!("../../tests/golden/frames.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

#[test]
fn frames_of_scapy_are_translated_byte_for_byte() {
    let port = |protocol, local, global| NatRule::Port { protocol, local: end(local), global: end(global) };
    let mut nat = nat(&[
        port(NatProtocol::Tcp, "10.1.0.9:80", "192.0.2.1:8080"),
        port(NatProtocol::Udp, "10.1.0.9:53", "192.0.2.1:5353"),
        NatRule::Network {
            side: NatSide::Inside,
            local: prefix("10.0.0.0/24"),
            global: prefix("192.168.101.0/24"),
        },
    ]);
    let mut steps = 0;
    for line in FRAMES.lines() {
        let [name, way, before, after] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let mut packet = bytes(before);
        let changed = match way {
            "out" => nat.outbound(at(1), T, &mut packet),
            _ => nat.inbound(at(1), T, &mut packet),
        };
        assert_eq!(changed, Ok(true), "{name}");
        assert_eq!(packet, bytes(after), "{name}");
        steps += 1;
    }
    assert_eq!(steps, 31);
}
