//! The AEAD engines of this build: each proves itself with known answers, then the fastest is taken unless the profile
//! names one.

mod aes_gcm;
mod ring;

use crate::error::BootError;
use crate::sys;
use sipsec_abi::profile;
use sipsec_net::dp::EspCipher;
use sipsec_pipeline::{AeadEngine, AeadError};
use std::time::Duration;

/// Packet sizes that stand for voice, ordinary and full-size traffic.
const SIZES: [usize; 3] = [64, 512, 1420];
/// Packets sealed at each size: about a millisecond for each engine.
const ROUNDS: u32 = 1000;

/// The chosen engine and why.
pub struct Selection {
    pub engine: Box<dyn AeadEngine>,
    /// Mean time to seal one packet of each size, for each engine of the build.
    pub timings: Vec<Timing>,
}

impl std::fmt::Debug for Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selection")
            .field("engine", &self.engine.name())
            .field("timings", &self.timings)
            .finish()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub engine: &'static str,
    pub seal: [(usize, Duration); SIZES.len()],
}

impl Timing {
    fn total(&self) -> Duration {
        self.seal.iter().map(|(_, t)| *t).sum()
    }
}

impl std::fmt::Display for Timing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.engine)?;
        for (size, time) in self.seal {
            write!(f, " {size}B={}ns", time.as_nanos())?;
        }
        Ok(())
    }
}

pub fn select(choice: profile::Engine) -> Result<Selection, BootError> {
    let mut engines: Vec<Box<dyn AeadEngine>> =
        vec![Box::new(ring::RingEngine), Box::new(aes_gcm::AesGcmEngine)];
    let mut timings = Vec::new();
    for engine in &engines {
        let failed = |_| BootError::EngineSelfTest { engine: engine.name() };
        self_test(&**engine).map_err(failed)?;
        timings.push(time(&**engine).map_err(failed)?);
    }
    let index = match choice {
        profile::Engine::Auto => (0..timings.len()).min_by_key(|&i| timings[i].total()),
        profile::Engine::Ring => engines.iter().position(|e| e.name() == "ring"),
        profile::Engine::AesGcm => engines.iter().position(|e| e.name() == "aes-gcm"),
    };
    let engine = engines.swap_remove(index.expect("every choice of the profile is built"));
    Ok(Selection { engine, timings })
}

/// Known answers with additional data for every cipher, and proof that a wrong tag is refused.
fn self_test(engine: &dyn AeadEngine) -> Result<(), AeadError> {
    for vector in &VECTORS {
        let Vector { nonce, aad, plain, .. } = vector;
        let mut key = engine.new_key(vector.cipher, vector.key)?;
        let mut buf = plain.to_vec();
        let mut tag = key.seal_in_place(nonce, aad, &mut buf)?;
        if buf != vector.sealed || tag != vector.tag {
            return Err(AeadError::Seal);
        }
        key.open_in_place(nonce, aad, &mut buf, &tag)?;
        if buf != *plain {
            return Err(AeadError::Open);
        }
        buf.copy_from_slice(vector.sealed);
        tag[15] ^= 1;
        if key.open_in_place(nonce, aad, &mut buf, &tag).is_ok() {
            return Err(AeadError::Open);
        }
    }
    Ok(())
}

