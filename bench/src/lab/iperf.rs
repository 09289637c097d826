//! iperf3 from namespace to namespace.

use super::error::LabError;
use super::interrupt::wait_for;
use super::netns::{self, Namespace};
use super::process::Process;
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bits per second that the receiver got.
pub fn run(client: &Namespace, server: &Namespace, address: &str, extra: &[&str]) -> Result<f64, LabError> {
    let report = report(client, server, address, extra)?;
    let end = &report["end"];
    let received = ["sum_received", "sum"].iter().find_map(|k| end[k]["bits_per_second"].as_f64());
    received.ok_or_else(|| incomplete(&report))
}

/// What became of UDP packets sent at a fixed rate.
#[derive(Clone, Copy, Debug)]
pub struct Datagrams {
    pub sent: u64,
    pub lost: u64,
    pub seconds: f64,
}

/// `extra` names the rate and the length of the packets.
pub fn datagrams(
    client: &Namespace,
    server: &Namespace,
    address: &str,
    extra: &[&str],
) -> Result<Datagrams, LabError> {
    let report = report(client, server, address, &[&["-u"], extra].concat())?;
    let end = &report["end"];
    let sent = end["sum_sent"]["packets"].as_u64();
    let lost = end["sum"]["lost_packets"].as_u64();
    let seconds = end["sum_sent"]["seconds"].as_f64();
    let all = sent.zip(lost).zip(seconds);
    all.map(|((sent, lost), seconds)| Datagrams { sent, lost, seconds }).ok_or_else(|| incomplete(&report))
}

fn incomplete(report: &Value) -> LabError {
    LabError::failed("iperf3 gives no rate", format!("{report:#}"))
}

/// A server for one run. It listens before it is asked, or the first try fails at once.
pub fn serve_once(namespace: &Namespace, log: PathBuf) -> Result<Process, LabError> {
    let args = ["-s", "-1"].map(OsStr::new);
    let mut process = Process::start("iperf3 -s", namespace, Path::new("iperf3"), &args, log)?;
    wait_for("the iperf3 server", Duration::from_secs(5), || {
        process.check()?;
        let listening = netns::run(namespace.command("ss").args(["-Hltn", "sport", "=", ":5201"]))?;
        Ok((!listening.is_empty()).then_some(()))
    })?;
    Ok(process)
}

fn report(client: &Namespace, server: &Namespace, address: &str, extra: &[&str]) -> Result<Value, LabError> {
    let log = std::env::temp_dir().join(format!("{}-iperf3.log", server.name()));
    let _server = serve_once(server, log.clone())?;
    let args = [&["-J", "-c", address], extra].concat();
    let report = netns::run(client.command("iperf3").args(args))?;
    let _ = std::fs::remove_file(log);
    serde_json::from_str(&report).map_err(|e| LabError::failed(format!("iperf3: {e}"), report))
}
