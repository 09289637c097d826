//! What the control plane tells the worker: transactions, questions, IKE messages to send.

use crate::control::Changes;
use crate::control::steering::SteerOp;
use crate::peer::Broken;
use sipsec_abi::command::{Command, CommandError, CommandReceiver};
use sipsec_abi::doorbell::Waiter;
use sipsec_abi::punt::PuntReceiver;
use sipsec_abi::{Admission, RecvError, TxnLog};
use sipsec_net::dp::{Event, OPS_MAX, Op, RejectReason};
use sipsec_net::{Instant, MediaPort, TxnId};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use tracing::{debug, warn};

/// Transactions taken in one turn of the loop: packets never wait for more.
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

/// The pipeline and the way up, as far as commands concern them.
pub trait Target {
    /// Proof that nothing in the way of a transaction was found.
    type Validated;
    fn validate(&self, ops: &[Op]) -> Result<Self::Validated, (u16, RejectReason)>;
    /// Applies what has just been validated.
    fn commit(&mut self, now: Instant, ops: &[Op], validated: Self::Validated);
    /// Reports everything that is live, and that this was all.
    fn snapshot(&mut self);
    /// Sends an IKE message, unless its port is closed or `remote` is not its peer.
    fn send_ike(&mut self, now: Instant, port: MediaPort, remote: SocketAddr, message: &[u8]);
    /// Whether the answer to another command would be kept until the control plane takes it.
    fn has_room_for_answer(&self) -> bool;
    fn report(&mut self, event: Event);
}

/// `V` is the target's proof that a transaction can be applied.
#[derive(Debug)]
pub struct Downlink<C, V> {
    rings: Option<DownRings>,
    /// The way to the kernel's tables.
    changes: C,
    /// The transaction whose change of them is on its way; its operations are in `ops`.
    pending: Option<Pending<V>>,
    /// The last transaction said that more of its change follow.
    is_continued: bool,
    ops: Vec<Op>,
    counts: DownCounts,
    broken: Option<Broken>,
}

/// A validated transaction.
#[derive(Debug)]
struct Pending<V> {
    txn: TxnId,
    more: bool,
    validated: V,
    /// Nobody waits for the answer: the connection has ended since.
    is_orphan: bool,
}

impl<C: Changes, V> Downlink<C, V> {
    #[must_use]
    pub fn new(changes: C) -> Self {
        Self {
            rings: None,
            changes,
            pending: None,
            is_continued: false,
            ops: Vec::with_capacity(OPS_MAX),
            counts: DownCounts::default(),
            broken: None,
        }
    }

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
    pub const fn changes(&self) -> &C {
        &self.changes
    }

    #[cfg(test)]
    pub(super) const fn changes_mut(&mut self) -> &mut C {
        &mut self.changes
    }

    #[must_use]
    pub const fn counts(&self) -> &DownCounts {
        &self.counts
    }

    pub(super) const fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// One turn: commands, then IKE to send. How much there was to do.
    pub fn turn(&mut self, now: Instant, target: &mut impl Target<Validated = V>) -> usize {
        self.commands(now, target) + self.ike(now, target)
    }

    fn commands(&mut self, now: Instant, target: &mut impl Target<Validated = V>) -> usize {
        for done in 0..TRANSACTIONS_PER_TURN_MAX {
            self.finish(now, target);
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
                Ok(Some(Command::Transaction { txn, more })) => self.transaction(now, txn, more, target),
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

    /// The answer to a transaction, unless it has to wait for the kernel's tables.
    fn transaction(
        &mut self,
        now: Instant,
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
        let validated = match target.validate(&self.ops) {
            Ok(validated) => validated,
            Err(refused) => return Some(self.answer(txn, Err(refused))),
        };
        let steering = SteerOp::of(&self.ops);
        // The last transaction of a change lets go of what the change has removed, even if it steers nothing itself.
        if steering.is_empty() && !self.is_continued {
            target.commit(now, &self.ops, validated);
            self.is_continued = more;
            return Some(self.answer(txn, Ok(())));
        }
        self.changes.start(steering, more);
        self.pending = Some(Pending { txn, more, validated, is_orphan: false });
        None
    }

    /// Ends the pending transaction if the kernel's tables have been changed for it, or could not be. The pipeline has
    /// validated it and has taken no other since, so that nothing can fail any more.
    fn finish(&mut self, now: Instant, target: &mut impl Target<Validated = V>) {
        let Some(changed) = self.pending.as_ref().and_then(|_| self.changes.poll()) else { return };
        let Some(Pending { txn, more, validated, is_orphan }) = self.pending.take() else { return };
        let outcome = changed.map_err(|op| (op, RejectReason::TableFull));
        if outcome.is_ok() {
            target.commit(now, &self.ops, validated);
            self.is_continued = more;
        }
        if is_orphan {
            self.ops.clear();
        } else {
            let answer = self.answer(txn, outcome);
            target.report(answer);
        }
    }

    /// Counts and remembers an outcome.
    fn answer(&mut self, txn: TxnId, outcome: Result<(), (u16, RejectReason)>) -> Event {
        let answer = match outcome {
            Ok(()) => {
                self.counts.applied += 1;
                debug!(%txn, ops = self.ops.len(), "applied");
                Event::Applied(txn)
            }
            Err((op, reason)) => {
                self.counts.rejected += 1;
                warn!(%txn, op, ?reason, "transaction refused");
                Event::Rejected { txn, op, reason }
            }
        };
        // Keys do not stay in this copy any longer than needed: each is wiped as it is dropped.
        self.ops.clear();
        if let Some(rings) = &mut self.rings {
            rings.answers.record(&answer);
        }
        answer
    }

    fn ike(&mut self, now: Instant, target: &mut impl Target<Validated = V>) -> usize {
        for done in 0..IKE_PER_TURN_MAX {
            let Some(rings) = &mut self.rings else { return done };
            match rings.punts.recv() {
                Ok(None) => return done,
                Ok(Some(punt)) => {
                    self.counts.ike += 1;
                    target.send_ike(now, punt.media_port, punt.remote, punt.message);
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

    /// Whether the worker may sleep, as far as the control plane is concerned. Commands that would not be taken keep nobody
    /// awake.
    pub fn prepare_sleep(&mut self, takes_commands: bool) -> bool {
        let Some(rings) = &mut self.rings else { return true };
        // With a change on its way, no command is taken; the control thread ends the sleep.
        let takes_commands = takes_commands && self.pending.is_none();
        let (commands, punts) = (&mut rings.commands, &mut rings.punts);
        rings.doorbell.prepare_sleep(|| (!takes_commands || commands.is_idle()) && punts.is_idle())
    }

    /// The worker is awake.
    pub fn woke(&self) {
        self.changes.woke();
        if let Some(rings) = &self.rings {
            rings.doorbell.woke();
        }
    }

    /// What to sleep on.
    pub fn wakeups(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.as_ref().map(|r| r.doorbell.as_fd()).into_iter().chain(self.changes.wakeup())
    }
}
