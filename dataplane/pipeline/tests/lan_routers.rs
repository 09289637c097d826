//! Router mode: packets for prefixes behind other routers of the LAN go to those.

use sipsec_net::dp::EspCipher;
use sipsec_net::{Instant, IpPrefix, Kbps, MacAddr};
use sipsec_pipeline::testing::{Gateway, Keys, Side, ipv4_udp};
use sipsec_pipeline::{InsideMode, LanRouters, Packet};
use std::net::Ipv4Addr;

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 9, 2]);
const BEHIND: Ipv4Addr = Ipv4Addr::new(10, 2, 8, 1);

fn pair() -> (Gateway, Gateway) {
    let keys = Keys::new(EspCipher::Aes128Gcm16, false);
    let up = |side: Side, routers: &[(IpPrefix, MacAddr)]| {
        let mut config = Gateway::config(side, InsideMode::Router);
        config.inside.routers = LanRouters::new(routers).expect("few");
        let mut g = Gateway::with_config(side, config);
        g.call(Kbps(10_000_000), &keys);
        g
    };
    let behind = IpPrefix::new(BEHIND.into(), 32).expect("a host");
    (up(Side::A, &[]), up(Side::B, &[(behind, ROUTER)]))
}

fn next_hop() -> MacAddr {
    Gateway::config(Side::B, InsideMode::Router).inside.next_hop
}

#[test]
fn each_router_gets_what_is_behind_it_and_the_next_hop_the_rest() {
    let (mut a, mut b) = pair();
    for (destination, to) in [(BEHIND, ROUTER), (Side::B.host(), next_hop())] {
        a.lan(NOW, &ipv4_udp(Side::A.host(), destination, 100));
        assert_eq!(a.carry_to(NOW, &mut b), 1);
        let got = std::mem::take(&mut b.out.inside);
        assert_eq!(got[0].data()[..6], to.0, "{destination}");
    }
}

/// RFC 1812 §5.3.1: the error goes to the sender, by the router that is before it.
#[test]
fn errors_go_to_the_router_of_the_sender() {
    let (_, mut b) = pair();
    for (source, to) in [(BEHIND, ROUTER), (Side::B.host(), next_hop())] {
        let mut late = ipv4_udp(source, Side::A.host(), 100);
        // TTL 1, with the checksum of the header as it was less what the TTL has lost.
        let lost = u16::from(late[8] - 1) << 8;
        late[8] = 1;
        let sum = u32::from(u16::from_be_bytes([late[10], late[11]])) + u32::from(lost);
        let folded = (sum & 0xffff) + (sum >> 16);
        late[10..12].copy_from_slice(&(folded as u16).to_be_bytes());
        b.lan(NOW, &late);
        let told = std::mem::take(&mut b.out.inside);
        assert_eq!(told[0].data()[..6], to.0, "{source}");
    }
}
