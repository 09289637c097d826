//! The sockets on real veth pairs, in a network namespace of the test's own thread. Needs root.

use std::io::{self, Write};
use std::mem::{size_of, zeroed};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_xsk::pool::RESERVE;
use sipsec_xsk::{BindMode, Config, OpenError, PortSpec, open};
use sipsec_xsk::{Frame, Port, PortStats, XskPort};

/// How long the kernel may take to carry one packet before the test gives up.
const PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// Moves this thread into a fresh network namespace, which ends with the thread.
fn own_namespace() -> bool {
    if !rustix::process::geteuid().is_root() {
        // Not `eprintln!`: the harness would swallow it.
        let _ = writeln!(io::stderr(), "SKIPPED: AF_XDP over veth needs root");
        return false;
    }
    // SAFETY: affects this thread's view of the network alone.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", io::Error::last_os_error());
    true
}

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {args}");
}

fn veth(a: &str, b: &str) {
    ip(&format!("link add {a} type veth peer name {b}"));
    for dev in [a, b] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{dev}/disable_ipv6"), "1").expect("quiet device");
        ip(&format!("link set {dev} up"));
    }
}

fn index(device: &str) -> i32 {
    let name = std::ffi::CString::new(device).expect("no NUL");
    // SAFETY: a NUL-terminated string.
    i32::try_from(unsafe { libc::if_nametoindex(name.as_ptr()) }).expect("an index")
}

fn bpf(cmd: u32, attr: &mut [u64; 16]) -> OwnedFd {
    // SAFETY: `attr` is larger than any attribute used here and its unused part is zero.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, cmd, attr.as_mut_ptr(), size_of::<[u64; 16]>()) };
    assert!(fd >= 0, "bpf({cmd}): {}", io::Error::last_os_error());
    // SAFETY: just opened.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// A program that redirects everything to the sockets, attached to `device` for as long as the result lives.
fn redirect_all<'a>(device: &str, sockets: impl Iterator<Item = BorrowedFd<'a>>) -> Vec<OwnedFd> {
    const MAP_CREATE: u32 = 0;
    const MAP_UPDATE: u32 = 2;
    const PROG_LOAD: u32 = 5;
    const LINK_CREATE: u32 = 28;
    let (xskmap, xdp, attach_xdp) = (17u64, 6u64, 37u64);
    let map = bpf(MAP_CREATE, &mut attr(&[xskmap | 4 << 32, 4 | 4 << 32]));
    for (queue, fd) in sockets.enumerate() {
        let (key, value) = (queue as u32, fd.as_raw_fd() as u32);
        let mut a = attr(&[map.as_raw_fd() as u64, &raw const key as u64, &raw const value as u64]);
        // SAFETY: key and value are four bytes each, as the map has them, and live until the call returns.
        let rc = unsafe { libc::syscall(libc::SYS_bpf, MAP_UPDATE, a.as_mut_ptr(), size_of::<[u64; 16]>()) };
        assert_eq!(rc, 0, "{}", io::Error::last_os_error());
    }
    let insn = |code: u64, regs: u64, off: u64, imm: u64| code | regs << 8 | off << 16 | imm << 32;
    let prog = [
        insn(0x61, 0x12, 16, 0),                     // r2 = ctx->rx_queue_index
        insn(0x18, 0x11, 0, map.as_raw_fd() as u64), // r1 = map
        0,
        insn(0xb7, 0x03, 0, 2), // r3 = XDP_PASS
        insn(0x85, 0, 0, 51),   // bpf_redirect_map
        insn(0x95, 0, 0, 0),
    ];
    let license = c"GPL";
    let prog = bpf(
        PROG_LOAD,
        &mut attr(&[xdp | (prog.len() as u64) << 32, prog.as_ptr() as u64, license.as_ptr() as u64]),
    );
    let link =
        bpf(LINK_CREATE, &mut attr(&[prog.as_raw_fd() as u64 | (index(device) as u64) << 32, attach_xdp]));
    vec![map, prog, link]
}

fn attr(words: &[u64]) -> [u64; 16] {
    let mut a = [0; 16];
    a[..words.len()].copy_from_slice(words);
    a
}

/// A raw socket on the far end of a pair.
fn packet_socket(device: &str) -> OwnedFd {
    // SAFETY: plain socket calls with a correctly sized address.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, i32::from((libc::ETH_P_ALL as u16).to_be()));
        assert!(fd >= 0);
        let mut sll: libc::sockaddr_ll = zeroed();
        sll.sll_family = libc::AF_PACKET as u16;
        sll.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        sll.sll_ifindex = index(device);
        let rc = libc::bind(fd, (&raw const sll).cast(), size_of::<libc::sockaddr_ll>() as u32);
        assert_eq!(rc, 0);
        OwnedFd::from_raw_fd(fd)
    }
}

