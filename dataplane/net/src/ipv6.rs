//! IPv6 headers (RFC 8200).

use crate::ipv4::IpError;
use core::net::Ipv6Addr;

pub const HEADER_LEN: usize = 40;
/// RFC 8200 §5: every link carries so much, and no host sends less because it is told to.
pub const MTU_MIN: u16 = 1280;
pub const HOP_LIMIT_AT: usize = 7;
/// Extension headers looked through for the upper layer.
pub const EXTENSIONS_MAX: usize = 8;
/// The protocol of an upper layer that was not found (RFC 4301 §4.4.1.1: OPAQUE, which only ANY covers). No upper layer has
/// this number: it is that of the hop-by-hop options header.
pub const OPAQUE: u8 = HOP_BY_HOP;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
/// Next header of the fragment header.
pub const FRAGMENT: u8 = 44;
pub const FRAGMENT_LEN: usize = 8;
const DESTINATION_OPTIONS: u8 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    pub traffic_class: u8,
    pub flow_label: u32,
    pub payload_len: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
}

/// Where the upper layer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// [`OPAQUE`] if it is behind more extension headers than are looked through.
    pub protocol: u8,
    /// From the start of the IPv6 header.
    pub offset: u16,
    pub fragment: bool,
    /// A fragment that does not hold the upper-layer header.
    pub later_fragment: bool,
}

/// RFC 8200 §4.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    pub next_header: u8,
    /// In bytes, a multiple of 8.
    pub offset: u16,
    pub more: bool,
    pub identification: u32,
}

impl FragmentHeader {
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let h = bytes.first_chunk::<FRAGMENT_LEN>()?;
        let place = u16::from_be_bytes([h[2], h[3]]);
        Some(Self {
            next_header: h[0],
            offset: place & 0xfff8,
            more: place & 1 != 0,
            identification: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
        })
    }

    /// RFC 6946 §2: the only fragment of its packet.
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

impl Ipv6Header {
    pub fn parse(packet: &[u8]) -> Result<Self, IpError> {
        let h = packet.first_chunk::<HEADER_LEN>().ok_or(IpError::Truncated)?;
        let first = u32::from_be_bytes([h[0], h[1], h[2], h[3]]);
        if first >> 28 != 6 {
            return Err(IpError::Version);
        }
        let payload_len = u16::from_be_bytes([h[4], h[5]]);
        let total = HEADER_LEN + usize::from(payload_len);
        // RFC 2675 jumbograms need a payload length of 0 and links larger than any here.
        if total > packet.len() {
            return Err(IpError::Truncated);
        }
        if total > usize::from(u16::MAX) {
            return Err(IpError::Length);
        }
        let addr = |at: usize| {
            let mut a = [0; 16];
            a.copy_from_slice(&h[at..at + 16]);
            Ipv6Addr::from(a)
        };
        Ok(Self {
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0xf_ffff,
            payload_len,
            next_header: h[6],
            hop_limit: h[7],
            source: addr(8),
            destination: addr(24),
        })
    }

    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | (self.flow_label & 0xf_ffff);
        h[..4].copy_from_slice(&first.to_be_bytes());
        h[4..6].copy_from_slice(&self.payload_len.to_be_bytes());
        h[6] = self.next_header;
        h[7] = self.hop_limit;
        h[8..24].copy_from_slice(&self.source.octets());
        h[24..].copy_from_slice(&self.destination.octets());
        h
    }

    /// Looks through extension headers (RFC 8200 §4). `packet` is what [`Self::parse`] accepted. RFC 4301 §4.4.1.1: AH and ESP
    /// are upper layers; nothing behind AH may be changed (RFC 4302 §3.3.3.1).
    pub fn upper_layer(&self, packet: &[u8]) -> Result<UpperLayer, IpError> {
        let end = HEADER_LEN + usize::from(self.payload_len);
        let packet = packet.get(..end).ok_or(IpError::Truncated)?;
        let (mut protocol, mut offset, mut fragment) = (self.next_header, HEADER_LEN, false);
        for _ in 0..EXTENSIONS_MAX {
            let len = match protocol {
                HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                    8 + 8 * usize::from(*packet.get(offset + 1).ok_or(IpError::Truncated)?)
                }
                FRAGMENT => FRAGMENT_LEN,
                _ => {
                    return Ok(UpperLayer {
                        protocol,
                        offset: offset as u16,
                        fragment,
                        later_fragment: false,
                    });
                }
            };
            let header = packet.get(offset..offset + len).ok_or(IpError::Truncated)?;
            if protocol == FRAGMENT {
                fragment = true;
                if u16::from_be_bytes([header[2], header[3]]) >> 3 != 0 {
                    let offset = (offset + len) as u16;
                    return Ok(UpperLayer { protocol: header[0], offset, fragment, later_fragment: true });
                }
            }
            protocol = header[0];
            offset += len;
        }
        // RFC 8200 §4: a node on the way need not process them, so the packet is not refused.
        Ok(UpperLayer { protocol: OPAQUE, offset: offset as u16, fragment, later_fragment: false })
    }
}

