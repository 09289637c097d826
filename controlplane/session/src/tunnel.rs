//! A configured tunnel and its session.

use crate::config::TunnelConfig;
use crate::failure::SessionFailure;
use crate::state::State;
use sipsec_net::Instant;
use sipsec_net::dp::PacketSummary;

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
    /// The packet that the dataplane last asked a call for, and when. Kept until a call is up for it or it is flushed.
    pub trigger: Option<(Instant, PacketSummary)>,
    /// The last attempt found the peer busy, most likely calling us.
    pub gave_way: bool,
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
            trigger: None,
            gave_way: false,
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