fn packet(n: u32, len: usize) -> Vec<u8> {
    // 0x88b5 is the EtherType of local experiments: no protocol of the kernel answers.
    let mut p = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5];
    p.extend_from_slice(&n.to_be_bytes());
    p.resize(len, n as u8);
    p
}

fn config(bind: BindMode) -> Config {
    Config { frames: 1024, frame_len_max: 1514, huge_pages: false, bind, busy_poll_us: None }
}

fn specs() -> [PortSpec; 2] {
    [PortSpec { device: "a0".into(), queues: 1 }, PortSpec { device: "b0".into(), queues: 1 }]
}

#[test]
fn a_packet_crosses_two_ports_of_one_umem_and_grows_on_the_way() {
    if !own_namespace() {
        return;
    }
    veth("a0", "a1");
    veth("b0", "b1");
    // veth has no zero copy: `auto` must say so and go on.
    let opened = open(&config(BindMode::Auto), &specs()).expect("copy mode works on veth");
    assert_eq!(opened.mode(), BindMode::Copy);
    assert_eq!(opened.refusal().expect("tried").device, "a0");
    let _program = redirect_all("a0", opened.fds(0));
    let watches = [0, 1].map(|port| opened.watch(port).expect("descriptors"));
    let (pool, [mut a, mut b]) = opened.into_ports();
    let (tx, rx) = (packet_socket("a1"), packet_socket("b1"));

    // More packets than the UMEM has frames, so every chunk travels the whole circle several times.
    let idle = pool.free_count();
    let mut batch: Vec<Frame> = Vec::new();
    for round in 0..100u32 {
        let sent: Vec<_> = (0..50).map(|i| packet(round * 50 + i, 60 + (i as usize * 27))).collect();
        for p in &sent {
            assert_eq!(rustix::net::send(&tx, p, rustix::net::SendFlags::empty()).expect("sent"), p.len());
        }
        let mut seen = 0;
        while seen < sent.len() {
            let fd = a.fds().next().expect("one queue");
            let mut fds = [PollFd::new(&fd, PollFlags::IN)];
            assert_eq!(poll(&mut fds, Some(&PATIENCE)).expect("poll"), 1, "packet {seen} of round {round}");
            a.receive(64, &mut batch);
            for mut frame in batch.drain(..) {
                assert_eq!(frame.data(), &sent[seen][..]);
                seen += 1;
                // What encapsulation does: more in front, more behind.
                assert!(frame.push_front(48) && frame.push_back(16));
                frame.data_mut()[..14].copy_from_slice(&packet(0, 14));
                b.transmit(frame).expect("room");
            }
            b.kick().expect("sent");
        }
        for p in &sent {
            let mut fds = [PollFd::from_borrowed_fd(rx.as_fd(), PollFlags::IN)];
            assert_eq!(poll(&mut fds, Some(&PATIENCE)).expect("poll"), 1);
            let mut got = [0u8; 2048];
            let (n, _) = rustix::net::recv(&rx, &mut got[..], rustix::net::RecvFlags::empty()).expect("read");
            assert_eq!(n, p.len() + 64);
            assert_eq!(&got[48..48 + p.len()], &p[..]);
        }
    }
    assert_eq!((a.stats().received, b.stats().sent), (5000, 5000));
    let mut kernel = PortStats::default();
    watches.iter().for_each(|w| w.add_to(&mut kernel));
    assert_eq!(kernel.rx_fill_empty + kernel.rx_ring_full + kernel.tx_invalid, 0);
    // Nothing leaked: reclaiming and refilling brings back every chunk.
    b.receive(64, &mut batch);
    a.receive(64, &mut batch);
    assert!(batch.is_empty());
    assert_eq!(pool.free_count(), idle);
}

/// /sys shows the devices of the namespace in which it was mounted: this thread gets mounts of its own.
fn sysfs_of_this_namespace() {
    let ok = |rc: i32| assert_eq!(rc, 0, "{}", io::Error::last_os_error());
    // SAFETY: affects this thread's view of the file systems alone; all strings end with NUL.
    unsafe {
        ok(libc::unshare(libc::CLONE_NEWNS));
        let (none, all) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
        ok(libc::mount(none, c"/".as_ptr(), none, all, none.cast()));
        ok(libc::mount(c"sysfs".as_ptr(), c"/sys".as_ptr(), c"sysfs".as_ptr(), 0, none.cast()));
    }
}

/// `TcpExt: BusyPollRxPackets` of this namespace: packets that a driver gave up in a call of a process.
fn busy_polled() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").expect("a namespace has one");
    let mut rows = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let at = names.split(' ').position(|name| name == "BusyPollRxPackets").expect("CONFIG_NET_RX_BUSY_POLL");
    values.split(' ').nth(at).expect("as many").parse().expect("a number")
}

