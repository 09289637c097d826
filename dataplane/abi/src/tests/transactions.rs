//! A transaction goes whole or not at all, leaves no key behind, and dies with its control plane.

use super::arbitrary::{op, text};
use super::{commands, segment};
use crate::layout::{COMMAND_RING, offset};
use crate::ring::Cursors;
use crate::segment::Segment;
use crate::sync::Ordering;
use crate::{Command, SendError};
use proptest::prelude::*;
use sipsec_net::TxnId;
use sipsec_net::dp::{OPS_MAX, Op};

/// Words of the command ring that are not zero: what a key could be in.
fn residue(segment: &Segment) -> usize {
    let words = segment
        .words(offset::COMMANDS + size_of::<Cursors>(), COMMAND_RING.capacity * COMMAND_RING.slot_words);
    words.iter().filter(|word| word.load(Ordering::Relaxed) != 0).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whole_in_order_and_wiped(batches in proptest::collection::vec((proptest::collection::vec(op(), 0..=8), any::<bool>()), 1..40)) {
        let segment = segment();
        let (mut tx, mut rx) = commands(&segment);
        let mut ops = Vec::with_capacity(OPS_MAX);
        for (id, (batch, more)) in (1..).zip(&batches) {
            prop_assert_eq!(tx.push_part(TxnId(id), batch, *more), Ok(()));
            prop_assert_eq!(tx.request_snapshot(), Ok(()));
        }
        for (id, (batch, more)) in (1..).zip(&batches) {
            let expected = Command::Transaction { txn: TxnId(id), more: *more };
            prop_assert_eq!(rx.pop(&mut ops), Ok(Some(expected)));
            prop_assert!(ops.iter().map(text).eq(batch.iter().map(text)));
            prop_assert_eq!(rx.pop(&mut ops), Ok(Some(Command::Snapshot)));
        }
        prop_assert_eq!(rx.pop(&mut ops), Ok(None));
        prop_assert_eq!(residue(&segment), 0);
        prop_assert_eq!(ops.capacity(), OPS_MAX); // no allocation
    }
}

fn some_ops(count: u32) -> Vec<Op> {
    (0..count).map(|n| Op::TunnelRemove(sipsec_net::TunnelId(n))).collect()
}

#[test]
fn a_full_ring_takes_nothing_of_a_transaction() {
    let segment = segment();
    let (mut tx, mut rx) = commands(&segment);
    let large = some_ops(OPS_MAX as u32);
    let mut pushed = 0;
    while tx.push(TxnId(pushed + 1), &large) == Ok(()) {
        pushed += 1;
    }
    assert_eq!(pushed, (COMMAND_RING.capacity / (OPS_MAX + 2)) as u64);
    let free = tx.free().expect("an honest cursor");
    // One slot short is as good as full; exactly enough is enough.
    assert_eq!(tx.push(TxnId(90), &some_ops(free as u32 - 1)), Err(SendError::WouldBlock));
    assert_eq!(tx.free(), Ok(free));
    assert_eq!(tx.push(TxnId(91), &some_ops(free as u32 - 2)), Ok(()));
    assert_eq!(tx.request_snapshot(), Err(SendError::WouldBlock));
    assert_eq!(tx.push(TxnId(92), &some_ops(OPS_MAX as u32 + 1)), Err(SendError::TooManyOps(OPS_MAX + 1)));

    let mut ops = Vec::new();
    for id in (1..=pushed).chain([91]) {
        assert_eq!(rx.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(id), more: false })));
    }
    assert_eq!(rx.pop(&mut ops), Ok(None));
    assert_eq!(tx.push(TxnId(93), &large), Ok(()));
}

/// A control plane that dies between writing a transaction and publishing it has sent nothing, and its keys do not outlive
/// the connection.
#[test]
fn an_unpublished_transaction_is_nothing() {
    let segment = segment();
    let (mut tx, mut rx) = commands(&segment);
    tx.push(TxnId(1), &some_ops(3)).expect("room");
    tx.write_without_publishing(TxnId(2), &some_ops(5));
    drop(tx);
    let mut ops = Vec::new();
    assert_eq!(rx.pop(&mut ops), Ok(Some(Command::Transaction { txn: TxnId(1), more: false })));
    assert_eq!(rx.pop(&mut ops), Ok(None));
    assert_ne!(residue(&segment), 0, "the half-written transaction is still in memory");
    drop(rx);
    assert_eq!(residue(&segment), 0);
}
