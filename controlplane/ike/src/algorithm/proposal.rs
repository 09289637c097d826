//! What we offer and accept, and what was agreed.

use super::{DhGroup, Encr, Integ, Prf};
use core::fmt;
use core::str::FromStr;
use sipsec_net::dp::EspCipher;

/// One proposal for an IKE SA: any combination of one of each list. Combined-mode ciphers and others never share a
/// proposal (RFC 5282 §8: no integrity transform beside a combined mode).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeProposal {
    pub encr: Vec<Encr>,
    /// Empty for combined modes.
    pub integ: Vec<Integ>,
    pub prf: Vec<Prf>,
    pub groups: Vec<DhGroup>,
}

/// One proposal for a CHILD_SA.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EspProposal {
    pub ciphers: Vec<EspCipher>,
    /// Perfect forward secrecy of rekeys; empty for none. (The first CHILD_SA takes its keys from the IKE SA's exchange.)
    pub groups: Vec<DhGroup>,
    /// Extended sequence numbers, in order of preference; never empty.
    pub esn: Vec<bool>,
}

/// An agreed IKE suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IkeSuite {
    pub encr: Encr,
    pub integ: Option<Integ>,
    pub prf: Prf,
    pub group: DhGroup,
}

/// An agreed ESP suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EspSuite {
    pub cipher: EspCipher,
    pub group: Option<DhGroup>,
    pub esn: bool,
}

/// Why a proposal string is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProposalError {
    UnknownKeyword(String),
    NoCipher,
    NoPrf,
    NoGroup,
    /// A cipher that is no combined mode, without an integrity algorithm.
    NoIntegrity,
    /// RFC 5282 §8: combined modes and separate integrity do not mix.
    MixedModes,
    /// ESP takes combined modes only.
    NotForEsp(&'static str),
}

impl IkeProposal {
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let groups = vec![
            DhGroup::X25519,
            DhGroup::Ecp256,
            DhGroup::Modp2048,
            DhGroup::Ecp384,
            DhGroup::Ecp521,
            DhGroup::Modp3072,
            DhGroup::Modp4096,
        ];
        vec![
            Self {
                encr: vec![Encr::Aes256Gcm16, Encr::Aes128Gcm16, Encr::ChaCha20Poly1305],
                integ: vec![],
                prf: Prf::ALL.to_vec(),
                groups: groups.clone(),
            },
            Self {
                encr: vec![Encr::Aes256Cbc, Encr::Aes128Cbc],
                integ: Integ::ALL.to_vec(),
                prf: Prf::ALL.to_vec(),
                groups,
            },
        ]
    }
}

impl EspProposal {
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![Self {
            ciphers: vec![EspCipher::Aes256Gcm16, EspCipher::Aes128Gcm16],
            groups: vec![],
            esn: vec![false],
        }]
    }
}

#[derive(Default)]
struct Words {
    encr: Vec<Encr>,
    integ: Vec<Integ>,
    prf: Vec<Prf>,
    groups: Vec<DhGroup>,
    esn: Vec<bool>,
}

impl Words {
    fn parse(s: &str) -> Result<Self, ProposalError> {
        let mut out = Self::default();
        for word in s.split('-').map(str::trim) {
            if let Some(e) = Encr::ALL.into_iter().find(|e| e.name() == word) {
                out.encr.push(e);
            } else if let Some(p) = Prf::ALL.into_iter().find(|p| p.name() == word) {
                out.prf.push(p);
            } else if let Some(i) = Integ::ALL.into_iter().find(|i| i.name() == word) {
                out.integ.push(i);
            } else if let Some(g) = DhGroup::ALL.into_iter().find(|g| g.name() == word) {
                out.groups.push(g);
            } else if word == "esn" {
                out.esn.push(true);
            } else if word == "noesn" {
                out.esn.push(false);
            } else if word == "curve25519" {
                out.groups.push(DhGroup::X25519);
            } else {
                return Err(ProposalError::UnknownKeyword(word.to_owned()));
            }
        }
        if out.encr.is_empty() { Err(ProposalError::NoCipher) } else { Ok(out) }
    }
}

impl FromStr for IkeProposal {
    type Err = ProposalError;

    /// `aes256gcm16-prfsha256-ecp256`, `aes256-sha256-modp2048`: the words that strongSwan uses. Without a PRF the
    /// hash of the integrity algorithm serves.
    fn from_str(s: &str) -> Result<Self, ProposalError> {
        let mut w = Words::parse(s)?;
        if let Some(extra) = w.esn.first() {
            let word = if *extra { "esn" } else { "noesn" };
            return Err(ProposalError::UnknownKeyword(word.to_owned()));
        }
        let aead = w.encr.iter().filter(|e| e.is_aead()).count();
        if aead != 0 && (aead != w.encr.len() || !w.integ.is_empty()) {
            return Err(ProposalError::MixedModes);
        }
        if aead == 0 && w.integ.is_empty() {
            return Err(ProposalError::NoIntegrity);
        }
        if w.prf.is_empty() {
            w.prf.extend(w.integ.iter().map(|i| match i {
                Integ::HmacSha256_128 => Prf::HmacSha256,
                Integ::HmacSha384_192 => Prf::HmacSha384,
                Integ::HmacSha512_256 => Prf::HmacSha512,
            }));
        }
        if w.prf.is_empty() {
            return Err(ProposalError::NoPrf);
        }
        if w.groups.is_empty() {
            return Err(ProposalError::NoGroup);
        }
        Ok(Self { encr: w.encr, integ: w.integ, prf: w.prf, groups: w.groups })
    }
}

impl FromStr for EspProposal {
    type Err = ProposalError;

    /// `aes256gcm16`, `aes128gcm16-ecp256-esn`.
    fn from_str(s: &str) -> Result<Self, ProposalError> {
        let w = Words::parse(s)?;
        if let Some(word) = w.integ.first().map(|i| i.name()).or(w.prf.first().map(|p| p.name())) {
            return Err(ProposalError::NotForEsp(word));
        }
        let ciphers = w
            .encr
            .iter()
            .map(|e| e.esp().ok_or(ProposalError::NotForEsp(e.name())))
            .collect::<Result<_, _>>()?;
        let esn = if w.esn.is_empty() { vec![false] } else { w.esn };
        Ok(Self { ciphers, groups: w.groups, esn })
    }
}

fn join<'a>(f: &mut fmt::Formatter<'_>, words: impl Iterator<Item = &'a str>) -> fmt::Result {
    for (i, w) in words.enumerate() {
        write!(f, "{}{w}", if i == 0 { "" } else { "-" })?;
    }
    Ok(())
}

impl fmt::Display for IkeProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.encr.iter().map(|e| e.name());
        let words = words.chain(self.integ.iter().map(|i| i.name()));
        let words = words.chain(self.prf.iter().map(|p| p.name()));
        join(f, words.chain(self.groups.iter().map(|g| g.name())))
    }
}

impl fmt::Display for EspProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.ciphers.iter().map(|c| Encr::from_esp(*c).name());
        let words = words.chain(self.groups.iter().map(|g| g.name()));
        join(f, words.chain(self.esn.iter().map(|e| if *e { "esn" } else { "noesn" })))
    }
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [Some(self.encr.name()), self.integ.map(Integ::name), Some(self.prf.name())];
        join(f, words.into_iter().flatten().chain([self.group.name()]))
    }
}

impl fmt::Display for EspSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            Some(Encr::from_esp(self.cipher).name()),
            self.group.map(DhGroup::name),
            self.esn.then_some("esn"),
        ];
        join(f, words.into_iter().flatten())
    }
}
