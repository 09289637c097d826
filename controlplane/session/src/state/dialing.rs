//! A call that is not answered yet, placed or received.

use super::{CallMedia, Ended, Leg, Negotiating, State};
use crate::failure::SessionFailure;
use sipsec_ike::Endpoint;
use sipsec_net::Instant;
use sipsec_sip::sdp::SessionDescription;

#[derive(Debug)]
pub struct Dialing {
    pub(super) leg: Leg,
    pub(super) stage: Stage,
    pub(super) give_up_at: Instant,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Our offer is out (or its record is being written): in our INVITE, or in the 200 to one without an offer.
    Inviting { offer: SessionDescription },
    /// We are called: the media port is being opened; then the 200 with this answer is sent.
    Opening(Box<Opening>),
}

#[derive(Debug)]
pub struct Opening {
    pub media: CallMedia,
    pub answer: SessionDescription,
    /// Knows what SDP agreed on, and does nothing yet.
    pub endpoint: Endpoint,
}

impl Dialing {
    #[must_use]
    pub fn inviting(leg: Leg, offer: SessionDescription, give_up_at: Instant) -> State {
        State::Dialing(Box::new(Self { leg, stage: Stage::Inviting { offer }, give_up_at }))
    }

    #[must_use]
    pub fn opening(leg: Leg, opening: Opening, give_up_at: Instant) -> State {
        State::Dialing(Box::new(Self { leg, stage: Stage::Opening(Box::new(opening)), give_up_at }))
    }

    /// Our offer is answered: gives the offer.
    pub fn answered(&mut self, now: Instant) -> Option<&SessionDescription> {
        let Stage::Inviting { offer } = &self.stage else { return None };
        self.leg.answered_at.get_or_insert(now);
        self.leg.acknowledged = !self.leg.caller;
        Some(offer)
    }

    /// Our 200 with an offer is out: from here on the call is paid.
    pub const fn accepted(&mut self, now: Instant) {
        self.leg.answered_at = Some(now);
    }

    /// SDP is agreed on by the answer to our offer.
    #[must_use]
    pub fn negotiate(self, media: CallMedia, endpoint: Endpoint, deadline: Instant) -> Negotiating {
        Negotiating::new(self.leg, media, endpoint, deadline)
    }

    /// The media port is open, for which our answer has waited.
    #[must_use]
    pub fn opened(self, deadline: Instant) -> (State, Option<SessionDescription>) {
        match self.stage {
            Stage::Opening(opening) => {
                let Opening { mut media, answer, endpoint } = *opening;
                media.open = true;
                (Negotiating::new(self.leg, media, endpoint, deadline).into(), Some(answer))
            }
            Stage::Inviting { .. } => (State::Dialing(Box::new(self)), None),
        }
    }

    /// Why a call that nothing has answered by now ends.
    #[must_use]
    pub const fn why_unanswered(&self) -> SessionFailure {
        match &self.stage {
            Stage::Inviting { .. } => SessionFailure::OnlyRings,
            Stage::Opening(o) if o.media.next_hop.is_none() => SessionFailure::NoNextHop,
            Stage::Opening(_) => SessionFailure::DataplaneSilent,
        }
    }

    #[must_use]
    pub fn into_leg(self) -> Leg {
        self.leg
    }

    #[must_use]
    pub(super) fn end(self) -> Ended {
        let asked = matches!(&self.stage, Stage::Opening(o) if o.media.asked);
        Ended { leg: self.leg, port_asked: asked, endpoint: None, sas: Vec::new(), bound: false }
    }
}
