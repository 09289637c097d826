//! System calls of the tests that no crate wraps.

use rustix::net::{AddressFamily, SocketType, socket, sockopt};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

pub const XDP_DROP: u32 = 1;
pub const XDP_PASS: u32 = 2;
pub const XDP_REDIRECT: u32 = 4;

const BPF_PROG_TEST_RUN: libc::c_long = 10;

pub fn privileged() -> bool {
    rustix::process::geteuid().is_root()
}

/// An AF_XDP socket with a receive ring, which is all that an XSKMAP asks of it; it is bound to no device.
pub fn xdp_socket() -> OwnedFd {
    let fd = socket(AddressFamily::XDP, SocketType::RAW, None).expect("AF_XDP socket");
    sockopt::set_xdp_rx_ring_size(&fd, 64).expect("rx ring");
    fd
}

/// `struct { … } test` of `union bpf_attr` in linux/bpf.h.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    _pad: u32,
}

/// Runs a loaded XDP program once on `frame` and returns its action. The kernel wants 14 bytes at least.
pub fn prog_test_run(program: BorrowedFd<'_>, frame: &[u8]) -> u32 {
    let mut attr = TestRun {
        prog_fd: u32::try_from(program.as_raw_fd()).expect("an open descriptor is not negative"),
        data_size_in: u32::try_from(frame.len()).expect("a frame"),
        data_in: frame.as_ptr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    // SAFETY: `attr` and `frame` outlive the call; the kernel reads data_size_in bytes at data_in, writes to `attr` only,
    // and no data_out is given.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut attr, size_of::<TestRun>()) };
    assert_eq!(rc, 0, "BPF_PROG_TEST_RUN: {}", std::io::Error::last_os_error());
    attr.retval
}

/// Puts a tag of VLAN 200 beside every frame that leaves a device, as the kernel does with those of a VLAN device, until it is
/// dropped. (A program of its own, because not every kernel has VLAN devices.)
pub fn tag_all(ifindex: u32, tpid: u16) -> OwnedFd {
    // bpf_skb_vlan_push(skb, htons(tpid), 200); return TCX_PASS
    let instruction =
        |op: u8, register: u8, value: u32| u64::from(op) | u64::from(register) << 8 | u64::from(value) << 32;
    let program = [
        instruction(0xb7, 2, tpid.to_be().into()),
        instruction(0xb7, 3, 200),
        instruction(0x85, 0, 18),
        instruction(0xb7, 0, 0),
        instruction(0x95, 0, 0),
    ];
    let license = c"GPL";
    // Program type 3 is SCHED_CLS; then number of instructions, and where they and the licence are.
    let load = [3 | 5 << 32, program.as_ptr() as u64, license.as_ptr() as u64, 0, 0, 0, 0, 0];
    // SAFETY: everything that `load` points to lives until the call returns, and the kernel writes nothing.
    let program = unsafe { bpf(5, &load) };
    // Attach type 47 is TCX_EGRESS.
    let link = [program.as_raw_fd() as u64 | u64::from(ifindex) << 32, 47, 0, 0];
    // SAFETY: no pointers.
    unsafe { bpf(28, &link) }
}

/// # Safety
/// Pointers in the attributes are valid for what the command does.
unsafe fn bpf(command: libc::c_long, attributes: &[u64]) -> OwnedFd {
    // SAFETY: the attributes live until the call returns; for the rest see the caller.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes)) };
    assert!(fd >= 0, "bpf {command}: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just opened it for us.
    unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32) }
}

/// Sends a whole frame out of a device.
pub fn send_frame(ifindex: u32, frame: &[u8]) {
    // SAFETY: plain syscall; the result is checked and wrapped at once.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0, "AF_PACKET: {}", std::io::Error::last_os_error());
    // SAFETY: fd was just opened and has no other owner.
    let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut to: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_ifindex = i32::try_from(ifindex).expect("an ifindex");
    // SAFETY: both buffers outlive the call and have the lengths given.
    let sent = unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            (&raw const to).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    assert_eq!(sent, frame.len() as isize, "sendto: {}", std::io::Error::last_os_error());
}
