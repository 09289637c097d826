//! The states of an endpoint, one file each. A state is consumed by what happens and gives the next one.

mod agreeing;
mod answer_auth;
mod answer_intermediate;
pub(crate) mod auth_sent;
mod deserted;
pub(crate) mod ended;
pub(crate) mod established;
mod half_open;
mod init_sent;
mod intermediate;
mod key_gen;
mod listening;
mod signing;
mod verifying;

use crate::compute::{JobId, Outcome};
use crate::config::{EndpointConfig, PPK_ID_MAX, Role};
use crate::ctx::Ctx;
use crate::error::{BadConfig, CloseCause, IkeError, Violation};
use crate::output::Event;
use crate::view::StateName;
use crate::wire::{Header, ParseError};
pub(crate) use agreeing::Agreeing;
pub(crate) use auth_sent::AuthSent;
pub(crate) use deserted::{Deserted, Last};
pub(crate) use ended::Ended;
pub(crate) use established::Established;
pub(crate) use init_sent::InitSent;
pub(crate) use intermediate::Intermediate;
pub(crate) use key_gen::KeyGen;
pub(crate) use listening::Listening;
pub(crate) use signing::Signing;
use sipsec_net::Instant;
use sipsec_net::dp::SELECTORS_MAX;
pub(crate) use verifying::Verifying;

pub(crate) enum State {
    Idle,
    KeyGen(Box<KeyGen>),
    InitSent(Box<InitSent>),
    Agreeing(Box<Agreeing>),
    Intermediate(Box<Intermediate>),
    Signing(Box<Signing>),
    AuthSent(Box<AuthSent>),
    Verifying(Box<Verifying>),
    Listening(Box<Listening>),
    Established(Box<Established>),
    /// The IKE SA is gone and the call is not: the peer may begin anew (RFC 7296 §2.8.3).
    Deserted(Box<Deserted>),
    Ended(Box<Ended>),
}

impl State {
    pub fn start(ctx: &mut Ctx, now: Instant) -> Self {
        if let Err(e) = check(&ctx.config).and_then(|()| crate::auth::check_before_start(&ctx.config)) {
            return Self::fail(ctx, e);
        }
        match ctx.config.role {
            Role::Initiator => KeyGen::begin(ctx, now),
            Role::Responder => Self::Listening(Box::default()),
        }
    }

    /// The end by a fault, with nothing left to say to the peer.
    pub fn fail(ctx: &mut Ctx, error: IkeError) -> Self {
        ctx.event(Event::Failed(error));
        Self::Ended(Box::default())
    }

    pub fn on_message(self, ctx: &mut Ctx, now: Instant, header: &Header, bytes: &[u8]) -> Self {
        match self {
            Self::Idle | Self::KeyGen(_) | Self::Agreeing(_) | Self::Signing(_) | Self::Verifying(_) => {
                ctx.counters.dropped_state += 1;
                self
            }
            Self::InitSent(s) => s.on_message(ctx, now, header, bytes),
            Self::Intermediate(s) => s.on_message(ctx, now, header, bytes),
            Self::AuthSent(s) => s.on_message(ctx, now, header, bytes),
            Self::Listening(s) => s.on_message(ctx, now, header, bytes),
            Self::Established(s) => s.on_message(ctx, now, header, bytes),
            Self::Deserted(mut s) => {
                s.on_message(ctx, now, header, bytes);
                Self::Deserted(s)
            }
            Self::Ended(mut s) => {
                s.on_message(ctx, now, header, bytes);
                Self::Ended(s)
            }
        }
    }

    pub fn on_compute(self, ctx: &mut Ctx, now: Instant, job: JobId, outcome: Outcome) -> Self {
        match self {
            Self::KeyGen(s) => s.on_compute(ctx, now, job, outcome),
            Self::Agreeing(s) => s.on_compute(ctx, now, job, outcome),
            Self::Intermediate(s) => s.on_compute(ctx, now, job, outcome),
            Self::Signing(s) => s.on_compute(ctx, now, job, outcome),
            Self::Verifying(s) => s.on_compute(ctx, now, job, outcome),
            Self::Listening(s) => s.on_compute(ctx, now, job, outcome),
            Self::Established(s) => s.on_compute(ctx, now, job, outcome),
            // The work of a state that has been left.
            other => other,
        }
    }

    pub fn on_timeout(self, ctx: &mut Ctx, now: Instant) -> Self {
        match self {
            Self::InitSent(s) => s.on_timeout(ctx, now),
            Self::Intermediate(s) => s.on_timeout(ctx, now),
            Self::AuthSent(s) => s.on_timeout(ctx, now),
            Self::Listening(s) => s.on_timeout(ctx, now),
            Self::Established(s) => s.on_timeout(ctx, now),
            Self::Deserted(s) => s.on_timeout(ctx, now),
            Self::Ended(mut s) => {
                s.on_timeout(ctx, now);
                Self::Ended(s)
            }
            Self::Idle | Self::KeyGen(_) | Self::Agreeing(_) | Self::Signing(_) | Self::Verifying(_) => self,
        }
    }

