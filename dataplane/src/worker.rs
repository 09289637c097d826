//! The worker: one thread that owns both ports, the pipeline and the control plane's rings, and turns.

use crate::boot::{INSIDE, OUTSIDE};
use crate::control::{Changes, ControlHandle};
use crate::error::BootError;
use crate::idle::{self, Idle, SleepOn};
use crate::io::{Buffer, Io};
use crate::mailbox::Mailbox;
use crate::peer::{self, Downlink, Link, Session, Target};
use crate::publish::{Numbers, Publisher};
use crate::sys;
use sipsec_net::dp::{Event, Op, RejectReason};
use sipsec_net::{Instant, MediaPort};
use sipsec_pipeline::{AeadEngine, Config, Local, Pipeline, Sink, Validated};
use sipsec_profile::model as profile;
use sipsec_xsk::port::BATCH_MAX;
use sipsec_xsk::{Frame, Opened, Port};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::{debug, info, warn};

/// While a device does not take its packets or the control plane its events, how long they wait for the next try.
const RETRY: Duration = Duration::from_millis(1);

/// What housekeeping tells the worker.
#[derive(Debug)]
pub enum ToWorker {
    Attach(Box<Link>),
    Detach {
        epoch: u64,
    },
    /// Router mode: the host's addresses have changed.
    Local(Box<Local>),
    /// The MTU of the WAN has changed.
    OutsideMtu(u16),
    Stop,
}

/// What the worker tells housekeeping.
#[derive(Debug)]
pub enum FromWorker {
    /// It forwards.
    Ready,
    /// A control plane broke its rings.
    Fault {
        epoch: u64,
        what: &'static str,
    },
    Failed(BootError),
}

/// Everything a worker starts with, on its way to its thread.
pub struct WorkerSetup {
    pub profile: profile::DataplaneSection,
    pub config: Config,
    pub opened: Opened,
    pub control: ControlHandle,
    pub engine: Box<dyn AeadEngine>,
    pub inbox: Mailbox<ToWorker>,
    pub outbox: Mailbox<FromWorker>,
}

impl std::fmt::Debug for WorkerSetup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerSetup").field("profile", &self.profile).finish_non_exhaustive()
    }
}

pub fn spawn(setup: WorkerSetup) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("worker-0".into()).spawn(move || {
        let outbox = setup.outbox.clone();
        if let Err(error) = schedule(&setup.profile.worker).and_then(|()| start(setup)) {
            // Housekeeping reads its mailbox or is gone itself.
            let _ = outbox.send(FromWorker::Failed(error));
        }
    })
}

fn schedule(worker: &profile::Worker) -> Result<(), BootError> {
    if let Some(core) = worker.core {
        sys::pin(core).map_err(|error| BootError::Core { core, error })?;
    }
    if let Some(priority) = worker.fifo_priority {
        sys::fifo(priority).map_err(|error| BootError::Io { what: "cannot get SCHED_FIFO", error })?;
    }
    info!(
        core = worker.core.map_or_else(|| "any".into(), |c| c.to_string()),
        idle = ?worker.idle,
        fifo_priority = worker.fifo_priority,
        "worker"
    );
    Ok(())
}

fn start(setup: WorkerSetup) -> Result<(), BootError> {
    let WorkerSetup { profile, config, opened, control, engine, inbox, outbox } = setup;
    let (pool, ports) = opened.into_ports();
    let io = Io::new(ports, pool, &config.limits);
    let pipeline = Pipeline::new(config, engine).with_cycles(Box::new(sys::Cycles));
    let control = Downlink::new(control);
    let worker = Worker::new(pipeline, io, control, &profile.worker, inbox, outbox);
    if let Err(error) = sys::populate_memory() {
        // Without the permission to lock, which was said at start, the first use of a page costs a fault.
        debug!(%error, "memory of tables and queues is not touched in advance");
    }
    // Housekeeping reads its mailbox or is gone itself.
    let _ = worker.outbox.send(FromWorker::Ready);
    worker.run()
}

