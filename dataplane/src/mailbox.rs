//! What housekeeping and the worker say to each other inside the process: bounded queues, never a lock, and an eventfd
//! that ends the other's sleep.

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Messages that wait; both sides look many times a second, and one connection makes a handful.
const DEPTH: usize = 16;

/// One direction.
#[derive(Debug)]
pub struct Mailbox<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    queue: ArrayQueue<T>,
    wake: OwnedFd,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Mailbox<T> {
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { queue: ArrayQueue::new(DEPTH), wake })))
    }

    /// Gives the message back if the queue is full.
    pub fn send(&self, message: T) -> Result<(), T> {
        self.0.queue.push(message)?;
        // The counter can only be full if the reader has 2^64 wakeups to read: it is awake.
        let _ = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
        Ok(())
    }

    /// Cheap when empty: one load.
    #[must_use]
    pub fn receive(&self) -> Option<T> {
        self.0.queue.pop()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }

    /// After a sleep, before the queue is looked at: forgets wakeups so far.
    pub fn clear_wakeups(&self) {
        let _ = rustix::io::read(&self.0.wake, &mut [0u8; 8]);
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(m: &Mailbox<u8>) -> bool {
        poll(&mut [PollFd::new(m, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll")
            == 1
    }

    #[test]
    fn a_message_wakes_once_and_a_full_box_gives_it_back() {
        let m = Mailbox::new().expect("eventfd");
        assert!(!readable(&m));
        for i in 0..DEPTH as u8 {
            m.send(i).expect("room");
        }
        assert_eq!(m.send(99), Err(99));
        assert!(readable(&m));
        m.clear_wakeups();
        assert!(!readable(&m) && !m.is_empty());
        assert_eq!(std::iter::from_fn(|| m.receive()).count(), DEPTH);
    }
}
