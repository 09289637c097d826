//! IPv4 headers (RFC 791).

use crate::checksum;
use core::net::Ipv4Addr;

pub const HEADER_LEN: usize = 20;
pub const TTL_AT: usize = 8;
pub const CHECKSUM_AT: usize = 10;

/// Why a header is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpError {
    Truncated,
    Version,
    /// Header or total length that cannot be, or a fragment that ends beyond the longest datagram.
    Length,
    Checksum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    pub header_len: u8,
    pub tos: u8,
    pub total_len: u16,
    pub identification: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// In units of 8 bytes.
    pub fragment_offset: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// RFC 1812 §5.2.2: the five tests a router makes before anything else.
    #[inline(always)]
    pub fn parse(packet: &[u8]) -> Result<Self, IpError> {
        let h = packet.first_chunk::<HEADER_LEN>().ok_or(IpError::Truncated)?;
        if h[0] >> 4 != 4 {
            return Err(IpError::Version);
        }
        let header_len = (h[0] & 15) * 4;
        let total_len = u16::from_be_bytes([h[2], h[3]]);
        if usize::from(header_len) < HEADER_LEN || usize::from(total_len) < usize::from(header_len) {
            return Err(IpError::Length);
        }
        if usize::from(total_len) > packet.len() {
            return Err(IpError::Truncated);
        }
        // Nearly all have no options, and a length known to the compiler is summed several times as fast.
        let sum = if usize::from(header_len) == HEADER_LEN {
            checksum::sum_20(h)
        } else {
            checksum::sum(&packet[..usize::from(header_len)], 0)
        };
        if checksum::finish(sum) != 0 {
            return Err(IpError::Checksum);
        }
        let flags = u16::from_be_bytes([h[6], h[7]]);
        let fragment_offset = flags & 0x1fff;
        // RFC 791 §3.1: a datagram has at most 65,535 bytes, so no fragment of it ends beyond that. Offsets of its own fragments
        // then fit 13 bits, too.
        if usize::from(fragment_offset) * 8 + usize::from(total_len) > usize::from(u16::MAX) {
            return Err(IpError::Length);
        }
        Ok(Self {
            header_len,
            tos: h[1],
            total_len,
            identification: u16::from_be_bytes([h[4], h[5]]),
            dont_fragment: flags & 0x4000 != 0,
            more_fragments: flags & 0x2000 != 0,
            fragment_offset,
            ttl: h[8],
            protocol: h[9],
            source: Ipv4Addr::new(h[12], h[13], h[14], h[15]),
            destination: Ipv4Addr::new(h[16], h[17], h[18], h[19]),
        })
    }

    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments || self.fragment_offset != 0
    }

    /// A header without options, with its checksum. (`header_len` is not looked at.)
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        h[0] = 0x45;
        h[1] = self.tos;
        h[2..4].copy_from_slice(&self.total_len.to_be_bytes());
        h[4..6].copy_from_slice(&self.identification.to_be_bytes());
        h[6..8].copy_from_slice(&self.flags_word().to_be_bytes());
        h[8] = self.ttl;
        h[9] = self.protocol;
        h[12..16].copy_from_slice(&self.source.octets());
        h[16..].copy_from_slice(&self.destination.octets());
        let check = checksum::finish(checksum::sum(&h, 0));
        h[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
        h
    }

    /// Flags and fragment offset as they stand in the header.
    #[must_use]
    pub const fn flags_word(&self) -> u16 {
        (self.dont_fragment as u16) << 14 | (self.more_fragments as u16) << 13 | self.fragment_offset
    }
}

/// Replaces the byte at `at` of the header and keeps its checksum right.
pub fn set_byte(packet: &mut [u8], at: usize, value: u8) {
    let word = at & !1;
    let old = u16::from_be_bytes([packet[word], packet[word + 1]]);
    packet[at] = value;
    let new = u16::from_be_bytes([packet[word], packet[word + 1]]);
    let check = u16::from_be_bytes([packet[CHECKSUM_AT], packet[CHECKSUM_AT + 1]]);
    packet[CHECKSUM_AT..CHECKSUM_AT + 2].copy_from_slice(&checksum::update(check, old, new).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Ipv4Header = Ipv4Header {
        header_len: 20,
        tos: 0xb8,
        total_len: 28,
        identification: 7,
        dont_fragment: true,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: 17,
        source: Ipv4Addr::new(192, 0, 2, 1),
        destination: Ipv4Addr::new(198, 51, 100, 1),
    };

    #[test]
    fn bytes_and_back_and_every_damage_is_seen() {
        let mut packet = [0; 28];
        packet[..20].copy_from_slice(&HEADER.to_bytes());
        assert_eq!(Ipv4Header::parse(&packet), Ok(HEADER));
        for at in 0..20 {
            let mut bad = packet;
            bad[at] ^= 1 << (at % 8);
            assert!(Ipv4Header::parse(&bad).is_err(), "byte {at}");
        }
        for len in 0..28 {
            assert_eq!(Ipv4Header::parse(&packet[..len]), Err(IpError::Truncated));
        }
    }

    #[test]
    fn a_fragment_ends_inside_the_longest_datagram() {
        let mut packet = [0; 28];
        for (offset, accepted) in [(8188, true), (8189, false), (0x1fff, false)] {
            packet[..20].copy_from_slice(&Ipv4Header { fragment_offset: offset, ..HEADER }.to_bytes());
            let parsed = Ipv4Header::parse(&packet);
            let expected = if accepted { Ok(offset) } else { Err(IpError::Length) };
            assert_eq!(parsed.map(|h| h.fragment_offset), expected, "{offset}");
        }
    }

    #[test]
    fn a_changed_byte_keeps_the_checksum() {
        let mut packet = [0; 28];
        packet[..20].copy_from_slice(&HEADER.to_bytes());
        for ttl in 0..=255 {
            set_byte(&mut packet, TTL_AT, ttl);
            assert_eq!(Ipv4Header::parse(&packet), Ok(Ipv4Header { ttl, ..HEADER }));
            set_byte(&mut packet, 1, ttl);
            assert_eq!(Ipv4Header::parse(&packet), Ok(Ipv4Header { ttl, tos: ttl, ..HEADER }));
            set_byte(&mut packet, 1, HEADER.tos);
        }
    }
}
