//! AEAD by `aws-lc-rs`: assembly, with VAES and AVX-512 where the processor has them. Its keys are wiped: AWS-LC overwrites all
//! memory that it frees.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce as AwsNonce, UnboundKey,
};
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, ICV_LEN, Nonce};

#[derive(Debug)]
pub struct AwsLcEngine;

impl AeadEngine for AwsLcEngine {
    fn name(&self) -> &str {
        "aws-lc-rs"
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let algorithm: &'static Algorithm = match cipher {
            EspCipher::Aes128Gcm16 => &AES_128_GCM,
            EspCipher::Aes256Gcm16 => &AES_256_GCM,
            EspCipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => return Err(AeadError::UnsupportedCipher),
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| AeadError::KeyLength)?;
        Ok(Box::new(AwsLcKey(LessSafeKey::new(key))))
    }

    fn wipes_keys(&self, _: EspCipher) -> bool {
        true
    }
}

/// "Less safe" is the library's word for a key whose nonces are the caller's: the pipeline's `SealSeq` is what keeps them apart.
struct AwsLcKey(LessSafeKey);

impl AeadKey for AwsLcKey {
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Seal)?;
        let nonce = AwsNonce::assume_unique_for_key(*nonce.bytes());
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
        icv.copy_from_slice(tag.map_err(|_| AeadError::Seal)?.as_ref());
        Ok(())
    }

    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let nonce = AwsNonce::assume_unique_for_key(*nonce.bytes());
        self.0.open_in_place(nonce, Aad::from(aad), data).map(drop).map_err(|_| AeadError::Open)
    }
}
