//! What changes from one profile to another: key by key, when each change counts, and which tunnels lose their call.

mod compare;
mod locked;

use crate::model::{KeyOwner, Profile, Proof, SipSection, TunnelEntry};
use crate::schema::Takes;
use compare::{Compare, Scope};
pub use locked::locked;
use serde::Serialize;
use sipsec_net::TelNumber;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `tunnels[Tunnel1].idle_s`: entries of lists by their names.
    pub path: String,
    /// `None` if it was not there. Secrets are hidden.
    pub before: Option<String>,
    pub after: Option<String>,
    pub takes: Takes,
}

/// From the profile in force to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub changes: Vec<Change>,
    /// Places of tunnels that are in both profiles: in the old one, and in the new one.
    pub kept: Vec<(usize, usize)>,
    /// Places in the new profile.
    pub added: Vec<usize>,
    /// Places in the old profile.
    pub removed: Vec<usize>,
    /// Carriers of both profiles whose calls and registrations cannot go on.
    pub replaced: BTreeSet<String>,
    /// Places in the old profile of tunnels whose call cannot go on, with the reasons.
    pub bounced: BTreeMap<usize, Vec<String>>,
}

impl Diff {
    /// What only a restart brings into force.
    pub fn restart(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|c| c.takes == Takes::Restart)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Tunnels that are in both and differ.
    #[must_use]
    pub fn changed(&self) -> usize {
        let of_tunnel = |c: &&Change| c.path.starts_with("tunnels[") && c.path.contains("].");
        let mut names: Vec<_> =
            self.changes.iter().filter(of_tunnel).map(|c| c.path.split(']').next()).collect();
        names.dedup();
        names.len()
    }

    /// In one line, for the history.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut parts = Vec::new();
        let mut count = |n: usize, what: &str| {
            if n > 0 {
                parts.push(format!("{n} tunnel{} {what}", if n == 1 { "" } else { "s" }));
            }
        };
        count(self.added.len(), "added");
        count(self.removed.len(), "removed");
        count(self.changed(), "changed");
        let mut sections: Vec<_> = self
            .changes
            .iter()
            .filter_map(|c| c.path.split(['.', '[']).next())
            .filter(|section| *section != "tunnels")
            .collect();
        sections.dedup();
        parts.extend(sections.into_iter().map(str::to_owned));
        if parts.is_empty() { "no difference".to_owned() } else { parts.join(", ") }
    }
}

/// How tunnels of two profiles belong together: by name, and a renamed one by its numbers.
struct Pairs {
    kept: Vec<(usize, usize)>,
    added: Vec<usize>,
    removed: Vec<usize>,
}

impl Pairs {
    fn of(old: &[TunnelEntry], new: &[TunnelEntry]) -> Self {
        let by_name: HashMap<_, _> = old.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
        let mut of_new: Vec<Option<usize>> =
            new.iter().map(|t| by_name.get(t.name.as_str()).copied()).collect();
        let mut free: Vec<bool> = vec![true; old.len()];
        of_new.iter().flatten().for_each(|i| free[*i] = false);
        let numbers = |t: &TunnelEntry| (t.local_number, t.remote_number);
        let by_numbers: HashMap<_, _> =
            old.iter().enumerate().filter(|(i, _)| free[*i]).map(|(i, t)| (numbers(t), i)).collect();
        for (j, tunnel) in new.iter().enumerate() {
            if of_new[j].is_none()
                && let Some(&i) = by_numbers.get(&numbers(tunnel))
                && std::mem::take(&mut free[i])
            {
                of_new[j] = Some(i);
            }
        }
        Self {
            kept: of_new.iter().enumerate().filter_map(|(j, i)| Some(((*i)?, j))).collect(),
            added: (0..new.len()).filter(|j| of_new[*j].is_none()).collect(),
            removed: (0..old.len()).filter(|i| free[*i]).collect(),
        }
    }
}

