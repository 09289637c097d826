//! Probes of the path (RFC 8899 §4.1): an INFORMATIONAL request that a notify of private use fills up to the size in question.
//! Every peer answers it (RFC 7296 §1.4, §3.10.1). Without an answer the same exchange goes on without padding, so a size that does
//! not pass costs no IKE SA, and silence in the end means what it means for dead peer detection.

use super::{Task, Todo};
use crate::ctx::Ctx;
use crate::output::Event;
use crate::state::{Established, State};
use core::time::Duration;
use sipsec_net::Instant;

impl Established {
    /// When to probe next.
    pub(crate) fn probe_due(&self, ctx: &Ctx) -> Option<Instant> {
        let probe = ctx.config.probe?;
        if !self.current().sa.can_request() || self.queue.contains(&Todo::Probe) {
            return None;
        }
        let due = ctx.path.search.due()?;
        Some(if probe.quiet.is_zero() { due } else { due.max(ctx.last_data + probe.quiet) })
    }

    pub(crate) fn poll_probe(&mut self, ctx: &Ctx, now: Instant) {
        if self.probe_due(ctx).is_some_and(|due| due <= now) {
            self.enqueue(Todo::Probe);
        }
    }

    pub(crate) fn probe_path(&mut self, ctx: &mut Ctx, now: Instant) {
        let sa = &mut self.current_mut().sa;
        if let Some(len) = ctx.path.next_probe(now, |len| sa.probe_len(len)) {
            sa.probe(ctx, now, len, Task::Probe);
        }
    }

    /// The largest packet that leaves towards the peer.
    pub(crate) fn on_path_ceiling(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, mtu: u16) -> State {
        ctx.path.search.set_ceiling(now, mtu);
        let limit = ctx.path.message_len(mtu);
        let sa = &mut self.current_mut().sa;
        if sa.probe_under_way().is_some_and(|len| len > limit) {
            sa.give_up_probe(ctx, now);
        }
        self.poll_probe(ctx, now);
        self.proceed(ctx, now, Ok(()))
    }

    /// A peer that was asked whether it lives has answered. If ESP went out before and nothing came back, what is missing may
    /// be large packets.
    pub(crate) fn suspect_path(&mut self, ctx: &mut Ctx, now: Instant) {
        let at_once = ctx.config.probe.is_some_and(|probe| probe.quiet == Duration::ZERO);
        if core::mem::take(&mut self.dpd_suspects_path) && at_once {
            ctx.path.search.suspect(now);
        }
    }

    pub(crate) fn report_path(&self, ctx: &mut Ctx) {
        if let Some(mtu) = ctx.path.search.take_change() {
            ctx.event(Event::PathMtu { mtu });
        }
    }
}
