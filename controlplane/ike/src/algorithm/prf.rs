//! Pseudo-random functions (transform type 2), RFC 4868 §2.4.

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Prf {
    /// RFC 2104; for old peers alone.
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

impl Prf {
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];
    /// For a peer that is known to have nothing better (RFC 8247 §2.2: MUST-).
    pub const LEGACY: [Self; 1] = [Self::HmacSha1];

    #[must_use]
    pub const fn transform_id(self) -> u16 {
        match self {
            Self::HmacSha1 => 2,
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
        }
    }

    #[must_use]
    pub fn from_transform(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.transform_id() == id)
    }

    /// Output length, and preferred key length (RFC 4868 §2.4).
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "prfsha1",
            Self::HmacSha256 => "prfsha256",
            Self::HmacSha384 => "prfsha384",
            Self::HmacSha512 => "prfsha512",
        }
    }
}
