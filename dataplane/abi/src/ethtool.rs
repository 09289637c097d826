//! The ethtool ioctl, for which the libraries at hand have no safe call: what a network card's driver says, and offloads.
//!
//! The structures of `linux/ethtool.h` that are used here consist of 32-bit words, of which the first is the command.
#![expect(unsafe_code, reason = "SIOCETHTOOL has no safe wrapper")]

use crate::ifreq;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// An offload, by the command that switches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Offload {
    TxChecksum = 0x17,
    ScatterGather = 0x19,
    Tso = 0x1f,
    Gso = 0x24,
    Gro = 0x2c,
}

/// Runs the command in the first of `words` on a device of the socket's network namespace. A `u64` in a structure needs no more
/// alignment than its words, because the kernel copies.
///
/// # Safety
/// `words` is the whole structure of the command: as long as the command, or a count in the structure, says.
pub unsafe fn run(socket: impl AsFd, device: &str, words: &mut [u32]) -> io::Result<()> {
    let mut ifreq = ifreq::named(device)?;
    ifreq.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the kernel reads and writes the command's structure, which `words` holds (the caller's duty); it lives until the
    // call returns, and every bit pattern is valid.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCETHTOOL, &raw mut ifreq) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn request<const N: usize>(device: &str, words: &mut [u32; N]) -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: the functions below pair each command with the length of its structure.
    unsafe { run(socket, device, words) }
}

fn ask<const N: usize>(device: &str, command: u32) -> io::Result<[u32; N]> {
    let mut words = [0; N];
    words[0] = command;
    request(device, &mut words)?;
    Ok(words)
}

/// `struct ethtool_drvinfo`.
pub fn driver_info(device: &str) -> io::Result<[u32; 49]> {
    ask(device, 0x03)
}

/// `struct ethtool_ringparam`.
pub fn ring_parameters(device: &str) -> io::Result<[u32; 9]> {
    ask(device, 0x10)
}

/// `struct ethtool_coalesce`.
pub fn coalescing(device: &str) -> io::Result<[u32; 23]> {
    ask(device, 0x0e)
}

/// Receive queues in use (`struct ethtool_channels`: rx and combined); a device that does not say has one.
#[must_use]
pub fn rx_queues(device: &str) -> u32 {
    match ask::<9>(device, 0x3c) {
        Ok([_, _, _, _, _, rx, _, _, combined]) => rx.saturating_add(combined).max(1),
        Err(_) => 1,
    }
}

/// Turns an offload off (`struct ethtool_value`).
pub fn switch_off(device: &str, offload: Offload) -> io::Result<()> {
    request(device, &mut [offload as u32, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_device_and_one_that_says_little() {
        for name in ["no-such-device0", "a-name-longer-than-fifteen-bytes"] {
            for error in [driver_info(name).err(), switch_off(name, Offload::Gro).err()] {
                assert_eq!(error.and_then(|e| e.raw_os_error()), Some(libc::ENODEV), "{name}");
            }
            assert_eq!(rx_queues(name), 1);
        }
        assert_eq!(rx_queues("lo"), 1);
    }
}
