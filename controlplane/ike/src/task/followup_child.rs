//! The additional key exchange in the making of a CHILD_SA (RFC 9370 §2.2.4). The SA is made when it is over:
//! ```text
//! initiator                                                        responder
//!   ├─ CREATE_CHILD_SA: SA, Ni, KEi, TSi, TSr ────────────────────────▶│
//!   │◀──── SA, Nr, KEr, TSi, TSr, N(ADDITIONAL_KEY_EXCHANGE, link) ────┤ waits (AWAITED_FOR)
//!   ├─ IKE_FOLLOWUP_KE: KEi(1), N(ADDITIONAL_KEY_EXCHANGE, link) ─────▶│ makes the SA
//!   │◀───────────────────────────────────────────────────── KEr(1) ────┤
//!   │ makes the SA
//! ```

use super::answer_child::AnswerChild;
use super::child::Stage;
use super::{RekeyChild, Task};
use crate::ctx::Ctx;
use crate::output::ChildId;
use crate::secret::Secret;
use crate::state::Established;
use crate::state::established::End;
use crate::wire::{Chain, Exchange, Message};
use sipsec_net::{Instant, Spi};

/// What is known of a CHILD_SA of the peer's until its additional key exchange.
pub(crate) struct Second {
    /// As our answer has it.
    pub spi_in: Spi,
    /// SK(0).
    pub first: Secret,
    /// The peer has to go on by then; `None` once it has.
    pub awaited_until: Option<Instant>,
}

/// The SPI is of this CHILD_SA alone. Those of IKE SAs are longer.
pub(super) fn link(spi_in: Spi) -> [u8; 4] {
    spi_in.get().to_be_bytes()
}

impl Established {
    /// Our request for a CHILD_SA is past its CREATE_CHILD_SA. Nothing else is asked until it is over.
    pub(crate) fn is_following_up_child(&self) -> bool {
        self.agree_child.as_ref().is_some_and(|a| a.followup.is_some())
    }

    /// The same, for what takes the place of `old`.
    pub(super) fn is_following_up(&self, old: ChildId) -> bool {
        self.agree_child.as_ref().is_some_and(|a| a.followup.is_some() && a.task.old == old)
    }

    /// Whether a crossing rekey of the peer goes on and ours does not. RFC 9370 §2.2.4: the one that made the lowest nonce
    /// MUST NOT go on with IKE_FOLLOWUP_KE.
    pub(super) fn is_child_decided_against(&mut self, task: &RekeyChild, ours: &[u8], more: bool) -> bool {
        let Some((rival, lowest)) = &task.rival else { return false };
        if ours > lowest.as_slice() {
            // The peer does not go on with its own.
            self.forget_awaited_children(|a| a.child == *rival);
            return false;
        }
        more
    }

    pub(super) fn ask_followup_child(&mut self, ctx: &mut Ctx, now: Instant, chain: Chain) {
        // Nothing else is asked while the rekey is under way, so the window is free.
        self.current_mut().sa.request(ctx, now, Exchange::IKE_FOLLOWUP_KE, chain, Task::FollowupChild);
    }

    pub(crate) fn on_followup_child_answer(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        m: &Message<'_>,
    ) -> Result<(), End> {
        let Some(mut ours) = self.agree_child.take() else { return Ok(()) };
        if let Some(n) = m.error() {
            // RFC 9370 §2.2.4: with STATE_NOT_FOUND, the whole series has failed.
            return self.on_rekey_child_refused(ctx, now, ours.task, n.kind, n.data);
        }
        match ours.followup.as_ref().and_then(|f| f.agree(ctx, m)) {
            Some(job) => {
                ours.job = job;
                self.agree_child = Some(ours);
                Ok(())
            }
            None => self.rekey_child_unusable(ctx, now, &ours.task),
        }
    }

    /// The peer has its answer to CREATE_CHILD_SA. Should ours have won over it, it will not go on.
    pub(super) fn await_followup_child(&mut self, request: AnswerChild) {
        let lost = self
            .agree_child
            .as_ref()
            .is_some_and(|ours| Some(ours.task.old) == request.old && ours.lowest() > request.lowest());
        let replaced =
            request.old.and_then(|old| self.child(old)).is_some_and(|old| old.stage == Stage::Deleting);
        if lost || replaced {
            return self.forget_rival(request.child);
        }
        self.answer_children.push(request);
    }

    /// What the peer has begun and is not to go on with.
    pub(super) fn forget_awaited_children(&mut self, which: impl Fn(&AnswerChild) -> bool) {
        let gone = self.answer_children.extract_if(.., |a| a.awaited_until().is_some() && which(a));
        for rival in gone.map(|a| a.child).collect::<Vec<_>>() {
            self.forget_rival(rival);
        }
    }

    /// The request of the peer that waits for this IKE_FOLLOWUP_KE.
    pub(super) fn awaited_child(&mut self, slot: u64, given: Option<&[u8]>) -> Option<&mut AnswerChild> {
        self.answer_children.iter_mut().find(|a| {
            let awaited = a.second.as_ref().filter(|second| second.awaited_until.is_some());
            a.slot == slot && awaited.is_some_and(|second| given == Some(link(second.spi_in).as_slice()))
        })
    }
}
