//! Initiator: the additional key exchange, in IKE_INTERMEDIATE (RFC 9242, RFC 9370 §2.2.2).

use super::agreeing::Init;
use super::{Signing, State, missing};
use crate::algorithm::DhGroup;
use crate::auth::int_auth;
use crate::compute::{Job, JobId, Outcome};
use crate::crypto::keys::{IkeKeys, Seed};
use crate::ctx::Ctx;
use crate::error::{IkeError, Violation};
use crate::exchange::IkeSa;
use crate::exchange::ike_sa::Timeout;
use crate::secret::Secret;
use crate::task::Task;
use crate::wire::{Chain, Exchange, Header};
use sipsec_net::Instant;

pub(crate) struct Intermediate {
    sa: IkeSa,
    init: Init,
    group: DhGroup,
    private: Secret,
    stage: Stage,
}

enum Stage {
    Generating(JobId),
    /// The request as it was before encryption.
    Sent(Vec<u8>),
    Agreeing(JobId),
}

impl Intermediate {
    pub fn begin(ctx: &mut Ctx, sa: IkeSa, init: Init, group: DhGroup) -> State {
        let private = ctx.secret(group.private_len());
        let job = ctx.compute(Job::DhGenerate { group, private: private.clone() });
        State::Intermediate(Box::new(Self { sa, init, group, private, stage: Stage::Generating(job) }))
    }

    pub fn awaits(&self, job: JobId) -> bool {
        matches!(&self.stage, Stage::Generating(ours) | Stage::Agreeing(ours) if *ours == job)
    }

    pub fn sa(&self) -> &IkeSa {
        &self.sa
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.sa.deadline()
    }

    pub fn on_timeout(mut self: Box<Self>, ctx: &mut Ctx, now: Instant) -> State {
        match self.sa.on_timeout(ctx, now, None) {
            Timeout::Fine => State::Intermediate(self),
            Timeout::GaveUp(unanswered) => State::fail(ctx, IkeError::NoResponse(unanswered)),
        }
    }

    pub fn on_compute(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        now: Instant,
        job: JobId,
        outcome: Outcome,
    ) -> State {
        match (&self.stage, outcome) {
            (Stage::Generating(ours), Outcome::DhGenerated { public }) if *ours == job => {
                let mut chain = Chain::new();
                chain.ke(self.group.transform_id(), &public);
                let exchange = Exchange::IKE_INTERMEDIATE;
                let request = self.sa.request_octets(exchange, &chain);
                self.sa.request(ctx, now, exchange, chain, Task::KeyExchange);
                self.stage = Stage::Sent(request);
                State::Intermediate(self)
            }
            (Stage::Agreeing(ours), Outcome::DhAgreed { shared }) if *ours == job => {
                let Self { mut sa, init, .. } = *self;
                sa.mix(ctx, &shared, &init.ni, &init.nr);
                Signing::begin(ctx, now, sa, init)
            }
            (Stage::Generating(ours) | Stage::Agreeing(ours), _) if *ours == job => {
                State::fail(ctx, IkeError::BadKeyExchange { group: self.group })
            }
            _ => State::Intermediate(self),
        }
    }

    pub fn on_message(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        now: Instant,
        header: &Header,
        bytes: &[u8],
    ) -> State {
        if !matches!(self.stage, Stage::Sent(_)) {
            ctx.counters.dropped_state += 1;
            return State::Intermediate(self);
        }
        let Some(incoming) = self.sa.receive_response(ctx, now, header, bytes) else {
            return State::Intermediate(self);
        };
        let m = match incoming.message() {
            Ok(m) => m,
            Err(e) => return State::fail(ctx, e.into()),
        };
        // RFC 9242 §3.4: the peer is not authenticated yet, but only the one that answered IKE_SA_INIT could have sealed
        // this, and it will not say anything else.
        if let Some(n) = m.error() {
            return State::fail(ctx, IkeError::PeerNotify { notify: n.kind.0 });
        }
        let (Some(ke), Some(response)) = (&m.ke, incoming.octets()) else {
            return State::fail(ctx, missing("KE"));
        };
        if ke.group != self.group.transform_id() {
            return State::fail(ctx, IkeError::ProtocolViolation(Violation::NotOffered("KE group")));
        }
        if let Stage::Sent(request) = &self.stage {
            self.init.int_auth = int_auth(&self.sa, request, &response, incoming.id);
        }
        let job = ctx.compute(Job::DhAgree {
            group: self.group,
            private: self.private.clone(),
            peer_public: ke.public.to_vec(),
        });
        self.stage = Stage::Agreeing(job);
        State::Intermediate(self)
    }
}

impl IkeSa {
    /// RFC 9370 §2.2.2: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), and all keys anew from it.
    pub fn mix(&mut self, ctx: &mut Ctx, shared: &Secret, ni: &[u8], nr: &[u8]) {
        let seed = Seed { ni, nr, spi_i: self.spi_i, spi_r: self.spi_r };
        let keys = IkeKeys::rekeyed(&self.suite, (self.suite.prf, &self.sk_d), shared, &seed);
        self.replace_keys(ctx, keys);
    }
}
