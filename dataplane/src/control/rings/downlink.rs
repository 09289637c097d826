//! What the control plane asks for: transactions, snapshots, IKE messages to send.

use super::{Broken, Uplink};
use sipsec_abi::command::{Command, CommandError, CommandReceiver};
use sipsec_abi::doorbell::Waiter;
use sipsec_abi::punt::PuntReceiver;
use sipsec_abi::{Admission, Punt, RecvError, TxnLog};
use sipsec_net::TxnId;
use sipsec_net::dp::{Event, OPS_MAX, Op, RejectReason};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use tracing::{debug, warn};

/// Transactions and snapshots taken in one turn of the loop.
const TRANSACTIONS_PER_TURN_MAX: usize = 4;
/// IKE messages sent in one turn.
const IKE_PER_TURN_MAX: usize = 32;

/// The downward rings of one connection.
#[derive(Debug)]
pub(super) struct DownRings {
    pub commands: CommandReceiver,
    pub punts: PuntReceiver,
    pub answers: TxnLog,
    pub doorbell: Waiter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DownCounts {
    pub applied: u64,
    pub rejected: u64,
    pub repeated: u64,
    pub discarded: u64,
    pub ike: u64,
}

/// What commands act on, and the way up.
pub trait Target {
    /// Proof that nothing in the way of a transaction was found.
    type Validated;
    fn validate(&self, ops: &[Op]) -> Result<Self::Validated, (u16, RejectReason)>;
    /// Begins to apply what has just been validated; [`Downlink::applied`] says when it is. With `more`, others of the same
    /// change follow. On error nothing has changed.
    fn begin(
        &mut self,
        ops: Vec<Op>,
        more: bool,
        validated: Self::Validated,
    ) -> Result<(), (u16, RejectReason)>;
    /// Reports everything that is live, and that this was all.
    fn snapshot(&mut self);
    /// Sends an IKE message, unless its port is closed or its remote is not the peer.
    fn send_ike(&mut self, message: Punt<'_>);
    /// Whether the answer to another command would be kept until the control plane takes it.
    fn has_room_for_answer(&self) -> bool;
    /// Whether another IKE message would be sent. Until it would, messages wait in their ring.
    fn has_room_for_ike(&self) -> bool;
    fn report(&mut self, event: Event);
}

/// `V` is the target's proof that a transaction can be applied.
#[derive(Debug)]
pub struct Downlink<V> {
    rings: Option<DownRings>,
    /// The transaction that is being applied.
    pending: Option<Pending>,
    ops: Vec<Op>,
    counts: DownCounts,
    broken: Option<Broken>,
    proof: PhantomData<V>,
}

/// A transaction that has begun.
#[derive(Debug)]
struct Pending {
    txn: TxnId,
    /// No answer is expected: the connection has ended since.
    is_orphan: bool,
}

impl<V> Default for Downlink<V> {
    fn default() -> Self {
        Self {
            rings: None,
            pending: None,
            ops: Vec::with_capacity(OPS_MAX),
            counts: DownCounts::default(),
            broken: None,
            proof: PhantomData,
        }
    }
}

impl<V> Downlink<V> {
    pub(super) fn attach(&mut self, rings: DownRings) {
        self.detach();
        self.rings = Some(rings);
    }

    pub(super) fn detach(&mut self) {
        self.rings = None;
        self.broken = None;
        if let Some(pending) = &mut self.pending {
            pending.is_orphan = true;
        }
    }

    #[must_use]
    pub const fn counts(&self) -> &DownCounts {
        &self.counts
    }

    pub(super) const fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// One turn: commands, then IKE to send. How much there was to do.
    pub fn turn(&mut self, target: &mut impl Target<Validated = V>) -> usize {
        self.commands(target) + self.ike(target)
    }

    fn commands(&mut self, target: &mut impl Target<Validated = V>) -> usize {
        for done in 0..TRANSACTIONS_PER_TURN_MAX {
            if self.pending.is_some() {
                return done;
            }
            let Some(rings) = self.rings.as_mut().filter(|_| target.has_room_for_answer()) else {
                return done;
            };
            let answer = match rings.commands.pop(&mut self.ops) {
                Ok(None) => return done,
                Ok(Some(Command::Snapshot)) => {
                    target.snapshot();
                    None
                }
                Ok(Some(Command::Transaction { txn, more })) => self.transaction(txn, more, target),
                Err(CommandError::Ring(fault)) => {
                    self.fail(Broken { what: "command ring", fault });
                    return done;
                }
                Err(error) => {
                    warn!(%error, "command refused");
                    self.counts.discarded += 1;
                    error.answer()
                }
            };
            if let Some(answer) = answer {
                target.report(answer);
            }
        }
        TRANSACTIONS_PER_TURN_MAX
    }

