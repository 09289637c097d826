//! Initiator: the shared secret is being computed.

use super::{Intermediate, Signing, State};
use crate::algorithm::IkeSuite;
use crate::auth::PpkStage;
use crate::compute::{Job, JobId, Outcome};
use crate::crypto::keys::{IkeKeys, Seed};
use crate::ctx::Ctx;
use crate::error::IkeError;
use crate::exchange::{IkeSa, SaKeys};
use crate::state::key_gen::Attempt;
use crate::view::NatView;
use sipsec_net::Instant;

/// What the responder chose.
pub(crate) struct Agreed {
    pub suite: IkeSuite,
    pub peer_public: Vec<u8>,
    pub nr: Vec<u8>,
    pub spi_r: u64,
    pub nat: NatView,
    pub fragmentation: bool,
    pub peer_hashes: Vec<u16>,
    pub ppk: PpkStage,
}

/// Both IKE_SA_INIT messages, which AUTH covers.
pub(crate) struct Init {
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    pub ni: Vec<u8>,
    pub nr: Vec<u8>,
    pub nat: NatView,
    /// What the peer can verify (RFC 7427 §4).
    pub peer_hashes: Vec<u16>,
    /// IntAuth of the IKE_INTERMEDIATE exchange, if there was one.
    pub int_auth: Vec<u8>,
    pub ppk: PpkStage,
}

pub(crate) struct Agreeing {
    job: JobId,
    spi_i: u64,
    spi_r: u64,
    suite: IkeSuite,
    fragmentation: bool,
    init: Init,
}

impl Agreeing {
    pub fn begin(
        ctx: &mut Ctx,
        agreed: Agreed,
        attempt: Attempt,
        request: Vec<u8>,
        response: Vec<u8>,
    ) -> State {
        let Agreed { suite, peer_public, nr, spi_r, nat, fragmentation, peer_hashes, ppk } = agreed;
        let Attempt { spi_i, ni, group, private, .. } = attempt;
        let job = ctx.compute(Job::DhAgree { group, private, peer_public });
        let init = Init { request, response, ni, nr, nat, peer_hashes, int_auth: Vec::new(), ppk };
        State::Agreeing(Box::new(Self { job, spi_i, spi_r, suite, fragmentation, init }))
    }

    pub fn awaits(&self, job: JobId) -> bool {
        self.job == job
    }

    pub fn on_compute(self: Box<Self>, ctx: &mut Ctx, now: Instant, job: JobId, outcome: Outcome) -> State {
        if job != self.job {
            return State::Agreeing(self);
        }
        let Self { spi_i, spi_r, suite, fragmentation, init, .. } = *self;
        let Outcome::DhAgreed { shared } = outcome else {
            return State::fail(ctx, IkeError::BadKeyExchange { group: suite.group });
        };
        let keys = IkeKeys::initial(&suite, &shared, &Seed { ni: &init.ni, nr: &init.nr, spi_i, spi_r });
        let sa = IkeSa::new(ctx, SaKeys { suite, keys, spi_i, spi_r, initiator: true, fragmentation });
        match suite.ke1 {
            Some(group) => Intermediate::begin(ctx, sa.after_init(), init, group),
            None => Signing::begin(ctx, now, sa.after_init(), init),
        }
    }
}
