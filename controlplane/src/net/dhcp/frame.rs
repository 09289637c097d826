//! Ethernet frames of DHCPv4 and of address conflict detection (RFC 5227). The client has no address yet, so it cannot
//! use a UDP socket.

use sipsec_net::MacAddr;
use sipsec_net::checksum;
use sipsec_net::eth::{self, EthHeader};
use sipsec_net::ipv4::{self, Ipv4Header};
use sipsec_net::udp::{self, UdpHeader};
use std::net::{IpAddr, Ipv4Addr};

const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
const BROADCAST: MacAddr = MacAddr([0xff; 6]);
/// Internetwork control, as DHCP messages usually have it.
const TOS: u8 = 0xc0;
const TTL: u8 = 64;
/// ARP for IPv4 over Ethernet (RFC 826): hardware type, protocol type, their lengths.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const ARP_REQUEST: u16 = 1;
const ARP_LEN: usize = 28;

/// A broadcast frame with a DHCP message.
pub fn dhcp(mac: MacAddr, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let udp_len = (udp::HEADER_LEN + payload.len()) as u16;
    let header = Ipv4Header {
        header_len: ipv4::HEADER_LEN as u8,
        tos: TOS,
        total_len: ipv4::HEADER_LEN as u16 + udp_len,
        identification: 0,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: TTL,
        protocol: udp::PROTOCOL,
        source,
        destination,
    };
    let mut udp_header =
        UdpHeader { source_port: CLIENT_PORT, destination_port: SERVER_PORT, len: udp_len, checksum: 0 };
    let pseudo = checksum::pseudo(IpAddr::V4(source), IpAddr::V4(destination), udp::PROTOCOL, udp_len);
    let sum = checksum::sum(payload, checksum::sum(&udp_header.to_bytes(), pseudo));
    // RFC 768: zero says that there is no checksum.
    udp_header.checksum = Some(checksum::finish(sum)).filter(|c| *c != 0).unwrap_or(0xffff);
    let ether = EthHeader { destination: BROADCAST, source: mac, ether_type: eth::IPV4 };
    [&ether.to_bytes()[..], &header.to_bytes(), &udp_header.to_bytes(), payload].concat()
}

/// An ARP probe: sender 0.0.0.0 (RFC 5227 §2.1.1).
pub fn arp_probe(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let ether = EthHeader { destination: BROADCAST, source: mac, ether_type: eth::ARP };
    let mut frame = ether.to_bytes().to_vec();
    frame.extend_from_slice(&ARP_HEAD);
    frame.extend_from_slice(&ARP_REQUEST.to_be_bytes());
    frame.extend_from_slice(&mac.0);
    frame.extend_from_slice(&[0; 4 + 6]);
    frame.extend_from_slice(&address.octets());
    frame
}

/// What a received frame is.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A UDP payload for port 68. The UDP checksum is not checked: a server on this machine leaves it to an offload,
    /// and the message has a transaction id of its own.
    Dhcp(&'a [u8]),
    /// Another host has this address, or probes for it (RFC 5227 §2.1.1).
    Claim(Ipv4Addr),
}

/// Reads a frame. `ours` are frames that this host sent itself.
pub fn read(frame: &[u8], ours: MacAddr) -> Option<Received<'_>> {
    let ether = EthHeader::parse(frame)?;
    let body = frame.get(eth::HEADER_LEN..)?;
    if ether.source == ours {
        return None;
    }
    match ether.ether_type {
        eth::IPV4 => {
            let header = Ipv4Header::parse(body).ok()?;
            if header.protocol != udp::PROTOCOL || header.is_fragment() {
                return None;
            }
            let segment = body.get(usize::from(header.header_len)..usize::from(header.total_len))?;
            let udp_header = UdpHeader::parse(segment)?;
            (udp_header.destination_port == CLIENT_PORT)
                .then(|| Received::Dhcp(&segment[udp::HEADER_LEN..usize::from(udp_header.len)]))
        }
        eth::ARP => {
            let arp: &[u8; ARP_LEN] = body.first_chunk()?;
            if arp[..6] != ARP_HEAD || arp[8..14] == ours.0 {
                return None;
            }
            let address = |at: usize| Ipv4Addr::new(arp[at], arp[at + 1], arp[at + 2], arp[at + 3]);
            let (sender, target) = (address(14), address(24));
            let request = u16::from_be_bytes([arp[6], arp[7]]) == ARP_REQUEST;
            match sender {
                // Another host's probe counts as much as its use of the address.
                Ipv4Addr::UNSPECIFIED if request => Some(Received::Claim(target)),
                Ipv4Addr::UNSPECIFIED => None,
                _ => Some(Received::Claim(sender)),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

    /// The client's own frame with the ports of an answer.
    fn answer(payload: &[u8]) -> Vec<u8> {
        let mut frame = dhcp(OTHER, Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::BROADCAST, payload);
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        frame
    }

    #[test]
    fn a_message_goes_out_with_right_checksums_and_comes_in() {
        let frame = dhcp(OURS, Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, b"odd");
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[34..38], [0, 68, 0, 67]);
        let pseudo = checksum::pseudo(
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::BROADCAST),
            udp::PROTOCOL,
            (frame.len() - 34) as u16,
        );
        assert_eq!(checksum::finish(checksum::sum(&frame[34..], pseudo)), 0);
        assert_eq!(read(&answer(b"hello"), OURS), Some(Received::Dhcp(b"hello")));
    }

    #[test]
    fn padding_behind_the_datagram_is_not_read_and_short_frames_are_nothing() {
        let mut frame = answer(b"hello");
        frame.extend_from_slice(&[0; 20]);
        assert_eq!(read(&frame, OURS), Some(Received::Dhcp(b"hello")));
        let whole = answer(b"hello");
        for len in 0..whole.len() {
            assert_eq!(read(&whole[..len], OURS), None, "{len} bytes");
        }
        assert_eq!(read(&whole, OTHER), None, "our own frames");
        let mut other_port = whole;
        other_port[37] = 69;
        assert_eq!(read(&other_port, OURS), None);
    }

    #[test]
    fn claims_of_others() {
        let probe = arp_probe(OTHER, ADDRESS);
        assert_eq!(read(&probe, OURS), Some(Received::Claim(ADDRESS)));
        assert_eq!(read(&probe, OTHER), None);
        let mut reply = probe;
        reply[21] = 2;
        reply[28..32].copy_from_slice(&ADDRESS.octets());
        assert_eq!(read(&reply, OURS), Some(Received::Claim(ADDRESS)));
        for len in 0..reply.len() {
            assert_eq!(read(&reply[..len], OURS), None, "{len} bytes");
        }
        // A proxy that repeats our own hardware address is no conflict.
        reply[22..28].copy_from_slice(&OURS.0);
        assert_eq!(read(&reply, OURS), None);
    }
}
