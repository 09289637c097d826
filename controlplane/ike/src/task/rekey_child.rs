//! We rekey a CHILD_SA (RFC 7296 §1.3.3, §2.8).

use super::child::{Child, Ingredients, Made, Stage};
use super::followup::Followup;
use super::refused::RETRY_JITTER_PERCENT;
use super::{Dh, Task, Todo, lower};
use crate::algorithm::{DhGroup, EspProposal, Prf};
use crate::compute::{Job, JobId, Outcome};
use crate::ctx::Ctx;
use crate::error::{IkeError, Party};
use crate::negotiate::esp::{self, Chosen, Phase};
use crate::negotiate::ts::{self, TrafficSelectors};
use crate::output::{ChildDownCause, ChildId, Event};
use crate::secret::Secret;
use crate::state::Established;
use crate::state::established::End;
use crate::wire::notify::PROTOCOL_ESP;
use crate::wire::{Chain, Exchange, Message, NotifyType, PayloadType};
use core::time::Duration;
use sipsec_net::{Instant, Spi};

/// RFC 7296 §2.25: after TEMPORARY_FAILURE wait, so that the peer can end what it does.
const RETRY_AFTER: Duration = Duration::from_secs(4);
/// Most INVALID_KE_PAYLOAD answers to one rekey.
pub(crate) const GROUPS_TRIED_MAX: usize = 2;

/// What a CREATE_CHILD_SA request of ours is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    Rekey,
    /// The peer does not have the old one any more: a new one is made in its place (RFC 7296 §2.25).
    Afresh,
    /// There has been none. The id of the old one names nothing.
    First,
}

pub(crate) struct RekeyChild {
    pub old: ChildId,
    purpose: Purpose,
    offer: Vec<EspProposal>,
    spi_in: Spi,
    ni: Vec<u8>,
    dh: Option<Dh>,
    groups_tried: usize,
    /// The peer's rekey of the same CHILD_SA, with the lower of its two nonces.
    pub rival: Option<(ChildId, Vec<u8>)>,
}

/// The key exchange of our request is being computed.
pub(crate) struct GenChild {
    job: JobId,
    task: RekeyChild,
}

/// The answer came and its shared secret is being computed.
pub(crate) struct AgreeChild {
    pub(super) job: JobId,
    pub task: RekeyChild,
    rest: Answered,
    /// SK(0), while the additional key exchange is not over.
    shared: Option<Secret>,
    pub(super) followup: Option<Followup>,
}

impl AgreeChild {
    /// What decides between crossing rekeys (RFC 7296 §2.8.1).
    pub(super) fn lowest(&self) -> Vec<u8> {
        lower(&self.task.ni, &self.rest.nr)
    }
}

struct Answered {
    nr: Vec<u8>,
    chosen: Chosen,
    selectors: TrafficSelectors,
    prf: Prf,
    sk_d: Secret,
}

impl Established {
    /// A rekey is wanted: the time came, or the dataplane says so.
    pub(crate) fn want_rekey_child(&mut self, ctx: &mut Ctx, now: Instant, id: ChildId) {
        let retry = now + ctx.jittered(RETRY_AFTER, RETRY_JITTER_PERCENT);
        // One that the peer has rekeyed already waits for its DELETE.
        let done = self.is_rekeyed_by_peer(id);
        let Some(child) = self.child_mut(id) else { return };
        match child.stage {
            Stage::Live => {}
            // The dataplane says it once. The timer heeds it when the SA is in use.
            Stage::Installing { .. } | Stage::Standby { .. } | Stage::Binding => {
                child.rekey_at = now;
                return;
            }
            _ => return,
        }
        // Should this attempt be forgotten (a crossing IKE rekey), the timer brings it back.
        child.rekey_at = retry;
        if !done && !self.is_rekeying_child(id) {
            self.enqueue(Todo::RekeyChild(id));
        }
    }

    fn is_rekeyed_by_peer(&self, id: ChildId) -> bool {
        let installing = Stage::Installing { standby_of: Some(id) };
        self.successor(id).is_some()
            || self.children.iter().any(|c| c.stage == installing)
            || self.answer_children.iter().any(|a| a.old == Some(id))
    }

    pub(super) fn is_rekeying_child(&self, id: ChildId) -> bool {
        matches!(self.current().sa.task(), Some(Task::RekeyChild(t)) if t.old == id)
            || self.gen_child.as_ref().is_some_and(|g| g.task.old == id)
            || self.agree_child.as_ref().is_some_and(|a| a.task.old == id)
    }

