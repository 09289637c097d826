//! Key exchange methods (transform type 4).

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DhGroup {
    /// RFC 8031.
    X25519,
    /// RFC 5903.
    Ecp256,
    Ecp384,
    Ecp521,
    /// RFC 2409 §6.2, RFC 3526 §2; for old peers alone.
    Modp1024,
    Modp1536,
    /// RFC 3526.
    Modp2048,
    Modp3072,
    Modp4096,
    /// draft-ietf-ipsecme-ikev2-mlkem §5, in addition to one of the others alone (RFC 9370).
    MlKem768,
    MlKem1024,
    MlKem512,
}

impl DhGroup {
    /// Those of the first key exchange, in the order in which we prefer them.
    pub const ALL: [Self; 7] = [
        Self::X25519,
        Self::Ecp256,
        Self::Ecp384,
        Self::Ecp521,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
    ];

    /// For a peer that is known to have nothing better (RFC 8247 §2.4: SHOULD NOT).
    pub const LEGACY: [Self; 2] = [Self::Modp1536, Self::Modp1024];

    /// Those of an additional key exchange (RFC 9370 §2.2.1), which must be sent where messages can be fragmented.
    pub const ADDITIONAL: [Self; 3] = [Self::MlKem768, Self::MlKem1024, Self::MlKem512];

    #[must_use]
    pub const fn transform_id(self) -> u16 {
        match self {
            Self::Modp1024 => 2,
            Self::Modp1536 => 5,
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
            Self::Ecp521 => 21,
            Self::X25519 => 31,
            Self::MlKem512 => 35,
            Self::MlKem768 => 36,
            Self::MlKem1024 => 37,
        }
    }

    #[must_use]
    pub fn from_transform(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.transform_id() == id)
    }

    /// Length of the initiator's Key Exchange Data field: RFC 7296 §3.4 (the modulus, zero-padded), RFC 5903 §7 (x ‖ y, no prefix
    /// byte), RFC 8031 §3.1, FIPS 203 §8.
    #[must_use]
    pub const fn public_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Ecp521 => 132,
            Self::Modp1024 => 128,
            Self::Modp1536 => 192,
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// Length of the responder's.
    #[must_use]
    pub const fn answer_len(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
            other => other.public_len(),
        }
    }

    /// Length of the private value. MODP exponents have twice the strength of the group (RFC 3526 §8) and to spare.
    #[must_use]
    pub const fn private_len(self) -> usize {
        match self {
            Self::X25519 | Self::Ecp256 => 32,
            Self::Ecp384 => 48,
            Self::Ecp521 => 66,
            Self::Modp1024 => 28,
            Self::Modp1536 => 32,
            Self::Modp2048 => 40,
            Self::Modp3072 => 48,
            Self::Modp4096 => 56,
            Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 => 64,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X25519 => "x25519",
            Self::Ecp256 => "ecp256",
            Self::Ecp384 => "ecp384",
            Self::Ecp521 => "ecp521",
            Self::Modp1024 => "modp1024",
            Self::Modp1536 => "modp1536",
            Self::Modp2048 => "modp2048",
            Self::Modp3072 => "modp3072",
            Self::Modp4096 => "modp4096",
            Self::MlKem512 => "mlkem512",
            Self::MlKem768 => "mlkem768",
            Self::MlKem1024 => "mlkem1024",
        }
    }
}
