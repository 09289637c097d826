//! The control plane as the worker sees it: the only place where ring slots and pipeline types meet.
//!
//! Without a control plane (before the first, between two) the pipeline goes on; what it reports meanwhile is dropped,
//! except that calls still wanted are asked for again when one connects.

use crate::steer::{Steer, Steered};
use sipsec_abi::command::{Command, CommandError, CommandReceiver};
use sipsec_abi::counters::CountersWriter;
use sipsec_abi::doorbell::Waiter;
use sipsec_abi::event::EventSender;
use sipsec_abi::handshake::Connection;
use sipsec_abi::punt::{PuntReceiver, PuntSender};
use sipsec_abi::segment::Pulse;
use sipsec_abi::{Admission, DataplaneSide, RecvError, SendError, TxnLog};
use sipsec_net::dp::{Event, OPS_MAX, Op, RejectReason};
use sipsec_net::{Instant, MediaPort, TxnId};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use tracing::{debug, warn};

/// Transactions taken in one turn of the loop: packets never wait for more.
const TRANSACTIONS_PER_TURN_MAX: usize = 4;
/// IKE messages sent in one turn.
pub const IKE_PER_TURN_MAX: usize = 32;
/// Events that wait for room in the ring; a snapshot of the largest configuration fits.
const BACKLOG_MAX: usize = 1 << 17;

/// The worker's part of a connection; the connection itself stays with housekeeping.
#[derive(Debug)]
pub struct Link {
    epoch: u64,
    refused: u64,
    commands: CommandReceiver,
    events: EventSender,
    punts_up: PuntSender,
    punts_down: PuntReceiver,
    counters: CountersWriter,
    answers: TxnLog,
    pulse: Pulse,
    doorbell: Waiter,
}

impl Link {
    /// Takes a side apart. `refused` is the number of refused connections so far, for the counters.
    #[must_use]
    pub fn new(side: DataplaneSide, refused: u64) -> (Self, Connection) {
        let link = Self {
            epoch: side.epoch,
            refused,
            commands: side.commands,
            events: side.events,
            punts_up: side.punts_up,
            punts_down: side.punts_down,
            counters: side.counters,
            answers: side.answers,
            pulse: side.pulse,
            doorbell: side.doorbell,
        };
        (link, side.connection)
    }

    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

/// What has passed between the two since this process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    pub applied: u64,
    pub rejected: u64,
    pub repeated: u64,
    pub discarded: u64,
    pub faults: u64,
    pub acquires: u64,
    pub ike_up: u64,
    pub ike_down: u64,
    pub events_lost: u64,
}

/// The pipeline, as far as commands concern it.
pub trait Target {
    fn apply(&mut self, now: Instant, ops: &[Op]) -> Result<(), (u16, RejectReason)>;
    /// Everything that is live, in the order in which a control plane needs it, without the end mark.
    fn snapshot(&mut self, event: &mut dyn FnMut(Event));
    /// Sends an IKE message, unless its port is closed.
    fn send_ike(&mut self, now: Instant, port: MediaPort, remote: SocketAddr, message: &[u8]);
}

/// The control plane of the moment, or none.
#[derive(Debug)]
pub struct Peer<S> {
    link: Option<Link>,
    backlog: VecDeque<Event>,
    kernel: S,
    steered: Steered,
    ops: Vec<Op>,
    counts: PeerCounts,
    /// The link broke its ring: epoch and how.
    fault: Option<(u64, &'static str)>,
}

impl<S: Steer> Peer<S> {
    #[must_use]
    pub fn new(kernel: S) -> Self {
        Self {
            link: None,
            backlog: VecDeque::new(),
            kernel,
            steered: Steered::default(),
            ops: Vec::with_capacity(OPS_MAX),
            counts: PeerCounts::default(),
            fault: None,
        }
    }

    pub fn attach(&mut self, link: Link) {
        self.backlog.clear();
        self.link = Some(link);
    }

    pub fn detach(&mut self, epoch: u64) {
        if self.link.as_ref().is_some_and(|l| l.epoch == epoch) {
            self.link = None;
            self.backlog.clear();
        }
    }

    #[must_use]
    pub const fn kernel(&self) -> &S {
        &self.kernel
    }

    #[must_use]
    pub const fn counts(&self) -> &PeerCounts {
        &self.counts
    }

    #[must_use]
    pub fn link(&self) -> Option<(&CountersWriter, &Link)> {
        self.link.as_ref().map(|l| (&l.counters, l))
    }

    /// The link's fault, once.
    pub fn take_fault(&mut self) -> Option<(u64, &'static str)> {
        self.fault.take()
    }

    /// One turn: commands, then IKE to send, then what waits to be reported. How much there was to do.
    pub fn turn(&mut self, now: Instant, target: &mut impl Target) -> usize {
        self.commands(now, target) + self.ike_down(now, target) + self.flush()
    }

    fn commands(&mut self, now: Instant, target: &mut impl Target) -> usize {
        let mut done = 0;
        while done < TRANSACTIONS_PER_TURN_MAX {
            let Some(link) = &mut self.link else { break };
            let answer = match link.commands.pop(&mut self.ops) {
                Ok(None) => break,
                Ok(Some(Command::Snapshot)) => {
                    self.snapshot(target);
                    None
                }
                Ok(Some(Command::Transaction(txn))) => Some(self.transaction(now, txn, target)),
                Err(CommandError::Ring(fault)) => {
                    warn!(%fault, "command ring");
                    self.broken("command ring cursor");
                    break;
                }
                Err(error) => {
                    warn!(%error, "command refused");
                    self.counts.discarded += 1;
                    error.answer()
                }
            };
            if let Some(answer) = answer {
                self.report(answer);
            }
            done += 1;
        }
        done
    }

