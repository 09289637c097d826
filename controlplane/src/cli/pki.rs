//! `sipsec pki`: makes, imports and shows certificates. Works on files alone; a gateway need not run.

use crate::clock;
use crate::pki::files::{self, FileError};
use crate::pki::make::{self, KeyType, Subject};
use clap::{Args, Subcommand};
use rcgen::KeyPair;
use serde::Serialize;
use sipsec_ike::{CertError, CertificateFacts, Trust, certificate_fingerprint};
use sipsec_net::HashFunc;
use sipsec_profile::read::is_host_name;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const DIRECTORY: &str = "/etc/sipsec/pki";
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;
/// What vouches for a self-signed certificate is its fingerprint, not its date.
const DAYS_DEFAULT: u32 = 3650;
const DAYS_MAX: i64 = 36_500;

#[derive(Debug, Args)]
pub struct Pki {
    /// Where keys and certificates are kept
    #[arg(long, global = true, value_name = "DIR", default_value = DIRECTORY)]
    pub dir: PathBuf,
    #[command(subcommand)]
    pub command: PkiCommand,
}

#[derive(Debug, Subcommand)]
pub enum PkiCommand {
    /// Make a key and a certificate that signs itself: NAME.key, NAME.crt
    SelfSigned {
        /// What its files are called
        #[arg(value_parser = name)]
        name: String,
        #[command(flatten)]
        subject: SubjectArgs,
        /// How long it is valid
        #[arg(long, default_value_t = DAYS_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=DAYS_MAX))]
        days: u32,
        /// Replace files that exist
        #[arg(long)]
        force: bool,
    },
    /// Make a request for an authority: NAME.csr, for the key NAME.key, which is made if there is none
    Csr {
        /// What its files are called
        #[arg(value_parser = name)]
        name: String,
        #[command(flatten)]
        subject: SubjectArgs,
        /// Replace a request that exists (never the key)
        #[arg(long)]
        force: bool,
    },
    /// Check an authority's certificate and keep it: NAME.crt
    CaImport {
        /// What its files are called
        #[arg(value_parser = name)]
        name: String,
        /// As the authority gave it, in PEM
        file: PathBuf,
        /// Replace a certificate that exists
        #[arg(long)]
        force: bool,
    },
    /// Check the certificate that an authority issued for NAME.key and keep it: NAME.crt
    CertImport {
        /// What its files are called
        #[arg(value_parser = name)]
        name: String,
        /// In PEM: the certificate first, then the intermediates of its path
        file: PathBuf,
        /// The authority's certificate
        #[arg(long, required = true, value_name = "FILE")]
        ca: Vec<PathBuf>,
        /// Replace a certificate that exists
        #[arg(long)]
        force: bool,
    },
    /// Show certificates with their fingerprints as SDP has them
    Fingerprint {
        /// In PEM
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct SubjectArgs {
    /// Type of a new key; ecdsa-p256 unless given
    #[arg(long, value_enum)]
    pub key_type: Option<KeyType>,
    /// Its subject; NAME unless given
    #[arg(long, value_name = "CN", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub common_name: Option<String>,
    #[arg(long, value_name = "O", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub organization: Option<String>,
    /// An alternative name; may be given several times
    #[arg(long, value_name = "DNS", value_parser = dns_name)]
    pub dns: Vec<String>,
}

fn name(given: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if given.is_empty() || given.starts_with('.') || !given.chars().all(legal) {
        return Err("a name of files: letters, digits, '-', '_' and '.'".to_owned());
    }
    Ok(given.to_owned())
}

fn dns_name(given: &str) -> Result<String, String> {
    if !is_host_name(given) {
        return Err("a name of the DNS, as in branch.example".to_owned());
    }
    Ok(given.to_owned())
}

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{error}\n{}", .error.cure())]
    File {
        #[from]
        error: FileError,
    },
    #[error(
        "the certificate cannot be made: {0}\nsee that the names hold nothing but letters, digits, '-' and '.'"
    )]
    Make(#[from] rcgen::Error),
    #[error("certificate {} of {} cannot be used: {error}", index + 1, path.display())]
    Unusable { path: PathBuf, index: usize, error: CertError },
    #[error("{} holds {subject}, which is no authority\nwrite the path of the authority's own certificate", path.display())]
    NoAuthority { path: PathBuf, subject: String },
    #[error(
        "{} was not made for the key {}\nimport the answer to the request that `sipsec pki csr` made with this key",
        path.display(), key.display()
    )]
    KeyMismatch { path: PathBuf, key: PathBuf },
    #[error("{} exists already, and a request is for the key that is there\nleave out --key-type, or take another NAME for a new key", path.display())]
    KeyStays { path: PathBuf },
    #[error("no peer would accept {}: {error}\n{}", path.display(), path_cure(*.error))]
    Path { path: PathBuf, error: CertError },
}

