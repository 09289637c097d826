//! SIPp as the carrier: a registrar, and calls in both directions by the scenarios of `bench/peers/sipp`.

use super::Scratch;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::Namespace;
use crate::lab::process::{Process, log_tail};
use crate::lab::world::Exchange;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(10);

/// The registrar; the other scenarios run beside it, one call each.
#[derive(Debug)]
pub struct Sipp {
    registrar: Process,
    scenarios: PathBuf,
    // Last: the programs write into it until they have ended.
    scratch: Scratch,
}

/// One call under way.
#[derive(Debug)]
pub struct SippCall {
    process: Process,
    errors: PathBuf,
}

impl Sipp {
    /// `scenarios` is their folder, `at` where the registrar listens.
    pub fn start(
        namespace: &Namespace,
        scenarios: &Path,
        tag: &str,
        at: SocketAddr,
    ) -> Result<Self, LabError> {
        let scratch = Scratch::new(&format!("{tag}-sipp"))?;
        let registrar = launch(namespace, scenarios, &scratch, "registrar", at, &[])?;
        Ok(Self { registrar, scenarios: scenarios.to_owned(), scratch })
    }

    /// Runs a scenario at an address: it plays one call and ends.
    pub fn call(
        &self,
        namespace: &Namespace,
        scenario: &str,
        at: SocketAddr,
        words: &[&str],
    ) -> Result<SippCall, LabError> {
        let words = [&["-m", "1"], words].concat();
        let process = launch(namespace, &self.scenarios, &self.scratch, scenario, at, &words)?;
        Ok(SippCall { process, errors: self.scratch.path().join(format!("{scenario}.errors")) })
    }

    /// Numbers and seconds of the REGISTERs that it has taken, in order.
    #[must_use]
    pub fn registers(&self) -> Vec<(String, u32)> {
        let log = std::fs::read_to_string(self.scratch.path().join("registrar.log")).unwrap_or_default();
        let words = log.lines().filter_map(|line| line.trim().strip_prefix("REGISTER ")?.split_once(' '));
        words.filter_map(|(number, s)| Some((number.to_owned(), s.trim().parse().ok()?))).collect()
    }
}

impl SippCall {
    /// Until its scenario has ended as written.
    pub fn succeeds(mut self, limit: Duration) -> Result<(), LabError> {
        let status = self.process.wait(limit)?;
        if status.success() {
            return Ok(());
        }
        let (said, errors) = (log_tail(self.process.log()), log_tail(&self.errors));
        Err(LabError::failed(format!("SIPp's scenario ended with {status}"), format!("{errors}\n{said}")))
    }
}

fn launch(
    namespace: &Namespace,
    scenarios: &Path,
    scratch: &Scratch,
    name: &str,
    at: SocketAddr,
    words: &[&str],
) -> Result<Process, LabError> {
    let file = |kind: &str| scratch.path().join(format!("{name}.{kind}"));
    let mut command = namespace.command("sipp");
    command.arg("-sf").arg(scenarios.join(format!("{name}.xml")));
    command.args(["-i", &at.ip().to_string(), "-p", &at.port().to_string(), "-nostdin"]);
    // A call that is over takes no more messages, and the next one may have its Call-ID.
    command.args(["-deadcall_wait", "0"]);
    command.arg("-trace_err").arg("-error_file").arg(file("errors"));
    command.arg("-trace_logs").arg("-log_file").arg(file("log"));
    command.args(words);
    let mut process = Process::spawn("sipp", command, file("out"))?;
    // Without a log of its start: its socket is bound before anything else is of use.
    let bound = format!("{at}");
    wait_for("SIPp's socket", READY_LIMIT, || {
        let sockets = namespace.command("ss").args(["-Hulpn"]).output().map_err(LabError::io("ss"))?;
        let known = String::from_utf8_lossy(&sockets.stdout).contains(&bound);
        // One that only calls may have ended already.
        Ok((known || process.check().is_err()).then_some(()))
    })?;
    Ok(process)
}

impl Exchange for Sipp {
    fn registered(&self) -> Vec<String> {
        let last: BTreeMap<_, _> = self.registers().into_iter().collect();
        last.into_iter().filter(|(_, expires)| *expires > 0).map(|(number, _)| number).collect()
    }

    fn check(&mut self) -> Result<(), LabError> {
        self.registrar.check()
    }
}
