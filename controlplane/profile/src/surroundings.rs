//! What the reader has to ask the machine and the other crates: this crate opens no file and knows no algorithm.

use crate::diagnose::Severity;
use crate::model::{CertificateEntry, Secret, SecretError, SecretSource};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Answers for the reader. Each method has the answer of a machine about which nothing is known.
pub trait Surroundings {
    /// The secret at its source. `None` if it is not looked up here.
    fn secret(&self, source: &SecretSource) -> Option<Result<Secret, SecretError>> {
        match source {
            SecretSource::Inline(secret) => Some(Ok(Secret::clone(secret))),
            _ => None,
        }
    }

    /// The bytes of a file that the profile names: a CSV file of branches.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn read(&self, _path: &Path) -> Result<Vec<u8>, String> {
        Err("files are not read here".to_owned())
    }

    /// The files that `include:` names, each by its one absolute path, in the order of their names. `*`, `?` and `[…]` stand
    /// for parts of names. The pattern is relative to the directory of `beside`, or to that of the profile.
    ///
    /// # Errors
    /// Why there are none.
    fn files(&self, _pattern: &Path, _beside: Option<&Path>) -> Result<Vec<PathBuf>, String> {
        Err("files are not read here".to_owned())
    }

    /// The permission bits of a file.
    fn mode(&self, _path: &Path) -> Option<u32> {
        None
    }

    /// The permission bits of the profile itself.
    fn profile_mode(&self) -> Option<u32> {
        None
    }

    /// Everything that is wrong with the files of a certificate.
    fn certificate(&self, _certificate: &CertificateEntry) -> Vec<CertificateFlaw> {
        Vec::new()
    }

    /// What a certificate of ours is. `None` if its file is not looked at here, or holds none.
    fn certificate_kind(&self, _certificate: &CertificateEntry) -> Option<CertificateKind> {
        None
    }

    /// # Errors
    /// If the text is not a proposal.
    fn proposal(&self, _purpose: ProposalFor, _text: &str) -> Result<(), ProposalFlaw> {
        Ok(())
    }

    /// Whether any proposal of both lists could be agreed on; an empty list stands for the defaults.
    fn proposals_agree(&self, _purpose: ProposalFor, _ours: &[String], _theirs: &[String]) -> Option<bool> {
        None
    }

    /// # Errors
    /// What to write instead, if the text is not a filter of the log.
    fn log_filter(&self, _text: &str) -> Result<(), String> {
        Ok(())
    }

    /// Whether the machine has this processor and the process may run on it.
    fn has_core(&self, _core: u16) -> Option<bool> {
        None
    }

    /// Receive queues that the device has in use; `None` if there is no such device, or it does not say.
    fn rx_queues(&self, _device: &str) -> Option<u32> {
        None
    }

    /// Whether a directory exists, or could be made. `Err` says why not.
    ///
    /// # Errors
    /// Why nothing can be written there.
    fn directory(&self, _path: &Path) -> Result<(), String> {
        Ok(())
    }

    /// Whether the kernel has loaded this module.
    fn has_module(&self, _name: &str) -> Option<bool> {
        None
    }

    /// Whether an address belongs to this machine.
    fn is_own_address(&self, _ip: IpAddr) -> Option<bool> {
        None
    }
}

/// Knows nothing of any machine: for importers, for profiles of other machines, and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Surroundings for Nothing {}

/// What a proposal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProposalFor {
    Ike,
    Esp,
}

/// Why a proposal is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposalFlaw {
    pub reason: String,
    pub hint: String,
    /// A word that is no algorithm, and all words that are.
    pub unknown_word: Option<String>,
    pub known_words: Vec<&'static str>,
}

/// Of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateKind {
    /// `RSA 2048`, `ECDSA P-256`, …
    pub key: String,
    /// Issuer and subject are the same.
    pub is_self_signed: bool,
}

/// Something wrong with a file of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFlaw {
    pub place: CertificatePlace,
    pub severity: Severity,
    pub code: &'static str,
    pub message: String,
    pub hint: String,
}

/// The key of a certificate's entry that a flaw is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificatePlace {
    Certificate,
    Key,
    Ca(usize),
    Crl(usize),
}
