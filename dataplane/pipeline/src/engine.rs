//! The ciphers behind one trait; the engines are the dataplane process's.
//!
//! An engine sees ESP's layout: the text and, directly behind it, the ICV (RFC 4303 §2). AES-CBC also sees the IV in front
//! of the text: it makes the IV, and its ICV covers it. An engine works in place, and on runs of packets that share a key, so
//! that a wide engine needs no change of the stages around it.

use sipsec_net::dp::EspCipher;
use sipsec_net::esp::Layout;

pub const NONCE_LEN: usize = 12;
/// The ICV of the AEADs.
pub const ICV_LEN: usize = Layout::AEAD.icv_len();

/// Makes keys. Each engine passes known answers before the pipeline gets it.
pub trait AeadEngine: Send {
    fn name(&self) -> &str;
    /// `key` without the salt: [`EspCipher::key_len`] bytes. An implicit IV is no matter of the engine: it is asked for
    /// [`EspCipher::with_explicit_iv`].
    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError>;
    /// Whether dropping a key of this cipher overwrites all that was derived from it.
    fn wipes_keys(&self, cipher: EspCipher) -> bool;
}

/// One key. The nonces are the caller's: in the pipeline [`crate::SealSeq`] keeps them apart.
///
/// `data` is the text followed by the ICV; shorter data is an error. `aad` is that of RFC 4106 §5. For AES-CBC `data` begins
/// with the IV, which sealing makes from the nonce and opening reads; the ICV is that of RFC 4303 §2.8.
pub trait AeadKey: Send {
    /// Encrypts the text and writes the ICV behind it.
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError>;
    /// Decrypts the text if the ICV holds. On error the text is unspecified and must not be used.
    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError>;

    /// Seals all of `jobs` in order and marks those that succeeded.
    fn seal_batch(&mut self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            job.done = self.seal_in_place(job.nonce, job.aad, job.data).is_ok();
        }
    }

    /// Opens all of `jobs` in order and marks those whose ICV held.
    fn open_batch(&mut self, jobs: &mut [Job<'_>]) {
        for job in jobs {
            job.done = self.open_in_place(job.nonce, job.aad, job.data).is_ok();
        }
    }

    /// This key is used soon, for a text of so many bytes.
    fn prefetch(&self, text_len: usize) {
        let _ = text_len;
    }
}

/// One packet of a batch under one key.
#[derive(Debug)]
pub struct Job<'a> {
    nonce: &'a Nonce,
    aad: &'a [u8],
    data: &'a mut [u8],
    done: bool,
}

impl<'a> Job<'a> {
    /// Not done yet.
    pub const fn new(nonce: &'a Nonce, aad: &'a [u8], data: &'a mut [u8]) -> Self {
        Self { nonce, aad, data, done: false }
    }

    /// For engines: nonce, additional data, and text with ICV.
    pub const fn parts(&mut self) -> (&Nonce, &[u8], &mut [u8]) {
        (self.nonce, self.aad, self.data)
    }

    /// For engines: the outcome.
    pub const fn finish(&mut self, done: bool) {
        self.done = done;
    }

    /// Sealed, or opened with an ICV that held.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }
}

/// RFC 4106 §4, RFC 7634 §2: salt ‖ IV. Four bytes longer than that, so that one store writes it and one load reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Nonce([u8; 16]);

impl Nonce {
    #[must_use]
    pub const fn new(nonce: [u8; NONCE_LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = nonce;
        Self([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0])
    }

    /// From the salt and the IV, which is the 64-bit sequence number.
    pub(crate) const fn from_parts(salt: [u8; 4], iv: u64) -> Self {
        // Little-endian lanes: the salt's four bytes, then the eight of the IV in network order.
        Self((u32::from_le_bytes(salt) as u128 | (iv.swap_bytes() as u128) << 32).to_le_bytes())
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8; NONCE_LEN] {
        self.0.first_chunk().expect("12 of 16 bytes")
    }
}

/// RFC 4106 §5: SPI ‖ sequence number; with ESN all 64 bits of it, 12 bytes. The last byte is the length, so that one store
/// writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub(crate) struct Aad([u8; 16]);

impl Aad {
    pub(crate) const fn new(spi: u32, sequence: u64, esn: bool) -> Self {
        let (sequence, len) = if esn { (sequence, 12) } else { (sequence << 32, 8) };
        let bytes = spi.swap_bytes() as u128 | (sequence.swap_bytes() as u128) << 32 | len << 120;
        Self(bytes.to_le_bytes())
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        let len = usize::from(self.0[self.0.len() - 1]);
        self.0.get(..len).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AeadError {
    /// This engine does not have the cipher.
    UnsupportedCipher,
    KeyLength,
    Seal,
    /// The ICV is wrong.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonce_and_additional_data_are_in_network_order() {
        let nonce = Nonce::from_parts([1, 2, 3, 4], 0x0506_0708_090a_0b0c);
        assert_eq!(nonce.bytes(), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        assert_eq!(nonce, Nonce::new([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
        let (spi, sequence) = (0x0102_0304, 0x0506_0708_090a_0b0c);
        assert_eq!(Aad::new(spi, sequence, false).as_slice(), [1, 2, 3, 4, 9, 10, 11, 12]);
        assert_eq!(Aad::new(spi, sequence, true).as_slice(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }
}
