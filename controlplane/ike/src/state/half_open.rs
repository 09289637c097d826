//! Responder: one IKE_SA_INIT that was answered, or is about to be, and waits for its IKE_AUTH.

use super::agreeing::Init;
use super::answer_auth::{Proof, Refusal, answer, prove, sign};
use super::answer_intermediate::{Additional, finish};
use super::established::Established;
use super::{Ended, State, missing};
use crate::algorithm::IkeSuite;
use crate::auth::{self, Peer, PpkStage, Step};
use crate::compute::{Job, JobId, Outcome};
use crate::crypto::keys::{IkeKeys, Seed};
use crate::ctx::Ctx;
use crate::error::{IkeError, Party, Violation};
use crate::exchange::{IkeSa, Incoming, SaKeys};
use crate::nat;
use crate::output::Event;
use crate::secret::Secret;
use crate::view::NatView;
use crate::wire::sa::Proposal;
use crate::wire::{Chain, Exchange, Header, NotifyType, PayloadType};
use sipsec_net::Instant;

/// What was taken of the initiator's offer.
pub(crate) struct Offer {
    pub suite: IkeSuite,
    pub answer: Proposal,
    pub ni: Vec<u8>,
    pub nat: NatView,
    pub fragmentation: bool,
    pub peer_hashes: Vec<u16>,
    pub ppk: PpkStage,
}

pub(crate) struct HalfOpen {
    /// When the peer last said something that only it can say, or a job of ours for it ended.
    heard_at: Instant,
    pub spi_i: u64,
    pub request: Vec<u8>,
    stage: Stage,
}

enum Stage {
    Agreeing { job: JobId, offer: Offer },
    Open { sa: Box<IkeSa>, init: Box<Init>, additional: Additional, pending: Option<Box<Pending>> },
}

/// An IKE_AUTH request on the way to its answer.
struct Pending {
    job: JobId,
    incoming: Incoming,
    /// Known once the initiator's proof holds; then the job is our own signature.
    peer: Option<Peer>,
}

/// What follows.
pub(crate) enum Next {
    HalfOpen(Box<HalfOpen>),
    /// The half-open one has ended, and all others with it.
    State(State),
}

impl HalfOpen {
    pub fn begin(
        ctx: &mut Ctx,
        now: Instant,
        spi_i: u64,
        request: Vec<u8>,
        offer: Offer,
        peer_public: Vec<u8>,
    ) -> Self {
        let group = offer.suite.group;
        let private = ctx.secret(group.private_len());
        let job = ctx.compute(Job::DhRespond { group, private, peer_public });
        Self { heard_at: now, spi_i, request, stage: Stage::Agreeing { job, offer } }
    }

    pub fn awaits(&self, wanted: JobId) -> bool {
        match &self.stage {
            Stage::Agreeing { job, .. } => *job == wanted,
            Stage::Open { additional, pending, .. } => {
                additional.awaits(wanted) || pending.as_ref().is_some_and(|p| p.job == wanted)
            }
        }
    }

    /// When it is forgotten; not while the delay is ours.
    pub fn expires_at(&self, ctx: &Ctx) -> Option<Instant> {
        let computing = match &self.stage {
            Stage::Agreeing { .. } => true,
            Stage::Open { additional, pending, .. } => {
                matches!(additional, Additional::Computing { .. }) || pending.is_some()
            }
        };
        (!computing).then(|| self.heard_at + ctx.config.half_open_age_max)
    }

    pub fn is_of(&self, header: &Header) -> bool {
        matches!(&self.stage, Stage::Open { sa, .. } if sa.is(header))
    }

    pub fn repeat(&self, ctx: &mut Ctx) {
        if let Stage::Open { init, .. } = &self.stage {
            ctx.transmit(init.response.clone());
        }
    }