const fn path_cure(error: CertError) -> &'static str {
    match error {
        CertError::SelfSigned => {
            "a certificate that signs itself needs no import: name it in the profile as it is"
        }
        CertError::UnknownIssuer | CertError::Path => {
            "name its authority with --ca, and append the intermediate certificates to the file"
        }
        CertError::Expired | CertError::NotYetValid => "have it issued anew, or set the clock: see `date`",
        CertError::KeyUsage => "have it issued with digitalSignature",
        _ => "have it issued anew",
    }
}

/// What was done, as text or JSON: the files written, and the certificates in them.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(skip)]
    text: String,
    #[serde(flatten)]
    files: BTreeMap<&'static str, PathBuf>,
    certificates: Vec<Shown>,
}

#[derive(Debug, Serialize)]
struct Shown {
    subject: String,
    issuer: String,
    self_issued: bool,
    names: Vec<String>,
    key: String,
    not_before: String,
    not_after: String,
    fingerprint: String,
}

impl Report {
    fn say(&mut self, what: &str, value: &str) {
        self.text.push_str(&format!("{what:<13}{value}\n"));
    }

    fn wrote(&mut self, what: &'static str, path: &Path) {
        self.say(&what.replace('_', " "), &path.display().to_string());
        self.files.insert(what, path.to_owned());
    }

    fn certificate(&mut self, path: &Path, index: usize, der: &[u8]) -> Result<CertificateFacts, PkiError> {
        let facts = facts(path, index, der)?;
        if index > 0 {
            self.text.push('\n');
        }
        let fingerprint = certificate_fingerprint(der, HashFunc::Sha256).to_string();
        self.say("subject", &facts.subject);
        self.say("issuer", if facts.self_issued { "itself" } else { &facts.issuer });
        if !facts.names.is_empty() {
            self.say("names", &facts.names.join(", "));
        }
        self.say("key", &facts.key);
        self.say("valid", &format!("{} to {}", facts.not_before.day, facts.not_after.day));
        self.say("fingerprint", &fingerprint);
        self.certificates.push(Shown {
            subject: facts.subject.clone(),
            issuer: facts.issuer.clone(),
            self_issued: facts.self_issued,
            names: facts.names.clone(),
            key: facts.key.clone(),
            not_before: facts.not_before.day.to_string(),
            not_after: facts.not_after.day.to_string(),
            fingerprint,
        });
        Ok(facts)
    }

    fn render(self, json: bool) -> String {
        if json { super::envelope(&self) } else { self.text }
    }
}

fn facts(path: &Path, index: usize, der: &[u8]) -> Result<CertificateFacts, PkiError> {
    CertificateFacts::of(der).map_err(|error| PkiError::Unusable { path: path.to_owned(), index, error })
}

