//! The peer's certificate: what it says, whether it signed itself, whether a path leads to an anchor (RFC 5280).

use super::name;
use super::signing_key::verify;
use crate::algorithm::Scheme;
use crate::config::{Revocation, Trust};
use crate::error::CertError;
use crate::identity::Identity;
use core::cell::Cell;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use webpki::{EndEntityCert, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// Most certificates taken from one peer: its own and the intermediates of its path.
pub(crate) const CHAIN_MAX: usize = 8;
/// id-kp-ipsecIKE 1.3.6.1.5.5.7.3.17 (RFC 4945 §5.1.3.12).
const IPSEC_IKE: [usize; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 17];
/// anyExtendedKeyUsage 2.5.29.37.0, serverAuth, clientAuth: what general-purpose authorities put into gateways'
/// certificates.
const ANY_USAGE: [usize; 5] = [2, 5, 29, 37, 0];
const SERVER_AUTH: [usize; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENT_AUTH: [usize; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 2];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
    Ed25519,
}

fn identity(name: &GeneralName<'_>) -> Option<Identity> {
    match name {
        GeneralName::DNSName(s) => Some(Identity::Fqdn((*s).to_owned())),
        GeneralName::RFC822Name(s) => Some(Identity::Rfc822((*s).to_owned())),
        GeneralName::IPAddress(b) => match b.len() {
            4 => <[u8; 4]>::try_from(*b).ok().map(|a| Identity::Ipv4(a.into())),
            16 => <[u8; 16]>::try_from(*b).ok().map(|a| Identity::Ipv6(a.into())),
            _ => None,
        },
        GeneralName::DirectoryName(n) => Some(Identity::DerAsn1Dn(n.as_raw().to_vec())),
        _ => None,
    }
}

/// What an end-entity certificate says.
pub(crate) struct PeerCertificate<'a> {
    pub(super) x509: X509Certificate<'a>,
    der: &'a [u8],
}

impl<'a> PeerCertificate<'a> {
    pub fn parse(der: &'a [u8]) -> Result<Self, CertError> {
        match X509Certificate::from_der(der) {
            Ok(([], x509)) => Ok(Self { x509, der }),
            _ => Err(CertError::Malformed),
        }
    }

    pub fn public_key(&self) -> Result<(KeyKind, &[u8]), CertError> {
        let info = self.x509.public_key();
        let oid = info.algorithm.algorithm.to_id_string();
        let curve = || info.algorithm.parameters.as_ref()?.as_oid().ok().map(|o| o.to_id_string());
        let kind = match (oid.as_str(), curve().as_deref()) {
            ("1.2.840.113549.1.1.1", _) => KeyKind::Rsa,
            ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => KeyKind::P256,
            ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => KeyKind::P384,
            ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => KeyKind::P521,
            ("1.3.101.112", _) => KeyKind::Ed25519,
            _ => return Err(CertError::UnsupportedKey),
        };
        Ok((kind, &info.subject_public_key.data))
    }

    /// subjectPublicKeyInfo, whole: what key identifiers in CERTREQ are hashes of.
    pub fn public_key_info(&self) -> &[u8] {
        self.x509.public_key().raw
    }

    pub fn subject_der(&self) -> &[u8] {
        self.x509.subject().as_raw()
    }

    pub fn subject(&self) -> String {
        name::text(self.x509.subject())
    }

    pub fn issuer(&self) -> String {
        name::text(self.x509.issuer())
    }

