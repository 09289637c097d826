//! Initiator: our key exchange value is being computed.

use super::{InitSent, State};
use crate::algorithm::DhGroup;
use crate::compute::{Job, JobId, Outcome};
use crate::ctx::Ctx;
use crate::error::IkeError;
use crate::secret::Secret;
use sipsec_net::Instant;

/// Most times that IKE_SA_INIT is begun anew because of a cookie or a group. An honest peer needs two.
pub(crate) const RESTARTS_MAX: u32 = 5;

/// What stays the same through the retries of IKE_SA_INIT (RFC 7296 §2.6.1): a cookie is bound to SPI and nonce.
pub(crate) struct Attempt {
    pub spi_i: u64,
    pub ni: Vec<u8>,
    pub group: DhGroup,
    pub private: Secret,
    pub cookie: Option<Vec<u8>>,
    pub restarts: u32,
    /// Groups tried so far, so that two that each want the other end in an error.
    pub tried: Vec<DhGroup>,
}

pub(crate) struct KeyGen {
    job: JobId,
    attempt: Attempt,
}

impl KeyGen {
    pub fn begin(ctx: &mut Ctx, now: Instant) -> State {
        let first = ctx.config.ike_proposals.iter().find_map(|p| p.groups.first().copied());
        let Some(group) = first else {
            return State::fail(ctx, IkeError::BadConfig(crate::error::BadConfig::NoIkeProposal));
        };
        let attempt = Attempt {
            spi_i: ctx.ike_spi(),
            ni: ctx.nonce(),
            group,
            private: Secret::new(Vec::new()),
            cookie: None,
            restarts: 0,
            tried: Vec::new(),
        };
        Self::with_group(ctx, now, attempt, group)
    }

    pub fn with_group(ctx: &mut Ctx, _now: Instant, mut attempt: Attempt, group: DhGroup) -> State {
        attempt.group = group;
        attempt.tried.push(group);
        attempt.private = ctx.secret(group.private_len());
        let job = ctx.compute(Job::DhGenerate { group, private: attempt.private.clone() });
        State::KeyGen(Box::new(Self { job, attempt }))
    }

    pub fn awaits(&self, job: JobId) -> bool {
        self.job == job
    }

    pub fn on_compute(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        now: Instant,
        job: JobId,
        outcome: Outcome,
    ) -> State {
        if job != self.job {
            return State::KeyGen(self);
        }
        if let Outcome::DhGenerated { public } = outcome {
            return InitSent::send(ctx, now, self.attempt, public);
        }
        self.attempt.restarts += 1;
        if self.attempt.restarts > RESTARTS_MAX {
            let error = IkeError::TooManyRestarts { restarts: self.attempt.restarts };
            return State::fail(ctx, error);
        }
        let group = self.attempt.group;
        Self::with_group(ctx, now, self.attempt, group)
    }
}
