//! AEAD by `ring`: assembly, fastest of the two above about 512 bytes.

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey,
};
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey};

#[derive(Debug)]
pub struct RingEngine;

impl AeadEngine for RingEngine {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let algorithm: &'static Algorithm = match cipher {
            EspCipher::Aes128Gcm16 => &AES_128_GCM,
            EspCipher::Aes256Gcm16 => &AES_256_GCM,
            EspCipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| AeadError::KeyLength)?;
        Ok(Box::new(RingKey(LessSafeKey::new(key))))
    }
}

/// "Less safe" is ring's word for a key whose nonces are the caller's: the pipeline's `SealSeq` is what keeps them apart.
struct RingKey(LessSafeKey);

impl AeadKey for RingKey {
    fn seal_in_place(&mut self, nonce: &[u8; 12], aad: &[u8], buf: &mut [u8]) -> Result<[u8; 16], AeadError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag =
            self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), buf).map_err(|_| AeadError::Seal)?;
        tag.as_ref().try_into().map_err(|_| AeadError::Seal)
    }

    fn open_in_place(
        &mut self,
        nonce: &[u8; 12],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), AeadError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(aad), Tag::from(*tag), buf, 0..)
            .map(drop)
            .map_err(|_| AeadError::Open)
    }
}
