//! The profiles that were applied, on disk: what was in force, since when, and by whom.
//!
//! ```text
//!  STATE_DIR/profiles/index.json     who, when, what, which one is in force, which one waits for its confirmation
//!  STATE_DIR/profiles/000012.yaml    the profile, with secrets as it has them: mode 0600
//! ```

use crate::files::replace;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Profiles that are kept, and their bytes in all. The one in force, the one before an unconfirmed change and that of the
/// file at the start are always kept.
const ENTRIES_MAX: usize = 64;
const BYTES_MAX: u64 = 64 << 20;
/// Characters of an author and of a summary.
const TEXT_MAX: usize = 80;
const INDEX: &str = "index.json";
const INDEX_BYTES_MAX: u64 = 1 << 20;
const MODE: u32 = 0o600;

#[derive(Debug, thiserror::Error)]
#[error("the history {} cannot be {doing}: {error}", path.display())]
pub struct HistoryError {
    path: PathBuf,
    doing: &'static str,
    error: io::Error,
}

/// One profile that was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub number: u64,
    pub unix_s: u64,
    pub author: String,
    pub summary: String,
    /// Where the author had it, if it was a file.
    pub file: Option<String>,
    /// What was in force before it; 0 if nothing was.
    #[serde(default)]
    before: u64,
    bytes: u64,
}

/// A change that goes unless it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub number: u64,
    /// What is in force again then.
    pub previous: u64,
    pub until_unix_s: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    last: u64,
    /// In force.
    current: u64,
    /// The profile of the file that the control plane was started with.
    start: u64,
    unconfirmed: Option<Unconfirmed>,
    entries: Vec<Entry>,
}

/// What is to be recorded of a profile.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    pub unix_s: u64,
    pub author: &'a str,
    pub summary: &'a str,
    pub file: Option<&'a str>,
    /// The profile as YAML.
    pub yaml: &'a str,
}

#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    index: Index,
    /// The profile in force could not be written, and is none of the entries.
    unrecorded: bool,
}

