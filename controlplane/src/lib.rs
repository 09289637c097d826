//! The control-plane process and the command line.
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod clock;
pub mod compute;
pub mod config;
pub mod dataplane;
pub mod entropy;
pub mod journal;
pub mod logging;
pub mod net;
pub mod supervise;
