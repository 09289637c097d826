//! Prefixes whose routes into no tunnel are this gateway's, in a file: a later run with another profile removes those that it
//! no longer has. Routes into the sVTI need none, because the sVTI is this gateway's alone.
//!
//! A prefix is in the file before its route is in the kernel, and until after the route is gone.

use crate::files::{self, Pending, replace_later};
use sipsec_net::IpPrefix;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Routes do not wait for a disk for longer.
const WRITTEN_MAX: Duration = Duration::from_millis(500);

/// Lines that are read at most; a profile has far fewer routes.
const LINES_MAX: usize = 1 << 17;

#[derive(Clone, Debug)]
pub struct Ledger {
    path: Option<PathBuf>,
    known: BTreeSet<IpPrefix>,
}

impl Ledger {
    /// What an earlier run has left. A file that cannot be read is none: routes of the earlier profile may stay then.
    pub fn read(path: Option<&Path>) -> Self {
        let text = path.map_or(Ok(String::new()), |path| {
            files::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        });
        let known = match &text {
            Ok(text) => text.lines().take(LINES_MAX).filter_map(|line| line.parse().ok()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => {
                tracing::warn!(%error, "static routes of an earlier profile may stay");
                BTreeSet::new()
            }
        };
        Self { path: path.map(Path::to_owned), known }
    }

    /// Those of this gateway: in force, or not yet removed.
    pub const fn prefixes(&self) -> &BTreeSet<IpPrefix> {
        &self.known
    }

    /// Routes to these may be installed from now on: the file names them, or its disk does not answer.
    pub async fn add(&mut self, prefixes: &BTreeSet<IpPrefix>) {
        let all: BTreeSet<IpPrefix> = self.known.union(prefixes).copied().collect();
        if let Some(pending) = self.set(all)
            && !pending.written_within(WRITTEN_MAX).await
        {
            tracing::warn!("static routes are installed before their record is on the disk");
        }
    }

    /// Routes to all others are gone.
    pub fn only(&mut self, prefixes: &BTreeSet<IpPrefix>) {
        self.set(prefixes.clone()); // what the file names beyond them does no harm
    }

    fn set(&mut self, prefixes: BTreeSet<IpPrefix>) -> Option<Pending> {
        if self.known == prefixes {
            return None;
        }
        self.known = prefixes;
        let path = self.path.as_ref()?;
        let text: String = self.known.iter().map(|prefix| format!("{prefix}\n")).collect();
        Some(replace_later(
            path,
            text.into_bytes(),
            0o600,
            "a later run may leave static routes of this profile",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read_and_other_lines_are_passed_over() {
        let directory = std::env::temp_dir().join(format!("sipsec-ledger-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("made");
        let path = directory.join("static-routes");
        let prefixes = |list: &[&str]| -> BTreeSet<IpPrefix> {
            list.iter().map(|p| p.parse().expect("a prefix")).collect()
        };
        let (one, two) = (prefixes(&["10.2.0.0/16"]), prefixes(&["10.3.0.0/16", "2001:db8::/32"]));
        let mut ledger = Ledger::read(Some(&path));
        assert!(ledger.prefixes().is_empty());
        ledger.add(&one).await;
        ledger.add(&two).await;
        let mut again = Ledger::read(Some(&path));
        assert_eq!(*again.prefixes(), one.union(&two).copied().collect());
        again.only(&two);
        assert!(crate::files::flush(Duration::from_secs(30)));
        assert_eq!(*Ledger::read(Some(&path)).prefixes(), two);
        std::fs::write(&path, "10.4.0.0/16\n10.4.0.1/16\nnonsense\n").expect("written");
        assert_eq!(*Ledger::read(Some(&path)).prefixes(), prefixes(&["10.4.0.0/16"]));
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
