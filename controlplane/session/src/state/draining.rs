//! The session is over; SIP and the dataplane still have a little to do.

use sipsec_ike::{CloseCause, Endpoint};
use sipsec_net::{Instant, MediaPort};
use sipsec_sip::{Call, CallId};
use std::time::Duration;

#[derive(Debug)]
pub struct Draining {
    /// SIP's part, until it says that the call has ended.
    pub call: Option<CallId>,
    pub media: Option<Box<Lingering>>,
    /// The peer deleted IKE and so will hang up; if its BYE does not come by then, ours goes.
    pub bye_at: Option<(Instant, Call)>,
    /// SIP goes on with it alone from then on: a carrier that answers no BYE must not keep the tunnel from calling.
    pub leave_at: Instant,
    pub cause: CloseCause,
    /// How long it was answered.
    pub lasted: Option<Duration>,
}

/// The media port and IKE, a moment longer, for DELETE.
#[derive(Debug)]
pub struct Lingering {
    pub port: MediaPort,
    /// The earliest end: what the peer still has to say comes by then.
    pub rest_at: Instant,
    /// The latest, if our DELETE is not answered.
    pub give_up_at: Instant,
    /// Closed; it still answers, and repeats its DELETE.
    pub endpoint: Endpoint,
}

impl Lingering {
    #[must_use]
    pub fn close_at(&self) -> Instant {
        if self.endpoint.poll_timeout().is_some() { self.give_up_at } else { self.rest_at }
    }

    /// The next call waits.
    pub const fn hurry(&mut self) {
        self.give_up_at = self.rest_at;
    }

    #[must_use]
    pub fn due(&self) -> Instant {
        self.endpoint.poll_timeout().map_or(self.rest_at, |at| at.min(self.give_up_at))
    }
}

impl Draining {
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        [self.media.as_ref().map(|m| m.due()), self.bye_at.as_ref().map(|(at, _)| *at), Some(self.leave_at)]
            .into_iter()
            .flatten()
            .min()
    }

    #[must_use]
    pub const fn done(&self) -> bool {
        self.call.is_none() && self.media.is_none()
    }
}
