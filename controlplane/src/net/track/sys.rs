//! One socket option without a safe call.
#![expect(unsafe_code, reason = "the libraries at hand have no call for this socket option")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// linux/in6.h.
const IPV6_MINHOPCOUNT: libc::c_int = 73;

/// The kernel drops packets that come with a smaller TTL or hop limit (RFC 5082).
///
/// # Errors
/// What `setsockopt(2)` says.
pub fn set_min_ttl(socket: BorrowedFd<'_>, v6: bool, ttl: u8) -> io::Result<()> {
    let (level, option) =
        if v6 { (libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT) } else { (libc::IPPROTO_IP, libc::IP_MINTTL) };
    let value = libc::c_int::from(ttl);
    // SAFETY: the pointer is to a c_int that lives for the call, and the length is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
