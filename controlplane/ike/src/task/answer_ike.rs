//! The peer rekeys the IKE SA (RFC 7296 §1.3.2, §2.18).

use super::followup::{link, or_none};
use super::{RekeyIke, Task, lower};
use crate::algorithm::{IkeProposal, IkeSuite};
use crate::compute::{Job, JobId, Outcome};
use crate::crypto::keys::{IkeKeys, Seed};
use crate::ctx::Ctx;
use crate::exchange::{IkeSa, Incoming, SaKeys};
use crate::negotiate::ike;
use crate::secret::Secret;
use crate::state::established::{End, Slot, Standing};
use crate::state::{Established, missing};
use crate::wire::sa::Proposal;
use crate::wire::{Chain, Exchange, Message, NotifyType};
use sipsec_net::Instant;

/// A request that waits for a key exchange.
pub(crate) struct AnswerIke {
    job: JobId,
    pub(super) slot: u64,
    id: u32,
    answer: Proposal,
    pub(super) suite: IkeSuite,
    pub(super) spi_i: u64,
    pub(super) spi_r: u64,
    ni: Vec<u8>,
    nr: Vec<u8>,
    /// SK(0), while the additional key exchange is not over (RFC 9370 §2.2.4).
    first: Option<Secret>,
    /// The peer has its answer and has to go on with IKE_FOLLOWUP_KE by then.
    pub(super) awaited_until: Option<Instant>,
}

/// A rekey takes its keys from SK_d (RFC 7296 §2.18), to which the additional key exchange of the first IKE SA has
/// contributed (RFC 9370 §2.2.2); so whether it is done again is the peer's choice.
fn rekey_proposals(ctx: &Ctx) -> Vec<IkeProposal> {
    ctx.config
        .ike_proposals
        .iter()
        .map(|p| IkeProposal { ke1: or_none(p.ke1.iter().copied()), ..p.clone() })
        .collect()
}

impl AnswerIke {
    /// What decides between crossing rekeys (RFC 7296 §2.8.2).
    pub(super) fn lowest(&self) -> Vec<u8> {
        lower(&self.ni, &self.nr)
    }

    /// The peer has gone on with this message; our value for it is being computed.
    pub(super) const fn goes_on(&mut self, id: u32, job: JobId) {
        self.awaited_until = None;
        (self.id, self.job) = (id, job);
    }
}

impl Established {
    pub(super) fn answer_rekey_ike(
        &mut self,
        ctx: &mut Ctx,
        slot: u64,
        incoming: &Incoming,
        m: &Message<'_>,
    ) -> Result<(), End> {
        let (Some(proposals), Some(ke), Some(ni)) = (&m.sa, &m.ke, m.nonce) else {
            return self.invalid_syntax(ctx, slot, incoming, missing("SA, KE or Ni"));
        };
        // The peer begins anew.
        self.answer_ikes.retain(|a| a.awaited_until.is_none());
        let ours = rekey_proposals(ctx);
        let Some(chosen) = ike::choose(proposals, &ours, ke.group, true) else {
            return self.refuse(ctx, slot, incoming, NotifyType::NO_PROPOSAL_CHOSEN, &[]);
        };
        let suite = chosen.suite;
        let Some(spi_i) = chosen.spi else {
            return self.invalid_syntax(ctx, slot, incoming, missing("SPI"));
        };
        if suite.group.transform_id() != ke.group {
            let wanted = suite.group.transform_id().to_be_bytes();
            return self.refuse(ctx, slot, incoming, NotifyType::INVALID_KE_PAYLOAD, &wanted);
        }
        let private = ctx.secret(suite.group.private_len());
        let peer_public = ke.public.to_vec();
        let job = ctx.compute(Job::DhRespond { group: suite.group, private, peer_public });
        let (id, ni) = (incoming.id, ni.to_vec());
        let (spi_r, nr) = (ctx.ike_spi(), ctx.nonce());
        let answer = chosen.answer(&spi_r.to_be_bytes());
        // RFC 7296 §2.8.2: which of the two new ones is redundant is known when the answer to ours comes.
        let lowest = lower(&ni, &nr);
        if let Some(ours) = self.own_ike_rekey() {
            ours.rival = Some(lowest);
            ctx.counters.rekey_collisions += 1;
        } else {
            // Ours was not sent yet: the peer's makes it needless.
            self.gen_ike = None;
        }
        self.answer_ikes.push(AnswerIke {
            job,
            slot,
            id,
            answer,
            suite,
            spi_i,
            spi_r,
            ni,
            nr,
            first: None,
            awaited_until: None,
        });
        Ok(())
    }

