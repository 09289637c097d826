//! The end of a live session, in whichever state: what it leaves.

use super::draining::{DRAIN_MAX, Draining, LINGER_MAX};
use super::{ChildSas, Leg, State};
use sipsec_ike::{CloseCause, Endpoint};
use sipsec_net::{Instant, MediaPort};
use sipsec_sip::{Call, CallId};
use std::time::Duration;

/// Which side says BYE, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bye {
    Now,
    /// It has been said.
    Done,
    /// The peer, within this time; else we.
    Within(Duration),
}

/// A session that has come apart.
pub(super) struct Ended {
    pub leg: Leg,
    /// The dataplane has the media port, or will have it.
    pub port_asked: bool,
    pub endpoint: Option<Endpoint>,
    pub sas: Vec<ChildSas>,
    /// The tunnel may be bound to one of them.
    pub bound: bool,
}

/// What is left to do for a session that has ended.
#[derive(Debug)]
pub struct Rest {
    pub call: CallId,
    /// The call, if the BYE is to be sent now.
    pub bye: Option<Call>,
    pub port: MediaPort,
    /// The port is not needed any longer: whether the dataplane has it.
    pub close_port: Option<bool>,
    pub sas: Vec<ChildSas>,
    pub bound: bool,
}

impl State {
    /// Ends a live session: IKE is closed, and the call is with SIP or waits for the peer's BYE. `unconfirmed`: how long the
    /// tunnel waits for the end of a call that was answered. Any other state stays as it is.
    #[must_use]
    pub fn end(
        self,
        now: Instant,
        cause: CloseCause,
        bye: Bye,
        unconfirmed: Duration,
    ) -> (Self, Option<Rest>) {
        let ended = match self {
            Self::Dialing(d) => d.end(),
            Self::Negotiating(n) => n.end(),
            Self::Up(u) => u.end(),
            other @ (Self::Ready | Self::Draining(_)) => return (other, None),
        };
        let Ended { leg, port_asked, endpoint, sas, bound } = ended;
        let (call, port) = (leg.call.id(), leg.media_port);
        let wait = if leg.answered_at.is_some() { unconfirmed } else { DRAIN_MAX };
        let mut draining = Draining::of_call(call, now + wait.clamp(LINGER_MAX, DRAIN_MAX));
        let close_port = match endpoint.filter(|_| port_asked) {
            Some(mut endpoint) => {
                endpoint.close(now, cause);
                draining.linger(port, endpoint, now);
                None
            }
            None => Some(port_asked),
        };
        let bye = match bye {
            Bye::Now => Some(leg.call),
            Bye::Done => {
                leg.call.ended();
                None
            }
            Bye::Within(time) => {
                draining.expect_bye(now + time, leg.call);
                None
            }
        };
        (Self::Draining(draining), Some(Rest { call, bye, port, close_port, sas, bound }))
    }
}
