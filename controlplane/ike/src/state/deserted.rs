//! The IKE SA is gone, with all its CHILD_SAs, and the call goes on for a moment: a peer that reauthenticates without an
//! overlap begins anew at once (RFC 7296 §2.8.3), and so does one that lost its state.

use super::{Ended, State};
use crate::ctx::Ctx;
use crate::error::{CloseCause, IkeError};
use crate::exchange::IkeSa;
use crate::output::Event;
use crate::wire::Header;
use core::time::Duration;
use sipsec_net::Instant;

/// After the peer has deleted the IKE SA: how long its next IKE_SA_INIT may take, a few round trips. A peer that ends the
/// call says BYE in the same time.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// How the call ends if nothing follows.
pub(crate) enum Last {
    Closed(CloseCause),
    Failed(IkeError),
}

impl Last {
    pub fn event(self) -> Event {
        match self {
            Self::Closed(cause) => Event::Closed(cause),
            Self::Failed(error) => Event::Failed(error),
        }
    }
}

pub(crate) struct Deserted {
    ended: Ended,
    until: Instant,
    last: Last,
}

impl Deserted {
    pub const fn new(ended: Ended, until: Instant, last: Last) -> Self {
        Self { ended, until, last }
    }

    pub fn owns(&self, header: &Header) -> bool {
        self.ended.owns(header)
    }

    pub fn has_spis(&self, spis: (u64, u64)) -> bool {
        self.ended.has_spis(spis)
    }

    pub fn into_ended(self) -> Ended {
        self.ended
    }

    pub fn into_sas(self) -> Vec<IkeSa> {
        self.ended.into_sas()
    }

    /// A negotiation that is under way gets its time.
    fn until(&self, ctx: &Ctx) -> Instant {
        ctx.further_until.map_or(self.until, |until| until.max(self.until))
    }

    pub fn deadline(&self, ctx: &Ctx) -> Instant {
        self.ended.deadline().map_or(self.until(ctx), |at| at.min(self.until(ctx)))
    }

    pub fn on_message(&mut self, ctx: &mut Ctx, now: Instant, header: &Header, bytes: &[u8]) {
        self.ended.on_message(ctx, now, header, bytes);
    }

    pub fn on_timeout(mut self: Box<Self>, ctx: &mut Ctx, now: Instant) -> State {
        self.ended.on_timeout(ctx, now);
        if self.until(ctx) <= now { self.end(ctx, None) } else { State::Deserted(self) }
    }

    /// `instead`: a better reason than the first one.
    pub fn end(self, ctx: &mut Ctx, instead: Option<IkeError>) -> State {
        let Self { ended, last, .. } = self;
        ctx.event(instead.map_or(last, Last::Failed).event());
        State::Ended(Box::new(ended))
    }
}
