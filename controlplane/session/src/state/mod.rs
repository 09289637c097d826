//! The states of a session. Each is a type of its own with the fields that exist only there; a transition consumes it.

mod dialing;
mod draining;
mod ended;
mod media;
mod negotiating;
mod one_way;
mod timers;
mod up;

use dialing::Stage;
pub use dialing::{Dialing, Opening};
pub use draining::{Draining, Lingering};
use ended::Ended;
pub use ended::{Bye, Rest};
pub use media::{Announced, CallMedia, NextHopIs};
pub use negotiating::{Bounds, Negotiating};
pub use timers::Timer;
pub use up::{ChildSas, Proofs, Up};

use sipsec_net::{Instant, MediaPort};
use sipsec_sip::sdp::SessionDescription;
use sipsec_sip::{Call, CallId};
use std::net::IpAddr;

#[derive(Debug)]
pub enum State {
    Ready,
    Dialing(Box<Dialing>),
    Negotiating(Box<Negotiating>),
    Up(Box<Up>),
    Draining(Draining),
}

/// The SIP half of a live session.
#[derive(Debug)]
pub struct Leg {
    pub call: Call,
    /// Whether we placed the call.
    pub caller: bool,
    pub media_port: MediaPort,
    /// From here on it costs money.
    pub answered_at: Option<Instant>,
    /// The ACK for our 200 has come: the caller knows our address.
    pub acknowledged: bool,
}

impl State {
    /// The word that `show vpn-sip session` has for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ready => "READY_TO_CONNECT",
            Self::Dialing(_) => "DIALING",
            Self::Negotiating(_) => "NEGOTIATING_IKE",
            // Its IKE SA is gone, and another is being negotiated or the end is near.
            Self::Up(u) if u.is_bare() => "NEGOTIATING_IKE",
            Self::Up(_) => "SESSION_UP",
            Self::Draining(_) => "DRAINING",
        }
    }

    #[must_use]
    pub fn leg(&self) -> Option<&Leg> {
        match self {
            Self::Dialing(d) => Some(&d.leg),
            Self::Negotiating(n) => Some(&n.leg),
            Self::Up(u) => Some(&u.leg),
            Self::Ready | Self::Draining(_) => None,
        }
    }

    #[must_use]
    pub fn into_call(self) -> Option<Call> {
        match self {
            Self::Dialing(d) => Some(d.leg.call),
            Self::Negotiating(n) => Some(n.leg.call),
            Self::Up(u) => Some(u.leg.call),
            Self::Draining(d) => d.bye_at.map(|(_, call)| call),
            Self::Ready => None,
        }
    }

    #[must_use]
    pub fn call_id(&self) -> Option<CallId> {
        match self {
            Self::Draining(d) => d.call,
            other => other.leg().map(|l| l.call.id()),
        }
    }

    #[must_use]
    pub fn media_port(&self) -> Option<MediaPort> {
        match self {
            Self::Draining(d) => d.media.as_ref().map(|m| m.port),
            other => other.leg().map(|l| l.media_port),
        }
    }

    #[must_use]
    pub fn media(&self) -> Option<&CallMedia> {
        match self {
            Self::Dialing(d) => match &d.stage {
                Stage::Opening(o) => Some(&o.media),
                Stage::Inviting { .. } => None,
            },
            Self::Negotiating(n) => Some(&n.media),
            Self::Up(u) => Some(&u.media),
            Self::Ready | Self::Draining(_) => None,
        }
    }

    /// Our offer, while it is not answered.
    #[must_use]
    pub fn offer(&self) -> Option<&SessionDescription> {
        match self {
            Self::Dialing(d) => match &d.stage {
                Stage::Inviting { offer } => Some(offer),
                Stage::Opening(_) => None,
            },
            _ => None,
        }
    }

    /// Our address in the SDP of the call.
    #[must_use]
    pub fn local_ip(&self) -> Option<IpAddr> {
        match self {
            Self::Dialing(d) => Some(match &d.stage {
                Stage::Inviting { offer } => offer.ike.addr.ip(),
                Stage::Opening(o) => o.media.local.ip(),
            }),
            other => other.media().map(|m| m.local.ip()),
        }
    }

    #[must_use]
    pub fn media_mut(&mut self) -> Option<&mut CallMedia> {
        match self {
            Self::Dialing(d) => match &mut d.stage {
                Stage::Opening(o) => Some(&mut o.media),
                Stage::Inviting { .. } => None,
            },
            Self::Negotiating(n) => Some(&mut n.media),
            Self::Up(u) => Some(&mut u.media),
            Self::Ready | Self::Draining(_) => None,
        }
    }

    #[must_use]
    pub fn endpoint(&self) -> Option<&sipsec_ike::Endpoint> {
        match self {
            Self::Negotiating(n) => Some(&n.endpoint),
            Self::Up(u) => Some(&u.endpoint),
            _ => None,
        }
    }

    #[must_use]
    pub fn endpoint_mut(&mut self) -> Option<&mut sipsec_ike::Endpoint> {
        match self {
            Self::Negotiating(n) => Some(&mut n.endpoint),
            Self::Up(u) => Some(&mut u.endpoint),
            _ => None,
        }
    }
}
