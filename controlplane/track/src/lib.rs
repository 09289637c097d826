//! Route policy: operations that probe, track objects that judge, and a routing table that follows them.
//!
//! ```text
//!   probes, BFD ─> operation ─> track object ─┐                  ┌─> kernel
//!   links, foreign routes ────> track object ─┴─> routing table ─┤
//!                                                                └─> events
//! ```
//! A sans-IO core like the others: see [`Core`] for its contract. The words are those of IOS (`ip sla`, `track`,
//! `ip route`).
#![forbid(unsafe_code)]

pub mod bfd;
mod check;
pub mod config;
mod core;
pub mod damping;
mod event;
mod object;
mod operation;
mod places;
mod rib;
mod timer;
pub mod view;

#[cfg(test)]
mod tests;

pub use check::ConfigError;
pub use config::Config;
pub use core::{Core, Input, Output};
pub use event::{Cause, Event};
pub use operation::Outcome;
pub use rib::{Drain, DrainEnd, KernelRoute, RouteChange};
