//! Benchmarks, the lab carrier, the end-to-end tests, and the packet generator.

pub mod lab;
pub mod pktgen;
