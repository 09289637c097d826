//! The history's file: one line of JSON for each call, in the words of the API. A thread of its own writes, because a disk may
//! take its time; what it cannot write is counted and told, and costs nothing else.

use crate::api::model::Call;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

const NAME: &str = "history.jsonl";
/// The file before, when the current one has [`LINES_MAX`] lines.
const OLD_NAME: &str = "history.1.jsonl";
/// Numbers of telephones and times of calls: only the owner reads them.
const MODE: u32 = 0o600;
/// Lines of one file. With the file before it, at least [`super::CALLS_MAX`] calls are on disk.
const LINES_MAX: usize = super::CALLS_MAX;
/// A longer line is none of ours.
const LINE_MAX: usize = 16 * 1024;
/// Lines that wait for the disk.
const QUEUE: usize = 4096;
/// How long the disk may take at the end.
const FLUSH_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
#[error("the call history {} cannot be kept: {error}", path.display())]
pub struct HistoryError {
    path: PathBuf,
    error: std::io::Error,
}

#[derive(Debug)]
pub struct HistoryFile {
    /// `None` while it ends.
    lines: Option<SyncSender<String>>,
    /// Disconnected when everything is written.
    done: Receiver<()>,
    /// Calls for which the queue had no room.
    lost: u64,
}

impl HistoryFile {
    /// Opens the history of a state directory, and gives the calls that it has, the oldest first.
    ///
    /// # Errors
    /// If the file cannot be made or read.
    pub fn open(directory: &Path) -> Result<(Self, Vec<Call>), HistoryError> {
        let path = directory.join(NAME);
        let fail = |error| HistoryError { path: path.clone(), error };
        let (mut calls, mut unreadable) = (VecDeque::new(), 0);
        read(&directory.join(OLD_NAME), &mut calls, &mut unreadable).map_err(fail)?;
        let in_file = read(&path, &mut calls, &mut unreadable).map_err(fail)?;
        if unreadable > 0 {
            tracing::warn!(path = %path.display(), lines = unreadable, "lines of the call history are damaged");
        }
        let file = append_to(&path).map_err(fail)?;
        let (lines, waiting) = sync_channel(QUEUE);
        let (ending, done) = sync_channel(1);
        let mut writer = Writer { directory: directory.to_owned(), file: Some(file), lines: in_file };
        std::thread::Builder::new()
            .name("history".into())
            .spawn(move || {
                writer.serve(&waiting);
                drop(ending);
            })
            .map_err(|error| HistoryError { path: path.clone(), error })?;
        Ok((Self { lines: Some(lines), done, lost: 0 }, calls.into()))
    }

    pub fn append(&mut self, call: &Call) {
        // Strings and numbers: nothing that can fail.
        let Ok(mut line) = serde_json::to_string(call) else { return };
        line.push('\n');
        if self.lines.as_ref().is_none_or(|lines| lines.try_send(line).is_err()) {
            self.lost += 1;
            if self.lost.is_power_of_two() {
                tracing::warn!(lost = self.lost, "the call history is not written: the disk is too slow");
            }
        }
    }
}

impl Drop for HistoryFile {
    /// Waits until the disk has everything, for a limited time.
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.done.recv_timeout(FLUSH_MAX);
    }
}

struct Writer {
    directory: PathBuf,
    /// `None` if it could not be opened again.
    file: Option<File>,
    /// In the file.
    lines: usize,
}