impl History {
    /// Reads what there is; nothing is written. A history that is damaged counts as none.
    #[must_use]
    pub fn read(state_dir: &Path) -> Self {
        let dir = state_dir.join("profiles");
        let bytes = bounded(&dir.join(INDEX), INDEX_BYTES_MAX);
        let index = bytes.and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::other));
        let index = index.unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "the history of applied profiles cannot be read; it begins anew");
            }
            // Profiles of a lost index are not overwritten.
            Index { last: highest(&dir), ..Index::default() }
        });
        Self { dir, index, unrecorded: false }
    }

    /// The latest first.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.index.entries.iter().rev()
    }

    #[must_use]
    pub fn entry(&self, number: u64) -> Option<&Entry> {
        self.index.entries.iter().find(|e| e.number == number)
    }

    #[must_use]
    pub const fn current(&self) -> u64 {
        self.index.current
    }

    #[must_use]
    pub const fn start(&self) -> u64 {
        self.index.start
    }

    #[must_use]
    pub const fn unconfirmed(&self) -> Option<Unconfirmed> {
        self.index.unconfirmed
    }

    /// Whether the profile in force is one of the entries.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        !self.unrecorded
    }

    /// What was in force before.
    #[must_use]
    pub fn previous(&self) -> Option<u64> {
        let current = self.index.current;
        if self.unrecorded {
            return self.entry(current).map(|e| e.number);
        }
        let before = self.entry(current).and_then(|e| self.entry(e.before)).map(|e| e.number);
        // It may be gone, or not be known: an index of an earlier release.
        let older = || self.index.entries.iter().rev().find(|e| e.number < current).map(|e| e.number);
        before.or_else(older)
    }

    /// The profile under a number.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn profile(&self, number: u64) -> Result<Zeroizing<String>, HistoryError> {
        let path = self.file(number);
        let read = bounded(&path, BYTES_MAX).and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).map_err(io::Error::other)?;
            Ok(Zeroizing::new(text.to_owned()))
        });
        read.map_err(|error| HistoryError { path, doing: "read", error })
    }

    /// The profile of the file at the start, if it is another than at the last start. `true` if it is another.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn started(&mut self, record: &Record<'_>) -> Result<bool, HistoryError> {
        let known = self.index.start;
        if known != 0 && self.profile(known).is_ok_and(|text| text.as_str() == record.yaml) {
            return Ok(false);
        }
        let number = self.put(record)?;
        let (start, current, unconfirmed) = (number, number, None);
        self.save_new(Index { start, current, unconfirmed, ..self.index.clone() })?;
        Ok(true)
    }

    /// A profile is in force now; its number. With `until`, the one before comes back then unless this is confirmed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn applied(&mut self, record: &Record<'_>, until: Option<u64>) -> Result<u64, HistoryError> {
        self.unrecorded = true;
        let number = self.put(record)?;
        let previous = self.index.current;
        let unconfirmed = until.map(|until_unix_s| Unconfirmed { number, previous, until_unix_s });
        self.save_new(Index { current: number, unconfirmed, ..self.index.clone() })?;
        Ok(number)
    }

    /// The profile in force is that of the start file from now on.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn saved(&mut self) -> Result<(), HistoryError> {
        if self.unrecorded {
            let error = io::Error::other("the profile in force is not in it; apply it again");
            return Err(HistoryError { path: self.dir.clone(), doing: "written", error });
        }
        self.save(Index { start: self.index.current, ..self.index.clone() })
    }

    /// An earlier profile is in force again.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn back_to(&mut self, number: u64) -> Result<(), HistoryError> {
        self.unrecorded = true;
        self.save(Index { current: number, unconfirmed: None, ..self.index.clone() })
    }

    /// The change stays; its number, if one waited.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn confirm(&mut self) -> Result<Option<u64>, HistoryError> {
        let Some(unconfirmed) = self.index.unconfirmed else { return Ok(None) };
        self.save(Index { unconfirmed: None, ..self.index.clone() })?;
        Ok(Some(unconfirmed.number))
    }

    // ---- files ----

    fn file(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:06}.yaml"))
    }

    /// Writes the profile and enters it into the index, which is not written yet.
    fn put(&mut self, record: &Record<'_>) -> Result<u64, HistoryError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| HistoryError { path: self.dir.clone(), doing: "made", error })?;
        let number = self.index.last + 1;
        let path = self.file(number);
        replace(&path, record.yaml.as_bytes(), MODE).map_err(|error| HistoryError {
            path,
            doing: "written",
            error,
        })?;
        let cut = |text: &str| text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect::<String>();
        self.index.last = number;
        self.index.entries.push(Entry {
            number,
            unix_s: record.unix_s,
            author: cut(record.author),
            summary: cut(record.summary),
            file: record.file.map(str::to_owned),
            before: self.index.current,
            bytes: record.yaml.len() as u64,
        });
        Ok(number)
    }

    /// As [`Self::save`] after [`Self::put`], which is undone on failure.
    fn save_new(&mut self, index: Index) -> Result<(), HistoryError> {
        let saved = self.save(index);
        if saved.is_err()
            && let Some(entry) = self.index.entries.pop()
        {
            // Its room may be what is missing.
            let _ = std::fs::remove_file(self.file(entry.number));
        }
        saved
    }

    /// Writes an index whose `current` is in force.
    fn save(&mut self, mut index: Index) -> Result<(), HistoryError> {
        let dropped = trim(&mut index);
        let path = self.dir.join(INDEX);
        let text = serde_json::to_vec_pretty(&index).map_err(io::Error::other);
        text.and_then(|text| replace(&path, &text, MODE)).map_err(|error| HistoryError {
            path,
            doing: "written",
            error,
        })?;
        self.index = index;
        self.unrecorded = false;
        for number in dropped {
            // A file that cannot be removed stays with mode 0600; the index does not name it, so it is never read.
            let _ = std::fs::remove_file(self.file(number));
        }
        Ok(())
    }
}

/// Removes the oldest entries beyond the bounds; their numbers.
fn trim(index: &mut Index) -> Vec<u64> {
    let needed = [index.current, index.start, index.unconfirmed.map_or(0, |u| u.previous)];
    let mut dropped = Vec::new();
    while index.entries.len() > ENTRIES_MAX || index.entries.iter().map(|e| e.bytes).sum::<u64>() > BYTES_MAX
    {
        let Some(oldest) = index.entries.iter().position(|e| !needed.contains(&e.number)) else { break };
        dropped.push(index.entries.remove(oldest).number);
    }
    dropped
}

/// The highest number of a profile in the directory.
fn highest(dir: &Path) -> u64 {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let number = |e: std::fs::DirEntry| e.file_name().to_str()?.strip_suffix(".yaml")?.parse().ok();
    names.filter_map(number).max().unwrap_or(0)
}