    /// All subject alternative names that have a text, those that are no identity of IKE (addresses of resources) too.
    pub fn alternative_texts(&self) -> Vec<String> {
        let Ok(Some(names)) = self.x509.subject_alternative_name() else { return Vec::new() };
        let text = |n: &GeneralName<'_>| match n {
            GeneralName::DNSName(s) | GeneralName::RFC822Name(s) | GeneralName::URI(s) => {
                Some((*s).to_owned())
            }
            GeneralName::DirectoryName(n) => Some(name::text(n)),
            other => identity(other).map(|id| id.to_string()),
        };
        names.value.general_names.iter().filter_map(text).collect()
    }

    /// Subject alternative names that are identities of IKE.
    pub fn alternative_names(&self) -> Vec<Identity> {
        let Ok(Some(names)) = self.x509.subject_alternative_name() else { return Vec::new() };
        names.value.general_names.iter().filter_map(identity).collect()
    }

    /// RFC 7296 §3.5 leaves open how ID and certificate relate; RFC 4945 §3.1: the ID is one of its names.
    pub fn names(&self, id: &Identity) -> bool {
        matches!(id, Identity::DerAsn1Dn(der) if der == self.subject_der())
            || self.alternative_names().contains(id)
    }

    pub fn claims_self_signed(&self) -> bool {
        self.x509.subject().as_raw() == self.x509.issuer().as_raw()
    }

    /// RFC 4945 §5.1.3.2: with a keyUsage extension, digitalSignature (or nonRepudiation) must be among them.
    pub(super) fn check_usage(&self) -> Result<(), CertError> {
        match self.x509.key_usage() {
            Ok(None) => Ok(()),
            Ok(Some(u)) if u.value.digital_signature() || u.value.non_repudiation() => Ok(()),
            Ok(Some(_)) => Err(CertError::KeyUsage),
            Err(_) => Err(CertError::Malformed),
        }
    }

    fn check_validity(&self, unix_time_s: u64) -> Result<(), CertError> {
        let now = i64::try_from(unix_time_s).unwrap_or(i64::MAX);
        let validity = self.x509.validity();
        if now < validity.not_before.timestamp() {
            Err(CertError::NotYetValid)
        } else if now > validity.not_after.timestamp() {
            Err(CertError::Expired)
        } else {
            Ok(())
        }
    }

    /// Whether it is believed: it signs itself and that is allowed, or a path leads to an anchor and a map takes it.
    pub fn check(&self, chain: &[Vec<u8>], trust: &Trust, unix_time_s: u64) -> Result<(), CertError> {
        if self.claims_self_signed() {
            return self.check_self_signed(trust, unix_time_s);
        }
        self.check_path(chain, trust, unix_time_s)?;
        if !trust.maps.is_empty() && !trust.maps.iter().any(|m| m.accepts(self)) {
            return Err(CertError::Map);
        }
        Ok(())
    }

    /// A certificate that vouches for itself: worth nothing without the fingerprint from SDP.
    fn check_self_signed(&self, trust: &Trust, unix_time_s: u64) -> Result<(), CertError> {
        if !trust.self_signed {
            return Err(CertError::SelfSigned);
        }
        self.check_usage()?;
        if trust.check_self_signed_validity {
            self.check_validity(unix_time_s)?;
        }
        if self.x509.extensions().iter().any(|e| {
            e.critical && matches!(e.parsed_extension(), ParsedExtension::UnsupportedExtension { .. })
        }) {
            return Err(CertError::CriticalExtension);
        }
        let (kind, public) = self.public_key()?;
        let scheme = self.signature_scheme()?;
        let signed = self.x509.tbs_certificate.as_ref();
        if !verify(kind, public, scheme, signed, &self.x509.signature_value.data) {
            return Err(CertError::SelfSignature);
        }
        Ok(())
    }

    /// What it is signed with.
    pub(super) fn signature_scheme(&self) -> Result<Scheme, CertError> {
        Scheme::from_identifier(&self.signature_identifier()?).ok_or(CertError::WeakSignature)
    }

    /// signatureAlgorithm in DER: the element after tbsCertificate in the outer SEQUENCE.
    fn signature_identifier(&self) -> Result<Vec<u8>, CertError> {
        let tbs = self.x509.tbs_certificate.as_ref();
        let after = self
            .der
            .windows(tbs.len())
            .position(|w| w == tbs)
            .and_then(|at| self.der.get(at + tbs.len()..))
            .ok_or(CertError::Malformed)?;
        let len = usize::from(*after.get(1).filter(|l| **l < 0x80).ok_or(CertError::Malformed)?);
        after.get(..2 + len).map(<[u8]>::to_vec).ok_or(CertError::Malformed)
    }

    /// A path to an anchor, with revocation as the policy says.
    fn check_path(&self, chain: &[Vec<u8>], trust: &Trust, unix_time_s: u64) -> Result<(), CertError> {
        self.check_usage()?;
        let der = CertificateDer::from(self.der);
        let end = EndEntityCert::try_from(&der).map_err(|e| path_error(&e))?;
        let anchors: Vec<CertificateDer<'_>> =
            trust.anchors.iter().map(|a| CertificateDer::from(a.as_slice())).collect();
        let anchors = anchors
            .iter()
            .map(webpki::anchor_from_trusted_cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CertError::BadAnchor)?;
        let intermediates: Vec<CertificateDer<'_>> =
            chain.iter().map(|c| CertificateDer::from(c.as_slice())).collect();
        let crls = trust
            .crls
            .iter()
            .map(|c| {
                let der = CertificateRevocationListDer::from(c.as_slice());
                webpki::OwnedCertRevocationList::from_der(&der).map(webpki::CertRevocationList::from)
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| CertError::BadCrl)?;
        let crls: Vec<&webpki::CertRevocationList<'_>> = crls.iter().collect();
        let policy = match trust.revocation {
            Revocation::Ignore => None,
            Revocation::FailOpen => Some(UnknownStatusPolicy::Allow),
            Revocation::FailClosed if crls.is_empty() => return Err(CertError::RevocationUnknown),
            Revocation::FailClosed => Some(UnknownStatusPolicy::Deny),
        };
        let options = policy.and_then(|policy| {
            let builder = RevocationOptionsBuilder::new(&crls).ok()?;
            let builder = builder.with_depth(RevocationCheckDepth::Chain).with_status_policy(policy);
            // A list past its nextUpdate says nothing of later revocations.
            let builder = builder.with_expiration_policy(match trust.revocation {
                Revocation::FailClosed => webpki::ExpirationPolicy::Enforce,
                _ => webpki::ExpirationPolicy::Ignore,
            });
            Some(builder.build())
        });
        let time = UnixTime::since_unix_epoch(core::time::Duration::from_secs(unix_time_s));
        let usage = Usage::default();
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        end.verify_for_usage(algorithms, &anchors, &intermediates, time, &usage, options, None)
            .map(|_| ())
            .map_err(|e| if usage.refused.get() { CertError::KeyUsage } else { path_error(&e) })
    }
}

