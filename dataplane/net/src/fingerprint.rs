//! Fingerprints as SDP carries them (RFC 8122 §5 for certificates, RFC 6193 §8.2 for pre-shared keys).

use core::fmt;
use core::str::FromStr;

/// RFC 8122 §5. md2 and md5 are absent: they MUST NOT be generated or verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HashFunc {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl HashFunc {
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Case-insensitive, as RFC 8122 §5 has it (Cisco writes `SHA-1`).
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512]
            .into_iter()
            .find(|h| token.eq_ignore_ascii_case(h.token()))
    }
}

/// A digest with the function that made it. Shown as `sha-256 4A:AD:…` (upper-case hex, RFC 8122 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    hash: HashFunc,
    digest: [u8; 64],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FingerprintError {
    Syntax,
    /// A function that we do not verify (RFC 8122 §5: md5 and md2 MUST NOT be used).
    UnsupportedHash,
    /// The digest is not as long as its function says.
    Length,
}

impl Fingerprint {
    /// `None` if the digest has the wrong length for `hash`.
    #[must_use]
    pub fn new(hash: HashFunc, digest: &[u8]) -> Option<Self> {
        if digest.len() != hash.digest_len() {
            return None;
        }
        let mut out = Self { hash, digest: [0; 64] };
        out.digest[..digest.len()].copy_from_slice(digest);
        Some(out)
    }

    #[must_use]
    pub const fn hash(&self) -> HashFunc {
        self.hash
    }

    #[must_use]
    pub fn digest(&self) -> &[u8] {
        &self.digest[..self.hash.digest_len()]
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.token())?;
        for (i, b) in self.digest().iter().enumerate() {
            write!(f, "{}{b:02X}", if i == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Parses the value of `a=fingerprint:`. Lower-case hex is accepted though the grammar wants upper.
    fn from_str(s: &str) -> Result<Self, FingerprintError> {
        let (token, hex) = s.trim().split_once(' ').ok_or(FingerprintError::Syntax)?;
        let hash = HashFunc::from_token(token).ok_or(FingerprintError::UnsupportedHash)?;
        let mut out = Self { hash, digest: [0; 64] };
        let mut len = 0;
        for pair in hex.trim().split(':') {
            if pair.len() != 2 || !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(FingerprintError::Syntax);
            }
            let byte = u8::from_str_radix(pair, 16).map_err(|_| FingerprintError::Syntax)?;
            *out.digest.get_mut(len).ok_or(FingerprintError::Length)? = byte;
            len += 1;
        }
        if len == hash.digest_len() { Ok(out) } else { Err(FingerprintError::Length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offer printed in the IOS chapter on VPN SIP.
    const SEED: &str = "SHA-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";

    #[test]
    fn any_case_is_read_and_one_is_written() {
        let f: Fingerprint = SEED.parse().expect("valid");
        assert_eq!(std::format!("{f}"), SEED.replace("SHA-1", "sha-1"));
        assert_eq!(SEED.to_lowercase().parse(), Ok(f));
    }

    #[test]
    fn weak_or_malformed_values_are_refused() {
        assert_eq!("md5 00".parse::<Fingerprint>(), Err(FingerprintError::UnsupportedHash));
        assert_eq!("sha-1 4A:AD".parse::<Fingerprint>(), Err(FingerprintError::Length));
        assert_eq!("sha-1 4A:+D".parse::<Fingerprint>(), Err(FingerprintError::Syntax));
        assert_eq!("sha-1".parse::<Fingerprint>(), Err(FingerprintError::Syntax));
    }
}
