//! The control-plane process and the command line.
// `unsafe` stands in files named sys.rs, which expect the lint by name.
#![deny(unsafe_code)]

mod adjacency;
pub mod api;
pub mod boot;
mod carriers;
pub mod change;
pub mod cli;
pub mod clock;
pub mod compute;
pub mod config;
mod crash_secret;
pub mod dataplane;
pub mod entropy;
pub mod events;
mod files;
pub mod harden;
pub mod journal;
pub mod keylog;
pub mod logging;
pub mod net;
pub mod pki;
mod rates;
pub mod runtime;
pub mod setup;
pub mod signals;
pub mod supervise;
pub mod topology;
pub mod version;
pub mod views;
