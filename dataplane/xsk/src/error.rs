//! Why a port could not be opened, and what to do about it.

use std::fmt;
use std::io;

/// Why sockets could not be opened. `Display` adds the remedy.
#[derive(Debug)]
pub enum OpenError {
    /// The process may not open AF_XDP sockets.
    NotPermitted,
    /// The kernel has no AF_XDP (CONFIG_XDP_SOCKETS).
    NoAfXdp,
    DeviceMissing {
        device: String,
    },
    /// Another process has a socket on this queue and kept it for the whole retry time.
    QueueBusy {
        device: String,
        queue: u32,
    },
    /// The device cannot do the bind mode that was asked for.
    ModeRefused {
        device: String,
        mode: &'static str,
        error: io::Error,
    },
    /// The kernel refuses busy polling.
    BusyPoll {
        device: String,
        error: io::Error,
    },
    /// Locked or huge memory for the UMEM.
    Memory {
        bytes: usize,
        huge_pages: bool,
        error: io::Error,
    },
    /// Fewer frames than queues and rings need.
    TooFewFrames {
        frames: u32,
        needed: u32,
    },
    /// This build's AF_XDP library keeps descriptors in an unknown form.
    DescriptorLayout,
    Bind {
        device: String,
        queue: u32,
        error: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted => f.write_str(
                "not permitted to open AF_XDP sockets: run as root, or give the process CAP_NET_ADMIN, CAP_NET_RAW, \
                 CAP_BPF and CAP_IPC_LOCK",
            ),
            Self::NoAfXdp => f.write_str(
                "this kernel has no AF_XDP sockets: use a kernel built with CONFIG_XDP_SOCKETS=y (any distribution \
                 kernel since 5.4)",
            ),
            Self::DeviceMissing { device } => {
                write!(
                    f,
                    "there is no device {device} here: check the name in the profile and the network namespace"
                )
            }
            Self::QueueBusy { device, queue } => write!(
                f,
                "queue {queue} of {device} belongs to another AF_XDP socket: stop the other program (a dataplane that \
                 still runs?) and start again"
            ),
            Self::ModeRefused { device, mode, error } => write!(
                f,
                "{device} refuses {mode} binding ({error}): set dataplane.bind_mode to auto or copy"
            ),
            Self::BusyPoll { device, error } => write!(
                f,
                "{device} cannot be polled by the worker ({error}): this needs Linux 5.11 and CAP_NET_ADMIN; or set \
                 dataplane.worker.busy_poll_us to 0"
            ),
            Self::Memory { bytes, huge_pages: true, error } => write!(
                f,
                "no {bytes} bytes of 2 MiB pages ({error}): reserve them with `sysctl vm.nr_hugepages={}` or set \
                 dataplane.huge_pages to false",
                bytes.div_ceil(2 << 20)
            ),
            Self::Memory { bytes, error, .. } => write!(
                f,
                "cannot lock {bytes} bytes for packets ({error}): give the process CAP_IPC_LOCK, raise \
                 RLIMIT_MEMLOCK, or lower dataplane.frames"
            ),
            Self::TooFewFrames { frames, needed } => {
                write!(
                    f,
                    "{frames} frames are too few for these queues: set dataplane.frames to {needed} or more"
                )
            }
            Self::DescriptorLayout => {
                f.write_str("built with an AF_XDP library whose descriptors this release does not know")
            }
            Self::Bind { device, queue, error } => {
                write!(f, "cannot bind an AF_XDP socket to queue {queue} of {device}: {error}")
            }
        }
    }
}

impl std::error::Error for OpenError {}
