//! ESP with a counter-mode AEAD in UDP (RFC 4303, RFC 4106, RFC 3948): sizes and the fixed header.

use crate::{ipv4, ipv6, udp};

pub use crate::udp_encap::ESP_HEADER_LEN;

/// RFC 4106 §3.1.
pub const IV_LEN: usize = 8;
/// RFC 4106 §6: the 16-byte ICV.
pub const ICV_LEN: usize = 16;
/// Pad length and next header.
pub const TRAILER_LEN: usize = 2;
/// RFC 4303 §2.4: the trailer ends on a 4-byte boundary.
pub const ALIGN: usize = 4;
/// Next headers (RFC 4303 §2.6).
pub const NEXT_IPV4: u8 = 4;
pub const NEXT_IPV6: u8 = 41;
/// A dummy packet, to be discarded.
pub const NEXT_NONE: u8 = 59;

/// Bytes of padding after `inner` bytes of payload.
#[must_use]
pub const fn pad_len(inner: usize) -> usize {
    (ALIGN - (inner + TRAILER_LEN) % ALIGN) % ALIGN
}

/// Bytes from the SPI to the end of the ICV for `inner` bytes of payload.
#[must_use]
pub const fn packet_len(inner: usize) -> usize {
    ESP_HEADER_LEN + IV_LEN + inner + pad_len(inner) + TRAILER_LEN + ICV_LEN
}

/// Largest payload whose ESP packet has at most `available` bytes.
#[must_use]
pub const fn payload_max(available: usize) -> usize {
    let fixed = ESP_HEADER_LEN + IV_LEN + ICV_LEN;
    if available < fixed + ALIGN { 0 } else { (available - fixed) / ALIGN * ALIGN - TRAILER_LEN }
}

/// Largest inner packet that ESP in UDP carries over a link with this MTU; `outer_v6` is the outer packet's version.
#[must_use]
pub const fn inner_mtu(outer_mtu: usize, outer_v6: bool) -> usize {
    let ip = if outer_v6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
    payload_max(outer_mtu.saturating_sub(ip + udp::HEADER_LEN))
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
        for available in 0..2000 {
            let max = payload_max(available);
            assert!(max == 0 || packet_len(max) <= available);
            if available >= packet_len(0) {
                assert!(packet_len(max + 1) > available, "{available}");
            }
        }
        // RFC arithmetic for a 1500-byte path over IPv4: 1438 bytes inside.
        assert_eq!((inner_mtu(1500, false), inner_mtu(1500, true)), (1438, 1418));
        // Behind PPPoE, and a link that carries nothing.
        assert_eq!((inner_mtu(1492, false), inner_mtu(40, true)), (1430, 0));
    }
}
