//! What we offer and accept for IKE, and what was agreed; the words of proposals.

use super::{DhGroup, Encr, EspEncr, Integ, Prf};
use core::fmt;
use core::str::FromStr;

/// One proposal for an IKE SA: any combination of one of each list. Combined-mode ciphers and others never share a
/// proposal (RFC 5282 §8: no integrity transform beside a combined mode).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IkeProposal {
    pub encr: Vec<Encr>,
    /// Empty for combined modes.
    pub integ: Vec<Integ>,
    pub prf: Vec<Prf>,
    pub groups: Vec<DhGroup>,
    /// Additional key exchange (RFC 9370): one of these, where `None` is none at all. Empty like `[None]`.
    pub ke1: Vec<Option<DhGroup>>,
}

/// An agreed IKE suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IkeSuite {
    pub encr: Encr,
    pub integ: Option<Integ>,
    pub prf: Prf,
    pub group: DhGroup,
    /// The additional key exchange (RFC 9370).
    pub ke1: Option<DhGroup>,
}

impl IkeSuite {
    /// Those of its algorithms that are for old peers alone.
    pub fn weak(&self) -> impl Iterator<Item = &'static str> {
        let integ = self.integ.filter(|i| Integ::LEGACY.contains(i)).map(Integ::name);
        let prf = Prf::LEGACY.contains(&self.prf).then_some(self.prf.name());
        let group = DhGroup::LEGACY.contains(&self.group).then_some(self.group.name());
        [integ, prf, group].into_iter().flatten()
    }
}

/// Why a proposal string is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProposalError {
    UnknownKeyword(String),
    Repeated(String),
    NoCipher,
    NoPrf,
    NoGroup,
    /// A cipher that is no combined mode, without an integrity algorithm.
    NoIntegrity,
    /// RFC 5282 §8: combined modes and separate integrity do not mix.
    MixedModes,
    /// An algorithm for old peers alone.
    Legacy(&'static str),
    /// ESP has no pseudo-random function.
    NotForEsp(&'static str),
    /// A word of ESP in a proposal of IKE.
    NotForIke(&'static str),
}

impl ProposalError {
    /// What to write instead.
    #[must_use]
    pub fn cure(&self) -> String {
        let names = |words: &mut dyn Iterator<Item = &'static str>| words.collect::<Vec<_>>().join(", ");
        match self {
            Self::UnknownKeyword(_) => format!("known words: {}", names(&mut words())),
            Self::Repeated(_) => "write each word once, in the order of preference".to_owned(),
            Self::NoCipher => "begin with a cipher, as in aes256gcm16-prfsha384-ecp384".to_owned(),
            Self::NoPrf => format!("add one of {}", names(&mut Prf::ALL.iter().map(|p| p.name()))),
            Self::NoGroup => format!("add one of {}", names(&mut DhGroup::ALL.iter().map(|g| g.name()))),
            Self::NoIntegrity => format!("add one of {}", names(&mut Integ::ALL.iter().map(|i| i.name()))),
            Self::MixedModes => {
                "write two proposals: one of combined modes (…gcm16, chacha20poly1305) without an \
                                 integrity algorithm, one of the other ciphers with it"
                    .to_owned()
            }
            Self::Legacy(_) => {
                "a peer that has nothing better needs `peer: cisco` in its keyring entry".to_owned()
            }
            Self::NotForEsp(_) => {
                let ciphers = names(&mut EspEncr::ALL.iter().map(|e| e.name()));
                format!("ESP takes {ciphers}, integrity algorithms, and key exchanges for forward secrecy")
            }
            Self::NotForIke(_) => "write it in a proposal for ESP".to_owned(),
        }
    }
}

impl fmt::Display for ProposalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKeyword(word) => write!(f, "`{word}` is no algorithm"),
            Self::Repeated(word) => write!(f, "`{word}` is there twice"),
            Self::NoCipher => f.write_str("there is no cipher"),
            Self::NoPrf => f.write_str("there is no pseudo-random function"),
            Self::NoGroup => f.write_str("there is no key exchange group"),
            Self::NoIntegrity => f.write_str("the cipher needs an integrity algorithm"),
            Self::MixedModes => f.write_str("combined modes do not mix with ciphers that need integrity"),
            Self::Legacy(word) => write!(f, "`{word}` is too weak"),
            Self::NotForEsp(word) => write!(f, "`{word}` is not for ESP"),
            Self::NotForIke(word) => write!(f, "`{word}` is not for IKE"),
        }
    }
}