    pub fn deadline(&self, ctx: &Ctx) -> Option<Instant> {
        match self {
            Self::InitSent(s) => Some(s.deadline()),
            Self::Intermediate(s) => s.deadline(),
            Self::AuthSent(s) => s.deadline(),
            Self::Listening(s) => s.deadline(ctx),
            Self::Established(s) => s.deadline(ctx),
            Self::Deserted(s) => Some(s.deadline(ctx)),
            Self::Ended(s) => s.deadline(),
            Self::Idle | Self::KeyGen(_) | Self::Agreeing(_) | Self::Signing(_) | Self::Verifying(_) => None,
        }
    }

    pub fn close(self, ctx: &mut Ctx, now: Instant, cause: CloseCause) -> Self {
        if let Self::Ended(s) = self {
            return Self::Ended(s);
        }
        let ended = self.abandon(ctx, now);
        ctx.event(Event::Closed(cause));
        Self::Ended(Box::new(ended))
    }

    /// Goes without a word to our user. The peer gets a DELETE if it may believe that there is an SA.
    pub fn abandon(self, ctx: &mut Ctx, now: Instant) -> Ended {
        match self {
            Self::Ended(s) => *s,
            Self::AuthSent(s) => s.close(ctx, now),
            Self::Established(s) => s.close(ctx, now),
            Self::Verifying(s) => s.close(ctx, now),
            Self::Deserted(s) => s.into_ended(),
            Self::Idle
            | Self::KeyGen(_)
            | Self::InitSent(_)
            | Self::Agreeing(_)
            | Self::Intermediate(_)
            | Self::Signing(_)
            | Self::Listening(_) => Ended::default(),
        }
    }

    /// Whether a message is of an IKE SA that has been authenticated.
    pub fn owns(&self, header: &Header) -> bool {
        match self {
            Self::Established(s) => s.slots.iter().any(|slot| slot.sa.is(header)),
            Self::Deserted(s) => s.owns(header),
            _ => false,
        }
    }

    /// Whether a state before [`Self::Established`] waits for this job.
    pub fn awaits(&self, job: JobId) -> bool {
        match self {
            Self::KeyGen(s) => s.awaits(job),
            Self::Agreeing(s) => s.awaits(job),
            Self::Intermediate(s) => s.awaits(job),
            Self::Signing(s) => s.awaits(job),
            Self::Verifying(s) => s.awaits(job),
            Self::Listening(s) => s.awaits(job),
            _ => false,
        }
    }

    pub fn name(&self) -> StateName {
        match self {
            Self::Idle => StateName::Idle,
            Self::KeyGen(_) => StateName::KeyGen,
            Self::InitSent(_) => StateName::InitSent,
            Self::Agreeing(_) => StateName::Agreeing,
            Self::Intermediate(_) => StateName::Intermediate,
            Self::Signing(_) => StateName::Signing,
            Self::AuthSent(_) => StateName::AuthSent,
            Self::Verifying(_) => StateName::Verifying,
            Self::Listening(s) if s.is_empty() => StateName::Listening,
            Self::Listening(_) => StateName::HalfOpen,
            Self::Established(_) => StateName::Established,
            Self::Deserted(_) => StateName::Reauthenticating,
            Self::Ended(s) if s.is_closing() => StateName::Closing,
            Self::Ended(_) => StateName::Closed,
        }
    }
}

fn check(config: &EndpointConfig) -> Result<(), IkeError> {
    let selectors = [config.ts_local.len(), config.ts_remote.len()];
    let bad = if config.ike_proposals.is_empty() {
        BadConfig::NoIkeProposal
    } else if config.esp_proposals.is_empty() {
        BadConfig::NoEspProposal
    } else if selectors.contains(&0) {
        BadConfig::NoTrafficSelectors
    } else if selectors.iter().any(|n| *n > SELECTORS_MAX) {
        BadConfig::TooManyTrafficSelectors
    } else if config.fragment_bytes_max.is_some_and(|n| n < FRAGMENT_MIN) {
        BadConfig::FragmentTooSmall
    } else if config.ppk.as_ref().is_some_and(|p| p.key.is_empty() || !(1..=PPK_ID_MAX).contains(&p.id.len()))
    {
        BadConfig::BadPpk
    } else {
        return crate::auth::check_config(&config.auth).map_err(IkeError::BadConfig);
    };
    Err(IkeError::BadConfig(bad))
}

/// Smaller fragments would need more of them than a peer takes.
pub(crate) const FRAGMENT_MIN: usize = 200;

impl From<ParseError> for IkeError {
    fn from(e: ParseError) -> Self {
        match e {
            ParseError::UnsupportedCritical(payload) => Self::UnsupportedCriticalPayload { payload },
            ParseError::Length(what) | ParseError::Value(what) | ParseError::Duplicate(what) => {
                Self::ProtocolViolation(Violation::Malformed(what))
            }
        }
    }
}

pub(crate) fn missing(what: &'static str) -> IkeError {
    IkeError::ProtocolViolation(Violation::MissingPayload(what))
}
