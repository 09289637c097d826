//! The user and the capabilities that the systemd units give to a gateway's processes.

use super::error::LabError;
use super::netns::Namespace;
use super::unit::Unit;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// No user of the machine that runs the lab.
pub const UID: u32 = 59_321;

/// The capabilities that the unit of `dataplane` or `controlplane` gives, as setpriv(1) writes them.
pub fn capabilities(units: &Path, what: &str) -> Result<Vec<String>, LabError> {
    let unit = Unit::read(&units.join(format!("sipsec-{what}@.service")))?;
    let named = unit.value("Service", "AmbientCapabilities").unwrap_or_default();
    Ok(named.split_whitespace().map(|n| n.trim_start_matches("CAP_").to_lowercase()).collect())
}

#[derive(Debug)]
pub struct Account {
    units: PathBuf,
    /// Copies of the programs: the user may not reach the directory in which they were built, and /run may forbid programs.
    programs: PathBuf,
}

impl Account {
    /// As the units in this directory say.
    pub fn of_units(units: &Path) -> Result<Self, LabError> {
        let programs = std::env::temp_dir().join(format!("sipsec-lab-programs-{}", std::process::id()));
        std::fs::create_dir_all(&programs).map_err(LabError::io("programs"))?;
        std::fs::set_permissions(&programs, Permissions::from_mode(0o755))
            .map_err(LabError::io("programs"))?;
        Ok(Self { units: units.to_owned(), programs })
    }

    /// The program in the namespace, as systemd starts it: the user without root's capabilities but those of the unit.
    pub fn command(&self, namespace: &Namespace, what: &str, program: &Path) -> Result<Command, LabError> {
        let copy = self.programs.join(program.file_name().unwrap_or_default());
        if !copy.exists() {
            std::fs::copy(program, &copy).map_err(LabError::io(program.display().to_string()))?;
        }
        let wanted: String =
            capabilities(&self.units, what)?.iter().map(|name| format!(",+{name}")).collect();
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

impl Drop for Account {
    fn drop(&mut self) {
        // What stays is a few megabytes in a directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.programs);
    }
}
