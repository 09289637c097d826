//! The control thread: rings of the control plane, validation, the kernel's tables (BPF maps, netlink) and counters, so that
//! the worker, which has the packets, waits for nothing and looks at nothing but what it applies.
//!
//! ```text
//!  control plane ═ rings ═▶ Downlink ─▶ Registry: validate ─▶ Steering: BPF maps, routes ─▶ queue ─▶ worker: commit
//!                ◀═ rings ═ Uplink   ◀──────────── "applied", events, IKE ◀── queue ◀──────────────── worker
//! ```
//! One transaction is on its way at a time, so what has been validated still holds when the workers commit: a transaction is
//! in the registry, in the kernel's tables and in every worker's, or in none. The answer follows the last worker's commit.

pub mod cells;
mod commands;
pub mod counters;
pub mod media_sockets;
pub mod queue;
pub mod rings;
pub mod steering;
pub mod watchdog;
pub mod worker_link;
pub mod workers;

use crate::mailbox::Mailbox;
use crate::privileges;
use crate::sys;
use cells::WorkerNumbers;
use commands::Commands;
use counters::{Numbers, Publisher, WorkerPlace};
use rings::{Downlink, Link, Session};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_abi::Facts;
use sipsec_net::dp::Event;
use sipsec_net::{DropReason, Instant};
use sipsec_pipeline::{Activities, AeadEngine, Config, Local, Validated};
use sipsec_xsk::SocketWatch;
use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::Duration;
use steering::Steer;
use tracing::{error, warn};
use watchdog::Watchdog;
use worker_link::Report;
use workers::Workers;

/// How old counters and the heartbeat may become.
const LOOK: Duration = Duration::from_millis(100);
/// While the control plane takes no events, or the worker no messages.
const RETRY: Duration = Duration::from_millis(1);
/// Reports and messages taken in one turn.
const REPORTS_PER_TURN_MAX: usize = 1024;

/// What housekeeping tells the control thread.
#[derive(Debug)]
pub enum ToControl {
    Attach(Box<Link>),
    Detach {
        epoch: u64,
    },
    /// Router mode: the host's addresses have changed.
    Local(Box<Local>),
    /// The MTU of the WAN has changed, and with it what the control plane is told of the ports.
    OutsideMtu(u16, Box<Facts>),
    Stop,
}

/// What the control thread tells housekeeping.
#[derive(Debug)]
pub enum FromControl {
    /// A control plane broke its rings.
    Fault { epoch: u64, what: &'static str },
    /// A worker has not turned for seconds.
    WorkerHangs { worker: usize },
}

/// Everything the thread starts with.
pub struct ControlSetup<K> {
    pub config: Config,
    pub engine: Box<dyn AeadEngine>,
    pub kernel: K,
    pub workers: Workers,
    /// Of each worker.
    pub activities: Vec<Activities>,
    /// The sockets of each worker, for what the kernel counts of them.
    pub sockets: Vec<[SocketWatch; 2]>,
    pub places: Vec<WorkerPlace>,
    pub inbox: Mailbox<ToControl>,
    pub outbox: Mailbox<FromControl>,
}

impl<K> std::fmt::Debug for ControlSetup<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlSetup").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Starts the thread, which owns the kernel's side of steering until it is stopped or the process ends.
pub fn spawn<K: Steer + Send + 'static>(setup: ControlSetup<K>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("control".into()).spawn(move || {
        if let Err(error) = privileges::keep(privileges::CONTROL) {
            warn!(%error, "the control thread keeps permissions that it does not need");
        }
        Control::new(setup).run();
    })
}

struct Control<K> {
    commands: Commands<K>,
    down: Downlink<Validated>,
    session: Option<Session>,
    publisher: Publisher,
    activities: Vec<Activities>,
    sockets: Vec<[SocketWatch; 2]>,
    /// IKE messages that found no room on their way up.
    punts_lost: u64,
    watchdogs: Vec<Watchdog>,
    inbox: Mailbox<ToControl>,
    outbox: Mailbox<FromControl>,
}

impl<K: Steer> Control<K> {
    fn new(setup: ControlSetup<K>) -> Self {
        let ControlSetup { config, engine, kernel, workers, activities, sockets, places, inbox, outbox } =
            setup;
        Self {
            watchdogs: (0..workers.count()).map(|_| Watchdog::default()).collect(),
            commands: Commands::new(&config, engine, kernel, workers),
            down: Downlink::default(),
            session: None,
            publisher: Publisher::new(places),
            activities,
            sockets,
            punts_lost: 0,
            inbox,
            outbox,
        }
    }

    fn run(mut self) {
        while self.mail() {
            let work = self.turn();
            self.publish(sys::now());
            if work == 0 {
                self.sleep();
            }
        }
        // Housekeeping stops the control thread first, so the workers go with it.
        while !self.commands.workers.stop() && self.look_for_hung().is_none() {
            std::thread::sleep(RETRY);
        }
    }

    /// A worker that does not turn any more.
    fn look_for_hung(&mut self) -> Option<usize> {
        self.look(&self.commands.workers.numbers());
        self.watchdogs.iter().position(Watchdog::hangs)
    }

    fn look(&mut self, numbers: &[WorkerNumbers]) {
        for (watchdog, worker) in self.watchdogs.iter_mut().zip(numbers) {
            watchdog.look(worker.turns);
        }
    }