    pub(super) fn forget_own_child_rekey(&mut self, old: ChildId) {
        self.queue.retain(|t| *t != Todo::RekeyChild(old));
        if self.gen_child.as_ref().is_some_and(|g| g.task.old == old) {
            self.gen_child = None;
        }
    }

    pub(crate) fn begin_rekey_child(&mut self, ctx: &mut Ctx, now: Instant, id: ChildId) {
        if self.child(id).is_none_or(|c| c.stage != Stage::Live) || self.is_rekeyed_by_peer(id) {
            return;
        }
        self.make_child(ctx, now, id, Purpose::Rekey);
    }

    pub(crate) fn make_first_child(&mut self, ctx: &mut Ctx, now: Instant) {
        let none = ctx.child_id();
        self.make_child(ctx, now, none, Purpose::First);
    }

    /// Ours for what takes the place of `old`.
    pub(super) fn esp_proposals(&self, ctx: &Ctx, old: Option<ChildId>) -> Vec<EspProposal> {
        let ours = &ctx.config.esp_proposals;
        let old = old.and_then(|old| self.child(old));
        old.map_or_else(|| ours.clone(), |old| esp::keeping(ours, &old.suite))
    }

    fn make_child(&mut self, ctx: &mut Ctx, now: Instant, old: ChildId, purpose: Purpose) {
        let offer = self.esp_proposals(ctx, Some(old));
        let group = offer.iter().find_map(|p| p.groups.first().copied());
        let task = RekeyChild {
            old,
            purpose,
            offer,
            spi_in: ctx.esp_spi(),
            ni: ctx.nonce(),
            dh: None,
            groups_tried: 0,
            rival: None,
        };
        self.generate_child(ctx, now, task, group);
    }

    fn generate_child(&mut self, ctx: &mut Ctx, now: Instant, mut task: RekeyChild, group: Option<DhGroup>) {
        let Some(group) = group else {
            return self.ask_rekey_child(ctx, now, task, &[]);
        };
        let private = ctx.secret(group.private_len());
        task.groups_tried += 1;
        task.dh = Some(Dh { group, private: private.clone() });
        let job = ctx.compute(Job::DhGenerate { group, private });
        self.gen_child = Some(GenChild { job, task });
    }

    fn ask_rekey_child(&mut self, ctx: &mut Ctx, now: Instant, task: RekeyChild, public: &[u8]) {
        let mut chain = Chain::new();
        if task.purpose == Purpose::Rekey {
            let Some(old) = self.child(task.old).filter(|c| c.stage == Stage::Live) else { return };
            // RFC 7296 §1.3.3: the SPI is the one that we would expect in inbound packets.
            let spi = old.spi_in.get().to_be_bytes();
            chain.notify_spi(PROTOCOL_ESP, &spi, NotifyType::REKEY_SA, &[]);
        }
        chain.sa(&esp::offer(&task.offer, task.spi_in, Phase::Rekey { sent_group: None }));
        chain.nonce(&task.ni);
        if let Some(dh) = &task.dh {
            chain.ke(dh.group.transform_id(), public);
        }
        let (local, remote) = self.ts_offer.lists(&ctx.config);
        chain.ts(PayloadType::TSI, &local);
        chain.ts(PayloadType::TSR, &remote);
        let task = Task::RekeyChild(Box::new(task));
        self.current_mut().sa.request(ctx, now, Exchange::CREATE_CHILD_SA, chain, task);
    }

