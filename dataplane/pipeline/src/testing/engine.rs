//! An engine for tests; those of the product are the dataplane process's.

use crate::engine::{AeadEngine, AeadError, AeadKey};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use sipsec_net::dp::EspCipher;

/// AES-GCM by RustCrypto.
#[derive(Debug)]
pub struct TestEngine;

impl AeadEngine for TestEngine {
    fn name(&self) -> &'static str {
        "test-aes-gcm"
    }
    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let bad = |_| AeadError::KeyLength;
        match cipher {
            EspCipher::Aes128Gcm16 => Ok(Box::new(TestKey(Aes128Gcm::new_from_slice(key).map_err(bad)?))),
            EspCipher::Aes256Gcm16 => Ok(Box::new(TestKey(Aes256Gcm::new_from_slice(key).map_err(bad)?))),
            EspCipher::ChaCha20Poly1305 => Err(AeadError::UnsupportedCipher),
        }
    }
}

struct TestKey<C>(C);

impl<C> AeadKey for TestKey<C>
where
    C: Send + AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    fn seal_in_place(&mut self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8]) -> Result<[u8; 16], AeadError> {
        let tag = self.0.encrypt_inout_detached(&(*nonce).into(), aad, buf.into());
        tag.map(Into::into).map_err(|_| AeadError::Seal)
    }
    fn open_in_place(
        &mut self,
        nonce: &[u8; 12],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), AeadError> {
        let opened = self.0.decrypt_inout_detached(&(*nonce).into(), aad, buf.into(), &(*tag).into());
        opened.map_err(|_| AeadError::Open)
    }
}
