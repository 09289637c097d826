//! Prefixes whose routes into no tunnel are this gateway's, in a file: a later run with another profile removes those that it
//! no longer has. Routes into the sVTI need none, because the sVTI is this gateway's alone.
//!
//! A prefix is in the file before its route is in the kernel, and until after the route is gone.

use crate::change::history::replace_with_mode;
use sipsec_net::IpPrefix;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

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
        let text = path.map_or(Ok(String::new()), std::fs::read_to_string);
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

    /// Routes to these may be installed from now on.
    pub fn add(&mut self, prefixes: &BTreeSet<IpPrefix>) {
        let all: BTreeSet<IpPrefix> = self.known.union(prefixes).copied().collect();
        self.set(all);
    }

    /// Routes to all others are gone.
    pub fn only(&mut self, prefixes: &BTreeSet<IpPrefix>) {
        self.set(prefixes.clone());
    }

    fn set(&mut self, prefixes: BTreeSet<IpPrefix>) {
        if self.known == prefixes {
            return;
        }
        self.known = prefixes;
        let Some(path) = &self.path else { return };
        let text: String = self.known.iter().map(|prefix| format!("{prefix}\n")).collect();
        if let Err(error) = replace_with_mode(path, text.as_bytes(), 0o600) {
            tracing::warn!(%error, path = %path.display(), "a later run may leave static routes of this profile");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_other_lines_are_passed_over() {
        let directory = std::env::temp_dir().join(format!("sipsec-ledger-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("made");
        let path = directory.join("static-routes");
        let prefixes = |list: &[&str]| -> BTreeSet<IpPrefix> {
            list.iter().map(|p| p.parse().expect("a prefix")).collect()
        };
        let (one, two) = (prefixes(&["10.2.0.0/16"]), prefixes(&["10.3.0.0/16", "2001:db8::/32"]));
        let mut ledger = Ledger::read(Some(&path));
        assert!(ledger.prefixes().is_empty());
        ledger.add(&one);
        ledger.add(&two);
        let mut again = Ledger::read(Some(&path));
        assert_eq!(*again.prefixes(), one.union(&two).copied().collect());
        again.only(&two);
        assert_eq!(*Ledger::read(Some(&path)).prefixes(), two);
        std::fs::write(&path, "10.4.0.0/16\n10.4.0.1/16\nnonsense\n").expect("written");
        assert_eq!(*Ledger::read(Some(&path)).prefixes(), prefixes(&["10.4.0.0/16"]));
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
