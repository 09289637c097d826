//! Deletion, ours and the peer's (RFC 7296 §1.4.1, §2.25).

use super::child::{Child, Stage};
use super::{Task, Todo};
use crate::ctx::Ctx;
use crate::error::{CloseCause, IkeError, Party};
use crate::exchange::Incoming;
use crate::output::{ChildDownCause, ChildId, Event};
use crate::state::Established;
use crate::state::established::{End, Standing};
use crate::wire::delete::Delete;
use crate::wire::{Chain, Exchange, Message, NotifyType};
use sipsec_net::{Instant, Spi};

impl Established {
    /// Asks the peer to delete one of our CHILD_SAs.
    pub(crate) fn ask_delete(&mut self, ctx: &mut Ctx, now: Instant, id: ChildId) {
        let Some(child) = self.child(id) else { return };
        if !matches!(child.stage, Stage::Deleting | Stage::Redundant) {
            return;
        }
        let spi = child.spi_in;
        self.request_delete(ctx, now, spi, vec![id]);
    }

    /// RFC 7296 §2.21: an error in a response is not answered; what the peer has made is deleted.
    pub(crate) fn ask_delete_offered(&mut self, ctx: &mut Ctx, now: Instant, spi: Spi) {
        self.request_delete(ctx, now, spi, Vec::new());
    }

    fn request_delete(&mut self, ctx: &mut Ctx, now: Instant, spi: Spi, ids: Vec<ChildId>) {
        let mut chain = Chain::new();
        // RFC 7296 §3.11: the SPI is the one the sender would expect in inbound packets.
        chain.delete_esp(&[spi.get()]);
        let task = Task::DeleteChildren(ids);
        self.current_mut().sa.request(ctx, now, Exchange::INFORMATIONAL, chain, task);
    }

    pub(crate) fn on_deleted(&mut self, ctx: &mut Ctx, now: Instant, ids: &[ChildId]) {
        for id in ids {
            self.retire(ctx, now, *id);
        }
    }

    /// No longer in use at either end: stays for packets under way, unless the dataplane never heard of it.
    pub(crate) fn retire(&mut self, ctx: &Ctx, now: Instant, id: ChildId) {
        let until = now + ctx.config.linger;
        let Some(child) = self.child_mut(id) else { return };
        if child.stage == Stage::Redundant {
            self.children.retain(|c| c.id != id);
        } else if !matches!(child.stage, Stage::Retired { .. }) {
            child.stage = Stage::Retired { until };
        }
        self.queue.retain(|t| *t != Todo::DeleteChild(id) && *t != Todo::RekeyChild(id));
    }

    pub(crate) fn answer_informational(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        slot: u64,
        incoming: &Incoming,
        m: &Message<'_>,
    ) -> Result<(), End> {
        // RFC 7296 §2.21.2: the initiator rejected our IKE_AUTH response; there is no SA.
        for n in &m.notifies {
            let error = match n.kind {
                NotifyType::AUTHENTICATION_FAILED => IkeError::AuthenticationFailed { by: Party::Peer },
                NotifyType::INVALID_SYNTAX => IkeError::PeerNotify { notify: n.kind.0 },
                _ => continue,
            };
            self.reply(ctx, slot, incoming.exchange, incoming.id, Chain::new());
            return Err(End::Failed { error, keep: Some(slot) });
        }
        if let Some(lifetime) = m.notify(NotifyType::AUTH_LIFETIME) {
            self.heed_auth_lifetime(now, lifetime.data);
        }
        if m.deletes.contains(&Delete::Ike) {
            if self.slot(slot).is_some_and(|s| s.generation != self.generation) {
                // An earlier authentication ends, and its CHILD_SAs with it. The peer drops its half when it has our
                // answer, so we must be sending on the successor by then.
                self.set_standing(slot, Standing::Gone { until: now + super::rekey_ike::GONE_FOR });
                match self.poll_outlived(ctx, now) {
                    Some(next) => self.hold(slot, incoming.exchange, incoming.id, Chain::new(), next),
                    None => self.reply(ctx, slot, incoming.exchange, incoming.id, Chain::new()),
                }
                return Ok(());
            }
            self.reply(ctx, slot, incoming.exchange, incoming.id, Chain::new());
            return self.on_peer_deletes_ike(ctx, now, slot);
        }
        let mut chain = Chain::new();
        let mut binding = Vec::new();
        for delete in &m.deletes {
            let Delete::Esp(spis) = delete else { continue };
            let ours = self.on_peer_deletes(ctx, now, spis, &mut binding);
            if !ours.is_empty() {
                chain.delete_esp(&ours);
            }
        }
        match binding.first() {
            // The peer drops its half when it has our answer, so we must be sending on the successor by then.
            Some(child) => self.hold(slot, incoming.exchange, incoming.id, chain, *child),
            None => self.reply(ctx, slot, incoming.exchange, incoming.id, chain),
        }
        Ok(())
    }

