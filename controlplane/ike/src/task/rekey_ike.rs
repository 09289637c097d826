//! We rekey the IKE SA (RFC 7296 §1.3.2, §2.18), and what becomes of crossing rekeys (§2.8.2).

use super::followup::{Followup, or_none};
use super::refused::{RETRY_JITTER_PERCENT, Refused};
use super::rekey_child::GROUPS_TRIED_MAX;
use super::{Dh, Task, Todo, lower};
use crate::algorithm::{DhGroup, IkeProposal, IkeSuite};
use crate::compute::{Job, JobId, Outcome};
use crate::crash::PeerTokens;
use crate::crypto::keys::{IkeKeys, Seed};
use crate::ctx::Ctx;
use crate::error::{CloseCause, IkeError, Violation};
use crate::exchange::{IkeSa, SaKeys};
use crate::negotiate::ike;
use crate::secret::Secret;
use crate::state::Established;
use crate::state::established::{End, Slot, Standing};
use crate::wire::{Chain, Exchange, Message, NotifyType};
use core::time::Duration;
use sipsec_net::Instant;

/// Most IKE SAs at once: old, ours, the peer's, and some whose last answer may have to be repeated.
pub(crate) const SLOTS_MAX: usize = 8;
/// How long an SA that the peer deleted still answers repeated requests.
pub(crate) const GONE_FOR: Duration = Duration::from_secs(20);
/// How long the peer may take to delete an SA that it has to delete.
pub(crate) const AWAIT_DELETE: Duration = Duration::from_secs(60);
const RETRY_AFTER: Duration = Duration::from_secs(6);

pub(crate) struct RekeyIke {
    pub(super) spi: u64,
    ni: Vec<u8>,
    dh: Dh,
    groups_tried: usize,
    /// The lower nonce of the peer's own rekey, whose SA is the candidate among the slots.
    pub rival: Option<Vec<u8>>,
}

pub(crate) struct GenIke {
    job: JobId,
    task: RekeyIke,
}

pub(crate) struct AgreeIke {
    pub(super) job: JobId,
    pub task: RekeyIke,
    pub(super) suite: IkeSuite,
    nr: Vec<u8>,
    spi_r: u64,
    pub(super) shared: Option<Secret>,
    pub(super) followup: Option<Followup>,
    /// For the new IKE SA.
    pub(super) tokens: PeerTokens,
}

impl AgreeIke {
    /// Computed, though the peer's own rekey may still be being answered; the two are compared when both are known.
    fn is_done(&self) -> bool {
        self.shared.is_some() && self.followup.as_ref().is_none_or(|f| f.shared.is_some())
    }

    /// What decides between crossing rekeys (RFC 7296 §2.8.2).
    pub(super) fn lowest(&self) -> Vec<u8> {
        lower(&self.task.ni, &self.nr)
    }
}

/// A rekey keeps the algorithms (RFC 7296 §2.8: SHOULD NOT differ), so it offers exactly these; the group may change, and
/// the additional key exchange, to which SK_d owes its strength already, may be left out.
fn proposals(ctx: &Ctx, suite: &IkeSuite) -> Vec<IkeProposal> {
    let mut groups = vec![suite.group];
    for g in ctx.config.ike_proposals.iter().flat_map(|p| &p.groups) {
        if !groups.contains(g) {
            groups.push(*g);
        }
    }
    vec![IkeProposal {
        encr: vec![suite.encr],
        integ: suite.integ.into_iter().collect(),
        prf: vec![suite.prf],
        groups,
        ke1: or_none(suite.ke1.into_iter().map(Some)),
    }]
}

/// The peer has gone over to an IKE SA that we cannot have, and so cannot delete (RFC 7296 §2.21): the call ends.
pub(super) const fn unusable(error: IkeError) -> Result<(), End> {
    Err(End::Failed { error, keep: None })
}

impl Established {
    pub(crate) fn want_rekey_ike(&mut self, ctx: &mut Ctx, now: Instant) {
        // Should this attempt be forgotten, the timer brings it back.
        self.rekey_at = now + ctx.jittered(RETRY_AFTER, RETRY_JITTER_PERCENT);
        if !self.rekeying_ike() && self.gen_ike.is_none() && self.answer_ikes.is_empty() {
            self.enqueue(Todo::RekeyIke);
        }
    }

    pub(crate) fn begin_rekey_ike(&mut self, ctx: &mut Ctx) {
        // RFC 7296 §2.8.2: the peer's is under way.
        if !self.answer_ikes.is_empty() {
            return;
        }
        let group = self.current().sa.suite.group;
        let task = RekeyIke {
            spi: ctx.ike_spi(),
            ni: ctx.nonce(),
            dh: Dh { group, private: Secret::new(Vec::new()) },
            groups_tried: 0,
            rival: None,
        };
        self.generate_ike(ctx, task, group);
    }

