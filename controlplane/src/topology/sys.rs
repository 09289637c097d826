//! The ethtool ioctl, for which the libraries at hand have no safe call. Only requests that any user may make.
#![expect(unsafe_code, reason = "SIOCETHTOOL has no safe wrapper")]

use std::io;
use std::mem::zeroed;
use std::os::fd::AsRawFd;

const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// Structures of `linux/ethtool.h` that consist of 32-bit words, by the number of words. The first is the command.
trait Fits {}
impl Fits for [u32; 9] {}
impl Fits for [u32; 23] {}
impl Fits for [u32; 49] {}

fn ethtool<T: Fits>(device: &str, words: &mut T) -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(words).cast();
    // SAFETY: the kernel reads the command and writes the structure of that command, which is as long as `T` (the three callers
    // below pair them); it lives until the call returns, and every bit pattern is valid.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct ethtool_drvinfo` (ETHTOOL_GDRVINFO).
pub fn driver_info(device: &str) -> io::Result<[u32; 49]> {
    let mut words = [0; 49];
    words[0] = 0x03;
    ethtool(device, &mut words)?;
    Ok(words)
}

/// `struct ethtool_ringparam` (ETHTOOL_GRINGPARAM).
pub fn ring_parameters(device: &str) -> io::Result<[u32; 9]> {
    let mut words = [0; 9];
    words[0] = 0x10;
    ethtool(device, &mut words)?;
    Ok(words)
}

/// `struct ethtool_coalesce` (ETHTOOL_GCOALESCE).
pub fn coalescing(device: &str) -> io::Result<[u32; 23]> {
    let mut words = [0; 23];
    words[0] = 0x0e;
    ethtool(device, &mut words)?;
    Ok(words)
}
