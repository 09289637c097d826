//! The main thread: starts everything, serves one control plane at a time, and stops everything. Nothing here touches a
//! packet; a control plane that comes, goes or dies changes nothing about forwarding.

use crate::boot::{self, Booted, INSIDE, InsideDevice, OUTSIDE};
use crate::control::counters::WorkerPlace;
use crate::control::rings::Link;
use crate::control::steering::KernelSteer;
use crate::control::worker_link::worker_link;
use crate::control::workers::Workers;
use crate::control::{self, ControlSetup, FromControl, ToControl};
use crate::device;
use crate::engines::{self, Selection};
use crate::error::BootError;
use crate::local;
use crate::mailbox::Mailbox;
use crate::neighbours::neighbours;
use crate::netlink::{LinkEvents, Netlink};
use crate::offloads;
use crate::privileges;
use crate::worker::{self, FromWorker, WorkerSetup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_abi::handshake::{Connection, HandshakeError};
use sipsec_abi::{Facts, Listener, PortFacts, Text};
use sipsec_ebpf::Port;
use sipsec_pipeline::{Activities, Local, Owners};
use sipsec_profile::Head;
use sipsec_profile::model as profile;
use sipsec_xsk::Opened;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// Name and version, as the control plane sees it.
pub const SOFTWARE: &str = concat!("sipsec-dataplane ", env!("CARGO_PKG_VERSION"));
/// Longest time between two looks at the worker and the devices.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long workers may take to see that they are to stop; they sleep no longer than a tenth of a second.
const WORKER_END_LIMIT: Duration = Duration::from_secs(2);
const WORKER_END_LOOK: Duration = Duration::from_millis(2);
/// How often the log hears of the same trouble.
const WARN_EVERY: Duration = Duration::from_secs(60);

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
    let facts = facts(profile, &booted, &selection);
    let watch = Watch::new(&booted, profile)?;
    let ready = format!("ready: {}, AEAD {}", booted.summary, selection.engine.name());
    let config = booted.pipeline_config(&profile.dataplane);
    let owners = Owners::new(profile.dataplane.worker.workers());
    let carriers: Vec<_> = owners.all().map(|worker| booted.carriers(worker)).collect();
    let Booted { steering, opened, inside, netlink, .. } = booted;
    let router = match inside {
        InsideDevice::Host(_) => None,
        InsideDevice::Router(link) => Some((netlink, link.index)),
    };
    let mailbox = |error| BootError::Io { what: "cannot make an eventfd", error };
    let links: Vec<_> = owners.all().map(|_| worker_link()).collect::<io::Result<_>>().map_err(mailbox)?;
    let (control_ends, worker_ends): (Vec<_>, Vec<_>) = links.into_iter().unzip();
    let neighbours = neighbours(owners, opened[0].chunk_size() as usize).map_err(mailbox)?;
    let (to_control, from_control) = (Mailbox::new().map_err(mailbox)?, Mailbox::new().map_err(mailbox)?);
    let from_worker = Mailbox::new().map_err(mailbox)?;
    let places = owners.all().zip(&opened).map(|(worker, opened)| WorkerPlace {
        core: profile.dataplane.worker.core_of(worker.0),
        queues: [OUTSIDE, INSIDE].map(|port| opened.queues(port).count() as u32),
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
    let mut worker_threads = Vec::new();
    let shares = opened.into_iter().zip(activities).zip(worker_ends).zip(neighbours).zip(carriers);
    for ((((opened, activities), control), neighbours), carriers) in shares {
        let setup = WorkerSetup {
            profile: profile.dataplane.worker.clone(),
            config,
            activities,
            opened,
            control,
            neighbours,
            carriers,
            outbox: from_worker.clone(),
        };
        worker_threads.push(worker::spawn(setup).map_err(thread_error)?);
    }
    let socket = profile.dataplane_socket();
    let served = Housekeeping {
        termination,
        listener,
        socket,
        facts,
        watch,
        ready: Some(ready),
        not_ready: worker_threads.len(),
        to_control,
        from_control,
        from_worker,
        threads: Some((control_thread, worker_threads)),
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

fn facts(profile: &Head, booted: &Booted, selection: &Selection) -> Facts {
    let section = &profile.dataplane;
    let first = &booted.opened[0];
    let bind_mode = Text::new(first.mode().name());
    let zero_copy_refused = match (section.bind_mode, first.refusal()) {
        (profile::BindMode::Copy, _) => Text::new("dataplane.bind_mode is copy"),
        (_, Some(refusal)) => Text::new(&refusal.to_string()),
        (_, None) => Text::EMPTY,
    };
    let driver_refused = |port: Port| match (section.xdp_mode, booted.steering.attached(port)) {
        (profile::XdpMode::Generic, _) => Text::new("dataplane.xdp_mode is generic"),
        (_, Some(attached)) => {
            attached.driver_refused.as_deref().map(|e| Text::new(&root(e).to_string())).unwrap_or_default()
        }
        (_, None) => Text::EMPTY,
    };
    let port = |port: Port, index: usize, name: &str, link: &crate::netlink::Link| PortFacts {
        device: Text::new(name),
        xdp_mode: booted.steering.attached(port).map(|a| Text::new(&a.mode.to_string())).unwrap_or_default(),
        bind_mode,
        mac: link.mac,
        ifindex: link.index,
        mtu: link.mtu,
        queues: booted.queues[index],
        fill: first.fill_max(),
        busy_poll_us: first.watch(index).map(|sockets| sockets.busy_poll_us()).unwrap_or(0),
        driver_refused: driver_refused(port),
        zero_copy_refused,
    };
    let inside = match &booted.inside {
        InsideDevice::Host(pair) => &pair.kernel,
        InsideDevice::Router(link) => link,
    };
    let mut facts = Facts {
        software: Text::new(SOFTWARE),
        engine: Text::new(selection.engine.name()),
        workers: booted.opened.len() as u32,
        frames: section.frames,
        chunk: first.chunk_size(),
        ring: first.ring_size(),
        huge_pages: section.huge_pages,
        need_wakeup: first.need_wakeup(),
        pid: std::process::id(),
        ports: [
            port(Port::Outside, OUTSIDE, &section.outside.device, &booted.outside),
            port(Port::Inside, INSIDE, section.inside.device(), inside),
        ],
        ..Facts::default()
    };
    for (slot, stage) in facts.stages.iter_mut().zip(sipsec_pipeline::Stage::ALL) {
        *slot = Text::new(stage.name());
    }
    facts
}

/// The innermost cause: what the kernel has said.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |e| e.source()).last().unwrap_or(error)
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
    threads: Option<(JoinHandle<()>, Vec<JoinHandle<()>>)>,
    served: Option<Served>,
}

/// The devices to which the sockets are bound. One that is removed and made again (a modem that reconnects, an
/// administrator) has the same name and none of our sockets: only a new start helps.
struct Watch {
    netlink: Netlink,
    events: LinkEvents,
    devices: [(String, u32); 2],
    /// Host mode: the sVTI's name and the MTU that it was given.
    svti: Option<(String, u32)>,
    workers: u32,
    /// What the worker knows of the WAN.
    outside_mtu: u32,
    /// Router mode: the LAN device, and what the worker knows to be the host's own.
    lan: Option<(u32, Local)>,
    /// When the log last heard that the kernel does not answer.
    warned: Option<Instant>,
}

/// What a look around has found.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// A device that is not there any more, or is another of that name.
    gone: Option<String>,
    /// What the host owns now, if that is not what the worker was told last.
    local: Option<Local>,
    /// The WAN's MTU, if it has changed.
    outside_mtu: Option<u32>,
}

impl Watch {
    fn new(booted: &Booted, profile: &Head) -> Result<Self, BootError> {
        let inside = match &booted.inside {
            InsideDevice::Host(pair) => (pair.ours_name.clone(), pair.ours.index),
            InsideDevice::Router(link) => (profile.dataplane.inside.device().to_owned(), link.index),
        };
        let netlink =
            Netlink::open().map_err(|error| BootError::Io { what: "cannot open netlink", error })?;
        let outside = (profile.dataplane.outside.device.clone(), booted.outside.index);
        let lan = match &booted.inside {
            InsideDevice::Host(_) => None,
            InsideDevice::Router(link) => Some((link.index, Local::default())),
        };
        let events =
            LinkEvents::open().map_err(|error| BootError::Io { what: "cannot watch the devices", error })?;
        let svti = match &booted.inside {
            InsideDevice::Host(pair) => Some((profile.dataplane.inside.device().to_owned(), pair.kernel.mtu)),
            InsideDevice::Router(_) => None,
        };
        let outside_mtu = booted.outside.mtu;
        let workers = booted.opened.len() as u32;
        Ok(Self {
            netlink,
            events,
            devices: [outside, inside],
            svti,
            workers,
            outside_mtu,
            lan,
            warned: None,
        })
    }

    /// Only a device that has gone is the end: a kernel that cannot answer now (no memory, no buffers) is asked again, and
    /// calls go on meanwhile.
    fn look(&mut self) -> Seen {
        self.try_to_look().unwrap_or_else(|error| {
            if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                self.warned = Some(Instant::now());
                warn!(%error, "cannot look after the devices and addresses of this host; trying again");
            }
            Seen::default()
        })
    }

    fn try_to_look(&mut self) -> io::Result<Seen> {
        let mut seen = Seen::default();
        for (at, (device, index)) in self.devices.iter().enumerate() {
            let Some(link) = self.netlink.link(device)?.filter(|link| link.index == *index) else {
                return Ok(Seen { gone: Some(device.clone()), ..Seen::default() });
            };
            if at == OUTSIDE && link.mtu != self.outside_mtu {
                self.outside_mtu = link.mtu;
                seen.outside_mtu = Some(link.mtu);
            }
            if at == INSIDE && self.svti.is_some() && !link.up {
                self.netlink.link_up(*index, link.mtu, true)?;
            }
        }
        if let Some((device, mtu)) = &self.svti
            && let Some(link) = self.netlink.link(device)?
            && !link.up
        {
            // Its routes went when it went down, and with them what keeps the tunnels' packets from the default route.
            warn!(device, "the sVTI was down; it is up again, because its packets would leave in clear");
            self.netlink.link_up(link.index, *mtu, true)?;
        }
        let Some((index, known)) = &mut self.lan else { return Ok(seen) };
        let local = local::local(&self.netlink.addresses()?, *index);
        if local != *known {
            known.clone_from(&local);
            seen.local = Some(local);
        }
        Ok(seen)
    }

    /// Makes the sVTI again that was removed, so that there is one for the control plane's routes until the next start takes it
    /// over.
    fn remake_svti(&mut self) {
        let Some((device, mtu)) = &self.svti else { return };
        match device::ensure_pair(&mut self.netlink, device, *mtu, self.workers) {
            Ok(_) => info!(device, "the sVTI is made again"),
            Err(error) => warn!(device, %error, "the sVTI is not made again"),
        }
    }
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
            let has_ended = |(control, workers): &(JoinHandle<()>, Vec<JoinHandle<()>>)| {
                control.is_finished() || workers.iter().any(JoinHandle::is_finished)
            };
            if self.threads.as_ref().is_some_and(has_ended) {
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
        let Some((control, workers)) = self.threads.take() else { return Ok(()) };
        if !self.tell_control(ToControl::Stop) {
            return Err(BootError::WorkerDied);
        }
        let ended = control.join();
        // A worker that hangs or has failed to start takes no notice; it ends with the process.
        if ended.is_ok()
            && let Some(worker) = still_running(&workers)
        {
            return Err(BootError::WorkerHangs { worker });
        }
        ended.map_err(|_| BootError::WorkerDied)
    }
}

/// A worker that has not ended in the time that a turn of it can last.
fn still_running(workers: &[JoinHandle<()>]) -> Option<usize> {
    let end = Instant::now() + WORKER_END_LIMIT;
    loop {
        let running = workers.iter().position(|worker| !worker.is_finished())?;
        if Instant::now() >= end {
            return Some(running);
        }
        std::thread::sleep(WORKER_END_LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_refuses_to_answer_ends_nothing_but_a_device_that_has_gone_does() {
        let mut netlink = Netlink::open().expect("netlink");
        let found = netlink.link("lo").expect("an answer").expect("every host has it");
        let (lo, mtu) = (found.index, found.mtu);
        let watch = |device: &str, index| Watch {
            netlink: Netlink::open().expect("netlink"),
            events: LinkEvents::open().expect("netlink"),
            devices: [("lo".into(), lo), (device.into(), index)],
            svti: None,
            workers: 1,
            outside_mtu: mtu,
            lan: None,
            warned: None,
        };
        let mut well = watch("lo", lo);
        assert_eq!((well.look(), well.warned), (Seen::default(), None));
        // No name of a device: the kernel answers with an error.
        let mut refused = watch("a-name-that-is-far-too-long", 7);
        assert!(refused.try_to_look().is_err());
        assert_eq!(refused.look(), Seen::default());
        let warned = refused.warned.expect("told");
        assert_eq!(refused.look(), Seen::default());
        assert_eq!(refused.warned, Some(warned), "not again within the minute");
        for (device, index) in [("sipsec-none", 7), ("lo", lo + 1)] {
            assert_eq!(watch(device, index).look().gone.as_deref(), Some(device));
        }
        let mut changed = watch("lo", lo);
        changed.outside_mtu = 1280;
        assert_eq!(changed.look().outside_mtu, Some(mtu));
        assert_eq!(changed.look(), Seen::default(), "told once");
    }
}
