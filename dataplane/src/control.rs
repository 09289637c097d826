//! The control thread: rings of the control plane, validation, the kernel's tables (BPF maps, netlink) and counters, so that
//! the worker, which has the packets, waits for nothing and looks at nothing but what it applies.
//!
//! ```text
//!  control plane ═ rings ═▶ Downlink ─▶ Registry: validate ─▶ Steering: BPF maps, routes ─▶ queue ─▶ worker: commit
//!                ◀═ rings ═ Uplink   ◀──────────── "applied", events, IKE ◀── queue ◀──────────────── worker
//! ```
//! One transaction is on its way at a time, so what has been validated still holds when the worker commits: a transaction is
//! in the registry, in the kernel's tables and in the worker's, or in none. The answer follows the worker's commit.

pub mod cells;
mod commands;
pub mod counters;
pub mod media_sockets;
pub mod queue;
pub mod rings;
pub mod steering;
pub mod worker_link;

use crate::mailbox::Mailbox;
use crate::privileges;
use crate::sys;
use commands::Commands;
use counters::{Numbers, Publisher};
use rings::{Downlink, Link, Session};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_abi::Facts;
use sipsec_net::{DropReason, Instant};
use sipsec_pipeline::{Activities, AeadEngine, Config, Local, Validated};
use sipsec_xsk::SocketWatch;
use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::Duration;
use steering::Steer;
use tracing::{error, warn};
use worker_link::{ControlEnd, Report, Update};

/// How old counters and the heartbeat may become.
const LOOK: Duration = Duration::from_millis(100);
/// While the control plane takes no events, or the worker no messages.
const RETRY: Duration = Duration::from_millis(1);
/// Looks without a turn of the worker until it counts as hung. It never sleeps longer than one.
const LOOKS_WITHOUT_TURN_MAX: u32 = 50;
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
    /// The worker has not turned for seconds.
    WorkerHangs,
}

/// Everything the thread starts with.
pub struct ControlSetup<K> {
    pub config: Config,
    pub engine: Box<dyn AeadEngine>,
    pub kernel: K,
    pub worker: ControlEnd,
    pub activities: Activities,
    /// The sockets, for what the kernel counts of them.
    pub sockets: [SocketWatch; 2],
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
    activities: Activities,
    sockets: [SocketWatch; 2],
    /// IKE messages that found no room on their way up.
    punts_lost: u64,
    watchdog: Watchdog,
    inbox: Mailbox<ToControl>,
    outbox: Mailbox<FromControl>,
}

impl<K: Steer> Control<K> {
    fn new(setup: ControlSetup<K>) -> Self {
        let ControlSetup { config, engine, kernel, worker, activities, sockets, inbox, outbox } = setup;
        Self {
            commands: Commands::new(&config, engine, kernel, worker),
            down: Downlink::default(),
            session: None,
            publisher: Publisher::default(),
            activities,
            sockets,
            punts_lost: 0,
            watchdog: Watchdog::default(),
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
        // Housekeeping stops the control thread first, so the worker goes with it.
        while self.commands.worker.updates.push(Update::Stop).is_err() {
            std::thread::sleep(RETRY);
            if self.watchdog.hangs() {
                return;
            }
            self.watchdog.look(self.commands.worker.cells.load().turns);
        }
        self.commands.worker.updates.ring();
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
        self.commands.worker.updates.ring();
        self.commands.worker.ike_down.ring();
        self.commands.worker.datagrams.ring();
        work + self.commands.up.flush()
    }

    fn reports(&mut self) -> usize {
        let Self { commands, publisher, session, activities, down, .. } = self;
        let Commands { worker, up, .. } = commands;
        let mut work = 0;
        while work < REPORTS_PER_TURN_MAX
            && let Some(message) = worker.ike_up.pop()
        {
            work += 1;
            let sent = up.ike(message.media_port, message.remote, &message.bytes);
            self.punts_lost += u64::from(sent.is_err());
        }
        while work < REPORTS_PER_TURN_MAX
            && let Some(report) = worker.reports.pop()
        {
            work += 1;
            match report {
                Report::Event(event) => up.report(event),
                // Its keys are wiped here.
                Report::Applied(ops) => {
                    if let Some(session) = session {
                        publisher.publish_ended(session, activities, &ops);
                    }
                    down.applied(up);
                }
            }
        }
        work
    }

    fn sleep(&mut self) {
        let Self { commands, down, inbox, .. } = self;
        let worker = &commands.worker;
        let idle = down.prepare_sleep(commands.up.has_room_for_answer())
            & worker.reports.prepare_sleep()
            & worker.ike_up.prepare_sleep();
        if idle && inbox.is_empty() {
            let time = if commands.up.backlog() > 0 { RETRY } else { LOOK };
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
            let own = [inbox.as_fd(), worker.reports.as_fd(), worker.ike_up.as_fd()];
            let fds = own.into_iter().chain(down.wakeup()).chain(commands.kernel_fd());
            let mut polls: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
            // A signal, or any error, costs one early look.
            let _ = poll(&mut polls, Some(&timeout));
            inbox.clear_wakeups();
        }
        worker.reports.woke();
        worker.ike_up.woke();
        down.woke();
    }

    /// Counters for the control plane, when they are due, and the heartbeat if the worker lives.
    fn publish(&mut self, now: Instant) {
        if !self.publisher.due(now) {
            return;
        }
        let worker = self.commands.worker.cells.load();
        self.watchdog.look(worker.turns);
        if self.watchdog.hangs() && !std::mem::replace(&mut self.watchdog.is_told, true) {
            error!(looks = LOOKS_WITHOUT_TURN_MAX, "the worker does not turn any more");
            let _ = self.outbox.send(FromControl::WorkerHangs);
        }
        let Some(session) = &self.session else { return };
        if self.watchdog.lives() {
            session.pulse.beat(now);
        }
        let mut numbers = Numbers {
            steering: self.commands.kernel_counters(),
            up: *self.commands.up.counts(),
            down: *self.down.counts(),
            worker,
        };
        numbers.worker.drops[DropReason::IkePuntFull.index()] += self.punts_lost;
        let lost = self.commands.kernel_lost();
        numbers.worker.drops[DropReason::OuterQueueFull.index()] += lost.full;
        numbers.worker.drops[DropReason::OuterTooLong.index()] += lost.too_long;
        for (port, sockets) in numbers.worker.ports.iter_mut().zip(&self.sockets) {
            sockets.add_to(port);
        }
        self.publisher.publish(session, &numbers);
        self.publisher.publish_activity(session, &self.activities);
        self.publisher.publish_qos(session, &self.activities, self.commands.registry());
    }
}

/// Whether the worker still turns. In looks, not in time: a process that was stopped has not hung.
#[derive(Debug, Default)]
struct Watchdog {
    turns: u64,
    looks_without: u32,
    is_told: bool,
}

impl Watchdog {
    fn look(&mut self, turns: u64) {
        let turned = std::mem::replace(&mut self.turns, turns) != turns;
        // Before its first turn it has a machine's memory to touch.
        let counts = !turned && turns > 0;
        self.looks_without = if counts { self.looks_without.saturating_add(1) } else { 0 };
        self.is_told &= !turned;
    }

    /// It may have slept through one look.
    const fn lives(&self) -> bool {
        self.turns > 0 && self.looks_without < LOOKS_WITHOUT_TURN_MAX / 5
    }

    const fn hangs(&self) -> bool {
        self.looks_without >= LOOKS_WITHOUT_TURN_MAX
    }
}

#[cfg(test)]
mod tests;
