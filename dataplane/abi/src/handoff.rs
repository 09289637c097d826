//! A bounded queue from one thread of this process to another, for packets: a message is written into its place and read there,
//! so that it is copied once on each side and nothing is allocated.
//!
//! ```text
//! sender                                  receiver
//! S1 consumed.load(Acquire): a free place R1 produced.load(Acquire): a full place
//! S2 write the place                      R2 read the place
//! S3 produced.store(n + 1, Release)       R3 consumed.store(n + 1, Release)
//! ```
//!
//! S3 before R1 makes the whole message visible to R2; R3 before S1 ends R2 before the place is written again. Each side is one
//! value that cannot be cloned, so there is one sender and one receiver. `tests/loom.rs` runs this very code through all
//! interleavings, also with a receiver that sleeps ([`crate::bell`]).

use crate::sync::{Arc, AtomicU64, Ordering, UnsafeCell};
use crossbeam_utils::CachePadded;

struct Shared<T> {
    produced: CachePadded<AtomicU64>,
    consumed: CachePadded<AtomicU64>,
    places: Box<[UnsafeCell<T>]>,
}

// SAFETY: the places are reached through the two ends alone. The sender has those from `produced` on, up to `consumed` plus their
// number, the receiver those from `consumed` up to `produced`; the cursors hand them over as the head of this file says.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn place(&self, cursor: u64) -> &UnsafeCell<T> {
        &self.places[cursor as usize & (self.places.len() - 1)]
    }
}

/// The sending end.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    produced: u64,
    /// As last seen: the receiver may have gone on.
    consumed: u64,
}

/// The receiving end.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    consumed: u64,
    /// As last seen.
    produced: u64,
}

/// A queue of so many places, a power of two, each made by `place`.
///
/// # Panics
/// If `places` is no power of two.
pub fn handoff<T: Send>(places: usize, mut place: impl FnMut() -> T) -> (Sender<T>, Receiver<T>) {
    assert!(places.is_power_of_two(), "a cursor is masked");
    let shared = Arc::new(Shared {
        produced: CachePadded::new(AtomicU64::new(0)),
        consumed: CachePadded::new(AtomicU64::new(0)),
        places: (0..places).map(|_| UnsafeCell::new(place())).collect(),
    });
    let sender = Sender { shared: Arc::clone(&shared), produced: 0, consumed: 0 };
    (sender, Receiver { shared, consumed: 0, produced: 0 })
}

impl<T: Send> Sender<T> {
    /// Sends what `fill` makes of the next place, which holds an earlier message. `false` if there is no free place.
    #[inline]
    pub fn send(&mut self, fill: impl FnOnce(&mut T)) -> bool {
        let all = self.shared.places.len() as u64;
        if self.produced - self.consumed == all {
            self.consumed = self.shared.consumed.load(Ordering::Acquire);
            if self.produced - self.consumed == all {
                return false;
            }
        }
        self.shared.place(self.produced).with_mut(|place| {
            // SAFETY: the place is free, so it is the sender's, of which there is one, borrowed exclusively.
            fill(unsafe { &mut *place });
        });
        self.produced += 1;
        self.shared.produced.store(self.produced, Ordering::Release);
        true
    }
}

impl<T: Send> Receiver<T> {
    /// Gives the oldest message to `read`; its place is free afterwards. `None` if there is none.
    #[inline]
    pub fn receive<R>(&mut self, read: impl FnOnce(&mut T) -> R) -> Option<R> {
        if self.consumed == self.produced {
            self.produced = self.shared.produced.load(Ordering::Acquire);
            if self.consumed == self.produced {
                return None;
            }
        }
        let result = self.shared.place(self.consumed).with_mut(|place| {
            // SAFETY: the place is full, so it is the receiver's, of which there is one, borrowed exclusively.
            read(unsafe { &mut *place })
        });
        self.consumed += 1;
        self.shared.consumed.store(self.consumed, Ordering::Release);
        Some(result)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.consumed == self.shared.produced.load(Ordering::Acquire)
    }
}

impl<T> core::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sender").field("produced", &self.produced).finish_non_exhaustive()
    }
}

impl<T> core::fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Receiver").field("consumed", &self.consumed).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_refuses_and_a_place_is_used_again() {
        let (mut to, mut from) = handoff(2, Vec::<u8>::new);
        let put = |n| move |place: &mut Vec<u8>| place.push(n);
        assert!(to.send(put(1)) && to.send(put(2)) && !to.send(put(3)));
        assert!(!from.is_empty());
        assert_eq!(from.receive(|m| m.clone()), Some(vec![1]));
        assert!(to.send(put(4)) && !to.send(put(5)));
        let rest: Vec<_> = std::iter::from_fn(|| from.receive(|m| m.clone())).collect();
        assert_eq!(rest, [vec![2], vec![1, 4]], "the sender finds what it left");
        assert!(from.is_empty());
    }

    #[test]
    fn messages_cross_whole_and_in_order() {
        const MESSAGES: u64 = 100_000;
        let (mut to, mut from) = handoff(8, || [0; 16]);
        let sender = std::thread::spawn(move || {
            for n in 0..MESSAGES {
                while !to.send(|place| *place = [n; 16]) {
                    std::thread::yield_now();
                }
            }
        });
        for n in 0..MESSAGES {
            let message = loop {
                match from.receive(|message| *message) {
                    Some(message) => break message,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(message, [n; 16]);
        }
        sender.join().expect("no panic");
    }
}