    /// Ours, once the peer can know of it.
    pub(super) fn own_ike_rekey(&mut self) -> Option<&mut RekeyIke> {
        if self.agree_ike.is_some() {
            return self.agree_ike.as_mut().map(|a| &mut a.task);
        }
        match self.current_mut().sa.task_mut() {
            Some(Task::RekeyIke(ours)) => Some(ours),
            _ => None,
        }
    }

    /// Whether the job was one of these.
    pub(crate) fn on_answer_ike_computed(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        job: JobId,
        outcome: Outcome,
    ) -> Result<Result<(), End>, Outcome> {
        let computing = |a: &AnswerIke| a.job == job && a.awaited_until.is_none();
        let Some(i) = self.answer_ikes.iter().position(computing) else { return Err(outcome) };
        let mut request = self.answer_ikes.swap_remove(i);
        let (slot, id, suite, spi_r) = (request.slot, request.id, request.suite, request.spi_r);
        let exchange =
            if request.first.is_some() { Exchange::IKE_FOLLOWUP_KE } else { Exchange::CREATE_CHILD_SA };
        let Some(old) = self.slot(slot).map(|s| &s.sa) else { return Ok(Ok(())) };
        let (public, shared) = if let Outcome::DhResponded { public, shared } = outcome {
            (public, shared)
        } else {
            if let Some(ours) = self.own_ike_rekey() {
                ours.rival = None;
            }
            let group = if request.first.is_some() { suite.ke1 } else { Some(suite.group) };
            let result = self.not_computed(ctx, (slot, exchange, id), group, &outcome);
            return Ok(result.and(self.finish_ready_ike(ctx, now)));
        };
        let fragmentation = old.fragmentation;
        let mut chain = Chain::new();
        let (first, additional) = match (request.first.take(), suite.ke1) {
            (Some(first), Some(group)) => {
                chain.ke(group.transform_id(), &public);
                (first, Some(shared))
            }
            (_, ke1) => {
                chain.sa(core::slice::from_ref(&request.answer));
                chain.nonce(&request.nr);
                chain.ke(suite.group.transform_id(), &public);
                if ke1.is_some() {
                    chain.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, &link(spi_r));
                    self.reply(ctx, slot, exchange, id, chain);
                    self.await_followup(now, AnswerIke { first: Some(shared), ..request });
                    return Ok(self.finish_ready_ike(ctx, now));
                }
                (shared, None)
            }
        };
        let AnswerIke { ni, nr, spi_i, .. } = request;
        let seed = Seed { ni: &ni, nr: &nr, spi_i, spi_r };
        let keys =
            IkeKeys::rekeyed_with(&suite, (old.suite.prf, &old.sk_d), &first, additional.as_ref(), &seed);
        let sa = IkeSa::new(ctx, SaKeys { suite, keys, spi_i, spi_r, initiator: false, fragmentation });
        ctx.give_token(&mut chain, spi_i, spi_r);
        self.reply(ctx, slot, exchange, id, chain);
        let generation = self.generation;
        self.slots.push(Slot { sa, standing: Standing::Candidate, generation });
        if self.own_ike_rekey().is_none() {
            self.switch_to(ctx, now, spi_r);
        }
        Ok(self.finish_ready_ike(ctx, now))
    }
}