    /// The answer to a transaction: applied now, refused now, or answered before.
    fn transaction(&mut self, now: Instant, txn: TxnId, target: &mut impl Target) -> Event {
        let log = self.link.as_ref().map(|l| &l.answers).expect("a command came from a link");
        match log.admit(txn) {
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
        let answer = match self.apply(now, target) {
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
        // Keys do not stay in this process's copy any longer than needed: each is wiped as it is dropped.
        self.ops.clear();
        if let Some(link) = &mut self.link {
            link.answers.record(&answer);
        }
        answer
    }

    /// Steering closes before the pipeline forgets and opens after it knows.
    fn apply(&mut self, now: Instant, target: &mut impl Target) -> Result<(), (u16, RejectReason)> {
        let plan = self.steered.plan(&self.ops);
        self.steered.close(&plan, &mut self.kernel);
        if let Err(refused) = target.apply(now, &self.ops) {
            self.steered.reopen(&plan, &mut self.kernel);
            return Err(refused);
        }
        match self.steered.open(plan, &mut self.kernel) {
            None => Ok(()),
            Some((op, undo)) => {
                if let Err(error) = target.apply(now, &undo) {
                    warn!(?error, "cannot undo what the kernel did not take");
                }
                Err((op, RejectReason::TableFull))
            }
        }
    }

    fn snapshot(&mut self, target: &mut impl Target) {
        let backlog = &mut self.backlog;
        target.snapshot(&mut |event| backlog.push_back(event));
        self.report(Event::SnapshotEnd);
    }

    /// Queues an event for the control plane, in order; without one it is nobody's.
    pub fn report(&mut self, event: Event) {
        if matches!(event, Event::Acquire { .. }) {
            self.counts.acquires += 1;
        }
        if self.link.is_none() {
            return;
        }
        if self.backlog.len() == BACKLOG_MAX {
            self.counts.events_lost += 1;
        } else {
            self.backlog.push_back(event);
        }
    }

    /// As much of the backlog as the ring takes.
    pub fn flush(&mut self) -> usize {
        let Some(link) = &mut self.link else { return 0 };
        let mut sent = 0;
        while !self.backlog.is_empty() {
            match link.events.free() {
                Ok(0) => break,
                Ok(_) => {}
                Err(fault) => {
                    warn!(%fault, "event ring");
                    self.broken("event ring cursor");
                    break;
                }
            }
            let Some(event) = self.backlog.pop_front() else { break };
            if let Err(error) = link.events.push(&event) {
                // `free` said that there was room.
                warn!(%error, "event lost");
                self.counts.events_lost += 1;
            }
            sent += 1;
        }
        sent
    }

    fn ike_down(&mut self, now: Instant, target: &mut impl Target) -> usize {
        let mut done = 0;
        while done < IKE_PER_TURN_MAX {
            let Some(link) = &mut self.link else { break };
            match link.punts_down.recv() {
                Ok(None) => break,
                Ok(Some(punt)) => {
                    self.counts.ike_down += 1;
                    target.send_ike(now, punt.media_port, punt.remote, punt.message);
                }
                Err(RecvError::Ring(fault)) => {
                    warn!(%fault, "punt ring");
                    self.broken("punt ring cursor");
                    break;
                }
                Err(error) => {
                    warn!(%error, "IKE message from the control plane discarded");
                    self.counts.discarded += 1;
                }
            }
            done += 1;
        }
        done
    }

    /// Hands an IKE message up; `false` if nobody takes it now.
    pub fn ike_up(&mut self, port: MediaPort, from: SocketAddr, message: &[u8]) -> Result<(), PuntRefused> {
        let Some(link) = &mut self.link else { return Err(PuntRefused::Full) };
        match link.punts_up.send(port, from, message) {
            Ok(()) => {
                self.counts.ike_up += 1;
                Ok(())
            }
            Err(SendError::TooLong(_)) => Err(PuntRefused::TooLong),
            Err(SendError::Ring(fault)) => {
                warn!(%fault, "punt ring");
                self.broken("punt ring cursor");
                Err(PuntRefused::Full)
            }
            Err(_) => Err(PuntRefused::Full),
        }
    }

    fn broken(&mut self, what: &'static str) {
        self.counts.faults += 1;
        if let Some(link) = self.link.take() {
            self.fault = Some((link.epoch, what));
        }
        self.backlog.clear();
    }

    pub fn beat(&self, now: Instant) {
        if let Some(link) = &self.link {
            link.pulse.beat(now);
        }
    }

    /// Whether the worker may sleep, as far as the control plane is concerned.
    pub fn prepare_sleep(&mut self) -> bool {
        let Some(link) = &mut self.link else { return true };
        let (commands, punts) = (&mut link.commands, &mut link.punts_down);
        link.doorbell.prepare_sleep(|| commands.is_idle() && punts.is_idle())
    }

    pub fn woke(&self) {
        if let Some(link) = &self.link {
            link.doorbell.woke();
        }
    }

    #[must_use]
    pub fn doorbell(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(|l| l.doorbell.as_fd())
    }
}

/// Why an IKE message did not reach the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PuntRefused {
    Full,
    TooLong,
}

#[cfg(test)]
mod tests;
