//! Initiator: our AUTH payload is being computed.

use super::agreeing::Init;
use super::{AuthSent, State};
use crate::auth::{self, SignedOctets, Step};
use crate::compute::{JobId, Outcome};
use crate::ctx::Ctx;
use crate::error::{IkeError, Party};
use crate::exchange::IkeSa;
use crate::wire::id;
use sipsec_net::Instant;

pub(crate) struct Signing {
    job: JobId,
    sa: IkeSa,
    init: Init,
}

impl Signing {
    /// A pre-shared key needs no job.
    pub fn begin(ctx: &mut Ctx, now: Instant, sa: IkeSa, init: Init) -> State {
        let id = id::encode(&ctx.config.local_id);
        let octets = SignedOctets {
            prf: sa.suite.prf,
            sk_p: &sa.sk_pi,
            message: &init.request,
            nonce: &init.nr,
            id: &id,
            int_auth: &init.int_auth,
        };
        match auth::sign(&ctx.config.auth, &octets, &init.peer_hashes) {
            Ok(Step::Ready(auth)) => AuthSent::send(ctx, now, sa, init, auth),
            Ok(Step::Job(job)) => {
                let job = ctx.compute(job);
                State::Signing(Box::new(Self { job, sa, init }))
            }
            Err(e) => State::fail(ctx, e),
        }
    }

    pub fn on_compute(self: Box<Self>, ctx: &mut Ctx, now: Instant, job: JobId, outcome: Outcome) -> State {
        if job != self.job {
            return State::Signing(self);
        }
        match outcome {
            Outcome::Signed { method, data } => AuthSent::send(ctx, now, self.sa, self.init, (method, data)),
            _ => State::fail(ctx, IkeError::NoCommonSignature { by: Party::Peer }),
        }
    }
}
