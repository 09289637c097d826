//! SDP with an IKE media description (RFC 6193): `m=application PORT udp ike-esp-udpencap` with `b=AS`.

mod agreement;
mod error;
mod lines;
mod negotiate;
mod parse;
mod write;

#[cfg(test)]
mod tests;

pub(crate) use agreement::Descriptions;
pub use error::SdpError;
pub use negotiate::{Negotiated, SetupRole, negotiate_answering, negotiate_offered};

use crate::message::Body;
use sipsec_net::{Fingerprint, Kbps};
use std::net::SocketAddr;

/// RFC 6193 §4: the media formats. Ours is the first: what follows IKE is always UDP-encapsulated, since the carrier
/// admits the signalled 5-tuple alone.
pub const FMT_UDPENCAP: &str = "ike-esp-udpencap";
pub const FMT_PLAIN: &str = "ike-esp";
/// Bounds on what a peer may send.
pub const MEDIA_MAX: usize = 16;
pub const FINGERPRINTS_MAX: usize = 8;

/// RFC 6193 §4: who starts IKE. `holdconn` does not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IkeSetup {
    Active,
    Passive,
    Actpass,
}

impl IkeSetup {
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
        }
    }

    pub(crate) fn from_token(token: &str) -> Option<Self> {
        // RFC 5234 §2.3: literal strings are case-insensitive.
        [Self::Active, Self::Passive, Self::Actpass]
            .into_iter()
            .find(|s| token.trim().eq_ignore_ascii_case(s.token()))
    }
}

/// The IKE media of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeMedia {
    pub addr: SocketAddr,
    /// `None`: there was no `b=AS`.
    pub bandwidth: Option<Kbps>,
    /// `None`: there was no `a=ike-setup`; RFC 6193 §4 gives the default by offer or answer.
    pub setup: Option<IkeSetup>,
    /// `a=fingerprint` (RFC 8122): the certificate's.
    pub fingerprints: Vec<Fingerprint>,
    /// `a=psk-fingerprint` (RFC 6193 §8.2).
    pub psk_fingerprints: Vec<Fingerprint>,
}

/// A body that we send or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=` session id and version; the same body again keeps both (RFC 3264 §8).
    pub session_id: u64,
    pub version: u64,
    pub ike: IkeMedia,
    /// Position of the IKE media among all, and the other media lines as an answer refuses them.
    pub index: usize,
    pub others: Vec<String>,
}

impl SessionDescription {
    #[must_use]
    pub const fn new(session_id: u64, ike: IkeMedia) -> Self {
        Self { session_id, version: session_id, ike, index: 0, others: Vec::new() }
    }

    /// RFC 3264 §6: our answer has the offer's media lines in their order, foreign ones refused with port 0.
    #[must_use]
    pub fn answering(mut self, offer: &Self) -> Self {
        self.index = offer.index;
        self.others.clone_from(&offer.others);
        self
    }

    /// The peer's, with this bandwidth if it names none: `b=AS` is a rule of the carrier, not of RFC 6193.
    #[must_use]
    pub(crate) fn assuming(mut self, bandwidth: Option<Kbps>) -> Self {
        self.ike.bandwidth = self.ike.bandwidth.or(bandwidth);
        self
    }

    /// RFC 3264 §6: the answer to an offer of ours, which has the IKE media alone, has that one alone.
    pub(crate) fn of_answer(body: Body<'_>) -> Result<Self, SdpError> {
        let body = match body {
            Body::None => return Err(SdpError::NoBody),
            Body::Sdp(body) => body,
            Body::Other => return Err(SdpError::NotSdp),
        };
        let answer = Self::parse(body)?;
        if answer.others.is_empty() { Ok(answer) } else { Err(SdpError::MediaMismatch) }
    }
}
