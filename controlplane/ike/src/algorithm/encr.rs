//! Encryption of IKE messages (transform type 1).

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Encr {
    Aes128Gcm16,
    Aes256Gcm16,
    ChaCha20Poly1305,
    Aes128Cbc,
    Aes256Cbc,
}

impl Encr {
    pub const ALL: [Self; 5] =
        [Self::Aes256Gcm16, Self::Aes128Gcm16, Self::ChaCha20Poly1305, Self::Aes256Cbc, Self::Aes128Cbc];

    /// RFC 7296 §3.3.2, RFC 5282 §7, RFC 7634 §4.
    #[must_use]
    pub const fn transform_id(self) -> u16 {
        match self {
            Self::Aes128Cbc | Self::Aes256Cbc => 12,
            Self::Aes128Gcm16 | Self::Aes256Gcm16 => 20,
            Self::ChaCha20Poly1305 => 28,
        }
    }

    /// The Key Length attribute. RFC 7634 §2: ChaCha20 has a fixed key, the attribute MUST NOT be sent.
    #[must_use]
    pub const fn key_bits(self) -> Option<u16> {
        match self {
            Self::Aes128Gcm16 | Self::Aes128Cbc => Some(128),
            Self::Aes256Gcm16 | Self::Aes256Cbc => Some(256),
            Self::ChaCha20Poly1305 => None,
        }
    }

    #[must_use]
    pub fn from_transform(id: u16, key_bits: Option<u16>) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.transform_id() == id && e.key_bits() == key_bits)
    }

    #[must_use]
    pub const fn is_aead(self) -> bool {
        !matches!(self, Self::Aes128Cbc | Self::Aes256Cbc)
    }

    /// Length of SK_ei and SK_er. RFC 5282 §7.1: the 4-byte salt follows the key.
    #[must_use]
    pub const fn keymat_len(self) -> usize {
        match self {
            Self::Aes128Gcm16 => 20,
            Self::Aes256Gcm16 | Self::ChaCha20Poly1305 => 36,
            Self::Aes128Cbc => 16,
            Self::Aes256Cbc => 32,
        }
    }

    /// RFC 5282 §3.1: 8; RFC 3602 §3: one block.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        if self.is_aead() { 8 } else { 16 }
    }

    /// ICV of the combined modes; the others take theirs from [`super::Integ`].
    #[must_use]
    pub const fn aead_icv_len(self) -> usize {
        if self.is_aead() { 16 } else { 0 }
    }

    /// Plaintext with padding is a multiple of this. RFC 5282 §3: none is needed by a combined mode.
    #[must_use]
    pub const fn block_len(self) -> usize {
        if self.is_aead() { 1 } else { 16 }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm16 => "aes128gcm16",
            Self::Aes256Gcm16 => "aes256gcm16",
            Self::ChaCha20Poly1305 => "chacha20poly1305",
            Self::Aes128Cbc => "aes128",
            Self::Aes256Cbc => "aes256",
        }
    }
}