/// Owns everything on the packet's path; nothing here is shared with another thread but rings and mailboxes.
struct Worker<P, C> {
    pipeline: Pipeline<Buffer>,
    io: Io<P>,
    control: Downlink<C, Validated>,
    session: Option<Session>,
    idle: Idle,
    publisher: Publisher,
    inbox: Mailbox<ToWorker>,
    outbox: Mailbox<FromWorker>,
    rx: Vec<Frame>,
    told: Told,
}

impl<P: Port, C: Changes> Worker<P, C> {
    fn new(
        pipeline: Pipeline<Buffer>,
        io: Io<P>,
        control: Downlink<C, Validated>,
        profile: &profile::Worker,
        inbox: Mailbox<ToWorker>,
        outbox: Mailbox<FromWorker>,
    ) -> Self {
        Self {
            pipeline,
            io,
            control,
            session: None,
            idle: Idle::new(profile),
            publisher: Publisher::default(),
            inbox,
            outbox,
            rx: Vec::with_capacity(BATCH_MAX),
            told: Told::default(),
        }
    }
}

impl<P: Port + SleepOn, C: Changes> Worker<P, C> {
    fn run(mut self) -> Result<(), BootError> {
        while self.mail() {
            let now = sys::now();
            let work = self.turn(now);
            self.publish(now);
            if let Some(time) = self.idle.next(now, work, self.deadline(now)) {
                self.sleep(time)?;
            }
        }
        Ok(())
    }

    fn sleep(&mut self, time: Duration) -> Result<(), BootError> {
        self.publish_rest();
        if self.control.prepare_sleep(self.io.up.has_room_for_answer()) && self.inbox.is_empty() {
            self.publisher.sleeps += 1;
            let own = [self.inbox.as_fd()].into_iter().chain(self.control.wakeups());
            let fds = self.io.ports.iter().flat_map(SleepOn::fds).chain(own);
            idle::sleep(fds, time).map_err(|error| BootError::Io { what: "cannot sleep", error })?;
            self.inbox.clear_wakeups();
        }
        self.control.woke();
        Ok(())
    }
}

impl<P: Port, C: Changes> Worker<P, C> {
    /// A batch of each port, the control plane, what is due; then one kick for each port. How much there was to do.
    fn turn(&mut self, now: Instant) -> usize {
        let Self { pipeline, io, control, rx, told, .. } = self;
        let mut work = io.ports[OUTSIDE].receive(BATCH_MAX, rx);
        pipeline.batch_from_outside(now, rx.drain(..).map(Buffer), io);
        work += io.ports[INSIDE].receive(BATCH_MAX, rx);
        pipeline.batch_from_inside(now, rx.drain(..).map(Buffer), io);
        work += control.turn(now, &mut Forwarding { pipeline, io, told });
        pipeline.poll(now, io);
        io.kick();
        work += io.up.flush();
        self.publisher.turned(work);
        work
    }

    /// Reads the mailbox; `false` to stop.
    fn mail(&mut self) -> bool {
        while let Some(message) = self.inbox.receive() {
            match message {
                ToWorker::Attach(link) => {
                    self.session = Some(link.attach(&mut self.io.up, &mut self.control));
                    self.publisher.restart();
                    // Before the first answer to it.
                    self.publish(sys::now());
                    self.publish_rest();
                }
                ToWorker::Detach { epoch } if self.session.as_ref().is_some_and(|s| s.epoch == epoch) => {
                    self.detach();
                }
                ToWorker::Detach { .. } => {}
                ToWorker::Local(local) => {
                    self.pipeline.set_local(*local);
                }
                ToWorker::OutsideMtu(mtu) => self.pipeline.set_outside_mtu(mtu),
                ToWorker::Stop => return false,
            }
        }
        if let (Some(broken), Some(session)) = (peer::broken(&self.io.up, &self.control), &self.session) {
            warn!(what = broken.what, fault = %broken.fault, "the control plane breaks its rings");
            let fault = FromWorker::Fault { epoch: session.epoch, what: broken.what };
            self.publisher.ring_faults += 1;
            self.detach();
            // Were housekeeping's mailbox full, the control plane would see by the missing heartbeat that it is alone.
            let _ = self.outbox.send(fault);
        }
        true
    }

    fn detach(&mut self) {
        peer::detach(&mut self.io.up, &mut self.control);
        self.session = None;
    }

    fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = Some(self.pipeline.next_deadline()).filter(|at| *at < Instant::MAX);
        let stuck = self.io.up.backlog() > 0 || self.io.has_unsent();
        let retry = stuck.then(|| now + RETRY);
        due.into_iter().chain(retry).min()
    }

    /// Counters for the control plane, when they are due.
    fn publish(&mut self, now: Instant) {
        let Some(session) = &self.session else { return };
        if !self.publisher.due(now) {
            // A batch, then some tunnels: with thousands of them, packets do not wait for all.
            self.publisher.publish_activity(session, self.pipeline.activity_places(), |place| {
                self.pipeline.activity_at(place)
            });
            return;
        }
        session.pulse.beat(now);
        let mut drops = *self.pipeline.drops();
        self.io.add_drops(&mut drops);
        let numbers = Numbers {
            drops,
            ports: [self.io.ports[OUTSIDE].stats(), self.io.ports[INSIDE].stats()],
            steering: self.control.changes().counters(),
            up: *self.io.up.counts(),
            down: *self.control.counts(),
            frames_free: self.io.pool.free_count(),
            live: self.pipeline.live(),
        };
        self.publisher.publish(session, &numbers);
        self.publisher.publish_stages(session, self.pipeline.stages());
    }

    /// Finishes the round through the tunnels, where no packet waits for it.
    fn publish_rest(&mut self) {
        let Some(session) = &self.session else { return };
        let (publisher, pipeline) = (&mut self.publisher, &self.pipeline);
        while !publisher
            .publish_activity(session, pipeline.activity_places(), |place| pipeline.activity_at(place))
        {
        }
    }
}

/// What the log has heard and need not hear again: it is the WAN's, and so every tunnel's.
#[derive(Debug, Default)]
struct Told {
    too_small_for_v6: bool,
}

/// What commands act on.
struct Forwarding<'a, P> {
    pipeline: &'a mut Pipeline<Buffer>,
    io: &'a mut Io<P>,
    told: &'a mut Told,
}

impl<P> Forwarding<'_, P> {
    /// `sipsec check` sees to the profile, but not to what the WAN makes of it.
    fn look_for_small_tunnels(&mut self, ops: &[Op]) {
        if self.told.too_small_for_v6 {
            return;
        }
        let small = ops.iter().find_map(|op| match op {
            Op::RouteAdd { tunnel, .. } | Op::TunnelBind { tunnel, .. } => {
                Some((tunnel, self.pipeline.too_small_for_v6(*tunnel)?))
            }
            _ => None,
        });
        if let Some((tunnel, mtu)) = small {
            self.told.too_small_for_v6 = true;
            warn!(
                %tunnel,
                mtu,
                "the WAN leaves a tunnel with IPv6 routes less than 1280 bytes: larger IPv6 packets are lost, and hosts send \
                 none that are smaller because they are told to (RFC 8200 §5); raise the MTU of the WAN, or take the IPv6 \
                 routes out of the profile"
            );
        }
    }
}

impl<P: Port> Target for Forwarding<'_, P> {
    type Validated = Validated;

    fn validate(&self, ops: &[Op]) -> Result<Validated, (u16, RejectReason)> {
        self.pipeline.validate(ops)
    }

    fn commit(&mut self, now: Instant, ops: &[Op], validated: Validated) {
        self.pipeline.commit(now, ops, validated);
        self.look_for_small_tunnels(ops);
    }

    fn snapshot(&mut self) {
        let up = &mut self.io.up;
        self.pipeline.snapshot(&mut |event| up.report(event));
        up.report(Event::SnapshotEnd);
        // Calls that were asked for while nobody listened. What waits for them stays while the tunnel is put back.
        self.pipeline.reacquire(&mut |event| up.report(event));
    }

    fn send_ike(&mut self, now: Instant, port: MediaPort, remote: SocketAddr, message: &[u8]) {
        let frame = self.io.frame();
        self.pipeline.send_ike(now, port, remote, message, frame);
    }

    fn has_room_for_answer(&self) -> bool {
        self.io.up.has_room_for_answer()
    }

    fn report(&mut self, event: Event) {
        self.io.up.report(event);
    }
}

#[cfg(test)]
mod tests;
