//! AES-CBC (RFC 3602) with a truncated HMAC (RFC 2404, RFC 4868) by RustCrypto's `aes`, `cbc` and `hmac`, which use the
//! processor's instructions where it has them. Its keys are wiped (feature `zeroize`).
//!
//! One packet's blocks can only be encrypted one after the other, so the packets of a batch are encrypted side by side.

use aes::{Aes128, Aes256};
use arrayvec::ArrayVec;
use cbc::cipher::consts::U16;
use cbc::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockSizeUser, InnerIvInit, KeyInit,
};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use sipsec_net::dp::{EspCipher, EspHmac};
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, Job, Nonce};
use subtle::ConstantTimeEq;

/// Packets that are encrypted side by side: what the processor works on at once.
const LANES: usize = 8;
/// The first byte of the additional data that is not the SPI (RFC 4106 §5).
const SEQUENCE_AT: usize = 4;
/// With extended sequence numbers, their low-order half is behind the high-order one.
const LOW_AT: usize = 8;

type Block = Array<u8, U16>;

#[derive(Debug)]
pub struct AesCbcEngine;

impl AeadEngine for AesCbcEngine {
    fn name(&self) -> &str {
        "aes-cbc"
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        let hmac = cipher.hmac().ok_or(AeadError::UnsupportedCipher)?;
        let (encryption, integrity) = match key.split_at_checked(cipher.encryption_key_len()) {
            Some((encryption, integrity)) if integrity.len() == hmac.key_len() => (encryption, integrity),
            _ => return Err(AeadError::KeyLength),
        };
        match encryption.len() {
            16 => with_hmac::<Aes128>(encryption, hmac, integrity),
            _ => with_hmac::<Aes256>(encryption, hmac, integrity),
        }
    }

    fn wipes_keys(&self, _: EspCipher) -> bool {
        true
    }
}

fn with_hmac<A>(encryption: &[u8], hmac: EspHmac, integrity: &[u8]) -> Result<Box<dyn AeadKey>, AeadError>
where
    A: Aes + KeyInit + 'static,
{
    let bad = |_| AeadError::KeyLength;
    let (aes, icv_len) = (A::new_from_slice(encryption).map_err(bad)?, hmac.icv_len());
    Ok(match hmac {
        EspHmac::Sha1 => {
            Box::new(Key { aes, mac: Hmac::<Sha1>::new_from_slice(integrity).map_err(bad)?, icv_len })
        }
        EspHmac::Sha256 => {
            Box::new(Key { aes, mac: Hmac::<Sha256>::new_from_slice(integrity).map_err(bad)?, icv_len })
        }
        EspHmac::Sha384 => {
            Box::new(Key { aes, mac: Hmac::<Sha384>::new_from_slice(integrity).map_err(bad)?, icv_len })
        }
        EspHmac::Sha512 => {
            Box::new(Key { aes, mac: Hmac::<Sha512>::new_from_slice(integrity).map_err(bad)?, icv_len })
        }
    })
}

trait Aes: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send {}

impl<A: BlockCipherEncrypt + BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + Send> Aes for A {}

struct Key<A, M> {
    aes: A,
    /// With its key taken in; cloned for each packet.
    mac: M,
    icv_len: usize,
}

impl<A: Aes, M: Mac + Clone + Send> Key<A, M> {
    /// IV and text, and the ICV; `None` if the text is not one or more whole blocks.
    fn split<'a>(&self, data: &'a mut [u8]) -> Option<(&'a mut [u8], &'a mut [u8])> {
        let blocks_len = data.len().checked_sub(self.icv_len)?;
        let block_len = size_of::<Block>();
        (blocks_len.is_multiple_of(block_len) && blocks_len >= 2 * block_len)
            .then(|| data.split_at_mut(blocks_len))
    }

    /// RFC 4303 §2.8: over SPI, sequence number, IV and ciphertext, and over the high-order half of an extended sequence
    /// number behind them.
    fn mac(&self, aad: &[u8], covered: &[u8]) -> impl AsRef<[u8]> + use<A, M> {
        let mut mac = self.mac.clone();
        let (head, low) = aad.split_at_checked(LOW_AT).unwrap_or((aad, &[]));
        if low.is_empty() {
            mac.update(head);
            mac.update(covered);
        } else {
            let (spi, high) = head.split_at(SEQUENCE_AT);
            mac.update(spi);
            mac.update(low);
            mac.update(covered);
            mac.update(high);
        }
        mac.finalize().into_bytes()
    }

    /// The IV is the encrypted nonce, as NIST SP 800-38A, appendix C, has it: it cannot be foretold (RFC 3602 §3), and needs no
    /// randomness on the packet path. So a packet is the CBC of nonce ‖ text with an IV of zero.
    fn encrypt(&self, jobs: &mut [Job<'_>]) {
        let mut lanes: ArrayVec<&mut [Block], LANES> = ArrayVec::new();
        for job in jobs {
            let (nonce, _, data) = job.parts();
            let Some((blocks, _)) = self.split(data) else { continue };
            let (blocks, _) = Array::slice_as_chunks_mut(blocks);
            if let Some(first) = blocks.first_mut() {
                *first = Block::default();
                first[..nonce.bytes().len()].copy_from_slice(nonce.bytes());
            }
            lanes.push(blocks);
        }
        let longest = lanes.iter().map(|blocks| blocks.len()).max().unwrap_or_default();
        for at in 0..longest {
            let mut abreast: ArrayVec<Block, LANES> = ArrayVec::new();
            for blocks in lanes.iter().filter(|blocks| at < blocks.len()) {
                let mut block = blocks[at];
                if let Some(last) = at.checked_sub(1) {
                    let word = |b: &Block| u128::from_ne_bytes((*b).into());
                    block = (word(&block) ^ word(&blocks[last])).to_ne_bytes().into();
                }
                abreast.push(block);
            }
            self.aes.encrypt_blocks(&mut abreast);
            for (blocks, block) in lanes.iter_mut().filter(|blocks| at < blocks.len()).zip(abreast) {
                blocks[at] = block;
            }
        }
    }
}

impl<A: Aes, M: Mac + Clone + Send> AeadKey for Key<A, M> {
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let mut jobs = [Job::new(nonce, aad, data)];
        self.seal_batch(&mut jobs);
        if jobs[0].is_done() { Ok(()) } else { Err(AeadError::Seal) }
    }

    /// The ICV first: what is not the peer's is not decrypted, so that padding is no oracle.
    fn open_in_place(&mut self, _: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (blocks, icv) = self.split(data).ok_or(AeadError::Open)?;
        let expected = self.mac(aad, blocks);
        let expected = expected.as_ref().get(..icv.len()).ok_or(AeadError::Open)?;
        if !bool::from(expected.ct_eq(icv)) {
            return Err(AeadError::Open);
        }
        let (blocks, _) = Array::slice_as_chunks_mut(blocks);
        let (iv, text) = blocks.split_first_mut().ok_or(AeadError::Open)?;
        cbc::Decryptor::inner_iv_init(&self.aes, iv).decrypt_blocks(text);
        Ok(())
    }

    fn seal_batch(&mut self, jobs: &mut [Job<'_>]) {
        for jobs in jobs.chunks_mut(LANES) {
            self.encrypt(jobs);
        }
        for job in jobs {
            let (_, aad, data) = job.parts();
            let done = self.split(data).is_some_and(|(covered, icv)| {
                let mac = self.mac(aad, covered);
                let mac = mac.as_ref().get(..icv.len());
                mac.is_some_and(|mac| {
                    icv.copy_from_slice(mac);
                    true
                })
            });
            job.finish(done);
        }
    }
}
