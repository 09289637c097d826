//! AES-GCM by RustCrypto's `aes-gcm`: portable, without assembly. Its keys are wiped (feature `zeroize`).

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, ICV_LEN, Nonce};

#[derive(Debug)]
pub struct AesGcmEngine;

impl AeadEngine for AesGcmEngine {
    fn name(&self) -> &str {
        "aes-gcm"
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let bad = |_| AeadError::KeyLength;
        match cipher {
            EspCipher::Aes128Gcm16 => Ok(Box::new(Key(Aes128Gcm::new_from_slice(key).map_err(bad)?))),
            EspCipher::Aes256Gcm16 => Ok(Box::new(Key(Aes256Gcm::new_from_slice(key).map_err(bad)?))),
            _ => Err(AeadError::UnsupportedCipher),
        }
    }

    fn wipes_keys(&self, _: EspCipher) -> bool {
        true
    }
}

struct Key<C>(C);

impl<C: Send + AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>>
    AeadKey for Key<C>
{
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Seal)?;
        let tag = self.0.encrypt_inout_detached(&(*nonce.bytes()).into(), aad, text.into());
        *icv = tag.map_err(|_| AeadError::Seal)?.into();
        Ok(())
    }

    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Open)?;
        self.0
            .decrypt_inout_detached(&(*nonce.bytes()).into(), aad, text.into(), &(*icv).into())
            .map_err(|_| AeadError::Open)
    }
}
