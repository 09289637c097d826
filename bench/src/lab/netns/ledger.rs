//! Record of what a lab makes, written before it is made: a killed lab cannot clean up, and no other may remove a
//! namespace on the strength of its name alone.

use super::{PREFIX, ip, netns_path};
use crate::lab::error::LabError;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Lists, and beside them a directory for each gateway.
pub const DIR: &str = "/run/sipsec-lab";
const SUFFIX: &str = "ledger";

/// The list of one lab: its first line is the process and when it started, each further one a namespace.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
}

impl Ledger {
    pub fn create(tag: &str) -> Result<Self, LabError> {
        fs::create_dir_all(DIR).map_err(LabError::io(DIR))?;
        let name = if tag.is_empty() { "lab" } else { tag };
        let path = Path::new(DIR).join(format!("{name}.{SUFFIX}"));
        let pid = std::process::id();
        let first = format!("{pid} {}\n", start_time(pid).unwrap_or_default());
        // A ledger of a lab that still runs is kept: its namespaces are not ours to forget.
        if owned(&path) {
            return Err(LabError::NamespaceExists(format!("{PREFIX}{tag}*")));
        }
        if path.exists() {
            clean_one(&path)?;
        }
        fs::write(&path, first).map_err(LabError::io(path.display().to_string()))?;
        Ok(Self { path })
    }

    pub(super) fn record(&mut self, namespace: &str) -> Result<(), LabError> {
        let what = self.path.display().to_string();
        let mut file = OpenOptions::new().append(true).open(&self.path).map_err(LabError::io(&what))?;
        writeln!(file, "{namespace}").map_err(LabError::io(what))
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what labs left behind whose process is gone: namespaces, and the gateways' directories once no lab runs, which
/// could own them. Gives the names.
pub fn clean() -> Result<Vec<String>, LabError> {
    let mut removed = Vec::new();
    let Ok(entries) = fs::read_dir(DIR) else { return Ok(removed) };
    let (ledgers, others): (Vec<_>, Vec<_>) =
        entries.flatten().map(|e| e.path()).partition(|p| p.extension().is_some_and(|e| e == SUFFIX));
    let (live, dead): (Vec<_>, Vec<_>) = ledgers.into_iter().partition(|p| owned(p));
    for path in dead {
        removed.extend(clean_one(&path)?);
    }
    for path in others.into_iter().filter(|p| live.is_empty() && p.is_dir()) {
        let name = path.display().to_string();
        fs::remove_dir_all(&path).map_err(LabError::io(&name))?;
        removed.push(name);
    }
    Ok(removed)
}

fn clean_one(path: &Path) -> Result<Vec<String>, LabError> {
    let text = fs::read_to_string(path).map_err(LabError::io(path.display().to_string()))?;
    let mut removed = Vec::new();
    for name in text.lines().skip(1).filter(|n| n.starts_with(PREFIX) && !n.contains('/')) {
        if netns_path(name).exists() {
            ip(&["netns", "del", name])?;
            removed.push(name.to_owned());
        }
    }
    fs::remove_file(path).map_err(LabError::io(path.display().to_string()))?;
    Ok(removed)
}

/// Whether the process that wrote it still runs; a pid alone may belong to another process by now.
fn owned(path: &Path) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let pid = words.next().and_then(|w| w.parse().ok());
    let started = words.next().and_then(|w| w.parse().ok());
    started.is_some() && pid.and_then(start_time) == started
}

/// Field 22 of /proc/PID/stat; the name before it may hold spaces and brackets.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}
