//! The agreement of offer and answer.

use super::{IkeMedia, IkeSetup, SdpError};
use sipsec_net::{Fingerprint, Kbps};
use std::net::SocketAddr;

/// The part that we play, once negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupRole {
    /// We start IKE.
    Active,
    /// We wait for it.
    Passive,
}

impl SetupRole {
    /// The value of `a=ike-setup` in our answer.
    #[must_use]
    pub const fn setup(self) -> IkeSetup {
        match self {
            Self::Active => IkeSetup::Active,
            Self::Passive => IkeSetup::Passive,
        }
    }
}

/// The agreement, seen from our side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    pub remote: SocketAddr,
    /// min(offer, answer), for both directions.
    pub rate: Kbps,
    pub role: SetupRole,
    /// Those with the strongest hash function that the peer gave: one of them must match.
    pub fingerprints: Vec<Fingerprint>,
    pub psk_fingerprints: Vec<Fingerprint>,
}

/// Our offer and their answer.
///
/// # Errors
/// If they do not agree; the call is then hung up.
pub fn negotiate_offered(offer: &IkeMedia, answer: &IkeMedia) -> Result<Negotiated, SdpError> {
    // RFC 6193 §4: active in the offer, passive in the answer, unless said.
    let ours = offer.setup.unwrap_or(IkeSetup::Active);
    let role = match (ours, answer.setup.unwrap_or(IkeSetup::Passive)) {
        (IkeSetup::Active | IkeSetup::Actpass, IkeSetup::Passive) => SetupRole::Active,
        (IkeSetup::Passive | IkeSetup::Actpass, IkeSetup::Active) => SetupRole::Passive,
        (_, IkeSetup::Actpass) => return Err(SdpError::BadSetup("actpass".into())),
        (_, IkeSetup::Active) => return Err(SdpError::SetupConflict("active")),
        (_, IkeSetup::Passive) => return Err(SdpError::SetupConflict("passive")),
    };
    agree(offer, answer, role)
}

/// Their offer and our configuration; gives what our answer must say.
///
/// # Errors
/// If the offer cannot be met; its status refuses the call.
pub fn negotiate_answering(offer: &IkeMedia, ours: &IkeMedia) -> Result<Negotiated, SdpError> {
    let role = match offer.setup.unwrap_or(IkeSetup::Active) {
        IkeSetup::Active | IkeSetup::Actpass => SetupRole::Passive,
        IkeSetup::Passive => SetupRole::Active,
    };
    agree(ours, offer, role)
}

fn agree(ours: &IkeMedia, theirs: &IkeMedia, role: SetupRole) -> Result<Negotiated, SdpError> {
    if ours.addr.is_ipv4() != theirs.addr.is_ipv4() {
        return Err(SdpError::AddressFamily);
    }
    let (Some(a), Some(b)) = (ours.bandwidth, theirs.bandwidth) else {
        return Err(SdpError::MissingBandwidth);
    };
    Ok(Negotiated {
        remote: theirs.addr,
        rate: a.min(b),
        role,
        fingerprints: preferred(&theirs.fingerprints),
        psk_fingerprints: preferred(&theirs.psk_fingerprints),
    })
}

/// RFC 8122 §5.1: of several hash functions the receiver checks the set of the one that it prefers, and that set must
/// match: a good SHA-1 beside a bad SHA-256 is no match.
pub(super) fn preferred(all: &[Fingerprint]) -> Vec<Fingerprint> {
    let strongest = all.iter().map(Fingerprint::hash).max();
    all.iter().filter(|f| Some(f.hash()) == strongest).copied().collect()
}
