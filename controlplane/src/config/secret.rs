//! Secrets at their sources.

use super::command;
use crate::pki::files::{self, reason};
use sipsec_profile::model::limits::SECRET_MAX;
use sipsec_profile::model::secret::{bounded, from_file};
use sipsec_profile::model::{Secret, SecretError, SecretSource};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A secret with the end of its line.
const SECRET_FILE_BYTES_MAX: u64 = SECRET_MAX as u64 + 2;
/// systemd puts the path of the directory with the credentials of a unit here.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The secret at its source.
///
/// # Errors
/// If there is none that can be used.
pub fn secret(source: &SecretSource) -> Result<Secret, SecretError> {
    match source {
        SecretSource::Inline(secret) => Ok(Secret::clone(secret)),
        SecretSource::Env(name) => bounded(&variable(name)?),
        SecretSource::File(_) | SecretSource::Command(_) | SecretSource::Credential(_) => {
            from_file(&bytes(source, SECRET_FILE_BYTES_MAX)?)
        }
    }
}

/// What stands at a source, at most `max` bytes.
///
/// # Errors
/// If it cannot be read, or is longer.
pub fn bytes(source: &SecretSource, max: u64) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    match source {
        SecretSource::Inline(secret) => Ok(Zeroizing::new(secret.expose().to_vec())),
        SecretSource::File(path) => {
            contents(path, max, |reason| SecretError::File { path: path.clone(), reason })
        }
        SecretSource::Env(name) => variable(name),
        SecretSource::Command(words) => command::output(words, max),
        SecretSource::Credential(name) => {
            let path = credential(std::env::var_os(CREDENTIALS), name)?;
            contents(&path, max, SecretError::Credential)
        }
    }
}

fn contents(
    path: &Path,
    max: u64,
    fail: impl Fn(String) -> SecretError,
) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let file = files::open(path).map_err(|e| fail(reason(&e)))?;
    files::bounded(file, max).map_err(|e| fail(reason(&e)))?.ok_or(SecretError::TooLong)
}

fn variable(name: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let value = std::env::var_os(name).ok_or_else(|| SecretError::Env(name.to_owned()))?;
    Ok(Zeroizing::new(value.into_vec()))
}

/// Where systemd has put a credential.
fn credential(directory: Option<OsString>, name: &str) -> Result<PathBuf, SecretError> {
    let directory = directory.filter(|d| d.as_bytes().starts_with(b"/"));
    let none = || SecretError::Credential(format!("this process was started without ${CREDENTIALS}"));
    Ok(Path::new(&directory.ok_or_else(none)?).join(name))
}

/// The name of a source in messages: no secret, and no argument of a command.
#[must_use]
pub fn shown(source: &SecretSource) -> PathBuf {
    match source {
        SecretSource::Inline(_) => PathBuf::from("the inline secret"),
        SecretSource::File(path) => path.clone(),
        SecretSource::Env(name) => PathBuf::from(format!("${name}")),
        SecretSource::Command(words) => words.first().map(PathBuf::from).unwrap_or_default(),
        SecretSource::Credential(name) => PathBuf::from(format!("${CREDENTIALS}/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stand_in_the_directory_of_systemd() {
        let path = credential(Some("/run/credentials/x.service".into()), "psk-osaka");
        assert_eq!(path, Ok(PathBuf::from("/run/credentials/x.service/psk-osaka")));
        for none in [None, Some(OsString::new()), Some("relative".into())] {
            let error = credential(none, "hunter2").expect_err("none").to_string();
            assert_eq!(error, "the credential: this process was started without $CREDENTIALS_DIRECTORY");
        }
    }

    #[test]
    fn one_line_is_the_secret_of_every_source() {
        let command = |text: &str| SecretSource::Command(vec!["/usr/bin/printf".to_owned(), text.to_owned()]);
        assert_eq!(secret(&command("key\\n")).expect("written").expose(), b"key");
        assert_eq!(secret(&command("")).expect_err("nothing"), SecretError::Empty);
        let file = std::env::temp_dir().join(format!("sipsec-secret-{}", std::process::id()));
        std::fs::write(&file, "key\r\n").expect("written");
        assert_eq!(secret(&SecretSource::File(file.clone())).expect("read").expose(), b"key");
        std::fs::write(&file, [b'x'; 300]).expect("written");
        assert_eq!(secret(&SecretSource::File(file.clone())).expect_err("long"), SecretError::TooLong);
        assert_eq!(bytes(&SecretSource::File(file.clone()), 1000).expect("read").len(), 300);
        std::fs::remove_file(file).expect("removed");
    }
}
