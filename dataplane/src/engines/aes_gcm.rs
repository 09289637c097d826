//! AEAD by RustCrypto's `aes-gcm`: portable, fastest of the two for small packets where the CPU has wide AES. ChaCha20 is
//! `ring`'s in either engine.

use super::ring::RingEngine;
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey};

#[derive(Debug)]
pub struct AesGcmEngine;

impl AeadEngine for AesGcmEngine {
    fn name(&self) -> &'static str {
        "aes-gcm"
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let bad = |_| AeadError::KeyLength;
        match cipher {
            EspCipher::Aes128Gcm16 => Ok(Box::new(Key(Aes128Gcm::new_from_slice(key).map_err(bad)?))),
            EspCipher::Aes256Gcm16 => Ok(Box::new(Key(Aes256Gcm::new_from_slice(key).map_err(bad)?))),
            // The control plane proposes ciphers without asking which engine was the faster.
            EspCipher::ChaCha20Poly1305 => RingEngine.new_key(cipher, key),
        }
    }
}

struct Key<C>(C);

impl<C: Send + AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>>
    AeadKey for Key<C>
{
    fn seal_in_place(&mut self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8]) -> Result<[u8; 16], AeadError> {
        self.0
            .encrypt_inout_detached(&(*nonce).into(), aad, buf.into())
            .map(Into::into)
            .map_err(|_| AeadError::Seal)
    }

    fn open_in_place(
        &mut self,
        nonce: &[u8; 12],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), AeadError> {
        self.0
            .decrypt_inout_detached(&(*nonce).into(), aad, buf.into(), &(*tag).into())
            .map_err(|_| AeadError::Open)
    }
}
