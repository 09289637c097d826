//! The command ring: transactions from the control plane, pushed whole or not at all, taken whole or not at all.
//!
//! On the ring a transaction is `Begin`, its operations, `Commit`, every slot with its id. The producer publishes all of them
//! with one store, so a control plane that dies halfway has sent nothing: the slots it wrote lie beyond the published cursor
//! of a segment that ends with the connection. Slots that are published and yet do not make a transaction are the work of a
//! bug or of malice: they are discarded up to the next `Begin`, counted, and refused if they have an id.

use crate::doorbell::Ringer;
use crate::error::SendError;
use crate::layout::{COMMAND_RING, offset};
use crate::ring::{Consumer, Producer, RingFault};
use crate::segment::{Segment, SegmentRing};
use crate::slot::command::{self as slot, SlotBytes, kind};
use crate::slot::{COMMAND_SLOT_LEN, SlotError};
use core::fmt;
use sipsec_net::TxnId;
use sipsec_net::dp::{Event, OPS_MAX, Op, RejectReason};
use std::sync::Arc;
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

const SLOT_WORDS: usize = COMMAND_SLOT_LEN / 8;
const _: () = assert!(OPS_MAX + 2 <= COMMAND_RING.capacity, "the longest transaction fits the ring");

/// A slot on this side. It may hold a key, so it is wiped.
type Words = Zeroizing<[u64; SLOT_WORDS]>;

fn blank() -> Words {
    Zeroizing::new([0; SLOT_WORDS])
}

fn bytes(words: &mut [u64; SLOT_WORDS]) -> &mut SlotBytes {
    words.as_mut_bytes().try_into().expect("a slot's words are a slot's bytes")
}

/// The control plane's end.
#[derive(Debug)]
pub struct CommandSender {
    ring: Producer<SegmentRing>,
    bell: Ringer,
}

impl CommandSender {
    pub(crate) fn new(segment: &Arc<Segment>, bell: Ringer) -> Self {
        let memory = SegmentRing::new(segment, offset::COMMANDS, COMMAND_RING);
        Self { ring: Producer::new(memory, COMMAND_RING), bell }
    }

    /// Sends a transaction that is a whole change. On any error nothing of it was sent. A transaction without operations is
    /// a question to which `Applied` is the answer.
    pub fn push(&mut self, txn: TxnId, ops: &[Op]) -> Result<(), SendError> {
        self.push_part(txn, ops, false)
    }

    /// Sends a transaction as [`Self::push`] does; with `more`, the next one belongs to the same change.
    pub fn push_part(&mut self, txn: TxnId, ops: &[Op], more: bool) -> Result<(), SendError> {
        self.write(txn, ops, more)?;
        self.publish(ops.len() + 2);
        Ok(())
    }

    /// Asks for the dataplane's state: `Snapshot…` events, then `SnapshotEnd`.
    pub fn request_snapshot(&mut self) -> Result<(), SendError> {
        self.reserve(1)?;
        let mut words = blank();
        slot::encode_bare(bytes(&mut words), kind::SNAPSHOT, 0, TxnId(0));
        self.ring.stage(0, &*words);
        self.publish(1);
        Ok(())
    }

    /// Slots that are free now; a transaction takes two more than it has operations.
    pub fn free(&mut self) -> Result<usize, RingFault> {
        self.ring.free()
    }

    /// Impossible cursors seen.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.ring.faults()
    }

    /// The state after a control plane dies just before the store that publishes.
    #[cfg(test)]
    pub(crate) fn write_without_publishing(&mut self, txn: TxnId, ops: &[Op]) {
        self.write(txn, ops, false).expect("room");
    }

    /// Writes the slots of a transaction without publishing them.
    fn write(&mut self, txn: TxnId, ops: &[Op], more: bool) -> Result<(), SendError> {
        if ops.len() > OPS_MAX {
            return Err(SendError::TooManyOps(ops.len()));
        }
        let count = ops.len() as u16; // at most OPS_MAX
        self.reserve(ops.len() + 2)?;
        let mut words = blank();
        slot::encode_bare(bytes(&mut words), kind::BEGIN, count, txn);
        self.ring.stage(0, &*words);
        for (index, op) in (0..count).zip(ops) {
            slot::encode_op(bytes(&mut words), op, index, txn);
            self.ring.stage(usize::from(index) + 1, &*words);
        }
        slot::encode_commit(bytes(&mut words), count, txn, more);
        self.ring.stage(ops.len() + 1, &*words);
        Ok(())
    }

    fn reserve(&mut self, slots: usize) -> Result<(), SendError> {
        if self.ring.free()? < slots {
            self.ring.overflow();
            return Err(SendError::WouldBlock);
        }
        Ok(())
    }

    fn publish(&mut self, slots: usize) {
        self.ring.publish(slots);
        self.bell.ring();
    }
}

/// What the control plane asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Its operations are in the vector that [`CommandReceiver::pop`] was given.
    Transaction {
        txn: TxnId,
        /// The next transaction belongs to the same change.
        more: bool,
    },
    Snapshot,
}

/// A command that is none. The slots at fault are gone (and wiped).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The control plane's cursor is impossible: end the connection.
    Ring(RingFault),
    /// Slots without the id of a transaction.
    Stray(SlotError),
    /// A transaction with a slot that means nothing; `op` is the index of the operation.
    Malformed { txn: TxnId, op: u16, error: SlotError },
}