    /// `None`: dropped. RFC 7296 §2.21.1: an offer that cannot be computed with gets no answer; it may be forged.
    pub fn on_compute(self, ctx: &mut Ctx, now: Instant, outcome: Outcome) -> Option<Next> {
        let Self { spi_i, request, stage, .. } = self;
        let heard_at = now;
        match (stage, outcome) {
            (Stage::Agreeing { offer, .. }, Outcome::DhResponded { public, shared }) => {
                let half = Self::respond(ctx, (heard_at, spi_i, request), offer, &public, &shared);
                Some(Next::HalfOpen(Box::new(half)))
            }
            (
                Stage::Open {
                    mut sa,
                    mut init,
                    additional: Additional::Computing { group, request: m, .. },
                    ..
                },
                outcome,
            ) => Some(match finish(ctx, &mut sa, &mut init, (group, &m), outcome) {
                Ok(()) => {
                    let stage = Stage::Open { sa, init, additional: Additional::Done, pending: None };
                    Next::HalfOpen(Box::new(Self { heard_at, spi_i, request, stage }))
                }
                Err(refusal) => Next::State(refuse(ctx, now, *sa, (m.exchange, m.id), *refusal)),
            }),
            (Stage::Open { sa, init, additional, pending: Some(pending) }, outcome) => {
                let Pending { incoming, peer, .. } = *pending;
                let step = match (peer, outcome) {
                    (None, Outcome::Verified(result)) => match *result {
                        Ok(peer) => sign(ctx, &sa, &init, peer),
                        Err(e) => Err(Refusal::notify(e, NotifyType::AUTHENTICATION_FAILED, &[])),
                    },
                    (Some(peer), Outcome::Signed { method, data }) => Ok(Proof::Whole(peer, (method, data))),
                    _ => {
                        let error = IkeError::AuthenticationFailed { by: Party::Us };
                        Err(Refusal::notify(error, NotifyType::AUTHENTICATION_FAILED, &[]))
                    }
                };
                let stage = Stage::Open { sa, init, additional, pending: None };
                Some(Self { heard_at, spi_i, request, stage }.go_on(ctx, now, incoming, step))
            }
            _ => None,
        }
    }