impl Writer {
    fn serve(&mut self, waiting: &Receiver<String>) {
        let mut failed = 0u64;
        while let Ok(first) = waiting.recv() {
            let (mut text, mut lines) = (first, 1);
            while lines < 256 {
                match waiting.try_recv() {
                    Ok(line) => text.push_str(&line),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
                lines += 1;
            }
            if let Err(error) = self.write(&text, lines) {
                self.file = None; // half a line may be there: the next one begins on a line of its own
                failed += 1;
                if failed.is_power_of_two() {
                    let path = self.directory.join(NAME);
                    tracing::warn!(path = %path.display(), %error, failed, "calls are missing in the call history");
                }
            }
        }
    }

    fn write(&mut self, text: &str, lines: usize) -> std::io::Result<()> {
        let path = self.directory.join(NAME);
        if self.lines >= LINES_MAX {
            self.file = None;
            std::fs::rename(&path, self.directory.join(OLD_NAME))?;
            self.lines = 0;
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(append_to(&path)?),
        };
        file.write_all(text.as_bytes())?;
        self.lines += lines;
        Ok(())
    }
}

/// The file, made if it is not there. Half a line, which a crash may have left, is ended.
fn append_to(path: &Path) -> std::io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(MODE).open(path)?;
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Adds the latest calls of a file; how many lines it has.
fn read(path: &Path, calls: &mut VecDeque<Call>, unreadable: &mut u64) -> std::io::Result<usize> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    // The largest file that this module writes.
    let mut reader = BufReader::new(file.take((LINES_MAX * LINE_MAX) as u64));
    let (mut lines, mut line) = (0, Vec::new());
    loop {
        line.clear();
        if (&mut reader).take(LINE_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(lines);
        }
        lines += 1;
        match serde_json::from_slice::<Call>(&line) {
            Ok(call) => {
                if calls.len() >= super::CALLS_MAX {
                    calls.pop_front();
                }
                calls.push_back(call);
            }
            // An empty line ends half a line.
            Err(_) if line.iter().all(u8::is_ascii_whitespace) => {}
            Err(_) => *unreadable += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn call(n: u64) -> Call {
        Call { call_id: Some(format!("{n}@host")), ended_us: n, ..Call::default() }
    }

    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("sipsec-history-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("made");
        dir
    }

    #[test]
    fn calls_outlive_the_process_and_a_torn_line_costs_no_other() {
        let dir = directory("restart");
        let (mut file, found) = HistoryFile::open(&dir).expect("opened");
        assert!(found.is_empty());
        (0..3).for_each(|n| file.append(&call(n)));
        drop(file);
        let path = dir.join(NAME);
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o7777, 0o600);
        // A power cut in the middle of a line, and bytes that are no text.
        let mut raw = OpenOptions::new().append(true).open(&path).expect("opened");
        raw.write_all(b"\xff\xfe {\n{\"interface\":\"Tun").expect("written");
        drop(raw);
        let (mut file, found) = HistoryFile::open(&dir).expect("opened");
        assert_eq!(found, (0..3).map(call).collect::<Vec<_>>());
        file.append(&call(3));
        drop(file);
        let (file, found) = HistoryFile::open(&dir).expect("opened");
        assert_eq!(found, (0..4).map(call).collect::<Vec<_>>());
        drop(file);
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn the_disk_has_the_latest_calls_and_a_bound() {
        let dir = directory("bound");
        // As a long life leaves it.
        let many: String =
            (0..LINES_MAX as u64).map(|n| serde_json::to_string(&call(n)).expect("written") + "\n").collect();
        std::fs::write(dir.join(NAME), many).expect("written");
        let (mut file, found) = HistoryFile::open(&dir).expect("opened");
        assert_eq!(found.len(), super::super::CALLS_MAX);
        let next = LINES_MAX as u64;
        (next..next + 5).for_each(|n| file.append(&call(n)));
        drop(file);
        let lines = |name| std::fs::read_to_string(dir.join(name)).expect("there").lines().count();
        assert_eq!((lines(OLD_NAME), lines(NAME)), (LINES_MAX, 5));
        let (file, found) = HistoryFile::open(&dir).expect("opened");
        assert_eq!((found.len(), found.last()), (super::super::CALLS_MAX, Some(&call(next + 4))));
        drop(file);
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn calls_of_another_release_are_read_as_far_as_they_are_known() {
        let dir = directory("release");
        let lines = "{\"interface\":\"T1\",\"later\":{\"x\":1}}\n{\"interface\":7}\n";
        std::fs::write(dir.join(NAME), lines).expect("written");
        let (file, found) = HistoryFile::open(&dir).expect("opened");
        assert_eq!(found, [Call { interface: "T1".into(), ..Call::default() }]);
        drop(file);
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
