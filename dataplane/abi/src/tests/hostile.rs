//! The other process writes what it likes where it likes: every answer is a typed error or a count, never a panic, never a
//! read or write outside the ring.

use super::arbitrary::op;
use super::{commands, ringer, segment, store};
use crate::event::{EventReceiver, EventSender};
use crate::layout::{COMMAND_RING, EVENT_RING, PUNT_RING, SEGMENT_LEN, offset};
use crate::punt::{PuntReceiver, PuntSender};
use crate::ring::{Geometry, RingMemory};
use crate::segment::{Role, Segment, SegmentRing};
use crate::slot::{COMMAND_SLOT_LEN, SlotError, command as slot};
use crate::sync::Ordering;
use crate::{Command, CommandError, RecvError, RingFault, SegmentError, SendError};
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags};
use sipsec_net::dp::{Event, OPS_MAX, Op, RejectReason};
use sipsec_net::{MediaPort, TunnelId, TxnId};
use std::sync::Arc;
use zerocopy::FromBytes;

const REMOVE: Op = Op::TunnelRemove(TunnelId(1));

fn ring(segment: &Arc<Segment>, offset: usize, geometry: Geometry) -> SegmentRing {
    SegmentRing::new(segment, offset, geometry)
}

fn set_produced(ring: &SegmentRing, value: u64) {
    ring.cursors().produced.store(value, Ordering::Relaxed);
}

#[test]
fn an_impossible_cursor_is_an_error_and_the_ring_goes_on_when_it_is_mended() {
    let segment = segment();
    let (mut tx, mut rx) = commands(&segment);
    let memory = ring(&segment, offset::COMMANDS, COMMAND_RING);
    let mut ops = Vec::new();
    tx.push(TxnId(1), &[REMOVE]).expect("room");
    let capacity = COMMAND_RING.capacity as u64;
    for lie in [capacity + 1, u64::MAX, 1 << 63] {
        set_produced(&memory, lie);
        assert_eq!(rx.pop(&mut ops), Err(CommandError::Ring(RingFault { ours: 0, theirs: lie })));
        assert!(!rx.is_idle(), "a fault must not be slept over");
    }
    set_produced(&memory, 3);
    assert_eq!(rx.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(1), more: false })));
    // Back is as impossible as too far.
    set_produced(&memory, 2);
    assert_eq!(rx.pop(&mut ops), Err(CommandError::Ring(RingFault { ours: 3, theirs: 2 })));
    assert_eq!(rx.faults(), 7);

    for lie in [4, u64::MAX, 1 << 63] {
        memory.cursors().consumed.store(lie, Ordering::Relaxed);
        assert_eq!(tx.push(TxnId(2), &[REMOVE]), Err(SendError::Ring(RingFault { ours: 3, theirs: lie })));
    }
    memory.cursors().consumed.store(3, Ordering::Relaxed);
    assert_eq!(tx.push(TxnId(2), &[REMOVE]), Ok(()));
    memory.cursors().consumed.store(2, Ordering::Relaxed);
    assert_eq!(tx.push(TxnId(3), &[REMOVE]), Err(SendError::Ring(RingFault { ours: 6, theirs: 2 })));
    assert_eq!(tx.faults(), 4);
    assert_eq!(rx.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(2), more: false })));
}

/// A producer that overwrites a cursor in shared memory changes nothing: each side uses its private copy.
#[test]
fn a_cursor_of_ours_that_the_other_side_changed_is_not_believed() {
    let segment = segment();
    let mut tx = EventSender::new(&segment, ringer(&segment, Role::Control));
    let mut rx = EventReceiver::new(&segment);
    let memory = ring(&segment, offset::EVENTS, EVENT_RING);
    tx.push(&Event::SnapshotEnd).expect("room");
    assert_eq!(rx.pop(), Ok(Some(Event::SnapshotEnd)));
    memory.cursors().consumed.store(0, Ordering::Relaxed);
    assert_eq!(rx.pop(), Ok(None), "the event does not come a second time");
    set_produced(&memory, 0);
    memory.cursors().consumed.store(1, Ordering::Relaxed);
    tx.push(&Event::Applied(TxnId(9))).expect("room");
    assert_eq!(rx.pop(), Ok(Some(Event::Applied(TxnId(9)))));
}

/// Slots as a hostile control plane publishes them.
fn publish(segment: &Arc<Segment>, slots: &[[u8; COMMAND_SLOT_LEN]]) {
    let memory = ring(segment, offset::COMMANDS, COMMAND_RING);
    let at = memory.cursors().produced.load(Ordering::Relaxed);
    for (n, slot) in (at..).zip(slots) {
        let place = (n as usize % COMMAND_RING.capacity) * COMMAND_RING.slot_words;
        let words = slot.chunks_exact(8).map(|w| u64::read_from_bytes(w).expect("a word"));
        store(&memory.slots()[place..], words);
    }
    set_produced(&memory, at + slots.len() as u64);
}

