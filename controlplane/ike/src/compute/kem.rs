//! ML-KEM (FIPS 203) as a key exchange (RFC 9370 §2.1): the initiator sends an encapsulation key, the responder a
//! ciphertext. The private value is FIPS 203's seed d ‖ z, of which the responder uses m, as long as d.

use super::{DhError, Secret};
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, Seed};

fn private_key(private: &Secret) -> Result<DecapsulationKey, DhError> {
    let seed = zeroize::Zeroizing::new(Seed::try_from(private.expose()).map_err(|_| DhError::PrivateValue)?);
    Ok(DecapsulationKey::from_seed(*seed))
}

pub(super) fn public(private: &Secret) -> Result<Vec<u8>, DhError> {
    Ok(private_key(private)?.encapsulation_key().to_bytes().to_vec())
}

/// FIPS 203 §7.2: the library refuses a key of the wrong length or with coefficients that are not reduced.
pub(super) fn respond(private: &Secret, peer: &[u8]) -> Result<(Vec<u8>, Secret), DhError> {
    let m = private.expose().first_chunk::<32>().ok_or(DhError::PrivateValue)?;
    let m = zeroize::Zeroizing::new(B32::from(*m));
    let key = peer.try_into().map_err(|_| DhError::PeerValue)?;
    let key = EncapsulationKey::new(&key).map_err(|_| DhError::PeerValue)?;
    let (ciphertext, shared) = key.encapsulate_deterministic(&m);
    Ok((ciphertext.to_vec(), Secret::new(shared.to_vec())))
}

/// FIPS 203 §7.3: a ciphertext that is of another key gives another secret, and no error.
pub(super) fn agree(private: &Secret, peer: &[u8]) -> Result<Secret, DhError> {
    let ciphertext = Ciphertext::try_from(peer).map_err(|_| DhError::PeerValue)?;
    Ok(Secret::new(private_key(private)?.decapsulate(&ciphertext).to_vec()))
}
