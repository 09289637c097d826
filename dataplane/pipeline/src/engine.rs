//! The AEAD behind one trait; the engines are the dataplane process's.

use sipsec_net::dp::EspCipher;

pub const NONCE_LEN: usize = 12;
pub const ICV_LEN: usize = 16;

/// Makes keys. Each engine proves itself with known answers before the pipeline gets it.
pub trait AeadEngine: Send {
    fn name(&self) -> &'static str;
    /// `key` without the salt: 16 or 32 bytes.
    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError>;
}

/// One key. The nonces are the caller's: in the pipeline [`crate::SealSeq`] keeps them apart.
pub trait AeadKey: Send {
    fn seal_in_place(
        &mut self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; ICV_LEN], AeadError>;
    /// `buf` is the ciphertext and becomes the plaintext. On error its contents are unspecified and must not be used.
    fn open_in_place(
        &mut self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; ICV_LEN],
    ) -> Result<(), AeadError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AeadError {
    /// This engine does not have the cipher.
    UnsupportedCipher,
    KeyLength,
    Seal,
    /// The tag is wrong.
    Open,
}

impl core::fmt::Display for AeadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::UnsupportedCipher => "the engine does not have this cipher",
            Self::KeyLength => "wrong key length",
            Self::Seal => "cannot seal",
            Self::Open => "authentication failed",
        })
    }
}

impl core::error::Error for AeadError {}
