//! PEM files of certificates, keys and revocation lists.

use pem::{EncodeConfig, LineEnding, Pem};
use sipsec_ike::SigningKey;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest file read. A revocation list of a large authority has some megabytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
const CERTIFICATE: &str = "CERTIFICATE";
/// Certificates in one file.
pub const CERTIFICATES_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    #[error("{} cannot be read: {reason}", path.display())]
    Read { path: PathBuf, reason: String },
    /// Of a key that stands in no file.
    #[error("the private key of {} cannot be read: {reason}", path.display())]
    Source { path: PathBuf, reason: String },
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} has no {what} in PEM", path.display())]
    Nothing { path: PathBuf, what: &'static str },
    #[error("{} is no valid PEM", path.display())]
    Syntax { path: PathBuf },
    #[error("{} has more than {CERTIFICATES_MAX} certificates", path.display())]
    TooMany { path: PathBuf },
    #[error("the private key {} can be read by others (mode {mode:03o})", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the private key {} is in an older form than PKCS #8", path.display())]
    NotPkcs8 { path: PathBuf },
    #[error("the private key {} is encrypted", path.display())]
    Encrypted { path: PathBuf },
    #[error("the private key {} is none of RSA (2048 to 8192 bits), P-256, P-384, P-521, Ed25519", path.display())]
    UnsupportedKey { path: PathBuf },
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },
    #[error("{} cannot be written: {reason}", path.display())]
    Write { path: PathBuf, reason: String },
}

impl FileError {
    /// What to do.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            Self::Read { .. } => {
                "write the path of a readable file (relative to where the gateway starts, better absolute)"
                    .to_owned()
            }
            Self::Source { .. } => {
                "see that the gateway is started with it; `sipsec check` does not run programs".to_owned()
            }
            Self::TooLarge { .. } | Self::TooMany { .. } => "write the path of the right file".to_owned(),
            Self::Nothing { .. } | Self::Syntax { .. } => {
                "a PEM file has lines `-----BEGIN …-----`; from DER: `openssl x509 -inform der -in FILE`"
                    .to_owned()
            }
            Self::Exposed { path, .. } => {
                format!(
                    "a process that has read it can pose as this gateway: `chmod 600 {}`, and make a new key if one may have",
                    path.display()
                )
            }
            Self::NotPkcs8 { path } | Self::Encrypted { path } => {
                format!(
                    "`openssl pkcs8 -topk8 -nocrypt -in {} -out NEW`, then `chmod 600 NEW`",
                    path.display()
                )
            }
            Self::UnsupportedKey { .. } => {
                "make another: `sipsec pki self-signed` or `sipsec pki csr`".to_owned()
            }
            Self::Exists { .. } => "`--force` replaces it".to_owned(),
            Self::Write { .. } => "see that the directory exists and may be written to".to_owned(),
        }
    }
}

/// Opens a file, and no device or pipe: reading those may block, or never end.
///
/// # Errors
/// If it is none, not there or not to be read.
pub fn open(path: &Path) -> std::io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("this is no ordinary file"));
    }
    File::open(path)
}

/// All of it; nothing if that is more than `max` bytes.
///
/// # Errors
/// If it cannot be read.
pub fn bounded(file: File, max: u64) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut out = Zeroizing::new(Vec::new());
    file.take(max + 1).read_to_end(&mut out)?;
    Ok((out.len() as u64 <= max).then_some(out))
}

/// For people: without the number of the error.
pub(crate) fn reason(e: &std::io::Error) -> String {
    match e.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => e.to_string(),
    }
}

fn cannot_read(path: &Path) -> impl Fn(std::io::Error) -> FileError {
    move |e| FileError::Read { path: path.to_owned(), reason: reason(&e) }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    contents(open(path).map_err(cannot_read(path))?, path)
}

fn contents(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let all = bounded(file, FILE_BYTES_MAX).map_err(cannot_read(path))?;
    all.ok_or_else(|| FileError::TooLarge { path: path.to_owned() })
}