#[must_use]
pub fn diff(old: &Profile, new: &Profile) -> Diff {
    let Pairs { kept, added, removed } = Pairs::of(&old.tunnels, &new.tunnels);
    let mut compare = Compare::default();
    compare.profiles(old, new, (&kept, &added, &removed));
    let mut diff = Diff { changes: compare.changes, kept, added, removed, ..Diff::default() };
    for i in diff.removed.clone() {
        diff.bounced.entry(i).or_default().push("the tunnel is removed".to_owned());
    }
    // Addresses of another IP version are neither watched nor asked for before a restart.
    let restart = old.sip_families() != new.sip_families();
    let of_carriers = |c: &&mut Change| c.path.starts_with("sip.") || c.path.starts_with("carriers[");
    diff.changes.iter_mut().filter(of_carriers).filter(|_| restart).for_each(|c| c.takes = Takes::Restart);
    let concerned = Concerned::new(old, new, &diff.kept);
    for (scope, reason) in compare.hangs_up {
        if let Scope::Carrier(name) = &scope {
            if restart {
                continue;
            }
            diff.replaced.insert(name.clone());
        }
        for i in concerned.by(&scope) {
            diff.bounced.entry(*i).or_default().push(reason.clone());
        }
    }
    for (i, j) in &diff.kept {
        let families = |t: &TunnelEntry| {
            let v6 = t.prefixes().any(|r| r.addr().is_ipv6());
            (!v6 || t.prefixes().any(|r| r.addr().is_ipv4()), v6)
        };
        let (before, after) = (families(&old.tunnels[*i]), families(&new.tunnels[*j]));
        // The SA's traffic selectors are of address families, and were agreed on when the call began.
        for (had, has, name) in [(before.0, after.0, "IPv4"), (before.1, after.1, "IPv6")] {
            if has && !had {
                diff.bounced.entry(*i).or_default().push(format!("routes: {name} is new"));
            }
        }
    }
    diff
}

/// Which tunnels a change is about: places in the old profile, found by what the new profile says of them.
struct Concerned<'a> {
    all: Vec<usize>,
    by_name: HashMap<&'a str, Vec<usize>>,
    by_key: HashMap<String, Vec<usize>>,
    by_certificate: HashMap<&'a str, Vec<usize>>,
    /// As the old profile has them.
    by_carrier: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Concerned<'a> {
    fn new(old: &'a Profile, profile: &'a Profile, kept: &[(usize, usize)]) -> Self {
        let of_line: HashMap<TelNumber, &str> = old
            .all_carriers()
            .flat_map(|(name, sip)| sip.lines.iter().map(move |line| (line.number, name)))
            .collect();
        let keyring: HashMap<KeyOwner, _> = profile.ike.keyring.iter().map(|k| (k.owner, k)).collect();
        let mut out = Self {
            all: kept.iter().map(|(i, _)| *i).collect(),
            by_name: HashMap::new(),
            by_key: HashMap::new(),
            by_certificate: HashMap::new(),
            by_carrier: HashMap::new(),
        };
        for &(i, j) in kept {
            if let Some(carrier) = of_line.get(&old.tunnels[i].local_number) {
                out.by_carrier.entry(carrier).or_default().push(i);
            }
            let tunnel = &profile.tunnels[j];
            out.by_name.entry(&tunnel.name).or_default().push(i);
            let own = keyring.get(&KeyOwner::Number(tunnel.remote_number));
            let Some(entry) = own.or_else(|| keyring.get(&KeyOwner::Any)) else { continue };
            out.by_key.entry(entry.owner.to_string()).or_default().push(i);
            if let Proof::Certificate(name) = &entry.proof {
                out.by_certificate.entry(name).or_default().push(i);
            }
        }
        out
    }

    fn by(&self, scope: &Scope) -> &[usize] {
        let found = match scope {
            Scope::All => Some(&self.all),
            Scope::Tunnel(name) => self.by_name.get(name.as_str()),
            Scope::Key(owner) => self.by_key.get(owner),
            Scope::Certificate(name) => self.by_certificate.get(name.as_str()),
            Scope::Carrier(name) => self.by_carrier.get(name.as_str()),
        };
        found.map_or(&[], Vec::as_slice)
    }
}

/// The new profile as far as it can be brought into force without a restart.
#[must_use]
pub fn without_restart(old: &Profile, new: &Profile) -> Profile {
    let mut out = new.clone();
    out.gateway.clone_from(&old.gateway);
    out.runtime_dir.clone_from(&old.runtime_dir);
    out.state_dir.clone_from(&old.state_dir);
    (out.wan, out.media) = (old.wan, old.media);
    out.dataplane.clone_from(&old.dataplane);
    if out.sip_families() != old.sip_families() {
        out.sip.clone_from(&old.sip);
        out.carriers.clone_from(&old.carriers);
        return out;
    }
    sip_without_restart(&old.sip, &mut out.sip);
    for carrier in &mut out.carriers {
        if let Some(before) = old.carriers.iter().find(|c| c.name == carrier.name) {
            sip_without_restart(&before.sip, &mut carrier.sip);
        }
    }
    out
}

fn sip_without_restart(old: &SipSection, new: &mut SipSection) {
    new.interface.clone_from(&old.interface);
    new.carrier = old.carrier;
    let gone: Vec<_> =
        old.lines.iter().filter(|line| new.lines.iter().all(|l| l.number != line.number)).cloned().collect();
    new.lines.extend(gone);
}

impl Serialize for Change {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("Change", 4)?;
        out.serialize_field("path", &self.path)?;
        out.serialize_field("before", &self.before)?;
        out.serialize_field("after", &self.after)?;
        out.serialize_field("takes", self.takes.word())?;
        out.end()
    }
}

#[cfg(test)]
mod tests;
