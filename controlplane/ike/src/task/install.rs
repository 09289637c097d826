//! The dataplane has applied, or refused, what an event asked for.

use super::Todo;
use super::child::Stage;
use super::handover::GUARD;
use crate::ctx::Ctx;
use crate::error::IkeError;
use crate::output::{ChildDownCause, ChildId, Event};
use crate::state::established::{End, Held};
use crate::state::{Established, State};
use crate::wire::{Chain, NotifyType};
use sipsec_net::Instant;

impl Established {
    pub fn on_installed(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, id: ChildId) -> State {
        if let Some(child) = self.child_mut(id) {
            match child.stage {
                Stage::Installing { standby_of: Some(replaces) } => {
                    child.stage = Stage::Standby { replaces, guard: now + GUARD };
                }
                Stage::Installing { standby_of: None } | Stage::Binding => {
                    child.stage = Stage::Live;
                    // Those that wait for this one to carry the traffic.
                    let replaced: Vec<_> =
                        self.children.iter().filter(|c| c.stage == Stage::Deleting).map(|c| c.id).collect();
                    for old in replaced {
                        self.enqueue(Todo::DeleteChild(old));
                    }
                }
                _ => {}
            }
        }
        if self.child(id).is_some_and(|c| c.generation == self.generation) {
            self.delete_outlived(ctx, now, |ours, _| ours);
        }
        self.release(ctx, id, None);
        self.proceed(ctx, now, Ok(()))
    }

    pub fn on_rejected(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, id: ChildId) -> State {
        let alone = !self.children.iter().any(|c| c.id != id && c.is_live() || c.stage == Stage::Deleting);
        // The peer is on it, and has deleted the one that the dataplane would go on sending on.
        let binding = self.child(id).is_some_and(|c| c.stage == Stage::Binding);
        self.release(ctx, id, Some(NotifyType::TEMPORARY_FAILURE));
        if alone || binding {
            return self.proceed(ctx, now, Err(End::Failed { error: IkeError::InstallRejected, keep: None }));
        }
        let unanswered = self.child(id).map(|c| c.stage);
        if unanswered == Some(Stage::Installing { standby_of: None }) {
            // The peer has it: it must go there, and the old one stays.
            if let Some(c) = self.child_mut(id) {
                c.stage = Stage::Redundant;
            }
            for c in self.children.iter_mut().filter(|c| c.stage == Stage::Deleting) {
                c.stage = Stage::Live;
            }
            self.enqueue(Todo::DeleteChild(id));
        } else {
            self.children.retain(|c| c.id != id);
        }
        ctx.event(Event::ChildSaDown { child: id, cause: ChildDownCause::Abandoned });
        self.proceed(ctx, now, Ok(()))
    }

    /// Sends the responses that waited for `child`, or an error instead.
    fn release(&mut self, ctx: &mut Ctx, child: ChildId, error: Option<NotifyType>) {
        while let Some(i) = self.held.iter().position(|h| h.child == child) {
            let Held { slot, hold, .. } = self.held.swap_remove(i);
            let mut chain = hold.chain;
            if let Some(kind) = error {
                chain = Chain::new();
                chain.notify(kind, &[]);
            }
            self.reply(ctx, slot, hold.exchange, hold.id, chain);
        }
    }
}
