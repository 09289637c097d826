//! The control-plane process and the command line.
#![forbid(unsafe_code)]

pub mod api;
pub mod boot;
pub mod cli;
pub mod clock;
pub mod compute;
pub mod config;
pub mod dataplane;
pub mod entropy;
pub mod events;
pub mod journal;
pub mod keylog;
pub mod logging;
mod messages;
pub mod net;
pub mod pki;
pub mod runtime;
pub mod setup;
pub mod signals;
pub mod supervise;
pub mod views;
