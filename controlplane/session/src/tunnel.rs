//! A configured tunnel and its session.

use crate::brake::Brake;
use crate::config::TunnelConfig;
use crate::failure::SessionFailure;
use crate::state::State;
use sipsec_net::dp::PacketSummary;
use sipsec_net::{Instant, TunnelId};
use sipsec_sip::CallId;

/// Steps of one call kept for `show … detail`.
const PHASES_MAX: usize = 16;

#[derive(Debug)]
pub struct Tunnel {
    pub config: TunnelConfig,
    pub state: State,
    /// The dataplane has it.
    pub configured: bool,
    pub last_failure: Option<(Instant, SessionFailure)>,
    pub brake: Brake,
    /// The packet that the dataplane last asked a call for, and when. Kept until a call is up for it or it is flushed.
    pub trigger: Option<(Instant, PacketSummary)>,
    /// The last attempt found the peer busy, most likely calling us.
    pub has_yielded: bool,
    pub phases: Vec<(&'static str, Instant)>,
    /// Calls of this tunnel that may still be charged, because nothing has confirmed their end.
    unconfirmed: u32,
    /// Until then it places no call because of these.
    held_until: Option<Instant>,
    /// When to tell that this call's BYE has no answer.
    doubt: Option<(Instant, CallId)>,
}

impl Tunnel {
    pub fn new(config: TunnelConfig) -> Self {
        Self {
            config,
            state: State::Ready,
            configured: false,
            last_failure: None,
            brake: Brake::default(),
            trigger: None,
            has_yielded: false,
            phases: Vec::new(),
            unconfirmed: 0,
            held_until: None,
            doubt: None,
        }
    }

    pub const fn id(&self) -> TunnelId {
        self.config.id()
    }

    pub fn phase(&mut self, now: Instant, name: &'static str) {
        if self.phases.len() < PHASES_MAX {
            self.phases.push((name, now));
        }
    }

    pub fn ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    /// One call more is being hung up; none is placed until that is confirmed, or until then.
    pub fn hold(&mut self, until: Instant) {
        self.unconfirmed += 1;
        self.held_until = self.held_until.max(Some(until));
    }

    /// One of them is confirmed; `true` if it was the last that held the tunnel.
    pub fn unhold(&mut self) -> bool {
        self.unconfirmed = self.unconfirmed.saturating_sub(1);
        self.unconfirmed == 0 && self.held_until.take().is_some()
    }

    /// The tunnel has waited long enough; `true` if it ends now.
    pub fn hold_is_over(&mut self, now: Instant) -> bool {
        self.held_until.take_if(|at| *at <= now).is_some()
    }

    /// A BYE is sent: if it has no answer by then, that is told.
    pub const fn expect_end(&mut self, call: CallId, by: Instant) {
        self.doubt = Some((by, call));
    }

    pub fn overdue(&mut self, now: Instant) -> Option<CallId> {
        self.doubt.take_if(|(at, _)| *at <= now).map(|(_, call)| call)
    }

    pub fn ended(&mut self, call: CallId) {
        self.doubt.take_if(|(_, c)| *c == call);
    }

    #[must_use]
    pub const fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    pub fn due(&self) -> Option<Instant> {
        let doubt = self.doubt.map(|(at, _)| at);
        [self.state.due(), self.brake.retry_at(), self.held_until, doubt].into_iter().flatten().min()
    }
}
