//! A group of words that one process writes and another reads as one, without making the writer wait.
//!
//! Word 0 is the version: odd while the writer is inside, raised by two with every write. The reader copies the words
//! between two equal, even versions or tries again, a bounded number of times: a writer that was killed inside leaves the
//! version odd for ever.

use crate::sync::{AtomicU64, Ordering, fence};

/// Attempts of one read before it gives up.
pub const READ_ATTEMPTS_MAX: usize = 16;

/// Writes `values` behind the version in `cell[0]`. One writer per cell.
///
/// # Panics
/// If the cell is too small: a broken invariant of the caller.
pub fn write(cell: &[AtomicU64], values: &[u64]) {
    let (version, words) = cell.split_first().expect("a cell has a version");
    assert!(values.len() <= words.len(), "more values than the cell has words");
    let before = version.load(Ordering::Relaxed) & !1;
    version.store(before | 1, Ordering::Relaxed);
    // The odd version is visible before any new word: pairs with the reader's acquire fence.
    fence(Ordering::Release);
    for (word, value) in words.iter().zip(values) {
        word.store(*value, Ordering::Relaxed);
    }
    version.store(before.wrapping_add(2), Ordering::Release);
}

/// Copies the words of the cell into `out`; `false` if no attempt found them at rest, and `out` then holds nothing of use.
///
/// # Panics
/// If the cell is too small: a broken invariant of the caller.
#[must_use]
pub fn read(cell: &[AtomicU64], out: &mut [u64]) -> bool {
    let (version, words) = cell.split_first().expect("a cell has a version");
    assert!(out.len() <= words.len(), "more values than the cell has words");
    for _ in 0..READ_ATTEMPTS_MAX {
        let before = version.load(Ordering::Acquire);
        if before & 1 == 0 {
            for (word, value) in words.iter().zip(out.iter_mut()) {
                *value = word.load(Ordering::Relaxed);
            }
            // If any word above came from a later write, that write's odd version is visible below.
            fence(Ordering::Acquire);
            if version.load(Ordering::Relaxed) == before {
                return true;
            }
        }
        #[cfg(not(loom))]
        core::hint::spin_loop();
        #[cfg(loom)]
        loom::thread::yield_now();
    }
    false
}
