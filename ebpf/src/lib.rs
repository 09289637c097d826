//! The XDP programs that steer tunnel traffic to AF_XDP, and their loader.
//!
//! The programs' source is `ebpf/prog`; the object in this folder is committed, so that building sipsec needs no BPF
//! toolchain (`ebpf/build.sh` rebuilds and compares it). [`Steering`] loads it, attaches it and owns the links: the
//! programs stay attached exactly as long as the dataplane process lives, also while the control plane restarts.
//! Nothing is pinned.

pub mod attach;
pub mod error;
pub mod ethtool;
mod link;
mod offload;
pub mod steering;

pub use attach::{Attached, XdpLadder, XdpMode};
pub use error::{Program, SteeringError};
pub use sipsec_abi::bpf::Counter;
pub use steering::{Counters, InsideProgram, Limits, Port, Steering};

#[cfg(test)]
mod tests;
