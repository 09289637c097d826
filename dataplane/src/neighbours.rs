//! The other workers of a gateway: one queue of packets to each and one from each ([`sipsec_abi::handoff`]), and a bell that
//! ends the sleep of the worker that has something to take.
//!
//! ```text
//!  queue of worker 0's device ─▶ worker 0 ── HandOver: for a tunnel of worker 1 ──▶ worker 1 ─▶ its queue of the other device
//!                                worker 0 ◀── Send: worker 1 has no queue there ───
//! ```
//! A packet is copied from the frame of one worker into a place of the queue, and from there into a frame of the other. What finds
//! no place is lost and counted by the sender.

use rustix::event::{EventfdFlags, eventfd};
use sipsec_abi::bell::SleepFlag;
use sipsec_abi::handoff::{Receiver, Sender, handoff};
use sipsec_pipeline::{HandOver, Owners, WorkerIndex};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Packets that may wait between two workers. A burst that fills a receive ring, half of it for one other worker, fits; among many
/// workers it is spread over more queues.
const PLACES_MAX: usize = 1024;
const PLACES_MIN: usize = 256;
/// Of one worker, in its queues from all others.
const PLACES_OF_ONE: usize = 2048;

/// What is to be done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    HandOver(HandOver),
    /// It is a frame for this port.
    Send(usize),
}

/// A packet on its way.
struct Parcel {
    task: Task,
    len: usize,
    bytes: Box<[u8]>,
}

#[derive(Debug)]
struct Bell {
    flag: SleepFlag,
    wake: OwnedFd,
}

#[derive(Debug)]
struct Peer {
    /// `None` to itself.
    queue: Option<Sender<Parcel>>,
    bell: Arc<Bell>,
    /// Something was sent since its bell was rung.
    is_pending: bool,
}

/// One worker's ends. Of a worker that is alone they are empty.
#[derive(Debug)]
pub struct Neighbours {
    own: WorkerIndex,
    owners: Owners,
    peers: Vec<Peer>,
    from: Vec<Receiver<Parcel>>,
    bell: Arc<Bell>,
    sent: u64,
    taken: u64,
}

/// The ends of all workers, in order, for packets of at most so many bytes.
pub fn neighbours(owners: Owners, bytes: usize) -> io::Result<Vec<Neighbours>> {
    let workers = usize::from(owners.workers());
    let bell = || {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Bell { flag: SleepFlag::default(), wake }))
    };
    let bells: Vec<Arc<Bell>> = (0..workers).map(|_| bell()).collect::<io::Result<_>>()?;
    let mut all: Vec<_> = owners
        .all()
        .zip(&bells)
        .map(|(own, bell)| Neighbours {
            own,
            owners,
            peers: Vec::with_capacity(workers),
            from: Vec::with_capacity(workers - 1),
            bell: Arc::clone(bell),
            sent: 0,
            taken: 0,
        })
        .collect();
    let places = (PLACES_OF_ONE / (workers - 1).max(1)).clamp(PLACES_MIN, PLACES_MAX).next_power_of_two();
    for sender in 0..workers {
        for (receiver, bell) in bells.iter().enumerate() {
            let queue = (sender != receiver).then(|| {
                let place = || Parcel { task: Task::Send(0), len: 0, bytes: vec![0; bytes].into() };
                let (to, from) = handoff(places, place);
                all[receiver].from.push(from);
                to
            });
            all[sender].peers.push(Peer { queue, bell: Arc::clone(bell), is_pending: false });
        }
    }
    Ok(all)
}

impl Neighbours {
    #[must_use]
    pub const fn own(&self) -> WorkerIndex {
        self.own
    }

    #[must_use]
    pub const fn owners(&self) -> Owners {
        self.owners
    }

    /// `false` if there is no room for the packet.
    pub fn send(&mut self, to: WorkerIndex, task: Task, packet: &[u8]) -> bool {
        let Some(peer) = self.peers.get_mut(usize::from(to.0)) else { return false };
        let Some(queue) = &mut peer.queue else { return false };
        let fits = queue.send(|parcel| {
            // A frame of one worker is no longer than those of another.
            parcel.len = packet.len().min(parcel.bytes.len());
            parcel.bytes[..parcel.len].copy_from_slice(&packet[..parcel.len]);
            parcel.task = task;
        });
        peer.is_pending |= fits;
        self.sent += u64::from(fits);
        fits
    }