    pub(crate) fn on_rekey_child_answer(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        task: RekeyChild,
        m: &Message<'_>,
    ) -> Result<(), End> {
        if let Some(n) = m.error() {
            return self.on_rekey_child_refused(ctx, now, task, n.kind, n.data);
        }
        let sent_group = task.dh.as_ref().map(|d| d.group.transform_id());
        let answered = (|| {
            let chosen = esp::accept(m.sa.as_ref()?, &task.offer, Phase::Rekey { sent_group })?;
            let (tsi, tsr) = (m.tsi.as_ref()?, m.tsr.as_ref()?);
            let selectors = TrafficSelectors::of(tsi, tsr);
            let (local, remote) = self.ts_offer.lists(&ctx.config);
            let fits = ts::accept(tsi, &local).is_ok()
                && ts::accept(tsr, &remote).is_ok()
                && self.child(task.old).is_none_or(|old| selectors.keep(&old.selectors));
            let sa = &self.current().sa;
            fits.then(|| Answered {
                nr: m.nonce.unwrap_or_default().to_vec(),
                chosen,
                selectors,
                prf: sa.suite.prf,
                sk_d: sa.sk_d.clone(),
            })
        })();
        let Some(rest) = answered.filter(|a| !a.nr.is_empty()) else {
            return self.rekey_child_unusable(ctx, now, &task);
        };
        let suite = rest.chosen.suite;
        let followup = suite.ke1.and_then(|group| Followup::of(group, m));
        if followup.is_some() != suite.ke1.is_some() {
            return self.rekey_child_unusable(ctx, now, &task);
        }
        if self.is_child_decided_against(&task, &lower(&task.ni, &rest.nr), followup.is_some()) {
            return Ok(());
        }
        match (suite.group, task.dh.as_ref(), m.ke.as_ref()) {
            (None, _, _) => self.finish_rekey_child(ctx, now, task, rest, (None, None)),
            (Some(group), Some(dh), Some(ke)) if dh.group == group && ke.group == group.transform_id() => {
                let private = dh.private.clone();
                let job = ctx.compute(Job::DhAgree { group, private, peer_public: ke.public.to_vec() });
                self.agree_child = Some(AgreeChild { job, task, rest, shared: None, followup });
            }
            _ => return self.rekey_child_unusable(ctx, now, &task),
        }
        Ok(())
    }

    /// Whether the job was one of these.
    pub(crate) fn on_rekey_child_computed(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        job: JobId,
        outcome: Outcome,
    ) -> Result<Result<(), End>, Outcome> {
        if let Some(g) = self.gen_child.take_if(|g| g.job == job) {
            return Ok(match outcome {
                // RFC 7296 §2.25.2: the peer is replacing the IKE SA; its successor is asked.
                Outcome::DhGenerated { .. } if !self.answer_ikes.is_empty() => {
                    self.enqueue(Todo::RekeyChild(g.task.old));
                    Ok(())
                }
                Outcome::DhGenerated { public } => {
                    self.ask_rekey_child(ctx, now, g.task, &public);
                    Ok(())
                }
                _ => self.rekey_child_failed(ctx, now, &g.task, None),
            });
        }
        let Some(mut a) = self.agree_child.take_if(|a| a.job == job) else { return Err(outcome) };
        let (first, asked) = (a.shared.take(), a.followup.as_ref().is_some_and(Followup::is_asked));
        match (outcome, first, &mut a.followup) {
            (Outcome::DhAgreed { shared }, None, None) => {
                self.finish_rekey_child(ctx, now, a.task, a.rest, (Some(&shared), None));
            }
            (Outcome::DhAgreed { shared }, Some(first), Some(_)) if asked => {
                self.finish_rekey_child(ctx, now, a.task, a.rest, (Some(&first), Some(&shared)));
            }
            (Outcome::DhAgreed { shared }, None, Some(followup)) => {
                a.job = followup.generate(ctx);
                self.agree_child = Some(AgreeChild { shared: Some(shared), ..a });
            }
            (Outcome::DhGenerated { public }, first, Some(followup)) => {
                let chain = followup.ask(&public);
                self.agree_child = Some(AgreeChild { shared: first, ..a });
                self.ask_followup_child(ctx, now, chain);
            }
            // The peer waits for IKE_FOLLOWUP_KE, and has nothing yet.
            (_, _, Some(_)) if !asked => return Ok(self.rekey_child_failed(ctx, now, &a.task, None)),
            _ => return Ok(self.rekey_child_unusable(ctx, now, &a.task)),
        }
        Ok(Ok(()))
    }

