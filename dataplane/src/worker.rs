//! A worker: one thread that owns its queues of both ports and a pipeline, and turns. The control thread commands it through
//! queues that it looks at between two batches, and other workers hand packets over.

use crate::boot::{INSIDE, OUTSIDE};
use crate::control::cells::WorkerNumbers;
use crate::control::worker_link::{Update, WorkerEnd};
use crate::device_port::DevicePort;
use crate::error::BootError;
use crate::huge_pages;
use crate::idle::{self, Idle, SleepOn};
use crate::io::{Buffer, Io};
use crate::mailbox::Mailbox;
use crate::neighbours::Neighbours;
use crate::privileges;
use crate::sys;
use crate::tun::port::TunPort;
use sipsec_net::Instant;
use sipsec_pipeline::{Activities, Config, HandOver, Pipeline, Sink, WorkerIndex};
use sipsec_profile::model as profile;
use sipsec_xsk::port::BATCH_MAX;
use sipsec_xsk::{Frame, Opened, Port};
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::{debug, info, warn};

/// While a device does not take its packets, how long they wait for the next try.
const RETRY: Duration = Duration::from_millis(1);
/// How old the numbers in the cells may become while there is work.
const STORE_EVERY: Duration = Duration::from_millis(50);
/// Updates applied between two batches: packets never wait for more.
const UPDATES_PER_TURN_MAX: usize = 4;
/// IKE messages sent between two batches.
const IKE_PER_TURN_MAX: usize = 32;
/// Packets taken from each other worker in one turn: as many as it hands over in one.
const HANDED_PER_TURN_MAX: usize = 2 * BATCH_MAX;
/// Tunnels looked at between two batches when a control plane has connected.
const TUNNELS_PER_TURN: u32 = 256;

/// What a worker tells housekeeping.
#[derive(Debug)]
pub enum FromWorker {
    /// It forwards; once from each.
    Ready,
    Failed(BootError),
}

/// Everything a worker starts with, on its way to its thread.
pub struct WorkerSetup {
    pub profile: profile::Worker,
    pub config: Config,
    pub activities: Activities,
    pub opened: Opened,
    /// Its queue of the sVTI in tun mode.
    pub tun: Option<TunQueue>,
    pub control: WorkerEnd,
    pub neighbours: Neighbours,
    /// The worker that sends on each port, if this one has no queue there.
    pub carriers: [Option<WorkerIndex>; 2],
    pub outbox: Mailbox<FromWorker>,
}

/// A queue of the sVTI, and whether the kernel takes merged UDP by it.
#[derive(Debug)]
pub struct TunQueue {
    pub queue: OwnedFd,
    pub udp: bool,
}

impl std::fmt::Debug for WorkerSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerSetup").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// `runs` is dropped when the thread ends.
pub fn spawn(setup: WorkerSetup, runs: Sender<Infallible>) -> std::io::Result<JoinHandle<()>> {
    let index = setup.neighbours.own();
    std::thread::Builder::new().name(format!("worker-{}", index.0)).spawn(move || {
        let _runs = runs;
        let outbox = setup.outbox.clone();
        if let Err(error) = schedule(&setup.profile, index).and_then(|()| start(setup)) {
            // Housekeeping reads its mailbox or is gone itself.
            let _ = outbox.send(FromWorker::Failed(error));
        }
    })
}

fn schedule(worker: &profile::Worker, index: WorkerIndex) -> Result<(), BootError> {
    let core = worker.core_of(index.0);
    if let Some(core) = core {
        sys::pin(core).map_err(|error| BootError::Core { core, error })?;
    }
    if let Some(priority) = worker.fifo_priority {
        sys::fifo(priority).map_err(|error| BootError::Io { what: "cannot get SCHED_FIFO", error })?;
    }
    info!(
        index = index.0,
        core = core.map_or_else(|| "any".into(), |c| c.to_string()),
        idle = ?worker.idle,
        fifo_priority = worker.fifo_priority,
        "worker"
    );
    Ok(())
}

fn start(setup: WorkerSetup) -> Result<(), BootError> {
    let WorkerSetup { profile, config, activities, opened, tun, control, neighbours, carriers, outbox } =
        setup;
    let pipeline = Pipeline::with_activities(config, activities)
        .with_cycles(Box::new(sys::Cycles))
        .as_worker(neighbours.own(), neighbours.owners());
    let (pool, [outside, inside]) = opened.into_ports();
    let inside = match tun {
        Some(TunQueue { queue, udp }) => DevicePort::Tun(TunPort::new(queue, Rc::clone(&pool), udp)),
        None => DevicePort::Xsk(inside),
    };
    let ports = [DevicePort::Xsk(outside), inside];
    let worker = Worker::new(pipeline, Io::new(ports, pool, control, neighbours, carriers), &profile);
    let asked = huge_pages::ask();
    if let Err(error) = sys::populate_memory() {
        // Without the permission to lock, which was said at start, the first use of a page costs a fault.
        debug!(%error, "memory of tables and queues is not touched in advance");
    }
    report_huge_pages(asked);
    if let Err(error) = privileges::keep(privileges::WORKER) {
        warn!(%error, "the worker keeps permissions that it does not need");
    }
    // Housekeeping reads its mailbox or is gone itself.
    let _ = outbox.send(FromWorker::Ready);
    worker.run()
}