    fn generate_ike(&mut self, ctx: &mut Ctx, mut task: RekeyIke, group: DhGroup) {
        let private = ctx.secret(group.private_len());
        task.groups_tried += 1;
        task.dh = Dh { group, private: private.clone() };
        let job = ctx.compute(Job::DhGenerate { group, private });
        self.gen_ike = Some(GenIke { job, task });
    }

    fn ask_rekey_ike(&mut self, ctx: &mut Ctx, now: Instant, task: RekeyIke, public: &[u8]) {
        let sa = &mut self.current_mut().sa;
        let mut chain = Chain::new();
        chain.sa(&ike::offer(&proposals(ctx, &sa.suite), &task.spi.to_be_bytes()));
        chain.nonce(&task.ni);
        chain.ke(task.dh.group.transform_id(), public);
        sa.request(ctx, now, Exchange::CREATE_CHILD_SA, chain, Task::RekeyIke(Box::new(task)));
    }

    /// Whether the job was one of these.
    pub(crate) fn on_rekey_ike_computed(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        job: JobId,
        outcome: Outcome,
    ) -> Result<Result<(), End>, Outcome> {
        if let Some(g) = self.gen_ike.take_if(|g| g.job == job) {
            return Ok(match outcome {
                Outcome::DhGenerated { public } => {
                    self.ask_rekey_ike(ctx, now, g.task, &public);
                    Ok(())
                }
                _ => self.rekey_ike_failed(ctx, now, None, None),
            });
        }
        let Some(a) = self.agree_ike.as_mut().filter(|a| a.job == job) else { return Err(outcome) };
        match (outcome, &mut a.followup) {
            (Outcome::DhAgreed { shared }, None) => a.shared = Some(shared),
            (Outcome::DhAgreed { shared }, Some(followup)) if a.shared.is_some() => {
                followup.shared = Some(shared);
            }
            (Outcome::DhAgreed { shared }, Some(followup)) => {
                a.shared = Some(shared);
                a.job = followup.generate(ctx);
            }
            (Outcome::DhGenerated { public }, Some(_)) => self.ask_followup_ike(ctx, now, &public),
            // The peer waits for IKE_FOLLOWUP_KE, and has nothing yet.
            (_, Some(followup)) if !followup.is_asked() => return Ok(self.agreement_failed(ctx, now, None)),
            _ => return Ok(unusable(IkeError::BadKeyExchange { group: a.task.dh.group })),
        }
        Ok(self.finish_ready_ike(ctx, now))
    }

    pub(super) fn finish_ready_ike(&mut self, ctx: &mut Ctx, now: Instant) -> Result<(), End> {
        if !self.answer_ikes.is_empty() {
            return Ok(());
        }
        let ready = self.agree_ike.take_if(|a| a.is_done());
        ready.map_or(Ok(()), |a| self.finish_rekey_ike(ctx, now, a))
    }

    pub(crate) fn on_rekey_ike_answer(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        task: RekeyIke,
        m: &Message<'_>,
    ) -> Result<(), End> {
        if let Some(n) = m.error() {
            if n.kind == NotifyType::INVALID_KE_PAYLOAD && task.groups_tried < GROUPS_TRIED_MAX {
                let wanted = <[u8; 2]>::try_from(n.data).ok().map(u16::from_be_bytes);
                let mut offered = ctx.config.ike_proposals.iter().flat_map(|p| &p.groups).copied();
                if let Some(g) = offered.find(|g| Some(g.transform_id()) == wanted) {
                    self.generate_ike(ctx, task, g);
                    return Ok(());
                }
            }
            return self.rekey_ike_failed(ctx, now, task.rival, Some(n.kind));
        }
        let suite = self.current().sa.suite;
        let answered = (|| {
            let sa = m.sa.as_ref()?;
            let suite = ike::accept(sa, &proposals(ctx, &suite), true)?;
            let spi_r = sa.first()?.ike_spi().filter(|s| *s != 0)?;
            let ke = m.ke.as_ref().filter(|k| k.group == suite.group.transform_id())?;
            let followup = match suite.ke1 {
                Some(group) => Some(Followup::of(group, m)?),
                None => None,
            };
            (suite.group == task.dh.group).then(|| (suite, spi_r, ke.public.to_vec(), followup, m.nonce))
        })();
        let Some((suite, spi_r, peer_public, followup, Some(nr))) = answered else {
            return unusable(IkeError::ProtocolViolation(Violation::NotOffered("IKE SA")));
        };
        let nr = nr.to_vec();
        if self.is_decided_against(&lower(&task.ni, &nr), task.rival.as_ref(), followup.is_some()) {
            self.yield_to_candidate(ctx, now);
            return Ok(());
        }
        let private = task.dh.private.clone();
        let job = ctx.compute(Job::DhAgree { group: suite.group, private, peer_public });
        let mut tokens = PeerTokens::default();
        tokens.note(ctx, m);
        self.agree_ike = Some(AgreeIke { job, task, suite, nr, spi_r, shared: None, followup, tokens });
        Ok(())
    }

