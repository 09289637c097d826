//! An engine for tests; those of the product are the dataplane process's.

use crate::engine::{AeadEngine, AeadError, AeadKey, ICV_LEN, Nonce};
use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use sipsec_net::dp::EspCipher;

/// AES-GCM by RustCrypto.
#[derive(Debug)]
pub struct TestEngine;

impl AeadEngine for TestEngine {
    fn name(&self) -> &str {
        "test-aes-gcm"
    }
    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let bad = |_| AeadError::KeyLength;
        match cipher {
            EspCipher::Aes128Gcm16 => Ok(Box::new(TestKey(Aes128Gcm::new_from_slice(key).map_err(bad)?))),
            EspCipher::Aes256Gcm16 => Ok(Box::new(TestKey(Aes256Gcm::new_from_slice(key).map_err(bad)?))),
            _ => Err(AeadError::UnsupportedCipher),
        }
    }
    fn wipes_keys(&self, _: EspCipher) -> bool {
        true
    }
}

struct TestKey<C>(C);

impl<C> AeadKey for TestKey<C>
where
    C: Send + AeadInOut<NonceSize = aes_gcm::aead::consts::U12, TagSize = aes_gcm::aead::consts::U16>,
{
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Seal)?;
        let tag = self.0.encrypt_inout_detached(&(*nonce.bytes()).into(), aad, text.into());
        *icv = tag.map_err(|_| AeadError::Seal)?.into();
        Ok(())
    }
    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Open)?;
        let opened =
            self.0.decrypt_inout_detached(&(*nonce.bytes()).into(), aad, text.into(), &(*icv).into());
        opened.map_err(|_| AeadError::Open)
    }
}
