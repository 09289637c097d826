//! `sipsec-dataplane --profile FILE`.
#![forbid(unsafe_code)]

use clap::Parser;
use sipsec_dataplane::error::BootError;
use sipsec_dataplane::netlink::Netlink;
use sipsec_dataplane::{config, device, housekeeping, translation_table, tun};
use sipsec_net::discard;
use sipsec_profile::model::{InsideDevice as Inside, primary_nat};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

/// Forwards tunnel traffic over AF_XDP and obeys the control plane of the same gateway.
#[derive(Debug, Parser)]
#[command(name = "sipsec-dataplane", version)]
struct Args {
    /// The gateway's profile; of it, `gateway`, `runtime_dir` and `dataplane` are read.
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// What to log: error, warn, info, debug, trace, or a filter such as `sipsec_dataplane=debug`. The environment's
    /// SIPSEC_LOG unless given, info without either.
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// Removes the sVTI, the discarding routes and the translations to primary lines that earlier runs left behind, then exits.
    /// They outlive the process on purpose: without them, packets for a tunnel would leave in clear, or untranslated.
    #[arg(long)]
    remove_devices: bool,
    /// With --remove-devices: also while the gateway runs.
    #[arg(long, requires = "remove_devices")]
    force: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let level =
        args.log.clone().or_else(|| std::env::var("SIPSEC_LOG").ok()).unwrap_or_else(|| "info".into());
    let filter = match EnvFilter::builder().parse(&level) {
        Ok(filter) => filter,
        Err(e) => {
            eprintln!("--log {level}: {e}");
            return ExitCode::from(2);
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            error!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), BootError> {
    let profile = config::load(&args.profile)?;
    if args.remove_devices {
        let socket = profile.dataplane_socket();
        if !args.force && sipsec_abi::server::is_served(&socket) {
            return Err(BootError::Running { path: socket });
        }
        let mut netlink =
            Netlink::open().map_err(|error| BootError::Io { what: "cannot open netlink", error })?;
        match &profile.dataplane.inside {
            inside @ (Inside::Host { device, .. } | Inside::Tun { device, .. }) => {
                let removed = match inside {
                    Inside::Tun { .. } => tun::remove_tun(&mut netlink, device, args.force)?,
                    _ => device::remove_pair(&mut netlink, device, args.force)?,
                };
                let routes = remove_discards(&mut netlink, device)
                    .map_err(|error| BootError::Io { what: "cannot remove discarding routes", error })?;
                info!(device, removed, routes, "devices and discarding routes of earlier runs");
            }
            Inside::Router { device, .. } => {
                if let (false, Ok(Some(link))) = (args.force, netlink.link(device)) {
                    device::not_in_use(device, &link)?;
                }
                let removed = remove_blackholes(&mut netlink, device)
                    .map_err(|error| BootError::Io { what: "cannot remove discarding routes", error })?;
                info!(device, removed, "discarding routes of earlier runs");
            }
        }
        let removed = translation_table::remove(&profile.gateway).map_err(|error| BootError::Io {
            what: "cannot remove the nftables tables of this gateway",
            error,
        })?;
        info!(removed, table = primary_nat::table(&profile.gateway), "translations to primary lines");
        return Ok(());
    }
    housekeeping::run(&profile)
}

/// Removes the discarding routes of host mode, which the control plane installs; how many there were.
fn remove_discards(netlink: &mut Netlink, device: &str) -> std::io::Result<usize> {
    let metric = discard::metric(device);
    let left = netlink.discards(metric)?;
    left.iter().try_for_each(|prefix| netlink.discard_delete(*prefix, metric))?;
    Ok(left.len())
}

/// Removes the discarding routes of router mode; how many there were.
fn remove_blackholes(netlink: &mut Netlink, device: &str) -> std::io::Result<usize> {
    let Some(lan) = netlink.link(device)? else { return Ok(0) };
    let left = netlink.blackholes(lan.index)?;
    left.iter().try_for_each(|prefix| netlink.blackhole_delete(*prefix, lan.index))?;
    Ok(left.len())
}
