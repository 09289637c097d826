//! The control-plane process of one gateway.
#![forbid(unsafe_code)]

use clap::Parser;
use sipsec_controlplane::boot;
use sipsec_controlplane::logging::Format;
use std::path::PathBuf;
use std::process::ExitCode;

/// SIP, IKE, calls and management of one sipsec gateway.
#[derive(Debug, Parser)]
#[command(name = "sipsec-controlplane", version = sipsec_controlplane::version::line())]
struct Args {
    /// The gateway's profile
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Instead of the profile's `log`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    log_format: Format,
    /// Install the routes that discard packets for the tunnels, then exit: for the start of the machine, before its
    /// network is up. `sipsec-dataplane --remove-devices` removes them
    #[arg(long)]
    install_discard_routes: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = if args.install_discard_routes {
        boot::install_discard_routes(&args.profile)
    } else {
        boot::run(&args.profile, args.log.as_deref(), args.log_format)
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sipsec-controlplane: {error}");
            ExitCode::FAILURE
        }
    }
}
