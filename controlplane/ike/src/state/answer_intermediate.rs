//! Responder: the additional key exchange, in IKE_INTERMEDIATE (RFC 9242, RFC 9370 §2.2.2).

use super::agreeing::Init;
use super::answer_auth::Refusal;
use super::missing;
use crate::algorithm::DhGroup;
use crate::auth::int_auth;
use crate::compute::{Job, JobId, Outcome};
use crate::ctx::Ctx;
use crate::error::{IkeError, Violation};
use crate::exchange::{IkeSa, Incoming};
use crate::wire::{Chain, Exchange, NotifyType};

/// How far it is.
pub(super) enum Additional {
    /// None was agreed on, or it is over.
    Done,
    Awaited(DhGroup),
    Computing {
        job: JobId,
        group: DhGroup,
        request: Box<Incoming>,
    },
}

impl Additional {
    pub fn awaits(&self, wanted: JobId) -> bool {
        matches!(self, Self::Computing { job, .. } if *job == wanted)
    }

    /// RFC 9242 §5: no more exchanges than were agreed on, so this is the only one.
    pub fn begin(ctx: &mut Ctx, group: DhGroup, request: Incoming) -> Result<Self, Box<Refusal>> {
        let malformed = |e| Refusal::notify(e, NotifyType::INVALID_SYNTAX, &[]);
        let m = request.message()?;
        let ke = m.ke.as_ref().ok_or_else(|| malformed(missing("KE")))?;
        if ke.group != group.transform_id() {
            return Err(malformed(IkeError::ProtocolViolation(Violation::NotOffered("KE group"))));
        }
        let private = ctx.secret(group.private_len());
        let job = ctx.compute(Job::DhRespond { group, private, peer_public: ke.public.to_vec() });
        Ok(Self::Computing { job, group, request: Box::new(request) })
    }
}

/// Answers, and goes over to the new keys.
pub(super) fn finish(
    ctx: &mut Ctx,
    sa: &mut IkeSa,
    init: &mut Init,
    (group, request): (DhGroup, &Incoming),
    outcome: Outcome,
) -> Result<(), Box<Refusal>> {
    let bad = || Refusal::notify(IkeError::BadKeyExchange { group }, NotifyType::INVALID_SYNTAX, &[]);
    let Outcome::DhResponded { public, shared } = outcome else { return Err(bad()) };
    let octets = request.octets().ok_or_else(bad)?;
    let exchange = Exchange::IKE_INTERMEDIATE;
    let mut chain = Chain::new();
    chain.ke(group.transform_id(), &public);
    let response = sa.response_octets(exchange, &chain);
    init.int_auth = int_auth(sa, &octets, &response, request.id);
    sa.respond(ctx, exchange, request.id, chain);
    sa.mix(ctx, &shared, &init.ni, &init.nr);
    Ok(())
}
