//! ESP in UDP (RFC 4303, RFC 3948): sizes of each kind of cipher and the fixed header.

use crate::{ipv4, ipv6, udp};

pub use crate::udp_encap::ESP_HEADER_LEN;

/// Pad length and next header.
pub const TRAILER_LEN: usize = 2;
/// Next headers (RFC 4303 §2.6).
pub const NEXT_IPV4: u8 = 4;
pub const NEXT_IPV6: u8 = 41;
/// A dummy packet, to be discarded.
pub const NEXT_NONE: u8 = 59;

/// Sizes that a cipher gives its packets, in bytes. Blocks are powers of two, so that no packet costs a division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    iv_len: u8,
    /// RFC 4303 §2.4: the trailer ends on a multiple of this.
    block_len: u8,
    icv_len: u8,
}

impl Layout {
    /// AES-GCM and ChaCha20-Poly1305 (RFC 4106 §3.1, §6; RFC 7634 §2).
    pub const AEAD: Self = Self { iv_len: 8, block_len: 4, icv_len: 16 };
    /// The same without the IV, which is the sequence number (RFC 8750 §4).
    pub const AEAD_IMPLICIT_IV: Self = Self { iv_len: 0, ..Self::AEAD };

    /// AES-CBC (RFC 3602 §2.1, §3) with a truncated HMAC of so many bytes.
    #[must_use]
    pub const fn aes_cbc(icv_len: u8) -> Self {
        Self { iv_len: 16, block_len: 16, icv_len }
    }

    #[inline]
    #[must_use]
    pub const fn iv_len(self) -> usize {
        self.iv_len as usize
    }

    #[inline]
    #[must_use]
    pub const fn block_len(self) -> usize {
        self.block_len as usize
    }

    #[inline]
    #[must_use]
    pub const fn icv_len(self) -> usize {
        self.icv_len as usize
    }

    /// Bytes before the encrypted payload: header and IV.
    #[inline]
    #[must_use]
    pub const fn front_len(self) -> usize {
        ESP_HEADER_LEN + self.iv_len()
    }

    /// Where the part of a packet begins that an engine seals or opens: that of AES-CBC begins with the IV.
    #[inline]
    #[must_use]
    pub const fn engine_at(self) -> usize {
        if self.block_len == Self::AEAD.block_len { self.front_len() } else { ESP_HEADER_LEN }
    }

    /// Bytes of padding after `inner` bytes of payload.
    #[inline]
    #[must_use]
    pub const fn pad_len(self, inner: usize) -> usize {
        (inner + TRAILER_LEN).wrapping_neg() & (self.block_len() - 1)
    }

    /// Whether a text of so many bytes, with its trailer, ends where RFC 4303 §2.4 wants it to.
    #[inline]
    #[must_use]
    pub const fn is_whole(self, text: usize) -> bool {
        text >= TRAILER_LEN && text & (self.block_len() - 1) == 0
    }

    /// Bytes from the SPI to the end of the ICV for `inner` bytes of payload.
    #[inline]
    #[must_use]
    pub const fn packet_len(self, inner: usize) -> usize {
        self.front_len() + inner + self.pad_len(inner) + TRAILER_LEN + self.icv_len()
    }

    /// Largest payload whose ESP packet has at most `available` bytes.
    #[must_use]
    pub const fn payload_max(self, available: usize) -> usize {
        let (fixed, block) = (self.front_len() + self.icv_len(), self.block_len());
        if available < fixed + block { 0 } else { (available - fixed) / block * block - TRAILER_LEN }
    }

    /// Largest inner packet that ESP in UDP carries over a link with this MTU; `outer_v6` is the outer packet's version.
    #[must_use]
    pub const fn inner_mtu(self, outer_mtu: usize, outer_v6: bool) -> usize {
        let ip = if outer_v6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
        self.payload_max(outer_mtu.saturating_sub(ip + udp::HEADER_LEN))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EspHeader {
    pub spi: u32,
    /// Low-order 32 bits.
    pub sequence: u32,
}

impl EspHeader {
    #[inline]
    #[must_use]
    pub fn parse(esp: &[u8]) -> Option<Self> {
        let h = esp.first_chunk::<ESP_HEADER_LEN>()?;
        Some(Self {
            spi: u32::from_be_bytes([h[0], h[1], h[2], h[3]]),
            sequence: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
        })
    }

    #[must_use]
    pub fn to_bytes(&self) -> [u8; ESP_HEADER_LEN] {
        let mut h = [0; ESP_HEADER_LEN];
        h[..4].copy_from_slice(&self.spi.to_be_bytes());
        h[4..].copy_from_slice(&self.sequence.to_be_bytes());
        h
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_max_is_the_inverse_of_packet_len() {
        let cbc = [12, 16, 24, 32].map(Layout::aes_cbc);
        for layout in [Layout::AEAD, Layout::AEAD_IMPLICIT_IV].into_iter().chain(cbc) {
            for available in 0..2000 {
                let max = layout.payload_max(available);
                assert!(max == 0 || layout.packet_len(max) <= available);
                if available >= layout.packet_len(0) {
                    assert!(layout.packet_len(max + 1) > available, "{layout:?} {available}");
                }
            }
        }
    }

    #[test]
    fn what_a_link_carries_depends_on_the_cipher() {
        let inner = |layout: Layout| (layout.inner_mtu(1500, false), layout.inner_mtu(1500, true));
        assert_eq!(inner(Layout::AEAD), (1438, 1418));
        assert_eq!(inner(Layout::AEAD_IMPLICIT_IV), (1446, 1426));
        // AES-CBC with HMAC-SHA1-96, HMAC-SHA2-256-128 and HMAC-SHA2-512-256.
        assert_eq!(inner(Layout::aes_cbc(12)), (1422, 1406));
        assert_eq!(inner(Layout::aes_cbc(16)), (1422, 1406));
        assert_eq!(inner(Layout::aes_cbc(32)), (1406, 1390));
        // Behind PPPoE, and a link that carries nothing.
        assert_eq!((Layout::AEAD.inner_mtu(1492, false), Layout::AEAD.inner_mtu(40, true)), (1430, 0));
    }
}
