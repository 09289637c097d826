//! What the kernel counts of a port's sockets, for a thread that does not own them.

use crate::port::PortStats;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};

/// The sockets of one port.
#[derive(Debug, Default)]
pub struct SocketWatch(Vec<OwnedFd>);

/// `struct xdp_statistics` (linux/if_xdp.h).
#[repr(C)]
#[derive(Debug, Default)]
struct Statistics {
    rx_dropped: u64,
    rx_invalid_descs: u64,
    tx_invalid_descs: u64,
    rx_ring_full: u64,
    rx_fill_ring_empty_descs: u64,
    tx_ring_empty_descs: u64,
}

impl SocketWatch {
    pub(crate) const fn new(sockets: Vec<OwnedFd>) -> Self {
        Self(sockets)
    }

    /// `SO_BUSY_POLL` in microseconds, which the sockets inherit from `net.core.busy_read`; 0 is off.
    #[must_use]
    pub fn busy_poll_us(&self) -> u32 {
        let value =
            self.0.first().and_then(|s| option::<libc::c_int>(s, libc::SOL_SOCKET, libc::SO_BUSY_POLL).ok());
        value.and_then(|us| u32::try_from(us).ok()).unwrap_or(0)
    }

    /// Adds what the kernel has dropped. A socket that does not answer adds nothing.
    pub fn add_to(&self, stats: &mut PortStats) {
        for x in self.0.iter().filter_map(|socket| statistics(socket).ok()) {
            stats.rx_ring_full += x.rx_ring_full;
            stats.rx_fill_empty += x.rx_fill_ring_empty_descs;
            stats.rx_dropped += x.rx_dropped;
            stats.rx_invalid += x.rx_invalid_descs;
            stats.tx_invalid += x.tx_invalid_descs;
        }
    }
}

fn statistics(socket: &OwnedFd) -> io::Result<Statistics> {
    option(socket, libc::SOL_XDP, libc::XDP_STATISTICS)
}

/// A socket option that is plain numbers.
fn option<T: Numbers>(socket: &OwnedFd, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into `value`, and every bit pattern of a `Numbers` is valid.
    let rc =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Integers alone.
trait Numbers: Default {}
impl Numbers for Statistics {}
impl Numbers for libc::c_int {}
