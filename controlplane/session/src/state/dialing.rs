//! A call that is not answered yet, placed or received.

use super::{Leg, Media};
use sipsec_sip::sdp::SessionDescription;

#[derive(Debug)]
pub struct Dialing {
    pub leg: Leg,
    pub stage: Stage,
}

#[derive(Debug)]
pub enum Stage {
    /// We call: the offer is out (or its record is being written).
    Inviting { offer: SessionDescription },
    /// We are called: the media port is being opened; then the 200 with this answer is sent.
    Opening { media: Media, answer: SessionDescription },
}
