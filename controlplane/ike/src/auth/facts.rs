//! What a certificate says of itself: for those who configure, check and show one.

use super::certificate::{KeyKind, PeerCertificate};
use crate::config::Trust;
use crate::error::CertError;
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer};
use x509_parser::public_key::PublicKey;

/// RFC 8247 §3.2.
const RSA_BITS_MIN: usize = 2048;

/// A moment in a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Date {
    pub unix_time_s: i64,
    /// `2026-07-01`
    pub day: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    pub not_before: Date,
    pub not_after: Date,
    /// `RSA 2048`, `ECDSA P-256`, …
    pub key: String,
    /// An RSA key that is too short to be trusted.
    pub key_is_weak: bool,
    /// Issuer and subject are the same.
    pub self_issued: bool,
    /// It may issue certificates.
    pub is_authority: bool,
    /// Its key may sign IKE (RFC 4945 §5.1.3.2).
    pub may_sign: bool,
}

impl CertificateFacts {
    /// # Errors
    /// If it is none, or of a key that IKE cannot sign with.
    pub fn of(der: &[u8]) -> Result<Self, CertError> {
        let cert = PeerCertificate::parse(der)?;
        let (kind, _) = cert.public_key()?;
        let x509 = &cert.x509;
        let bits = match x509.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => key.key_size(),
            _ => 0,
        };
        Ok(Self {
            subject: cert.subject(),
            issuer: cert.issuer(),
            names: cert.alternative_names().iter().map(ToString::to_string).collect(),
            not_before: date(x509.validity().not_before),
            not_after: date(x509.validity().not_after),
            key: match kind {
                KeyKind::Rsa => format!("RSA {bits}"),
                KeyKind::P256 => "ECDSA P-256".to_owned(),
                KeyKind::P384 => "ECDSA P-384".to_owned(),
                KeyKind::P521 => "ECDSA P-521".to_owned(),
                KeyKind::Ed25519 => "Ed25519".to_owned(),
            },
            key_is_weak: kind == KeyKind::Rsa && bits < RSA_BITS_MIN,
            self_issued: cert.claims_self_signed(),
            is_authority: x509.is_ca(),
            may_sign: cert.check_usage().is_ok(),
        })
    }
}

fn date(time: ASN1Time) -> Date {
    Date { unix_time_s: time.timestamp(), day: time.to_datetime().date().to_string() }
}

/// Whether a peer with this trust would believe a certificate (first of `chain`, its intermediates after it), were the
/// fingerprint in SDP right.
///
/// # Errors
/// What is wrong with it.
pub fn believes(trust: &Trust, chain: &[Vec<u8>], unix_time_s: u64) -> Result<(), CertError> {
    let (own, intermediates) = chain.split_first().ok_or(CertError::Malformed)?;
    PeerCertificate::parse(own)?.check(intermediates, trust, unix_time_s)
}

/// When the list after this revocation list is due.
///
/// # Errors
/// If it is none.
pub fn crl_next_update(der: &[u8]) -> Result<Option<Date>, CertError> {
    match CertificateRevocationList::from_der(der) {
        Ok(([], crl)) => Ok(crl.next_update().map(date)),
        _ => Err(CertError::BadCrl),
    }
}
