//! Shared key message integrity code.

use super::SignedOctets;
use crate::crypto::prf::prf;

const KEY_PAD: &[u8] = b"Key Pad for IKEv2";

/// RFC 7296 §2.15: AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>).
pub(super) fn mac(key: &[u8], octets: &SignedOctets<'_>) -> Vec<u8> {
    let padded = prf(octets.prf, key, &[KEY_PAD]);
    octets.parts(|parts| prf(octets.prf, padded.expose(), parts).expose().to_vec())
}
