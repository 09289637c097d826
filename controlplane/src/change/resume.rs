//! What is in force at the start: the start file, or what was applied since it was last read.

use super::history::{History, Record, Unconfirmed};
use crate::clock;
use crate::config::{self, Profile};
use sipsec_profile::write::{self, Secrets};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

#[derive(Debug)]
pub struct Resumed {
    pub profile: Profile,
    pub history: History,
    /// A change that still waits to be confirmed: for how long, and what comes back.
    pub unconfirmed: Option<(Duration, Arc<Profile>)>,
    /// The start file as YAML.
    start: Zeroizing<String>,
    /// The profile is not that of the start file.
    is_applied: bool,
    /// An unconfirmed change is over, and this comes back.
    back_to: Option<u64>,
}

impl Resumed {
    /// Reads the history; nothing is written yet.
    #[must_use]
    pub fn new(start: Profile) -> Self {
        let history = History::read(&start.state_dir);
        let text = Zeroizing::new(write::yaml(&start, Secrets::Written).unwrap_or_default());
        let same = history.start() != 0
            && history.profile(history.start()).is_ok_and(|known| known.as_str() == text.as_str());
        let plain = |history, start_profile| Self {
            profile: start_profile,
            history,
            unconfirmed: None,
            start: text.clone(),
            is_applied: false,
            back_to: None,
        };
        if !same {
            return plain(history, start);
        }
        let waits = history.unconfirmed();
        let (left, back_to) = expiry(waits, clock::unix_time_s());
        let number = back_to.unwrap_or_else(|| history.current());
        let profile = match profile_of(&history, number, &start) {
            Ok(profile) => profile,
            Err(reason) => {
                tracing::error!(
                    number,
                    reason,
                    "the applied profile cannot be used; the start file is in force"
                );
                return plain(history, start);
            }
        };
        let before = waits.filter(|_| left.is_some()).map(|w| profile_of(&history, w.previous, &start));
        let unconfirmed = match (left, before) {
            (Some(left), Some(Ok(before))) => Some((left, Arc::new(before))),
            (Some(_), Some(Err(reason))) => {
                tracing::error!(reason, "an unconfirmed change cannot be taken back");
                None
            }
            _ => None,
        };
        let is_applied = number != history.start();
        Self { profile, history, unconfirmed, start: text, is_applied, back_to }
    }

    /// Notes the start in the history, and says what is in force.
    pub fn begin(&mut self) {
        let record = Record {
            unix_s: clock::unix_time_s(),
            author: "start",
            summary: "the start file",
            file: None,
            yaml: &self.start,
        };
        let noted = match self.back_to {
            Some(number) => self.history.back_to(number),
            None => self.history.started(&record).map(drop),
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "applied profiles will not survive a restart");
        }
        let number = self.history.current();
        if self.back_to.is_some() {
            tracing::warn!(
                number,
                "the last change was not confirmed in time: the profile before it is in force"
            );
        } else if self.is_applied {
            tracing::warn!(
                number,
                "an applied profile is in force, and not the start file: SIGHUP goes back to the file"
            );
        }
    }
}

/// How long a change still waits; or what comes back because it has waited long enough.
fn expiry(waits: Option<Unconfirmed>, now_unix_s: u64) -> (Option<Duration>, Option<u64>) {
    match waits {
        None => (None, None),
        Some(w) if w.until_unix_s <= now_unix_s => (None, Some(w.previous)),
        Some(w) => (Some(Duration::from_secs(w.until_unix_s - now_unix_s)), None),
    }
}

/// A profile of the history that this machine can obey.
fn profile_of(history: &History, number: u64, start: &Profile) -> Result<Profile, String> {
    if number == history.start() {
        return Ok(start.clone());
    }
    let text = history.profile(number).map_err(|e| e.to_string())?;
    let name = format!("profile {number} of the history");
    config::parse(&name, &text).map(|loaded| loaded.profile).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn profile(dir: &Path, idle_s: u32) -> Profile {
        let text = format!(
            "version: 1\ngateway: test\nstate_dir: {}\n\
             sip: {{ interface: wan0, registrar: 192.0.2.2, domain: carrier.example, lines: [{{ number: '0388881001' }}] }}\n\
             ike: {{ keyring: [{{ number: '0388882001', psk: '0x9d1f0a93b7c4e58261b7f9c03e6a2d84' }}] }}\n\
             tunnels: [{{ name: Tunnel1, local_number: '0388881001', remote_number: '0388882001', bandwidth_kbps: 512, idle_s: {idle_s} }}]\n\
             dataplane: {{ outside: {{ device: wan0 }}, inside: {{ mode: host, device: svti0 }} }}\n",
            dir.display()
        );
        config::parse("test.yaml", &text).expect("a profile").profile
    }

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("sipsec-resume-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("made");
        dir
    }

    fn idle(resumed: &Resumed) -> u64 {
        resumed.profile.tunnels[0].idle.as_secs()
    }

    fn apply(resumed: &mut Resumed, profile: &Profile, until: Option<u64>) {
        let yaml = write::yaml(profile, Secrets::Written).expect("written");
        let record = Record { unix_s: 1, author: "ada", summary: "idle", file: None, yaml: &yaml };
        resumed.history.applied(&record, until).expect("written");
    }

    #[test]
    fn an_applied_profile_survives_a_restart_until_the_file_changes() {
        let dir = dir("file");
        let mut first = Resumed::new(profile(&dir, 100));
        first.begin();
        assert_eq!(idle(&first), 100);
        apply(&mut first, &profile(&dir, 200), None);
        let mut second = Resumed::new(profile(&dir, 100));
        second.begin();
        assert_eq!((idle(&second), second.unconfirmed.is_some()), (200, false));
        let mut third = Resumed::new(profile(&dir, 300));
        third.begin();
        assert_eq!(idle(&third), 300, "the operator's file is newer");
        assert_eq!(idle(&Resumed::new(profile(&dir, 300))), 300);
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn an_unconfirmed_change_goes_on_waiting_or_is_over() {
        let dir = dir("confirm");
        let mut first = Resumed::new(profile(&dir, 100));
        first.begin();
        apply(&mut first, &profile(&dir, 200), Some(clock::unix_time_s() + 1000));
        let second = Resumed::new(profile(&dir, 100));
        assert_eq!(idle(&second), 200);
        let (left, back) = second.unconfirmed.as_ref().expect("waits");
        assert!(*left > Duration::from_secs(900) && back.tunnels[0].idle.as_secs() == 100);
        // The time passes while nothing runs.
        first.history.back_to(1).expect("written");
        apply(&mut first, &profile(&dir, 200), Some(clock::unix_time_s() - 1));
        let mut third = Resumed::new(profile(&dir, 100));
        third.begin();
        assert_eq!((idle(&third), third.unconfirmed.is_none()), (100, true));
        assert_eq!((third.history.current(), third.history.unconfirmed()), (1, None));
        std::fs::remove_dir_all(dir).expect("removed");
    }

    #[test]
    fn a_damaged_applied_profile_leaves_the_start_file() {
        let dir = dir("damaged");
        let mut first = Resumed::new(profile(&dir, 100));
        first.begin();
        apply(&mut first, &profile(&dir, 200), None);
        std::fs::write(dir.join("profiles/000002.yaml"), "version: 1\n").expect("written");
        assert_eq!(idle(&Resumed::new(profile(&dir, 100))), 100);
        std::fs::remove_dir_all(dir).expect("removed");
    }
}
