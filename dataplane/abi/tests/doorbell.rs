//! Sleeping and being woken for real, from a plain loop and from tokio. A wake-up that is lost shows as a sleep without
//! an end; the bound on it is only there so that such a test ends at all.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sipsec_abi::{Command, ControlSide, DataplaneSide, Listener, SendError};
use sipsec_net::dp::{Event, Op};
use sipsec_net::{TunnelId, TxnId};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const TRANSACTIONS: u64 = 20_000;
const NEVER_S: i64 = 60;

fn pair() -> (DataplaneSide, ControlSide) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir: PathBuf = std::env::temp_dir().join(format!("sipsec-abi-doorbell-{}-{n}", std::process::id()));
    std::fs::create_dir(&dir).expect("a new directory");
    let path = dir.join("dataplane.sock");
    let mut listener = Listener::bind(&path, "dataplane", &[]).expect("bind");
    let client = thread::spawn(move || ControlSide::connect(&path, "control").expect("connect"));
    let dataplane = loop {
        match listener.accept(false).expect("handshake") {
            Some(side) => break side,
            None => thread::yield_now(),
        }
    };
    let control = client.join().expect("the client ends");
    // Connected: the path is not needed any more.
    let _ = std::fs::remove_dir_all(&dir);
    (dataplane, control)
}

/// The dataplane: applies each command, answers it, and sleeps in between.
fn answer_all(mut side: DataplaneSide) -> u64 {
    let (mut ops, mut sleeps, mut applied) = (Vec::new(), 0, 0);
    while applied < TRANSACTIONS {
        while let Some(command) = side.pop(&mut ops).expect("a command") {
            let Command::Transaction { txn, .. } = command else { panic!("{command:?}") };
            applied += 1;
            assert_eq!(txn, TxnId(applied));
            while side.events.push(&Event::Applied(txn)) == Err(SendError::WouldBlock) {
                thread::yield_now();
            }
        }
        if applied < TRANSACTIONS && side.prepare_sleep() {
            sleeps += 1;
            let mut fds = [PollFd::new(&side.doorbell, PollFlags::IN)];
            let woken = poll(&mut fds, Some(&Timespec { tv_sec: NEVER_S, tv_nsec: 0 })).expect("poll");
            assert_eq!(woken, 1, "slept over a transaction");
        }
        side.woke();
    }
    sleeps
}

/// Bursts of all lengths, so that the dataplane is met awake, asleep and in between.
fn burst(n: u64) -> u64 {
    1 + n * n % 7
}

#[test]
fn a_plain_loop_sleeps_over_nothing() {
    let (dataplane, mut control) = pair();
    let dataplane = thread::spawn(move || answer_all(dataplane));
    let (mut sent, mut answered) = (0, 0);
    while answered < TRANSACTIONS {
        if sent == answered {
            for _ in 0..burst(sent).min(TRANSACTIONS - sent) {
                sent += 1;
                control.push(TxnId(sent), &[Op::FlushTrigger(TunnelId(1))]).expect("room");
            }
        }
        while let Some(event) = control.pop().expect("an event") {
            answered += 1;
            assert_eq!(event, Event::Applied(TxnId(answered)));
        }
        if answered < sent && control.prepare_sleep() {
            let mut fds = [PollFd::new(&control.doorbell, PollFlags::IN)];
            let woken = poll(&mut fds, Some(&Timespec { tv_sec: NEVER_S, tv_nsec: 0 })).expect("poll");
            assert_eq!(woken, 1, "slept over an event");
        }
        control.woke();
    }
    assert!(dataplane.join().expect("the dataplane ends") > 0, "it slept at least once");
}

#[test]
fn tokio_sleeps_over_nothing() {
    let (dataplane, mut control) = pair();
    let dataplane = thread::spawn(move || answer_all(dataplane));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let fd = control.doorbell.try_clone_fd().expect("dup");
        // SAFETY: an OwnedFd is the same descriptor as long as it lives.
        let doorbell = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.expect("register");
        let (mut sent, mut answered) = (0, 0);
        while answered < TRANSACTIONS {
            if sent == answered {
                for _ in 0..burst(sent).min(TRANSACTIONS - sent) {
                    sent += 1;
                    control.push(TxnId(sent), &[Op::FlushTrigger(TunnelId(1))]).expect("room");
                }
            }
            while let Some(event) = control.pop().expect("an event") {
                answered += 1;
                assert_eq!(event, Event::Applied(TxnId(answered)));
            }
            if answered < sent && control.prepare_sleep() {
                let never = std::time::Duration::from_secs(NEVER_S as u64);
                let readable = tokio::time::timeout(never, doorbell.readable()).await;
                readable.expect("slept over an event").expect("an eventfd").clear_ready();
            }
            control.woke();
        }
    });
    assert!(dataplane.join().expect("the dataplane ends") > 0, "it slept at least once");
}
