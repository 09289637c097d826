//! The peer rekeys the IKE SA (RFC 7296 §1.3.2, §2.18).

use super::{RekeyIke, Task, lower};
use crate::algorithm::{IkeProposal, IkeSuite};
use crate::compute::{Job, JobId, Outcome};
use crate::crypto::keys::{IkeKeys, Seed};
use crate::ctx::Ctx;
use crate::exchange::{IkeSa, Incoming, SaKeys};
use crate::negotiate::ike;
use crate::state::Established;
use crate::state::established::{Slot, Standing};
use crate::wire::sa::Proposal;
use crate::wire::{Chain, Exchange, Message, NotifyType};
use sipsec_net::Instant;

/// A request that waits for its key exchange.
pub(crate) struct AnswerIke {
    job: JobId,
    slot: u64,
    id: u32,
    answer: Proposal,
    suite: IkeSuite,
    spi_i: u64,
    spi_r: u64,
    ni: Vec<u8>,
    nr: Vec<u8>,
}

/// A rekey takes its keys from SK_d (RFC 7296 §2.18), to which the additional key exchange of the first IKE SA has
/// contributed (RFC 9370 §2.2.2), and does not repeat it.
fn rekey_proposals(ctx: &Ctx) -> Vec<IkeProposal> {
    ctx.config.ike_proposals.iter().map(|p| IkeProposal { ke1: vec![], ..p.clone() }).collect()
}

impl Established {
    pub(super) fn answer_rekey_ike(
        &mut self,
        ctx: &mut Ctx,
        slot: u64,
        incoming: &Incoming,
        m: &Message<'_>,
    ) {
        let (Some(proposals), Some(ke), Some(ni)) = (&m.sa, &m.ke, m.nonce) else {
            return self.refuse(ctx, slot, incoming, NotifyType::INVALID_SYNTAX, &[]);
        };
        let ours = rekey_proposals(ctx);
        let Some(chosen) = ike::choose(proposals, &ours, ke.group, false) else {
            return self.refuse(ctx, slot, incoming, NotifyType::NO_PROPOSAL_CHOSEN, &[]);
        };
        let suite = chosen.suite;
        let Some(spi_i) = chosen.spi else {
            return self.refuse(ctx, slot, incoming, NotifyType::INVALID_SYNTAX, &[]);
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
        self.answer_ikes.push(AnswerIke { job, slot, id, answer, suite, spi_i, spi_r, ni, nr });
    }

    /// Ours, once the peer can know of it.
    fn own_ike_rekey(&mut self) -> Option<&mut RekeyIke> {
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
    ) -> Result<(), Outcome> {
        let Some(i) = self.answer_ikes.iter().position(|a| a.job == job) else { return Err(outcome) };
        let AnswerIke { slot, id, answer, suite, spi_i, spi_r, ni, nr, .. } = self.answer_ikes.swap_remove(i);
        let Some(old) = self.slot(slot).map(|s| &s.sa) else { return Ok(()) };
        let Outcome::DhResponded { public, shared } = outcome else {
            if let Some(ours) = self.own_ike_rekey() {
                ours.rival = None;
            }
            let mut chain = Chain::new();
            chain.notify(NotifyType::INVALID_SYNTAX, &[]);
            self.reply(ctx, slot, Exchange::CREATE_CHILD_SA, id, chain);
            return Ok(());
        };
        let fragmentation = old.fragmentation;
        let seed = Seed { ni: &ni, nr: &nr, spi_i, spi_r };
        let keys = IkeKeys::rekeyed(&suite, (old.suite.prf, &old.sk_d), &shared, &seed);
        let sa = IkeSa::new(ctx, SaKeys { suite, keys, spi_i, spi_r, initiator: false, fragmentation });
        let mut chain = Chain::new();
        chain.sa(&[answer]);
        chain.nonce(&nr);
        chain.ke(suite.group.transform_id(), &public);
        self.reply(ctx, slot, Exchange::CREATE_CHILD_SA, id, chain);
        self.slots.push(Slot { sa, standing: Standing::Candidate });
        if self.own_ike_rekey().is_none() {
            self.switch_to(ctx, now, spi_r);
        }
        self.finish_ready_ike(ctx, now);
        Ok(())
    }
}
