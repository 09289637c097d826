//! Binding: one UMEM for both ports of a worker, zero copy if every queue of both can, copying otherwise.

use crate::desc::DescLayout;
use crate::error::OpenError;
use crate::options;
use crate::pool::Pool;
use crate::rings::Queue;
use crate::socket::XskPort;
use crate::watch::SocketWatch;
use std::io;
use std::num::{NonZeroU8, NonZeroU32};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;
use xsk_rs::config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::{Socket, Umem};

/// A queue whose last socket has just closed answers EBUSY until the kernel has cleaned up, about 20 ms later.
const BUSY_TRIES_MAX: u32 = 40;
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// Descriptors in every ring; a burst of this many packets survives a worker that is not scheduled.
const RING_SIZE: u32 = 2048;
/// Of every socket, in each mode.
const FLAGS: BindFlags = BindFlags::XDP_USE_NEED_WAKEUP;
/// With fewer chunks to receive into, a single batch would empty a ring.
const FILL_MIN: u32 = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMode {
    /// Zero copy if both devices can, copying otherwise.
    Auto,
    Zerocopy,
    Copy,
}

impl BindMode {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Zerocopy => "zero-copy",
            Self::Copy => "copy",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub frames: u32,
    /// The largest frame on either port; decides the chunk size.
    pub frame_len_max: usize,
    pub huge_pages: bool,
    pub bind: BindMode,
    /// How long one call of the worker may run the driver; none leaves packets to interrupts.
    pub busy_poll_us: Option<NonZeroU32>,
}

#[derive(Clone, Debug)]
pub struct PortSpec {
    pub device: String,
    /// Receive queues 0..queues.
    pub queues: u32,
}

impl PortSpec {
    /// The queues of worker `worker` of `workers`.
    fn queues_of(&self, worker: u32, workers: u32) -> impl Iterator<Item = u32> {
        (worker..self.queues).step_by(workers as usize)
    }
}

/// The device that has no zero copy, and how it said so.
#[derive(Debug)]
pub struct Refusal {
    pub device: String,
    pub error: io::Error,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.device, self.error)
    }
}

/// Bound sockets of one worker; may move to its thread before [`Self::into_ports`].
#[derive(Debug)]
pub struct Opened {
    umem: Umem,
    layout: DescLayout,
    frames: u32,
    chunk_size: u32,
    fill_max: u32,
    mode: BindMode,
    /// Why zero copy was not taken, if it was tried.
    refusal: Option<Refusal>,
    /// With the number of each queue.
    ports: [Vec<(u32, Queue)>; 2],
}

impl Opened {
    #[must_use]
    pub const fn mode(&self) -> BindMode {
        self.mode
    }

    /// Why the ladder did not stop at zero copy.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    #[must_use]
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Most chunks in the fill ring of one queue.
    #[must_use]
    pub const fn fill_max(&self) -> u32 {
        self.fill_max
    }

    /// Descriptors of each ring.
    #[must_use]
    pub const fn ring_size(&self) -> u32 {
        RING_SIZE
    }

    /// Whether the kernel says when it must be woken; a wakeup costs a system call.
    #[must_use]
    pub const fn need_wakeup(&self) -> bool {
        FLAGS.contains(BindFlags::XDP_USE_NEED_WAKEUP)
    }

    /// Number and socket of each queue of port 0 or 1, for the XSKMAP.
    pub fn queues(&self, port: usize) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        self.ports[port].iter().map(|(number, queue)| (*number, queue.fd()))
    }

    /// Socket of each queue of port 0 or 1.
    pub fn fds(&self, port: usize) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.queues(port).map(|(_, fd)| fd)
    }

    /// For the counters that the kernel keeps of port 0 or 1.
    pub fn watch(&self, port: usize) -> io::Result<SocketWatch> {
        self.fds(port).map(|fd| fd.try_clone_to_owned()).collect::<io::Result<_>>().map(SocketWatch::new)
    }

    /// From here on everything stays on this thread.
    #[must_use]
    pub fn into_ports(self) -> (Rc<Pool>, [XskPort; 2]) {
        let pool = Pool::umem(self.umem, self.layout, self.frames, self.chunk_size);
        let ports = self.ports.map(|queues| {
            let in_flight_max = (self.frames / 4).min(RING_SIZE) as usize;
            XskPort::new(
                Rc::clone(&pool),
                self.layout,
                queues.into_iter().map(|(_, queue)| queue).collect(),
                self.fill_max as usize,
                in_flight_max,
                RING_SIZE as usize,
            )
        });
        (pool, ports)
    }
}

/// Binds every queue of both ports for one worker. The XDP programs should be attached already: some drivers reset on attach.
pub fn open(config: &Config, specs: &[PortSpec; 2]) -> Result<Opened, OpenError> {
    let mut one = open_for(config, specs, NonZeroU8::MIN)?;
    Ok(one.remove(0))
}

/// The same for several workers, each with frames of its own, as many as the configuration says. Worker `w` of `n` has the
/// queues `w`, `w + n` and so on of each port, which may be none. All are bound in the same mode.
pub fn open_for(
    config: &Config,
    specs: &[PortSpec; 2],
    workers: NonZeroU8,
) -> Result<Vec<Opened>, OpenError> {
    let all = |mode| {
        let workers = u32::from(workers.get());
        (0..workers)
            .map(|worker| open_as(config, specs, (worker, workers), mode))
            .collect::<Result<Vec<_>, _>>()
    };
    match config.bind {
        BindMode::Auto => match all(BindMode::Zerocopy) {
            Err(OpenError::ModeRefused { device, error, .. }) => {
                let mut opened = all(BindMode::Copy)?;
                opened[0].refusal = Some(Refusal { device, error });
                Ok(opened)
            }
            other => other,
        },
        mode => all(mode),
    }
}

