//! AEAD by the libraries that have ring's interface: assembly. "Less safe" is their word for a key whose nonces are the caller's:
//! the pipeline's `SealSeq` is what keeps them apart.

macro_rules! engine {
    ($library:ident, $engine:ident, $name:literal, wipes_keys: $wipes:literal) => {
        mod $library {
            use ::$library::aead::{
                AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey,
                Nonce as LibraryNonce, UnboundKey,
            };
            use sipsec_net::dp::EspCipher;
            use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, ICV_LEN, Nonce};

            #[derive(Debug)]
            pub struct $engine;

            impl AeadEngine for $engine {
                fn name(&self) -> &str {
                    $name
                }

                fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
                    let algorithm: &'static Algorithm = match cipher {
                        EspCipher::Aes128Gcm16 => &AES_128_GCM,
                        EspCipher::Aes256Gcm16 => &AES_256_GCM,
                        EspCipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
                        _ => return Err(AeadError::UnsupportedCipher),
                    };
                    let key = UnboundKey::new(algorithm, key).map_err(|_| AeadError::KeyLength)?;
                    Ok(Box::new(Key(LessSafeKey::new(key))))
                }

                fn wipes_keys(&self, _: EspCipher) -> bool {
                    $wipes
                }
            }

            struct Key(LessSafeKey);

            impl AeadKey for Key {
                fn seal_in_place(
                    &mut self,
                    nonce: &Nonce,
                    aad: &[u8],
                    data: &mut [u8],
                ) -> Result<(), AeadError> {
                    let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Seal)?;
                    let nonce = LibraryNonce::assume_unique_for_key(*nonce.bytes());
                    let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text);
                    icv.copy_from_slice(tag.map_err(|_| AeadError::Seal)?.as_ref());
                    Ok(())
                }

                fn open_in_place(
                    &mut self,
                    nonce: &Nonce,
                    aad: &[u8],
                    data: &mut [u8],
                ) -> Result<(), AeadError> {
                    let nonce = LibraryNonce::assume_unique_for_key(*nonce.bytes());
                    self.0.open_in_place(nonce, Aad::from(aad), data).map(drop).map_err(|_| AeadError::Open)
                }
            }
        }
        pub use $library::$engine;
    };
}

// Its `LessSafeKey` has no `Drop`.
engine!(ring, RingEngine, "ring", wipes_keys: false);
// With VAES and AVX-512 where the processor has them. AWS-LC overwrites all memory that it frees.
engine!(aws_lc_rs, AwsLcEngine, "aws-lc-rs", wipes_keys: true);
