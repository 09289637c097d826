//! System calls of the tests that have no safe name elsewhere.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A network namespace of this thread's own.
pub fn unshare_network() {
    // SAFETY: affects this thread's view of the network alone.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", io::Error::last_os_error());
}

/// An AF_PACKET socket that sees every frame of a device.
pub fn packet_socket(device: &str) -> OwnedFd {
    let name = std::ffi::CString::new(device).expect("no NUL");
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: plain socket calls with a correctly sized, initialised address and a NUL-terminated name.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol));
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        let fd = OwnedFd::from_raw_fd(fd);
        let mut sll: libc::sockaddr_ll = std::mem::zeroed();
        sll.sll_family = libc::AF_PACKET as u16;
        sll.sll_protocol = protocol;
        sll.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        assert_ne!(sll.sll_ifindex, 0, "{device}");
        let len = std::mem::size_of::<libc::sockaddr_ll>() as u32;
        assert_eq!(libc::bind(fd.as_raw_fd(), (&raw const sll).cast(), len), 0);
        fd
    }
}