impl CommandError {
    /// The answer that the control plane is owed, if its transaction has an id.
    #[must_use]
    pub fn answer(&self) -> Option<Event> {
        match *self {
            Self::Malformed { txn, op, .. } => {
                Some(Event::Rejected { txn, op, reason: RejectReason::Malformed })
            }
            Self::Ring(_) | Self::Stray(_) => None,
        }
    }
}

impl From<RingFault> for CommandError {
    fn from(fault: RingFault) -> Self {
        Self::Ring(fault)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(fault) => fault.fmt(f),
            Self::Stray(error) => error.fmt(f),
            Self::Malformed { txn, op, error } => write!(f, "transaction {txn}, operation {op}: {error}"),
        }
    }
}

impl std::error::Error for CommandError {}

/// The dataplane's end. When it is dropped, no key is left in the ring.
#[derive(Debug)]
pub struct CommandReceiver {
    ring: Consumer<SegmentRing>,
    discarded: u64,
}

impl CommandReceiver {
    pub(crate) fn new(segment: &Arc<Segment>) -> Self {
        let memory = SegmentRing::new(segment, offset::COMMANDS, COMMAND_RING);
        Self { ring: Consumer::new(memory, COMMAND_RING), discarded: 0 }
    }

    /// Takes the next command. `ops` is emptied, then filled with a transaction's operations (no allocation if it has room
    /// for [`OPS_MAX`]). An error costs the slots at fault and nothing else.
    pub fn pop(&mut self, ops: &mut Vec<Op>) -> Result<Option<Command>, CommandError> {
        ops.clear();
        let available = self.ring.available()?;
        if available == 0 {
            return Ok(None);
        }
        let mut words = blank();
        let taken = self.take(available, ops, &mut words);
        let slots = match taken {
            Ok((_, slots)) => slots,
            Err(_) => self.fault_len(available, &mut words),
        };
        self.ring.wipe(slots);
        self.ring.release(slots);
        match taken {
            Ok((command, _)) => Ok(Some(command)),
            Err(error) => {
                self.discarded += slots as u64;
                ops.clear();
                Err(error)
            }
        }
    }

    /// Whether there is nothing to take. A ring at fault is not idle: the next [`Self::pop`] reports it.
    pub fn is_idle(&mut self) -> bool {
        self.ring.available() == Ok(0)
    }

    /// Slots thrown away because they made no command.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// Impossible cursors seen.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.ring.faults()
    }

    /// Decodes the command at the front and says how many slots it has.
    fn take(
        &self,
        available: usize,
        ops: &mut Vec<Op>,
        words: &mut Words,
    ) -> Result<(Command, usize), CommandError> {
        let slot = self.copy_out(0, words);
        let head = *slot::decode_head(slot).map_err(CommandError::Stray)?;
        match head.kind.get() {
            kind::SNAPSHOT => {
                slot::check_bare(slot).map_err(CommandError::Stray)?;
                if head.index != 0 || head.txn != 0 {
                    return Err(CommandError::Stray(SlotError::ReservedNotZero));
                }
                Ok((Command::Snapshot, 1))
            }
            kind::BEGIN => {
                let (txn, count) = (TxnId(head.txn.get()), head.index.get());
                let malformed = |op: u16| move |error| CommandError::Malformed { txn, op, error };
                slot::check_bare(slot).map_err(malformed(0))?;
                // A true `Begin` is published together with all that follows it.
                if usize::from(count) > OPS_MAX || available < usize::from(count) + 2 {
                    return Err(malformed(count)(SlotError::Torn));
                }
                for index in 0..count {
                    let slot = self.copy_out(usize::from(index) + 1, words);
                    ops.push(expect_op(slot, index, txn).map_err(malformed(index))?);
                }
                let slot = self.copy_out(usize::from(count) + 1, words);
                let more = expect_commit(slot, count, txn).map_err(malformed(count))?;
                Ok((Command::Transaction { txn, more }, usize::from(count) + 2))
            }
            other => Err(CommandError::Stray(SlotError::UnknownKind(other))),
        }
    }

    /// How many slots an error costs: the first, and those after it up to the next that can start a command.
    fn fault_len(&self, available: usize, words: &mut Words) -> usize {
        let starts = |slot: &SlotBytes| {
            slot::decode_head(slot).is_ok_and(|head| matches!(head.kind.get(), kind::BEGIN | kind::SNAPSHOT))
        };
        (1..available).find(|ahead| starts(self.copy_out(*ahead, words))).unwrap_or(available)
    }

    /// The slot as it is at this moment: what the producer does to it later changes nothing.
    fn copy_out<'w>(&self, ahead: usize, words: &'w mut Words) -> &'w mut SlotBytes {
        self.ring.read(ahead, 0, &mut **words);
        bytes(words)
    }
}

impl Drop for CommandReceiver {
    fn drop(&mut self) {
        // Also what a producer wrote and never published.
        self.ring.wipe_all();
    }
}

fn expect_op(slot: &SlotBytes, index: u16, txn: TxnId) -> Result<Op, SlotError> {
    let head = slot::decode_head(slot)?;
    if head.index != index
        || head.txn != txn.0
        || matches!(head.kind.get(), kind::BEGIN | kind::COMMIT | kind::SNAPSHOT)
    {
        return Err(SlotError::Torn);
    }
    slot::decode_op(slot, head.kind.get())
}

/// Whether more transactions of the same change follow.
fn expect_commit(slot: &SlotBytes, count: u16, txn: TxnId) -> Result<bool, SlotError> {
    let head = slot::decode_head(slot)?;
    if head.kind != kind::COMMIT || head.index != count || head.txn != txn.0 {
        return Err(SlotError::Torn);
    }
    slot::decode_commit(slot)
}
