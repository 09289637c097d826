//! Our private key, and what verifies a peer's signature.

use super::certificate::{KeyKind, PeerCertificate};
use crate::algorithm::{HashAlg, Scheme, SignatureHash};
use crate::error::CertError;
use aws_lc_rs::digest::{Digest, SHA256, SHA384, SHA512, digest};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use core::fmt;

/// A private key of a kind that we sign with; its bytes stay inside.
pub struct SigningKey {
    pair: Pair,
    /// RSA signs with PSS (RFC 8247 §3.2 prefers it); old peers may want PKCS #1 v1.5.
    pub rsa_pss: bool,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    P521(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The bytes are no private key of RSA (2048 to 8192 bits), P-256, P-384, P-521 or Ed25519 in PKCS #8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnsupportedKey;

impl SigningKey {
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, UnsupportedKey> {
        let rsa = RsaKeyPair::from_pkcs8(der).map(Pair::Rsa);
        let pair = rsa
            .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map(Pair::P256))
            .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der).map(Pair::P384))
            .or_else(|_| EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_ASN1_SIGNING, der).map(Pair::P521))
            .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519))
            .map_err(|_| UnsupportedKey)?;
        if let Pair::Rsa(key) = &pair
            && key.public_modulus_len() < 256
        {
            return Err(UnsupportedKey);
        }
        Ok(Self { pair, rsa_pss: true })
    }

    /// Whether `public` (subjectPublicKey of a certificate) is of this key.
    fn matches(&self, public: &[u8]) -> bool {
        let ours: &[u8] = match &self.pair {
            Pair::Rsa(k) => k.public_key().as_ref(),
            Pair::P256(k) | Pair::P384(k) | Pair::P521(k) => k.public_key().as_ref(),
            Pair::Ed25519(k) => k.public_key().as_ref(),
        };
        ours == public
    }

    /// Whether a certificate was made for this key.
    pub fn belongs_to(&self, certificate: &[u8]) -> Result<bool, CertError> {
        let cert = PeerCertificate::parse(certificate)?;
        let (_, public) = cert.public_key()?;
        Ok(self.matches(public))
    }

    /// The scheme to sign with for a peer that verifies these hash functions (RFC 7427 §4).
    #[must_use]
    pub(crate) fn scheme(&self, peer_hashes: &[u16]) -> Option<Scheme> {
        let knows = |h: SignatureHash| peer_hashes.contains(&h.number());
        let scheme = match &self.pair {
            Pair::Rsa(_) => {
                let hash = HashAlg::ALL.into_iter().find(|h| knows(h.signature_hash()))?;
                if self.rsa_pss { Scheme::RsaPss(hash) } else { Scheme::RsaPkcs1(hash) }
            }
            Pair::P256(_) => Scheme::Ecdsa(HashAlg::Sha256),
            Pair::P384(_) => Scheme::Ecdsa(HashAlg::Sha384),
            Pair::P521(_) => Scheme::Ecdsa(HashAlg::Sha512),
            Pair::Ed25519(_) => Scheme::Ed25519,
        };
        knows(scheme.hash()).then_some(scheme)
    }

    /// The library draws a PSS salt or an ECDSA nonce by itself and takes none from outside. This runs in a job of the
    /// shell, whose outcome is an input, so the core stays deterministic.
    pub(crate) fn sign(&self, scheme: Scheme, message: &[u8]) -> Option<Vec<u8>> {
        match (&self.pair, scheme) {
            (Pair::Rsa(key), Scheme::RsaPkcs1(h)) => {
                let padding: &'static dyn signature::RsaEncoding = match h {
                    HashAlg::Sha256 => &signature::RSA_PKCS1_SHA256,
                    HashAlg::Sha384 => &signature::RSA_PKCS1_SHA384,
                    HashAlg::Sha512 => &signature::RSA_PKCS1_SHA512,
                };
                rsa(key, padding, &hashed(h, message))
            }
            (Pair::Rsa(key), Scheme::RsaPss(h)) => {
                let padding: &'static dyn signature::RsaEncoding = match h {
                    HashAlg::Sha256 => &signature::RSA_PSS_SHA256,
                    HashAlg::Sha384 => &signature::RSA_PSS_SHA384,
                    HashAlg::Sha512 => &signature::RSA_PSS_SHA512,
                };
                rsa(key, padding, &hashed(h, message))
            }
            (Pair::P256(key), Scheme::Ecdsa(h @ HashAlg::Sha256))
            | (Pair::P384(key), Scheme::Ecdsa(h @ HashAlg::Sha384))
            | (Pair::P521(key), Scheme::Ecdsa(h @ HashAlg::Sha512)) => {
                key.sign_digest(&hashed(h, message)).ok().map(|s| s.as_ref().to_vec())
            }
            (Pair::Ed25519(key), Scheme::Ed25519) => Some(key.sign(message).as_ref().to_vec()),
            _ => None,
        }
    }
}

