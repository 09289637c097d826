//! The command line.
#![forbid(unsafe_code)]

use clap::Parser;
use sipsec_controlplane::cli::{self, args::Args};
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(&Args::parse())
}
