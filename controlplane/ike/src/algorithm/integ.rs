//! Integrity of IKE messages and of ESP (transform type 3), RFC 4868 §2.3. Not used with combined-mode ciphers.

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Integ {
    /// RFC 2404; for old peers alone.
    HmacSha1_96,
    HmacSha256_128,
    HmacSha384_192,
    HmacSha512_256,
}

impl Integ {
    pub const ALL: [Self; 3] = [Self::HmacSha256_128, Self::HmacSha384_192, Self::HmacSha512_256];
    /// For a peer that is known to have nothing better (RFC 8247 §2.3: MUST-).
    pub const LEGACY: [Self; 1] = [Self::HmacSha1_96];

    #[must_use]
    pub const fn transform_id(self) -> u16 {
        match self {
            Self::HmacSha1_96 => 2,
            Self::HmacSha256_128 => 12,
            Self::HmacSha384_192 => 13,
            Self::HmacSha512_256 => 14,
        }
    }

    #[must_use]
    pub fn from_transform(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|i| i.transform_id() == id)
    }

    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 20,
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            other => other.key_len() / 2,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1_96 => "sha1",
            Self::HmacSha256_128 => "sha256",
            Self::HmacSha384_192 => "sha384",
            Self::HmacSha512_256 => "sha512",
        }
    }
}
