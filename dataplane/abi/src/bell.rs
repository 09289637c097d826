//! The sleep flag: it saves the producer a system call while the consumer is awake.
//!
//! A consumer that is about to sleep sets the flag, looks at its rings once more, and sleeps only if they are empty. A
//! producer publishes, then rings if the flag is set. This is Dekker's pattern, a store followed by a load of the other's
//! word on both sides, which needs sequential consistency between the two:
//!
//! ```text
//! producer                          consumer
//! P1 produced.store(n, Release)     C1 flag.swap(1)
//! P2 fence(SeqCst)                  C2 fence(SeqCst)
//! P3 flag.load() -> ring if 1       C3 produced.load() -> sleep if unchanged
//! ```
//!
//! The two fences are ordered, one way or the other, in the single total order of SeqCst operations. If P2 precedes C2, then
//! C3 must see P1 (a fence before a load observes what was stored before an earlier fence) and the consumer stays awake. If
//! C2 precedes P2, then P3 must see C1, or a value put over it: 0 by a producer that has rung already, or by the consumer
//! that has woken. In no order does the consumer sleep with a slot published and no ring. Release and acquire alone
//! would not do: both loads could return the old values (store buffering). `tests/loom.rs` runs this very code through all
//! interleavings.

use crate::sync::{AtomicU64, Ordering, fence};
use crossbeam_utils::CachePadded;

/// One consumer's flag: 1 while it sleeps or is about to. Changed by swaps only, so that its changes form one chain and a
/// producer's late swap is seen to come before an announcement whose value it did not read. (The language guarantees as much
/// for stores; loom does not model that, and a sleep can afford a swap.)
#[repr(C)]
#[derive(Debug, Default)]
pub struct SleepFlag(pub CachePadded<AtomicU64>);

impl SleepFlag {
    /// C1, C2: after this the consumer looks at its rings again, and only then sleeps.
    pub fn announce(&self) {
        self.0.swap(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The consumer is awake.
    pub fn withdraw(&self) {
        self.0.swap(0, Ordering::Relaxed);
    }

    /// P2, P3: whether this producer has to ring, after it has published. Of several producers one is told to.
    #[must_use]
    pub fn must_ring(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load first, so that the awake consumer's line is not taken from it by every message.
        self.0.load(Ordering::Relaxed) != 0 && self.0.swap(0, Ordering::Relaxed) != 0
    }
}
