//! A gateway of the lab: its dataplane, its control plane, its command line.

use super::error::LabError;
use super::interrupt::wait_for;
use super::netns::{Namespace, run};
use super::process::{LogReader, Process};
use super::profile::Profile;
use super::topology::SVTI;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a process may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(20);

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
    // The control plane ends first: it hangs up while the dataplane still carries its packets.
    controlplane: Option<Process>,
    dataplane: Option<Process>,
}

impl Gateway {
    /// Starts both processes and waits until the dataplane listens and the sVTI is there; `routes` are then sent into it.
    pub fn start(
        namespace: &Namespace,
        programs: &Programs,
        profile: &Profile,
        routes: &[&str],
    ) -> Result<Self, LabError> {
        let path = profile.write()?;
        let mut gateway = Self {
            name: profile.gateway,
            programs: programs.clone(),
            profile: path,
            dir: profile.dir().to_owned(),
            controlplane: None,
            dataplane: None,
        };
        gateway.start_dataplane(namespace, routes)?;
        gateway.start_controlplane(namespace)?;
        Ok(gateway)
    }

    pub fn start_dataplane(&mut self, namespace: &Namespace, routes: &[&str]) -> Result<(), LabError> {
        let program = self.programs.dataplane.clone();
        let mut process = self.spawn(namespace, "dataplane", &program)?;
        let socket = self.dir.join("dataplane.sock");
        let host_mode = !routes.is_empty();
        wait_for(&format!("the start of the {} dataplane", self.name), READY_LIMIT, || {
            process.check()?;
            let ready = socket.exists() && (!host_mode || namespace.has_device(SVTI));
            Ok(ready.then_some(()))
        })?;
        for route in routes {
            namespace.ip(&["route", "replace", route, "dev", SVTI])?;
        }
        self.dataplane = Some(process);
        Ok(())
    }

    pub fn start_controlplane(&mut self, namespace: &Namespace) -> Result<(), LabError> {
        let program = self.programs.controlplane.clone();
        self.controlplane = Some(self.spawn(namespace, "controlplane", &program)?);
        Ok(())
    }

    fn spawn(&self, namespace: &Namespace, what: &str, program: &Path) -> Result<Process, LabError> {
        let args = [OsStr::new("--profile"), self.profile.as_os_str()];
        Process::start(&format!("the {} {what}", self.name), namespace, program, &args, self.log(what))
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
    pub fn log(&self, what: &str) -> PathBuf {
        self.dir.join(format!("{what}.log"))
    }

    /// `sipsec …` against this gateway.
    pub fn cli(&self, args: &[&str]) -> Result<String, LabError> {
        let mut command = std::process::Command::new(&self.programs.cli);
        run(command.arg("--profile").arg(&self.profile).args(args))
    }

    /// Ends it in order: the control plane hangs up, then the dataplane goes.
    pub fn stop(&mut self) {
        self.controlplane = None;
        self.dataplane = None;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}