/// Whether the kernel has tied the socket to the driver of its queue; not every driver tells it how.
fn has_napi(socket: BorrowedFd<'_>) -> bool {
    let (mut id, mut len) = (0u32, size_of::<u32>() as u32);
    // SAFETY: the kernel writes at most `len` bytes into `id`.
    let rc = unsafe {
        let (level, name) = (libc::SOL_SOCKET, libc::SO_INCOMING_NAPI_ID);
        libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut id).cast(), &raw mut len)
    };
    assert_eq!(rc, 0, "{}", io::Error::last_os_error());
    id != 0
}

#[test]
fn the_worker_runs_the_driver_where_it_polls() {
    if !own_namespace() {
        return;
    }
    veth("a0", "a1");
    veth("b0", "b1");
    let config = Config { busy_poll_us: NonZeroU32::new(20), ..config(BindMode::Copy) };
    let opened = open(&config, &specs()).expect("copy mode works on veth");
    let _program = redirect_all("a0", opened.fds(0));
    assert_eq!(opened.watch(0).expect("descriptors").busy_poll_us(), 20);
    let (_pool, [mut a, _b]) = opened.into_ports();
    let tx = packet_socket("a1");
    let (mut got, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
    let mut cross = |a: &mut XskPort, numbers: std::ops::Range<u32>| {
        for n in numbers {
            let sent = rustix::net::send(&tx, &packet(n, 60), rustix::net::SendFlags::empty());
            assert_eq!(sent.expect("sent"), 60);
            while a.receive(64, &mut got) == 0 {
                assert!(Instant::now() < deadline, "packet {n} does not come");
            }
            let frame: Frame = got.pop().expect("one");
            assert!(got.is_empty() && frame.data() == packet(n, 60), "packet {n}");
        }
    };
    cross(&mut a, 0..1000);
    if !has_napi(a.fds().next().expect("one queue")) {
        let _ = writeln!(io::stderr(), "SKIPPED: this kernel ties no socket to the driver of a veth");
        return;
    }
    // From here on interrupts wait for longer than the test.
    sysfs_of_this_namespace();
    for (name, value) in [("napi_defer_hard_irqs", "100"), ("gro_flush_timeout", "1000000000")] {
        std::fs::write(format!("/sys/class/net/a0/{name}"), value).expect("Linux 5.8");
    }
    cross(&mut a, 1000..2000);
    assert!(busy_polled() > 0, "interrupts brought every packet");
}

#[test]
fn receiving_leaves_frames_for_what_is_made_here() {
    if !own_namespace() {
        return;
    }
    veth("a0", "a1");
    veth("b0", "b1");
    let opened = open(&config(BindMode::Copy), &specs()).expect("copy mode works on veth");
    let _program = redirect_all("a0", opened.fds(0));
    let (pool, [mut a, _b]) = opened.into_ports();
    let tx = packet_socket("a1");
    // A receiver that keeps every frame gets the ring's 256, then all free frames except the reserve.
    let mut held: Vec<Frame> = Vec::new();
    let all = 256 + pool.free_count() - RESERVE;
    for n in 0..all {
        let p = packet(n as u32, 60);
        assert_eq!(rustix::net::send(&tx, &p, rustix::net::SendFlags::empty()).expect("sent"), p.len());
        let fd = a.fds().next().expect("one queue");
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&PATIENCE)).expect("poll"), 1, "packet {n}");
        a.receive(64, &mut held);
    }
    assert_eq!((held.len(), pool.free_count()), (all, RESERVE));
    assert!(pool.take().is_some());
}

#[test]
fn refusals_name_the_device_and_a_closed_queue_can_be_bound_again() {
    if !own_namespace() {
        return;
    }
    veth("a0", "a1");
    veth("b0", "b1");
    assert!(matches!(open(&config(BindMode::Zerocopy), &specs()), Err(OpenError::ModeRefused { .. })));
    let first = open(&config(BindMode::Copy), &specs()).expect("free queues");
    let busy = open(&config(BindMode::Copy), &specs()).expect_err("the queues are taken");
    assert!(matches!(&busy, OpenError::QueueBusy { device, queue: 0 } if device == "a0"), "{busy}");
    drop(first);
    drop(open(&config(BindMode::Copy), &specs()).expect("free again"));
    let mut gone = specs();
    gone[1].device = "nosuch0".into();
    let missing = open(&config(BindMode::Copy), &gone).expect_err("no such device");
    assert!(matches!(&missing, OpenError::DeviceMissing { device } if device == "nosuch0"), "{missing}");
    let few = open(&Config { frames: 64, ..config(BindMode::Copy) }, &specs()).expect_err("too few");
    assert!(matches!(few, OpenError::TooFewFrames { needed: 512, .. }), "{few}");
}
