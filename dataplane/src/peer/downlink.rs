//! What the control plane tells the worker: transactions, questions, IKE messages to send.

use crate::peer::Broken;
use crate::steer::{Steer, Steered};
use sipsec_abi::command::{Command, CommandError, CommandReceiver};
use sipsec_abi::doorbell::Waiter;
use sipsec_abi::punt::PuntReceiver;
use sipsec_abi::{Admission, RecvError, TxnLog};
use sipsec_net::dp::{Event, OPS_MAX, Op, RejectReason};
use sipsec_net::{Instant, IpPrefix, MediaPort, TxnId};
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

#[derive(Debug)]
pub struct Downlink<S> {
    rings: Option<DownRings>,
    kernel: S,
    steered: Steered,
    ops: Vec<Op>,
    counts: DownCounts,
    broken: Option<Broken>,
}

impl<S: Steer> Downlink<S> {
    #[must_use]
    pub fn new(kernel: S) -> Self {
        Self {
            rings: None,
            kernel,
            steered: Steered::default(),
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
    }

    /// What the host owns has changed.
    pub fn set_local(&mut self, prefixes: &[IpPrefix]) {
        self.kernel.local(prefixes);
    }

    #[must_use]
    pub const fn kernel(&self) -> &S {
        &self.kernel
    }

    #[must_use]
    pub const fn counts(&self) -> &DownCounts {
        &self.counts
    }

    pub(super) const fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// One turn: commands, then IKE to send. How much there was to do.
    pub fn turn(&mut self, now: Instant, target: &mut impl Target) -> usize {
        self.commands(now, target) + self.ike(now, target)
    }

    fn commands(&mut self, now: Instant, target: &mut impl Target) -> usize {
        for done in 0..TRANSACTIONS_PER_TURN_MAX {
            let Some(rings) = self.rings.as_mut().filter(|_| target.has_room_for_answer()) else {
                return done;
            };
            let answer = match rings.commands.pop(&mut self.ops) {
                Ok(None) => return done,
                Ok(Some(Command::Snapshot)) => {
                    target.snapshot();
                    None
                }
                Ok(Some(Command::Transaction { txn, more })) => {
                    Some(self.transaction(now, txn, more, target))
                }
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

    /// The answer to a transaction: applied now, refused now, or answered before.
    fn transaction(&mut self, now: Instant, txn: TxnId, more: bool, target: &mut impl Target) -> Event {
        let answers = self.rings.as_ref().map(|r| &r.answers).expect("a command came from a ring");
        match answers.admit(txn) {
            Admission::Repeated(answer) => {
                self.counts.repeated += 1;
                return answer;
            }
            Admission::Stale => {
                self.counts.rejected += 1;
                return Event::Rejected { txn, op: 0, reason: RejectReason::Malformed };
            }
            Admission::Fresh => {}
        }
        let answer = match self.apply(now, more, target) {
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

    /// The pipeline validates, the kernel may refuse, and then nothing can fail.
    fn apply<T: Target>(
        &mut self,
        now: Instant,
        more: bool,
        target: &mut T,
    ) -> Result<(), (u16, RejectReason)> {
        let validated = target.validate(&self.ops)?;
        let plan = self.steered.plan(&self.ops, more);
        self.steered.change(plan, &mut self.kernel).map_err(|op| (op, RejectReason::TableFull))?;
        target.commit(now, &self.ops, validated);
        Ok(())
    }

    fn ike(&mut self, now: Instant, target: &mut impl Target) -> usize {
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
        let (commands, punts) = (&mut rings.commands, &mut rings.punts);
        rings.doorbell.prepare_sleep(|| (!takes_commands || commands.is_idle()) && punts.is_idle())
    }

    /// The worker is awake.
    pub fn woke(&self) {
        if let Some(rings) = &self.rings {
            rings.doorbell.woke();
        }
    }

    /// What to sleep on.
    #[must_use]
    pub fn doorbell(&self) -> Option<BorrowedFd<'_>> {
        self.rings.as_ref().map(|r| r.doorbell.as_fd())
    }
}
