//! ML-KEM (FIPS 203) as a key exchange (RFC 9370 §2.1): the initiator sends an encapsulation key, the responder a
//! ciphertext. The private value is FIPS 203's seed d ‖ z, of which the responder uses m, as long as d.

use super::{DhError, Secret};
use crate::algorithm::DhGroup;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{B32, Seed};

fn seed(private: &Secret) -> Result<zeroize::Zeroizing<Seed>, DhError> {
    Seed::try_from(private.expose()).map(zeroize::Zeroizing::new).map_err(|_| DhError::PrivateValue)
}

/// One parameter set: the types of the library have no common trait for what follows.
macro_rules! parameter_set {
    ($name:ident) => {
        mod $name {
            use super::*;
            use ml_kem::$name::{Ciphertext, DecapsulationKey, EncapsulationKey};

            pub(super) fn public(private: &Secret) -> Result<Vec<u8>, DhError> {
                let key = DecapsulationKey::from_seed(*seed(private)?);
                Ok(key.encapsulation_key().to_bytes().to_vec())
            }

            pub(super) fn respond(private: &Secret, peer: &[u8]) -> Result<(Vec<u8>, Secret), DhError> {
                let m = private.expose().first_chunk::<32>().ok_or(DhError::PrivateValue)?;
                let m = zeroize::Zeroizing::new(B32::from(*m));
                let key = peer.try_into().map_err(|_| DhError::PeerValue)?;
                let key = EncapsulationKey::new(&key).map_err(|_| DhError::PeerValue)?;
                let (ciphertext, shared) = key.encapsulate_deterministic(&m);
                Ok((ciphertext.to_vec(), Secret::new(shared.to_vec())))
            }

            pub(super) fn agree(private: &Secret, peer: &[u8]) -> Result<Secret, DhError> {
                let ciphertext = Ciphertext::try_from(peer).map_err(|_| DhError::PeerValue)?;
                let key = DecapsulationKey::from_seed(*seed(private)?);
                Ok(Secret::new(key.decapsulate(&ciphertext).to_vec()))
            }
        }
    };
}

parameter_set!(ml_kem_512);
parameter_set!(ml_kem_768);
parameter_set!(ml_kem_1024);

pub(super) fn public(group: DhGroup, private: &Secret) -> Result<Vec<u8>, DhError> {
    match group {
        DhGroup::MlKem512 => ml_kem_512::public(private),
        DhGroup::MlKem1024 => ml_kem_1024::public(private),
        _ => ml_kem_768::public(private),
    }
}

/// FIPS 203 §7.2: the library refuses a key of the wrong length or with coefficients that are not reduced.
pub(super) fn respond(group: DhGroup, private: &Secret, peer: &[u8]) -> Result<(Vec<u8>, Secret), DhError> {
    match group {
        DhGroup::MlKem512 => ml_kem_512::respond(private, peer),
        DhGroup::MlKem1024 => ml_kem_1024::respond(private, peer),
        _ => ml_kem_768::respond(private, peer),
    }
}

/// FIPS 203 §7.3: a ciphertext of another key gives another secret, and no error.
pub(super) fn agree(group: DhGroup, private: &Secret, peer: &[u8]) -> Result<Secret, DhError> {
    match group {
        DhGroup::MlKem512 => ml_kem_512::agree(private, peer),
        DhGroup::MlKem1024 => ml_kem_1024::agree(private, peer),
        _ => ml_kem_768::agree(private, peer),
    }
}