    /// Reads the mailbox; `false` to stop.
    fn mail(&mut self) -> bool {
        while let Some(message) = self.inbox.receive() {
            match message {
                ToControl::Attach(link) => {
                    self.session = Some(link.attach(&mut self.commands.up, &mut self.down));
                    self.publisher.restart();
                    // Before the first answer to it.
                    self.publish(sys::now());
                }
                ToControl::Detach { epoch } if self.session.as_ref().is_some_and(|s| s.epoch == epoch) => {
                    self.detach();
                }
                ToControl::Detach { .. } => {}
                ToControl::Local(local) => self.commands.local(local),
                ToControl::OutsideMtu(mtu, facts) => {
                    self.commands.outside_mtu(mtu);
                    if let Some(session) = &self.session {
                        session.counters.facts(&facts);
                    }
                }
                ToControl::Stop => return false,
            }
        }
        let broken = rings::broken(&self.commands.up, &self.down);
        if let (Some(broken), Some(session)) = (broken, &self.session) {
            warn!(what = broken.what, fault = %broken.fault, "the control plane breaks its rings");
            let fault = FromControl::Fault { epoch: session.epoch, what: broken.what };
            self.publisher.ring_faults += 1;
            self.detach();
            // Were housekeeping's mailbox full, the control plane would see by the missing heartbeat that it is alone.
            let _ = self.outbox.send(fault);
        }
        true
    }

    fn detach(&mut self) {
        rings::detach(&mut self.commands.up, &mut self.down);
        self.session = None;
    }

    /// What the worker has reported, then what the control plane asks for. How much there was to do.
    fn turn(&mut self) -> usize {
        let mut work = self.reports() + self.commands.take_from_kernel();
        work += self.down.turn(&mut self.commands);
        self.commands.workers.ring();
        work + self.commands.up.flush()
    }

    fn reports(&mut self) -> usize {
        let Self { commands, publisher, session, activities, down, .. } = self;
        let Commands { workers, up, .. } = commands;
        let mut work = workers.take_ike(REPORTS_PER_TURN_MAX, |message| {
            let sent = up.ike(message.media_port, message.remote, &message.bytes);
            self.punts_lost += u64::from(sent.is_err());
        });
        for worker in 0..workers.count() {
            for _ in 0..REPORTS_PER_TURN_MAX {
                let Some(report) = workers.report(worker) else { break };
                work += 1;
                match report {
                    Report::Event(Event::NatPage { from, next, mut statistics }) => {
                        let others = workers.numbers();
                        others.iter().enumerate().filter(|(at, _)| *at != worker).for_each(|(_, n)| {
                            statistics.add(&n.nat);
                        });
                        up.report(Event::NatPage { from, next, statistics });
                    }
                    Report::Event(event) => up.report(event),
                    // The last of them: the keys are wiped here.
                    Report::Applied(ops) if workers.taken() => {
                        if let Some(session) = session {
                            publisher.publish_ended(session, activities, &ops);
                        }
                        down.applied(up);
                    }
                    Report::Applied(_) => {}
                }
            }
        }
        work
    }

    fn sleep(&mut self) {
        let Self { commands, down, inbox, .. } = self;
        let workers = &commands.workers;
        let idle = down.prepare_sleep(commands.up.has_room_for_answer()) & workers.prepare_sleep();
        if idle && inbox.is_empty() {
            let time = if commands.up.backlog() > 0 { RETRY } else { LOOK };
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
            let fds = std::iter::once(inbox.as_fd())
                .chain(workers.fds())
                .chain(down.wakeup())
                .chain(commands.kernel_fd());
            let mut polls: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            // A signal, or any error, costs one early look.
            let _ = poll(&mut polls, Some(&timeout));
            inbox.clear_wakeups();
        }
        workers.woke();
        down.woke();
    }

    /// Counters for the control plane, when they are due, and the heartbeat if every worker lives.
    fn publish(&mut self, now: Instant) {
        if !self.publisher.due(now) {
            return;
        }
        let mut workers = self.commands.workers.numbers();
        self.look(&workers);
        for (worker, watchdog) in self.watchdogs.iter_mut().enumerate() {
            if watchdog.has_news() {
                error!(worker, "the worker does not turn any more");
                let _ = self.outbox.send(FromControl::WorkerHangs { worker });
            }
        }
        let Some(session) = &self.session else { return };
        if self.watchdogs.iter().all(Watchdog::lives) {
            session.pulse.beat(now);
        }
        for (ports, sockets) in workers.iter_mut().map(|w| &mut w.ports).zip(&self.sockets) {
            ports.iter_mut().zip(sockets).for_each(|(port, sockets)| sockets.add_to(port));
        }
        let mut numbers = Numbers {
            steering: self.commands.kernel_counters(),
            up: *self.commands.up.counts(),
            down: *self.down.counts(),
            total: WorkerNumbers::total(&workers),
            workers,
        };
        numbers.total.drops[DropReason::IkePuntFull.index()] += self.punts_lost;
        let lost = self.commands.kernel_lost();
        numbers.total.drops[DropReason::OuterQueueFull.index()] += lost.full;
        numbers.total.drops[DropReason::KernelDatagram.index()] += lost.datagrams;
        self.publisher.publish(session, &numbers);
        self.publisher.publish_activity(session, &self.activities);
        self.publisher.publish_qos(session, &self.activities, self.commands.registry());
    }
}

#[cfg(test)]
mod tests;
