//! Every byte that two processes share: ring, segment, handshake, counters.

pub mod bpf;
#[cfg(feature = "profile")]
pub mod profile;