fn hashed(hash: HashAlg, message: &[u8]) -> Digest {
    let algorithm = match hash {
        HashAlg::Sha256 => &SHA256,
        HashAlg::Sha384 => &SHA384,
        HashAlg::Sha512 => &SHA512,
    };
    digest(algorithm, message)
}

fn rsa(key: &RsaKeyPair, padding: &'static dyn signature::RsaEncoding, digest: &Digest) -> Option<Vec<u8>> {
    let mut out = vec![0; key.public_modulus_len()];
    key.sign_digest(padding, digest, &mut out).ok()?;
    Some(out)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.pair {
            Pair::Rsa(_) => "SigningKey(RSA)",
            Pair::P256(_) => "SigningKey(P-256)",
            Pair::P384(_) => "SigningKey(P-384)",
            Pair::P521(_) => "SigningKey(P-521)",
            Pair::Ed25519(_) => "SigningKey(Ed25519)",
        })
    }
}

/// Whether `signature` over `message` is of the key. RSA keys below 2048 bits never verify.
pub(super) fn verify(kind: KeyKind, public: &[u8], scheme: Scheme, message: &[u8], sig: &[u8]) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match (kind, scheme) {
        (KeyKind::Rsa, Scheme::RsaPkcs1(HashAlg::Sha256)) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (KeyKind::Rsa, Scheme::RsaPkcs1(HashAlg::Sha384)) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (KeyKind::Rsa, Scheme::RsaPkcs1(HashAlg::Sha512)) => &signature::RSA_PKCS1_2048_8192_SHA512,
        (KeyKind::Rsa, Scheme::RsaPss(HashAlg::Sha256)) => &signature::RSA_PSS_2048_8192_SHA256,
        (KeyKind::Rsa, Scheme::RsaPss(HashAlg::Sha384)) => &signature::RSA_PSS_2048_8192_SHA384,
        (KeyKind::Rsa, Scheme::RsaPss(HashAlg::Sha512)) => &signature::RSA_PSS_2048_8192_SHA512,
        (KeyKind::P256, Scheme::Ecdsa(HashAlg::Sha256)) => &signature::ECDSA_P256_SHA256_ASN1,
        (KeyKind::P256, Scheme::Ecdsa(HashAlg::Sha384)) => &signature::ECDSA_P256_SHA384_ASN1,
        (KeyKind::P256, Scheme::Ecdsa(HashAlg::Sha512)) => &signature::ECDSA_P256_SHA512_ASN1,
        (KeyKind::P384, Scheme::Ecdsa(HashAlg::Sha256)) => &signature::ECDSA_P384_SHA256_ASN1,
        (KeyKind::P384, Scheme::Ecdsa(HashAlg::Sha384)) => &signature::ECDSA_P384_SHA384_ASN1,
        (KeyKind::P384, Scheme::Ecdsa(HashAlg::Sha512)) => &signature::ECDSA_P384_SHA512_ASN1,
        (KeyKind::P521, Scheme::Ecdsa(HashAlg::Sha256)) => &signature::ECDSA_P521_SHA256_ASN1,
        (KeyKind::P521, Scheme::Ecdsa(HashAlg::Sha384)) => &signature::ECDSA_P521_SHA384_ASN1,
        (KeyKind::P521, Scheme::Ecdsa(HashAlg::Sha512)) => &signature::ECDSA_P521_SHA512_ASN1,
        (KeyKind::Ed25519, Scheme::Ed25519) => &signature::ED25519,
        _ => return false,
    };
    UnparsedPublicKey::new(algorithm, public).verify(message, sig).is_ok()
}