/// DER of all of a kind in a PEM file.
fn sections(path: &Path, text: &[u8], tag: &str, what: &'static str) -> Result<Vec<Vec<u8>>, FileError> {
    let all = pem::parse_many(text).map_err(|_| FileError::Syntax { path: path.to_owned() })?;
    let all: Vec<_> = all.into_iter().filter(|p| p.tag() == tag).map(Pem::into_contents).collect();
    match all.len() {
        0 => Err(FileError::Nothing { path: path.to_owned(), what }),
        n if n > CERTIFICATES_MAX => Err(FileError::TooMany { path: path.to_owned() }),
        _ => Ok(all),
    }
}

/// DER of every certificate, in the order of the file.
///
/// # Errors
/// If there is none that can be read.
pub fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, FileError> {
    sections(path, &read(path)?, CERTIFICATE, "certificate")
}

/// DER of every revocation list. Authorities publish them in DER, so a file that is no PEM is taken as one list.
///
/// # Errors
/// If there is none that can be read.
pub fn revocation_lists(path: &Path) -> Result<Vec<Vec<u8>>, FileError> {
    let bytes = read(path)?;
    if bytes.first() == Some(&0x30) {
        return Ok(vec![bytes.to_vec()]);
    }
    sections(path, &bytes, "X509 CRL", "revocation list")
}

/// A private key that only its owner may read.
///
/// # Errors
/// If others may, or if it is no key that IKE signs with.
pub fn private_key(path: &Path) -> Result<SigningKey, FileError> {
    with_private_key(path, |der| SigningKey::from_pkcs8(der).ok())
}

/// Gives the PKCS #8 of a key to `f`, which says if it can be used.
///
/// # Errors
/// As [`private_key`].
pub fn with_private_key<T>(path: &Path, f: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, FileError> {
    let file = open(path).map_err(cannot_read(path))?;
    let mode = file.metadata().map_err(cannot_read(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    private_key_in(&contents(file, path)?, path, f)
}

/// The same of a key that was read already, `path` being its name in messages.
///
/// # Errors
/// If it is no key that can be used.
pub fn private_key_in<T>(
    text: &[u8],
    path: &Path,
    f: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, FileError> {
    let here = || path.to_owned();
    let all = pem::parse_many(text).map_err(|_| FileError::Syntax { path: here() })?;
    // EC keys may have their parameters in a section before them.
    let found = all.into_iter().find(|p| p.tag().ends_with("PRIVATE KEY"));
    let found = found.ok_or_else(|| FileError::Nothing { path: here(), what: "private key" })?;
    let tag = found.tag().to_owned();
    let der = Zeroizing::new(found.into_contents());
    match tag.as_str() {
        "PRIVATE KEY" => f(&der).ok_or_else(|| FileError::UnsupportedKey { path: here() }),
        "ENCRYPTED PRIVATE KEY" => Err(FileError::Encrypted { path: here() }),
        _ => Err(FileError::NotPkcs8 { path: here() }),
    }
}

/// Writes a file whole or not at all, readable as `mode` says from its first moment on.
///
/// # Errors
/// If it exists (unless `replace`) or cannot be written.
pub fn write(path: &Path, bytes: &[u8], mode: u32, replace: bool) -> Result<(), FileError> {
    let fail = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
        _ => FileError::Write { path: path.to_owned(), reason: reason(&e) },
    };
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fail)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A link, unlike a rename, never takes the place of something.
        if replace { std::fs::rename(&temporary, path) } else { std::fs::hard_link(&temporary, path) }
    })();
    // After a rename it has gone.
    let _ = std::fs::remove_file(&temporary);
    written.map_err(fail)
}

#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    pem::encode_config(&Pem::new(CERTIFICATE, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// # Errors
/// If one of them is there.
pub fn absent(paths: &[&Path]) -> Result<(), FileError> {
    match paths.iter().find(|p| p.symlink_metadata().is_ok()) {
        Some(path) => Err(FileError::Exists { path: (*path).to_owned() }),
        None => Ok(()),
    }
}
