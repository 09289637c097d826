//! Initiator: the responder's certificate and signature are being verified.

use super::agreeing::Init;
use super::auth_sent::{Refusal, conclude};
use super::{Ended, State};
use crate::compute::{JobId, Outcome};
use crate::ctx::Ctx;
use crate::error::{IkeError, Party};
use crate::exchange::{IkeSa, Incoming};
use crate::wire::NotifyType;
use sipsec_net::{Instant, Spi};

pub(crate) struct Verifying {
    pub job: JobId,
    pub sa: IkeSa,
    pub init: Init,
    pub spi_in: Spi,
    /// The response, which has more to say once it is believed.
    pub incoming: Incoming,
}

impl Verifying {
    pub fn awaits(&self, job: JobId) -> bool {
        self.job == job
    }

    pub fn on_compute(self: Box<Self>, ctx: &mut Ctx, now: Instant, job: JobId, outcome: Outcome) -> State {
        if job != self.job {
            return State::Verifying(self);
        }
        let Self { sa, init, spi_in, incoming, .. } = *self;
        let proven = match outcome {
            Outcome::Verified(result) => *result,
            _ => Err(IkeError::AuthenticationFailed { by: Party::Us }),
        };
        let proven = proven.map_err(|e| Refusal::ByUs(e, NotifyType::AUTHENTICATION_FAILED));
        match incoming.message() {
            Ok(m) => conclude(ctx, now, sa, &init, spi_in, &m, proven),
            // It was parsed before the job began.
            Err(e) => State::fail(ctx, e.into()),
        }
    }

    /// The responder believes the SA to be up.
    pub fn close(mut self, ctx: &mut Ctx, now: Instant) -> Ended {
        self.sa.delete(ctx, now);
        Ended::kept(self.sa)
    }
}
