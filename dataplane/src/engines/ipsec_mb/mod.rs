//! AEAD by Intel's ipsec-mb, if `libIPSec_MB.so.1` 1.3.0 is on the machine (Debian: `libipsec-mb1`). Its keys are wiped,
//! and so is what it leaves on the stack.

mod sys;

pub use sys::LoadError;

use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError, AeadKey, ICV_LEN, Job, Nonce};
use subtle::ConstantTimeEq;
use sys::{ChachaContext, ChachaKey, Functions, GcmContext, GcmKey};

pub struct IpsecMbEngine(&'static Functions);

impl IpsecMbEngine {
    /// Looks for the library.
    pub fn find() -> Result<Self, LoadError> {
        sys::functions().map(Self)
    }
}

impl AeadEngine for IpsecMbEngine {
    fn name(&self) -> &str {
        "ipsec-mb"
    }

    fn new_key(&self, cipher: EspCipher, key: &[u8]) -> Result<Box<dyn AeadKey>, AeadError> {
        const WRONG: AeadError = AeadError::KeyLength;
        let wrong = |_| WRONG;
        Ok(match cipher {
            EspCipher::Aes128Gcm16 => GcmKey::new_128(self.0, key.try_into().map_err(wrong)?),
            EspCipher::Aes256Gcm16 => GcmKey::new_256(self.0, key.try_into().map_err(wrong)?),
            EspCipher::ChaCha20Poly1305 => {
                Box::new(Chacha(ChachaKey::new(self.0, key.try_into().map_err(wrong)?)))
            }
            _ => return Err(AeadError::UnsupportedCipher),
        })
    }

    fn wipes_keys(&self, _: EspCipher) -> bool {
        true
    }
}

/// In constant time.
fn is_equal(a: [u8; ICV_LEN], b: [u8; ICV_LEN]) -> bool {
    u128::from_ne_bytes(a).ct_eq(&u128::from_ne_bytes(b)).into()
}

fn seal(key: &GcmKey, context: &mut GcmContext, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> bool {
    let Some((text, icv)) = data.split_last_chunk_mut::<ICV_LEN>() else { return false };
    key.seal(context, nonce.bytes(), aad, text, icv);
    true
}

fn open(key: &GcmKey, context: &mut GcmContext, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> bool {
    let Some((text, icv)) = data.split_last_chunk_mut::<ICV_LEN>() else { return false };
    let mut expected = [0; ICV_LEN];
    key.open(context, nonce.bytes(), aad, text, &mut expected);
    is_equal(expected, *icv)
}

impl AeadKey for GcmKey {
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        if seal(self, &mut GcmContext::new(), nonce, aad, data) { Ok(()) } else { Err(AeadError::Seal) }
    }

    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        if open(self, &mut GcmContext::new(), nonce, aad, data) { Ok(()) } else { Err(AeadError::Open) }
    }

    fn seal_batch(&mut self, jobs: &mut [Job<'_>]) {
        // One context for the batch: it is wiped once.
        let mut context = GcmContext::new();
        for job in jobs {
            let (nonce, aad, data) = job.parts();
            let done = seal(self, &mut context, nonce, aad, data);
            job.finish(done);
        }
    }

    fn open_batch(&mut self, jobs: &mut [Job<'_>]) {
        let mut context = GcmContext::new();
        for job in jobs {
            let (nonce, aad, data) = job.parts();
            let done = open(self, &mut context, nonce, aad, data);
            job.finish(done);
        }
    }

    fn prefetch(&self, text_len: usize) {
        Self::prefetch(self, text_len);
    }
}

struct Chacha(ChachaKey);

impl AeadKey for Chacha {
    fn seal_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Seal)?;
        self.0.seal(&mut ChachaContext::new(), nonce.bytes(), aad, text, icv);
        Ok(())
    }

    fn open_in_place(&mut self, nonce: &Nonce, aad: &[u8], data: &mut [u8]) -> Result<(), AeadError> {
        let (text, icv) = data.split_last_chunk_mut::<ICV_LEN>().ok_or(AeadError::Open)?;
        let mut expected = [0; ICV_LEN];
        self.0.open(&mut ChachaContext::new(), nonce.bytes(), aad, text, &mut expected);
        if is_equal(expected, *icv) { Ok(()) } else { Err(AeadError::Open) }
    }
}
