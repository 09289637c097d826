//! AEAD by `graviola`: proved assembly for processors with AVX2 and AES, or with ARMv8's cryptography. Its keys are wiped.

use graviola::aead::{AesGcm, ChaCha20Poly1305};
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, ICV_LEN, Nonce};

#[derive(Debug)]
pub struct GraviolaEngine(());

impl GraviolaEngine {
    /// None on a processor on which the library's functions would panic.
    pub fn find() -> Option<Self> {
        graviola::util::is_cpu_supported().then_some(Self(()))
    }
}

impl AeadEngine for GraviolaEngine {
    fn name(&self) -> &str {
        "graviola"
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        match cipher {
            // A key of another length would make the library panic.
            EspCipher::Aes128Gcm16 | EspCipher::Aes256Gcm16 if key.len() != cipher.key_len() => {
                Err(AeadError::KeyLength)
            }
            EspCipher::Aes128Gcm16 | EspCipher::Aes256Gcm16 => Ok(Box::new(Key(AesGcm::new(key)))),
            EspCipher::ChaCha20Poly1305 => {
                let key = key.try_into().map_err(|_| AeadError::KeyLength)?;
                Ok(Box::new(Key(ChaCha20Poly1305::new(key))))
            }
            _ => Err(AeadError::UnsupportedCipher),
        }
    }

    fn wipes_keys(&self, _: EspCipher) -> bool {
        true
    }
}

struct Key<C>(C);

// The library's two types have equal methods, and no trait says so.
macro_rules! key {
    ($cipher:ty) => {
        impl AeadKey for Key<$cipher> {
            fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
                let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Seal)?;
                self.0.encrypt(nonce.bytes(), aad, text, icv);
                Ok(())
            }

            fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
                let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Open)?;
                self.0.decrypt(nonce.bytes(), aad, text, icv).map_err(|_| AeadError::Open)
            }
        }
    };
}

key!(AesGcm);
key!(ChaCha20Poly1305);