/// With few tunnels it makes no difference, with thousands every packet is in another page.
fn report_huge_pages(asked: std::io::Result<usize>) {
    match asked.and_then(|asked| Ok((asked >> 20, huge_pages::held()? >> 20))) {
        Ok((asked_mib, held_mib)) => info!(asked_mib, held_mib, "tables in huge pages"),
        Err(error) => {
            info!(%error, "tables are not in huge pages: /sys/kernel/mm/transparent_hugepage/enabled says `madvise`, if the \
                kernel has them");
        }
    }
}

/// Owns everything on the packet's path; nothing here is shared with another thread but queues and cells.
struct Worker<P> {
    pipeline: Pipeline<Buffer>,
    io: Io<P>,
    idle: Idle,
    /// Where the round through tunnels that ask again for their calls goes on, if one is under way.
    reacquire: Option<u32>,
    numbers: OwnNumbers,
    rx: Vec<Frame>,
    handed: Handed,
}

/// What other workers have handed over, for one turn; empty between turns.
#[derive(Debug, Default)]
struct Handed {
    fragments: Vec<Frame>,
    outside: Vec<Frame>,
    inside: Vec<Frame>,
    packets: Vec<(HandOver, Frame)>,
}

impl Handed {
    /// Without other workers there will be none.
    fn of(neighbours: &Neighbours) -> Self {
        let max = HANDED_PER_TURN_MAX * usize::from(neighbours.owners().workers() - 1);
        Self {
            fragments: Vec::with_capacity(max),
            outside: Vec::with_capacity(max),
            inside: Vec::with_capacity(max),
            packets: Vec::with_capacity(max),
        }
    }
}

/// The loop's own numbers.
#[derive(Debug, Default)]
struct OwnNumbers {
    turns: u64,
    turns_idle: u64,
    sleeps: u64,
    stored: Instant,
}

impl<P: Port> Worker<P> {
    fn new(pipeline: Pipeline<Buffer>, io: Io<P>, profile: &profile::Worker) -> Self {
        Self {
            handed: Handed::of(&io.neighbours),
            pipeline,
            io,
            idle: Idle::new(profile),
            reacquire: None,
            numbers: OwnNumbers::default(),
            rx: Vec::with_capacity(BATCH_MAX),
        }
    }
}

impl<P: Port + SleepOn> Worker<P> {
    fn run(mut self) -> Result<(), BootError> {
        loop {
            let now = sys::now();
            let Turn::Did(work) = self.turn(now) else { return Ok(()) };
            if let Some(time) = self.idle.next(now, work, self.deadline(now)) {
                self.sleep(now, time)?;
            } else if now.saturating_duration_since(self.numbers.stored) >= STORE_EVERY {
                self.store(now);
            }
        }
    }

    fn sleep(&mut self, now: Instant, time: Duration) -> Result<(), BootError> {
        self.store(now);
        let Io { control, neighbours, .. } = &self.io;
        if control.updates.prepare_sleep() & control.ike_down.prepare_sleep() & neighbours.prepare_sleep() {
            self.numbers.sleeps += 1;
            let (updates, ike) = (control.updates.as_fd(), control.ike_down.as_fd());
            let own = [updates, ike, neighbours.as_fd()];
            let fds = self.io.ports.iter().flat_map(SleepOn::fds).chain(own);
            idle::sleep(fds, time).map_err(|error| BootError::Io { what: "cannot sleep", error })?;
        }
        control.updates.woke();
        control.ike_down.woke();
        neighbours.woke();
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// So much was there to do.
    Did(usize),
    Stop,
}

impl<P: Port> Worker<P> {
    /// A batch of each port and of each other worker, the control thread, what is due; then one kick for each port.
    fn turn(&mut self, now: Instant) -> Turn {
        let Self { pipeline, io, rx, .. } = self;
        let mut work = io.ports[OUTSIDE].receive(BATCH_MAX, rx);
        pipeline.batch_from_outside(now, rx.drain(..).map(Buffer), io);
        work += io.ports[INSIDE].receive(BATCH_MAX, rx);
        pipeline.batch_from_inside(now, rx.drain(..).map(Buffer), io);
        work += self.handed(now);
        let Turn::Did(updates) = self.updates(now) else { return Turn::Stop };
        work += updates + self.ike(now);
        self.ask_again();
        self.pipeline.poll(now, &mut self.io);
        self.io.kick();
        self.io.control.ring();
        self.io.neighbours.ring();
        self.numbers.turns += 1;
        self.numbers.turns_idle += u64::from(work == 0);
        Turn::Did(work)
    }