fn open_as(
    config: &Config,
    specs: &[PortSpec; 2],
    (worker, workers): (u32, u32),
    mode: BindMode,
) -> Result<Opened, OpenError> {
    let layout = DescLayout::probe().ok_or(OpenError::DescriptorLayout)?;
    // Aligned chunks are 2048 or 4096 bytes. Besides the packet they hold the headroom and what ESP appends.
    let chunk_size: u32 = if config.frame_len_max + 256 + 64 <= 2048 { 2048 } else { 4096 };
    let queues: u32 = specs.iter().map(|s| s.queues_of(worker, workers).count() as u32).sum();
    // Half of all chunks wait for packets, the other half are on their way.
    let fill_max = (config.frames / (2 * queues.max(1))).min(RING_SIZE);
    if fill_max < FILL_MIN {
        return Err(OpenError::TooFewFrames { frames: config.frames, needed: FILL_MIN * 2 * queues });
    }
    let umem = umem(config, chunk_size)?;
    // Zero copy is decided by the first socket and inherited by all others (XDP_SHARED_UMEM takes no other flag).
    let flags = FLAGS | if mode == BindMode::Copy { BindFlags::XDP_COPY } else { BindFlags::XDP_ZEROCOPY };
    let mut ports = [Vec::new(), Vec::new()];
    for (port, spec) in ports.iter_mut().zip(specs) {
        for queue in spec.queues_of(worker, workers) {
            port.push((queue, bind(&umem, spec, queue, flags, (mode, config.busy_poll_us))?));
        }
    }
    Ok(Opened { umem, layout, frames: config.frames, chunk_size, fill_max, mode, refusal: None, ports })
}

fn umem(config: &Config, chunk_size: u32) -> Result<Umem, OpenError> {
    let ring = QueueSize::new(RING_SIZE).expect("RING_SIZE is a power of two");
    let umem_config = UmemConfig::builder()
        .frame_size(FrameSize::new(chunk_size).expect("2048 or more"))
        .fill_queue_size(ring)
        .comp_queue_size(ring)
        .build()
        .expect("no headroom of our own, so any chunk has room for data");
    let count = NonZeroU32::new(config.frames).expect("checked against FILL_MIN");
    let memory = |error| OpenError::Memory {
        bytes: config.frames as usize * chunk_size as usize,
        huge_pages: config.huge_pages,
        error,
    };
    match Umem::new(umem_config, count, config.huge_pages) {
        Ok((umem, _descs)) => Ok(umem),
        Err(e) => {
            let error = errno(&e);
            Err(match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => OpenError::NotPermitted,
                Some(libc::EAFNOSUPPORT) => OpenError::NoAfXdp,
                _ => memory(error),
            })
        }
    }
}

fn bind(
    umem: &Umem,
    spec: &PortSpec,
    queue: u32,
    flags: BindFlags,
    (mode, busy_poll_us): (BindMode, Option<NonZeroU32>),
) -> Result<Queue, OpenError> {
    let device = || spec.device.clone();
    let missing = |_| OpenError::DeviceMissing { device: device() };
    let interface: Interface = spec.device.parse().map_err(missing)?;
    let ring = QueueSize::new(RING_SIZE).expect("RING_SIZE is a power of two");
    let config = SocketConfig::builder()
        .rx_queue_size(ring)
        .tx_queue_size(ring)
        // The program is attached with our own maps, once, by the process that steers.
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(flags)
        .build();
    for _ in 0..BUSY_TRIES_MAX {
        // SAFETY: INHIBIT_PROG_LOAD is set, which is all that a shared UMEM asks for.
        let error = match unsafe { Socket::new(config, umem, &interface, queue) } {
            Ok((tx, rx, Some((fill, comp)))) => {
                let queue = Queue { rx, tx, fill, comp, busy_poll: busy_poll_us.is_some() };
                if let Some(us) = busy_poll_us {
                    options::busy_poll(queue.fd(), us)
                        .map_err(|error| OpenError::BusyPoll { device: device(), error })?;
                }
                return Ok(queue);
            }
            Ok((_, _, None)) => io::Error::other("the queue is bound twice by this process"),
            Err(e) => errno(&e),
        };
        return Err(match error.raw_os_error() {
            Some(libc::EBUSY) => {
                std::thread::sleep(BUSY_PAUSE);
                continue;
            }
            Some(libc::EPERM | libc::EACCES) => OpenError::NotPermitted,
            Some(libc::EAFNOSUPPORT) => OpenError::NoAfXdp,
            Some(libc::ENODEV | libc::ENXIO) => OpenError::DeviceMissing { device: device() },
            Some(libc::EOPNOTSUPP | libc::ENOTSUP | libc::EINVAL) if mode == BindMode::Zerocopy => {
                OpenError::ModeRefused { device: device(), mode: mode.name(), error }
            }
            _ => OpenError::Bind { device: device(), queue, error },
        });
    }
    Err(OpenError::QueueBusy { device: device(), queue })
}

/// The errno inside an error of xsk-rs.
fn errno(error: &dyn std::error::Error) -> io::Error {
    match error.source().and_then(|s| s.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::other(error.to_string()),
    }
}
