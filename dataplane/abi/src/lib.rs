//! Every byte that two processes share: ring, segment, handshake, counters.

#[cfg(feature = "profile")]
pub mod profile;
