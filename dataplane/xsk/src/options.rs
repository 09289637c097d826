//! Options of the sockets that xsk-rs does not set or read.

use std::io;
use std::mem::size_of;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Packets of one call into the driver: NAPI's own number, above which a process needs a privilege.
const BUSY_POLL_BUDGET: libc::c_int = 64;
/// linux/socket.h, from 5.11 on.
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// `struct xdp_statistics` (linux/if_xdp.h).
#[repr(C)]
#[derive(Debug, Default)]
pub struct Statistics {
    pub rx_dropped: u64,
    pub rx_invalid_descs: u64,
    pub tx_invalid_descs: u64,
    pub rx_ring_full: u64,
    pub rx_fill_ring_empty_descs: u64,
    pub tx_ring_empty_descs: u64,
}

/// The driver of the socket's queue runs when this process asks for packets. Interrupts stay off meanwhile if the device has
/// `napi_defer_hard_irqs` and `gro_flush_timeout` set (Documentation/networking/af_xdp.rst).
pub fn busy_poll(socket: BorrowedFd<'_>, us: NonZeroU32) -> io::Result<()> {
    set(socket, SO_PREFER_BUSY_POLL, 1)?;
    set(socket, libc::SO_BUSY_POLL, libc::c_int::try_from(us.get()).unwrap_or(libc::c_int::MAX))?;
    set(socket, SO_BUSY_POLL_BUDGET, BUSY_POLL_BUDGET)
}

pub fn busy_poll_us(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let us = option::<libc::c_int>(socket, libc::SOL_SOCKET, libc::SO_BUSY_POLL)?;
    Ok(u32::try_from(us).unwrap_or(0))
}

pub fn statistics(socket: BorrowedFd<'_>) -> io::Result<Statistics> {
    option(socket, libc::SOL_XDP, libc::XDP_STATISTICS)
}

fn set(socket: BorrowedFd<'_>, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the kernel reads `len` bytes of `value`.
    let rc = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, (&raw const value).cast(), len)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket option that is plain numbers.
fn option<T: Numbers>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
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
