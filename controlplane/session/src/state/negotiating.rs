//! The call is answered and costs money; IKE runs against a deadline.

use super::{Leg, Proofs};
use crate::failure::Evidence;
use sipsec_ike::{ChildId, Endpoint};
use sipsec_net::{Fingerprint, Instant, Kbps, MacAddr};
use sipsec_sip::sdp::{Negotiated, Role, SessionDescription};
use sipsec_sip::{ReliableAnswer, sdp::SdpError, sdp::negotiate_offered};
use std::net::SocketAddr;

#[derive(Debug)]
pub struct Negotiating {
    pub leg: Leg,
    pub media: Media,
    pub endpoint: Endpoint,
    pub deadline: Instant,
    pub proofs: Option<Proofs>,
    /// The first child, on its way into the dataplane.
    pub installing: Option<(ChildId, super::ChildSas)>,
    pub evidence: Evidence,
}

/// What one side's SDP says of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// `a=fingerprint` (RFC 8122 §5).
    pub certificate: Vec<Fingerprint>,
    /// `a=psk-fingerprint` (RFC 6193 §8.2).
    pub psk: Vec<Fingerprint>,
}

/// What SDP agreed on, and how far the dataplane is with it.
#[derive(Clone, Debug)]
pub struct Media {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub rate: Kbps,
    pub role: Role,
    pub announced: Announced,
    /// The port from which the first packet came that proved itself; `None` before, and where only SDP's port is taken.
    pub peer_port: Option<u16>,
    pub next_hop: Option<MacAddr>,
    /// A MediaOpen is under way or done.
    pub asked: bool,
    pub open: bool,
}

impl Media {
    #[must_use]
    pub fn new(local: SocketAddr, n: &Negotiated) -> Self {
        Self {
            local,
            remote: n.remote,
            rate: n.rate,
            role: n.role,
            announced: Announced { certificate: n.fingerprints.clone(), psk: n.psk_fingerprints.clone() },
            peer_port: None,
            next_hop: None,
            asked: false,
            open: false,
        }
    }

    /// From the answer to our offer, which must be a reliable one: RFC 6193 §3 (2), RFC 3261 §13.2.1.
    pub fn of_answer(
        local: SocketAddr,
        offer: &SessionDescription,
        answer: &ReliableAnswer,
    ) -> Result<Self, SdpError> {
        Ok(Self::new(local, &negotiate_offered(&offer.ike, &answer.description().ike)?))
    }
}
