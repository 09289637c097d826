//! What we offer and accept for ESP, and what was agreed.

use super::proposal::{ESN, NO_ESN, Words, join, ke1_name};
use super::{DhGroup, Encr, Integ, ProposalError};
use core::fmt;
use core::str::FromStr;
use sipsec_net::dp::{EspCipher, EspHmac};

/// Encryption of ESP (transform type 1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EspEncr {
    Aes128Gcm16,
    Aes256Gcm16,
    ChaCha20Poly1305,
    /// With the sequence number as IV (RFC 8750); for ESP alone.
    Aes128Gcm16Iiv,
    Aes256Gcm16Iiv,
    ChaCha20Poly1305Iiv,
    Aes128Cbc,
    Aes256Cbc,
}

impl EspEncr {
    pub const ALL: [Self; 8] = [
        Self::Aes256Gcm16,
        Self::Aes128Gcm16,
        Self::ChaCha20Poly1305,
        Self::Aes256Cbc,
        Self::Aes128Cbc,
        Self::Aes256Gcm16Iiv,
        Self::Aes128Gcm16Iiv,
        Self::ChaCha20Poly1305Iiv,
    ];

    /// The same cipher for IKE messages.
    #[must_use]
    pub const fn ike(self) -> Option<Encr> {
        match self {
            Self::Aes128Gcm16 => Some(Encr::Aes128Gcm16),
            Self::Aes256Gcm16 => Some(Encr::Aes256Gcm16),
            Self::ChaCha20Poly1305 => Some(Encr::ChaCha20Poly1305),
            Self::Aes128Cbc => Some(Encr::Aes128Cbc),
            Self::Aes256Cbc => Some(Encr::Aes256Cbc),
            Self::Aes128Gcm16Iiv | Self::Aes256Gcm16Iiv | Self::ChaCha20Poly1305Iiv => None,
        }
    }

    /// The numbers of [`Encr`], and RFC 8750 §6.
    #[must_use]
    pub const fn transform_id(self) -> u16 {
        match (self.ike(), self) {
            (Some(encr), _) => encr.transform_id(),
            (None, Self::ChaCha20Poly1305Iiv) => 31,
            (None, _) => 30,
        }
    }

    /// The Key Length attribute.
    #[must_use]
    pub const fn key_bits(self) -> Option<u16> {
        match (self.ike(), self) {
            (Some(encr), _) => encr.key_bits(),
            (None, Self::Aes128Gcm16Iiv) => Some(128),
            (None, Self::Aes256Gcm16Iiv) => Some(256),
            (None, _) => None,
        }
    }

    #[must_use]
    pub const fn is_aead(self) -> bool {
        !matches!(self, Self::Aes128Cbc | Self::Aes256Cbc)
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.ike(), self) {
            (Some(encr), _) => encr.name(),
            (None, Self::Aes128Gcm16Iiv) => "aes128gcm16iiv",
            (None, Self::Aes256Gcm16Iiv) => "aes256gcm16iiv",
            (None, _) => "chacha20poly1305iiv",
        }
    }

    /// With this integrity algorithm: AES-CBC needs one, and an AEAD takes none.
    #[must_use]
    pub const fn with(self, integ: Option<Integ>) -> Option<EspCipher> {
        Some(match (self, integ) {
            (Self::Aes128Gcm16, None) => EspCipher::Aes128Gcm16,
            (Self::Aes256Gcm16, None) => EspCipher::Aes256Gcm16,
            (Self::ChaCha20Poly1305, None) => EspCipher::ChaCha20Poly1305,
            (Self::Aes128Gcm16Iiv, None) => EspCipher::Aes128Gcm16Iiv,
            (Self::Aes256Gcm16Iiv, None) => EspCipher::Aes256Gcm16Iiv,
            (Self::ChaCha20Poly1305Iiv, None) => EspCipher::ChaCha20Poly1305Iiv,
            (Self::Aes128Cbc, Some(Integ::HmacSha1_96)) => EspCipher::Aes128CbcSha1,
            (Self::Aes256Cbc, Some(Integ::HmacSha1_96)) => EspCipher::Aes256CbcSha1,
            (Self::Aes128Cbc, Some(Integ::HmacSha256_128)) => EspCipher::Aes128CbcSha256,
            (Self::Aes256Cbc, Some(Integ::HmacSha256_128)) => EspCipher::Aes256CbcSha256,
            (Self::Aes128Cbc, Some(Integ::HmacSha384_192)) => EspCipher::Aes128CbcSha384,
            (Self::Aes256Cbc, Some(Integ::HmacSha384_192)) => EspCipher::Aes256CbcSha384,
            (Self::Aes128Cbc, Some(Integ::HmacSha512_256)) => EspCipher::Aes128CbcSha512,
            (Self::Aes256Cbc, Some(Integ::HmacSha512_256)) => EspCipher::Aes256CbcSha512,
            _ => return None,
        })
    }

    /// The encryption of an SA.
    #[must_use]
    pub const fn of(cipher: EspCipher) -> Self {
        match cipher {
            EspCipher::Aes128Gcm16 => Self::Aes128Gcm16,
            EspCipher::Aes256Gcm16 => Self::Aes256Gcm16,
            EspCipher::ChaCha20Poly1305 => Self::ChaCha20Poly1305,
            EspCipher::Aes128Gcm16Iiv => Self::Aes128Gcm16Iiv,
            EspCipher::Aes256Gcm16Iiv => Self::Aes256Gcm16Iiv,
            EspCipher::ChaCha20Poly1305Iiv => Self::ChaCha20Poly1305Iiv,
            EspCipher::Aes128CbcSha1
            | EspCipher::Aes128CbcSha256
            | EspCipher::Aes128CbcSha384
            | EspCipher::Aes128CbcSha512 => Self::Aes128Cbc,
            EspCipher::Aes256CbcSha1
            | EspCipher::Aes256CbcSha256
            | EspCipher::Aes256CbcSha384
            | EspCipher::Aes256CbcSha512 => Self::Aes256Cbc,
        }
    }
}

