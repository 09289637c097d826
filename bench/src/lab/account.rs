//! The user and the capabilities that the systemd units give to a gateway's processes.

use super::error::LabError;
use super::netns::Namespace;
use super::unit::Unit;
use std::path::{Path, PathBuf};
use std::process::Command;

/// No user of the machine that runs the lab.
const UID: u32 = 59_321;

#[derive(Clone, Debug)]
pub struct Account {
    units: PathBuf,
    /// Copies of the programs: the user may not reach the directory in which they were built.
    programs: PathBuf,
}

impl Account {
    /// As the units in this directory say.
    #[must_use]
    pub const fn of_units(units: PathBuf, programs: PathBuf) -> Self {
        Self { units, programs }
    }

    /// `user:group` for `chown`.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{UID}:{UID}")
    }

    #[must_use]
    pub const fn uid(&self) -> u32 {
        UID
    }

    /// The capabilities of `dataplane` or `controlplane`, as setpriv(1) writes them.
    pub fn capabilities(&self, what: &str) -> Result<Vec<String>, LabError> {
        let unit = Unit::read(&self.units.join(format!("sipsec-{what}@.service")))?;
        let named = unit.value("Service", "AmbientCapabilities").unwrap_or_default();
        Ok(named.split_whitespace().map(|n| n.trim_start_matches("CAP_").to_lowercase()).collect())
    }

    /// The program in the namespace, as systemd starts it: the user without root's capabilities but those of the unit.
    pub fn command(&self, namespace: &Namespace, what: &str, program: &Path) -> Result<Command, LabError> {
        std::fs::create_dir_all(&self.programs).map_err(LabError::io("programs"))?;
        let copy = self.programs.join(program.file_name().unwrap_or_default());
        std::fs::copy(program, &copy).map_err(LabError::io(program.display().to_string()))?;
        let wanted: String = self.capabilities(what)?.iter().map(|name| format!(",+{name}")).collect();
        let mut command = namespace.command(Path::new("setpriv"));
        command
            .args([format!("--reuid={UID}"), format!("--regid={UID}"), "--clear-groups".into()])
            .args([format!("--inh-caps=-all{wanted}"), format!("--ambient-caps=-all{wanted}")])
            .args([format!("--bounding-set=-all{wanted}"), "--no-new-privs".into()])
            // The change of the user has undone what the lab asked for.
            .arg("--pdeathsig=KILL")
            .arg(copy);
        Ok(command)
    }
}
