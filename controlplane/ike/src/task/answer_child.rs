//! The peer makes or rekeys a CHILD_SA (RFC 7296 §1.3.1, §1.3.3).

use super::child::{Child, Ingredients, Made, Stage};
use super::followup::AWAITED_FOR;
use super::followup_child::{Second, link};
use super::rekey_child::RekeyChild;
use super::{Task, lower};
use crate::algorithm::Prf;
use crate::compute::{Job, JobId, Outcome};
use crate::ctx::Ctx;
use crate::exchange::Incoming;
use crate::negotiate::esp::{self, Chosen, Phase};
use crate::negotiate::ts::{self, TrafficSelectors};
use crate::output::{ChildId, Event};
use crate::secret::Secret;
use crate::state::established::End;
use crate::state::{Established, missing};
use crate::wire::{Chain, Exchange, Message, NotifyType, PayloadType};
use sipsec_net::dp::Selector;
use sipsec_net::{Instant, Spi};

/// Most CHILD_SAs at once: one, around a rekey four, and some that linger.
pub(crate) const CHILDREN_MAX: usize = 16;

/// A request that waits for a key exchange.
pub(crate) struct AnswerChild {
    job: JobId,
    pub(super) slot: u64,
    id: u32,
    pub old: Option<ChildId>,
    pub(super) child: ChildId,
    pub(super) chosen: Chosen,
    /// CREATE_CHILD_SA is answered, and IKE_FOLLOWUP_KE is not (RFC 9370 §2.2.4).
    pub(crate) second: Option<Second>,
    ni: Vec<u8>,
    nr: Vec<u8>,
    local: Vec<Selector>,
    remote: Vec<Selector>,
    selectors: TrafficSelectors,
    /// Some were left out.
    more_possible: bool,
    prf: Prf,
    sk_d: Secret,
}

impl AnswerChild {
    /// What decides between crossing rekeys (RFC 7296 §2.8.1).
    pub(super) fn lowest(&self) -> Vec<u8> {
        lower(&self.ni, &self.nr)
    }

    /// The peer has gone on with this message; our value for it is being computed.
    pub(super) const fn goes_on(&mut self, id: u32, job: JobId) {
        if let Some(second) = &mut self.second {
            second.awaited_until = None;
        }
        (self.id, self.job) = (id, job);
    }

    /// The peer has its answer and has to go on by then.
    pub fn awaited_until(&self) -> Option<Instant> {
        self.second.as_ref().and_then(|second| second.awaited_until)
    }

    /// Our part of the agreement, with our SPI and public value.
    fn answer(&self, spi_in: Spi, public: Option<&[u8]>) -> Chain {
        let mut chain = Chain::new();
        chain.sa(&[self.chosen.answer(spi_in)]);
        chain.nonce(&self.nr);
        if let (Some(public), Some(group)) = (public, self.chosen.suite.group) {
            chain.ke(group.transform_id(), public);
        }
        chain.ts(PayloadType::TSI, &self.remote);
        chain.ts(PayloadType::TSR, &self.local);
        if self.more_possible {
            chain.notify(NotifyType::ADDITIONAL_TS_POSSIBLE, &[]);
        }
        chain
    }
}

impl Established {
    pub(super) fn answer_child(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        slot: u64,
        incoming: &Incoming,
        m: &Message<'_>,
        old: Option<ChildId>,
    ) -> Result<(), End> {
        let (Some(proposals), Some(ni), Some(tsi), Some(tsr)) = (&m.sa, m.nonce, &m.tsi, &m.tsr) else {
            return self.invalid_syntax(ctx, slot, incoming, missing("SA, Ni, TSi or TSr"));
        };
        if self.children.len() >= CHILDREN_MAX {
            return self.refuse(ctx, slot, incoming, NotifyType::TEMPORARY_FAILURE, &[]);
        }
        // The peer begins anew. So at most one of its requests waits for IKE_FOLLOWUP_KE.
        self.forget_awaited_children(|_| true);
        let phase = Phase::Rekey { sent_group: m.ke.as_ref().map(|k| k.group) };
        let Some(chosen) = esp::choose(proposals, &self.esp_proposals(ctx, old), phase) else {
            return self.refuse(ctx, slot, incoming, NotifyType::NO_PROPOSAL_CHOSEN, &[]);
        };
        let in_use = old.and_then(|old| self.child(old)).map(|old| old.selectors.clone());
        let (used_local, used_remote) = in_use.as_ref().map_or((&[][..], &[][..]), |s| (&s.local, &s.remote));
        let (remote, more_remote) = ts::fit(ts::narrow(tsi, &ctx.config.ts_remote), used_remote);
        let (local, more_local) = ts::fit(ts::narrow(tsr, &ctx.config.ts_local), used_local);
        let selectors = TrafficSelectors::of(&local, &remote);
        let narrower = in_use.is_some_and(|old| !selectors.keep(&old));
        if remote.is_empty() || local.is_empty() || narrower {
            return self.refuse(ctx, slot, incoming, NotifyType::TS_UNACCEPTABLE, &[]);
        }
        let (child, nr) = (ctx.child_id(), ctx.nonce());
        let sa = &self.current().sa;
        let mut waiting = AnswerChild {
            job: JobId(0),
            slot,
            id: incoming.id,
            old,
            child,
            chosen,
            second: None,
            ni: ni.to_vec(),
            nr,
            local,
            remote,
            selectors,
            more_possible: more_remote || more_local,
            prf: sa.suite.prf,
            sk_d: sa.sk_d.clone(),
        };
        let ke = match waiting.chosen.suite.group {
            None => None,
            Some(group) => match m.ke.as_ref().filter(|k| k.group == group.transform_id()) {
                Some(ke) => Some((group, ke)),
                None => {
                    let wanted = group.transform_id().to_be_bytes();
                    return self.refuse(ctx, slot, incoming, NotifyType::INVALID_KE_PAYLOAD, &wanted);
                }
            },
        };
        if let Some(old) = old {
            self.note_rival(ctx, old, child, waiting.lowest());
        }
        let Some((group, ke)) = ke else {
            let spi_in = ctx.esp_spi();
            let chain = waiting.answer(spi_in, None);
            self.make_answered(ctx, now, &waiting, (spi_in, Exchange::CREATE_CHILD_SA, chain), (None, None));
            return Ok(());
        };
        let private = ctx.secret(group.private_len());
        waiting.job = ctx.compute(Job::DhRespond { group, private, peer_public: ke.public.to_vec() });
        self.answer_children.push(waiting);
        Ok(())
    }

