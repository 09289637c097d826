//! Kamailio as the carrier.

use super::Scratch;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use crate::lab::world::{DOMAIN, Exchange, SUBSCRIBERS};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(10);

/// The transport of SIP.
#[derive(Clone, Debug)]
pub enum Speaks {
    Udp,
    Tcp,
    /// With the files of its certificate and key, and of the authority that issues the gateways' certificates.
    Tls {
        certificate: String,
        key: String,
        ca: String,
    },
}

impl Speaks {
    const fn word(&self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls { .. } => "tls",
        }
    }
}

/// Requests inside one call that Kamailio has passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub acks: usize,
    pub byes: usize,
}

#[derive(Debug)]
pub struct Kamailio {
    process: Process,
    args: Vec<OsString>,
    control: PathBuf,
    address: SocketAddr,
    // Last: the program writes into it until it has ended.
    scratch: Scratch,
}

impl Kamailio {
    /// `config` is the configuration file without the subscribers; `at` the address, of either IP version.
    pub fn start(
        namespace: &Namespace,
        config: &Path,
        tag: &str,
        speaks: &Speaks,
        at: SocketAddr,
    ) -> Result<Self, LabError> {
        let scratch = Scratch::new(&format!("{tag}-kamailio"))?;
        let control = scratch.path().join("ctl");
        let listen = format!("{}:{at}", speaks.word());
        let defined = |name: &str, value: &str| OsString::from(format!("{name}={value}"));
        let dir = scratch.path().as_os_str().to_owned();
        let mut args: Vec<OsString> = ["-DD", "-E", "-m", "64", "-M", "8", "-l"].map(OsString::from).to_vec();
        args.extend([listen.into(), "-f".into(), config.into()]);
        args.extend(["-w".into(), dir.clone(), "-Y".into(), dir]);
        args.extend(["-P".into(), scratch.path().join("pid").into()]);
        args.extend(["-A".into(), defined("CONTROL", &format!("\"unix:{}\"", control.display()))]);
        args.extend(["-A".into(), defined("DOMAIN", &format!("\"{DOMAIN}\""))]);
        if !matches!(speaks, Speaks::Udp) {
            args.extend(["-A".into(), "STREAM".into()]);
            args.extend(["-A".into(), defined("ADDRESS", &at.ip().to_string())]);
        }
        if at.is_ipv6() {
            args.extend(["-A".into(), "IPV6".into()]);
        }
        if let Speaks::Tls { certificate, key, ca } = speaks {
            // RFC 3261 §26.3.1: both sides prove themselves; a gateway without a certificate gets no connection.
            let domain = |role: &str| {
                format!(
                    "[{role}:default]\nmethod = TLSv1.2+\nverify_certificate = yes\nrequire_certificate = yes\n\
                     certificate = {certificate}\nprivate_key = {key}\nca_list = {ca}\n"
                )
            };
            let file = scratch.write("tls.cfg", &(domain("server") + &domain("client")))?;
            args.extend(["-A".into(), defined("TLS_DOMAINS", &format!("\"{}\"", file.display()))]);
        }
        let process = launch(namespace, &args, &control, scratch.path())?;
        Ok(Self { process, args, control, address: at, scratch })
    }

    /// Ends it and starts it again: its connections and registrations are gone.
    pub fn restart(&mut self, namespace: &Namespace) -> Result<(), LabError> {
        self.process.terminate();
        let _ = std::fs::remove_file(&self.control);
        self.process = launch(namespace, &self.args, &self.control, self.scratch.path())?;
        Ok(())
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kamcmd …`
    pub fn command(&self, words: &[&str]) -> Result<String, LabError> {
        command(&self.control, words)
    }

    #[must_use]
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// By Call-ID, since the first start.
    #[must_use]
    pub fn passed(&self) -> BTreeMap<String, Passed> {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let mut out = BTreeMap::<_, Passed>::new();
        for line in log.lines().filter_map(|line| line.split_once("CALL ").map(|(_, rest)| rest)) {
            match line.split_once(' ') {
                Some(("ACK", call)) => out.entry(call.to_owned()).or_default().acks += 1,
                Some(("BYE", call)) => out.entry(call.to_owned()).or_default().byes += 1,
                _ => {}
            }
        }
        out
    }
}

fn launch(namespace: &Namespace, args: &[OsString], control: &Path, dir: &Path) -> Result<Process, LabError> {
    let args: Vec<_> = args.iter().map(OsStr::new).collect();
    let mut process = Process::start("kamailio", namespace, Path::new("kamailio"), &args, dir.join("log"))?;
    wait_for("kamailio's control socket", READY_LIMIT, || {
        process.check()?;
        Ok(control.exists().then_some(()))
    })?;
    for (number, password) in SUBSCRIBERS {
        // Digits alone would be taken for a number, and lose their zeros.
        let (number, password) = (format!("s:{number}"), format!("s:{password}"));
        command(control, &["htable.sets", "users", &number, &password])?;
    }
    Ok(process)
}

fn command(control: &Path, words: &[&str]) -> Result<String, LabError> {
    let socket = format!("unix:{}", control.display());
    run(Command::new("kamcmd").args(["-s", &socket]).args(words))
}

impl Exchange for Kamailio {
    fn registered(&self) -> Vec<String> {
        let dump = self.command(&["ul.dump"]).unwrap_or_default();
        dump.lines().filter_map(|l| Some(l.trim().strip_prefix("AoR: ")?.to_owned())).collect()
    }

    fn check(&mut self) -> Result<(), LabError> {
        self.process.check()
    }
}
