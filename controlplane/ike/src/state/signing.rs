//! Initiator: our AUTH payload is being computed, and with an optional PPK the one without it, too.

use super::agreeing::Init;
use super::{AuthSent, State};
use crate::auth::{self, SignedOctets, Step};
use crate::compute::{JobId, Outcome};
use crate::ctx::Ctx;
use crate::error::{IkeError, Party};
use crate::exchange::IkeSa;
use crate::wire::id;
use sipsec_net::Instant;

/// Method and data of an AUTH payload.
type Auth = (u8, Vec<u8>);

pub(crate) struct Signing {
    job: JobId,
    sa: IkeSa,
    init: Init,
    /// Computed already; the job is the one without a PPK.
    auth: Option<Auth>,
}

impl Signing {
    pub fn begin(ctx: &mut Ctx, now: Instant, sa: IkeSa, init: Init) -> State {
        Self::proceed(ctx, now, sa, init, None)
    }

    /// A pre-shared key needs no job.
    fn proceed(ctx: &mut Ctx, now: Instant, sa: IkeSa, init: Init, mut auth: Option<Auth>) -> State {
        let psk = auth::own_psk(&ctx.config, ctx.proven_psk);
        let ppk = ctx.config.ppk.as_ref().filter(|_| init.ppk.is_agreed());
        loop {
            let keys = ppk.filter(|_| auth.is_none()).map(|p| sa.ppk_keys(p.key.expose()));
            let id = id::encode(&ctx.config.local_id);
            let octets = SignedOctets {
                prf: sa.suite.prf,
                sa: sa.proven(),
                sk_p: keys.as_ref().map_or(&sa.sk_pi, |k| &k.pi),
                message: &init.request,
                nonce: &init.nr,
                id: &id,
                int_auth: &init.int_auth,
            };
            let made = match auth::sign(&ctx.config.auth, &octets, &init.peer_hashes, psk) {
                Ok(Step::Ready(made)) => made,
                Ok(Step::Job(job)) => {
                    let job = ctx.compute(job);
                    return State::Signing(Box::new(Self { job, sa, init, auth }));
                }
                Err(e) => return State::fail(ctx, e),
            };
            // RFC 8784 §3: where the PPK is optional, the responder may not know it and needs the proof without it.
            match auth {
                None if ppk.is_some_and(|p| !p.required) => auth = Some(made),
                None => return AuthSent::send(ctx, now, sa, init, made, None),
                Some(auth) => return AuthSent::send(ctx, now, sa, init, auth, Some(made)),
            }
        }
    }

    pub fn awaits(&self, job: JobId) -> bool {
        self.job == job
    }

    pub fn on_compute(self: Box<Self>, ctx: &mut Ctx, now: Instant, job: JobId, outcome: Outcome) -> State {
        if job != self.job {
            return State::Signing(self);
        }
        let Outcome::Signed { method, data } = outcome else {
            return State::fail(ctx, IkeError::NoCommonSignature { by: Party::Peer });
        };
        let Self { sa, init, auth, .. } = *self;
        let optional = init.ppk.is_agreed() && ctx.config.ppk.as_ref().is_some_and(|p| !p.required);
        match auth {
            None if optional => Self::proceed(ctx, now, sa, init, Some((method, data))),
            None => AuthSent::send(ctx, now, sa, init, (method, data), None),
            Some(auth) => AuthSent::send(ctx, now, sa, init, auth, Some((method, data))),
        }
    }
}
