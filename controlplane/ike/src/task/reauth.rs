//! A new IKE SA takes the place of this one in the same call (RFC 7296 §2.8.3): both sides have proven themselves anew.
//!
//! The IKE SAs and CHILD_SAs of the earlier authentication are kept until their DELETE: the CHILD_SAs go on receiving, and
//! the traffic goes over as in a rekey (`handover.rs`).

use super::child::{Child, Stage};
use super::handover::SUPERSEDED_FOR;
use super::{Task, Todo};
use crate::ctx::Ctx;
use crate::exchange::IkeSa;
use crate::output::{ChildDownCause, ChildId, Event};
use crate::state::Established;
use crate::state::ended::answer_to;
use crate::state::established::{Slot, Standing};
use core::time::Duration;
use sipsec_net::Instant;

/// How long a peer that has reauthenticated may leave the earlier IKE SA undeleted.
const OUTLIVED_FOR: Duration = Duration::from_secs(60);
/// RFC 4478 §2: the initiator reauthenticates before the lifetime has passed; this long before, if the lifetime is longer
/// than twice that.
const MARGIN: Duration = Duration::from_secs(20);
/// A peer cannot make us authenticate more often: each time costs a key exchange and a signature.
const EVERY_MIN: Duration = Duration::from_secs(5);
/// IKE SAs of before that are still answered for, after the peer deleted them.
const FOLLOWED_MAX: usize = 2;
/// Between tries.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// A peer that asks for a new IKE SA while this one is up may have lost it: it is asked at once whether it lives, at most
/// once in this time.
const SUSPECT_EVERY: Duration = Duration::from_secs(5);

/// When to authenticate anew, after AUTH_LIFETIME was received.
pub(crate) fn reauth_after(lifetime: Duration) -> Duration {
    lifetime.saturating_sub(MARGIN.max(lifetime / 10)).max(lifetime / 2).max(EVERY_MIN)
}

/// RFC 4478 §3: four octets, in seconds.
pub(crate) fn auth_lifetime(data: &[u8]) -> Option<Duration> {
    let seconds = u32::from_be_bytes(data.try_into().ok()?);
    Some(Duration::from_secs(seconds.into()))
}

impl Established {
    /// The CHILD_SA that carries the traffic out.
    pub fn sending_child(&self) -> Option<ChildId> {
        let sends = |c: &&Child| {
            matches!(c.stage, Stage::Live | Stage::Binding | Stage::Installing { standby_of: None })
        };
        self.children.iter().rfind(sends).map(|c| c.id)
    }

    pub fn want_reauth(&mut self, now: Instant) {
        let earliest = now.max(self.established_at + EVERY_MIN);
        self.reauth_at = Some(self.reauth_at.map_or(earliest, |at| at.min(earliest)));
    }

    /// Ours came to nothing, or is under way.
    pub fn put_off_reauth(&mut self, ctx: &mut Ctx, now: Instant) {
        self.reauth_at = Some(now + RETRY_AFTER + ctx.jittered(RETRY_AFTER, 100));
    }

    /// RFC 4478 §2: the responder of IKE_AUTH says how long its initiator may stay authenticated.
    pub(super) fn heed_auth_lifetime(&mut self, now: Instant, data: &[u8]) {
        if let Some(lifetime) = auth_lifetime(data).filter(|_| self.asked) {
            self.reauth_at = Some(now + reauth_after(lifetime));
        }
    }

    /// The peer may not have this IKE SA any more.
    pub fn suspect(&mut self, now: Instant) {
        if self.dpd_asked_at + SUSPECT_EVERY <= now && self.current().sa.can_request() {
            self.enqueue(Todo::Dpd);
        }
    }

