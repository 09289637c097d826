//! Dead peer detection (RFC 7296 §2.4): an empty INFORMATIONAL request. Its answer, like any protected message, proves
//! life; its silence, after all retransmissions, ends the SA.

use super::{Task, Todo};
use crate::config::DpdMode;
use crate::ctx::Ctx;
use crate::state::Established;
use crate::wire::{Chain, Exchange};
use sipsec_net::Instant;

impl Established {
    /// When to ask next.
    pub(crate) fn dpd_due(&self, ctx: &Ctx) -> Option<Instant> {
        // An outstanding request asks the same question.
        if !self.current().sa.can_request() || self.queue.contains(&Todo::Dpd) {
            return None;
        }
        let since = match ctx.config.dpd.mode {
            DpdMode::Off => return None,
            DpdMode::OnDemand => self.dpd_asked_at.max(ctx.last_heard),
            DpdMode::Periodic => self.dpd_asked_at,
        };
        Some(since + ctx.config.dpd.interval)
    }

    pub(crate) fn poll_dpd(&mut self, ctx: &Ctx, now: Instant) {
        if self.dpd_due(ctx).is_some_and(|due| due <= now) {
            self.enqueue(Todo::Dpd);
        }
    }

    pub(crate) fn ask_alive(&mut self, ctx: &mut Ctx, now: Instant) {
        self.dpd_asked_at = now;
        self.dpd_suspects_path = ctx.last_data > ctx.last_heard;
        ctx.counters.dpd_sent += 1;
        self.current_mut().sa.request(ctx, now, Exchange::INFORMATIONAL, Chain::new(), Task::Dpd);
    }
}