/// The integrity algorithm of an SA; an AEAD has none.
#[must_use]
pub const fn esp_integ(cipher: EspCipher) -> Option<Integ> {
    match cipher.hmac() {
        None => None,
        Some(EspHmac::Sha1) => Some(Integ::HmacSha1_96),
        Some(EspHmac::Sha256) => Some(Integ::HmacSha256_128),
        Some(EspHmac::Sha384) => Some(Integ::HmacSha384_192),
        Some(EspHmac::Sha512) => Some(Integ::HmacSha512_256),
    }
}

/// One proposal for a CHILD_SA: any combination of one of each list. AEADs and AES-CBC never share a proposal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EspProposal {
    pub encr: Vec<EspEncr>,
    /// Empty for AEADs.
    pub integ: Vec<Integ>,
    /// Perfect forward secrecy of rekeys; empty for none. (The first CHILD_SA takes its keys from the IKE SA's exchange.)
    pub groups: Vec<DhGroup>,
    /// Additional key exchange of rekeys (RFC 9370), as in [`super::IkeProposal`]; not without `groups`.
    pub ke1: Vec<Option<DhGroup>>,
    /// Extended sequence numbers, in order of preference; never empty.
    pub esn: Vec<bool>,
}

/// An agreed ESP suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EspSuite {
    pub cipher: EspCipher,
    pub group: Option<DhGroup>,
    /// The additional key exchange (RFC 9370); not without `group`.
    pub ke1: Option<DhGroup>,
    pub esn: bool,
}

impl EspSuite {
    /// Those of its algorithms that are for old peers alone.
    pub fn weak(&self) -> impl Iterator<Item = &'static str> {
        let integ = esp_integ(self.cipher).filter(|i| Integ::LEGACY.contains(i)).map(Integ::name);
        let group = self.group.filter(|g| DhGroup::LEGACY.contains(g)).map(DhGroup::name);
        integ.into_iter().chain(group)
    }
}

impl EspProposal {
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        // RFC 4303 §2.2.1: extended numbers for those that want them; no call lasts 2³² packets.
        let esn = vec![false, true];
        vec![
            Self {
                encr: vec![EspEncr::Aes256Gcm16, EspEncr::Aes128Gcm16],
                integ: vec![],
                groups: vec![],
                ke1: vec![],
                esn: esn.clone(),
            },
            // RFC 8221 §5, §6: MUST.
            Self {
                encr: vec![EspEncr::Aes256Cbc, EspEncr::Aes128Cbc],
                integ: Integ::ALL.to_vec(),
                groups: vec![],
                ke1: vec![],
                esn,
            },
        ]
    }

    /// What a router with IOS has whose transform set is its own default: AES-CBC with HMAC-SHA1-96. In addition to others,
    /// for a peer that is known to have nothing better (RFC 8221 §6: SHA-1 is being phased out).
    #[must_use]
    pub fn cisco() -> Self {
        Self {
            encr: vec![EspEncr::Aes256Cbc, EspEncr::Aes128Cbc],
            integ: [&Integ::ALL[..], &Integ::LEGACY].concat(),
            groups: vec![],
            ke1: vec![],
            esn: vec![false],
        }
    }

    /// The groups that a peer may ask for.
    pub(crate) fn acceptable_groups(&self) -> impl Iterator<Item = &DhGroup> + Clone {
        let all: (&[DhGroup], &[DhGroup]) = match (self.groups.is_empty(), self.is_legacy()) {
            (false, _) => (&self.groups, &[]),
            (true, false) => (&DhGroup::ALL, &[]),
            (true, true) => (&DhGroup::ALL, &DhGroup::LEGACY),
        };
        all.0.iter().chain(all.1)
    }

    fn is_legacy(&self) -> bool {
        self.integ.iter().any(|i| Integ::LEGACY.contains(i))
    }
}

impl FromStr for EspProposal {
    type Err = ProposalError;

    /// `aes256gcm16`, `aes128gcm16-ecp256-esn`, `aes256-sha256`, `aes256gcm16-x25519-ke1_mlkem768`.
    fn from_str(s: &str) -> Result<Self, ProposalError> {
        let w = Words::parse(s)?;
        if let Some(prf) = w.prf.first() {
            return Err(ProposalError::NotForEsp(prf.name()));
        }
        w.check_modes()?;
        if w.groups.is_empty() && !w.ke1.is_empty() {
            return Err(ProposalError::NoGroup);
        }
        let esn = if w.esn.is_empty() { vec![false] } else { w.esn };
        Ok(Self { encr: w.encr, integ: w.integ, groups: w.groups, ke1: w.ke1, esn })
    }
}

impl fmt::Display for EspProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.encr.iter().map(|e| e.name());
        let words = words.chain(self.integ.iter().map(|i| i.name()));
        let words = words.chain(self.groups.iter().map(|g| g.name()));
        let words = words.chain(self.ke1.iter().map(|k| ke1_name(*k)));
        join(f, words.chain(self.esn.iter().map(|e| if *e { ESN } else { NO_ESN })))
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            Some(EspEncr::of(self.cipher).name()),
            esp_integ(self.cipher).map(Integ::name),
            self.group.map(DhGroup::name),
            self.ke1.map(|k| ke1_name(Some(k))),
            self.esn.then_some(ESN),
        ];
        join(f, words.into_iter().flatten())
    }
}