fn bounded(path: &Path, max: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let bytes = crate::pki::files::bounded(crate::pki::files::open(path)?, max)?;
    bytes.ok_or_else(|| io::Error::other("it is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("sipsec-history-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("made");
        dir
    }

    fn record(yaml: &str) -> Record<'_> {
        Record { unix_s: 1_782_864_000, author: "ada", summary: "1 tunnel added", file: None, yaml }
    }

    #[test]
    fn what_was_in_force_is_known_after_a_restart() {
        let dir = dir("restart");
        let mut history = History::read(&dir);
        assert!(history.started(&record("a")).expect("written"));
        assert_eq!(history.applied(&record("b"), None).expect("written"), 2);
        assert_eq!(history.applied(&record("c"), Some(1_782_864_300)).expect("written"), 3);
        let mut again = History::read(&dir);
        assert_eq!((again.current(), again.start(), again.previous()), (3, 1, Some(2)));
        let waits = Unconfirmed { number: 3, previous: 2, until_unix_s: 1_782_864_300 };
        assert_eq!(again.unconfirmed(), Some(waits));
        assert_eq!(again.profile(2).expect("kept").as_str(), "b");
        assert!(!again.started(&record("a")).expect("the same file"), "what was applied stays in force");
        assert_eq!(again.current(), 3);
        again.back_to(2).expect("written");
        assert_eq!((History::read(&dir).current(), History::read(&dir).unconfirmed()), (2, None));
        // The operator has edited the file: it wins.
        assert!(again.started(&record("d")).expect("written"));
        assert_eq!((again.current(), again.start()), (4, 4));
        let mode = |p: PathBuf| std::fs::metadata(p).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(dir.join("profiles")), mode(dir.join("profiles/000002.yaml"))), (0o700, 0o600));
        assert_eq!(mode(dir.join("profiles/index.json")), 0o600);
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn a_profile_that_the_index_does_not_name_is_removed() {
        let dir = dir("unnamed");
        let mut history = History::read(&dir);
        history.started(&record("a")).expect("written");
        // A directory in the way of the new index.
        std::fs::create_dir(dir.join("profiles/index.json.new")).expect("made");
        assert!(history.applied(&record("b"), None).is_err());
        assert_eq!((history.entries().count(), history.is_recorded()), (1, false));
        assert!(!dir.join("profiles/000002.yaml").exists());
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn the_profile_before_is_the_one_that_was_in_force() {
        let dir = dir("before");
        let mut history = History::read(&dir);
        history.started(&record("a")).expect("written");
        history.applied(&record("b"), None).expect("written");
        history.applied(&record("c"), None).expect("written");
        history.back_to(1).expect("written");
        history.applied(&record("d"), None).expect("written");
        // Not c, whose number is the next below.
        assert_eq!((history.current(), history.previous()), (4, Some(1)));
        assert_eq!(History::read(&dir).previous(), Some(1));
        // An index of an earlier release does not say it.
        let index = std::fs::read_to_string(dir.join("profiles/index.json")).expect("there");
        let old: String = index.lines().filter(|line| !line.contains("\"before\"")).collect();
        std::fs::write(dir.join("profiles/index.json"), old).expect("written");
        assert_eq!(History::read(&dir).previous(), Some(3));
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn a_profile_that_could_not_be_written_is_not_taken_for_another() {
        let dir = dir("full");
        let mut history = History::read(&dir);
        history.started(&record("a")).expect("written");
        history.applied(&record("b"), None).expect("written");
        // Neither profiles nor the index can be written, as on a full disk.
        let (there, away) = (dir.join("profiles"), dir.join("away"));
        std::fs::rename(&there, &away).expect("renamed");
        std::fs::write(&there, "").expect("written");
        assert!(history.applied(&record("c"), None).is_err());
        assert_eq!((history.is_recorded(), history.previous()), (false, Some(2)));
        assert!(history.saved().is_err());
        std::fs::remove_file(&there).expect("removed");
        std::fs::rename(&away, &there).expect("renamed");
        assert_eq!(history.applied(&record("c"), None).expect("written"), 3);
        assert_eq!((history.is_recorded(), history.previous()), (true, Some(2)));
        history.saved().expect("written");
        std::fs::remove_dir_all(dir).expect("removed");
    }

    /// Half of a profile would hold secrets, and take room.
    #[test]
    fn nothing_of_a_failed_write_stays() {
        let dir = dir("failed");
        std::fs::create_dir(dir.join("x.yaml")).expect("made");
        assert!(replace(&dir.join("x.yaml"), b"psk", MODE).is_err());
        assert_eq!(std::fs::read_dir(&dir).expect("there").count(), 1);
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn the_oldest_go_and_what_is_needed_stays() {
        let dir = dir("bounds");
        let mut history = History::read(&dir);
        history.started(&record("start")).expect("written");
        for n in 0..100 {
            history.applied(&record(&format!("{n}")), None).expect("written");
        }
        assert_eq!(history.entries().count(), ENTRIES_MAX);
        assert!(history.entry(1).is_some() && history.entry(2).is_none());
        assert_eq!(std::fs::read_dir(dir.join("profiles")).expect("there").count(), ENTRIES_MAX + 1);
        assert!(history.profile(2).is_err());
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn a_damaged_index_loses_no_profile() {
        let dir = dir("damaged");
        let mut history = History::read(&dir);
        history.started(&record("a")).expect("written");
        history.applied(&record("b"), None).expect("written");
        std::fs::write(dir.join("profiles/index.json"), b"{").expect("written");
        let mut again = History::read(&dir);
        assert_eq!(again.entries().count(), 0);
        assert_eq!(again.applied(&record("c"), None).expect("written"), 3);
        assert_eq!(std::fs::read_to_string(dir.join("profiles/000002.yaml")).expect("kept"), "b");
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