fn bare(kind: u16, index: u16, txn: u64) -> [u8; COMMAND_SLOT_LEN] {
    let mut bytes = [0; COMMAND_SLOT_LEN];
    slot::encode_bare(&mut bytes, kind, index, TxnId(txn));
    bytes
}

fn op_slot(op: &Op, index: u16, txn: u64) -> [u8; COMMAND_SLOT_LEN] {
    let mut bytes = [0; COMMAND_SLOT_LEN];
    slot::encode_op(&mut bytes, op, index, TxnId(txn));
    bytes
}

#[test]
fn what_makes_no_transaction_is_refused_once_and_the_next_one_is_taken() {
    use slot::kind::{BEGIN, COMMIT, SNAPSHOT};
    let malformed = |txn, op, error| CommandError::Malformed { txn: TxnId(txn), op, error };
    let cut = vec![bare(BEGIN, 2, 7), op_slot(&REMOVE, 0, 7)];
    let swapped = vec![bare(BEGIN, 2, 7), op_slot(&REMOVE, 1, 7), op_slot(&REMOVE, 0, 7), bare(COMMIT, 2, 7)];
    let mixed = vec![bare(BEGIN, 2, 7), op_slot(&REMOVE, 0, 7), op_slot(&REMOVE, 1, 8), bare(COMMIT, 2, 7)];
    let no_commit = vec![bare(BEGIN, 1, 7), op_slot(&REMOVE, 0, 7), op_slot(&REMOVE, 1, 7)];
    let short_commit = vec![bare(BEGIN, 1, 7), op_slot(&REMOVE, 0, 7), bare(COMMIT, 2, 7)];
    let endless = vec![bare(BEGIN, u16::MAX, 7), op_slot(&REMOVE, 0, 7)];
    let unknown = vec![bare(BEGIN, 1, 7), bare(99, 0, 7), bare(COMMIT, 1, 7)];
    let mut unclear = bare(COMMIT, 0, 7);
    unclear[16] = 2;
    let mut trailing = bare(COMMIT, 0, 7);
    trailing[17] = 1;
    let (unclear, trailing) = (vec![bare(BEGIN, 0, 7), unclear], vec![bare(BEGIN, 0, 7), trailing]);
    let cases = [
        (unclear, malformed(7, 0, SlotError::BadCode { field: "more", value: 2 }), 2),
        (trailing, malformed(7, 0, SlotError::ReservedNotZero), 2),
        // Cut off, with the next one behind it: the error costs the cut one only.
        (cut, malformed(7, 1, SlotError::Torn), 2),
        (swapped, malformed(7, 0, SlotError::Torn), 4),
        (mixed, malformed(7, 1, SlotError::Torn), 4),
        (no_commit, malformed(7, 1, SlotError::Torn), 3),
        (short_commit, malformed(7, 1, SlotError::Torn), 3),
        (endless, malformed(7, u16::MAX, SlotError::Torn), 2),
        (unknown, malformed(7, 0, SlotError::UnknownKind(99)), 3),
        (
            vec![op_slot(&REMOVE, 0, 7)],
            CommandError::Stray(SlotError::UnknownKind(slot::kind::TUNNEL_REMOVE)),
            1,
        ),
        (vec![bare(COMMIT, 0, 7)], CommandError::Stray(SlotError::UnknownKind(COMMIT)), 1),
        (vec![bare(SNAPSHOT, 0, 7)], CommandError::Stray(SlotError::ReservedNotZero), 1),
    ];
    for (slots, error, costs) in cases {
        let segment = segment();
        let (_tx, mut rx) = commands(&segment);
        let mut ops = vec![REMOVE];
        publish(&segment, &slots);
        publish(&segment, &[bare(BEGIN, 1, 8), op_slot(&REMOVE, 0, 8), bare(COMMIT, 1, 8)]);
        let got = rx.pop(&mut ops).expect_err("no transaction");
        assert_eq!(got, error);
        assert!(ops.is_empty(), "nothing of it is left to be applied");
        assert_eq!(rx.discarded(), costs, "{error:?}");
        let answer = match error {
            CommandError::Malformed { txn, op, .. } => {
                Some(Event::Rejected { txn, op, reason: RejectReason::Malformed })
            }
            CommandError::Stray(_) | CommandError::Ring(_) => None,
        };
        assert_eq!(got.answer(), answer);
        assert_eq!(rx.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(8), more: false })));
        assert_eq!(ops.len(), 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Random words over every ring, in front of any cursor: all is consumed in at most as many calls as there are slots.
    #[test]
    fn random_words_in_every_ring(words in proptest::collection::vec(any::<u64>(), 64), kinds in proptest::collection::vec(0..32u64, 16), count in 1..=16u64) {
        let segment = segment();
        let (_tx, mut commands) = commands(&segment);
        let mut events = EventReceiver::new(&segment);
        let mut punts = PuntReceiver::new(&segment, Role::Control);
        for (offset, geometry) in
            [(offset::COMMANDS, COMMAND_RING), (offset::EVENTS, EVENT_RING), (offset::PUNTS_DOWN, PUNT_RING)]
        {
            let memory = ring(&segment, offset, geometry);
            for (n, slot) in memory.slots().chunks_exact(geometry.slot_words).take(16).enumerate() {
                store(slot, words.iter().cycle().skip(n).copied());
                // A kind that exists gets further.
                store(slot, [(words[n] & !0xffff) | kinds[n]]);
            }
            set_produced(&memory, count);
        }
        let mut ops = Vec::new();
        let mut calls = 0;
        while commands.pop(&mut ops) != Ok(None) {
            calls += 1;
            prop_assert!(calls <= count);
        }
        prop_assert!(ops.len() <= OPS_MAX);
        for _ in 0..count {
            prop_assert!(!matches!(events.pop(), Err(RecvError::Ring(_)) | Ok(None)));
            prop_assert!(!matches!(punts.recv(), Err(RecvError::Ring(_)) | Ok(None)));
        }
        prop_assert_eq!(events.pop(), Ok(None));
        prop_assert_eq!(punts.recv(), Ok(None));
    }

    /// A slot that is changed while it is being read was copied out before: what is checked is what is used. Here the change
    /// comes between two transactions' reads, at any place, and costs the one that it hit at most.
    #[test]
    fn a_changed_word_costs_one_transaction(ops in proptest::collection::vec(op(), 1..6), word in 0..COMMAND_SLOT_LEN / 8, slot in 0..8usize, value: u64) {
        let segment = segment();
        let (mut tx, mut rx) = commands(&segment);
        for id in 1..=3 {
            tx.push(TxnId(id), &ops).expect("room");
        }
        let per_txn = ops.len() + 2;
        let memory = ring(&segment, offset::COMMANDS, COMMAND_RING);
        let hit = per_txn + slot % per_txn;
        store(&memory.slots()[hit * COMMAND_RING.slot_words + word..], [value]);
        let mut taken = Vec::new();
        let mut got = Vec::new();
        for _ in 0..3 * per_txn {
            if let Ok(Some(Command::Transaction { txn, .. })) = rx.pop(&mut got) {
                taken.push(txn.0);
            }
        }
        prop_assert!(taken.contains(&1) && taken.contains(&3), "{taken:?}");
        prop_assert!(rx.is_idle());
    }
}

