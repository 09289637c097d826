//! UDP (RFC 768).

pub const HEADER_LEN: usize = 8;
pub const PROTOCOL: u8 = 17;
pub const CHECKSUM_AT: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpHeader {
    pub source_port: u16,
    pub destination_port: u16,
    /// Header and payload.
    pub len: u16,
    pub checksum: u16,
}

impl UdpHeader {
    /// `None` if the length is impossible or more than there is. Bytes behind it are not the datagram's.
    #[inline]
    #[must_use]
    pub fn parse(segment: &[u8]) -> Option<Self> {
        let h = segment.first_chunk::<HEADER_LEN>()?;
        let word = |at: usize| u16::from_be_bytes([h[at], h[at + 1]]);
        let len = word(4);
        let fits = usize::from(len) >= HEADER_LEN && usize::from(len) <= segment.len();
        fits.then(|| Self { source_port: word(0), destination_port: word(2), len, checksum: word(6) })
    }

    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        h[..2].copy_from_slice(&self.source_port.to_be_bytes());
        h[2..4].copy_from_slice(&self.destination_port.to_be_bytes());
        h[4..6].copy_from_slice(&self.len.to_be_bytes());
        h[6..].copy_from_slice(&self.checksum.to_be_bytes());
        h
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_must_fit() {
        let h = UdpHeader { source_port: 1, destination_port: 2, len: 10, checksum: 3 };
        let mut s = [0; 12];
        s[..8].copy_from_slice(&h.to_bytes());
        assert_eq!(UdpHeader::parse(&s), Some(h));
        assert_eq!(UdpHeader::parse(&s[..9]), None);
        s[5] = 7;
        assert_eq!(UdpHeader::parse(&s), None);
    }
}
