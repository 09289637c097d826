//! A program whose output is a secret: bounded in time and size. Its output appears in no message; the first line of its
//! complaints does.

use crate::pki::files::reason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use sipsec_profile::diagnose::shown_raw;
use sipsec_profile::model::SecretError;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A program that has not ended by then is killed, with all that it has started.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Bytes of complaints that are kept.
const STDERR_MAX: usize = 1024;

/// What a program writes to its standard output, at most `max` bytes.
///
/// # Errors
/// If it cannot be run, fails, takes too long or writes too much.
pub fn output(words: &[String], max: u64) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    run(words, max, TIME_MAX)
}

fn run(words: &[String], max: u64, time: Duration) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let Some((program, arguments)) = words.split_first() else { return Err(SecretError::Empty) };
    let fail = |reason: String| SecretError::Command { program: PathBuf::from(program), reason };
    let system = |error: std::io::Error| fail(format!("it cannot be run: {}", reason(&error)));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // All that it starts is killed with it.
        .process_group(0)
        .spawn()
        .map_err(system)?;
    let mut pipes = Pipes {
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
        secret: Zeroizing::new(Vec::new()),
        complaints: Vec::new(),
        max: usize::try_from(max).unwrap_or(usize::MAX),
    };
    let ended = watch(&mut child, &mut pipes, time);
    if ended.is_err() || pipes.secret.len() > pipes.max {
        kill(&child);
    }
    let status = child.wait().map_err(system)?;
    match ended {
        Err(Ended::Late) => return Err(fail(format!("it had not ended after {} s", time.as_secs()))),
        Err(Ended::System(error)) => return Err(system(error.into())),
        Ok(()) => {}
    }
    if pipes.secret.len() > pipes.max {
        return Err(fail(format!("it wrote more than {max} bytes")));
    }
    if !status.success() {
        let text = String::from_utf8_lossy(&pipes.complaints);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).map(shown_raw);
        let said = line.map_or_else(String::new, |line| format!(": {line}"));
        return Err(fail(format!("it ended with {status}{said}")));
    }
    Ok(pipes.secret)
}

enum Ended {
    Late,
    System(rustix::io::Errno),
}

struct Pipes {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    secret: Zeroizing<Vec<u8>>,
    complaints: Vec<u8>,
    max: usize,
}

impl Pipes {
    /// Reads what is there; a pipe that has ended is closed.
    fn read(&mut self) {
        let mut buffer = Zeroizing::new([0_u8; 512]);
        if let Some(pipe) = &mut self.stdout {
            match pipe.read(buffer.as_mut_slice()) {
                Ok(n) if n > 0 => self.secret.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => self.stdout = None,
            }
        }
        if let Some(pipe) = &mut self.stderr {
            match pipe.read(buffer.as_mut_slice()) {
                Ok(n) if n > 0 => {
                    let room = STDERR_MAX.saturating_sub(self.complaints.len());
                    self.complaints.extend_from_slice(&buffer[..n.min(room)]);
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                _ => self.stderr = None,
            }
        }
    }
}

/// Until the program has ended and all that it wrote is read. What it has started may live on and hold the pipes.
fn watch(child: &mut Child, pipes: &mut Pipes, time: Duration) -> Result<(), Ended> {
    let until = Instant::now() + time;
    let pid = Pid::from_child(child);
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(Ended::System)?;
    for fd in
        [pipes.stdout.as_ref().map(AsFd::as_fd), pipes.stderr.as_ref().map(AsFd::as_fd)].into_iter().flatten()
    {
        rustix::io::ioctl_fionbio(fd, true).map_err(Ended::System)?;
    }
    loop {
        let left = until.checked_duration_since(Instant::now()).ok_or(Ended::Late)?;
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        fds.extend(pipes.stdout.iter().map(|p| PollFd::new(p, PollFlags::IN)));
        fds.extend(pipes.stderr.iter().map(|p| PollFd::new(p, PollFlags::IN)));
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Err(Ended::Late),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Ended::System(error)),
        }
        let ended = !fds[0].revents().is_empty();
        let readable = fds[1..].iter().any(|fd| !fd.revents().is_empty());
        drop(fds);
        if readable {
            pipes.read();
        }
        if pipes.secret.len() > pipes.max || (ended && !readable) {
            return Ok(());
        }
    }
}

fn kill(child: &Child) {
    // It may have ended meanwhile.
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    fn shell(script: &str) -> Result<Vec<u8>, String> {
        let out = run(&words(&["/bin/sh", "-c", script]), 64, Duration::from_secs(60));
        out.map(|out| out.to_vec()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_a_program_writes_is_the_secret() {
        assert_eq!(shell("printf 'a b\\n'"), Ok(b"a b\n".to_vec()));
        assert_eq!(shell("echo noise >&2; echo key"), Ok(b"key\n".to_vec()));
        // No shell: the argument stays one argument.
        let one = run(&words(&["/bin/echo", "$HOME; id"]), 64, TIME_MAX).expect("run");
        assert_eq!(one.as_slice(), b"$HOME; id\n");
        // A child in the background that holds the pipe is not waited for.
        assert_eq!(shell("sleep 60 & echo key"), Ok(b"key\n".to_vec()));
    }

    #[test]
    fn what_goes_wrong_is_told_without_the_output() {
        let failed = shell("echo hunter2; echo 'no such entry' >&2; exit 3").expect_err("failed");
        assert_eq!(failed, "/bin/sh: it ended with exit status: 3: no such entry");
        let much = shell("while :; do echo hunter2hunter2; done").expect_err("too much");
        assert_eq!(much, "/bin/sh: it wrote more than 64 bytes");
        let noise = shell("yes noise | head -c 100000 >&2; exit 1").expect_err("failed");
        assert_eq!(noise, "/bin/sh: it ended with exit status: 1: noise");
        let none = run(&words(&["/nowhere/program"]), 64, TIME_MAX).expect_err("none").to_string();
        assert_eq!(none, "/nowhere/program: it cannot be run: there is no such file");
        let late =
            run(&words(&["/bin/sh", "-c", "echo hunter2; exec sleep 600"]), 64, Duration::from_millis(50));
        assert_eq!(late.expect_err("late").to_string(), "/bin/sh: it had not ended after 0 s");
    }
}
