//! The additional key exchange in a rekey: IKE_FOLLOWUP_KE (RFC 9370 §2.2.4). Of a CHILD_SA, see `followup_child.rs`; of the
//! IKE SA, on the old one, here.

use super::rekey_ike::{AgreeIke, unusable};
use super::{AnswerIke, Task};
use crate::algorithm::DhGroup;
use crate::compute::{Job, JobId};
use crate::ctx::Ctx;
use crate::exchange::Incoming;
use crate::secret::Secret;
use crate::state::Established;
use crate::state::established::End;
use crate::state::missing;
use crate::wire::{Chain, Exchange, Message, NotifyType};
use core::time::Duration;
use sipsec_net::Instant;

/// A peer that has our answer to CREATE_CHILD_SA goes on by then, or not at all. Longer than its retransmissions.
pub(super) const AWAITED_FOR: Duration = Duration::from_secs(20);
/// What links the exchanges is the responder's to choose; a peer's is copied if it is not longer than this.
const LINK_LEN_MAX: usize = 256;

/// These, or none. Without any there is nothing to leave out.
pub(super) fn or_none(groups: impl Iterator<Item = Option<DhGroup>>) -> Vec<Option<DhGroup>> {
    let mut out: Vec<_> = groups.filter(Option::is_some).collect();
    if !out.is_empty() {
        out.push(None);
    }
    out
}

/// The SPI is of this rekey alone.
pub(super) fn link(spi_r: u64) -> [u8; 8] {
    spi_r.to_be_bytes()
}

/// What our rekey has yet to do.
pub(crate) struct Followup {
    group: DhGroup,
    link: Vec<u8>,
    private: Option<Secret>,
    asked: bool,
    /// SK(1).
    pub shared: Option<Secret>,
}

impl Followup {
    /// As the answer to CREATE_CHILD_SA has it.
    pub fn of(group: DhGroup, m: &Message<'_>) -> Option<Self> {
        let link = m.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE)?.data;
        let link = (link.len() <= LINK_LEN_MAX).then(|| link.to_vec())?;
        Some(Self { group, link, private: None, asked: false, shared: None })
    }

    /// The peer may have answered it, and so have made the SA.
    pub const fn is_asked(&self) -> bool {
        self.asked
    }

    pub fn generate(&mut self, ctx: &mut Ctx) -> JobId {
        let private = ctx.secret(self.group.private_len());
        self.private = Some(private.clone());
        ctx.compute(Job::DhGenerate { group: self.group, private })
    }

    /// The request, with our public value.
    pub fn ask(&mut self, public: &[u8]) -> Chain {
        self.asked = true;
        let mut chain = Chain::new();
        chain.ke(self.group.transform_id(), public);
        chain.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, &self.link);
        chain
    }

    /// What the answer to it gives to compute, if it is one.
    pub fn agree(&self, ctx: &mut Ctx, m: &Message<'_>) -> Option<JobId> {
        let (group, private) = (self.group, self.private.clone()?);
        let ke = m.ke.as_ref().filter(|k| k.group == group.transform_id())?;
        Some(ctx.compute(Job::DhAgree { group, private, peer_public: ke.public.to_vec() }))
    }
}

impl Established {
    /// Our rekey is past its CREATE_CHILD_SA, which the peer has answered: it knows, and waits.
    pub(super) fn is_following_up_ike(&self) -> bool {
        self.agree_ike.as_ref().is_some_and(|a| a.followup.is_some())
    }

    /// Whether a crossing rekey of the peer goes on and ours does not. Where a further exchange is to come, the one that
    /// made the lowest nonce leaves it out (as RFC 7296 §2.8.2 has it delete the SA that it would make).
    pub(super) fn is_decided_against(&mut self, ours: &[u8], rival: Option<&Vec<u8>>, more: bool) -> bool {
        let Some(rival) = rival else { return false };
        if ours > rival.as_slice() {
            self.answer_ikes.retain(|a| a.awaited_until.is_none());
            return false;
        }
        more
    }