    /// Takes the place of `old`. `ours`: we began.
    pub fn succeed(&mut self, ctx: &mut Ctx, now: Instant, mut old: Self, ours: bool) {
        old.drop_early(ctx);
        ctx.counters.reauthentications += 1;
        let forgotten = self.peer_forgot();
        let Self { slots, children, budget, .. } = old;
        self.budget = budget;
        let (linger, superseded) = (now + ctx.config.linger, now + SUPERSEDED_FOR);
        let mut kept = Vec::with_capacity(children.len() + 1);
        for mut child in children {
            child.stage = match child.stage {
                Stage::Redundant => continue,
                // Its answer has not gone out, so the peer does not have it.
                Stage::Installing { standby_of: Some(_) } => {
                    ctx.event(Event::ChildSaDown { child: child.id, cause: ChildDownCause::Abandoned });
                    continue;
                }
                stage @ Stage::Retired { .. } => stage,
                _ if forgotten => Stage::Retired { until: linger },
                stage @ (Stage::Live | Stage::Binding | Stage::Standby { .. }) if !ours => stage,
                _ => Stage::Superseded { until: superseded },
            };
            kept.push(child);
        }
        kept.append(&mut self.children);
        self.children = kept;
        if !forgotten {
            let until = now + OUTLIVED_FOR;
            self.slots.extend(slots.into_iter().map(|slot| outlived(ctx, slot, ours, until)));
        }
    }

    /// The peer has deleted the IKE SA before; its requests are answered for a while.
    pub fn follow(&mut self, ctx: &mut Ctx, now: Instant, sas: Vec<IkeSa>) {
        ctx.counters.reauthentications += 1;
        let standing = Standing::Gone { until: now + super::rekey_ike::GONE_FOR };
        let newest = sas.into_iter().rev().take(FOLLOWED_MAX);
        self.slots.extend(newest.map(|sa| Slot { sa, standing, generation: 0 }));
    }

    /// The new CHILD_SA is in the dataplane, so the earlier IKE SA goes, if that is for us to do.
    pub(super) fn delete_outlived(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        due: impl Fn(bool, Instant) -> bool,
    ) {
        for slot in &mut self.slots {
            if let Standing::Outlived { ours, until } = slot.standing
                && due(ours, until)
            {
                slot.standing = Standing::Redundant;
                slot.sa.delete(ctx, now);
            }
        }
    }

    /// CHILD_SAs end with the IKE SA that they come from (RFC 7296 §1.4.1). The one that takes over, if one has to.
    pub(crate) fn poll_outlived(&mut self, ctx: &mut Ctx, now: Instant) -> Option<ChildId> {
        self.delete_outlived(ctx, now, |_, until| until <= now);
        let current = self.generation;
        let lives = |slot: &Slot| matches!(slot.standing, Standing::Outlived { .. } | Standing::Redundant);
        let gone: Vec<_> = self
            .children
            .iter()
            .filter(|c| c.generation != current && !matches!(c.stage, Stage::Retired { .. }))
            .filter(|c| !self.slots.iter().any(|s| s.generation == c.generation && lives(s)))
            .map(|c| (c.id, c.stage))
            .collect();
        let sends = |stage: &Stage| matches!(stage, Stage::Live | Stage::Binding);
        let next = gone.iter().any(|(_, stage)| sends(stage)).then(|| {
            let standby = |c: &&Child| c.generation == current && matches!(c.stage, Stage::Standby { .. });
            self.children.iter().rfind(standby).map(|c| c.id)
        });
        let next = next.flatten();
        if let Some(next) = next {
            self.take_over(ctx, now, next);
        }
        for (id, _) in gone {
            self.retire(ctx, now, id);
        }
        next
    }
}

/// An IKE SA of the earlier authentication: nothing more is asked or made there, and what the peer has asked is answered.
fn outlived(ctx: &mut Ctx, slot: Slot, ours: bool, until: Instant) -> Slot {
    let Slot { mut sa, standing, generation } = slot;
    if !matches!(sa.task(), Some(Task::DeleteIke)) {
        let _ = sa.abandon_request();
    }
    if let Some((exchange, id)) = sa.unanswered() {
        sa.respond(ctx, exchange, id, answer_to(exchange));
    }
    let standing = match standing {
        Standing::Current | Standing::Candidate => Standing::Outlived { ours, until },
        other => other,
    };
    Slot { sa, standing, generation }
}
