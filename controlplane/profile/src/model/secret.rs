//! Secrets of a profile: where they come from.

use super::limits::SECRET_MAX;
use sipsec_net::SecretBox;
use std::path::{Path, PathBuf};

pub type Secret = SecretBox<SECRET_MAX>;
/// Written in place of an inline secret.
pub const HIDDEN: &str = "********";

/// Where a secret is written down.
#[derive(Clone, Debug)]
pub enum SecretSource {
    Inline(Secret),
    File(PathBuf),
    /// The name of a variable of the gateway's environment.
    Env(String),
    /// A program that writes the secret: its absolute path, then its arguments. No shell reads them.
    Command(Vec<String>),
    /// The name of a credential that systemd hands to the gateway.
    Credential(String),
}

/// The keys of a secret, one for each source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretKeys {
    /// None for what is too long for a profile.
    pub inline: Option<&'static str>,
    pub file: &'static str,
    pub env: &'static str,
    pub command: &'static str,
    pub credential: &'static str,
}

pub const PSK: SecretKeys = SecretKeys {
    inline: Some("psk"),
    file: "psk_file",
    env: "psk_env",
    command: "psk_command",
    credential: "psk_credential",
};
/// The pre-shared key that is accepted besides the first while keys are changed.
pub const PSK_NEXT: SecretKeys = SecretKeys {
    inline: Some("psk_next"),
    file: "psk_file_next",
    env: "psk_env_next",
    command: "psk_command_next",
    credential: "psk_credential_next",
};
pub const PPK: SecretKeys = SecretKeys {
    inline: Some("ppk"),
    file: "ppk_file",
    env: "ppk_env",
    command: "ppk_command",
    credential: "ppk_credential",
};
pub const PASSWORD: SecretKeys = SecretKeys {
    inline: Some("password"),
    file: "password_file",
    env: "password_env",
    command: "password_command",
    credential: "password_credential",
};
/// The private key of a certificate.
pub const PRIVATE_KEY: SecretKeys = SecretKeys {
    inline: None,
    file: "key",
    env: "key_env",
    command: "key_command",
    credential: "key_credential",
};

impl SecretKeys {
    pub fn all(self) -> impl Iterator<Item = &'static str> {
        self.inline.into_iter().chain([self.file, self.env, self.command, self.credential])
    }

    /// The key under which a source is written.
    #[must_use]
    pub fn of(self, source: &SecretSource) -> &'static str {
        match source {
            SecretSource::Inline(_) => self.inline.unwrap_or(self.file),
            SecretSource::File(_) => self.file,
            SecretSource::Env(_) => self.env,
            SecretSource::Command(_) => self.command,
            SecretSource::Credential(_) => self.credential,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("the environment has no variable {0}")]
    Env(String),
    #[error("{}: {reason}", program.display())]
    Command { program: PathBuf, reason: String },
    /// Without its name: a secret may stand there by mistake.
    #[error("the credential: {0}")]
    Credential(String),
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {SECRET_MAX} bytes")]
    TooLong,
    #[error("the part after 0x is not an even number of hexadecimal digits")]
    Hex,
}

impl SecretSource {
    /// An inline secret.
    ///
    /// # Errors
    /// If it is empty or longer than [`SECRET_MAX`].
    pub fn inline(text: &str) -> Result<Self, SecretError> {
        bounded(text.as_bytes()).map(Self::Inline)
    }

    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            _ => None,
        }
    }

    pub(crate) fn write<M: serde::ser::SerializeMap>(
        &self,
        keys: SecretKeys,
        map: &mut M,
    ) -> Result<(), M::Error> {
        let key = keys.of(self);
        match self {
            Self::Inline(_) => map.serialize_entry(key, HIDDEN),
            Self::File(path) => map.serialize_entry(key, path),
            Self::Env(name) | Self::Credential(name) => map.serialize_entry(key, name),
            Self::Command(words) => match words.as_slice() {
                [program] => map.serialize_entry(key, program),
                // An argument may be a secret.
                [program, arguments @ ..] => {
                    let hidden = arguments.iter().map(|_| HIDDEN);
                    let words: Vec<_> = std::iter::once(program.as_str()).chain(hidden).collect();
                    map.serialize_entry(key, &words)
                }
                [] => Ok(()),
            },
        }
    }
}

/// # Errors
/// If it is empty or longer than [`SECRET_MAX`].
pub fn bounded(bytes: &[u8]) -> Result<Secret, SecretError> {
    if bytes.is_empty() {
        return Err(SecretError::Empty);
    }
    SecretBox::new(bytes).ok_or(SecretError::TooLong)
}

/// A secret from the bytes of a file: one line, whose end does not count.
///
/// # Errors
/// As [`bounded`].
pub fn from_file(bytes: &[u8]) -> Result<Secret, SecretError> {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bounded(line.strip_suffix(b"\r").unwrap_or(line))
}

/// The octets that IKE uses of a written key: `0x…` is hexadecimal, everything else counts as written.
///
/// # Errors
/// If it starts with `0x` and is not a hexadecimal number.
pub fn psk_octets(written: &Secret) -> Result<Secret, SecretError> {
    let Some(hex) = written.expose().strip_prefix(b"0x") else { return Ok(written.clone()) };
    if hex.is_empty() || hex.len() % 2 != 0 {
        return Err(SecretError::Hex);
    }
    let mut out = zeroize::Zeroizing::new(Vec::with_capacity(hex.len() / 2));
    for pair in hex.chunks(2) {
        let digit = |b: u8| char::from(b).to_digit(16).ok_or(SecretError::Hex);
        // Two digits below 16 each: the sum is below 256.
        out.push(u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| SecretError::Hex)?);
    }
    bounded(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_keys_are_decoded() {
        let octets = |s: &str| psk_octets(&bounded(s.as_bytes()).expect("fits")).map(|s| s.expose().to_vec());
        assert_eq!(octets("0x00ffA1"), Ok(vec![0, 255, 0xa1]));
        assert_eq!(octets("00ff"), Ok(b"00ff".to_vec()));
        assert_eq!(octets("0x0"), Err(SecretError::Hex));
        assert_eq!(octets("0xzz"), Err(SecretError::Hex));
    }

    #[test]
    fn the_end_of_the_line_is_not_part_of_a_secret() {
        let read = |bytes: &[u8]| from_file(bytes).map(|s| s.expose().to_vec());
        assert_eq!(read(b"key\r\n"), Ok(b"key".to_vec()));
        assert_eq!(read(b"key\n\n"), Ok(b"key\n".to_vec()));
        assert_eq!(read(b"\n"), Err(SecretError::Empty));
        assert_eq!(read(&[b'x'; 300]), Err(SecretError::TooLong));
    }
}
