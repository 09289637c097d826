//! Ethernet II.

use crate::MacAddr;

pub const HEADER_LEN: usize = 14;
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;

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
}
