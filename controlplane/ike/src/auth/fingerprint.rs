//! Fingerprints from SDP against the key in use.

use super::proof::FingerprintBasis;
use crate::config::{AuthConfig, EndpointConfig, FingerprintPolicy};
use crate::error::IkeError;
use sha2::Digest;
use sipsec_net::{Fingerprint, HashFunc};
use subtle::ConstantTimeEq;

/// The value of `a=psk-fingerprint` (RFC 6193 §8.2): the hash of exactly the octets that go into the PSK's PRF.
#[must_use]
pub fn psk_fingerprint(psk: &[u8], hash: HashFunc) -> Fingerprint {
    digest(psk, hash)
}

/// The value of `a=fingerprint` (RFC 8122 §5): the hash of the end-entity certificate's DER.
#[must_use]
pub fn certificate_fingerprint(der: &[u8], hash: HashFunc) -> Fingerprint {
    digest(der, hash)
}

fn digest(bytes: &[u8], hash: HashFunc) -> Fingerprint {
    let digest = match hash {
        HashFunc::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
        HashFunc::Sha224 => sha2::Sha224::digest(bytes).to_vec(),
        HashFunc::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
        HashFunc::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
        HashFunc::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
    };
    Fingerprint::new(hash, &digest).expect("a digest is as long as its function says")
}

/// RFC 8122 §5.1: several values may be given; the most preferred hash function among them decides, and the key must
/// match one value of that function. (A weaker hash that matches does not outweigh a stronger one that does not.)
fn matched(bytes: &[u8], expected: &[Fingerprint]) -> Option<Result<Fingerprint, Fingerprint>> {
    let best = expected.iter().map(Fingerprint::hash).max()?;
    let got = digest(bytes, best);
    let hit = expected
        .iter()
        .filter(|f| f.hash() == best)
        .fold(false, |hit, f| hit | bool::from(f.digest().ct_eq(got.digest())));
    Some(if hit { Ok(got) } else { Err(got) })
}

pub(super) fn check_psk(key: &[u8], policy: &FingerprintPolicy) -> Result<FingerprintBasis, IkeError> {
    match matched(key, &policy.expected) {
        Some(Ok(f)) => Ok(FingerprintBasis::PskFingerprint(f)),
        Some(Err(ours)) => Err(IkeError::PskFingerprintMismatch { expected: policy.expected.clone(), ours }),
        None if policy.required => Err(IkeError::FingerprintMissing),
        None => Ok(FingerprintBasis::PskNotExchanged),
    }
}

/// `self_signed`: nothing else vouches for the certificate.
pub(super) fn check_certificate(
    der: &[u8],
    policy: &FingerprintPolicy,
    self_signed: bool,
) -> Result<FingerprintBasis, IkeError> {
    match matched(der, &policy.expected) {
        Some(Ok(f)) => Ok(FingerprintBasis::Certificate(f)),
        Some(Err(got)) => Err(IkeError::FingerprintMismatch { expected: policy.expected.clone(), got }),
        None if policy.required || self_signed => Err(IkeError::FingerprintMissing),
        None => Ok(FingerprintBasis::CertificateNotExchanged),
    }
}

/// What can be known before a message is sent: that both sides announced different pre-shared keys.
pub(crate) fn check_before_start(config: &EndpointConfig) -> Result<(), IkeError> {
    match &config.auth {
        AuthConfig::Psk(keys) => keys.announced(&config.peer_fingerprints).map(|_| ()),
        AuthConfig::Certificate(auth) => {
            let policy = &config.peer_fingerprints;
            let only_self_signed = auth.trust.anchors.is_empty();
            if policy.expected.is_empty() && (policy.required || only_self_signed) {
                return Err(IkeError::FingerprintMissing);
            }
            Ok(())
        }
    }
}