impl std::error::Error for ProposalError {}

pub(super) const ESN: &str = "esn";
pub(super) const NO_ESN: &str = "noesn";
/// Another name for x25519, which strongSwan shows.
const CURVE25519: &str = "curve25519";
/// Additional key exchange 1 is optional.
const KE1_NONE: &str = "ke1_none";

/// The word of an additional key exchange.
pub(super) const fn ke1_name(group: Option<DhGroup>) -> &'static str {
    match group {
        Some(DhGroup::MlKem512) => "ke1_mlkem512",
        Some(DhGroup::MlKem768) => "ke1_mlkem768",
        Some(DhGroup::MlKem1024) => "ke1_mlkem1024",
        // The table has no other.
        _ => KE1_NONE,
    }
}

fn ke1() -> impl Iterator<Item = Option<DhGroup>> {
    DhGroup::ADDITIONAL.into_iter().map(Some).chain([None])
}

/// The words of [`IkeProposal::cisco`] and [`super::EspProposal::cisco`] that no profile may write.
fn legacy() -> impl Iterator<Item = &'static str> {
    let integ = Integ::LEGACY.into_iter().map(Integ::name);
    let prf = Prf::LEGACY.into_iter().map(Prf::name);
    integ.chain(prf).chain(DhGroup::LEGACY.into_iter().map(DhGroup::name))
}

/// Every word of proposals.
pub fn words() -> impl Iterator<Item = &'static str> {
    let encr = EspEncr::ALL.into_iter().map(EspEncr::name);
    let integ = Integ::ALL.into_iter().map(Integ::name);
    let prf = Prf::ALL.into_iter().map(Prf::name);
    let groups = DhGroup::ALL.into_iter().map(DhGroup::name);
    encr.chain(integ).chain(prf).chain(groups).chain(ke1().map(ke1_name)).chain([CURVE25519, ESN, NO_ESN])
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
                ke1: vec![],
            },
            Self {
                encr: vec![Encr::Aes256Cbc, Encr::Aes128Cbc],
                integ: Integ::ALL.to_vec(),
                prf: Prf::ALL.to_vec(),
                groups,
                ke1: vec![],
            },
        ]
    }

    /// What routers offer whose IKEv2 proposal is their own default, with IOS 15 (groups 5 and 2, SHA-1 among others) and with
    /// IOS XE (groups 19, 14, 21 and 5). In addition to others, for a peer that is known to have nothing better (RFC 8247
    /// §2.2, §2.4: MUST- and SHOULD NOT).
    #[must_use]
    pub fn cisco() -> Self {
        Self {
            encr: vec![Encr::Aes256Cbc, Encr::Aes128Cbc],
            integ: [&Integ::ALL[..], &Integ::LEGACY].concat(),
            prf: [&Prf::ALL[..], &Prf::LEGACY].concat(),
            groups: vec![
                DhGroup::Ecp256,
                DhGroup::Modp2048,
                DhGroup::Ecp384,
                DhGroup::Ecp521,
                DhGroup::Modp1536,
                DhGroup::Modp1024,
            ],
            ke1: vec![],
        }
    }
}

#[derive(Default)]
pub(super) struct Words {
    pub encr: Vec<EspEncr>,
    pub integ: Vec<Integ>,
    pub prf: Vec<Prf>,
    pub groups: Vec<DhGroup>,
    pub ke1: Vec<Option<DhGroup>>,
    pub esn: Vec<bool>,
}

