//! Every timer of a tunnel and of its session.

use super::{Draining, State};
use sipsec_ike::Endpoint;
use sipsec_net::Instant;

/// In the order in which timers that are due together are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// After a failure, calls are possible again.
    Retry,
    /// A BYE has had no answer for so long that it is told.
    Doubt,
    /// The end of an earlier call is not waited for any longer.
    Hold,
    /// IKE's own, while it is negotiated or up.
    Ike,
    /// A call that is not answered is given up.
    Unanswered,
    /// The call is answered and IKE has not come up.
    Negotiation,
    /// The longest duration of a call.
    CallMax,
    /// Responder only: what waits in the trigger queue is sent.
    Release,
    /// The dataplane is asked for its counters.
    Activity,
    /// A BYE that waited for the peer's.
    LateBye,
    /// The media port of a session that is over closes.
    CloseMedia,
    /// IKE after the session, or the end of its time to tell why the peer hung up.
    Lingering,
    /// A session that is over does not hold its tunnel any longer.
    Leave,
}

impl Timer {
    /// Timers that wait for nothing else: all that are due are served.
    pub const INDEPENDENT: [Self; 4] = [Self::Retry, Self::Doubt, Self::Hold, Self::Ike];
    /// Each is a step of the session: only the first that is due is served, so that what it sends leaves before the next.
    pub const STEPS: [Self; 9] = [
        Self::Unanswered,
        Self::Negotiation,
        Self::CallMax,
        Self::Release,
        Self::Activity,
        Self::LateBye,
        Self::CloseMedia,
        Self::Lingering,
        Self::Leave,
    ];

    pub fn all() -> impl Iterator<Item = Self> {
        Self::INDEPENDENT.into_iter().chain(Self::STEPS)
    }
}

impl State {
    /// When a timer of this state is due; `None` for those of other states and of the tunnel.
    #[must_use]
    pub fn timer(&self, timer: Timer) -> Option<Instant> {
        match (timer, self) {
            (Timer::Ike, _) => self.endpoint().and_then(Endpoint::poll_timeout),
            (Timer::Unanswered, Self::Dialing(d)) => Some(d.give_up_at),
            (Timer::Negotiation, Self::Negotiating(n)) => Some(n.deadline),
            (Timer::CallMax, Self::Up(u)) => u.ends_at(),
            (Timer::Release, Self::Up(u)) => u.release_at(),
            (Timer::Activity, Self::Up(u)) => Some(u.check_at()),
            (Timer::LateBye, Self::Draining(d)) => d.bye_at.as_ref().map(|(at, _)| *at),
            (Timer::CloseMedia, Self::Draining(Draining { media: Some(m), .. })) => Some(m.close_at()),
            (Timer::Lingering, Self::Draining(Draining { media: Some(m), .. })) => Some(m.due()),
            (Timer::Leave, Self::Draining(d)) => Some(d.leave_at),
            _ => None,
        }
    }
}
