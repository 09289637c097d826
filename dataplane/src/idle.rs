//! What a worker does when there is nothing to do.

use arrayvec::ArrayVec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_net::Instant;
use sipsec_profile::model as profile;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// Longest sleep: counters and the heartbeat stay fresh.
pub const SLEEP_MAX: Duration = Duration::from_millis(100);
/// Descriptors to sleep on: sockets of both ports, two queues from the control thread, and what other workers hand over.
pub const FDS_MAX: usize = 2 * sipsec_abi::bpf::QUEUES_MAX as usize + 3;

/// A port that says when it has packets.
pub trait SleepOn {
    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>>;
}

impl SleepOn for sipsec_xsk::XskPort {
    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        Self::fds(self)
    }
}

/// Decides between looking again and sleeping; the clock is the loop's.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    policy: profile::Idle,
    spin: Duration,
    last_work: Instant,
}

impl Idle {
    #[must_use]
    pub const fn new(worker: &profile::Worker) -> Self {
        Self {
            policy: worker.idle,
            spin: Duration::from_micros(worker.spin_us as u64),
            last_work: Instant::ZERO,
        }
    }

    /// After a round that found `work` things to do: how long to sleep, `None` to look again at once.
    pub fn next(&mut self, now: Instant, work: usize, deadline: Option<Instant>) -> Option<Duration> {
        if work > 0 {
            self.last_work = now;
            return None;
        }
        let idle = now.saturating_duration_since(self.last_work);
        if self.policy == profile::Idle::Spin || idle < self.spin {
            return None;
        }
        let until = deadline.map_or(SLEEP_MAX, |d| d.saturating_duration_since(now).min(SLEEP_MAX));
        (!until.is_zero()).then_some(until)
    }
}

/// Sleeps until one of `fds` is readable or the time is over. A signal ends it early, which costs one idle round.
pub fn sleep<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>, time: Duration) -> io::Result<()> {
    let timeout = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    // On the stack: the worker does not allocate.
    let mut polls: ArrayVec<PollFd<'a>, FDS_MAX> = ArrayVec::new();
    polls.extend(fds.take(FDS_MAX).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    match poll(&mut polls, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn adaptive_spins_then_sleeps_until_the_deadline() {
        let mut idle = Idle::new(&profile::Worker { spin_us: 2000, ..profile::Worker::default() });
        assert_eq!(idle.next(at(10), 1, None), None);
        assert_eq!(idle.next(at(11), 0, None), None, "still spinning");
        assert_eq!(idle.next(at(12), 0, None), Some(SLEEP_MAX));
        assert_eq!(idle.next(at(12), 0, Some(at(15))), Some(3 * MS));
        assert_eq!(idle.next(at(12), 0, Some(at(12))), None, "due now");
        assert_eq!(idle.next(at(12), 0, Some(at(5000))), Some(SLEEP_MAX));
    }

    #[test]
    fn spin_never_sleeps() {
        let mut idle =
            Idle::new(&profile::Worker { idle: profile::Idle::Spin, ..profile::Worker::default() });
        assert_eq!(idle.next(at(10_000), 0, None), None);
    }
}
