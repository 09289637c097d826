//! FRRouting: routing daemons in a gateway's namespace, each with its own configuration.

use super::Scratch;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Debian has the daemons.
const PROGRAMS: &str = "/usr/lib/frr";
const USER: &str = "frr:frr";
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Daemons that run, zebra first: the others speak to the kernel through it.
#[derive(Debug)]
pub struct Frr {
    // They end before their directory does.
    daemons: Vec<Process>,
    dir: Scratch,
}

impl Frr {
    /// `daemons` has the name and the configuration of each beside zebra.
    pub fn start(
        name: &str,
        namespace: &Namespace,
        zebra: &str,
        daemons: &[(&str, &str)],
    ) -> Result<Self, LabError> {
        let dir = Scratch::new(name)?;
        let mut frr = Self { daemons: Vec::new(), dir };
        for (daemon, config) in [&[("zebra", zebra)], daemons].concat() {
            frr.daemon(namespace, daemon, config)?;
        }
        Ok(frr)
    }

    fn daemon(&mut self, namespace: &Namespace, daemon: &str, config: &str) -> Result<(), LabError> {
        let path = self.dir.path().to_owned();
        let file = self.dir.write(&format!("{daemon}.conf"), config)?;
        // The daemons give root away.
        run(std::process::Command::new("chown").args(["-R", USER]).arg(&path))?;
        let (api, pid) = (path.join("zserv.api"), path.join(format!("{daemon}.pid")));
        let text = |text: &'static str| OsStr::new(text).to_owned();
        let args = [
            text("-f"),
            file.into_os_string(),
            text("-z"),
            api.clone().into_os_string(),
            text("-i"),
            pid.into_os_string(),
            text("--vty_socket"),
            path.clone().into_os_string(),
            // No port for telnet.
            text("-P"),
            text("0"),
        ];
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        let program = Path::new(PROGRAMS).join(daemon);
        let mut process =
            Process::start(daemon, namespace, &program, &args, path.join(format!("{daemon}.log")))?;
        let ready: PathBuf = if daemon == "zebra" { api } else { path.join(format!("{daemon}.vty")) };
        wait_for(&format!("the start of {daemon}"), READY_LIMIT, || {
            process.check()?;
            Ok(ready.exists().then_some(()))
        })?;
        self.daemons.push(process);
        Ok(())
    }

    /// `vtysh -c …`
    pub fn ask(&self, command: &str) -> Result<String, LabError> {
        let mut vtysh = std::process::Command::new("vtysh");
        run(vtysh.arg("--vty_socket").arg(self.dir.path()).args(["-c", command]))
    }

    /// An error once a daemon has ended.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.daemons.iter_mut().try_for_each(Process::check)
    }
}

impl Drop for Frr {
    /// zebra last: what the others have learnt leaves the kernel through it.
    fn drop(&mut self) {
        while let Some(mut daemon) = self.daemons.pop() {
            daemon.terminate();
        }
    }
}
