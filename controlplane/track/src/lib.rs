//! Route policy: operations that probe, track objects that judge, and a routing table that follows them.
#![forbid(unsafe_code)]

pub mod config;
pub mod view;

pub use config::Config;