    fn finish_rekey_child(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        task: RekeyChild,
        rest: Answered,
        shared: (Option<&Secret>, Option<&Secret>),
    ) {
        let RekeyChild { old, spi_in, ni, rival, .. } = task;
        let ours = lower(&ni, &rest.nr);
        // RFC 7296 §2.8.1: the SA created with the lowest of the four nonces is closed by its creator; the creator of
        // the other deletes the old one.
        // A peer that has deleted the old one meanwhile was not aware of ours when it decided.
        let decided = self.child(old).is_none_or(|c| c.stage != Stage::Live);
        let redundant = rival.is_some_and(|(_, lowest)| decided || ours < lowest);
        let id = ctx.child_id();
        let Made { mut child, inbound, outbound } = Child::make(
            ctx,
            now,
            Ingredients {
                id,
                prf: rest.prf,
                sk_d: &rest.sk_d,
                shared,
                ni: &ni,
                nr: &rest.nr,
                exchange_initiator: true,
                spi_in,
                spi_out: rest.chosen.peer_spi,
                suite: rest.chosen.suite,
                selectors: rest.selectors,
            },
        );
        if redundant {
            child.stage = Stage::Redundant;
            self.children.push(child);
            return self.enqueue(Todo::DeleteChild(id));
        }
        ctx.counters.rekeys_child += 1;
        self.children.push(child);
        match self.child_mut(old) {
            Some(c) => {
                // Its DELETE waits until the new one is installed.
                if c.stage == Stage::Live {
                    c.stage = Stage::Deleting;
                }
                ctx.event(Event::ChildSaReplaced { old, child: id, inbound, outbound, bind: true });
            }
            None => ctx.event(Event::ChildSaUp { child: id, inbound, outbound }),
        }
    }

    pub(super) fn on_rekey_child_refused(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        task: RekeyChild,
        kind: NotifyType,
        data: &[u8],
    ) -> Result<(), End> {
        match kind {
            NotifyType::CHILD_SA_NOT_FOUND => {
                // RFC 7296 §2.8.1: with a crossing rekey this is expected and ignored. Otherwise §2.25: silently
                // delete what the peer does not have, and make a new one.
                if task.rival.is_none() && self.child(task.old).is_some_and(|c| c.stage == Stage::Live) {
                    self.children.retain(|c| c.id != task.old);
                    let cause = ChildDownCause::PeerDeleted;
                    ctx.event(Event::ChildSaDown { child: task.old, cause });
                    if !self
                        .children
                        .iter()
                        .any(|c| c.is_live() || matches!(c.stage, Stage::Installing { .. }))
                    {
                        self.make_child(ctx, now, task.old, Purpose::Afresh);
                    }
                }
                Ok(())
            }
            NotifyType::INVALID_KE_PAYLOAD if task.groups_tried < GROUPS_TRIED_MAX => {
                let wanted = <[u8; 2]>::try_from(data).ok().map(u16::from_be_bytes);
                let mut offered = task.offer.iter().flat_map(|p| &p.groups).copied();
                let group = offered.find(|g| Some(g.transform_id()) == wanted);
                match group {
                    Some(g) => {
                        self.generate_child(ctx, now, task, Some(g));
                        Ok(())
                    }
                    None => self.rekey_child_failed(ctx, now, &task, Some(kind)),
                }
            }
            NotifyType::SINGLE_PAIR_REQUIRED
                if task.purpose != Purpose::Rekey
                    && let Some(narrower) = self.ts_offer.narrower(&ctx.config) =>
            {
                self.ts_offer = narrower;
                self.make_child(ctx, now, task.old, task.purpose);
                Ok(())
            }
            _ if task.purpose == Purpose::First => {
                // The peer may still make one itself.
                self.childless_why = Some(match kind {
                    NotifyType::TS_UNACCEPTABLE => IkeError::TsUnacceptable { by: Party::Peer },
                    NotifyType(notify) => IkeError::NoChildSa { notify },
                });
                Ok(())
            }
            _ => self.rekey_child_failed(ctx, now, &task, Some(kind)),
        }
    }

    /// The peer has answered, and has an SA that we cannot have.
    pub(super) fn rekey_child_unusable(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        task: &RekeyChild,
    ) -> Result<(), End> {
        self.enqueue(Todo::DeleteOffered(task.spi_in));
        self.rekey_child_failed(ctx, now, task, None)
    }

    /// For now. The hard limit decides in the end.
    fn rekey_child_failed(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        task: &RekeyChild,
        kind: Option<NotifyType>,
    ) -> Result<(), End> {
        if kind == Some(NotifyType::NO_ADDITIONAL_SAS) {
            // RFC 7296 §4: a peer that makes no further SAs on an IKE SA makes them with a new one.
            self.want_reauth(now);
        }
        let Some(child) = self.child_mut(task.old) else { return Ok(()) };
        child.rekey_at = child
            .refused
            .note(ctx, now, kind, RETRY_AFTER)
            .map_err(|error| End::Failed { error, keep: None })?;
        Ok(())
    }
}
