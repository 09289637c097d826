//! What IOS has no words for: `show running-config` says which keys of a profile its text does not carry. The text is imported
//! again, and the profile that comes of it is compared with the one that was shown.

use super::{Options, Outcome, Source, import, write};
use crate::change::diff;
use crate::model::{KeyOwner, KeyringEntry, Learnt, Profile, Proof};
use std::collections::{BTreeMap, HashMap};

/// Stands for the keys that the text hides.
const KEY: &str = "0 A-key-that-stands-for-a-hidden-one";

/// The keys, without the places of lists, in the order of the profile. Secrets, files and what is of this machine alone are not
/// among them. `interfaces` has the devices by the names that the text gives them; `canonical` brings values that may be
/// written in several ways into one form.
///
/// # Errors
/// If the text is more than the import reads.
pub fn left_out(
    profile: &Profile,
    shown: &str,
    interfaces: BTreeMap<String, String>,
    canonical: impl Fn(&mut Profile),
) -> Result<Vec<String>, &'static str> {
    let typed = shown.replace(super::show::HIDDEN, KEY);
    let gateway = Some(profile.gateway.clone());
    let source = Source { name: "running-config", bytes: typed.as_bytes() };
    let imported = import(&[source], &Options { interfaces, gateway });
    if imported.report.outcome() == Outcome::Refused {
        return Err("the text is more than an import reads");
    }
    let mut back = write::as_profile(&imported.conversion, &profile.gateway);
    of_this_machine(profile, &mut back);
    let mut whole = profile.clone();
    canonical(&mut whole);
    canonical(&mut back);
    let mut keys: Vec<String> = Vec::new();
    for change in diff(&whole, &back).changes {
        let mut key = without_places(&change.path);
        if key == "tunnels" {
            // The whole tunnel: IOS has interfaces of the name Tunnel and a number alone.
            key.push_str(".name");
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys)
}

/// Gives `back` what no router's configuration holds: secrets, files, the carrier's addresses and the devices of this machine.
fn of_this_machine(profile: &Profile, back: &mut Profile) {
    back.runtime_dir.clone_from(&profile.runtime_dir);
    back.state_dir.clone_from(&profile.state_dir);
    back.log.clone_from(&profile.log);
    let outside = back.dataplane.outside.clone();
    back.dataplane = profile.dataplane.clone();
    back.dataplane.outside.dont_fragment = outside.dont_fragment;
    back.dataplane.outside.reassembly = outside.reassembly;
    back.sip.interface.clone_from(&profile.sip.interface);
    if back.sip.registrar != Learnt::Dhcp {
        back.sip.registrar.clone_from(&profile.sip.registrar);
        back.sip.domain.clone_from(&profile.sip.domain);
    }
    for line in &mut back.sip.lines {
        line.auth = profile.sip.lines.iter().find(|l| l.number == line.number).and_then(|l| l.auth.clone());
    }
    let known: HashMap<KeyOwner, &KeyringEntry> =
        profile.ike.keyring.iter().map(|of| (of.owner, of)).collect();
    for entry in &mut back.ike.keyring {
        let Some(of) = known.get(&entry.owner) else { continue };
        if let (Proof::Psk(_), Proof::Psk(_)) = (&entry.proof, &of.proof) {
            entry.proof = of.proof.clone();
        }
        if let (Some(ppk), Some(of)) = (&mut entry.ppk, &of.ppk) {
            ppk.key = of.key.clone();
        }
    }
    for certificate in &mut back.ike.certificates {
        let Some(of) = profile.ike.certificates.iter().find(|of| of.name == certificate.name) else {
            continue;
        };
        certificate.chain.clone_from(&of.chain);
        certificate.key = of.key.clone();
        certificate.trust.ca.clone_from(&of.trust.ca);
        if let (Some(crl), Some(of)) = (&mut certificate.trust.crl, &of.trust.crl) {
            crl.files.clone_from(&of.files);
        }
    }
}

/// `tunnels[Tunnel1].idle_s` → `tunnels.idle_s`
fn without_places(path: &str) -> String {
    let mut depth = 0_u32;
    let outside = |c: &char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    };
    path.chars().filter(outside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_left_away() {
        for (path, key) in [
            ("sip.port", "sip.port"),
            ("tunnels[Tunnel1].routes", "tunnels.routes"),
            ("carriers[b].sip.lines[0388881001].auth", "carriers.sip.lines.auth"),
            ("tunnels[odd].name].x", "tunnels.name.x"),
        ] {
            assert_eq!(without_places(path), key);
        }
    }
}
