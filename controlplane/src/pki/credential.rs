//! A certificate of the profile, loaded and judged: what `sipsec check` says of it and what the gateway uses.

use super::files::{self, FileError};
use crate::config::secret;
use sipsec_ike::config::{MapField, MapOp, Revocation};
use sipsec_ike::{CertError, CertificateAuth, CertificateFacts, SigningKey};
use sipsec_profile::Severity;
use sipsec_profile::model::{self, CertificateEntry, SecretError, SecretSource, TrustPolicy};
use std::path::PathBuf;

/// A certificate that ends sooner deserves a remark.
const RENEW_DAYS: i64 = 30;
const DAY_S: i64 = 86_400;
/// Longest private key that a program, a credential or a variable may hold: RSA of 8192 bits has 6.5 kB in PEM.
pub const KEY_BYTES_MAX: u64 = 64 << 10;

/// Which key of the profile a flaw is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Certificate,
    Key,
    Ca(usize),
    Crl(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("{0}")]
    File(FileError),
    #[error("certificate {} of {} cannot be used: {error}", index + 1, path.display())]
    Unusable { path: PathBuf, index: usize, error: CertError },
    #[error("the certificate {subject} has a key of {key}")]
    WeakKey { subject: String, key: String },
    #[error("the key usage of the certificate {subject} does not allow to sign")]
    KeyUsage { subject: String },
    #[error("{subject} is the certificate of an authority")]
    OwnIsAuthority { subject: String },
    #[error("the key {} is not that of the certificate {subject}", path.display())]
    KeyMismatch { path: PathBuf, subject: String },
    #[error("{} holds {subject}, which is no authority", path.display())]
    NoAuthority { path: PathBuf, subject: String },
    #[error("{} cannot be used: it is no revocation list", path.display())]
    BadCrl { path: PathBuf },
    #[error("the revocation list {} was due for renewal on {day}", path.display())]
    StaleCrl { path: PathBuf, day: String, refused: bool },
    #[error("the certificate {subject} expired on {day}")]
    Expired { subject: String, day: String },
    #[error("the certificate {subject} is not valid before {day}")]
    NotYetValid { subject: String, day: String },
    #[error("the certificate {subject} expires on {day}")]
    ExpiresSoon { subject: String, day: String },
}

impl Flaw {
    /// Dates are remarks: a gateway whose clock is wrong at boot, or that has other tunnels, must start all the same.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        match self {
            Self::StaleCrl { .. }
            | Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::ExpiresSoon { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// Stable name of the check.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(FileError::Exposed { .. }) => "pki::permissions",
            Self::File(_) => "pki::file",
            Self::Unusable { .. } => "pki::certificate",
            Self::WeakKey { .. } => "pki::weak-key",
            Self::KeyUsage { .. } => "pki::key-usage",
            Self::OwnIsAuthority { .. } | Self::NoAuthority { .. } => "pki::authority",
            Self::KeyMismatch { .. } => "pki::key-mismatch",
            Self::BadCrl { .. } | Self::StaleCrl { .. } => "pki::crl",
            Self::Expired { .. } => "pki::expired",
            Self::NotYetValid { .. } => "pki::not-yet-valid",
            Self::ExpiresSoon { .. } => "pki::expires-soon",
        }
    }

    #[must_use]
    pub fn cure(&self) -> String {
        const RENEW: &str = "peers will refuse it: renew it with `sipsec pki self-signed --force` or `sipsec pki csr`, then reload; or set the clock";
        match self {
            Self::File(error) => error.cure(),
            Self::Unusable { .. } => "write the path of a certificate of RSA, P-256, P-384, P-521 or Ed25519".to_owned(),
            Self::WeakKey { .. } => "RFC 8247 asks for 2048 bits: make a new one with `sipsec pki self-signed` or `sipsec pki csr`".to_owned(),
            Self::KeyUsage { .. } => "RFC 4945 asks for digitalSignature: have it issued anew".to_owned(),
            Self::OwnIsAuthority { .. } => "peers refuse an authority as a gateway: use a certificate that it issued".to_owned(),
            Self::KeyMismatch { .. } => "write the path of the key that the certificate was made for".to_owned(),
            Self::NoAuthority { .. } => "write the path of the authority's own certificate".to_owned(),
            Self::BadCrl { .. } => "write the path of a list as the authority publishes it, in DER or PEM".to_owned(),
            Self::StaleCrl { refused: true, .. } => "with `fail: closed` every peer is refused: fetch the current list".to_owned(),
            Self::StaleCrl { refused: false, .. } => "later revocations are not seen: fetch the current list".to_owned(),
            Self::Expired { .. } | Self::NotYetValid { .. } => RENEW.to_owned(),
            Self::ExpiresSoon { .. } => "renew it in time: see \"Certificates\" in the runbook".to_owned(),
        }
    }
}