    fn finish_rekey_ike(&mut self, ctx: &mut Ctx, now: Instant, a: AgreeIke) -> Result<(), End> {
        let AgreeIke { task, suite, nr, spi_r, shared, followup, tokens, .. } = a;
        let Some(shared) = shared else { return Ok(()) };
        let additional = followup.and_then(|f| f.shared);
        let old = &self.current().sa;
        let old_spi = old.local_spi();
        let fragmentation = old.fragmentation;
        let seed = Seed { ni: &task.ni, nr: &nr, spi_i: task.spi, spi_r };
        let keys =
            IkeKeys::rekeyed_with(&suite, (old.suite.prf, &old.sk_d), &shared, additional.as_ref(), &seed);
        let mut sa =
            IkeSa::new(ctx, SaKeys { suite, keys, spi_i: task.spi, spi_r, initiator: true, fragmentation });
        sa.peer_tokens = tokens;
        let ours = lower(&task.ni, &nr);
        let candidate = self.candidate();
        let generation = self.generation;
        if task.rival.is_some_and(|rival| ours < rival) {
            // RFC 7296 §2.8.2: ours holds the lowest nonce: we delete it, the peer deletes the old one.
            self.slots.push(Slot { sa, standing: Standing::Redundant, generation });
            self.delete_slot(ctx, now, task.spi);
            // The one that stays may be gone already: then the peer, which knew sooner, has closed.
            let closed = End::Closed { cause: CloseCause::PeerDeleted, keep: None };
            self.switch_to(ctx, now, candidate.ok_or(closed)?);
            self.set_standing(old_spi, Standing::AwaitDelete { until: now + AWAIT_DELETE });
            return Ok(());
        }
        self.slots.push(Slot { sa, standing: Standing::Candidate, generation });
        self.switch_to(ctx, now, task.spi);
        // RFC 7296 §2.8: the DELETE of itself MUST be the last request over the old SA.
        self.set_standing(old_spi, Standing::Redundant);
        self.delete_slot(ctx, now, old_spi);
        self.want_token(ctx);
        Ok(())
    }

    /// All CHILD_SAs and all that is still to do belong to `next` from now on.
    pub(crate) fn switch_to(&mut self, ctx: &mut Ctx, now: Instant, next: u64) {
        let until = now + AWAIT_DELETE;
        for s in &mut self.slots {
            if s.sa.local_spi() == next {
                s.standing = Standing::Current;
            } else if matches!(s.standing, Standing::Current | Standing::Candidate) {
                s.standing = Standing::AwaitDelete { until };
            }
        }
        ctx.counters.rekeys_ike += 1;
        let lifetime = ctx.config.ike_lifetime;
        self.rekey_at = now + ctx.jittered(lifetime.soft, lifetime.jitter_percent);
        self.expires_at = now + lifetime.hard;
        self.refused = Refused::default();
        self.queue.retain(|t| *t != Todo::RekeyIke);
        // What the peer had begun on the old one ends with it (RFC 7296 §2.25.2).
        self.forget_awaited_children(|_| true);
    }

    pub(crate) fn delete_slot(&mut self, ctx: &mut Ctx, now: Instant, spi: u64) {
        if let Some(slot) = self.slot_mut(spi) {
            slot.sa.delete(ctx, now);
        }
    }

    pub(crate) fn candidate(&self) -> Option<u64> {
        self.slots.iter().find(|s| s.standing == Standing::Candidate).map(|s| s.sa.local_spi())
    }

    /// RFC 7296 §2.25.2: the peer closes the SA that we are rekeying.
    pub(crate) fn forget_own_ike_rekey(&mut self) {
        self.gen_ike = None;
        self.agree_ike = None;
        self.queue.retain(|t| *t != Todo::RekeyIke);
        if matches!(self.current().sa.task(), Some(Task::RekeyIke(_) | Task::FollowupIke)) {
            let _ = self.current_mut().sa.abandon_request();
        }
    }

    /// Ours came to nothing. If the peer's own succeeded meanwhile, that is the SA to go on with.
    pub(super) fn rekey_ike_failed(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        rival: Option<Vec<u8>>,
        kind: Option<NotifyType>,
    ) -> Result<(), End> {
        if kind == Some(NotifyType::NO_ADDITIONAL_SAS) {
            self.want_reauth(now);
        }
        if rival.is_some() && !self.answer_ikes.is_empty() {
            // The switch comes with the answer to it.
            return Ok(());
        }
        if let (Some(_), Some(candidate)) = (rival, self.candidate()) {
            self.switch_to(ctx, now, candidate);
            return Ok(());
        }
        self.rekey_at = self
            .refused
            .note(ctx, now, kind, RETRY_AFTER)
            .map_err(|error| End::Failed { error, keep: None })?;
        Ok(())
    }
}
