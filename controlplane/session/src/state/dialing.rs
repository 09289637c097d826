//! A call that is not answered yet, placed or received.

use super::{Leg, Media};
use sipsec_ike::Endpoint;
use sipsec_net::Instant;
use sipsec_sip::sdp::SessionDescription;

#[derive(Debug)]
pub struct Dialing {
    pub leg: Leg,
    pub stage: Stage,
    pub give_up_at: Instant,
}

#[derive(Debug)]
pub enum Stage {
    /// We call: the offer is out (or its record is being written).
    Inviting { offer: SessionDescription },
    /// We are called: the media port is being opened; then the 200 with this answer is sent.
    Opening(Box<Opening>),
}

#[derive(Debug)]
pub struct Opening {
    pub media: Media,
    pub answer: SessionDescription,
    /// Knows what SDP agreed on, and does nothing yet.
    pub endpoint: Endpoint,
}
