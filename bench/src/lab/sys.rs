//! System calls of the lab that no crate wraps.

use sipsec_net::Instant;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The program gets SIGTERM when the thread that starts it ends, however that happens.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are made: prctl is one, and nothing is allocated.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
}

/// A socket that sees IPv4 frames arriving at a device of this thread's network namespace.
pub fn packet_socket(device: &str, v6: bool) -> io::Result<OwnedFd> {
    let control =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let ifindex = rustix::net::netdevice::name_to_index(&control, device)?;
    let protocol = if v6 { libc::ETH_P_IPV6 } else { libc::ETH_P_IP };
    let protocol = (protocol as u16).to_be();
    // SAFETY: plain syscall; the result is checked and wrapped at once.
    let raw =
        unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, i32::from(protocol)) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: raw was just opened and is not owned elsewhere.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = ifindex.cast_signed();
    // SAFETY: the address outlives the call and has the length given.
    let rc = unsafe {
        libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32)
    };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// When the kernel took the packet that was last read from this socket, by its clock of the day.
pub fn arrival(socket: &OwnedFd) -> io::Result<Instant> {
    /// `SIOCGSTAMPNS_OLD`
    const STAMP: libc::Ioctl = 0x8907;
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec, which outlives the call.
    let rc = unsafe { libc::ioctl(socket.as_raw_fd(), STAMP, &raw mut at) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Instant::from_nanos(at.tv_sec.cast_unsigned() * 1_000_000_000 + at.tv_nsec.cast_unsigned()))
}
