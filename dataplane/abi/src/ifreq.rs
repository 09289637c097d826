//! `struct ifreq`, which the ioctls of devices take.
#![expect(unsafe_code, reason = "the structure has unions")]

use std::io;

/// All zero but for the device's name; ENODEV for a name that no device can have.
pub fn named(device: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all-zero is a valid ifreq.
    let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.len() >= ifreq.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(ifreq)
}
