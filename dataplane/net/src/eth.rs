//! Ethernet II.

use crate::MacAddr;

pub const HEADER_LEN: usize = 14;
pub const MAC_LEN: usize = 6;
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;
/// TPIDs of IEEE 802.1Q.
pub const C_TAG: u16 = 0x8100;
pub const S_TAG: u16 = 0x88a8;
pub const TAG_LEN: usize = 4;
/// Tags that are looked through: a C-tag behind an S-tag.
pub const TAGS_MAX: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthHeader {
    pub destination: MacAddr,
    pub source: MacAddr,
    pub ether_type: u16,
}

impl EthHeader {
    #[inline]
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let h = frame.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            destination: MacAddr([h[0], h[1], h[2], h[3], h[4], h[5]]),
            source: MacAddr([h[6], h[7], h[8], h[9], h[10], h[11]]),
            ether_type: u16::from_be_bytes([h[12], h[13]]),
        })
    }

    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        h[..6].copy_from_slice(&self.destination.0);
        h[6..12].copy_from_slice(&self.source.0);
        h[12..].copy_from_slice(&self.ether_type.to_be_bytes());
        h
    }
}

/// The ethertype, taken from behind priority tags, and where the packet begins. IEEE 802.1Q §6.9: a tag with VID 0 names no
/// VLAN, only a priority, so the frame is an untagged one. Behind a tag with another VID, the ethertype stays that of the tag.
#[inline]
#[must_use]
pub fn untagged(frame: &[u8]) -> Option<(u16, usize)> {
    let h = frame.first_chunk::<HEADER_LEN>()?;
    match u16::from_be_bytes([h[12], h[13]]) {
        tag @ (C_TAG | S_TAG) => behind_tags(frame, tag),
        ether_type => Some((ether_type, HEADER_LEN)),
    }
}

#[cold]
fn behind_tags(frame: &[u8], tag: u16) -> Option<(u16, usize)> {
    let (mut ether_type, mut at) = (tag, HEADER_LEN);
    for _ in 0..TAGS_MAX {
        if !matches!(ether_type, C_TAG | S_TAG) {
            break;
        }
        let tag = frame.get(at..)?.first_chunk::<TAG_LEN>()?;
        if u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff != 0 {
            break;
        }
        ether_type = u16::from_be_bytes([tag[2], tag[3]]);
        at += TAG_LEN;
    }
    Some((ether_type, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back() {
        let h = EthHeader {
            destination: MacAddr([1, 2, 3, 4, 5, 6]),
            source: MacAddr([7, 8, 9, 10, 11, 12]),
            ether_type: IPV6,
        };
        assert_eq!(EthHeader::parse(&h.to_bytes()), Some(h));
        assert_eq!(EthHeader::parse(&[0; 13]), None);
    }

    #[test]
    fn only_priority_tags_are_looked_through() {
        let frame = |tags: &[u8]| {
            let mut frame = [7; 12].to_vec();
            frame.extend_from_slice(tags);
            frame
        };
        let parse = |tags: &[u8]| untagged(&frame(tags));
        assert_eq!(parse(&[8, 0]), Some((IPV4, 14)));
        assert_eq!(parse(&[8]), None);
        // Any priority and drop eligibility, one tag or two.
        assert_eq!(parse(&[0x81, 0, 0x60, 0, 8, 0]), Some((IPV4, 18)));
        assert_eq!(parse(&[0x88, 0xa8, 0xf0, 0, 0x81, 0, 0, 0, 0x86, 0xdd]), Some((IPV6, 22)));
        // A VLAN, also inside a priority tag; three tags.
        assert_eq!(parse(&[0x81, 0, 0x60, 1, 8, 0]), Some((C_TAG, 14)));
        assert_eq!(parse(&[0x81, 0, 0, 0, 0x81, 0, 0x0f, 0xff, 8, 0]), Some((C_TAG, 18)));
        assert_eq!(parse(&[0x81, 0, 0, 0].repeat(4)), Some((C_TAG, 22)));
        // Cut inside a tag.
        assert_eq!(parse(&[0x81, 0, 0, 0, 8]), None);
    }
}
