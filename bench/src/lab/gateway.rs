//! A gateway of the lab: its dataplane, its control plane, its command line.

use super::account::{Account, UID};
use super::error::LabError;
use super::interrupt::wait_for;
use super::netns::{Namespace, run};
use super::process::{LogReader, Process, log_tail};
use super::profile::Profile;
use super::topology::SVTI;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a process may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How much longer for each tunnel: its line may have to register first.
const READY_PER_TUNNEL: Duration = Duration::from_millis(20);

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    pub dataplane: PathBuf,
    pub controlplane: PathBuf,
    pub cli: PathBuf,
}

impl Programs {
    #[must_use]
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            dataplane: dir.join("sipsec-dataplane"),
            controlplane: dir.join("sipsec-controlplane"),
            cli: dir.join("sipsec"),
        }
    }

    #[must_use]
    pub fn absent(&self) -> Vec<&Path> {
        [&self.dataplane, &self.controlplane, &self.cli]
            .into_iter()
            .map(PathBuf::as_path)
            .filter(|p| !p.exists())
            .collect()
    }
}

#[derive(Debug)]
pub struct Gateway {
    pub name: &'static str,
    programs: Programs,
    profile: PathBuf,
    dir: PathBuf,
    /// `None` for root.
    account: Option<Account>,
    ready_limit: Duration,
    // The control plane ends first: it hangs up while the dataplane still carries its packets.
    controlplane: Option<Process>,
    dataplane: Option<Process>,
}

impl Gateway {
    /// Starts both processes and waits until the dataplane listens and, in host mode, the control plane has sent `route`
    /// into the sVTI.
    pub fn start(
        namespace: &Namespace,
        programs: &Programs,
        profile: &Profile,
        route: Option<&str>,
    ) -> Result<Self, LabError> {
        let path = profile.write()?;
        let mut gateway = Self {
            name: profile.gateway,
            programs: programs.clone(),
            profile: path,
            dir: profile.dir().to_owned(),
            account: None,
            ready_limit: ready_limit(profile.text()),
            controlplane: None,
            dataplane: None,
        };
        gateway.start_dataplane(namespace)?;
        gateway.start_controlplane(namespace)?;
        gateway.wait_ready().map_err(|e| match e {
            LabError::Interrupted => e,
            e => LabError::failed(e.to_string(), log_tail(&gateway.log("controlplane"))),
        })?;
        if let Some(route) = route {
            wait_for(&format!("the {} gateway's route to {route}", gateway.name), READY_LIMIT, || {
                gateway.check()?;
                let routes = run(std::process::Command::new("ip").args([
                    "-n",
                    namespace.name(),
                    "route",
                    "show",
                    "dev",
                    SVTI,
                ]));
                Ok(routes.is_ok_and(|r| r.contains(route)).then_some(()))
            })?;
        }
        Ok(gateway)
    }

    pub fn start_dataplane(&mut self, namespace: &Namespace) -> Result<(), LabError> {
        let program = self.programs.dataplane.clone();
        let mut process = self.spawn(namespace, "dataplane", &program)?;
        let socket = self.dir.join("dataplane.sock");
        wait_for(&format!("the start of the {} dataplane", self.name), READY_LIMIT, || {
            process.check()?;
            Ok(socket.exists().then_some(()))
        })?;
        self.dataplane = Some(process);
        Ok(())
    }

    pub fn start_controlplane(&mut self, namespace: &Namespace) -> Result<(), LabError> {
        let program = self.programs.controlplane.clone();
        self.controlplane = Some(self.spawn(namespace, "controlplane", &program)?);
        Ok(())
    }

    /// Until a packet can open a call: the dataplane has its tunnels, and the WAN its address.
    pub fn wait_ready(&mut self) -> Result<(), LabError> {
        self.wait_all("readiness", |session| session["waits_for"].is_null())
    }

    /// Until no tunnel has a call, nor anything left of one.
    pub fn wait_free(&mut self) -> Result<(), LabError> {
        self.wait_all("free tunnels", |session| session["status"] == "READY_TO_CONNECT")
    }

    fn wait_all(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Result<(), LabError> {
        wait_for(&format!("the {} gateway's {what}", self.name), self.ready_limit, || {
            self.check()?;
            let Ok(text) = self.cli(&["--json", "show", "vpn-sip", "session"]) else { return Ok(None) };
            let answer: Value = serde_json::from_str(&text).unwrap_or_default();
            Ok(answer["data"].as_array().is_some_and(|list| list.iter().all(&holds)).then_some(()))
        })
    }

    fn spawn(&self, namespace: &Namespace, what: &str, program: &Path) -> Result<Process, LabError> {
        let mut command = match &self.account {
            None => namespace.command(program),
            Some(account) => account.command(namespace, what, program)?,
        };
        command.arg("--profile").arg(&self.profile);
        Process::spawn(&format!("the {} {what}", self.name), command, self.log(what))
    }

    /// From their next start on, both processes have the user and the capabilities of this account.
    pub fn run_as(&mut self, account: Account) -> Result<(), LabError> {
        run(std::process::Command::new("chown").args(["-R", &format!("{UID}:{UID}")]).arg(&self.dir))?;
        self.account = Some(account);
        Ok(())
    }

    /// An error once one of the processes has ended.
    pub fn check(&mut self) -> Result<(), LabError> {
        for process in [&mut self.dataplane, &mut self.controlplane].into_iter().flatten() {
            process.check()?;
        }
        Ok(())
    }

    pub const fn dataplane(&mut self) -> Option<&mut Process> {
        self.dataplane.as_mut()
    }

    pub const fn controlplane(&mut self) -> Option<&mut Process> {
        self.controlplane.as_mut()
    }

    /// Lines of the control plane's log from now on.
    #[must_use]
    pub fn events(&self) -> LogReader {
        LogReader::new(&self.log("controlplane"))
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn log(&self, what: &str) -> PathBuf {
        self.dir.join(format!("{what}.log"))
    }

    /// `sipsec …` against this gateway.
    pub fn cli(&self, args: &[&str]) -> Result<String, LabError> {
        let mut command = std::process::Command::new(&self.programs.cli);
        run(command.arg("--profile").arg(&self.profile).args(args))
    }

    #[must_use]
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    /// Of its API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// How people ask it.
    #[must_use]
    pub fn cli_words(&self, words: &str) -> String {
        format!("{} --profile {} {words}", self.programs.cli.display(), self.profile.display())
    }

    /// Ends it in order: the control plane hangs up, then the dataplane goes.
    pub fn stop(&mut self) {
        self.controlplane = None;
        self.dataplane = None;
    }
}

/// By the number of tunnels in the profile.
fn ready_limit(profile: &str) -> Duration {
    let tunnels = profile.matches("remote_number:").count();
    READY_LIMIT + READY_PER_TUNNEL * u32::try_from(tunnels).unwrap_or(u32::MAX)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}
