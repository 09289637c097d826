//! What passed on a line, judged by tshark with the gateway's key log.

use crate::lab::error::LabError;
use crate::lab::interrupt::wait_for;
use crate::lab::netns::{Namespace, run};
use crate::lab::process::Process;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Program and package.
pub const TOOLS: [(&str, &str); 2] = [("tcpdump", "tcpdump"), ("tshark", "tshark")];
const READY_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Capture {
    process: Process,
    file: PathBuf,
}

/// Packets of a capture by what tshark makes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub esp: usize,
    /// Decrypted, and the ICV is what it should be.
    pub icv_good: usize,
    pub icv_bad: usize,
    pub ike: usize,
    pub ike_decrypted: usize,
}

impl Capture {
    /// Everything over UDP at a device, into `dir`.
    pub fn start(namespace: &Namespace, device: &str, dir: &Path) -> Result<Self, LabError> {
        let file = dir.join("capture.pcap");
        let log = dir.join("tcpdump.log");
        let words = ["-U", "-n", "-Z", "root", "-i", device, "-w"].map(OsStr::new);
        let args = [&words[..], &[file.as_os_str(), OsStr::new("udp")]].concat();
        let mut process = Process::start("tcpdump", namespace, Path::new("tcpdump"), &args, log.clone())?;
        wait_for("the start of tcpdump", READY_LIMIT, || {
            process.check()?;
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            Ok(log.contains("listening on").then_some(()))
        })?;
        Ok(Self { process, file })
    }

    /// Ends it; `tables` is the key log's directory, `ports` those of IKE and ESP.
    pub fn judge(mut self, tables: &Path, ports: &[u16]) -> Result<Verdict, LabError> {
        self.process.terminate();
        let mut command = Command::new("tshark");
        command.env("WIRESHARK_CONFIG_DIR", tables).arg("-n").arg("-r").arg(&self.file);
        for port in ports {
            command.args(["-d", &format!("udp.port=={port},udpencap")]);
        }
        command.args([
            "-o",
            "esp.enable_encryption_decode:TRUE",
            "-o",
            "esp.enable_authentication_check:TRUE",
        ]);
        command.args(["-Y", "esp || isakmp", "-T", "fields", "-E", "separator=;"]);
        for field in ["esp.spi", "esp.icv_good", "esp.icv_bad", "isakmp.ispi", "isakmp.enc.decrypted"] {
            command.args(["-e", field]);
        }
        let mut verdict = Verdict::default();
        for line in run(&mut command)?.lines() {
            // A flag is 0 or 1, or False or True; anything else is there or not.
            let mut fields = line.split(';').map(|f| !matches!(f, "" | "0" | "False"));
            let mut field = || fields.next().unwrap_or(false);
            verdict.esp += usize::from(field());
            verdict.icv_good += usize::from(field());
            verdict.icv_bad += usize::from(field());
            verdict.ike += usize::from(field());
            verdict.ike_decrypted += usize::from(field());
        }
        Ok(verdict)
    }
}
