//! SIGHUP: keys and certificates are read again, from the profile as it is now. Everything else needs a restart, and what of it
//! has changed is named: an edit that silently does nothing would be found during the next outage.

use crate::config::{self, LoadError, Profile};
use crate::setup::{self, SetupError};
use sipsec_profile::model::{IkeSection, TunnelEntry};
use sipsec_session::KeyEntry;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error("{0}")]
    Profile(#[from] LoadError),
    #[error("{0}")]
    Setup(#[from] SetupError),
}

/// What a reload takes, and what it does not.
#[derive(Debug)]
pub struct Reload {
    pub keyring: Vec<KeyEntry>,
    /// Keys of the profile that differ from those in force, and need a restart.
    pub ignored: Vec<String>,
    /// What of the profile is in force now.
    pub profile: Profile,
}

/// Reads the profile again; without a path, the files that the running one names.
///
/// # Errors
/// If the profile or a file of it cannot be used. Nothing is taken then.
pub fn reload(running: &Profile, path: Option<&Path>) -> Result<Reload, ReloadError> {
    let Some(path) = path else {
        return Ok(Reload {
            keyring: setup::keyring(running)?,
            ignored: Vec::new(),
            profile: running.clone(),
        });
    };
    let read = config::load(path)?.profile;
    let keyring = setup::keyring(&read)?;
    let ignored = differences(running, &read);
    let mut profile = running.clone();
    profile.ike.keyring = read.ike.keyring;
    profile.ike.certificates = read.ike.certificates;
    Ok(Reload { keyring, ignored, profile })
}

/// Keys that need a restart. Values are compared by what they show, which of secrets is nothing.
fn differences(running: &Profile, read: &Profile) -> Vec<String> {
    let mut out = Vec::new();
    let mut compare = |key: &str, a: &dyn Debug, b: &dyn Debug| {
        if format!("{a:?}") != format!("{b:?}") {
            out.push(key.to_owned());
        }
    };
    compare("gateway", &running.gateway, &read.gateway);
    compare("runtime_dir", &running.runtime_dir, &read.runtime_dir);
    compare("state_dir", &running.state_dir, &read.state_dir);
    compare("log", &running.log, &read.log);
    compare("sip", &running.sip, &read.sip);
    compare("ike (other than keyring and certificates)", &fixed(&running.ike), &fixed(&read.ike));
    compare("media", &running.media, &read.media);
    compare("dataplane", &running.dataplane, &read.dataplane);
    let named = |p: &Profile| -> BTreeMap<String, TunnelEntry> {
        p.tunnels.iter().map(|t| (t.name.clone(), t.clone())).collect()
    };
    let (before, mut after) = (named(running), named(read));
    for (name, tunnel) in &before {
        match after.remove(name) {
            None => out.push(format!("tunnels: {name} is missing")),
            // A number that only says where in the list it stands.
            Some(other)
                if format!("{:?}", TunnelEntry { id: tunnel.id, ..other.clone() })
                    != format!("{tunnel:?}") =>
            {
                out.push(format!("tunnels: {name} differs"));
            }
            Some(_) => {}
        }
    }
    out.extend(after.into_keys().map(|name| format!("tunnels: {name} is new")));
    out
}

fn fixed(ike: &IkeSection) -> IkeSection {
    IkeSection { keyring: Vec::new(), certificates: Vec::new(), ..ike.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(text: &str) -> Profile {
        let (profile, findings) = config::examine("test.yaml", text);
        assert_eq!(findings.errors(), 0, "{}", findings.render(config::Style::PLAIN));
        profile.expect("read")
    }

    const TEXT: &str = "version: 1\ngateway: test\n\
        sip: { interface: wan0, registrar: 192.0.2.2, domain: carrier.example, lines: [{ number: '0388881001' }] }\n\
        ike: { keyring: [{ number: '0388882001', psk: '0x9d1f0a93b7c4e58261b7f9c03e6a2d84' }] }\n\
        tunnels: [{ name: Tunnel1, local_number: '0388881001', remote_number: '0388882001', bandwidth_kbps: 512 }]\n\
        dataplane: { outside: { device: wan0 }, inside: { mode: host, device: svti0 } }\n";

    #[test]
    fn what_is_not_taken_is_named() {
        let running = profile(TEXT);
        assert_eq!(differences(&running, &running), Vec::<String>::new());
        let other = TEXT
            .replace("bandwidth_kbps: 512", "bandwidth_kbps: 64")
            .replace("domain: carrier.example", "domain: other.example")
            .replace("9d1f0a93b7c4e58261b7f9c03e6a2d84", "8e1f0a93b7c4e58261b7f9c03e6a2d84");
        assert_eq!(differences(&running, &profile(&other)), ["sip", "tunnels: Tunnel1 differs"]);
        let renamed = TEXT.replace("name: Tunnel1", "name: Tunnel2");
        assert_eq!(
            differences(&running, &profile(&renamed)),
            ["tunnels: Tunnel1 is missing", "tunnels: Tunnel2 is new"]
        );
    }

    #[test]
    fn new_keys_are_taken_from_the_profile_as_it_is_now() {
        let path = std::env::temp_dir().join(format!("sipsec-reload-{}.yaml", std::process::id()));
        let running = profile(TEXT);
        let second = "{ number: '0388882002', psk: '0x7c1f0a93b7c4e58261b7f9c03e6a2d84' }";
        std::fs::write(&path, TEXT.replace("keyring: [", &format!("keyring: [{second}, "))).expect("written");
        let taken = reload(&running, Some(&path)).expect("reloaded");
        assert_eq!((taken.keyring.len(), taken.ignored.len()), (2, 0));
        assert_eq!(taken.profile.ike.keyring.len(), 2);
        std::fs::write(&path, "version: 1\n").expect("written");
        assert!(reload(&running, Some(&path)).is_err());
        assert_eq!(reload(&running, None).expect("reloaded").keyring.len(), 1);
        std::fs::remove_file(&path).expect("removed");
    }
}
