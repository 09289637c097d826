//! The requests of a TUN device (linux/if_tun.h).
#![expect(unsafe_code, reason = "ioctls have no safe wrapper")]

use rustix::fs::{Mode, OFlags, open};
use sipsec_abi::ifreq;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETPERSIST: libc::c_ulong = 0x4004_54cb;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;

const IFF_TAP: i32 = 0x0002;
const IFF_MULTI_QUEUE: i32 = 0x0100;
const IFF_NO_PI: i32 = 0x1000;
const IFF_VNET_HDR: i32 = 0x4000;

const TUN_F_CSUM: libc::c_ulong = 0x01;
const TUN_F_TSO4: libc::c_ulong = 0x02;
const TUN_F_TSO6: libc::c_ulong = 0x04;
const TUN_F_TSO_ECN: libc::c_ulong = 0x08;
/// Since Linux 6.2.
const TUN_F_USO: libc::c_ulong = 0x20 | 0x40;

/// The driver, before a device is named.
pub fn driver() -> io::Result<OwnedFd> {
    Ok(open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes `fd` another queue of the device, which is made if there is none of this name. Frames are Ethernet frames with virtio
/// headers.
pub fn attach(fd: OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let mut ifreq = ifreq::named(name)?;
    ifreq.ifr_ifru.ifru_flags = (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives until the call returns.
    let rc = unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &raw mut ifreq) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

/// The device stays when its last queue is closed.
pub fn persist(queue: &OwnedFd) -> io::Result<()> {
    plain(queue, TUNSETPERSIST, 1)
}

/// From here on the kernel hands over packets uncut and checksums uncomputed; whether it takes and gives large UDP packets, too.
pub fn offload(queue: &OwnedFd) -> io::Result<bool> {
    let tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    match plain(queue, TUNSETOFFLOAD, tcp | TUN_F_USO) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            plain(queue, TUNSETOFFLOAD, tcp).map(|()| false)
        }
        Err(error) => Err(error),
    }
}

fn plain(queue: &OwnedFd, request: libc::c_ulong, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: these requests take their argument by value.
    let rc = unsafe { libc::ioctl(queue.as_raw_fd(), request, value) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