    /// The inbound SPIs to name in the answer; `binding` gets the children that take over.
    fn on_peer_deletes(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        spis: &[u32],
        binding: &mut Vec<ChildId>,
    ) -> Vec<u32> {
        let mut ours = Vec::new();
        for spi in spis {
            let Some(child) = self.children.iter().find(|c| c.spi_out.get() == *spi) else { continue };
            let (id, spi_in, stage) = (child.id, child.spi_in, child.stage);
            match stage {
                // RFC 7296 §2.25.1: we are deleting it too, so the answer does not name it.
                Stage::Deleting | Stage::Redundant => {
                    self.retire(ctx, now, id);
                    continue;
                }
                // Answered before, or never told to the peer: nothing to name.
                Stage::Retired { .. } | Stage::Installing { .. } => continue,
                // The loser of a crossing rekey, deleted by the peer that made it.
                Stage::Standby { replaces, .. }
                    if self.child(replaces).is_some_and(|c| c.stage == Stage::Live) =>
                {
                    self.children.retain(|c| c.id != id);
                    ctx.event(Event::ChildSaDown { child: id, cause: ChildDownCause::Abandoned });
                }
                Stage::Superseded { .. } => {
                    binding.extend(self.children.iter().find(|c| c.stage == Stage::Binding).map(|c| c.id));
                    self.retire(ctx, now, id);
                }
                Stage::Standby { .. } | Stage::Binding | Stage::Live => {
                    if let Some(next) = self.successor(id).or_else(|| self.last_resort(id)) {
                        self.bind(ctx, next);
                        binding.push(next);
                        self.retire(ctx, now, id);
                    } else if self.children.iter().any(|c| c.id != id && c.is_live()) {
                        self.retire(ctx, now, id);
                    } else {
                        self.children.retain(|c| c.id != id);
                        self.queue.retain(|t| *t != Todo::RekeyChild(id));
                        ctx.event(Event::ChildSaDown { child: id, cause: ChildDownCause::PeerDeleted });
                    }
                }
            }
            ours.push(spi_in.get());
        }
        ours
    }

    /// The child that stands by to replace `old`: the newest, should the peer have made several and used none.
    pub(crate) fn successor(&self, old: ChildId) -> Option<ChildId> {
        let newest = self
            .children
            .iter()
            .rfind(|c| matches!(c.stage, Stage::Standby { replaces, .. } if replaces == old));
        newest.map(|c| c.id)
    }

    /// When the one in use goes: the newest that stands by, for any other one, or else the newest that was superseded and
    /// that the peer has not deleted.
    fn last_resort(&self, gone: ChildId) -> Option<ChildId> {
        let in_use = |c: &Child| matches!(c.stage, Stage::Live | Stage::Binding);
        if !self.child(gone).is_some_and(in_use) || self.children.iter().any(|c| c.id != gone && in_use(c)) {
            return None;
        }
        let newest =
            |wanted: fn(&Stage) -> bool| self.children.iter().rfind(|c| c.id != gone && wanted(&c.stage));
        let standby = newest(|stage| matches!(stage, Stage::Standby { .. }));
        standby.or_else(|| newest(|stage| matches!(stage, Stage::Superseded { .. }))).map(|c| c.id)
    }

    pub(crate) fn bind(&mut self, ctx: &mut Ctx, id: ChildId) {
        if let Some(c) = self.child_mut(id) {
            c.stage = Stage::Binding;
            ctx.event(Event::ChildSaBind { child: id });
        }
    }

    fn on_peer_deletes_ike(&mut self, ctx: &mut Ctx, now: Instant, slot: u64) -> Result<(), End> {
        let standing = self.slot(slot).map(|s| s.standing);
        if standing == Some(Standing::Current) {
            // RFC 7296 §2.8.2: the peer's rekey won, or it never saw ours: its new SA goes on, ours is forgotten.
            return match self.candidate() {
                Some(next) => {
                    self.forget_own_ike_rekey();
                    self.switch_to(ctx, now, next);
                    self.set_standing(slot, Standing::Gone { until: now + super::rekey_ike::GONE_FOR });
                    Ok(())
                }
                None => Err(End::Closed { cause: CloseCause::PeerDeleted, keep: Some(slot) }),
            };
        }
        // An old one, or the loser of a crossing rekey. Its answer may be lost, so it is remembered for a while.
        self.set_standing(slot, Standing::Gone { until: now + super::rekey_ike::GONE_FOR });
        Ok(())
    }
}
