//! The program `sip-standin`: SIP for a peer that has none.

use super::Scratch;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::Namespace;
use crate::lab::process::Process;
use crate::lab::world::{Exchange, carrier_address};
use serde_json::Value;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

const EVENT_LIMIT: Duration = Duration::from_secs(10);
/// It ends by itself if the lab is killed with SIGKILL.
const SECONDS_MAX: &str = "300";

#[derive(Debug)]
pub struct StandIn {
    process: Process,
    stdin: ChildStdin,
    _scratch: Scratch,
}

impl StandIn {
    /// Registrar, and the telephone `number` whose media is at `media`, with more attributes in its SDP.
    pub fn start(
        namespace: &Namespace,
        program: &Path,
        tag: &str,
        number: &str,
        media: SocketAddr,
        kbps: u32,
        attributes: &[String],
    ) -> Result<Self, LabError> {
        let scratch = Scratch::new(&format!("{tag}-standin"))?;
        let mut command = namespace.command(program);
        command.args(["--bind", &carrier_address().to_string(), "--number", number]);
        command.args(["--media", &media.to_string(), "--kbps", &kbps.to_string()]);
        command.args(attributes.iter().flat_map(|a| ["--attribute", a]));
        command.args(["--seconds-max", SECONDS_MAX]).stdin(Stdio::piped());
        let mut process = Process::spawn("sip-standin", command, scratch.path().join("events"))?;
        let stdin = process.take_stdin().expect("the command has a pipe there");
        let mut standin = Self { process, stdin, _scratch: scratch };
        standin.wait("ready")?;
        Ok(standin)
    }

    /// `call NUMBER`, `bye`.
    pub fn tell(&mut self, command: &str) -> Result<(), LabError> {
        writeln!(self.stdin, "{command}").map_err(LabError::io("sip-standin"))
    }

    /// The first event of this name, once there is one.
    pub fn wait(&mut self, name: &str) -> Result<Value, LabError> {
        self.wait_after(name, 0)
    }

    /// How many events of this name there were.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.events().iter().filter(|e| e["event"] == name).count()
    }

    /// The event of this name that comes after so many others of it.
    pub fn wait_after(&mut self, name: &str, others: usize) -> Result<Value, LabError> {
        wait_for(&format!("the event `{name}` of the stand-in"), EVENT_LIMIT, || {
            self.process.check()?;
            Ok(self.events().into_iter().filter(|e| e["event"] == name).nth(others))
        })
        .map_err(|e| LabError::failed(e.to_string(), format!("{:?}", self.events())))
    }

    /// Everything so far.
    #[must_use]
    pub fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.process.log()).unwrap_or_default();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }
}

impl Exchange for StandIn {
    fn registered(&self) -> Vec<String> {
        let registered = self.events().into_iter().filter(|e| e["event"] == "registered");
        registered.filter_map(|e| Some(e["number"].as_str()?.to_owned())).collect()
    }

    fn check(&mut self) -> Result<(), LabError> {
        self.process.check()
    }
}