fn time(engine: &dyn AeadEngine) -> Result<Timing, AeadError> {
    let mut key = engine.new_key(EspCipher::Aes128Gcm16, &[7; 16])?;
    let mut nonce = [0; 12];
    let mut seal = [(0, Duration::ZERO); SIZES.len()];
    for (slot, size) in seal.iter_mut().zip(SIZES) {
        let mut buf = vec![0u8; size];
        let start = sys::now();
        for round in 0..ROUNDS {
            nonce[8..].copy_from_slice(&round.to_be_bytes());
            key.seal_in_place(&nonce, &[0; 8], &mut buf)?;
        }
        *slot = (size, sys::now().saturating_duration_since(start) / ROUNDS);
    }
    Ok(Timing { engine: engine.name(), seal })
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test cases 4 and 16; RFC 8439 §2.8.2.
struct Vector {
    cipher: EspCipher,
    key: &'static [u8],
    nonce: [u8; 12],
    aad: &'static [u8],
    plain: &'static [u8],
    sealed: &'static [u8],
    tag: [u8; 16],
}

const KEY: [u8; 32] = *b"\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08\
\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08";
const NONCE: [u8; 12] = *b"\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88";
const AAD: [u8; 20] = *b"\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef\xab\xad\xda\xd2";
const PLAIN: [u8; 60] = *b"\xd9\x31\x32\x25\xf8\x84\x06\xe5\xa5\x59\x09\xc5\xaf\xf5\x26\x9a\
\x86\xa7\xa9\x53\x15\x34\xf7\xda\x2e\x4c\x30\x3d\x8a\x31\x8a\x72\
\x1c\x3c\x0c\x95\x95\x68\x09\x53\x2f\xcf\x0e\x24\x49\xa6\xb5\x25\
\xb1\x6a\xed\xf5\xaa\x0d\xe6\x57\xba\x63\x7b\x39";

static VECTORS: [Vector; 3] = [
    Vector {
        cipher: EspCipher::Aes128Gcm16,
        key: KEY.first_chunk::<16>().expect("32 bytes").as_slice(),
        nonce: NONCE,
        aad: &AAD,
        plain: &PLAIN,
        sealed: b"\x42\x83\x1e\xc2\x21\x77\x74\x24\x4b\x72\x21\xb7\x84\xd0\xd4\x9c\
\xe3\xaa\x21\x2f\x2c\x02\xa4\xe0\x35\xc1\x7e\x23\x29\xac\xa1\x2e\
\x21\xd5\x14\xb2\x54\x66\x93\x1c\x7d\x8f\x6a\x5a\xac\x84\xaa\x05\
\x1b\xa3\x0b\x39\x6a\x0a\xac\x97\x3d\x58\xe0\x91",
        tag: *b"\x5b\xc9\x4f\xbc\x32\x21\xa5\xdb\x94\xfa\xe9\x5a\xe7\x12\x1a\x47",
    },
    Vector {
        cipher: EspCipher::Aes256Gcm16,
        key: &KEY,
        nonce: NONCE,
        aad: &AAD,
        plain: &PLAIN,
        sealed: b"\x52\x2d\xc1\xf0\x99\x56\x7d\x07\xf4\x7f\x37\xa3\x2a\x84\x42\x7d\
\x64\x3a\x8c\xdc\xbf\xe5\xc0\xc9\x75\x98\xa2\xbd\x25\x55\xd1\xaa\
\x8c\xb0\x8e\x48\x59\x0d\xbb\x3d\xa7\xb0\x8b\x10\x56\x82\x88\x38\
\xc5\xf6\x1e\x63\x93\xba\x7a\x0a\xbc\xc9\xf6\x62",
        tag: *b"\x76\xfc\x6e\xce\x0f\x4e\x17\x68\xcd\xdf\x88\x53\xbb\x2d\x55\x1b",
    },
    Vector {
        cipher: EspCipher::ChaCha20Poly1305,
        key: b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\
\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b\x9c\x9d\x9e\x9f",
        nonce: *b"\x07\x00\x00\x00\x40\x41\x42\x43\x44\x45\x46\x47",
        aad: b"\x50\x51\x52\x53\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7",
        plain: b"Ladies and Gentlemen of the class of '99: If I could offer y\
ou only one tip for the future, sunscreen would be it.",
        sealed: b"\xd3\x1a\x8d\x34\x64\x8e\x60\xdb\x7b\x86\xaf\xbc\x53\xef\x7e\xc2\
\xa4\xad\xed\x51\x29\x6e\x08\xfe\xa9\xe2\xb5\xa7\x36\xee\x62\xd6\
\x3d\xbe\xa4\x5e\x8c\xa9\x67\x12\x82\xfa\xfb\x69\xda\x92\x72\x8b\
\x1a\x71\xde\x0a\x9e\x06\x0b\x29\x05\xd6\xa5\xb6\x7e\xcd\x3b\x36\
\x92\xdd\xbd\x7f\x2d\x77\x8b\x8c\x98\x03\xae\xe3\x28\x09\x1b\x58\
\xfa\xb3\x24\xe4\xfa\xd6\x75\x94\x55\x85\x80\x8b\x48\x31\xd7\xbc\
\x3f\xf4\xde\xf0\x8e\x4b\x7a\x9d\xe5\x76\xd2\x65\x86\xce\xc6\x4b\
\x61\x16",
        tag: *b"\x1a\xe1\x0b\x59\x4f\x09\xe2\x6a\x7e\x90\x2e\xcb\xd0\x60\x06\x91",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_engine_is_taken_and_auto_takes_the_faster() {
        for (choice, name) in [(profile::Engine::Ring, "ring"), (profile::Engine::AesGcm, "aes-gcm")] {
            assert_eq!(select(choice).expect("both pass").engine.name(), name);
        }
        let auto = select(profile::Engine::Auto).expect("both pass");
        let best = auto.timings.iter().min_by_key(|t| t.total()).expect("two engines");
        assert_eq!(auto.engine.name(), best.engine);
    }

    #[test]
    fn an_engine_that_does_not_check_tags_fails_its_test() {
        struct Liar;
        struct Key(Box<dyn sipsec_pipeline::AeadKey>);
        impl AeadEngine for Liar {
            fn name(&self) -> &'static str {
                "liar"
            }
            fn new_key(
                &self,
                c: EspCipher,
                k: &[u8],
            ) -> Result<Box<dyn sipsec_pipeline::AeadKey>, AeadError> {
                Ok(Box::new(Key(ring::RingEngine.new_key(c, k)?)))
            }
        }
        impl sipsec_pipeline::AeadKey for Key {
            fn seal_in_place(&mut self, n: &[u8; 12], a: &[u8], b: &mut [u8]) -> Result<[u8; 16], AeadError> {
                self.0.seal_in_place(n, a, b)
            }
            fn open_in_place(
                &mut self,
                n: &[u8; 12],
                a: &[u8],
                b: &mut [u8],
                _: &[u8; 16],
            ) -> Result<(), AeadError> {
                // Decrypts as GCM does, without looking at the tag.
                let _ = self.0.seal_in_place(n, a, b)?;
                Ok(())
            }
        }
        assert!(self_test(&Liar).is_err());
        assert!(self_test(&ring::RingEngine).is_ok());
    }
}
