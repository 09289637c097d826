//! One direction between the control thread and the worker: a bounded queue, and an eventfd that ends the other's sleep. While
//! the receiver is awake, sending is no system call.

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use sipsec_abi::bell::SleepFlag;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

#[derive(Debug)]
struct Inner<T> {
    queue: ArrayQueue<T>,
    flag: SleepFlag,
    wake: OwnedFd,
}

/// The sending end.
#[derive(Debug)]
pub struct Sender<T>(Arc<Inner<T>>);

/// The receiving end.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Inner<T>>);

/// A queue of `depth` messages.
pub fn queue<T>(depth: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let inner = Arc::new(Inner { queue: ArrayQueue::new(depth), flag: SleepFlag::default(), wake });
    Ok((Sender(Arc::clone(&inner)), Receiver(inner)))
}

impl<T> Sender<T> {
    /// Gives the message back if the queue is full. [`Self::ring`] wakes the receiver.
    pub fn push(&self, message: T) -> Result<(), T> {
        self.0.queue.push(message)
    }

    /// After one or several messages: wakes the receiver if it sleeps. One that has taken them all needs no wakeup.
    pub fn ring(&self) {
        if !self.0.queue.is_empty() && self.0.flag.must_ring() {
            // The counter can only be full if the reader has 2^64 wakeups to read: it is awake.
            let _ = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
        }
    }

    /// Room for more messages, as far as this end knows: there may be more.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.queue.capacity() - self.0.queue.len()
    }
}

impl<T> Receiver<T> {
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.0.queue.pop()
    }

    /// Whether the receiver may sleep: from here on a message ends the sleep.
    #[must_use]
    pub fn prepare_sleep(&self) -> bool {
        self.0.flag.announce();
        let idle = self.0.queue.is_empty();
        if !idle {
            self.0.flag.withdraw();
        }
        idle
    }

    /// The receiver is awake: earlier rings are cleared.
    pub fn woke(&self) {
        self.0.flag.withdraw();
        let _ = rustix::io::read(&self.0.wake, &mut [0u8; 8]);
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn rings<T>(receiver: &Receiver<T>) -> bool {
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(receiver, PollFlags::IN)], Some(&none)).expect("poll") == 1
    }

    #[test]
    fn a_full_queue_gives_back_and_only_a_sleeper_is_woken() {
        let (to, from) = queue::<u8>(2).expect("eventfd");
        to.push(1).expect("room");
        to.push(2).expect("room");
        to.ring();
        assert_eq!((to.push(3), to.room(), rings(&from)), (Err(3), 0, false));
        assert!(!from.prepare_sleep(), "there is something to do");
        assert_eq!((from.pop(), from.pop(), from.pop()), (Some(1), Some(2), None));
        assert!(from.prepare_sleep());
        to.ring();
        assert!(!rings(&from), "nothing was sent");
        to.push(4).expect("room");
        to.ring();
        assert!(rings(&from));
        from.woke();
        assert!(!rings(&from));
        assert_eq!(from.pop(), Some(4));
    }

    /// Messages cross in order, and the receiver that sleeps between them is woken for each.
    #[test]
    fn a_sleeper_misses_nothing() {
        let (to, from) = queue::<u32>(4).expect("eventfd");
        let sender = std::thread::spawn(move || {
            for n in 0..10_000 {
                let mut message = n;
                while let Err(back) = to.push(message) {
                    message = back;
                    std::thread::yield_now();
                }
                to.ring();
            }
        });
        let mut next = 0;
        while next < 10_000 {
            while let Some(n) = from.pop() {
                assert_eq!(n, next);
                next += 1;
            }
            if next < 10_000 && from.prepare_sleep() {
                poll(&mut [PollFd::new(&from, PollFlags::IN)], None).expect("poll");
                from.woke();
            }
        }
        sender.join().expect("no panic");
    }
}