    fn respond(
        ctx: &mut Ctx,
        (heard_at, spi_i, request): (Instant, u64, Vec<u8>),
        offer: Offer,
        public: &[u8],
        shared: &Secret,
    ) -> Self {
        let Offer { suite, answer, ni, nat, fragmentation, peer_hashes, ppk } = offer;
        let spi_r = ctx.ike_spi();
        let nr = ctx.nonce();
        let mut chain = Chain::new();
        chain.sa(&[answer]);
        chain.ke(suite.group.transform_id(), public);
        chain.nonce(&nr);
        nat::add(&mut chain, ctx, spi_i, spi_r);
        auth::request(&mut chain, &ctx.config.auth);
        // RFC 7383 §2.3: answered only if it was asked.
        if fragmentation {
            chain.notify(NotifyType::FRAGMENTATION_SUPPORTED, &[]);
        }
        if ppk.is_agreed() {
            chain.notify(NotifyType::USE_PPK, &[]);
        }
        if suite.ke1.is_some() {
            chain.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED, &[]);
        }
        auth::announce_hashes(&mut chain, &ctx.config.auth);
        let header = Header {
            spi_i,
            spi_r,
            first: PayloadType::NONE,
            exchange: Exchange::IKE_SA_INIT,
            from_initiator: false,
            response: true,
            id: 0,
        };
        let response = header.with_payloads(chain);
        ctx.counters.responses_out += 1;
        ctx.transmit(response.clone());
        let keys = IkeKeys::initial(&suite, shared, &Seed { ni: &ni, nr: &nr, spi_i, spi_r });
        let sa = IkeSa::new(ctx, SaKeys { suite, keys, spi_i, spi_r, initiator: false, fragmentation });
        let init =
            Init { request: request.clone(), response, ni, nr, nat, peer_hashes, int_auth: Vec::new(), ppk };
        let additional = suite.ke1.map_or(Additional::Done, Additional::Awaited);
        let stage =
            Stage::Open { sa: Box::new(sa.after_init()), init: Box::new(init), additional, pending: None };
        Self { heard_at, spi_i, request, stage }
    }

    pub fn on_message(mut self, ctx: &mut Ctx, now: Instant, header: &Header, bytes: &[u8]) -> Next {
        let Stage::Open { sa, init, additional, .. } = &mut self.stage else {
            return Next::HalfOpen(Box::new(self));
        };
        let known = matches!(header.exchange, Exchange::IKE_INTERMEDIATE | Exchange::IKE_AUTH);
        if header.response || !known {
            ctx.counters.dropped_state += 1;
            return Next::HalfOpen(Box::new(self));
        }
        let Some(incoming) = sa.receive(ctx, now, header, bytes) else {
            return Next::HalfOpen(Box::new(self));
        };
        self.heard_at = now;
        let at = (incoming.exchange, incoming.id);
        let refusal = match (incoming.exchange, &*additional) {
            (Exchange::IKE_AUTH, Additional::Done) => None,
            (Exchange::IKE_INTERMEDIATE, Additional::Awaited(group)) => {
                match Additional::begin(ctx, *group, incoming) {
                    Ok(computing) => {
                        *additional = computing;
                        return Next::HalfOpen(Box::new(self));
                    }
                    Err(refusal) => return self.refused(ctx, now, at, *refusal),
                }
            }
            // RFC 9370 §2.2.2: what was agreed on is done, once, before IKE_AUTH.
            (Exchange::IKE_AUTH, _) => Some(missing("IKE_INTERMEDIATE")),
            _ => Some(IkeError::ProtocolViolation(Violation::NotOffered("IKE_INTERMEDIATE"))),
        };
        if let Some(error) = refusal {
            return self.refused(ctx, now, at, *Refusal::notify(error, NotifyType::INVALID_SYNTAX, &[]));
        }
        let step = prove(ctx, sa, init, &incoming).and_then(|step| match step {
            Step::Ready(peer) => sign(ctx, sa, init, peer),
            Step::Job(job) => Ok(Proof::Verifying(ctx.compute(job))),
        });
        self.go_on(ctx, now, incoming, step)
    }

    fn refused(self, ctx: &mut Ctx, now: Instant, at: (Exchange, u32), refusal: Refusal) -> Next {
        match self.stage {
            Stage::Open { sa, .. } => Next::State(refuse(ctx, now, *sa, at, refusal)),
            Stage::Agreeing { .. } => unreachable!("only an open one has a request to refuse"),
        }
    }

    fn go_on(
        self,
        ctx: &mut Ctx,
        now: Instant,
        incoming: Incoming,
        step: Result<Proof, Box<Refusal>>,
    ) -> Next {
        let Self { heard_at, spi_i, request, stage } = self;
        let Stage::Open { mut sa, init, additional, .. } = stage else {
            unreachable!("only an open one has an IKE_AUTH request");
        };
        let (peer, auth) = match step {
            Ok(Proof::Whole(peer, auth)) => (peer, auth),
            Ok(Proof::Verifying(job)) => {
                let pending = Some(Box::new(Pending { job, incoming, peer: None }));
                let stage = Stage::Open { sa, init, additional, pending };
                return Next::HalfOpen(Box::new(Self { heard_at, spi_i, request, stage }));
            }
            Ok(Proof::Signing(job, peer)) => {
                let pending = Some(Box::new(Pending { job, incoming, peer: Some(peer) }));
                let stage = Stage::Open { sa, init, additional, pending };
                return Next::HalfOpen(Box::new(Self { heard_at, spi_i, request, stage }));
            }
            Err(refusal) => {
                return Next::State(refuse(ctx, now, *sa, (Exchange::IKE_AUTH, incoming.id), *refusal));
            }
        };
        Next::State(match answer(ctx, now, &mut sa, &init, &incoming, auth) {
            Ok((made, begin)) => Established::with_child(ctx, now, *sa, peer, &init, made, begin),
            Err(refusal) => refuse(ctx, now, *sa, (Exchange::IKE_AUTH, incoming.id), *refusal),
        })
    }
}

fn refuse(
    ctx: &mut Ctx,
    now: Instant,
    mut sa: IkeSa,
    (exchange, id): (Exchange, u32),
    refusal: Refusal,
) -> State {
    sa.respond(ctx, exchange, id, refusal.chain);
    if refusal.authenticated {
        // RFC 7296 §2.21.2: the IKE SA is established without the CHILD_SA, and a call has no use for it.
        sa.delete(ctx, now);
    }
    ctx.event(Event::Failed(refusal.error));
    State::Ended(Box::new(Ended::kept(sa)))
}
