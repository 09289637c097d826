//! A configured tunnel and its session.

use crate::config::TunnelConfig;
use crate::failure::SessionFailure;
use crate::state::State;
use sipsec_net::Instant;

/// Steps of one call kept for `show … detail`.
const PHASES_MAX: usize = 16;

#[derive(Debug)]
pub struct Tunnel {
    pub config: TunnelConfig,
    pub state: State,
    /// The dataplane has it.
    pub configured: bool,
    pub last_failure: Option<(Instant, SessionFailure)>,
    /// In a row.
    pub failures: u32,
    pub retry_at: Option<Instant>,
    /// A trigger came while no call could be made: the dataplane must be told to trigger again.
    pub trigger_waits: bool,
    pub phases: Vec<(&'static str, Instant)>,
}

impl Tunnel {
    pub const fn new(config: TunnelConfig) -> Self {
        Self {
            config,
            state: State::Ready,
            configured: false,
            last_failure: None,
            failures: 0,
            retry_at: None,
            trigger_waits: false,
            phases: Vec::new(),
        }
    }

    pub fn phase(&mut self, now: Instant, name: &'static str) {
        if self.phases.len() < PHASES_MAX {
            self.phases.push((name, now));
        }
    }

    pub fn ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    pub fn due(&self) -> Option<Instant> {
        [self.state.due(), self.retry_at].into_iter().flatten().min()
    }
}
