//! Network namespaces, raw sockets and packets for the tests of the dataplane on a real kernel.
use crate::sys;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the kernel and a process may take for one step before a test gives up.
pub const PATIENCE_S: i64 = 20;

/// Says that a test did not run, past the harness's capture.
pub fn skip(why: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {why}");
}

pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("network namespaces and AF_XDP need root");
    }
    root
}

/// Moves this thread into a fresh network namespace, which ends with the thread.
pub fn own_namespace() -> bool {
    let root = is_root();
    if root {
        sys::unshare_network();
        sh("ip link set lo up");
    }
    root
}

/// Runs a command line of plain words.
pub fn sh(line: &str) -> String {
    let mut words = line.split_whitespace();
    let out = Command::new(words.next().expect("a command")).args(words).output().expect(line);
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

pub fn sysctl(path: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{path}"), value).expect(path);
}

/// A veth pair without IPv6, both ends up.
pub fn veth(a: &str, b: &str) {
    sh(&format!("ip link add {a} type veth peer name {b}"));
    for dev in [a, b] {
        sysctl(&format!("ipv6/conf/{dev}/disable_ipv6"), "1");
        sh(&format!("ip link set {dev} up"));
    }
}

/// Sees every frame of one device, in both directions.
pub struct Tap(OwnedFd);

impl Tap {
    pub fn open(device: &str) -> Self {
        Self(sys::packet_socket(device))
    }

    pub fn send(&self, frame: &[u8]) {
        assert_eq!(
            rustix::net::send(&self.0, frame, rustix::net::SendFlags::empty()).expect("send"),
            frame.len()
        );
    }

    /// The next frame; `None` if none comes in time.
    pub fn next(&self, patience_s: i64) -> Option<Vec<u8>> {
        let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        if poll(&mut fds, Some(&Timespec { tv_sec: patience_s, tv_nsec: 0 })).expect("poll") == 0 {
            return None;
        }
        let mut buf = vec![0u8; 65536];
        let (n, _) = rustix::net::recv(&self.0, &mut buf[..], rustix::net::RecvFlags::empty()).expect("recv");
        buf.truncate(n);
        Some(buf)
    }

    /// Frames until one satisfies `last`, that one included.
    pub fn until(&self, mut last: impl FnMut(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let frame = self.next(PATIENCE_S).expect("the awaited frame comes in time");
            let done = last(&frame);
            out.push(frame);
            if done {
                return out;
            }
        }
    }
}

/// The IPv4 destination of an untagged frame.
pub fn destination(frame: &[u8]) -> Option<Ipv4Addr> {
    (frame.len() >= 34 && frame[12..14] == [8, 0])
        .then(|| Ipv4Addr::from([frame[30], frame[31], frame[32], frame[33]]))
}

/// Runs `f` on a thread inside a named network namespace. A socket opened there stays there.
pub fn inside<T: Send + 'static>(namespace: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let file = std::fs::File::open(format!("/run/netns/{namespace}")).expect("the namespace exists");
    std::thread::spawn(move || {
        rustix::thread::move_into_link_name_space(
            file.as_fd(),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )
        .expect("setns");
        f()
    })
    .join()
    .expect("no panic inside the namespace")
}
