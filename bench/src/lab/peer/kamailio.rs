//! Kamailio as the carrier.

use super::Scratch;
use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use crate::lab::world::{DOMAIN, Exchange, SUBSCRIBERS, carrier_address};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const READY_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Kamailio {
    process: Process,
    control: PathBuf,
    // Last: the program writes into it until it has ended.
    _scratch: Scratch,
}

impl Kamailio {
    /// `config` is the configuration file without the subscribers.
    pub fn start(namespace: &Namespace, config: &Path, tag: &str) -> Result<Self, LabError> {
        let scratch = Scratch::new(&format!("{tag}-kamailio"))?;
        let control = scratch.path().join("ctl");
        let listen = format!("udp:{}", carrier_address());
        let defined = |name: &str, value: &str| OsString::from(format!("{name}={value}"));
        let dir = scratch.path().as_os_str().to_owned();
        let mut args: Vec<OsString> = ["-DD", "-E", "-m", "64", "-M", "8", "-l"].map(OsString::from).to_vec();
        args.extend([listen.into(), "-f".into(), config.into()]);
        args.extend(["-w".into(), dir.clone(), "-Y".into(), dir]);
        args.extend(["-P".into(), scratch.path().join("pid").into()]);
        args.extend(["-A".into(), defined("CONTROL", &format!("\"unix:{}\"", control.display()))]);
        args.extend(["-A".into(), defined("DOMAIN", &format!("\"{DOMAIN}\""))]);
        let args: Vec<_> = args.iter().map(OsString::as_os_str).collect();
        let log = scratch.path().join("log");
        let mut process = Process::start("kamailio", namespace, Path::new("kamailio"), &args, log)?;
        wait_for("kamailio's control socket", READY_LIMIT, || {
            process.check()?;
            Ok(control.exists().then_some(()))
        })?;
        let kamailio = Self { process, control, _scratch: scratch };
        for (number, password) in SUBSCRIBERS {
            // Digits alone would be taken for a number, and lose their zeros.
            let (number, password) = (format!("s:{number}"), format!("s:{password}"));
            kamailio.command(&["htable.sets", "users", &number, &password])?;
        }
        Ok(kamailio)
    }

    /// `kamcmd …`
    pub fn command(&self, words: &[&str]) -> Result<String, LabError> {
        let socket = format!("unix:{}", self.control.display());
        run(Command::new("kamcmd").args(["-s", &socket]).args(words))
    }

    #[must_use]
    pub fn log(&self) -> &Path {
        self.process.log()
    }
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
