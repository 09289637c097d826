//! Every byte that two processes share: ring, segment, handshake, counters; the queue of packets between two threads; and what
//! both processes ask of the kernel in bytes: the ethtool ioctl and messages of nfnetlink.
//!
//! The dataplane listens ([`Listener`]); a control plane connects ([`ControlSide::connect`]) and both hold one sealed segment
//! with a command ring down, an event ring up, a punt ring each way, counters, and two doorbells. Everything that comes from
//! the other side is untrusted: cursors are checked, slots are copied out before they are decoded, and no byte pattern makes
//! this crate panic.
//!
//! | fact | where |
//! |---|---|
//! | order of memory accesses on a ring | [`ring`] |
//! | why no wake-up is lost | [`bell`] |
//! | who may touch a packet between two workers | [`handoff`] |
//! | what a transaction is on the ring | [`command`] |
//! | what a reconnect leaves behind: nothing | [`segment`] |
//! | what is where, and the fingerprint | [`layout`] |
//!
//! # Tests
//! `cargo test -p sipsec-abi`; and all interleavings of the ring, the hand-off, the doorbell and the counters' cells, in a target directory
//! of their own because the flag rebuilds everything:
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p sipsec-abi --release --test loom --target-dir target/loom
//! ```
//! A change of shared bytes shows as a difference to `golden/layout.txt`; see `src/tests/golden.rs`.

// Loom replaces the atomics, and its atomics cannot lie in shared memory: only the algorithms are built for it.
pub mod bell;
pub mod bpf;
#[cfg(not(loom))]
pub mod client;
#[cfg(not(loom))]
pub mod command;
#[cfg(not(loom))]
pub mod counters;
#[cfg(not(loom))]
pub mod doorbell;
#[cfg(not(loom))]
pub mod error;
#[cfg(not(loom))]
pub mod ethtool;
#[cfg(not(loom))]
pub mod event;
#[cfg(all(feature = "fuzz", not(loom)))]
pub mod fuzz;
pub mod handoff;
#[cfg(not(loom))]
pub mod handshake;
#[cfg(not(loom))]
pub mod ifreq;
#[cfg(not(loom))]
pub mod layout;
#[cfg(not(loom))]
pub mod nfnetlink;
#[cfg(not(loom))]
pub mod punt;
pub mod ring;
#[cfg(not(loom))]
pub mod segment;
pub mod seqcell;
#[cfg(not(loom))]
pub mod server;
#[cfg(not(loom))]
pub mod slot;
pub mod sync;
#[cfg(not(loom))]
pub mod text;
#[cfg(not(loom))]
pub mod txn_log;

#[cfg(not(loom))]
pub use self::{
    client::ControlSide,
    command::{Command, CommandError},
    counters::{
        Count, CountersReader, CountersWriter, Facts, Port, PortCounters, PortFacts, StageView,
        WorkerCounters,
    },
    error::{RecvError, SendError},
    handshake::{HandshakeError, Refusal},
    punt::Punt,
    ring::RingFault,
    segment::SegmentError,
    server::{DataplaneSide, Listener, PeerInfo},
    slot::{SlotError, punt::PAYLOAD_MAX as PUNT_PAYLOAD_MAX},
    text::Text,
    txn_log::{Admission, TxnLog},
};

#[cfg(all(test, not(loom)))]
mod tests;
