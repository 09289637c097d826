//! X25519 (RFC 8031) and the NIST curves (RFC 5903).

use super::{DhError, Secret};
use crate::algorithm::DhGroup;
use aws_lc_rs::agreement::{self, Algorithm, PrivateKey, UnparsedPublicKey};

/// SEC 1 §2.3.3: the prefix of an uncompressed point. On the wire of IKE there is none (RFC 5903 §7).
const UNCOMPRESSED: u8 = 4;

const fn algorithm(group: DhGroup) -> &'static Algorithm {
    match group {
        DhGroup::Ecp256 => &agreement::ECDH_P256,
        DhGroup::Ecp384 => &agreement::ECDH_P384,
        DhGroup::Ecp521 => &agreement::ECDH_P521,
        _ => &agreement::X25519,
    }
}

fn private_key(group: DhGroup, private: &Secret) -> Result<PrivateKey, DhError> {
    let mut scalar = zeroize::Zeroizing::new(private.expose().to_vec());
    if let (DhGroup::Ecp521, Some(top)) = (group, scalar.first_mut()) {
        // 521 bits in 66 bytes.
        *top &= 1;
    }
    PrivateKey::from_private_key(algorithm(group), &scalar).map_err(|_| DhError::PrivateValue)
}

pub(super) fn public(group: DhGroup, private: &Secret) -> Result<Vec<u8>, DhError> {
    let public = private_key(group, private)?.compute_public_key().map_err(|_| DhError::PrivateValue)?;
    let bytes = public.as_ref();
    Ok(if group == DhGroup::X25519 { bytes } else { bytes.get(1..).ok_or(DhError::PrivateValue)? }.to_vec())
}

/// RFC 5903 §7: the shared secret is the x coordinate. The library refuses points off the curve (RFC 5903 §9) and an
/// all-zero X25519 result (RFC 8031 §5).
pub(super) fn agree(group: DhGroup, private: &Secret, peer: &[u8]) -> Result<Secret, DhError> {
    let key = private_key(group, private)?;
    let mut point = Vec::with_capacity(peer.len() + 1);
    if group != DhGroup::X25519 {
        point.push(UNCOMPRESSED);
    }
    point.extend_from_slice(peer);
    let peer = UnparsedPublicKey::new(algorithm(group), point);
    agreement::agree(&key, peer, DhError::PeerValue, |shared| Ok(Secret::new(shared.to_vec())))
}
