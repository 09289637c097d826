//! A profile as YAML again. Values that equal their defaults are left out.

use crate::model::secret::{PASSWORD, PPK, PRIVATE_KEY, PSK, PSK_NEXT, SecretKeys, SecretSource};
use crate::model::{Profile, Proof, SipSection};
use crate::read::{Tree, TreeMap, write_yaml};
use crate::schema::{Group, Kind, PROFILE, Presence};

/// What is written in place of inline secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Asterisks: for people.
    Hidden,
    /// The secrets: for a file of mode 0600.
    Written,
}

/// The profile as a tree with the keys of the file. Inline secrets are hidden.
#[must_use]
pub fn tree(profile: &Profile) -> Tree {
    crate::read::tree(profile).unwrap_or_default()
}

/// # Errors
/// If the library cannot write it; a profile always can be written.
pub fn yaml(profile: &Profile, secrets: Secrets) -> Result<String, String> {
    yaml_with(profile, secrets, |_| {})
}

/// The same of a tree that is changed before it is written, values that equal their defaults being left out already.
pub(crate) fn yaml_with(
    profile: &Profile,
    secrets: Secrets,
    change: impl FnOnce(&mut Tree),
) -> Result<String, String> {
    let mut tree = tree(profile);
    if secrets == Secrets::Written {
        reveal(profile, &mut tree);
    }
    directories(profile, &mut tree);
    prune(&mut tree, &PROFILE);
    change(&mut tree);
    write_yaml(&tree)
}

/// The tunnels of a profile alone, under their key.
///
/// # Errors
/// As [`yaml`].
pub fn tunnels_yaml(profile: &Profile) -> Result<String, String> {
    let mut tree = tree(profile);
    prune(&mut tree, &PROFILE);
    let mut out = TreeMap::new();
    out.insert(Tree::String("tunnels".to_owned()), std::mem::take(&mut tree["tunnels"]));
    write_yaml(&Tree::Mapping(out))
}

/// Puts every secret and every argument of a command in the place of its asterisks.
pub(crate) fn reveal(profile: &Profile, tree: &mut Tree) {
    let lines = |sip: &SipSection, tree: &mut Tree| {
        for (i, line) in sip.lines.iter().enumerate() {
            if let Some(auth) = &line.auth {
                put(&mut tree["lines"][i]["auth"], PASSWORD, &auth.password);
            }
        }
        if let Some(own) = &sip.tls.own {
            put(&mut tree["tls"], PRIVATE_KEY, &own.key);
        }
    };
    lines(&profile.sip, &mut tree["sip"]);
    for (i, carrier) in profile.carriers.iter().enumerate() {
        lines(&carrier.sip, &mut tree["carriers"][i]["sip"]);
    }
    for (i, entry) in profile.ike.keyring.iter().enumerate() {
        let at = &mut tree["ike"]["keyring"][i];
        if let Proof::Psk(psk) = &entry.proof {
            put(at, PSK, psk);
        }
        if let Some(next) = &entry.next_psk {
            put(at, PSK_NEXT, next);
        }
        if let Some(ppk) = &entry.ppk {
            put(at, PPK, &ppk.key);
        }
    }
    for (i, certificate) in profile.ike.certificates.iter().enumerate() {
        put(&mut tree["ike"]["certificates"][i], PRIVATE_KEY, &certificate.key);
    }
}

fn put(at: &mut Tree, keys: SecretKeys, source: &SecretSource) {
    match source {
        SecretSource::Inline(secret) => {
            at[keys.of(source)] = Tree::String(String::from_utf8_lossy(secret.expose()).into_owned());
        }
        SecretSource::Command(words) if words.len() > 1 => {
            at[keys.of(source)] = Tree::Sequence(words.iter().cloned().map(Tree::String).collect());
        }
        _ => {}
    }
}

/// Directories that follow from the gateway's name.
fn directories(profile: &Profile, tree: &mut Tree) {
    let Tree::Mapping(map) = tree else { return };
    let plain = |root: &str| Tree::String(format!("{root}/{}", profile.gateway));
    for (key, root) in
        [("runtime_dir", crate::model::limits::RUNTIME_ROOT), ("state_dir", crate::model::limits::STATE_ROOT)]
    {
        if map.get(key) == Some(&plain(root)) {
            map.shift_remove(key);
        }
    }
}

/// Removes every value that its absence stands for.
fn prune(tree: &mut Tree, group: &Group) {
    let Tree::Mapping(map) = tree else { return };
    for key in group.keys {
        let Some(value) = map.get_mut(key.name) else { continue };
        match key.kind {
            Kind::Group(below) => prune(value, below),
            Kind::List(Kind::Group(below) | Kind::Either(_, below)) => {
                if let Tree::Sequence(items) = value {
                    items.iter_mut().for_each(|item| prune(item, below));
                }
            }
            _ => {}
        }
        if is_implied(value, key.presence) {
            map.shift_remove(key.name);
        }
    }
}

fn is_implied(value: &Tree, presence: Presence) -> bool {
    match (value, presence) {
        (_, Presence::Required(_)) => false,
        (Tree::String(text), Presence::Default(default)) => text == default,
        (Tree::Bool(value), Presence::Default(default)) => value.to_string() == default,
        (Tree::Number(value), Presence::Default(default)) => value.to_string() == default,
        (Tree::Sequence(items), _) => items.is_empty(),
        (Tree::Mapping(map), _) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nothing;
    use crate::read::examine;

    const FULL: &str = include_str!("../../tests/profiles/full.yaml");

    fn read(text: &str) -> Profile {
        let examined = examine("x.yaml", text.as_bytes(), &Nothing);
        assert_eq!(examined.findings.errors(), 0, "{}", examined.findings.render(crate::Style::PLAIN));
        examined.profile.expect("read")
    }

    #[test]
    fn a_profile_survives_being_written_and_read() {
        let profile = read(FULL);
        let written = yaml(&profile, Secrets::Written).expect("written");
        let again = read(&written);
        assert_eq!(tree(&profile), tree(&again), "{written}");
        assert_eq!(yaml(&again, Secrets::Written).expect("written"), written);
        assert!(written.contains("not-for-show"));
    }

    #[test]
    fn secrets_are_written_on_demand_only() {
        let profile = read(FULL);
        let shown = yaml(&profile, Secrets::Hidden).expect("written") + &format!("{:?}", tree(&profile));
        assert!(
            !shown.contains("not-for-show") && !shown.contains("9d1f0a93") && !shown.contains("3f1c9a7e")
        );
        assert!(shown.contains(crate::model::secret::HIDDEN));
        assert!(!format!("{profile:?}").contains("not-for-show"));
    }

    #[test]
    fn defaults_are_not_written() {
        let minimal = "version: 1\ngateway: g\nsip:\n  interface: wan0\n  registrar: 198.51.100.1:5060\n  \
                       domain: carrier.example\n  lines:\n  - number: '0388881001'\nike:\n  keyring:\n  \
                       - number: any\n    psk_file: /etc/psk\ntunnels: []\ndataplane:\n  outside:\n    device: wan0\n  \
                       inside:\n    mode: host\n    device: svti0\n";
        assert_eq!(yaml(&read(minimal), Secrets::Written).expect("written"), minimal);
    }
}
