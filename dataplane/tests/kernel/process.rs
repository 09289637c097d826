//! A dataplane process in a gateway's namespace.

use crate::support::PATIENCE_S;
use crate::topology::{Side, Topology};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub struct Dataplane {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
    pub socket: PathBuf,
}

impl Dataplane {
    /// Starts and waits until it serves.
    pub fn start(topology: &Topology, side: Side, section: &str) -> Self {
        let mut dataplane = Self::spawn(topology, side, section);
        dataplane.await_log("ready");
        dataplane
    }

    pub fn spawn(topology: &Topology, side: Side, section: &str) -> Self {
        Self::spawn_as(topology, side, side.name(), section)
    }

    /// What `--remove-devices` (with `more`) says of the profile of `name`, and its exit code.
    pub fn remove_devices(
        topology: &Topology,
        side: Side,
        name: &str,
        more: &[&str],
    ) -> (String, Option<i32>) {
        let out = Command::new("ip")
            .args(["netns", "exec", &topology.gateway(side), env!("CARGO_BIN_EXE_sipsec-dataplane")])
            .arg("--profile")
            .arg(topology.dir.join(format!("{name}.yaml")))
            .arg("--remove-devices")
            .args(more)
            .output()
            .expect("ip netns exec");
        (String::from_utf8_lossy(&out.stderr).into_owned(), out.status.code())
    }

    /// A gateway called `name` on the host of `side`.
    pub fn spawn_as(topology: &Topology, side: Side, name: &str, section: &str) -> Self {
        let runtime_dir = topology.dir.join(name);
        let profile = topology.dir.join(format!("{name}.yaml"));
        let text = format!(
            "version: 1\ngateway: {name}\nruntime_dir: {}\ndataplane: {section}\n",
            runtime_dir.display()
        );
        std::fs::write(&profile, text).expect("profile");
        let mut child = Command::new("ip")
            .args(["netns", "exec", &topology.gateway(side), env!("CARGO_BIN_EXE_sipsec-dataplane")])
            .arg("--profile")
            .arg(&profile)
            .args(["--log", "debug"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip netns exec");
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, log, seen: Vec::new(), socket: runtime_dir.join("dataplane.sock") }
    }

    /// The first line that holds `text`, from those that were not looked at yet.
    pub fn await_log(&mut self, text: &str) -> String {
        loop {
            match self.log.recv_timeout(Duration::from_secs(PATIENCE_S as u64)) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => self.seen.push(line),
                Err(e) => panic!("no {text:?} in the log ({e}):\n{}", self.seen.join("\n")),
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("alive");
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child")
    }

    pub fn kill(mut self) {
        self.signal(rustix::process::Signal::KILL);
        self.wait();
    }

    pub fn terminate(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        // Only if a test ended early; after `wait` there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
