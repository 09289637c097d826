//! Reading a profile: this module opens the files; [`sipsec_profile`] says what they mean.

mod command;
mod includes;
pub mod machine;
pub mod secret;

use crate::pki::files;
use machine::Machine;
use sipsec_profile::model::limits::FILE_BYTES_MAX;
pub use sipsec_profile::model::limits::RUNTIME_ROOT;
pub use sipsec_profile::{Finding, Findings, Profile, Severity, Style};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why there is no profile at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the profile {}: {error}", path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("the profile {} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    /// It has errors; shown as `sipsec check` shows them.
    #[error("{}", .0.render(Style::PLAIN))]
    Findings(Findings),
}

/// A profile that can be obeyed, and the warnings about it.
#[derive(Debug)]
pub struct Loaded {
    pub profile: Profile,
    pub findings: Findings,
}

/// The profile of another process, or one to look at: no program runs.
///
/// # Errors
/// If the file cannot be read or has errors.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    load_as(path, false)
}

/// The profile that this process shall obey.
///
/// # Errors
/// As [`load`].
pub fn load_to_run(path: &Path) -> Result<Loaded, LoadError> {
    load_as(path, true)
}

fn load_as(path: &Path, is_gateway: bool) -> Result<Loaded, LoadError> {
    let (bytes, mode) = read(path)?;
    let machine =
        Machine { profile_mode: Some(mode), base: directory(path), is_gateway, ..Machine::default() };
    whole(sipsec_profile::examine(&path.display().to_string(), &bytes, &machine))
}

/// A profile from elsewhere than a file, which this process shall obey.
///
/// # Errors
/// If it has errors.
pub fn parse(name: &str, text: &str) -> Result<Loaded, LoadError> {
    let machine =
        Machine { base: PathBuf::from("/"), is_complete: true, is_gateway: true, ..Machine::default() };
    whole(sipsec_profile::examine(name, text.as_bytes(), &machine))
}

/// A profile that a running gateway shall take: the gateway itself looks for secrets and certificates, which the user need
/// not be able to read.
///
/// # Errors
/// If the file cannot be read or has errors.
pub fn load_for_gateway(path: &Path) -> Result<Loaded, LoadError> {
    let (bytes, mode) = read(path)?;
    let machine =
        Machine { profile_mode: Some(mode), base: directory(path), is_remote: true, ..Machine::default() };
    whole(sipsec_profile::examine(&path.display().to_string(), &bytes, &machine))
}

/// The same of bytes that shall stand at `path`.
///
/// # Errors
/// If they have errors.
pub fn parse_for_gateway(path: &Path, bytes: &[u8]) -> Result<Loaded, LoadError> {
    let machine =
        Machine { profile_mode: None, base: directory(path), is_remote: true, ..Machine::default() };
    whole(sipsec_profile::examine(&path.display().to_string(), bytes, &machine))
}

fn whole(examined: sipsec_profile::Examined) -> Result<Loaded, LoadError> {
    match examined.profile {
        Some(profile) if examined.findings.errors() == 0 => {
            Ok(Loaded { profile, findings: examined.findings })
        }
        _ => Err(LoadError::Findings(examined.findings)),
    }
}

/// As [`load`], for `sipsec check`: errors of the profile are findings, and `-` is standard input.
///
/// # Errors
/// If the file cannot be read.
pub fn inspect(path: &Path) -> Result<sipsec_profile::Examined, LoadError> {
    let (name, bytes, profile_mode) = if path == Path::new("-") {
        let fail = |error| LoadError::Read { path: path.to_owned(), error };
        let mut bytes = Zeroizing::new(Vec::new());
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(LoadError::TooLarge { path: path.to_owned() });
        }
        ("<stdin>".to_owned(), bytes, None)
    } else {
        let (bytes, mode) = read(path)?;
        (path.display().to_string(), bytes, Some(mode))
    };
    Ok(sipsec_profile::examine(
        &name,
        &bytes,
        &Machine { profile_mode, base: directory(path), ..Machine::default() },
    ))
}

fn directory(path: &Path) -> PathBuf {
    path.parent().map(Path::to_owned).unwrap_or_default()
}

/// The bytes of the file and its permission bits.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), LoadError> {
    let read = |error| LoadError::Read { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(read)?;
    let mode = file.metadata().map_err(read)?.permissions().mode() & 0o777;
    let bytes = files::bounded(file, FILE_BYTES_MAX).map_err(read)?;
    Ok((bytes.ok_or_else(|| LoadError::TooLarge { path: path.to_owned() })?, mode))
}

/// Where the control plane of a profile listens. Needs its name only: the rest may be wrong, or its secrets unreadable
/// for the caller.
///
/// # Errors
/// If the file cannot be read, is no YAML, or names no gateway.
pub fn control_socket_of(path: &Path) -> Result<PathBuf, LoadError> {
    let (bytes, _) = read(path)?;
    sipsec_profile::control_socket_of(&path.display().to_string(), &bytes).map_err(LoadError::Findings)
}

/// A profile to show, and how many errors it has. Its keys and certificates are not read.
///
/// # Errors
/// If the file cannot be read, or what it says is not whole.
pub fn view(path: &Path) -> Result<(Profile, usize), LoadError> {
    let (bytes, mode) = read(path)?;
    let machine =
        Machine { profile_mode: Some(mode), base: directory(path), is_remote: true, ..Machine::default() };
    let examined = sipsec_profile::examine(&path.display().to_string(), &bytes, &machine);
    let errors = examined.findings.errors();
    examined.profile.map(|profile| (profile, errors)).ok_or(LoadError::Findings(examined.findings))
}

/// A profile's text that stands in no file, checked against this machine.
#[must_use]
pub fn examine(file: &str, text: &str) -> (Option<Profile>, Findings) {
    let examined = sipsec_profile::examine(file, text.as_bytes(), &Machine::default());
    (examined.profile, examined.findings)
}
