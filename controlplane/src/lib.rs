//! The control-plane process and the command line.
#![forbid(unsafe_code)]

pub mod api;
pub mod cli;
pub mod config;
