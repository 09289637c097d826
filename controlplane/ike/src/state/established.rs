//! The IKE SA is up: both sides are authenticated. The work itself is in `task/`.

use super::agreeing::Init;
use super::deserted::GRACE;
use super::{Deserted, Ended, Last, State};
use crate::auth::{AuthMethod, FingerprintBasis, Peer, PpkStage};
use crate::compute::{JobId, Outcome};
use crate::ctx::Ctx;
use crate::error::{CloseCause, IkeError, Violation};
use crate::exchange::{IkeSa, Incoming};
use crate::identity::Identity;
use crate::negotiate::ts::TsOffer;
use crate::output::{ChildDownCause, ChildId, Event};
use crate::task::budget::Budget;
use crate::task::child::{Child, Made, Stage};
use crate::task::reauth::reauth_after;
use crate::task::refused::Refused;
use crate::task::rekey_child::GenChild;
use crate::task::rekey_ike::GenIke;
use crate::task::{AgreeChild, AgreeIke, AnswerChild, AnswerIke, TODO_MAX, Task, Todo};
use crate::view::NatView;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, ParseError};
use core::time::Duration;
use sipsec_net::Instant;
use std::collections::VecDeque;

/// What an IKE SA of this endpoint is to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// All requests of ours go here. There is always exactly one.
    Current,
    /// Made by the peer's rekey while ours is under way; one of them will be current.
    Candidate,
    /// Our DELETE of it is outstanding.
    Redundant,
    /// The peer has to delete it.
    AwaitDelete { until: Instant },
    /// The peer deleted it; repeated requests still get their answer.
    Gone { until: Instant },
    /// Belongs to an earlier authentication (RFC 7296 §2.8.3). The side that began the new one deletes it; should that be the
    /// peer, we do after `until`.
    Outlived { ours: bool, until: Instant },
}

pub(crate) struct Slot {
    pub sa: IkeSa,
    pub standing: Standing,
    /// The authentication that it comes from: a rekey inherits it.
    pub generation: u32,
}

/// The peer's identity for views; the proofs themselves are with our user.
pub(crate) struct Who {
    pub id: Identity,
    pub method: AuthMethod,
    pub basis: FingerprintBasis,
}

/// What IKE_AUTH said besides the CHILD_SA.
#[derive(Default)]
pub(crate) struct Begin {
    /// The responder's response, which waits for the dataplane.
    pub hold: Option<Hold>,
    /// RFC 7296 §2.4: the peer has no other IKE SA with us.
    pub initial_contact: bool,
    /// RFC 4478: when the responder wants to be authenticated to again.
    pub auth_lifetime: Option<Duration>,
}

/// A response that waits for the dataplane.
pub(crate) struct Hold {
    pub exchange: Exchange,
    pub id: u32,
    pub chain: Chain,
}

pub(crate) struct Held {
    pub slot: u64,
    pub child: ChildId,
    pub hold: Hold,
}

/// Why there is no SA any more. `keep` is the IKE SA on which the last message was answered; without one the peer gets a
/// DELETE.
pub(crate) enum End {
    Closed {
        cause: CloseCause,
        keep: Option<u64>,
    },
    Failed {
        error: IkeError,
        keep: Option<u64>,
    },
    /// The peer has nothing of it any more, so there is nothing to say to it.
    Lost,
}

