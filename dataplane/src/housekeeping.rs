//! The main thread: starts everything, serves one control plane at a time, and stops everything. Nothing here touches a
//! packet; a control plane that comes, goes or dies changes nothing about forwarding.

mod facts;
mod threads;
mod watch;

use crate::boot::{self, Booted, INSIDE, InsideDevice, OUTSIDE};
use crate::control::counters::WorkerPlace;
use crate::control::rings::Link;
use crate::control::steering::KernelSteer;
use crate::control::worker_link::worker_link;
use crate::control::workers::Workers;
use crate::control::{self, ControlSetup, FromControl, ToControl};
use crate::engines;
use crate::error::BootError;
use crate::mailbox::Mailbox;
use crate::neighbours::neighbours;
use crate::offloads;
use crate::privileges;
use crate::worker::{FromWorker, TunQueue, WorkerSetup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_abi::handshake::{Connection, HandshakeError};
use sipsec_abi::{Facts, Listener};
use sipsec_pipeline::{Activities, Owners};
use sipsec_profile::Head;
use sipsec_xsk::Opened;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use threads::Threads;
use tracing::{debug, info, warn};
use watch::{Seen, Watch};

/// Name and version, as the control plane sees it.
pub const SOFTWARE: &str = concat!("sipsec-dataplane ", env!("CARGO_PKG_VERSION"));
/// Longest time between two looks at the worker and the devices.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// Runs until SIGTERM or SIGINT, or until the worker cannot go on. An sVTI that is removed is made again, with new sockets;
/// calls end, as with a new start of this process.
pub fn run(profile: &Head) -> Result<(), BootError> {
    loop {
        match run_once(profile) {
            Err(BootError::SvtiGone { device }) => {
                warn!(device, "the sVTI was removed; starting anew on a new one")
            }
            other => return other,
        }
    }
}

fn run_once(profile: &Head) -> Result<(), BootError> {
    // First, so that the worker inherits the blocked signals.
    let termination =
        crate::sys::termination_fd().map_err(|error| BootError::Io { what: "cannot take signals", error })?;
    boot::harden()?;
    // In a directory that may be another user's, so with root's permissions if there are any.
    let listener = listen(profile)?;
    if let Err(error) = privileges::keep(privileges::MAIN) {
        warn!(%error, "the process keeps permissions that it does not need");
    }
    let selection = engines::select(profile.dataplane.engine)?;
    for timing in &selection.timings {
        debug!("AEAD engine {timing}");
    }
    if let Some(why) = &selection.missing {
        info!(%why, "AEAD engine ipsec-mb is not used");
    }
    for choice in &selection.choices {
        debug!("AEAD engine of {choice}");
    }
    let booted = boot::boot(profile)?;
    let facts = facts::facts(profile, &booted, &selection);
    let watch = Watch::new(&booted, profile)?;
    let ready = format!("ready: {}, AEAD {}", booted.summary, selection.engine.name());
    let config = booted.pipeline_config(&profile.dataplane);
    let owners = Owners::new(profile.dataplane.worker.workers());
    let carriers: Vec<_> = owners.all().map(|worker| booted.carriers(worker)).collect();
    let Booted { steering, opened, inside, netlink, .. } = booted;
    let (router, tun) = match inside {
        InsideDevice::Host(_) => (None, None),
        InsideDevice::Tun(tun) => (None, Some(tun)),
        InsideDevice::Router(link) => (Some((netlink, link.index)), None),
    };
    let mailbox = |error| BootError::Io { what: "cannot make an eventfd", error };
    let links: Vec<_> = owners.all().map(|_| worker_link()).collect::<io::Result<_>>().map_err(mailbox)?;
    let (control_ends, worker_ends): (Vec<_>, Vec<_>) = links.into_iter().unzip();
    let neighbours = neighbours(owners, opened[0].chunk_size() as usize).map_err(mailbox)?;
    let (to_control, from_control) = (Mailbox::new().map_err(mailbox)?, Mailbox::new().map_err(mailbox)?);
    let from_worker = Mailbox::new().map_err(mailbox)?;
    let places = owners.all().zip(&opened).map(|(worker, opened)| WorkerPlace {
        core: profile.dataplane.worker.core_of(worker.0),
        queues: [
            opened.queues(OUTSIDE).count() as u32,
            if tun.is_some() { 1 } else { opened.queues(INSIDE).count() as u32 },
        ],
    });
    let places = places.collect();
    let watch_sockets = |of: &Opened| Ok([of.watch(OUTSIDE)?, of.watch(INSIDE)?]);
    let sockets = opened.iter().map(watch_sockets).collect::<io::Result<_>>();
    let activities: Vec<_> = owners.all().map(|_| Activities::new(config.limits.tunnels_max)).collect();
    let setup = ControlSetup {
        config,
        engine: selection.engine,
        kernel: KernelSteer::new(steering, router),
        workers: Workers::new(owners, control_ends),
        activities: activities.clone(),
        sockets: sockets.map_err(|error| BootError::Io { what: "cannot watch the sockets", error })?,
        places,
        inbox: to_control.clone(),
        outbox: from_control.clone(),
    };
    let thread_error = |error| BootError::Io { what: "cannot start a thread", error };
    let control_thread = control::spawn(setup).map_err(thread_error)?;
    let mut tun_queues = tun.into_iter().flat_map(|tun| {
        let udp = tun.udp;
        tun.queues.into_iter().map(move |queue| TunQueue { queue, udp })
    });
    let shares = opened.into_iter().zip(activities).zip(worker_ends).zip(neighbours).zip(carriers);
    let setups = shares.map(|((((opened, activities), control), neighbours), carriers)| WorkerSetup {
        profile: profile.dataplane.worker.clone(),
        config,
        activities,
        opened,
        tun: tun_queues.next(),
        control,
        neighbours,
        carriers,
        outbox: from_worker.clone(),
    });
    let threads = Threads::spawn(control_thread, setups).map_err(thread_error)?;
    let socket = profile.dataplane_socket();
    let served = Housekeeping {
        termination,
        listener,
        socket,
        facts,
        watch,
        ready: Some(ready),
        not_ready: threads.workers(),
        to_control,
        from_control,
        from_worker,
        threads: Some(threads),
        served: None,
    }
    .serve();
    // The control thread has put them back.
    offloads::Record::new(&profile.runtime_dir).remove();
    served
}

fn listen(profile: &Head) -> Result<Listener, BootError> {
    let (dir, path) = (profile.runtime_dir.clone(), profile.dataplane_socket());
    std::fs::create_dir_all(&dir).map_err(|error| BootError::Listen { path: dir, error })?;
    Listener::bind(&path, SOFTWARE, &[]).map_err(|e| match e {
        HandshakeError::AlreadyRunning => BootError::AlreadyRunning { path },
        HandshakeError::System { errno, .. } => BootError::Listen { path, error: errno.into() },
        other => BootError::Listen { path, error: io::Error::other(other) },
    })
}

struct Housekeeping {
    termination: OwnedFd,
    listener: Listener,
    socket: PathBuf,
    facts: Facts,
    watch: Watch,
    /// What is logged when every worker forwards, until then.
    ready: Option<String>,
    /// Workers that do not yet.
    not_ready: usize,
    to_control: Mailbox<ToControl>,
    from_control: Mailbox<FromControl>,
    from_worker: Mailbox<FromWorker>,
    /// The control thread and the workers, until they are stopped.
    threads: Option<Threads>,
    served: Option<Served>,
}

/// The control plane of the moment.
struct Served {
    epoch: u64,
    connection: Connection,
}

impl Housekeeping {
    fn serve(mut self) -> Result<(), BootError> {
        let served = self.serve_until_the_end();
        let stopped = self.stop();
        match (served, stopped) {
            // Threads that still hold the old sockets allow no new start.
            (Err(BootError::SvtiGone { .. }), Err(error)) => Err(error),
            (served, stopped) => served.and(stopped),
        }
    }

    fn serve_until_the_end(&mut self) -> Result<(), BootError> {
        loop {
            let [terminated, called, disconnected] = self.wait()?;
            while let Some(message) = self.from_worker.receive() {
                match message {
                    FromWorker::Ready if self.not_ready > 1 => self.not_ready -= 1,
                    FromWorker::Ready => {
                        let ready = self.ready.take().unwrap_or_default();
                        info!(socket = %self.socket.display(), "{ready}");
                    }
                    FromWorker::Failed(error) => return Err(error),
                }
            }
            while let Some(message) = self.from_control.receive() {
                match message {
                    FromControl::Fault { epoch, what } => {
                        warn!(epoch, what, "the control plane breaks the ring; disconnecting it");
                        self.disconnect(epoch);
                    }
                    FromControl::WorkerHangs { worker } => return Err(BootError::WorkerHangs { worker }),
                }
            }
            if self.threads.as_ref().is_some_and(Threads::has_ended) {
                return Err(BootError::WorkerDied);
            }
            // What it is told of the devices follows that line in the log.
            let Seen { gone, local, outside_mtu } =
                if self.ready.is_none() { self.watch.look() } else { Seen::default() };
            if let Some(device) = gone {
                let Some((svti, _)) =
                    self.watch.svti.clone().filter(|_| device == self.watch.devices[INSIDE].0)
                else {
                    return Err(BootError::DeviceGone { device });
                };
                // First, so that the control plane's routes have a device.
                self.watch.remake_svti();
                return Err(BootError::SvtiGone { device: svti });
            }
            if let Some(mtu) = outside_mtu {
                warn!(mtu, "the MTU of the WAN has changed; tunnels follow, up to the MTU of the start");
                self.facts.ports[OUTSIDE].mtu = mtu;
                let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
                self.tell_control(ToControl::OutsideMtu(mtu, Box::new(self.facts)));
            }
            if let Some(local) = local {
                info!(prefixes = ?local.prefixes, "the host's own prefixes stay with the kernel");
                self.tell_control(ToControl::Local(Box::new(local)));
            }
            if terminated {
                info!("terminating; the sVTI stays, and what is routed to it is discarded");
                return Ok(());
            }
            if disconnected && let Some(served) = &self.served {
                info!(epoch = served.epoch, "control plane gone; forwarding goes on");
                self.disconnect(served.epoch);
            }
            if called {
                self.accept();
            }
        }
    }

    /// Sleeps until something happens or it is time to look around; whether it was termination, a caller, the end of a connection.
    fn wait(&self) -> Result<[bool; 3], BootError> {
        let mut fds = vec![
            PollFd::new(&self.termination, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
            PollFd::new(&self.from_worker, PollFlags::IN),
            PollFd::new(&self.from_control, PollFlags::IN),
            PollFd::new(&self.watch.events, PollFlags::IN),
        ];
        if let Some(served) = &self.served {
            fds.push(PollFd::from_borrowed_fd(served.connection.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&LOOK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(BootError::Io { what: "cannot wait", error: e.into() }),
        }
        let ready = |i: usize| fds.get(i).is_some_and(|f| !f.revents().is_empty());
        let result = [ready(0), ready(1), ready(5)];
        self.from_worker.clear_wakeups();
        self.from_control.clear_wakeups();
        self.watch.events.clear();
        Ok(result)
    }

    fn accept(&mut self) {
        match self.listener.accept(self.served.is_some()) {
            Ok(None) => {}
            Ok(Some(side)) => {
                info!(epoch = side.epoch, pid = side.peer.pid, software = %side.peer.software, "control plane connected");
                side.counters.facts(&self.facts);
                let refused = self.listener.refused();
                let (link, connection) = Link::new(side, refused);
                let epoch = link.epoch();
                // The control plane hears that it is not served if the connection closes.
                if self.tell_control(ToControl::Attach(Box::new(link))) {
                    self.served = Some(Served { epoch, connection });
                }
            }
            Err(error) => warn!(%error, "control plane refused"),
        }
    }

    /// Ends the connection of `epoch`, if it is still the one that is served.
    fn disconnect(&mut self, epoch: u64) {
        if self.served.as_ref().is_some_and(|s| s.epoch == epoch) {
            self.served = None;
            self.tell_control(ToControl::Detach { epoch });
        }
    }

    /// Whether the control thread will hear it.
    fn tell_control(&self, message: ToControl) -> bool {
        // Only a thread that hangs leaves its mailbox full.
        let told = self.to_control.send(message).is_ok();
        if !told {
            warn!("the control thread does not answer");
        }
        told
    }

    /// The control thread stops the workers; it detaches the programs and puts the offloads back.
    fn stop(&mut self) -> Result<(), BootError> {
        let Some(threads) = self.threads.take() else { return Ok(()) };
        if !self.tell_control(ToControl::Stop) {
            return Err(BootError::WorkerDied);
        }
        threads.join()
    }
}