/// Whether it was not there yet.
fn add<T: PartialEq>(list: &mut Vec<T>, item: T) -> bool {
    let new = !list.contains(&item);
    list.push(item);
    new
}

impl Words {
    pub fn parse(s: &str) -> Result<Self, ProposalError> {
        let mut out = Self::default();
        for word in s.split('-').map(str::trim) {
            let new = if let Some(e) = EspEncr::ALL.into_iter().find(|e| e.name() == word) {
                add(&mut out.encr, e)
            } else if let Some(p) = Prf::ALL.into_iter().find(|p| p.name() == word) {
                add(&mut out.prf, p)
            } else if let Some(i) = Integ::ALL.into_iter().find(|i| i.name() == word) {
                add(&mut out.integ, i)
            } else if let Some(g) = DhGroup::ALL.into_iter().find(|g| g.name() == word) {
                add(&mut out.groups, g)
            } else if let Some(k) = ke1().find(|k| ke1_name(*k) == word) {
                add(&mut out.ke1, k)
            } else if word == CURVE25519 {
                add(&mut out.groups, DhGroup::X25519)
            } else if word == ESN || word == NO_ESN {
                add(&mut out.esn, word == ESN)
            } else if let Some(weak) = legacy().find(|w| *w == word) {
                return Err(ProposalError::Legacy(weak));
            } else {
                return Err(ProposalError::UnknownKeyword(word.to_owned()));
            };
            if !new {
                return Err(ProposalError::Repeated(word.to_owned()));
            }
        }
        if out.encr.is_empty() { Err(ProposalError::NoCipher) } else { Ok(out) }
    }

    /// Combined modes have no integrity algorithm, the other ciphers need one.
    pub fn check_modes(&self) -> Result<(), ProposalError> {
        let aead = self.encr.iter().filter(|e| e.is_aead()).count();
        if aead != 0 && (aead != self.encr.len() || !self.integ.is_empty()) {
            Err(ProposalError::MixedModes)
        } else if aead == 0 && self.integ.is_empty() {
            Err(ProposalError::NoIntegrity)
        } else {
            Ok(())
        }
    }
}

impl FromStr for IkeProposal {
    type Err = ProposalError;

    /// `aes256gcm16-prfsha256-ecp256`, `aes256-sha256-modp2048`: the words that strongSwan uses. Without a PRF the
    /// hash of the integrity algorithm serves.
    fn from_str(s: &str) -> Result<Self, ProposalError> {
        let mut w = Words::parse(s)?;
        if let Some(extra) = w.esn.first() {
            return Err(ProposalError::NotForIke(if *extra { ESN } else { NO_ESN }));
        }
        w.check_modes()?;
        let encr: Vec<Encr> = w
            .encr
            .iter()
            .map(|e| e.ike().ok_or(ProposalError::NotForIke(e.name())))
            .collect::<Result<_, _>>()?;
        if w.prf.is_empty() {
            w.prf.extend(w.integ.iter().map(|i| match i {
                Integ::HmacSha1_96 => Prf::HmacSha1,
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
        Ok(Self { encr, integ: w.integ, prf: w.prf, groups: w.groups, ke1: w.ke1 })
    }
}

pub(super) fn join<'a>(f: &mut fmt::Formatter<'_>, words: impl Iterator<Item = &'a str>) -> fmt::Result {
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
        let words = words.chain(self.groups.iter().map(|g| g.name()));
        join(f, words.chain(self.ke1.iter().map(|k| ke1_name(*k))))
    }
}

impl fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [Some(self.encr.name()), self.integ.map(Integ::name), Some(self.prf.name())];
        let ke1 = self.ke1.map(|k| ke1_name(Some(k)));
        join(f, words.into_iter().flatten().chain([self.group.name()]).chain(ke1))
    }
}