pub(crate) struct Established {
    pub who: Who,
    /// Which authentication of the call this is.
    pub generation: u32,
    /// We were the initiator of IKE_AUTH.
    pub asked: bool,
    initial_contact: bool,
    /// When to authenticate anew.
    pub reauth_at: Option<Instant>,
    pub nat: NatView,
    pub ppk: bool,
    pub slots: Vec<Slot>,
    pub children: Vec<Child>,
    pub queue: VecDeque<Todo>,
    pub held: Vec<Held>,
    pub gen_child: Option<GenChild>,
    pub agree_child: Option<AgreeChild>,
    pub answer_children: Vec<AnswerChild>,
    pub gen_ike: Option<GenIke>,
    pub agree_ike: Option<AgreeIke>,
    pub answer_ikes: Vec<AnswerIke>,
    /// See `task/early.rs`.
    pub early: VecDeque<Vec<u8>>,
    pub established_at: Instant,
    pub rekey_at: Instant,
    pub expires_at: Instant,
    pub refused: Refused,
    /// What the peer may ask of us.
    pub budget: Budget,
    /// No CHILD_SA is left: the end comes then, unless one is made.
    pub childless_until: Option<Instant>,
    /// Why there is none, if the peer refused one.
    pub childless_why: Option<IkeError>,
    /// What CHILD_SAs are asked for.
    pub ts_offer: TsOffer,
    pub dpd_asked_at: Instant,
    /// ESP had gone out by then and nothing had come back since.
    pub dpd_suspects_path: bool,
}

impl Established {
    pub fn with_child(
        ctx: &mut Ctx,
        now: Instant,
        sa: IkeSa,
        peer: Peer,
        init: &Init,
        made: Made,
        begin: Begin,
    ) -> State {
        let Made { mut child, inbound, outbound } = made;
        let slot = sa.local_spi();
        let Begin { hold, initial_contact, auth_lifetime } = begin;
        // RFC 7296 §2.8: the side that began may send on the new SA at once; the other one waits for it.
        let waits = hold.is_some() && !initial_contact;
        let mut this = Self::new(ctx, now, sa, peer, init);
        this.initial_contact = initial_contact;
        this.reauth_at = auth_lifetime.map(|lifetime| now + reauth_after(lifetime));
        child.generation = this.generation;
        let id = child.id;
        match ctx.predecessor() {
            Some(old) => {
                child.stage = Stage::Installing { standby_of: waits.then_some(old) };
                ctx.event(Event::ChildSaReplaced { old, child: id, inbound, outbound, bind: !waits });
            }
            None => ctx.event(Event::ChildSaUp { child: id, inbound, outbound }),
        }
        this.held.extend(hold.map(|hold| Held { slot, child: id, hold }));
        this.children.push(child);
        State::Established(this)
    }

    /// The peer made none with IKE_AUTH; one is asked for by CREATE_CHILD_SA.
    pub fn without_child(
        ctx: &mut Ctx,
        now: Instant,
        sa: IkeSa,
        peer: Peer,
        init: &Init,
        ts_offer: TsOffer,
    ) -> State {
        let mut this = Self::new(ctx, now, sa, peer, init);
        this.ts_offer = ts_offer;
        this.enqueue(Todo::FirstChild);
        this.proceed(ctx, now, Ok(()))
    }

    fn new(ctx: &mut Ctx, now: Instant, sa: IkeSa, peer: Peer, init: &Init) -> Box<Self> {
        let lifetime = ctx.config.ike_lifetime;
        let (peer, fingerprint) = peer;
        let who = Who { id: peer.id().clone(), method: peer.method(), basis: fingerprint.basis() };
        ctx.proven_psk = peer.psk();
        ctx.event(Event::Authenticated(peer, fingerprint));
        let generation = ctx.next_generation();
        Box::new(Self {
            who,
            generation,
            asked: sa.initiator,
            initial_contact: false,
            reauth_at: None,
            nat: init.nat,
            ppk: init.ppk == PpkStage::Used,
            slots: vec![Slot { sa, standing: Standing::Current, generation }],
            children: Vec::new(),
            queue: VecDeque::new(),
            held: Vec::new(),
            gen_child: None,
            agree_child: None,
            answer_children: Vec::new(),
            gen_ike: None,
            agree_ike: None,
            answer_ikes: Vec::new(),
            early: VecDeque::new(),
            established_at: now,
            rekey_at: now + ctx.jittered(lifetime.soft, lifetime.jitter_percent),
            expires_at: now + lifetime.hard,
            refused: Refused::default(),
            budget: Budget::full(now),
            childless_until: None,
            childless_why: None,
            ts_offer: TsOffer::All,
            dpd_asked_at: now,
            dpd_suspects_path: false,
        })
    }