    /// Does with what other workers have handed over what it does with its own.
    fn handed(&mut self, now: Instant) -> usize {
        let Self { pipeline, io, handed: Handed { fragments, outside, inside, packets }, .. } = self;
        let taken = io.take_handed(HANDED_PER_TURN_MAX, |what, frame| match what {
            HandOver::Fragment => fragments.push(frame),
            HandOver::Outside => outside.push(frame),
            HandOver::Inside => inside.push(frame),
            HandOver::Hub { .. } | HandOver::Error { .. } => packets.push((what, frame)),
        });
        if taken == 0 {
            return 0;
        }
        io.handed_as(Some(HandOver::Fragment));
        pipeline.batch_from_outside(now, fragments.drain(..).map(Buffer), io);
        io.handed_as(Some(HandOver::Outside));
        pipeline.batch_from_outside(now, outside.drain(..).map(Buffer), io);
        io.handed_as(Some(HandOver::Inside));
        pipeline.batch_from_inside(now, inside.drain(..).map(Buffer), io);
        for (what, frame) in packets.drain(..) {
            io.handed_as(Some(what));
            pipeline.handed(now, what, Buffer(frame), io);
        }
        io.handed_as(None);
        taken
    }

    /// Applies what the control thread has validated.
    fn updates(&mut self, now: Instant) -> Turn {
        for done in 0..UPDATES_PER_TURN_MAX {
            match self.io.control.updates.pop() {
                None => return Turn::Did(done),
                Some(Update::Transaction { ops, validated }) => {
                    self.pipeline.commit(now, &ops, validated);
                    self.io.control.applied(ops);
                }
                Some(Update::Local(local)) => self.pipeline.set_local(*local),
                Some(Update::OutsideMtu(mtu)) => self.pipeline.set_outside_mtu(mtu),
                Some(Update::PathMtu(report)) => self.pipeline.path_mtu(now, &report),
                Some(Update::Reacquire) => self.reacquire = Some(0),
                Some(Update::Stop) => return Turn::Stop,
            }
        }
        Turn::Did(UPDATES_PER_TURN_MAX)
    }

    /// Sends IKE messages of the control plane.
    fn ike(&mut self, now: Instant) -> usize {
        for done in 0..IKE_PER_TURN_MAX {
            let Some(message) = self.io.control.ike_down.pop() else { return done };
            let frame = self.io.frame();
            let (port, remote) = (message.media_port, message.remote);
            if message.dont_fragment {
                self.pipeline.send_probe(now, port, remote, &message.bytes, frame);
            } else {
                self.pipeline.send_ike(now, port, remote, &message.bytes, frame);
            }
        }
        IKE_PER_TURN_MAX
    }

    /// Goes on with the round through the tunnels that wait for a call.
    fn ask_again(&mut self) {
        let Some(from) = self.reacquire else { return };
        let control = &mut self.io.control;
        self.reacquire =
            self.pipeline.reacquire(from..from + TUNNELS_PER_TURN, &mut |event| control.event(event));
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = Some(self.pipeline.next_deadline()).filter(|at| *at < Instant::MAX);
        let stuck = self.io.has_unsent() || self.reacquire.is_some();
        let retry = stuck.then(|| now + RETRY);
        due.into_iter().chain(retry).min()
    }

    /// Its numbers, for the control thread.
    fn store(&mut self, now: Instant) {
        self.numbers.stored = now;
        let mut drops = *self.pipeline.drops();
        self.io.add_drops(&mut drops);
        let (handed_over, handed_in) = self.io.neighbours.counts();
        self.io.control.cells.store(WorkerNumbers {
            turns: self.numbers.turns,
            turns_idle: self.numbers.turns_idle,
            sleeps: self.numbers.sleeps,
            events_lost: self.io.control.events_lost(),
            frames_free: self.io.pool.free_count() as u64,
            handed_over,
            handed_in,
            live: self.pipeline.live(),
            nat: self.pipeline.nat_statistics(),
            drops,
            ports: [self.io.ports[OUTSIDE].stats(), self.io.ports[INSIDE].stats()],
            stages: *self.pipeline.stages(),
        });
    }
}

#[cfg(test)]
mod tests;
