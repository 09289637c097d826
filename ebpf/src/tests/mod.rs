//! The programs in the kernel: BPF_PROG_TEST_RUN on fixtures, and attached to a veth pair. They need root; without it each
//! says so and ends.

mod attach;
mod fixtures;
mod inside;
mod outside;
mod sys;

use crate::steering::{Counters, InsideProgram, Limits, Port, Steering};
use crate::{Counter, SteeringError};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use sys::{XDP_DROP, XDP_PASS, XDP_REDIRECT};

/// Steering with an AF_XDP socket on queue 0 of both ports, or none where the kernel does not let us.
struct Rig {
    steering: Steering,
    _sockets: Vec<OwnedFd>,
}

impl Rig {
    fn new(sockets: bool) -> Option<Self> {
        if !sys::privileged() {
            // Written past the harness's capture, so that a skipped test is seen.
            let _ = writeln!(std::io::stderr(), "skipped: needs root");
            return None;
        }
        let mut steering = Steering::load(Limits { media_ports_max: 4, prefixes_max: 4 }).expect("loads");
        let mut held = Vec::new();
        if sockets {
            for port in [Port::Outside, Port::Inside] {
                let socket = sys::xdp_socket();
                steering.xsk_set(port, 0, socket.as_fd()).expect("xskmap takes the socket");
                held.push(socket);
            }
        }
        Some(Self { steering, _sockets: held })
    }

    /// Runs a frame through a program and tells the action and the one counter that moved.
    fn run(&mut self, program: &'static str, frame: &[u8]) -> (u32, Counter) {
        let before = self.steering.counters().expect("counters");
        let action = sys::prog_test_run(self.steering.program_fd(program).as_fd(), frame);
        let after = self.steering.counters().expect("counters");
        (action, moved(&before, &after))
    }
}

fn moved(before: &Counters, after: &Counters) -> Counter {
    let moved: Vec<_> = after.iter().filter(|(c, n)| *n != before.get(*c)).collect();
    match moved.as_slice() {
        [(counter, n)] if *n == before.get(*counter) + 1 => *counter,
        other => panic!("exactly one counter rises by one, not {other:?}"),
    }
}
