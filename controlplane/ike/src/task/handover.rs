//! Sending goes over from a CHILD_SA to its successor, which the peer has made (RFC 7296 §2.8).
//!
//! The responder of a rekey goes on sending on the old SA until it knows that the peer has the new one:
//! ```text
//!              a packet on the new SA, or GUARD passes
//! Standby ───────────────────────────────────────────────► Binding ─► Live      (the old: Superseded, receives on)
//!    └──────── the peer's DELETE of the old one ─────────► Binding ─► Live      (the old: Retired, lingers)
//! ```

use super::Todo;
use super::child::{Child, Stage};
use crate::ctx::Ctx;
use crate::output::ChildId;
use crate::state::{Established, State};
use core::time::Duration;
use sipsec_net::Instant;

/// A peer that neither sends on the new SA nor deletes the old one: how long we go on sending on the old one. The peer has
/// our answer by then, or repeats its request.
pub(crate) const GUARD: Duration = Duration::from_secs(30);
/// How long a peer may leave an SA undeleted that its own rekey has replaced.
pub(crate) const SUPERSEDED_FOR: Duration = Duration::from_secs(180);

impl Established {
    /// The dataplane has taken a first packet on the inbound SA of `id`: its ICV held and it was no replay.
    pub fn on_inbound_used(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, id: ChildId) -> State {
        if let Some(child) = self.child_mut(id) {
            child.used = true;
        }
        self.proceed(ctx, now, Ok(()))
    }

    /// RFC 7296 §2.8.1: which SA of a crossing rekey stays is decided by the nonces, not by its use. So not while our own
    /// rekey of `replaced` is undecided, nor after it has won. If `replaced` went without a successor, this one is it.
    fn may_take_over(&self, replaced: ChildId) -> bool {
        let carries = |stage| {
            matches!(stage, Stage::Live | Stage::Binding | Stage::Standby { .. } | Stage::Superseded { .. })
        };
        let left = self.child(replaced).is_some_and(|c| carries(c.stage)) || self.sending_child().is_none();
        left && !self.is_rekeying_child(replaced)
    }

    /// When the guard of a successor passes, or the time of a superseded one.
    pub(crate) fn guard_due(&self) -> Option<Instant> {
        let guards = self.children.iter().filter_map(|c| match c.stage {
            Stage::Standby { replaces, guard } if self.may_take_over(replaces) => Some(guard),
            Stage::Superseded { until } => Some(until),
            _ => None,
        });
        guards.min()
    }

    pub(crate) fn poll_handover(&mut self, ctx: &mut Ctx, now: Instant) {
        let alone = self.sending_child().is_none();
        let ready = self.children.iter().rfind(|c| match c.stage {
            Stage::Standby { replaces, guard } => {
                (c.used || guard <= now || alone) && self.may_take_over(replaces)
            }
            _ => false,
        });
        if let Some(next) = ready.map(|c| c.id) {
            self.take_over(ctx, now, next);
        }
        let left = |c: &&Child| matches!(c.stage, Stage::Superseded { until } if until <= now);
        for (id, generation) in
            self.children.iter().filter(left).map(|c| (c.id, c.generation)).collect::<Vec<_>>()
        {
            if generation != self.generation {
                // Its IKE SA goes, and takes it along.
                self.retire(ctx, now, id);
            } else if let Some(child) = self.child_mut(id) {
                child.stage = Stage::Deleting;
                self.enqueue(Todo::DeleteChild(id));
            }
        }
    }

    /// `next` sends; all that it replaces, directly or through others that were never used, receive only.
    pub(super) fn take_over(&mut self, ctx: &mut Ctx, now: Instant, next: ChildId) {
        let until = now + SUPERSEDED_FOR;
        let mut replaced = match self.child(next).map(|c| c.stage) {
            Some(Stage::Standby { replaces, .. }) => Some(replaces),
            _ => None,
        };
        while let Some(child) = replaced.take().and_then(|id| self.child_mut(id)) {
            if let Stage::Standby { replaces, .. } = child.stage {
                replaced = Some(replaces);
                child.stage = Stage::Superseded { until };
            }
        }
        for child in &mut self.children {
            if matches!(child.stage, Stage::Live | Stage::Binding) {
                child.stage = Stage::Superseded { until };
            }
        }
        let spent: Vec<_> = self
            .children
            .iter()
            .filter(|c| matches!(c.stage, Stage::Superseded { .. }))
            .map(|c| c.id)
            .collect();
        self.queue.retain(|t| !matches!(t, Todo::RekeyChild(id) if spent.contains(id)));
        self.bind(ctx, next);
    }
}
