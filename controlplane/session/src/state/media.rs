//! What SDP agreed on, and how far the dataplane is with it.

use sipsec_net::{Fingerprint, Kbps, MacAddr};
use sipsec_sip::ReliableAnswer;
use sipsec_sip::sdp::{Negotiated, SdpError, SessionDescription, SetupRole, negotiate_offered};
use std::net::SocketAddr;

/// What one side's SDP says of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// `a=fingerprint` (RFC 8122 §5).
    pub certificate: Vec<Fingerprint>,
    /// `a=psk-fingerprint` (RFC 6193 §8.2).
    pub psk: Vec<Fingerprint>,
}

#[derive(Clone, Debug)]
pub struct CallMedia {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub rate: Kbps,
    pub role: SetupRole,
    pub announced: Announced,
    /// The port from which the first packet came that proved itself; `None` before, and where only SDP's port is taken.
    pub peer_port: Option<u16>,
    pub(super) next_hop: Option<MacAddr>,
    /// A MediaOpen is under way or done.
    pub(super) asked: bool,
    pub(super) open: bool,
}

/// What a next hop means for the dataplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHopIs {
    Known,
    /// The first: the media port can be opened.
    First,
    Changed,
}

impl CallMedia {
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

    pub fn next_hop(&mut self, mac: MacAddr) -> NextHopIs {
        if self.next_hop.replace(mac) == Some(mac) {
            NextHopIs::Known
        } else if std::mem::replace(&mut self.asked, true) {
            NextHopIs::Changed
        } else {
            NextHopIs::First
        }
    }

    /// The dataplane has a binding for it, or will have.
    #[must_use]
    pub const fn is_asked(&self) -> bool {
        self.asked
    }

    /// The dataplane has refused: there is nothing to close.
    pub const fn not_opened(&mut self) {
        self.asked = false;
    }
}