/// Everything that is wrong, each with its place; and the certificate, if it can be used.
#[derive(Debug, Default)]
pub struct Loaded {
    pub auth: Option<CertificateAuth>,
    pub flaws: Vec<(Place, Flaw)>,
}

/// `is_gateway`: the key is read wherever it stands. Otherwise one that a program writes, or systemd hands to the gateway,
/// is left alone; there is no certificate then.
#[must_use]
pub fn load(certificate: &CertificateEntry, unix_time_s: u64, is_gateway: bool) -> Loaded {
    let mut loader =
        Loader { now: i64::try_from(unix_time_s).unwrap_or(i64::MAX), is_gateway, flaws: Vec::new() };
    let chain = loader.chain(certificate);
    let key = loader.key(certificate, chain.as_ref());
    let trust = loader.trust(&certificate.trust);
    let usable = loader.flaws.iter().all(|(_, flaw)| flaw.severity() == Severity::Warning);
    let auth = match (chain, key) {
        (Some(chain), Some(key)) if usable => Some(CertificateAuth { chain, key, trust }),
        _ => None,
    };
    Loaded { auth, flaws: loader.flaws }
}

fn map(rules: &[model::MapRule]) -> sipsec_ike::CertificateMap {
    let rule = |rule: &model::MapRule| sipsec_ike::config::MapRule {
        field: match rule.field {
            model::MapField::Subject => MapField::Subject,
            model::MapField::Issuer => MapField::Issuer,
            model::MapField::AltName => MapField::AltName,
        },
        op: match rule.op {
            model::MapOp::Eq => MapOp::Eq,
            model::MapOp::Ne => MapOp::Ne,
            model::MapOp::Co => MapOp::Co,
            model::MapOp::Nc => MapOp::Nc,
        },
        value: rule.value.clone(),
    };
    sipsec_ike::CertificateMap { rules: rules.iter().map(rule).collect() }
}

struct Loader {
    now: i64,
    is_gateway: bool,
    flaws: Vec<(Place, Flaw)>,
}

impl Loader {
    fn flaw(&mut self, place: Place, flaw: Flaw) {
        self.flaws.push((place, flaw));
    }

    fn take<T>(&mut self, place: Place, result: Result<T, FileError>) -> Option<T> {
        result.map_err(|error| self.flaw(place, Flaw::File(error))).ok()
    }

    fn chain(&mut self, certificate: &CertificateEntry) -> Option<Vec<Vec<u8>>> {
        let place = Place::Certificate;
        let path = &certificate.chain;
        let chain = self.take(place, files::certificates(path))?;
        for (index, der) in chain.iter().enumerate() {
            match CertificateFacts::of(der) {
                Err(error) => self.flaw(place, Flaw::Unusable { path: path.clone(), index, error }),
                Ok(facts) if index == 0 => self.own(&facts),
                Ok(facts) => self.dates(place, &facts),
            }
        }
        Some(chain)
    }

    fn own(&mut self, facts: &CertificateFacts) {
        let (place, subject) = (Place::Certificate, facts.subject.clone());
        if facts.key_is_weak {
            self.flaw(place, Flaw::WeakKey { subject: subject.clone(), key: facts.key.clone() });
        }
        if !facts.may_sign {
            self.flaw(place, Flaw::KeyUsage { subject: subject.clone() });
        }
        if facts.is_authority && !facts.self_issued {
            self.flaw(place, Flaw::OwnIsAuthority { subject });
        }
        self.dates(place, facts);
    }

