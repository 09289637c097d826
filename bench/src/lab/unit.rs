//! The systemd units of `deploy/systemd`, as far as systemd's restart rules go (systemd.unit(5), systemd.service(5)).

use super::error::LabError;
use super::gateway::Programs;
use std::path::{Path, PathBuf};

/// `DefaultStartLimitBurst` and `DefaultStartLimitIntervalSec` of systemd-system.conf(5).
const BURST: u32 = 5;
const INTERVAL_S: u64 = 10;

#[derive(Clone, Debug)]
pub struct Unit {
    text: String,
}

impl Unit {
    pub fn read(path: &Path) -> Result<Self, LabError> {
        let text = std::fs::read_to_string(path).map_err(LabError::io(path.display().to_string()))?;
        Ok(Self { text })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The last value of a key, as systemd takes it.
    #[must_use]
    pub fn value(&self, section: &str, key: &str) -> Option<&str> {
        let header = format!("[{section}]");
        let mut inside = false;
        let mut found = None;
        for line in self.text.lines().map(str::trim) {
            if line.starts_with('[') {
                inside = line == header;
            } else if let Some((name, value)) = line.split_once('=')
                && inside
                && name.trim_end() == key
            {
                found = Some(value.trim());
            }
        }
        found
    }

    /// A time of one number: `60s`, `200ms` (which is 0), `5min`, `10`.
    #[must_use]
    pub fn seconds(&self, section: &str, key: &str) -> Option<u64> {
        let text = self.value(section, key)?;
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let number: u64 = digits.parse().ok()?;
        match unit {
            "" | "s" => Some(number),
            "ms" => Some(number / 1000),
            "min" => Some(number * 60),
            "infinity" => Some(u64::MAX),
            _ => None,
        }
    }

    #[must_use]
    pub fn restarts_always(&self) -> bool {
        self.value("Service", "Restart") == Some("always")
    }

    /// Whether systemd leaves the service stopped after so many failures in a row, each at once.
    #[must_use]
    pub fn gives_up_after(&self, failures: u32) -> bool {
        let interval = self.seconds("Unit", "StartLimitIntervalSec").unwrap_or(INTERVAL_S);
        let burst = self.value("Unit", "StartLimitBurst").and_then(|text| text.parse().ok()).unwrap_or(BURST);
        !self.restarts_always() || (interval > 0 && failures >= burst)
    }

    /// Writes it as an instance of the template, with the programs where they are here.
    pub fn installed_as(&self, dir: &Path, name: &str, programs: &Programs) -> Result<PathBuf, LabError> {
        let mut text = self.text.clone();
        for (installed, program) in [
            ("/usr/sbin/sipsec-dataplane", &programs.dataplane),
            ("/usr/sbin/sipsec-controlplane", &programs.controlplane),
            ("/usr/bin/sipsec", &programs.cli),
        ] {
            let absolute = std::path::absolute(program).map_err(LabError::io(installed))?;
            text = text.replace(&format!("{installed} "), &format!("{} ", absolute.display()));
        }
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(LabError::io(name))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> Unit {
        Unit { text: text.to_owned() }
    }

    #[test]
    fn the_default_limit_gives_up_after_five_failures() {
        let limited = unit("[Unit]\n[Service]\nRestart=always\nRestartSec=200ms\n");
        assert!(!limited.gives_up_after(4) && limited.gives_up_after(5));
        let unlimited = unit("[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\n");
        assert!(!unlimited.gives_up_after(1000));
        // In the wrong section it is ignored.
        let misplaced = unit("[Unit]\n[Service]\nStartLimitIntervalSec=0\nRestart=always\n");
        assert!(misplaced.gives_up_after(5));
        assert!(unit("[Service]\nRestart=on-failure\n").gives_up_after(1));
        let times = unit("[Service]\nA=60s\nB=200ms\nC=2min\nD=7\n");
        let read = |key| times.seconds("Service", key);
        assert_eq!([read("A"), read("B"), read("C"), read("D")], [Some(60), Some(0), Some(120), Some(7)]);
    }
}
