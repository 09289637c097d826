//! One iperf3 run from namespace to namespace.

use super::error::LabError;
use super::interrupt::wait_for;
use super::netns::{self, Namespace};
use super::process::Process;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// Bits per second that the receiver got.
pub fn run(client: &Namespace, server: &Namespace, address: &str, extra: &[&str]) -> Result<f64, LabError> {
    let log = std::env::temp_dir().join(format!("{}-iperf3.log", server.name()));
    let args = ["-s", "-1"].map(OsStr::new);
    let mut process = Process::start("iperf3 -s", server, Path::new("iperf3"), &args, log.clone())?;
    // It listens before it is asked, or the first try fails at once.
    wait_for("the iperf3 server", Duration::from_secs(5), || {
        process.check()?;
        let listening = netns::run(server.command("ss").args(["-Hltn", "sport", "=", ":5201"]))?;
        Ok((!listening.is_empty()).then_some(()))
    })?;
    let args = [&["-J", "-c", address], extra].concat();
    let report = netns::run(client.command("iperf3").args(args))?;
    let _ = std::fs::remove_file(log);
    let report: Value =
        serde_json::from_str(&report).map_err(|e| LabError::failed(format!("iperf3: {e}"), report))?;
    let end = &report["end"];
    let received = ["sum_received", "sum"].iter().find_map(|k| end[k]["bits_per_second"].as_f64());
    received.ok_or_else(|| LabError::failed("iperf3 gives no rate", format!("{report:#}")))
}
