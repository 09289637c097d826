//! Programs that the lab started, and their logs.

use super::error::LabError;
use super::interrupt::wait_for;
use super::netns::Namespace;
use super::sys;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long a program may take to end after SIGTERM.
const TERMINATE_LIMIT: Duration = Duration::from_secs(5);
/// Lines of a log that an error shows.
const LOG_TAIL: usize = 30;

/// A running program. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program in a namespace; both its outputs go to `log`.
    pub fn start(
        name: &str,
        namespace: &Namespace,
        program: &Path,
        args: &[&OsStr],
        log: PathBuf,
    ) -> Result<Self, LabError> {
        let mut command = namespace.command(program);
        command.args(args);
        Self::spawn(name, command, log)
    }

    /// The same for a command that is more than a program and its arguments.
    pub fn spawn(name: &str, mut command: Command, log: PathBuf) -> Result<Self, LabError> {
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(LabError::io(log.display().to_string()))?;
        let err = out.try_clone().map_err(LabError::io(log.display().to_string()))?;
        // Its own process group: Ctrl-C is the lab's to hear, which then ends its programs in order.
        // A lab that runs as a service must not hand its own journal down.
        command.stdout(out).stderr(err).process_group(0).env_remove("JOURNAL_STREAM");
        sys::die_with_parent(&mut command);
        let child = command.spawn().map_err(LabError::io(name))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in bytes; 0 if it has ended.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let kib = text.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        });
        kib.unwrap_or(0) << 10
    }

    /// Its standard input, if the command has a pipe there. Can be taken once.
    pub const fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An error once it has ended.
    pub fn check(&mut self) -> Result<(), LabError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                Err(LabError::Died { process: self.name.clone(), status, log: log_tail(&self.log) })
            }
            Err(source) => Err(LabError::Io { what: self.name.clone(), source }),
        }
    }

    /// SIGTERM, and SIGKILL if that does not help in time.
    pub fn terminate(&mut self) -> Option<ExitStatus> {
        self.end(TERMINATE_LIMIT)
    }

    /// SIGTERM, and no more: it may take its time.
    pub fn ask_to_end(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// SIGHUP: keys and certificates are read anew.
    pub fn reload(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// SIGSTOP: it stands still until [`Self::resume`].
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        // Not reaped yet, so the pid is still this child's.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// SIGKILL, as after a crash.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        self.end(Duration::ZERO)
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, LabError> {
        let child = &mut self.child;
        wait_for(&format!("the end of {}", self.name), limit, || {
            child.try_wait().map_err(LabError::io("wait"))
        })
    }

    fn end(&mut self, limit: Duration) -> Option<ExitStatus> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Some(status);
        }
        if !limit.is_zero() {
            self.ask_to_end();
            let end = Instant::now() + limit;
            while Instant::now() < end {
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Some(status);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.terminate();
    }
}

/// The end of a log, for people.
#[must_use]
pub fn log_tail(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}

/// Reads the lines that come to a log.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    at: u64,
    partial: Vec<u8>,
}

impl LogReader {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), at: 0, partial: Vec::new() }
    }

    /// Whole lines since the last call; none while there is no file.
    pub fn lines(&mut self) -> Vec<String> {
        let mut fresh = Vec::new();
        if let Ok(mut file) = File::open(&self.path)
            && file.seek(SeekFrom::Start(self.at)).is_ok()
            && let Ok(n) = file.read_to_end(&mut fresh)
        {
            self.at += n as u64;
        }
        self.partial.extend(fresh);
        let mut out = Vec::new();
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            out.push(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        out
    }
}