    /// Takes at most `max` packets from each other worker; how many there were.
    pub fn take(&mut self, max: usize, mut each: impl FnMut(Task, &[u8])) -> usize {
        let mut taken = 0;
        for queue in &mut self.from {
            let of_one = (0..max)
                .map_while(|_| queue.receive(|parcel| each(parcel.task, &parcel.bytes[..parcel.len])))
                .count();
            taken += of_one;
        }
        self.taken += taken as u64;
        taken
    }

    /// At the end of a turn: wakes those that sleep and have something to take.
    pub fn ring(&mut self) {
        for peer in &mut self.peers {
            if std::mem::take(&mut peer.is_pending) && peer.bell.flag.must_ring() {
                // The counter can only be full if the reader has 2^64 wakeups to read: it is awake.
                let _ = rustix::io::write(&peer.bell.wake, &1u64.to_ne_bytes());
            }
        }
    }

    /// Packets sent to other workers, and taken from them.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.sent, self.taken)
    }

    /// Whether the worker may sleep: from here on a packet ends the sleep.
    #[must_use]
    pub fn prepare_sleep(&self) -> bool {
        if self.is_alone() {
            return true;
        }
        self.bell.flag.announce();
        let idle = self.from.iter().all(Receiver::is_empty);
        if !idle {
            self.bell.flag.withdraw();
        }
        idle
    }

    /// The worker is awake: earlier rings are cleared.
    pub fn woke(&self) {
        if !self.is_alone() {
            self.bell.flag.withdraw();
            let _ = rustix::io::read(&self.bell.wake, &mut [0u8; 8]);
        }
    }

    const fn is_alone(&self) -> bool {
        self.from.is_empty()
    }
}

impl AsFd for Neighbours {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU8;

    fn of(workers: u8) -> Vec<Neighbours> {
        neighbours(Owners::new(NonZeroU8::new(workers).expect("some")), 2048).expect("eventfds")
    }

    #[test]
    fn packets_reach_the_worker_that_they_are_for_and_what_finds_no_room_is_refused() {
        let mut all = of(3);
        assert!(!all[1].send(WorkerIndex(1), Task::Send(0), &[1]), "not to itself");
        assert!(!all[1].send(WorkerIndex(3), Task::Send(0), &[1]), "there is none");
        for n in 0..2u8 {
            let from = usize::from(n);
            assert!(all[from].send(WorkerIndex(2), Task::HandOver(HandOver::Inside), &[n; 9]));
        }
        let mut got = Vec::new();
        assert_eq!(all[2].take(8, |task, bytes| got.push((task, bytes.to_vec()))), 2);
        let expected = |n| (Task::HandOver(HandOver::Inside), vec![n; 9]);
        assert_eq!(got, [expected(0), expected(1)]);
        assert_eq!((all[0].counts(), all[2].counts()), ((1, 0), (0, 2)));
        let sent =
            std::iter::from_fn(|| all[0].send(WorkerIndex(1), Task::Send(1), &[7]).then_some(())).count();
        assert_eq!(sent, PLACES_MAX);
        assert_eq!(all[1].take(8, |_, _| {}), 8);
        assert!(all[0].send(WorkerIndex(1), Task::Send(1), &[7]));
    }

    #[test]
    fn only_a_sleeper_is_woken() {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let rings = |n: &Neighbours| {
            let none = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut [PollFd::new(n, PollFlags::IN)], Some(&none)).expect("poll") == 1
        };
        let mut all = of(2);
        let send = |all: &mut [Neighbours]| {
            assert!(all[0].send(WorkerIndex(1), Task::Send(0), &[1]));
            all[0].ring();
        };
        send(&mut all);
        assert!(!rings(&all[1]) && !all[1].prepare_sleep(), "there is something to do");
        all[1].take(8, |_, _| {});
        assert!(all[1].prepare_sleep());
        send(&mut all);
        assert!(rings(&all[1]));
        all[1].woke();
        assert!(!rings(&all[1]));
        assert_eq!(all[1].take(8, |_, _| {}), 1);
    }

    #[test]
    fn a_worker_alone_has_nothing_to_take() {
        let mut alone = of(1).remove(0);
        assert!(alone.prepare_sleep());
        assert_eq!(alone.take(8, |_, _| {}), 0);
    }
}
