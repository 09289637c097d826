//! What all CREATE_CHILD_SA requests of the peer have in common (RFC 7296 §1.3).

use super::child::Stage;
use super::{Task, rekey_ike};
use crate::algorithm::DhGroup;
use crate::compute::Outcome;
use crate::ctx::Ctx;
use crate::error::IkeError;
use crate::exchange::Incoming;
use crate::state::Established;
use crate::state::established::End;
use crate::wire::notify::{PROTOCOL_ESP, PROTOCOL_IKE};
use crate::wire::{Chain, Exchange, Message, NotifyType};
use sipsec_net::Instant;

impl Established {
    pub(crate) fn answer_create_child(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        slot: u64,
        incoming: &Incoming,
        m: &Message<'_>,
    ) -> Result<(), End> {
        // RFC 7296 §2.25.2: nothing is made on an SA that is being closed or replaced.
        let is_current = self.current().sa.local_spi() == slot;
        let for_ike = m.sa.as_ref().is_some_and(|p| p.iter().any(|p| p.protocol == PROTOCOL_IKE));
        if !is_current {
            return self.refuse(ctx, slot, incoming, NotifyType::TEMPORARY_FAILURE, &[]);
        }
        if !self.budget.take(now) {
            return self.refuse(ctx, slot, incoming, NotifyType::TEMPORARY_FAILURE, &[]);
        }
        if for_ike {
            // RFC 7296 §2.25.1: not while a CHILD_SA is being made or closed by us.
            if self.child_work_outstanding()
                || self.is_following_up_ike()
                || self.slots.len() >= rekey_ike::SLOTS_MAX
            {
                return self.refuse(ctx, slot, incoming, NotifyType::TEMPORARY_FAILURE, &[]);
            }
            return self.answer_rekey_ike(ctx, slot, incoming, m);
        }
        if self.rekeying_ike() || !self.answer_ikes.is_empty() {
            return self.refuse(ctx, slot, incoming, NotifyType::TEMPORARY_FAILURE, &[]);
        }
        let Some(rekey) = m.notify(NotifyType::REKEY_SA) else {
            return self.answer_new_child(ctx, now, slot, incoming, m);
        };
        let old = rekey.esp_spi().and_then(|spi| self.children.iter().find(|c| c.spi_out.get() == spi));
        match old.map(|c| (c.id, c.stage)) {
            // RFC 9370 §2.2.4: the peer has answered ours, and knows.
            Some((id, _)) if self.is_following_up(id) => {
                self.refuse(ctx, slot, incoming, NotifyType::TEMPORARY_FAILURE, &[])
            }
            Some((id, Stage::Live | Stage::Standby { .. } | Stage::Binding | Stage::Superseded { .. })) => {
                self.answer_child(ctx, now, slot, incoming, m, Some(id))
            }
            Some((_, Stage::Deleting | Stage::Redundant | Stage::Installing { .. })) => {
                self.refuse(ctx, slot, incoming, NotifyType::TEMPORARY_FAILURE, &[])
            }
            // It may be the one that we ask for, of which the answer is late.
            None if self.child_work_outstanding() => {
                self.refuse(ctx, slot, incoming, NotifyType::TEMPORARY_FAILURE, &[])
            }
            Some((_, Stage::Retired { .. })) | None => {
                // RFC 7296 §2.25: the SPI is copied from the REKEY_SA notification.
                let mut chain = Chain::new();
                let (protocol, spi) = (PROTOCOL_ESP, rekey.spi);
                chain.notify_spi(protocol, spi, NotifyType::CHILD_SA_NOT_FOUND, &[]);
                self.reply(ctx, slot, incoming.exchange, incoming.id, chain);
                Ok(())
            }
        }
    }

    /// RFC 7296 §1.3.1. A call has one CHILD_SA: a further one is refused, a first one (after a loss) is made.
    fn answer_new_child(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        slot: u64,
        incoming: &Incoming,
        m: &Message<'_>,
    ) -> Result<(), End> {
        if self.children.iter().any(|c| c.is_live() || matches!(c.stage, Stage::Installing { .. })) {
            return self.refuse(ctx, slot, incoming, NotifyType::NO_ADDITIONAL_SAS, &[]);
        }
        self.answer_child(ctx, now, slot, incoming, m, None)
    }

    /// The SA goes on.
    pub(crate) fn refuse(
        &mut self,
        ctx: &mut Ctx,
        slot: u64,
        incoming: &Incoming,
        kind: NotifyType,
        data: &[u8],
    ) -> Result<(), End> {
        let mut chain = Chain::new();
        chain.notify(kind, data);
        self.reply(ctx, slot, incoming.exchange, incoming.id, chain);
        Ok(())
    }

    /// RFC 7296 §2.21.3: INVALID_SYNTAX is fatal at both ends, without a DELETE.
    pub(crate) fn invalid_syntax(
        &mut self,
        ctx: &mut Ctx,
        slot: u64,
        incoming: &Incoming,
        error: IkeError,
    ) -> Result<(), End> {
        self.refuse(ctx, slot, incoming, NotifyType::INVALID_SYNTAX, &[])?;
        Err(End::Failed { error, keep: Some(slot) })
    }

    /// The key exchange of the peer's request came to nothing: its value is none of the group (RFC 7296 §2.21.3), or the
    /// fault is ours and passes.
    pub(super) fn not_computed(
        &mut self,
        ctx: &mut Ctx,
        (slot, exchange, id): (u64, Exchange, u32),
        group: Option<DhGroup>,
        outcome: &Outcome,
    ) -> Result<(), End> {
        let fault = group.filter(|_| matches!(outcome, Outcome::BadPeerValue));
        let mut chain = Chain::new();
        let kind = fault.map_or(NotifyType::TEMPORARY_FAILURE, |_| NotifyType::INVALID_SYNTAX);
        chain.notify(kind, &[]);
        self.reply(ctx, slot, exchange, id, chain);
        match fault {
            Some(group) => Err(End::Failed { error: IkeError::BadKeyExchange { group }, keep: Some(slot) }),
            None => Ok(()),
        }
    }

    /// We are rekeying or closing a CHILD_SA, as far as the peer can know.
    fn child_work_outstanding(&self) -> bool {
        let asked = matches!(self.current().sa.task(), Some(Task::RekeyChild(_) | Task::DeleteChildren(_)));
        asked || self.agree_child.is_some()
    }

    pub(crate) fn rekeying_ike(&self) -> bool {
        matches!(self.current().sa.task(), Some(Task::RekeyIke(_))) || self.agree_ike.is_some()
    }
}
