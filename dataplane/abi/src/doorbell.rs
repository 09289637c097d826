//! The two eventfds, each with its [`SleepFlag`]: one wakes the dataplane, one the control plane.
//!
//! Use from a plain loop: drain the rings; if `prepare_sleep` returns true, `poll` on [`Waiter`] and other descriptors (always
//! with a timeout: a hostile peer may clear the flag without ringing); call [`Waiter::woke`]; drain again. From tokio the same, with
//! `AsyncFd` around [`Waiter::try_clone_fd`], and the readiness cleared before the rings are drained.

use crate::bell::SleepFlag;
use crate::segment::{Role, Segment};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Wakes the other side if it sleeps.
#[derive(Clone, Debug)]
pub(crate) struct Ringer {
    segment: Arc<Segment>,
    /// The side that is woken.
    wakes: Role,
    fd: Arc<OwnedFd>,
}

impl Ringer {
    pub(crate) fn new(segment: &Arc<Segment>, wakes: Role, fd: OwnedFd) -> Self {
        Self { segment: segment.clone(), wakes, fd: Arc::new(fd) }
    }

    /// After something was published.
    pub(crate) fn ring(&self) {
        if flag(&self.segment, self.wakes).must_ring() {
            self.write();
        }
    }

    #[cold]
    fn write(&self) {
        // O_NONBLOCK belongs to the open file, which the other process shares: it could clear it and fill the counter, so
        // look before writing. A counter that is full is readable, and that is all a ring is for.
        let mut fds = [PollFd::new(&*self.fd, PollFlags::OUT)];
        let writable = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if matches!(writable, Ok(n) if n > 0) {
            // The only other error is a peer that filled the counter since: it is awake.
            let _ = rustix::io::write(&*self.fd, &1u64.to_ne_bytes());
        }
    }
}

/// This side's own doorbell: what it sleeps on.
#[derive(Debug)]
pub struct Waiter {
    segment: Arc<Segment>,
    role: Role,
    fd: OwnedFd,
}

impl Waiter {
    pub(crate) fn new(segment: &Arc<Segment>, role: Role, fd: OwnedFd) -> Self {
        Self { segment: segment.clone(), role, fd }
    }

    /// Announces that this side is about to sleep. `true`: `idle` found nothing to do after the announcement, so it may.
    /// `false`: there is work, and the announcement is withdrawn.
    pub fn prepare_sleep(&self, idle: impl FnOnce() -> bool) -> bool {
        let flag = flag(&self.segment, self.role);
        flag.announce();
        let idle = idle();
        if !idle {
            flag.withdraw();
        }
        idle
    }

    /// This side is awake: the peer need not ring, and earlier rings are cleared.
    pub fn woke(&self) {
        flag(&self.segment, self.role).withdraw();
        let mut count = [0; 8];
        // RWF_NOWAIT rather than O_NONBLOCK alone, which the other process could clear. Offset -1: a file without one.
        let read = rustix::io::preadv2(
            &self.fd,
            &mut [IoSliceMut::new(&mut count)],
            u64::MAX,
            ReadWriteFlags::NOWAIT,
        );
        debug_assert!(
            matches!(read, Ok(8) | Err(Errno::AGAIN | Errno::INTR)),
            "an eventfd read cannot fail otherwise: {read:?}"
        );
    }

    /// Another descriptor of the same doorbell, for those who register owned ones (tokio's `AsyncFd`).
    pub fn try_clone_fd(&self) -> std::io::Result<OwnedFd> {
        self.fd.try_clone()
    }
}

impl AsFd for Waiter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn flag(segment: &Segment, role: Role) -> &SleepFlag {
    let header = segment.header();
    match role {
        Role::Dataplane => &header.sleep_dataplane,
        Role::Control => &header.sleep_control,
    }
}