    /// The answer to a transaction, unless it has begun.
    fn transaction(
        &mut self,
        txn: TxnId,
        more: bool,
        target: &mut impl Target<Validated = V>,
    ) -> Option<Event> {
        let answers = self.rings.as_ref().map(|r| &r.answers).expect("a command came from a ring");
        match answers.admit(txn) {
            Admission::Repeated(answer) => {
                self.counts.repeated += 1;
                return Some(answer);
            }
            Admission::Stale => {
                self.counts.rejected += 1;
                return Some(Event::Rejected { txn, op: 0, reason: RejectReason::Malformed });
            }
            Admission::Fresh => {}
        }
        let ops = std::mem::replace(&mut self.ops, Vec::with_capacity(OPS_MAX));
        let begun = target.validate(&ops).and_then(|validated| target.begin(ops, more, validated));
        match begun {
            Ok(()) => {
                self.pending = Some(Pending { txn, is_orphan: false });
                None
            }
            Err(refused) => Some(self.answer(txn, Err(refused))),
        }
    }

    /// The transaction that has begun is applied: its answer goes up.
    pub fn applied(&mut self, up: &mut Uplink) {
        if let Some(answer) = self.applied_answer() {
            up.report(answer);
        }
    }

    pub(super) fn applied_answer(&mut self) -> Option<Event> {
        let Pending { txn, is_orphan } = self.pending.take()?;
        (!is_orphan).then(|| self.answer(txn, Ok(())))
    }

    /// Counts and remembers an outcome.
    fn answer(&mut self, txn: TxnId, outcome: Result<(), (u16, RejectReason)>) -> Event {
        let answer = match outcome {
            Ok(()) => {
                self.counts.applied += 1;
                debug!(%txn, "applied");
                Event::Applied(txn)
            }
            Err((op, reason)) => {
                self.counts.rejected += 1;
                warn!(%txn, op, ?reason, "transaction refused");
                Event::Rejected { txn, op, reason }
            }
        };
        if let Some(rings) = &mut self.rings {
            rings.answers.record(&answer);
        }
        answer
    }

    fn ike(&mut self, target: &mut impl Target<Validated = V>) -> usize {
        for done in 0..IKE_PER_TURN_MAX {
            let Some(rings) = self.rings.as_mut().filter(|_| target.has_room_for_ike()) else { return done };
            match rings.punts.recv() {
                Ok(None) => return done,
                Ok(Some(punt)) => {
                    self.counts.ike += 1;
                    target.send_ike(punt);
                }
                Err(RecvError::Ring(fault)) => {
                    self.fail(Broken { what: "punt ring", fault });
                    return done;
                }
                Err(error) => {
                    warn!(%error, "IKE message from the control plane discarded");
                    self.counts.discarded += 1;
                }
            }
        }
        IKE_PER_TURN_MAX
    }

    fn fail(&mut self, broken: Broken) {
        self.detach();
        self.broken = Some(broken);
    }

    /// Whether the thread may sleep, as far as the control plane is concerned. Commands that would not be taken end no sleep.
    pub fn prepare_sleep(&mut self, takes_commands: bool) -> bool {
        let Some(rings) = &mut self.rings else { return true };
        // With a transaction on its way, no command is taken; the worker's report ends the sleep.
        let takes_commands = takes_commands && self.pending.is_none();
        let (commands, punts) = (&mut rings.commands, &mut rings.punts);
        rings.doorbell.prepare_sleep(|| (!takes_commands || commands.is_idle()) && punts.is_idle())
    }

    /// The thread is awake.
    pub fn woke(&self) {
        if let Some(rings) = &self.rings {
            rings.doorbell.woke();
        }
    }

    /// What to sleep on.
    #[must_use]
    pub fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        self.rings.as_ref().map(|r| r.doorbell.as_fd())
    }
}