    /// Ours is given up in favour of the peer's.
    pub(super) fn yield_to_candidate(&mut self, ctx: &mut Ctx, now: Instant) {
        // Otherwise the switch comes with the last answer to the peer.
        if self.answer_ikes.is_empty()
            && let Some(candidate) = self.candidate()
        {
            self.switch_to(ctx, now, candidate);
        }
    }

    pub(super) fn ask_followup_ike(&mut self, ctx: &mut Ctx, now: Instant, public: &[u8]) {
        let Some(AgreeIke { followup: Some(followup), .. }) = &mut self.agree_ike else { return };
        let chain = followup.ask(public);
        // Nothing else is asked while a rekey is under way, so the window is free.
        self.current_mut().sa.request(ctx, now, Exchange::IKE_FOLLOWUP_KE, chain, Task::FollowupIke);
    }

    pub(crate) fn on_followup_ike_answer(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        m: &Message<'_>,
    ) -> Result<(), End> {
        if let Some(n) = m.error() {
            return self.agreement_failed(ctx, now, Some(n.kind));
        }
        if let Some(a) = &mut self.agree_ike
            && let Some(job) = a.followup.as_ref().and_then(|f| f.agree(ctx, m))
        {
            a.tokens.note(ctx, m);
            a.job = job;
            return Ok(());
        }
        unusable(missing("KE"))
    }

    /// Our rekey was answered and fails all the same.
    pub(super) fn agreement_failed(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        kind: Option<NotifyType>,
    ) -> Result<(), End> {
        let rival = self.agree_ike.take().and_then(|a| a.task.rival);
        self.rekey_ike_failed(ctx, now, rival, kind)
    }

    /// The peer has its answer to CREATE_CHILD_SA. Should ours have won over it, it will not go on.
    pub(super) fn await_followup(&mut self, now: Instant, mut request: AnswerIke) {
        if self.agree_ike.as_ref().is_some_and(|ours| ours.lowest() > request.lowest()) {
            return;
        }
        request.awaited_until = Some(now + AWAITED_FOR);
        self.answer_ikes.push(request);
    }

    /// The request of the peer that waits for this IKE_FOLLOWUP_KE.
    fn awaited_ike(&mut self, slot: u64, given: Option<&[u8]>) -> Option<&mut AnswerIke> {
        self.answer_ikes
            .iter_mut()
            .find(|a| a.slot == slot && a.awaited_until.is_some() && given == Some(link(a.spi_r).as_slice()))
    }

    /// Of a CHILD_SA or of the IKE SA: the link tells which.
    pub(crate) fn answer_followup(
        &mut self,
        ctx: &mut Ctx,
        slot: u64,
        incoming: &Incoming,
        m: &Message<'_>,
    ) -> Result<(), End> {
        let given = m.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE).map(|n| n.data);
        let group = if let Some(child) = self.awaited_child(slot, given) {
            child.chosen.suite.ke1
        } else if let Some(ike) = self.awaited_ike(slot, given) {
            ike.suite.ke1
        } else {
            return self.refuse(ctx, slot, incoming, NotifyType::STATE_NOT_FOUND, &[]);
        };
        let Some((ke, group)) = m.ke.as_ref().zip(group).filter(|(ke, g)| ke.group == g.transform_id())
        else {
            return self.invalid_syntax(ctx, slot, incoming, missing("KE"));
        };
        let private = ctx.secret(group.private_len());
        let job = ctx.compute(Job::DhRespond { group, private, peer_public: ke.public.to_vec() });
        if let Some(child) = self.awaited_child(slot, given) {
            child.goes_on(incoming.id, job);
        } else if let Some(ike) = self.awaited_ike(slot, given) {
            ike.goes_on(incoming.id, job);
        }
        Ok(())
    }

    /// The peer does not go on.
    pub(super) fn poll_followups(&mut self, ctx: &mut Ctx, now: Instant) -> Result<(), End> {
        self.forget_awaited_children(|a| a.awaited_until().is_some_and(|until| until <= now));
        let before = self.answer_ikes.len();
        self.answer_ikes.retain(|a| a.awaited_until.is_none_or(|until| now < until));
        if self.answer_ikes.len() < before {
            if let Some(ours) = self.own_ike_rekey() {
                ours.rival = None;
            }
            self.finish_ready_ike(ctx, now)?;
        }
        Ok(())
    }
}