/// # Errors
/// What is wrong and what to do.
pub fn run(pki: &Pki, json: bool) -> Result<String, PkiError> {
    let file = |name: &str, kind: &str| pki.dir.join(format!("{name}.{kind}"));
    let mut report = Report::default();
    match &pki.command {
        PkiCommand::SelfSigned { name, subject, days, force } => {
            let (key_file, crt) = (file(name, "key"), file(name, "crt"));
            if !force {
                files::absent(&[&key_file, &crt])?;
            }
            let key = make::key(subject.key_type())?;
            let pem = make::self_signed(&key, &subject.of(name), clock::unix_time_s(), *days)?;
            write_key(&key_file, &key, *force)?;
            files::write(&crt, pem.as_bytes(), PUBLIC, *force)?;
            report.wrote("private_key", &key_file);
            report.wrote("certificate", &crt);
            first_certificate(&mut report, &crt)?;
        }
        PkiCommand::Csr { name, subject, force } => {
            let (key_file, csr) = (file(name, "key"), file(name, "csr"));
            if !force {
                files::absent(&[&csr])?;
            }
            let key = if key_file.exists() {
                if subject.key_type.is_some() {
                    return Err(PkiError::KeyStays { path: key_file });
                }
                let pair = |der: &[u8]| KeyPair::try_from(der).ok();
                files::with_private_key(&key_file, pair)?
            } else {
                let key = make::key(subject.key_type())?;
                write_key(&key_file, &key, false)?;
                key
            };
            let pem = make::request(&key, &subject.of(name))?;
            files::write(&csr, pem.as_bytes(), PUBLIC, *force)?;
            report.wrote("private_key", &key_file);
            report.wrote("request", &csr);
        }
        PkiCommand::CaImport { name, file: from, force } => {
            let crt = file(name, "crt");
            for (index, der) in files::certificates(from)?.iter().enumerate() {
                let facts = report.certificate(from, index, der)?;
                if !facts.is_authority {
                    return Err(PkiError::NoAuthority { path: from.clone(), subject: facts.subject });
                }
            }
            keep(&mut report, from, &crt, *force)?;
        }
        PkiCommand::CertImport { name, file: from, ca, force } => {
            let (key_file, crt) = (file(name, "key"), file(name, "crt"));
            let chain = files::certificates(from)?;
            let own = chain.first().map(Vec::as_slice).unwrap_or_default();
            report.certificate(from, 0, own)?;
            if files::private_key(&key_file)?.belongs_to(own) != Ok(true) {
                return Err(PkiError::KeyMismatch { path: from.clone(), key: key_file });
            }
            let mut trust = Trust::default();
            for path in ca {
                trust.anchors.extend(files::certificates(path)?);
            }
            let believed = sipsec_ike::believes(&trust, &chain, clock::unix_time_s());
            believed.map_err(|error| PkiError::Path { path: from.clone(), error })?;
            keep(&mut report, from, &crt, *force)?;
        }
        PkiCommand::Fingerprint { file } => {
            for (index, der) in files::certificates(file)?.iter().enumerate() {
                report.certificate(file, index, der)?;
            }
        }
    }
    Ok(report.render(json))
}

impl SubjectArgs {
    fn key_type(&self) -> KeyType {
        self.key_type.unwrap_or(KeyType::EcdsaP256)
    }

    fn of(&self, name: &str) -> Subject {
        Subject {
            common_name: self.common_name.clone().unwrap_or_else(|| name.to_owned()),
            organization: self.organization.clone(),
            dns: self.dns.clone(),
        }
    }
}

fn write_key(path: &Path, key: &KeyPair, force: bool) -> Result<(), FileError> {
    let pem = Zeroizing::new(key.serialize_pem());
    files::write(path, pem.as_bytes(), SECRET, force)
}

fn first_certificate(report: &mut Report, path: &Path) -> Result<(), PkiError> {
    let chain = files::certificates(path)?;
    report.certificate(path, 0, chain.first().map(Vec::as_slice).unwrap_or_default()).map(drop)
}

/// The file's certificates, and nothing else that may stand in it.
fn keep(report: &mut Report, from: &Path, to: &Path, force: bool) -> Result<(), PkiError> {
    let chain = files::certificates(from)?;
    let pem: String = chain.iter().map(|der| files::certificate_pem(der)).collect();
    files::write(to, pem.as_bytes(), PUBLIC, force)?;
    report.wrote("certificate", to);
    Ok(())
}
