//! The IKE SA is up: both sides are authenticated. The work itself is in `task/`.

use super::agreeing::Init;
use super::{Ended, State};
use crate::auth::{Peer, PpkStage};
use crate::compute::{JobId, Outcome};
use crate::ctx::Ctx;
use crate::error::{CloseCause, IkeError, Violation};
use crate::exchange::{IkeSa, Incoming};
use crate::output::{ChildId, Event};
use crate::task::budget::Budget;
use crate::task::child::{Child, Made};
use crate::task::refused::Refused;
use crate::task::rekey_child::GenChild;
use crate::task::rekey_ike::GenIke;
use crate::task::{AgreeChild, AgreeIke, AnswerChild, AnswerIke, TODO_MAX, Task, Todo};
use crate::view::NatView;
use crate::wire::{Chain, Exchange, Header, Message, NotifyType, ParseError};
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
}

pub(crate) struct Slot {
    pub sa: IkeSa,
    pub standing: Standing,
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
    Closed { cause: CloseCause, keep: Option<u64> },
    Failed { error: IkeError, keep: Option<u64> },
}

pub(crate) struct Established {
    pub peer: Peer,
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
    pub established_at: Instant,
    pub rekey_at: Instant,
    pub expires_at: Instant,
    pub refused: Refused,
    /// What the peer may ask of us.
    pub budget: Budget,
    /// No CHILD_SA is left: the end comes then, unless one is made.
    pub childless_until: Option<Instant>,
    pub dpd_asked_at: Instant,
}

impl Established {
    /// `hold` is the responder's IKE_AUTH response.
    pub fn with_child(
        ctx: &mut Ctx,
        now: Instant,
        sa: IkeSa,
        peer: Peer,
        init: &Init,
        made: Made,
        hold: Option<Hold>,
    ) -> State {
        let lifetime = ctx.config.ike_lifetime;
        let Made { child, inbound, outbound } = made;
        ctx.event(Event::ChildSaUp { child: child.id, inbound, outbound });
        let slot = sa.local_spi();
        let held = hold.map(|hold| Held { slot, child: child.id, hold }).into_iter().collect();
        State::Established(Box::new(Self {
            peer,
            nat: init.nat,
            ppk: init.ppk == PpkStage::Used,
            slots: vec![Slot { sa, standing: Standing::Current }],
            children: vec![child],
            queue: VecDeque::new(),
            held,
            gen_child: None,
            agree_child: None,
            answer_children: Vec::new(),
            gen_ike: None,
            agree_ike: None,
            answer_ikes: Vec::new(),
            established_at: now,
            rekey_at: now + ctx.jittered(lifetime.soft, lifetime.jitter_percent),
            expires_at: now + lifetime.hard,
            refused: Refused::default(),
            budget: Budget::full(now),
            childless_until: None,
            dpd_asked_at: now,
        }))
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
            ctx.counters.dropped_spi += 1;
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
        let m = match Message::parse(incoming.first, &incoming.plaintext) {
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
        match incoming.exchange {
            Exchange::INFORMATIONAL => self.answer_informational(ctx, now, slot, incoming, &m),
            Exchange::CREATE_CHILD_SA => self.answer_create_child(ctx, now, slot, incoming, &m),
            Exchange::IKE_FOLLOWUP_KE => self.answer_followup(ctx, slot, incoming, &m),
            _ => {
                let violation = Violation::Malformed("exchange type");
                self.invalid_syntax(ctx, slot, incoming, IkeError::ProtocolViolation(violation))
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
        let m = match Message::parse(incoming.first, &incoming.plaintext) {
            Ok(m) => m,
            // RFC 7296 §2.21: an error in a response is not answered; the state is cleaned up with a DELETE.
            Err(e) => return Err(End::Failed { error: e.into(), keep: None }),
        };
        let makes = matches!(task, Task::RekeyChild(_) | Task::RekeyIke(_) | Task::FollowupKe);
        if makes && m.error().is_some_and(|n| n.kind == NotifyType::INVALID_SYNTAX) {
            // RFC 7296 §2.21.3: the peer found our request malformed, so the SA is gone there.
            let error = IkeError::PeerNotify { notify: NotifyType::INVALID_SYNTAX.0 };
            return Err(End::Failed { error, keep: Some(self.current().sa.local_spi()) });
        }
        match task {
            Task::Dpd | Task::Auth | Task::KeyExchange => {}
            Task::DeleteChildren(ids) => self.on_deleted(ctx, now, &ids),
            Task::DeleteIke => self.keep_slots(|s| s.sa.local_spi() != slot),
            Task::RekeyChild(t) => return self.on_rekey_child_answer(ctx, now, *t, &m),
            Task::RekeyIke(t) => return self.on_rekey_ike_answer(ctx, now, *t, &m),
            Task::FollowupKe => return self.on_followup_answer(ctx, now, &m),
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
        while self.current().sa.can_request()
            && self.gen_child.is_none()
            && self.gen_ike.is_none()
            && self.agree_ike.is_none()
            && self.answer_ikes.is_empty()
            && let Some(todo) = self.queue.pop_front()
        {
            match todo {
                Todo::Dpd => self.ask_alive(ctx, now),
                Todo::DeleteChild(id) => self.ask_delete(ctx, now, id),
                Todo::DeleteOffered(spi) => self.ask_delete_offered(ctx, now, spi),
                Todo::RekeyChild(id) => self.begin_rekey_child(ctx, now, id),
                // RFC 7296 §2.25.1: not while a CHILD_SA is under way.
                Todo::RekeyIke if self.agree_child.is_some() => {
                    self.queue.push_back(Todo::RekeyIke);
                    break;
                }
                Todo::RekeyIke => self.begin_rekey_ike(ctx),
            }
        }
        self.watch_children(now);
        State::Established(self)
    }

    fn end(self: Box<Self>, ctx: &mut Ctx, now: Instant, end: End) -> State {
        let keep = match end {
            End::Closed { cause, keep } => {
                ctx.event(Event::Closed(cause));
                keep
            }
            End::Failed { error, keep } => {
                ctx.event(Event::Failed(error));
                keep
            }
        };
        State::Ended(Box::new(self.leave(ctx, now, keep)))
    }

    pub fn close(self: Box<Self>, ctx: &mut Ctx, now: Instant) -> Ended {
        self.leave(ctx, now, None)
    }

    /// The peer's rekey may be over for the peer and undecided here: what it has made goes with the rest.
    fn leave(mut self: Box<Self>, ctx: &mut Ctx, now: Instant, keep: Option<u64>) -> Ended {
        let ours = |s: &&Slot| matches!(s.standing, Standing::Current | Standing::Candidate);
        let spis = self.slots.iter().filter(ours).map(|s| s.sa.local_spi());
        for spi in spis.filter(|spi| Some(*spi) != keep).collect::<Vec<_>>() {
            self.delete_slot(ctx, now, spi);
        }
        Ended::all(ctx, self.slots.into_iter().map(|s| s.sa).collect())
    }
}
