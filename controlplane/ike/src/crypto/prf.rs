//! prf and prf+ (RFC 7296 §2.13), with HMAC (RFC 4868, RFC 2104).

use crate::algorithm::{Integ, Prf};
use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

fn hmac<D>(key: &[u8], parts: &[&[u8]]) -> Vec<u8>
where
    Hmac<D>: KeyInit + Mac,
    D: hmac::EagerHash,
{
    let mut mac = <Hmac<D> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for p in parts {
        mac.update(p);
    }
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn prf(prf: Prf, key: &[u8], parts: &[&[u8]]) -> Secret {
    Secret::new(match prf {
        Prf::HmacSha1 => hmac::<Sha1>(key, parts),
        Prf::HmacSha256 => hmac::<Sha256>(key, parts),
        Prf::HmacSha384 => hmac::<Sha384>(key, parts),
        Prf::HmacSha512 => hmac::<Sha512>(key, parts),
    })
}

/// `len` bytes of T1 ‖ T2 ‖ …, Tn = prf(key, Tn-1 ‖ seed ‖ n).
pub(crate) fn prf_plus(alg: Prf, key: &[u8], seed: &[&[u8]], len: usize) -> Secret {
    let mut out = zeroize::Zeroizing::new(Vec::with_capacity(len + alg.output_len()));
    let mut last = Secret::new(Vec::new());
    for n in 1..=u8::MAX {
        if out.len() >= len {
            break;
        }
        let mut parts = vec![last.expose()];
        parts.extend_from_slice(seed);
        let counter = [n];
        parts.push(&counter);
        last = prf(alg, key, &parts);
        out.extend_from_slice(last.expose());
    }
    // RFC 7296 §2.13: prf+ ends after 255 blocks; we never ask for more than ten.
    assert!(out.len() >= len, "prf+ is asked for at most 255 blocks");
    Secret::new(out[..len].to_vec())
}

/// The checksum of an integrity algorithm, truncated (RFC 4868 §2.3).
pub(crate) fn checksum(integ: Integ, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut out = match integ {
        Integ::HmacSha1_96 => hmac::<Sha1>(key, parts),
        Integ::HmacSha256_128 => hmac::<Sha256>(key, parts),
        Integ::HmacSha384_192 => hmac::<Sha384>(key, parts),
        Integ::HmacSha512_256 => hmac::<Sha512>(key, parts),
    };
    out.truncate(integ.icv_len());
    out
}
