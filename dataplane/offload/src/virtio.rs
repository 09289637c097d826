//! `struct virtio_net_hdr` (linux/virtio_net.h; Virtual I/O Device 1.2 §5.1.6), in the byte order of the machine, as a TUN device
//! with IFF_VNET_HDR puts it before each frame.

/// Bytes of the header. (The one with `num_buffers` has two more.)
pub const LEN: usize = 10;

/// `flags`: the checksum from `csum_start` on is not computed yet.
pub const NEEDS_CSUM: u8 = 1;
/// `gso_type`: one packet as it is.
pub const GSO_NONE: u8 = 0;
pub const GSO_TCPV4: u8 = 1;
pub const GSO_TCPV6: u8 = 4;
/// UDP datagrams of one length, each with its own header.
pub const GSO_UDP_L4: u8 = 5;
/// Beside a TCP type: the packet has CWR set (RFC 3168), which the first segment alone keeps.
pub const GSO_ECN: u8 = 0x80;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    pub flags: u8,
    pub gso_type: u8,
    /// Of all headers; a hint.
    pub hdr_len: u16,
    /// Payload of each segment but the last.
    pub gso_size: u16,
    /// From the start of the frame.
    pub csum_start: u16,
    /// From `csum_start`.
    pub csum_offset: u16,
}

impl VirtioHeader {
    #[must_use]
    pub const fn from_bytes(b: [u8; LEN]) -> Self {
        Self {
            flags: b[0],
            gso_type: b[1],
            hdr_len: u16::from_ne_bytes([b[2], b[3]]),
            gso_size: u16::from_ne_bytes([b[4], b[5]]),
            csum_start: u16::from_ne_bytes([b[6], b[7]]),
            csum_offset: u16::from_ne_bytes([b[8], b[9]]),
        }
    }

    #[must_use]
    pub fn to_bytes(self) -> [u8; LEN] {
        let mut b = [0; LEN];
        b[0] = self.flags;
        b[1] = self.gso_type;
        let words = [self.hdr_len, self.gso_size, self.csum_start, self.csum_offset];
        for (to, word) in b[2..].chunks_exact_mut(2).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_back() {
        let header = VirtioHeader {
            flags: NEEDS_CSUM,
            gso_type: GSO_TCPV6 | GSO_ECN,
            hdr_len: 86,
            gso_size: 1360,
            csum_start: 54,
            csum_offset: 16,
        };
        assert_eq!(VirtioHeader::from_bytes(header.to_bytes()), header);
        assert_eq!(VirtioHeader::default().to_bytes(), [0; LEN]);
    }
}
