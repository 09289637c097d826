//! Time: retransmissions, soft and hard limits, leftovers (RFC 7296 §2.8).

use super::AnswerChild;
use super::child::Stage;
use crate::ctx::Ctx;
use crate::error::{CloseCause, IkeError};
use crate::exchange::ike_sa::Timeout;
use crate::output::{ChildDownCause, ChildId, Event};
use crate::state::established::{End, Standing};
use crate::state::{Established, State};
use sipsec_net::Instant;

impl Established {
    pub fn deadline(&self, ctx: &Ctx) -> Option<Instant> {
        let slots = self.slots.iter().flat_map(|s| {
            let until = match s.standing {
                Standing::AwaitDelete { until }
                | Standing::Gone { until }
                | Standing::Outlived { until, .. } => Some(until),
                _ => None,
            };
            [s.sa.deadline(), until]
        });
        let children = self.children.iter().flat_map(|c| match c.stage {
            Stage::Retired { until } => [Some(until), None],
            Stage::Live => [Some(c.rekey_at), Some(c.expires_at)],
            _ => [Some(c.expires_at), None],
        });
        let asked = [self.dpd_due(ctx), self.keepalive_due(ctx), self.guard_due(), self.probe_due(ctx)];
        let own = [Some(self.rekey_at), Some(self.expires_at), self.childless_until];
        let awaited = self.answer_ikes.iter().map(|a| a.awaited_until);
        let awaited = awaited.chain(self.answer_children.iter().map(AnswerChild::awaited_until));
        slots.chain(children).chain(own).chain(asked).chain(awaited).flatten().min()
    }

    pub fn on_timeout(mut self: Box<Self>, ctx: &mut Ctx, now: Instant) -> State {
        let mut result = self.poll_requests(ctx, now);
        if result.is_ok() {
            result = self.poll_followups(ctx, now).and_then(|()| self.poll_lifetimes(ctx, now));
            self.poll_dpd(ctx, now);
            self.poll_probe(ctx, now);
            self.poll_keepalive(ctx, now);
        }
        self.proceed(ctx, now, result)
    }

    /// No different from the end of its time.
    pub fn on_expired(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, id: ChildId) -> State {
        if let Some(child) = self.child_mut(id).filter(|c| matches!(c.stage, Stage::Live | Stage::Binding)) {
            child.expires_at = now;
        }
        let result = self.poll_lifetimes(ctx, now);
        self.proceed(ctx, now, result)
    }

    fn poll_requests(&mut self, ctx: &mut Ctx, now: Instant) -> Result<(), End> {
        let mut silent = Vec::new();
        let heard = Some(ctx.last_heard);
        for slot in &mut self.slots {
            let Timeout::GaveUp(unanswered) = slot.sa.on_timeout(ctx, now, heard) else { continue };
            if slot.standing == Standing::Current {
                return Err(End::Failed { error: IkeError::NoResponse(unanswered), keep: None });
            }
            silent.push(slot.sa.local_spi());
        }
        self.keep_slots(|s| match s.standing {
            Standing::AwaitDelete { until } | Standing::Gone { until } => now < until,
            Standing::Redundant => !silent.contains(&s.sa.local_spi()),
            Standing::Current | Standing::Candidate | Standing::Outlived { .. } => true,
        });
        Ok(())
    }

    fn poll_lifetimes(&mut self, ctx: &mut Ctx, now: Instant) -> Result<(), End> {
        self.poll_childless(now)?;
        let replaced: Vec<_> = self
            .children
            .iter()
            .filter(|c| c.stage == Stage::Live && c.expires_at <= now)
            .filter_map(|c| Some((c.id, self.successor(c.id)?)))
            .collect();
        for (old, next) in replaced {
            // The peer has rekeyed it but never deleted it.
            self.bind(ctx, next);
            self.retire(ctx, now, old);
        }
        let sends = |stage| matches!(stage, Stage::Live | Stage::Binding);
        let spent = self.children.iter().any(|c| sends(c.stage) && c.expires_at <= now);
        if spent || self.expires_at <= now {
            // RFC 7296 §2.8: if rekeying fails, the IKE SA and its CHILD_SAs MUST be closed.
            return Err(End::Closed { cause: CloseCause::HardLimit, keep: None });
        }
        for c in self.children.extract_if(.., |c| match c.stage {
            Stage::Retired { until } => until <= now,
            Stage::Live | Stage::Binding => false,
            _ => c.expires_at <= now,
        }) {
            // The dataplane does not have a redundant one, or not any more.
            if c.stage != Stage::Redundant {
                ctx.event(Event::ChildSaDown { child: c.id, cause: ChildDownCause::Replaced });
            }
        }
        let due: Vec<_> = self
            .children
            .iter()
            .filter(|c| c.stage == Stage::Live && c.rekey_at <= now)
            .map(|c| c.id)
            .collect();
        for id in due {
            self.want_rekey_child(ctx, now, id);
        }
        if self.rekey_at <= now {
            self.want_rekey_ike(ctx, now);
        }
        Ok(())
    }
}
