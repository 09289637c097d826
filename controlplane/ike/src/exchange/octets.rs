//! A message as it was before encryption and fragmentation, which is what IKE_AUTH authenticates of IKE_INTERMEDIATE
//! (RFC 9242 §3.3.2).

use crate::wire::PayloadType;
use crate::wire::header::HEADER_LEN;

pub(super) const GENERIC_HEADER_LEN: usize = 4;
/// Header of a message and of its Encrypted payload, if nothing stands between them.
pub(crate) type Head = Option<[u8; HEAD_LEN]>;
pub(super) const HEAD_LEN: usize = HEADER_LEN + GENERIC_HEADER_LEN;

/// RFC 9242 §3.3.2: header, generic header and inner payloads, with lengths that count these alone.
pub(super) fn octets(head: [u8; HEAD_LEN], first: PayloadType, plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LEN + plaintext.len());
    out.extend_from_slice(&head);
    out.extend_from_slice(plaintext);
    let whole = u32::try_from(out.len()).expect("messages are bounded by MESSAGE_MAX").to_be_bytes();
    out[24..28].copy_from_slice(&whole);
    // As if it were whole: Encrypted, not Encrypted Fragment.
    out[16] = PayloadType::SK.0;
    out[HEADER_LEN] = first.0;
    let payload = u16::try_from(GENERIC_HEADER_LEN + plaintext.len()).unwrap_or(u16::MAX); // bounded by MESSAGE_MAX
    out[HEADER_LEN + 2..HEAD_LEN].copy_from_slice(&payload.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Exchange, Header};

    /// RFC 9242 §3.3.2, figure 1: what is authenticated is the same for a whole message and for its fragments.
    #[test]
    fn a_message_before_encryption() {
        let header = Header {
            spi_i: 0x0102_0304_0506_0708,
            spi_r: 0x1112_1314_1516_1718,
            first: PayloadType::SK,
            exchange: Exchange::IKE_INTERMEDIATE,
            from_initiator: true,
            response: false,
            id: 1,
        };
        let plaintext = [0x29, 0, 0, 6, 0xaa, 0xbb];
        let want = [
            1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 46, 0x20, 43, 0x08, 0, 0,
            0, 1, 0, 0, 0, 38, 34, 0x40, 0, 10, 0x29, 0, 0, 6, 0xaa, 0xbb,
        ];
        for kind in [PayloadType::SK, PayloadType::SKF] {
            let mut head = [0; HEAD_LEN];
            head[..HEADER_LEN].copy_from_slice(&Header { first: kind, ..header }.encode(777));
            // Reserved bits as received, and the length of the message on the wire.
            head[HEADER_LEN..].copy_from_slice(&[34, 0x40, 2, 0xe9]);
            assert_eq!(octets(head, PayloadType::KE, &plaintext), want);
        }
    }
}
