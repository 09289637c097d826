//! Keys, self-signed certificates and requests.

use clap::ValueEnum;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    RsaKeySize, date_time_ymd,
};
use std::time::Duration;

/// id-kp-ipsecIKE (RFC 4945 §5.1.3.12).
const IPSEC_IKE: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 17];
/// A certificate is valid from a little earlier than made: the peer's clock may be behind.
const BACKDATE: Duration = Duration::from_secs(86_400);
const DAY: Duration = Duration::from_secs(86_400);

/// What peers of every make verify comes first (RFC 8247 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyType {
    EcdsaP256,
    EcdsaP384,
    Ed25519,
    #[value(name = "rsa-2048")]
    Rsa2048,
    #[value(name = "rsa-3072")]
    Rsa3072,
    #[value(name = "rsa-4096")]
    Rsa4096,
}

/// Whom a certificate names.
#[derive(Clone, Debug)]
pub struct Subject {
    pub common_name: String,
    pub organization: Option<String>,
    pub dns: Vec<String>,
}

/// # Errors
/// If the library cannot make one.
pub fn key(kind: KeyType) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyType::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
}

fn params(subject: &Subject) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(subject.dns.clone())?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = &subject.organization {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name.push(DnType::CommonName, &subject.common_name);
    // RFC 4945 §5.1.3.2: without digitalSignature peers refuse it.
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

/// In PEM.
///
/// # Errors
/// If a name cannot stand in a certificate.
pub fn self_signed(
    key: &KeyPair,
    subject: &Subject,
    unix_time_s: u64,
    days: u32,
) -> Result<String, rcgen::Error> {
    let mut params = params(subject)?;
    params.is_ca = IsCa::ExplicitNoCa;
    let now = date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_time_s);
    params.not_before = now - BACKDATE;
    params.not_after = now + DAY * days;
    Ok(params.self_signed(key)?.pem())
}

/// In PEM (RFC 2986), for an authority.
///
/// # Errors
/// If a name cannot stand in a certificate.
pub fn request(key: &KeyPair, subject: &Subject) -> Result<String, rcgen::Error> {
    let mut params = params(subject)?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(IPSEC_IKE.to_vec())];
    params.serialize_request(key)?.pem()
}
