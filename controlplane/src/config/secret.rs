//! Secrets of a profile: where they come from, and how much guessing they stand.

use crate::pki::files::{self, reason};
use sipsec_net::SecretBox;
use std::path::PathBuf;

/// Longest secret kept.
pub const SECRET_MAX: usize = 256;
/// With the end of its line.
const FILE_BYTES_MAX: u64 = SECRET_MAX as u64 + 2;
pub type Secret = SecretBox<SECRET_MAX>;

/// Where a secret is written down.
#[derive(Clone, Debug)]
pub enum SecretSource {
    Inline(Box<Secret>),
    File(PathBuf),
    Env(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    #[error("the environment has no variable {0}")]
    Env(String),
    #[error("it is empty")]
    Empty,
    #[error("it is longer than {SECRET_MAX} bytes")]
    TooLong,
    #[error("what follows 0x is not an even number of hexadecimal digits")]
    Hex,
}

impl SecretSource {
    /// # Errors
    /// If there is no usable secret at the source.
    pub fn load(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Inline(secret) => Ok(Secret::clone(secret)),
            Self::File(path) => {
                let fail = |e: std::io::Error| SecretError::File { path: path.clone(), reason: reason(&e) };
                let file = files::open(path).map_err(fail)?;
                let text = files::bounded(file, FILE_BYTES_MAX).map_err(fail)?.ok_or(SecretError::TooLong)?;
                // Editors end a file with a newline; nobody means it as part of the key.
                let line = text.strip_suffix(b"\n").unwrap_or(&text);
                bounded(line.strip_suffix(b"\r").unwrap_or(line))
            }
            Self::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| SecretError::Env(name.clone()))?;
                bounded(std::os::unix::ffi::OsStrExt::as_bytes(value.as_os_str()))
            }
        }
    }
}

fn zeroizing(bytes: Vec<u8>) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(bytes)
}

/// # Errors
/// If it is empty or too long.
pub fn bounded(bytes: &[u8]) -> Result<Secret, SecretError> {
    if bytes.is_empty() { Err(SecretError::Empty) } else { SecretBox::new(bytes).ok_or(SecretError::TooLong) }
}

/// The octets that IKE uses of a written key: `0x…` is hexadecimal, everything else is taken as it stands.
///
/// # Errors
/// If it starts with `0x` and is no hexadecimal number.
pub fn psk_octets(written: &Secret) -> Result<Secret, SecretError> {
    let Some(hex) = written.expose().strip_prefix(b"0x") else { return Ok(written.clone()) };
    if hex.is_empty() || hex.len() % 2 != 0 {
        return Err(SecretError::Hex);
    }
    let mut out = zeroizing(Vec::with_capacity(hex.len() / 2));
    for pair in hex.chunks(2) {
        let digit = |b: u8| char::from(b).to_digit(16).ok_or(SecretError::Hex);
        // Two digits below 16 each: the sum is below 256.
        out.push(u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).map_err(|_| SecretError::Hex)?);
    }
    bounded(&out)
}

/// Words that guessers try first; each counts as one guess of some hundreds.
const WORDS: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "cisco",
    "sipsec",
    "vpnsip",
    "vpn",
    "ipsec",
    "ike",
    "psk",
    "presharedkey",
    "preshared",
    "shared",
    "key",
    "admin",
    "root",
    "test",
    "demo",
    "lab",
    "example",
    "changeme",
    "letmein",
    "welcome",
    "qwerty",
    "branch",
    "center",
    "centre",
    "carrier",
    "tokyo",
    "osaka",
    "japan",
    "ntt",
];
const WORD_BITS: f64 = 8.0;

/// Estimated bits of a key as written: what a guesser who knows how people write keys would need. Random hexadecimal,
/// base64 and diceware-free text come out at their size; words, runs and repetitions count little.
#[must_use]
pub fn estimated_bits(written: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(written);
    let body = text.strip_prefix("0x").unwrap_or(&text);
    let chars: Vec<char> = body.chars().collect();
    let lower: Vec<char> = chars.iter().map(char::to_ascii_lowercase).collect();
    let word_at = |at: usize| {
        let rest: String = lower[at..].iter().collect();
        WORDS.iter().filter(|w| rest.starts_with(**w)).map(|w| w.len()).max()
    };
    let (mut words, mut rest, mut at) = (0.0, Vec::new(), 0);
    while at < chars.len() {
        match word_at(at) {
            Some(len) => {
                words += 1.0;
                at += len;
            }
            None => {
                rest.push(chars[at]);
                at += 1;
            }
        }
    }
    words * WORD_BITS + letters_bits(&rest)
}

/// Bits of what is left when the words are taken out.
fn letters_bits(chars: &[char]) -> f64 {
    let per_char = alphabet(chars).log2();
    let mut bits = 0.0;
    for at in 0..chars.len() {
        let step = |back: usize| at.checked_sub(back).map(|i| i64::from(u32::from(chars[i])));
        let this = i64::from(u32::from(chars[at]));
        // A run (aaaa, 1234, dcba) says what comes next; shorter ones are frequent in random text.
        let run = match (step(1), step(2), step(3)) {
            (Some(a), Some(b), Some(c)) => this - a == a - b && a - b == b - c && (this - a).abs() <= 1,
            _ => false,
        };
        bits += if run || repeats(chars, at) { 0.5 } else { per_char };
    }
    bits
}

/// Whether the characters before stand elsewhere earlier, followed by this one: a repetition of at least four.
fn repeats(chars: &[char], at: usize) -> bool {
    const UNIT: usize = 4;
    at >= UNIT && chars[..at].windows(UNIT).any(|w| *w == chars[at + 1 - UNIT..=at])
}

fn alphabet(chars: &[char]) -> f64 {
    let any = |f: fn(&char) -> bool| chars.iter().any(f);
    if chars.iter().all(char::is_ascii_digit) {
        return 10.0;
    }
    if chars.iter().all(char::is_ascii_hexdigit) {
        return 16.0;
    }
    let mut size = 0.0;
    for (present, count) in [
        (any(char::is_ascii_lowercase), 26.0),
        (any(char::is_ascii_uppercase), 26.0),
        (any(char::is_ascii_digit), 10.0),
        (any(|c| c.is_ascii_punctuation() || *c == ' '), 33.0),
        (any(|c| !c.is_ascii()), 64.0),
    ] {
        size += if present { count } else { 0.0 };
    }
    f64::max(size, 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_tells_random_from_written_by_hand() {
        let strong = ["0xd1f0a93b7c4e58261b7f9c03e6a2d845", "q8ZJ5yLr1uVn0sKcWf3Tb9"];
        for key in strong {
            assert!(estimated_bits(key.as_bytes()) >= 110.0, "{key}: {}", estimated_bits(key.as_bytes()));
        }
        let weak = [
            "key123",
            "psk1",
            "cisco123",
            "psk10337101690",
            "passwordpasswordpasswordpassword",
            "12345678901234567890",
        ];
        for key in weak {
            assert!(estimated_bits(key.as_bytes()) < 60.0, "{key}: {}", estimated_bits(key.as_bytes()));
        }
    }

    #[test]
    fn hexadecimal_keys_are_decoded() {
        let octets = |s: &str| psk_octets(&bounded(s.as_bytes()).expect("fits")).map(|s| s.expose().to_vec());
        assert_eq!(octets("0x00ffA1"), Ok(vec![0, 255, 0xa1]));
        assert_eq!(octets("00ff"), Ok(b"00ff".to_vec()));
        assert_eq!(octets("0x0"), Err(SecretError::Hex));
        assert_eq!(octets("0xzz"), Err(SecretError::Hex));
    }
}