    /// RFC 7296 §2.4: INITIAL_CONTACT, proven by IKE_AUTH: the peer has nothing of before.
    pub const fn peer_forgot(&self) -> bool {
        self.initial_contact
    }

    pub fn current(&self) -> &Slot {
        self.slots.iter().find(|s| s.standing == Standing::Current).expect("one IKE SA is current")
    }

    pub fn current_mut(&mut self) -> &mut Slot {
        self.slots.iter_mut().find(|s| s.standing == Standing::Current).expect("one IKE SA is current")
    }

    pub fn slot(&self, spi: u64) -> Option<&Slot> {
        self.slots.iter().find(|s| s.sa.local_spi() == spi)
    }

    pub fn slot_mut(&mut self, spi: u64) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|s| s.sa.local_spi() == spi)
    }

    pub fn set_standing(&mut self, spi: u64, standing: Standing) {
        if let Some(s) = self.slot_mut(spi) {
            s.standing = standing;
        }
    }

    /// Forgets the other IKE SAs, and with them the responses that were to go over them.
    pub fn keep_slots(&mut self, keep: impl FnMut(&Slot) -> bool) {
        self.slots.retain(keep);
        let slots = &self.slots;
        self.held.retain(|h| slots.iter().any(|s| s.sa.local_spi() == h.slot));
    }

    pub fn child(&self, id: ChildId) -> Option<&Child> {
        self.children.iter().find(|c| c.id == id)
    }

    pub fn child_mut(&mut self, id: ChildId) -> Option<&mut Child> {
        self.children.iter_mut().find(|c| c.id == id)
    }

    pub fn enqueue(&mut self, todo: Todo) {
        debug_assert!(self.queue.len() < TODO_MAX, "each kind is queued once for each child");
        if !self.queue.contains(&todo) && self.queue.len() < TODO_MAX {
            self.queue.push_back(todo);
        }
    }

    /// RFC 6290 §4.4: a token is taken in any protected exchange.
    fn note_tokens(&mut self, ctx: &Ctx, slot: u64, m: &Message<'_>) {
        if let Some(slot) = self.slot_mut(slot) {
            slot.sa.peer_tokens.note(ctx, m);
        }
    }

    pub fn reply(&mut self, ctx: &mut Ctx, slot: u64, exchange: Exchange, id: u32, chain: Chain) {
        if let Some(s) = self.slot_mut(slot) {
            s.sa.respond(ctx, exchange, id, chain);
        }
    }

    /// Keeps a response until the dataplane has done what `child` needs.
    pub fn hold(&mut self, slot: u64, exchange: Exchange, id: u32, chain: Chain, child: ChildId) {
        self.held.push(Held { slot, child, hold: Hold { exchange, id, chain } });
    }

    pub fn on_message(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        now: Instant,
        header: &Header,
        bytes: &[u8],
    ) -> State {
        let Some(slot) = self.slots.iter_mut().find(|s| s.sa.is(header)) else {
            if !self.keep_early(header, bytes) {
                ctx.counters.dropped_spi += 1;
            }
            return State::Established(self);
        };
        let spi = slot.sa.local_spi();
        let Some(mut incoming) = slot.sa.receive(ctx, now, header, bytes) else {
            return State::Established(self);
        };
        let result = match incoming.answers.take() {
            Some(task) => self.on_response(ctx, now, spi, task, &incoming),
            None => self.on_request(ctx, now, spi, &incoming),
        };
        self.proceed(ctx, now, result)
    }

    fn on_request(&mut self, ctx: &mut Ctx, now: Instant, slot: u64, incoming: &Incoming) -> Result<(), End> {
        let m = match incoming.message() {
            Ok(m) => m,
            Err(ParseError::UnsupportedCritical(payload)) => {
                return self.refuse(
                    ctx,
                    slot,
                    incoming,
                    NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD,
                    &[payload],
                );
            }
            Err(e) => return self.invalid_syntax(ctx, slot, incoming, e.into()),
        };
        if incoming.exchange == Exchange::INFORMATIONAL {
            self.note_tokens(ctx, slot, &m);
        }
        match incoming.exchange {
            Exchange::INFORMATIONAL => self.answer_informational(ctx, now, slot, incoming, &m),
            Exchange::CREATE_CHILD_SA => self.answer_create_child(ctx, now, slot, incoming, &m),
            Exchange::IKE_FOLLOWUP_KE => self.answer_followup(ctx, slot, incoming, &m),
            // These have their place, and it is not here.
            Exchange::IKE_SA_INIT | Exchange::IKE_AUTH | Exchange::IKE_INTERMEDIATE => {
                let violation = Violation::Malformed("exchange type");
                self.invalid_syntax(ctx, slot, incoming, IkeError::ProtocolViolation(violation))
            }
            // An exchange of a later RFC. INVALID_SYNTAX would end the IKE SA at both sides (RFC 7296 §2.21.3) and with it
            // the call; an answer without payloads says that nothing was done.
            exchange => {
                ctx.counters.unknown_exchanges_in += 1;
                self.reply(ctx, slot, exchange, incoming.id, Chain::new());
                Ok(())
            }
        }
    }

    fn on_response(
        &mut self,
        ctx: &mut Ctx,
        now: Instant,
        slot: u64,
        task: Task,
        incoming: &Incoming,
    ) -> Result<(), End> {
        let m = match incoming.message() {
            Ok(m) => m,
            // RFC 7296 §2.21: an error in a response is not answered; the state is cleaned up with a DELETE.
            Err(e) => return Err(End::Failed { error: e.into(), keep: None }),
        };
        if incoming.exchange == Exchange::INFORMATIONAL {
            self.note_tokens(ctx, slot, &m);
        }
        let makes =
            matches!(task, Task::RekeyChild(_) | Task::RekeyIke(_) | Task::FollowupIke | Task::FollowupChild);
        if makes && m.error().is_some_and(|n| n.kind == NotifyType::INVALID_SYNTAX) {
            // RFC 7296 §2.21.3: the peer found our request malformed, so the SA is gone there.
            let error = IkeError::PeerNotify { notify: NotifyType::INVALID_SYNTAX.0 };
            return Err(End::Failed { error, keep: Some(self.current().sa.local_spi()) });
        }
        match task {
            Task::Dpd => self.suspect_path(ctx, now),
            Task::Probe | Task::Token | Task::Auth | Task::KeyExchange => {}
            Task::DeleteChildren(ids) => self.on_deleted(ctx, now, &ids),
            Task::DeleteIke => self.keep_slots(|s| s.sa.local_spi() != slot),
            Task::RekeyChild(t) => return self.on_rekey_child_answer(ctx, now, *t, &m),
            Task::RekeyIke(t) => return self.on_rekey_ike_answer(ctx, now, *t, &m),
            Task::FollowupIke => return self.on_followup_ike_answer(ctx, now, &m),
            Task::FollowupChild => return self.on_followup_child_answer(ctx, now, &m),
        }
        Ok(())
    }

    pub fn on_compute(
        mut self: Box<Self>,
        ctx: &mut Ctx,
        now: Instant,
        job: JobId,
        outcome: Outcome,
    ) -> State {
        let result = self
            .on_answer_child_computed(ctx, now, job, outcome)
            .or_else(|o| self.on_answer_ike_computed(ctx, now, job, o))
            .or_else(|o| self.on_rekey_child_computed(ctx, now, job, o))
            .or_else(|o| self.on_rekey_ike_computed(ctx, now, job, o))
            // The work of an exchange that was given up.
            .unwrap_or(Ok(()));
        self.proceed(ctx, now, result)
    }

    /// Starts what the window allows, or ends.
    pub fn proceed(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, result: Result<(), End>) -> State {
        if let Err(end) = result {
            return self.end(ctx, now, end);
        }
        if self.current_mut().sa.wears_out() {
            self.want_rekey_ike(ctx, now);
        }
        self.poll_outlived(ctx, now);
        self.poll_handover(ctx, now);
        while self.current().sa.can_request()
            && self.gen_child.is_none()
            && self.gen_ike.is_none()
            && self.agree_ike.is_none()
            && !self.is_following_up_child()
            && self.answer_ikes.is_empty()
            && let Some(todo) = self.queue.pop_front()
        {
            match todo {
                Todo::Dpd => self.ask_alive(ctx, now),
                Todo::Probe => self.probe_path(ctx, now),
                Todo::Token => self.send_token(ctx, now),
                Todo::DeleteChild(id) => self.ask_delete(ctx, now, id),
                Todo::DeleteOffered(spi) => self.ask_delete_offered(ctx, now, spi),
                Todo::RekeyChild(id) => self.begin_rekey_child(ctx, now, id),
                Todo::FirstChild => self.make_first_child(ctx, now),
                // RFC 7296 §2.25.1: not while a CHILD_SA is under way.
                Todo::RekeyIke if self.agree_child.is_some() => {
                    self.queue.push_back(Todo::RekeyIke);
                    break;
                }
                Todo::RekeyIke => self.begin_rekey_ike(ctx),
            }
        }
        self.watch_children(now);
        self.report_path(ctx);
        match self.take_early() {
            Some(bytes) => self.resume_early(ctx, now, &bytes),
            None => State::Established(self),
        }
    }

    fn end(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, end: End) -> State {
        let (last, keep) = match end {
            End::Closed { cause, keep } => (Last::Closed(cause), keep),
            End::Failed { error, keep } => (Last::Failed(error), keep),
            End::Lost => {
                self.slots.clear();
                (Last::Failed(IkeError::PeerRestarted), None)
            }
        };
        // The life of the call is not the life of one IKE SA: a peer that has none any more may be making another.
        let until = match &last {
            Last::Closed(CloseCause::PeerDeleted) => Some(now + GRACE),
            Last::Failed(IkeError::NoResponse(_) | IkeError::PeerRestarted) => ctx.further_until,
            _ => None,
        };
        let Some(until) = until else {
            ctx.event(last.event());
            return State::Ended(Box::new(self.leave(ctx, now, keep)));
        };
        // The dataplane does not have a redundant one.
        for c in self.children.iter().filter(|c| c.stage != Stage::Redundant) {
            ctx.event(Event::ChildSaDown { child: c.id, cause: ChildDownCause::PeerDeleted });
        }
        let ended = self.leave(ctx, now, keep);
        State::Deserted(Box::new(Deserted::new(ended, until, last)))
    }

    pub fn close(self: Box<Self>, ctx: &mut Ctx, now: Instant) -> Ended {
        self.leave(ctx, now, None)
    }

    /// The peer's rekey may be over for the peer and undecided here: what it has made goes with the rest.
    fn leave(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, keep: Option<u64>) -> Ended {
        self.drop_early(ctx);
        let ours = |s: &&Slot| {
            matches!(s.standing, Standing::Current | Standing::Candidate | Standing::Outlived { .. })
        };
        let spis = self.slots.iter().filter(ours).map(|s| s.sa.local_spi());
        for spi in spis.filter(|spi| Some(*spi) != keep).collect::<Vec<_>>() {
            self.delete_slot(ctx, now, spi);
        }
        Ended::all(ctx, self.slots.into_iter().map(|s| s.sa).collect())
    }
}