/// Remembers its refusal: the library has no error for a rule of ours.
#[derive(Default)]
struct Usage {
    refused: Cell<bool>,
}

impl webpki::ExtendedKeyUsageValidator for &Usage {
    /// RFC 4945 §5.1.3.12: no extension, or one that names IKE or leaves the use open.
    fn validate(&self, present: webpki::KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut any = false;
        for id in present {
            any = true;
            let oid: Vec<usize> = id?.to_decoded_oid();
            if [&IPSEC_IKE[..], &ANY_USAGE, &SERVER_AUTH, &CLIENT_AUTH].contains(&oid.as_slice()) {
                return Ok(());
            }
        }
        self.refused.set(any);
        if any { Err(webpki::Error::UnsupportedCriticalExtension) } else { Ok(()) }
    }
}

fn path_error(e: &webpki::Error) -> CertError {
    use webpki::Error as E;
    match e {
        E::CertExpired { .. } => CertError::Expired,
        E::CertNotValidYet { .. } => CertError::NotYetValid,
        E::CertRevoked => CertError::Revoked,
        E::UnknownRevocationStatus | E::CrlExpired { .. } => CertError::RevocationUnknown,
        E::UnknownIssuer => CertError::UnknownIssuer,
        E::UnsupportedCriticalExtension => CertError::CriticalExtension,
        E::CaUsedAsEndEntity => CertError::CaAsEndEntity,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertError::Malformed,
        _ => CertError::Path,
    }
}