    /// Whether the job was one of these.
    pub(crate) fn on_answer_child_computed(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        job: JobId,
        outcome: Outcome,
    ) -> Result<Result<(), End>, Outcome> {
        let computing = |a: &AnswerChild| a.job == job && a.awaited_until().is_none();
        let Some(i) = self.answer_children.iter().position(computing) else { return Err(outcome) };
        let mut waiting = self.answer_children.swap_remove(i);
        if self.slot(waiting.slot).is_none() {
            // Its IKE SA is gone, and with it the way to answer.
            self.forget_rival(waiting.child);
            return Ok(Ok(()));
        }
        let suite = waiting.chosen.suite;
        let (exchange, group) = match waiting.second {
            Some(_) => (Exchange::IKE_FOLLOWUP_KE, suite.ke1),
            None => (Exchange::CREATE_CHILD_SA, suite.group),
        };
        let Outcome::DhResponded { public, shared } = outcome else {
            self.forget_rival(waiting.child);
            let at = (waiting.slot, exchange, waiting.id);
            return Ok(self.not_computed(ctx, at, group, &outcome));
        };
        match (waiting.second.take(), suite.ke1) {
            (Some(Second { spi_in, first, .. }), Some(group)) => {
                let mut chain = Chain::new();
                chain.ke(group.transform_id(), &public);
                let secrets = (Some(&first), Some(&shared));
                self.make_answered(ctx, now, &waiting, (spi_in, exchange, chain), secrets);
            }
            (_, None) => {
                let spi_in = ctx.esp_spi();
                let chain = waiting.answer(spi_in, Some(&public));
                self.make_answered(ctx, now, &waiting, (spi_in, exchange, chain), (Some(&shared), None));
            }
            (None, Some(_)) => {
                let spi_in = ctx.esp_spi();
                let mut chain = waiting.answer(spi_in, Some(&public));
                chain.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE, &link(spi_in));
                self.reply(ctx, waiting.slot, exchange, waiting.id, chain);
                let awaited_until = Some(now + AWAITED_FOR);
                waiting.second = Some(Second { spi_in, first: shared, awaited_until });
                self.await_followup_child(waiting);
            }
        }
        Ok(Ok(()))
    }

    /// The CHILD_SA, and the last answer to the peer as soon as the dataplane has it.
    fn make_answered(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        w: &AnswerChild,
        (spi_in, exchange, chain): (Spi, Exchange, Chain),
        shared: (Option<&Secret>, Option<&Secret>),
    ) {
        let Made { mut child, inbound, outbound } = Child::make(
            ctx,
            now,
            Ingredients {
                id: w.child,
                prf: w.prf,
                sk_d: &w.sk_d,
                shared,
                ni: &w.ni,
                nr: &w.nr,
                exchange_initiator: false,
                spi_in,
                spi_out: w.chosen.peer_spi,
                suite: w.chosen.suite,
                selectors: w.selectors.clone(),
            },
        );
        let id = w.child;
        // It may have gone while the key exchange was computed; then this one is simply new.
        let old = w.old.filter(|old| self.child(*old).is_some());
        child.stage = Stage::Installing { standby_of: old };
        match old {
            Some(old) => {
                ctx.counters.rekeys_child += 1;
                ctx.event(Event::ChildSaReplaced { old, child: id, inbound, outbound, bind: false });
            }
            None => ctx.event(Event::ChildSaUp { child: id, inbound, outbound }),
        }
        self.children.push(child);
        self.hold(w.slot, exchange, w.id, chain, id);
    }

    /// RFC 7296 §2.8.1: both sides rekey `old`; which of the new ones is redundant is known when our answer comes.
    fn note_rival(&mut self, ctx: &mut Ctx, old: ChildId, rival: ChildId, lowest: Vec<u8>) {
        if let Some(ours) = self.own_child_rekey(|t| t.old == old) {
            ours.rival = Some((rival, lowest));
            ctx.counters.rekey_collisions += 1;
        } else {
            // Ours was not sent yet: the peer's makes it needless.
            self.forget_own_child_rekey(old);
        }
    }

    /// The peer gets none.
    pub(super) fn forget_rival(&mut self, rival: ChildId) {
        let its = |t: &RekeyChild| t.rival.as_ref().is_some_and(|(id, _)| *id == rival);
        if let Some(ours) = self.own_child_rekey(its) {
            ours.rival = None;
        }
    }

    /// Ours that the peer has been asked for.
    fn own_child_rekey(&mut self, wanted: impl Fn(&RekeyChild) -> bool) -> Option<&mut RekeyChild> {
        if self.agree_child.as_ref().is_some_and(|a| wanted(&a.task)) {
            return self.agree_child.as_mut().map(|a| &mut a.task);
        }
        match self.current_mut().sa.task_mut() {
            Some(Task::RekeyChild(task)) if wanted(task) => Some(task),
            _ => None,
        }
    }
}
