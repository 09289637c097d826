//! Sealing and opening of the Encrypted payload (RFC 7296 §3.14, RFC 5282, RFC 7634), one object per direction.

use super::prf::checksum;
use crate::algorithm::{Encr, Integ};
use crate::secret::Secret;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use sipsec_net::Entropy;
use subtle::ConstantTimeEq;

/// The ICV did not hold, or what it protects is no padded plaintext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OpenError;

enum Mode {
    Aead {
        key: Box<LessSafeKey>,
        salt: [u8; 4],
        /// RFC 5282 §3.1: an IV must not repeat under one key; a counter cannot.
        next_iv: u64,
    },
    Cbc {
        key: Secret,
        integ: Integ,
        integ_key: Secret,
    },
}

pub(crate) struct Cipher {
    encr: Encr,
    mode: Mode,
}

const ICV_MAX: usize = 32;

impl Cipher {
    /// `integ` is absent exactly for combined modes (the proposal table sees to it).
    pub fn new(encr: Encr, key: &Secret, integ: Option<(Integ, &Secret)>) -> Self {
        let algorithm = match encr {
            Encr::Aes128Gcm16 => Some(&AES_128_GCM),
            Encr::Aes256Gcm16 => Some(&AES_256_GCM),
            Encr::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
            Encr::Aes128Cbc | Encr::Aes256Cbc => None,
        };
        let mode = match (algorithm, integ) {
            (Some(algorithm), _) => {
                let (key, salt) = key
                    .expose()
                    .split_last_chunk::<4>()
                    .expect("keymat_len of combined modes holds the salt");
                let key = UnboundKey::new(algorithm, key).expect("keymat_len is the algorithm's");
                Mode::Aead { key: Box::new(LessSafeKey::new(key)), salt: *salt, next_iv: 0 }
            }
            (None, Some((integ, integ_key))) => {
                Mode::Cbc { key: key.clone(), integ, integ_key: integ_key.clone() }
            }
            (None, None) => unreachable!("the proposal table pairs CBC with an integrity algorithm"),
        };
        Self { encr, mode }
    }

    fn icv_len(&self) -> usize {
        match &self.mode {
            Mode::Aead { .. } => self.encr.aead_icv_len(),
            Mode::Cbc { integ, .. } => integ.icv_len(),
        }
    }

    /// Bytes that sealing adds to a plaintext of `len`: IV, padding with its length byte, ICV.
    pub fn sealed_len(&self, len: usize) -> usize {
        let block = self.encr.block_len();
        self.encr.iv_len() + (len + 1).div_ceil(block) * block + self.icv_len()
    }

    /// Longest plaintext whose sealed form is at most `room` bytes.
    pub fn plaintext_room(&self, room: usize) -> usize {
        let block = self.encr.block_len();
        let inner = room.saturating_sub(self.encr.iv_len() + self.icv_len());
        (inner / block * block).saturating_sub(1)
    }

    /// Appends IV, ciphertext and ICV to `message`, which so far holds everything that is authenticated only.
    pub fn seal(&mut self, message: &mut Vec<u8>, plaintext: &[u8], entropy: &mut dyn Entropy) {
        let block = self.encr.block_len();
        let padded = (plaintext.len() + 1).div_ceil(block) * block;
        let pad = padded - plaintext.len() - 1;
        let mut data = Vec::with_capacity(padded + ICV_MAX);
        data.extend_from_slice(plaintext);
        data.resize(padded - 1, 0);
        data.push(u8::try_from(pad).expect("padding is shorter than a block"));
        match &mut self.mode {
            Mode::Aead { key, salt, next_iv } => {
                let iv = next_iv.to_be_bytes();
                *next_iv = next_iv.checked_add(1).expect("2⁶⁴ messages are never sent");
                key.seal_in_place_append_tag(nonce(salt, &iv), Aad::from(&message[..]), &mut data)
                    .expect("messages are far below the cipher's limit");
                message.extend_from_slice(&iv);
                message.extend_from_slice(&data);
            }
            Mode::Cbc { key, integ, integ_key } => {
                // RFC 3602 §3: the IV must be unpredictable.
                let mut iv = [0; 16];
                entropy.fill(&mut iv);
                let len = data.len();
                if self.encr == Encr::Aes128Cbc {
                    cbc::Encryptor::<aes::Aes128>::new_from_slices(key.expose(), &iv)
                        .expect("keymat_len is the cipher's")
                        .encrypt_padded::<NoPadding>(&mut data, len)
                        .expect("padded to whole blocks");
                } else {
                    cbc::Encryptor::<aes::Aes256>::new_from_slices(key.expose(), &iv)
                        .expect("keymat_len is the cipher's")
                        .encrypt_padded::<NoPadding>(&mut data, len)
                        .expect("padded to whole blocks");
                }
                message.extend_from_slice(&iv);
                message.extend_from_slice(&data);
                let icv = checksum(*integ, integ_key.expose(), &[message]);
                message.extend_from_slice(&icv);
            }
        }
    }

    /// The plaintext of `sealed` (IV, ciphertext, ICV); `before` is the message up to it.
    pub fn open(&self, before: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (iv, rest) = sealed.split_at_checked(self.encr.iv_len()).ok_or(OpenError)?;
        let mut data = match &self.mode {
            Mode::Aead { key, salt, .. } => {
                let mut data = rest.to_vec();
                let iv = iv.try_into().map_err(|_| OpenError)?;
                let len = key
                    .open_in_place(nonce(salt, &iv), Aad::from(before), &mut data)
                    .map_err(|_| OpenError)?
                    .len();
                data.truncate(len);
                data
            }
            Mode::Cbc { key, integ, integ_key } => {
                let split = rest.len().checked_sub(integ.icv_len()).ok_or(OpenError)?;
                let (ciphertext, icv) = rest.split_at(split);
                // Integrity before anything else looks at the ciphertext, so that padding is no oracle.
                let want = checksum(*integ, integ_key.expose(), &[before, iv, ciphertext]);
                if !bool::from(want.as_slice().ct_eq(icv)) {
                    return Err(OpenError);
                }
                let mut data = ciphertext.to_vec();
                if self.encr == Encr::Aes128Cbc {
                    cbc::Decryptor::<aes::Aes128>::new_from_slices(key.expose(), iv)
                        .map_err(|_| OpenError)?
                        .decrypt_padded::<NoPadding>(&mut data)
                        .map_err(|_| OpenError)?;
                } else {
                    cbc::Decryptor::<aes::Aes256>::new_from_slices(key.expose(), iv)
                        .map_err(|_| OpenError)?
                        .decrypt_padded::<NoPadding>(&mut data)
                        .map_err(|_| OpenError)?;
                }
                data
            }
        };
        // RFC 7296 §3.14: Pad Length is the last byte; the padding may have any value and MUST be accepted.
        let pad = usize::from(*data.last().ok_or(OpenError)?);
        let len = data.len().checked_sub(1 + pad).ok_or(OpenError)?;
        data.truncate(len);
        Ok(data)
    }
}

/// RFC 5282 §4: salt ‖ IV.
fn nonce(salt: &[u8; 4], iv: &[u8; 8]) -> Nonce {
    let mut out = [0; 12];
    out[..4].copy_from_slice(salt);
    out[4..].copy_from_slice(iv);
    Nonce::assume_unique_for_key(out)
}
