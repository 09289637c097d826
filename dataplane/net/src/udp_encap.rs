//! Classifies datagrams on a media port (RFC 3948 §2, RFC 6193 §5.5).

/// Four zero bytes before IKE on every port but 500 (RFC 3948 §2.2, RFC 7296 §2.23).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// The whole payload of a NAT keepalive (RFC 3948 §2.3).
pub const NAT_KEEPALIVE: [u8; 1] = [0xff];
/// Fixed part of an IKE header (RFC 7296 §3.1).
pub const IKE_HEADER_LEN: usize = 28;
/// SPI and sequence number (RFC 4303 §2).
pub const ESP_HEADER_LEN: usize = 8;

/// A classified UDP payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UdpEncap<'a> {
    /// An IKE message, without its marker.
    Ike(&'a [u8]),
    /// ESP from the SPI on.
    Esp(&'a [u8]),
    /// RFC 3948 §2.3: a single 0xFF keeps a NAT mapping and proves nothing else.
    Keepalive,
    /// Too short to be anything.
    Malformed,
}

/// Decides by the first 32 bits alone. A sequence number equal to the STUN cookie is ordinary ESP:
/// ICE is not negotiated, so there is no STUN on this port (RFC 6193 §5.5 asks for more than the cookie anyway).
#[inline]
#[must_use]
pub fn classify(payload: &[u8]) -> UdpEncap<'_> {
    match payload {
        _ if *payload == NAT_KEEPALIVE => UdpEncap::Keepalive,
        [0, 0, 0, 0, ike @ ..] if ike.len() >= IKE_HEADER_LEN => UdpEncap::Ike(ike),
        [0, 0, 0, 0, ..] => UdpEncap::Malformed,
        esp if esp.len() > ESP_HEADER_LEN => UdpEncap::Esp(esp),
        _ => UdpEncap::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_decides() {
        let mut ike = [0u8; 32];
        ike[4] = 7;
        assert_eq!(classify(&ike), UdpEncap::Ike(&ike[4..]));
        assert_eq!(classify(&ike[..31]), UdpEncap::Malformed);
        assert_eq!(classify(&[0xff]), UdpEncap::Keepalive);
        assert_eq!(classify(&[]), UdpEncap::Malformed);
    }

    #[test]
    fn a_sequence_number_equal_to_the_stun_cookie_is_esp() {
        let esp = [0, 0, 1, 0, 0x21, 0x12, 0xA4, 0x42, 9, 9];
        assert_eq!(classify(&esp), UdpEncap::Esp(&esp));
    }
}