#[test]
fn a_full_punt_ring_counts_where_both_see_it() {
    let segment = segment();
    let mut tx = PuntSender::new(&segment, Role::Dataplane, ringer(&segment, Role::Control));
    let mut rx = PuntReceiver::new(&segment, Role::Dataplane);
    let from = "192.0.2.1:4500".parse().expect("valid");
    for _ in 0..PUNT_RING.capacity {
        assert_eq!(tx.send(MediaPort(1), from, b"ike"), Ok(()));
    }
    assert_eq!(tx.send(MediaPort(1), from, b"ike"), Err(SendError::WouldBlock));
    assert_eq!((tx.overflowed(), rx.overflowed()), (1, 1));
    assert!(rx.recv().expect("valid").is_some());
    assert_eq!(tx.send(MediaPort(1), from, b"ike"), Ok(()));
}

#[test]
fn a_file_that_is_no_segment_is_not_mapped() {
    let memfd = |len: u64, seals: SealFlags| {
        let fd =
            rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memfd");
        rustix::fs::ftruncate(&fd, len).expect("ftruncate");
        rustix::fs::fcntl_add_seals(&fd, seals).expect("seals");
        fd
    };
    let sealed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let len = SEGMENT_LEN as u64;
    assert_eq!(
        Segment::open(memfd(len, SealFlags::GROW | SealFlags::SEAL), 1).err(),
        Some(SegmentError::NotSealed)
    );
    assert_eq!(Segment::open(memfd(len - 1, sealed), 1).err(), Some(SegmentError::BadLength(len - 1)));
    assert_eq!(Segment::open(memfd(len, sealed), 1).err(), Some(SegmentError::BadIdent));
    let real = segment();
    let fd = || std::os::fd::AsFd::as_fd(&*real).try_clone_to_owned().expect("dup");
    assert_eq!(Segment::open(fd(), 2).err(), Some(SegmentError::BadIdent), "another connection's segment");
    assert!(Segment::open(fd(), 1).is_ok());
    assert!(rustix::fs::ftruncate(fd(), 0).is_err(), "nobody can cut the mapping off");
}
