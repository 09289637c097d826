//! The control thread: requests to the kernel that may wait for an answer (BPF maps, netlink), so that the worker, which has the
//! packets, never does.
//!
//! ```text
//!  worker: validate ─► Changes::start ──mailbox──► control thread: plan, BPF maps, routes
//!          commit   ◄─ Changes::poll  ◄─mailbox──  done, or the operation that the kernel refused
//! ```
//! While a change is on its way the worker forwards and takes no other command, so what it has validated still holds when it
//! commits: a transaction is in the kernel's tables and in the pipeline's, or in neither.

pub mod steering;

use crate::mailbox::Mailbox;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_abi::counters::STEERING_MAX;
use sipsec_net::IpPrefix;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use steering::{Steer, SteerOp, Steered};
use tracing::error;

/// How old the counters of the XDP programs may become.
const COUNTERS_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What the control thread is asked for.
#[derive(Debug)]
pub enum ToControl {
    /// One transaction's steering. With `more`, others of the same change follow.
    Change {
        ops: Vec<SteerOp>,
        more: bool,
    },
    /// Router mode: the prefixes that are the host's own.
    Local(Vec<IpPrefix>),
    Stop,
}

/// Whether a change was made, or the operation that the kernel refused.
type Changed = Result<(), u16>;

/// What the XDP programs counted, indexed by [`sipsec_abi::bpf::Counter`].
#[derive(Clone, Debug, Default)]
pub struct SteeringCounters(Arc<[AtomicU64; STEERING_MAX]>);

impl SteeringCounters {
    #[must_use]
    pub fn get(&self) -> [u64; STEERING_MAX] {
        self.0.each_ref().map(|c| c.load(Ordering::Relaxed))
    }

    fn set(&self, values: &[u64]) {
        for (to, from) in self.0.iter().zip(values) {
            to.store(*from, Ordering::Relaxed);
        }
    }
}

/// The worker's way to the kernel's tables.
pub trait Changes {
    /// Begins a change; the one before it is done.
    fn start(&mut self, ops: Vec<SteerOp>, more: bool);
    /// The outcome of the change that was started, once.
    fn poll(&mut self) -> Option<Changed>;
    fn counters(&self) -> [u64; STEERING_MAX];
    /// Readable when [`Self::poll`] has something.
    fn wakeup(&self) -> Option<BorrowedFd<'_>>;
    /// After a sleep.
    fn woke(&self) {}
}

/// The worker's end of the control thread.
#[derive(Clone, Debug)]
pub struct ControlHandle {
    to: Mailbox<ToControl>,
    from: Mailbox<Changed>,
    counters: SteeringCounters,
}

impl ControlHandle {
    /// Tells the control thread which prefixes are the host's own; `false` if it does not answer.
    #[must_use]
    pub fn set_local(&self, prefixes: Vec<IpPrefix>) -> bool {
        self.to.send(ToControl::Local(prefixes)).is_ok()
    }

    /// Ends the control thread when it has done what it was asked for.
    pub fn stop(&self) {
        // A full mailbox is that of a thread that hangs; it ends with the process.
        let _ = self.to.send(ToControl::Stop);
    }
}

impl Changes for ControlHandle {
    fn start(&mut self, ops: Vec<SteerOp>, more: bool) {
        if self.to.send(ToControl::Change { ops, more }).is_err() {
            // Its mailbox holds more than one change and the addresses of many looks: the thread hangs.
            error!("the control thread does not answer: a transaction is refused");
            let _ = self.from.send(Err(0));
        }
    }

    fn poll(&mut self) -> Option<Changed> {
        self.from.receive()
    }

    fn counters(&self) -> [u64; STEERING_MAX] {
        self.counters.get()
    }

    fn wakeup(&self) -> Option<BorrowedFd<'_>> {
        Some(self.from.as_fd())
    }

    fn woke(&self) {
        self.from.clear_wakeups();
    }
}

/// Starts the thread, which owns the kernel's side of steering until it is stopped or the process ends.
pub fn spawn(kernel: impl Steer + Send + 'static) -> std::io::Result<(ControlHandle, JoinHandle<()>)> {
    let handle =
        ControlHandle { to: Mailbox::new()?, from: Mailbox::new()?, counters: SteeringCounters::default() };
    let own = handle.clone();
    let thread = std::thread::Builder::new().name("control".into()).spawn(move || run(kernel, &own))?;
    Ok((handle, thread))
}

fn run(mut kernel: impl Steer, handle: &ControlHandle) {
    let mut steered = Steered::default();
    loop {
        while let Some(request) = handle.to.receive() {
            match request {
                ToControl::Change { ops, more } => {
                    let plan = steered.plan(&ops, more);
                    let changed = steered.change(plan, &mut kernel);
                    // The worker starts one change at a time, so there is room.
                    let _ = handle.from.send(changed);
                }
                ToControl::Local(prefixes) => kernel.local(&prefixes),
                ToControl::Stop => return,
            }
        }
        handle.counters.set(&kernel.counters());
        let mut fds = [PollFd::new(&handle.to, PollFlags::IN)];
        // A signal, or any error, costs one early look.
        let _ = poll(&mut fds, Some(&COUNTERS_EVERY));
        handle.to.clear_wakeups();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A kernel that answers at once and refuses nothing, for tests of what sits above.
    #[derive(Debug, Default)]
    pub(crate) struct AtOnce {
        outcome: Option<Changed>,
    }

    impl Changes for AtOnce {
        fn start(&mut self, _: Vec<SteerOp>, _: bool) {
            self.outcome = Some(Ok(()));
        }
        fn poll(&mut self) -> Option<Changed> {
            self.outcome.take()
        }
        fn counters(&self) -> [u64; STEERING_MAX] {
            [0; STEERING_MAX]
        }
        fn wakeup(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }

    #[test]
    fn a_change_is_answered_and_the_answer_wakes() {
        use steering::tests::{Recorder, media, route};
        let (mut handle, thread) = spawn(Recorder::refusing("add 10.4")).expect("a thread");
        let mut outcome = |ops: &[sipsec_net::dp::Op]| {
            handle.start(SteerOp::of(ops), false);
            let mut fds = [PollFd::from_borrowed_fd(handle.wakeup().expect("a mailbox"), PollFlags::IN)];
            poll(&mut fds, Some(&Timespec { tv_sec: 20, tv_nsec: 0 })).expect("poll");
            handle.woke();
            handle.poll().expect("the wakeup announced it")
        };
        assert_eq!(outcome(&[media(5000, 1), route("10.2.0.0/16", 1)]), Ok(()));
        assert_eq!(outcome(&[media(5001, 1), route("10.3.0.0/16", 1), route("10.4.0.0/16", 1)]), Err(2));
        handle.stop();
        thread.join().expect("no panic");
    }
}