/// Sets the traffic class; there is no header checksum.
pub fn set_traffic_class(packet: &mut [u8], class: u8) {
    packet[0] = packet[0] & 0xf0 | class >> 4;
    packet[1] = packet[1] & 0x0f | class << 4;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            traffic_class: 0xb9,
            flow_label: 0x12345,
            payload_len: payload.len() as u16,
            next_header,
            hop_limit: 3,
            source: "2001:db8::1".parse().expect("valid"),
            destination: "2001:db8::2".parse().expect("valid"),
        };
        let mut p = header.to_bytes().to_vec();
        p.extend_from_slice(payload);
        assert_eq!(Ipv6Header::parse(&p), Ok(header));
        p
    }

    #[test]
    fn the_upper_layer_is_found_behind_extensions_or_not_at_all() {
        let upper = |p: &[u8]| Ipv6Header::parse(p).and_then(|h| h.upper_layer(p));
        // Destination options, then a first fragment, then UDP.
        let mut payload = std::vec![FRAGMENT, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9];
        payload.extend([0; 8]);
        let p = packet(DESTINATION_OPTIONS, &payload);
        let expected = UpperLayer { protocol: 17, offset: 56, fragment: true, later_fragment: false };
        assert_eq!(upper(&p), Ok(expected));
        let p = packet(FRAGMENT, &[6, 0, 0, 8, 0, 0, 0, 1]);
        assert!(upper(&p).is_ok_and(|u| u.later_fragment && u.protocol == 6));
        // Longer than the packet; endless.
        assert_eq!(upper(&packet(HOP_BY_HOP, &[17, 9, 0, 0, 0, 0, 0, 0])), Err(IpError::Truncated));
        let chain = |n: usize| upper(&packet(ROUTING, &[ROUTING, 0, 0, 0, 0, 0, 0, 0].repeat(n)));
        assert!(chain(9).is_ok_and(|u| (u.protocol, u.offset) == (OPAQUE, 40 + 8 * 8)));
        assert!(chain(150).is_ok_and(|u| (u.protocol, u.offset) == (OPAQUE, 40 + 8 * 8)));
        // AH counts as an upper layer; its Next Header field is not followed.
        let ah = [6, 4, 0, 0, 0, 0, 1, 1, 0, 0, 0, 1];
        assert!(upper(&packet(51, &ah)).is_ok_and(|u| (u.protocol, u.offset) == (51, 40)));
    }

    #[test]
    fn the_traffic_class_changes_alone() {
        let mut p = packet(59, &[]);
        set_traffic_class(&mut p, 0x46);
        let h = Ipv6Header::parse(&p).expect("still one");
        assert_eq!((h.traffic_class, h.flow_label), (0x46, 0x12345));
    }
}
