//! Certificates: who is let in, and that each single flaw keeps them out.

use crate::algorithm::Scheme;
use crate::auth::certificate_fingerprint;
use crate::config::{CertificateMap, MapField, MapOp, MapRule, Revocation};
use crate::error::CertError;
use crate::state::auth_sent::introduce;
use crate::testing::{Net, Side, config};
use crate::wire::{Message, NotifyType};
use crate::{
    AuthConfig, AuthMethod, CertificateAuth, EndpointConfig, FingerprintBasis, Identity, IdentityPolicy,
    IkeError, Party, SigningKey, Trust,
};
use core::time::Duration;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SignatureAlgorithm,
    date_time_ymd,
};
use sipsec_net::{Fingerprint, HashFunc};
use std::sync::Arc;

/// 2026-07-01.
const NOW: u64 = 1_782_864_000;

struct Made {
    chain: Vec<Vec<u8>>,
    pkcs8: Vec<u8>,
}

fn params(name: &str) -> CertificateParams {
    let mut p = CertificateParams::new(vec![format!("{name}.example")]).expect("a name");
    p.distinguished_name = DistinguishedName::new();
    p.distinguished_name.push(DnType::OrganizationName, "Test");
    p.distinguished_name.push(DnType::CommonName, name);
    p.not_before = date_time_ymd(2026, 1, 1);
    p.not_after = date_time_ymd(2027, 1, 1);
    p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    p
}

fn key(alg: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(alg).expect("a key")
}

fn self_signed(
    name: &str,
    alg: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> Made {
    let key = key(alg);
    let mut p = params(name);
    change(&mut p);
    let cert = p.self_signed(&key).expect("a certificate");
    Made { chain: vec![cert.der().to_vec()], pkcs8: key.serialize_der() }
}

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut p = params(name);
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        p.subject_alt_names.clear();
        Self {
            issuer: CertifiedIssuer::self_signed(p, key(&rcgen::PKCS_ECDSA_P256_SHA256))
                .expect("a certificate"),
        }
    }

    fn under(&self, name: &str) -> Self {
        let mut p = params(name);
        p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        p.subject_alt_names.clear();
        let key = key(&rcgen::PKCS_ECDSA_P384_SHA384);
        Self { issuer: CertifiedIssuer::signed_by(p, key, &self.issuer).expect("a certificate") }
    }

    fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Made {
        let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
        let mut p = params(name);
        p.serial_number = Some(SerialNumber::from(7u64));
        change(&mut p);
        let cert = p.signed_by(&key, &self.issuer).expect("a certificate");
        Made { chain: vec![cert.der().to_vec()], pkcs8: key.serialize_der() }
    }

    fn crl(&self, serials: &[u64]) -> Vec<u8> {
        let revoked = |s: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*s),
            revocation_time: date_time_ymd(2026, 2, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let crl = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 2, 1),
            next_update: date_time_ymd(2026, 12, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        crl.signed_by(&self.issuer).expect("a list").der().to_vec()
    }
}

fn auth(made: &Made, trust: Trust) -> AuthConfig {
    let key = SigningKey::from_pkcs8(&made.pkcs8).expect("a key that we know");
    AuthConfig::Certificate(Arc::new(CertificateAuth { chain: made.chain.clone(), key, trust }))
}

fn fingerprint(made: &Made) -> Fingerprint {
    certificate_fingerprint(&made.chain[0], HashFunc::Sha256)
}

/// Two gateways with self-signed certificates that know each other's fingerprints.
fn self_signed_pair(a: &Made, b: &Made) -> (EndpointConfig, EndpointConfig) {
    let one = |side, ours: &Made, theirs: &Made| {
        let mut c = config(side);
        c.auth = auth(ours, Trust { self_signed: true, ..Trust::default() });
        c.remote_id = IdentityPolicy::Any;
        c.peer_fingerprints.expected = vec![fingerprint(theirs)];
        c.peer_fingerprints.required = true;
        c.unix_time_s = NOW;
        c
    };
    (one(Side::A, a, b), one(Side::B, b, a))
}

