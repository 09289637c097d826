//! Integrity of IKE messages (transform type 3), RFC 4868 §2.3. Not used with combined-mode ciphers.

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Integ {
    HmacSha256_128,
    HmacSha384_192,
    HmacSha512_256,
}

impl Integ {
    pub const ALL: [Self; 3] = [Self::HmacSha256_128, Self::HmacSha384_192, Self::HmacSha512_256];

    #[must_use]
    pub const fn transform_id(self) -> u16 {
        match self {
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
            Self::HmacSha256_128 => 32,
            Self::HmacSha384_192 => 48,
            Self::HmacSha512_256 => 64,
        }
    }

    #[must_use]
    pub const fn icv_len(self) -> usize {
        self.key_len() / 2
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256_128 => "sha256",
            Self::HmacSha384_192 => "sha384",
            Self::HmacSha512_256 => "sha512",
        }
    }
}