    fn dates(&mut self, place: Place, facts: &CertificateFacts) {
        let subject = facts.subject.clone();
        let (from, until) = (&facts.not_before, &facts.not_after);
        if self.now < from.unix_time_s {
            self.flaw(place, Flaw::NotYetValid { subject, day: from.day.clone() });
        } else if self.now > until.unix_time_s {
            self.flaw(place, Flaw::Expired { subject, day: until.day.clone() });
        } else if until.unix_time_s - self.now < RENEW_DAYS * DAY_S {
            self.flaw(place, Flaw::ExpiresSoon { subject, day: until.day.clone() });
        }
    }

    fn key(&mut self, certificate: &CertificateEntry, chain: Option<&Vec<Vec<u8>>>) -> Option<SigningKey> {
        let source = &certificate.key;
        let path = secret::shown(source);
        let own = chain.and_then(|c| c.first());
        let facts = own.and_then(|der| CertificateFacts::of(der).ok());
        let found = match source {
            SecretSource::File(path) => files::private_key(path),
            SecretSource::Command(_) | SecretSource::Credential(_) if !self.is_gateway => return None,
            _ => match secret::bytes(source, KEY_BYTES_MAX) {
                Ok(text) => files::private_key_in(&text, &path, |der| SigningKey::from_pkcs8(der).ok()),
                Err(error) => {
                    let reason = match error {
                        SecretError::Command { reason, .. } | SecretError::Credential(reason) => reason,
                        error => error.to_string(),
                    };
                    Err(FileError::Source { path: path.clone(), reason })
                }
            },
        };
        let mut key = match found {
            // Said of the certificate already.
            Err(FileError::UnsupportedKey { .. }) if facts.as_ref().is_some_and(|f| f.key_is_weak) => {
                return None;
            }
            other => self.take(Place::Key, other)?,
        };
        key.rsa_pss = certificate.rsa_pss;
        if let (Some(der), Some(facts)) = (own, facts)
            && key.belongs_to(der) == Ok(false)
        {
            let flaw = Flaw::KeyMismatch { path, subject: facts.subject };
            self.flaw(Place::Key, flaw);
        }
        Some(key)
    }

    fn trust(&mut self, trust: &TrustPolicy) -> sipsec_ike::Trust {
        let mut out = sipsec_ike::Trust {
            self_signed: trust.self_signed,
            check_self_signed_validity: trust.check_self_signed_validity,
            maps: trust.maps.iter().map(|rules| map(rules)).collect(),
            ..sipsec_ike::Trust::default()
        };
        for (i, path) in trust.ca.iter().enumerate() {
            let place = Place::Ca(i);
            for (index, der) in self.take(place, files::certificates(path)).into_iter().flatten().enumerate()
            {
                match CertificateFacts::of(&der) {
                    Err(error) => self.flaw(place, Flaw::Unusable { path: path.clone(), index, error }),
                    Ok(facts) if !facts.is_authority => {
                        self.flaw(place, Flaw::NoAuthority { path: path.clone(), subject: facts.subject });
                    }
                    Ok(facts) => {
                        self.dates(place, &facts);
                        out.anchors.push(der);
                    }
                }
            }
        }
        let Some(crl) = &trust.crl else { return out };
        out.revocation = if crl.fail_closed { Revocation::FailClosed } else { Revocation::FailOpen };
        for (i, path) in crl.files.iter().enumerate() {
            let place = Place::Crl(i);
            for der in self.take(place, files::revocation_lists(path)).into_iter().flatten() {
                let Ok(next) = sipsec_ike::crl_next_update(&der) else {
                    self.flaw(place, Flaw::BadCrl { path: path.clone() });
                    continue;
                };
                if let Some(next) = next.filter(|n| n.unix_time_s < self.now) {
                    let refused = crl.fail_closed;
                    self.flaw(place, Flaw::StaleCrl { path: path.clone(), day: next.day, refused });
                }
                out.crls.push(der);
            }
        }
        out
    }
}