pub(super) fn any_pair() -> (EndpointConfig, EndpointConfig) {
    let made = |name| self_signed(name, &rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
    self_signed_pair(&made("a"), &made("b"))
}

/// Two gateways with certificates of one authority.
fn issued_pair(a: &Made, b: &Made, trust: &Trust) -> (EndpointConfig, EndpointConfig) {
    let one = |side, ours: &Made, name: &str| {
        let mut c = config(side);
        c.auth = auth(ours, trust.clone());
        c.remote_id = IdentityPolicy::Any;
        c.local_id = Identity::Fqdn(name.to_owned());
        c.unix_time_s = NOW;
        c
    };
    (one(Side::A, a, "a.example"), one(Side::B, b, "b.example"))
}

/// What B says of A.
fn refusal(a: EndpointConfig, b: EndpointConfig) -> IkeError {
    let mut net = Net::new(a, b);
    net.start();
    net.run(Duration::from_secs(30));
    assert!(!net.is_up());
    assert_eq!(net.a().installed() + net.b().installed(), 0);
    assert_eq!(net.a().failed(), Some(&IkeError::AuthenticationFailed { by: Party::Peer }));
    net.b().failed().cloned().expect("B refused")
}

fn rejection(a: EndpointConfig, b: EndpointConfig) -> CertError {
    match refusal(a, b) {
        IkeError::CertificateRejected { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

/// RFC 7296 §2.4: a certificate may be that of several tunnels at once, so the SA need not be the only one.
#[test]
fn only_the_identities_of_a_pre_shared_key_are_of_one_tunnel() {
    let initial_contact = |c: &EndpointConfig| {
        let (first, bytes) = introduce(c, true).finish();
        Message::parse(first, &bytes).expect("ours").notify(NotifyType::INITIAL_CONTACT).is_some()
    };
    assert!(initial_contact(&config(Side::A)));
    assert!(!initial_contact(&any_pair().0));
}

#[test]
fn self_signed_certificates_of_every_kind() {
    let kinds: [(&'static SignatureAlgorithm, &str); 5] = [
        (&rcgen::PKCS_RSA_SHA256, "rsa-pss-sha256"),
        (&rcgen::PKCS_ECDSA_P256_SHA256, "ecdsa-sha256"),
        (&rcgen::PKCS_ECDSA_P384_SHA384, "ecdsa-sha384"),
        (&rcgen::PKCS_ECDSA_P521_SHA512, "ecdsa-sha512"),
        (&rcgen::PKCS_ED25519, "ed25519"),
    ];
    let b = self_signed("b", &rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
    for (alg, scheme) in kinds {
        let a = self_signed("a", alg, |_| {});
        let (ca, cb) = self_signed_pair(&a, &b);
        let net = Net::established(ca, cb);
        let view = net.b().endpoint.view();
        let Some(AuthMethod::Signature(got)) = view.auth else { panic!("{view:?}") };
        assert_eq!(got.name(), scheme);
        assert_eq!(view.fingerprint, Some(FingerprintBasis::Certificate(fingerprint(&a))));
    }
}

#[test]
fn rsa_without_pss_for_peers_that_know_no_better() {
    let a = self_signed("a", &rcgen::PKCS_RSA_SHA256, |_| {});
    let b = self_signed("b", &rcgen::PKCS_ED25519, |_| {});
    let (mut ca, cb) = self_signed_pair(&a, &b);
    let mut key = SigningKey::from_pkcs8(&a.pkcs8).expect("a key");
    key.rsa_pss = false;
    let trust = Trust { self_signed: true, ..Trust::default() };
    ca.auth = AuthConfig::Certificate(Arc::new(CertificateAuth { chain: a.chain.clone(), key, trust }));
    let net = Net::established(ca, cb);
    let Some(AuthMethod::Signature(got)) = net.b().endpoint.view().auth else { panic!() };
    assert_eq!(got, Scheme::from_identifier(&got.identifier()).expect("known"));
    assert_eq!(got.name(), "rsa-sha256");
}

/// RFC 6193 §7: key and fingerprint must both hold; each alone is not enough.
#[test]
fn the_fingerprint_of_sdp_decides_besides_the_signature() {
    let alg = &rcgen::PKCS_ECDSA_P256_SHA256;
    let (a, b, stranger) =
        (self_signed("a", alg, |_| {}), self_signed("b", alg, |_| {}), self_signed("a", alg, |_| {}));
    // A good signature with a certificate that SDP did not announce.
    let (_, cb) = self_signed_pair(&a, &b);
    let (ca, _) = self_signed_pair(&stranger, &b);
    assert_eq!(
        refusal(ca, cb.clone()),
        IkeError::FingerprintMismatch { expected: vec![fingerprint(&a)], got: fingerprint(&stranger) }
    );
    // The announced certificate without its key.
    let (mut ca, _) = self_signed_pair(&a, &b);
    let thief = Made { chain: a.chain.clone(), pkcs8: stranger.pkcs8.clone() };
    ca.auth = auth(&thief, Trust { self_signed: true, ..Trust::default() });
    let mut net = Net::new(ca, cb.clone());
    net.start();
    assert!(matches!(net.a().failed(), Some(IkeError::BadConfig(crate::error::BadConfig::KeyMismatch))));
    // No fingerprint at all leaves nothing to believe.
    let (ca, mut cb) = self_signed_pair(&a, &b);
    cb.peer_fingerprints.expected.clear();
    cb.peer_fingerprints.required = false;
    let mut net = Net::new(ca, cb);
    net.start();
    assert_eq!(net.b().failed(), Some(&IkeError::FingerprintMissing));
}

#[test]
fn a_self_signed_certificate_must_be_what_it_claims() {
    let alg = &rcgen::PKCS_ECDSA_P256_SHA256;
    let b = self_signed("b", alg, |_| {});
    // Issuer and subject are equal, but the signature is not of its key.
    let real = key(alg);
    let cert = params("a").self_signed(&real).expect("a certificate");
    let mut forged = cert.der().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let a = Made { chain: vec![forged], pkcs8: real.serialize_der() };
    let (ca, cb) = self_signed_pair(&a, &b);
    assert_eq!(rejection(ca, cb), CertError::SelfSignature);
    // A key that must not sign.
    let a = self_signed("a", alg, |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    let (ca, cb) = self_signed_pair(&a, &b);
    assert_eq!(rejection(ca, cb), CertError::KeyUsage);
    // Dates count only if the policy says so.
    let a = self_signed("a", alg, |p| p.not_after = date_time_ymd(2026, 2, 1));
    let (ca, mut cb) = self_signed_pair(&a, &b);
    assert!(Net::established(ca.clone(), cb.clone()).is_up());
    let trust = Trust { self_signed: true, check_self_signed_validity: true, ..Trust::default() };
    cb.auth = auth(&b, trust);
    assert_eq!(rejection(ca, cb), CertError::Expired);
    // A policy that takes only what an authority issued.
    let a = self_signed("a", alg, |_| {});
    let (ca, mut cb) = self_signed_pair(&a, &b);
    cb.auth = auth(&b, Trust { anchors: vec![Authority::new("root").der()], ..Trust::default() });
    assert_eq!(rejection(ca, cb), CertError::SelfSigned);
}

#[test]
fn a_path_to_an_authority() {
    let root = Authority::new("root");
    let middle = root.under("middle");
    let mut a = middle.issue("a", |_| {});
    let b = root.issue("b", |_| {});
    let trust = Trust { anchors: vec![root.der()], ..Trust::default() };
    // The intermediate must come along.
    let (ca, cb) = issued_pair(&a, &b, &trust);
    assert_eq!(rejection(ca, cb), CertError::UnknownIssuer);
    a.chain.push(middle.der());
    let (ca, cb) = issued_pair(&a, &b, &trust);
    let net = Net::established(ca.clone(), cb.clone());
    assert_eq!(net.b().endpoint.view().fingerprint, Some(FingerprintBasis::CertificateNotExchanged));
    // RFC 6193 §8.1: a fingerprint, if there is one, must hold besides.
    let mut with = cb.clone();
    with.peer_fingerprints.expected = vec![fingerprint(&a)];
    assert!(Net::established(ca.clone(), with.clone()).is_up());
    with.peer_fingerprints.expected = vec![fingerprint(&b)];
    assert!(matches!(refusal(ca.clone(), with), IkeError::FingerprintMismatch { .. }));
    // The identity must be one of its names unless something else binds it.
    let mut elsewhere = ca.clone();
    elsewhere.local_id = Identity::Fqdn("c.example".into());
    assert_eq!(rejection(elsewhere, cb.clone()), CertError::Identity);
    // Another authority, and one that took the name of ours.
    for (name, want) in [("elsewhere", CertError::UnknownIssuer), ("root", CertError::Path)] {
        let mut other = cb.clone();
        other.auth = auth(&b, Trust { anchors: vec![Authority::new(name).der()], ..Trust::default() });
        assert_eq!(rejection(ca.clone(), other), want);
    }
}

#[test]
fn dates_and_uses_of_issued_certificates() {
    let root = Authority::new("root");
    let b = root.issue("b", |_| {});
    let trust = Trust { anchors: vec![root.der()], ..Trust::default() };
    type Change = fn(&mut CertificateParams);
    let cases: [(Change, CertError); 5] = [
        (|p| p.not_after = date_time_ymd(2026, 2, 1), CertError::Expired),
        (|p| p.not_before = date_time_ymd(2026, 11, 1), CertError::NotYetValid),
        (|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement], CertError::KeyUsage),
        (|p| p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::CodeSigning], CertError::KeyUsage),
        (|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), CertError::CaAsEndEntity),
    ];
    for (change, want) in cases {
        let a = root.issue("a", change);
        let (ca, cb) = issued_pair(&a, &b, &trust);
        assert_eq!(rejection(ca, cb), want);
    }
    let ike = |p: &mut CertificateParams| {
        p.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 17])];
    };
    let (ca, cb) = issued_pair(&root.issue("a", ike), &b, &trust);
    assert!(Net::established(ca, cb).is_up());
}

#[test]
fn revocation_fails_open_or_closed_as_told() {
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let (a, b) =
        (root.issue("a", |_| {}), root.issue("b", |p| p.serial_number = Some(SerialNumber::from(8u64))));
    let verdict = |crls: Vec<Vec<u8>>, revocation, at| {
        let (ca, mut cb) = issued_pair(&a, &b, &Trust { anchors: vec![root.der()], ..Trust::default() });
        cb.auth = auth(&b, Trust { anchors: vec![root.der()], crls, revocation, ..Trust::default() });
        cb.unix_time_s = at;
        let mut net = Net::new(ca, cb);
        net.start();
        net.run(Duration::from_secs(5));
        match net.b().failed() {
            None => {
                assert!(net.is_up());
                None
            }
            Some(IkeError::CertificateRejected { error, .. }) => Some(*error),
            Some(other) => panic!("{other:?}"),
        }
    };
    let late = NOW + 170 * 86_400; // past nextUpdate, before the certificate ends
    for revocation in [Revocation::FailOpen, Revocation::FailClosed] {
        assert_eq!(verdict(vec![root.crl(&[7])], revocation, NOW), Some(CertError::Revoked));
        assert_eq!(verdict(vec![root.crl(&[9])], revocation, NOW), None);
    }
    assert_eq!(verdict(vec![root.crl(&[7])], Revocation::Ignore, NOW), None);
    for (crls, at) in [(vec![], NOW), (vec![other.crl(&[7])], NOW), (vec![root.crl(&[9])], late)] {
        assert_eq!(verdict(crls.clone(), Revocation::FailOpen, at), None);
        assert_eq!(verdict(crls, Revocation::FailClosed, at), Some(CertError::RevocationUnknown));
    }
}

#[test]
fn certificate_maps_choose_among_those_of_an_authority() {
    let root = Authority::new("root");
    let (a, b) = (root.issue("a", |_| {}), root.issue("b", |_| {}));
    let rule = |field, op, value: &str| MapRule { field, op, value: value.to_owned() };
    let accepted = |rules: Vec<Vec<MapRule>>| {
        let (ca, mut cb) = issued_pair(&a, &b, &Trust { anchors: vec![root.der()], ..Trust::default() });
        let maps = rules.into_iter().map(|rules| CertificateMap { rules }).collect();
        cb.auth = auth(&b, Trust { anchors: vec![root.der()], maps, ..Trust::default() });
        let mut net = Net::new(ca, cb);
        net.start();
        net.run(Duration::from_secs(5));
        if !net.is_up() {
            let Some(IkeError::CertificateRejected { error, .. }) = net.b().failed() else { panic!() };
            assert_eq!(*error, CertError::Map);
        }
        net.is_up()
    };
    assert!(accepted(vec![vec![rule(MapField::Subject, MapOp::Eq, "O=test,cn=A")]]));
    assert!(!accepted(vec![vec![rule(MapField::Subject, MapOp::Eq, "cn=A")]]));
    assert!(accepted(vec![vec![rule(MapField::Subject, MapOp::Co, "cn=a")]]));
    assert!(!accepted(vec![vec![rule(MapField::Subject, MapOp::Nc, "CN=a")]]));
    assert!(accepted(vec![vec![rule(MapField::AltName, MapOp::Eq, "A.example")]]));
    assert!(!accepted(vec![vec![rule(MapField::AltName, MapOp::Ne, "a.example")]]));
    // All rules of a map, one of several maps.
    let (yes, no) =
        (rule(MapField::Issuer, MapOp::Co, "CN=root"), rule(MapField::Issuer, MapOp::Co, "CN=other"));
    assert!(!accepted(vec![vec![yes.clone(), no.clone()]]));
    assert!(accepted(vec![vec![no], vec![yes]]));
}

/// RFC 4514: a comma inside a value separates nothing.
#[test]
fn no_certificate_passes_for_another_by_its_punctuation() {
    let root = Authority::new("root");
    let b = root.issue("b", |_| {});
    let a = root.issue("a", |p| {
        p.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "x, O=Example Bank");
        p.subject_alt_names.push(rcgen::SanType::URI("urn:gateway:7".try_into().expect("ASCII")));
    });
    let accepted = |field, op, value: &str| {
        let (ca, mut cb) = issued_pair(&a, &b, &Trust { anchors: vec![root.der()], ..Trust::default() });
        let maps = vec![CertificateMap { rules: vec![MapRule { field, op, value: value.to_owned() }] }];
        cb.auth = auth(&b, Trust { anchors: vec![root.der()], maps, ..Trust::default() });
        let mut net = Net::new(ca, cb);
        net.start();
        net.run(Duration::from_secs(5));
        net.is_up()
    };
    assert!(!accepted(MapField::Subject, MapOp::Co, "O=Example Bank"));
    assert!(!accepted(MapField::Subject, MapOp::Co, "OU=x, O=Example Bank"));
    assert!(accepted(MapField::Subject, MapOp::Co, "OU=x\\, O=Example"));
    assert!(accepted(MapField::Subject, MapOp::Co, "example bank"));
    // Addresses of resources are names, too.
    assert!(accepted(MapField::AltName, MapOp::Eq, "urn:gateway:7"));
    assert!(!accepted(MapField::AltName, MapOp::Nc, "gateway:7"));
}

#[test]
fn a_mixed_pair_fails_with_a_reason() {
    let made = self_signed("a", &rcgen::PKCS_ED25519, |_| {});
    let (ca, _) = self_signed_pair(&made, &made);
    let mut net = Net::new(ca, config(Side::B));
    net.start();
    net.run(Duration::from_secs(30));
    // A peer with a pre-shared key verifies no signatures, and says so by what it does not announce.
    assert_eq!(net.a().failed(), Some(&IkeError::NoCommonSignature { by: Party::Peer }));
}
