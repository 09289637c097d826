//! AEAD by `ring`: assembly. Its keys are not wiped: `LessSafeKey` has no `Drop`.

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce as RingNonce, UnboundKey,
};
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, ICV_LEN, Nonce};

#[derive(Debug)]
pub struct RingEngine;

impl AeadEngine for RingEngine {
    fn name(&self) -> &str {
        "ring"
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let algorithm: &'static Algorithm = match cipher {
            EspCipher::Aes128Gcm16 => &AES_128_GCM,
            EspCipher::Aes256Gcm16 => &AES_256_GCM,
            EspCipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => return Err(AeadError::UnsupportedCipher),
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| AeadError::KeyLength)?;
        Ok(Box::new(RingKey(LessSafeKey::new(key))))
    }

    fn wipes_keys(&self, _: EspCipher) -> bool {
        false
    }
}

/// "Less safe" is ring's word for a key whose nonces are the caller's: the pipeline's `SealSeq` is what keeps them apart.
struct RingKey(LessSafeKey);

impl AeadKey for RingKey {
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Seal)?;
        let nonce = RingNonce::assume_unique_for_key(*nonce.bytes());
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        icv.copy_from_slice(tag.map_err(|_| AeadError::Seal)?.as_ref());
        Ok(())
    }

    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let nonce = RingNonce::assume_unique_for_key(*nonce.bytes());
        self.0.open_in_place(nonce, Aad::from(aad), data).map(drop).map_err(|_| AeadError::Open)
    }
}
