//! Which key serves which tunnel.

use super::Work;
use super::reference::peer_identity;
use crate::ios::conversion::{KeyEntry, Ppk, Proof};
use crate::ios::document::{Auth, Direction, IkeProfile, KeyFault, KeyLine, Keyring, Peer, PpkLine, Secret};
use crate::ios::report::At;
use crate::ios::words::nearest;
use sipsec_net::TelNumber;
use std::collections::{HashMap, HashSet};

/// Shorter keys, and keys of words, are guessed.
const KEY_BYTES_WARN: usize = 12;
const GUESSED: &[&str] = &["cisco", "password", "secret", "admin", "key123", "psk"];
/// Near numbers in one message.
const NEAREST_SHOWN: usize = 3;

/// A peer of a keyring, once its lines have been judged.
struct Entry<'a> {
    peer: &'a Peer,
    /// `None`: no usable key.
    key: Option<Secret>,
}

/// The entries of a keyring.
#[derive(Default)]
struct Ring<'a> {
    by_number: HashMap<String, Entry<'a>>,
    order: Vec<String>,
    wildcard: Option<Secret>,
}

/// The key of an IKEv2 profile itself.
#[derive(Clone)]
enum Inline {
    None,
    Key(Secret),
    /// Why has been told.
    Wrong,
}

impl<'a> Work<'a> {
    pub(super) fn keys(&mut self) {
        let doc = self.doc;
        let mut rings: HashMap<&str, Ring<'a>> = HashMap::new();
        for keyring in doc.keyrings.iter() {
            if self.foreign_keyrings.contains(keyring.name.as_str()) {
                continue;
            }
            let ring = self.ring(keyring);
            rings.insert(&keyring.name, ring);
        }
        let tunnels = std::mem::take(&mut self.used);
        let called: HashSet<&str> = tunnels.iter().map(|u| u.vpn_sip.remote.as_str()).collect();
        let mut taken: HashMap<String, (KeyEntry, At)> = HashMap::new();
        let mut wildcards: Vec<(String, Secret)> = Vec::new();
        let mut order = Vec::new();
        let mut missing = Vec::new();
        let mut of_profiles: HashMap<&str, Inline> = HashMap::new();
        for used in &tunnels {
            // Without its profile, which has been told, there is no keyring to look into.
            let Some(profile) = used.ike else { continue };
            if method(profile) != Auth::Psk {
                continue;
            }
            let remote = &used.vpn_sip.remote;
            let ring = profile.keyring.as_ref().and_then(|k| rings.get(k.value.as_str()));
            let entry = ring.and_then(|r| r.by_number.get(remote));
            let wildcard = ring.and_then(|r| r.wildcard.clone());
            let inline = match of_profiles.get(profile.name.as_str()) {
                Some(known) => known.clone(),
                None if entry.is_some() || wildcard.is_some() => Inline::None,
                None => {
                    let read = self.inline(profile);
                    of_profiles.insert(&profile.name, read.clone());
                    read
                }
            };
            let inline = match inline {
                // Its own error has been told.
                Inline::Wrong if entry.is_none() && wildcard.is_none() => continue,
                Inline::Key(key) => Some(key),
                _ => None,
            };
            let found = match entry {
                Some(Entry { key: Some(key), peer }) => {
                    Some((key.clone(), self.ppk_of(profile, peer, remote, &rings)))
                }
                // Its own error has been told.
                Some(Entry { key: None, .. }) => continue,
                None => wildcard.or(inline).map(|key| {
                    wildcards.push((remote.clone(), key.clone()));
                    (key, None)
                }),
            };
            let Some((key, ppk)) = found else {
                missing.push((used.at, remote.as_str(), ring.map(|r| &r.order)));
                continue;
            };
            let entry = KeyEntry {
                number: Some(remote.clone()),
                proof: Proof::Psk(key),
                ppk,
                identity: self.own_identity(profile, &used.vpn_sip.local),
                peer_identity: peer_identity(profile),
            };
            match taken.get(remote) {
                Some((other, at)) if *other != entry => {
                    let lines = [*at, used.at];
                    let message = format!("two tunnels call {remote} and have different keys for it");
                    self.report.error(&lines, message, "one key for each number: agree on one with the peer");
                }
                Some(_) => {}
                None => {
                    order.push(remote.clone());
                    taken.insert(remote.clone(), (entry, used.at));
                }
            }
        }
        for (at, remote, ring) in missing {
            let all = || {
                doc.keyrings.iter().filter_map(|k| rings.get(k.name.as_str())).flat_map(|r| r.order.iter())
            };
            let known: Vec<&str> = match ring {
                Some(order) => order.iter().map(String::as_str).collect(),
                None => all().map(String::as_str).take(512).collect(),
            };
            let near = near_numbers(remote, known.iter().copied().filter(|k| !called.contains(k)));
            let found = match near.as_slice() {
                [] => "the keyring has none that is like it".to_owned(),
                [one] => format!("the nearest entry is {one}"),
                several => format!("the nearest entries are {}", several.join(", ")),
            };
            let hint =
                "a peer of the keyring needs `identity key-id NUMBER` with exactly the number that is called";
            self.report.error(&[at], format!("there is no key for {remote}: {found}"), hint);
        }
        // One wildcard for all tunnels without an entry is the wildcard of the profile.
        let plain = |number: &String| {
            taken.get(number).is_none_or(|(e, _)| e.identity.is_none() && e.peer_identity.is_none())
        };
        let one = wildcards
            .first()
            .filter(|(_, first)| wildcards.iter().all(|(n, k)| k == first && plain(n)))
            .map(|(_, k)| k.clone());
        let wild: HashSet<String> = wildcards.into_iter().map(|(n, _)| n).collect();
        for number in order {
            if one.is_some() && wild.contains(&number) {
                continue;
            }
            self.out.keyring.extend(taken.remove(&number).map(|(entry, _)| entry));
        }
        let asked = tunnels.iter().filter_map(|u| Some(u.ike?.keyring.as_ref()?.value.as_str())).collect();
        self.other_entries(&rings, &called, &asked);
        let spare = if called.is_empty() {
            doc.keyrings.iter().find_map(|k| rings.get(k.name.as_str())?.wildcard.clone())
        } else {
            None
        };
        if let Some(key) = one.or(spare) {
            self.out.keyring.push(KeyEntry {
                number: None,
                proof: Proof::Psk(key),
                ppk: None,
                identity: None,
                peer_identity: None,
            });
        }
        self.used = tunnels;
    }

    /// Entries that no tunnel calls: a peer may be added later, so they stay.
    fn other_entries(
        &mut self,
        rings: &HashMap<&str, Ring<'a>>,
        called: &HashSet<&str>,
        asked: &HashSet<&str>,
    ) {
        let doc = self.doc;
        let mut seen: HashSet<&str> = HashSet::new();
        let left_out: HashSet<&str> = doc
            .interfaces
            .iter()
            .filter(|i| self.left_out.contains_key(&i.name))
            .filter_map(|i| i.vpn_sip.as_ref().map(|v| v.value.remote.as_str()))
            .collect();
        for keyring in doc.keyrings.iter() {
            let Some(ring) = rings.get(keyring.name.as_str()) else { continue };
            for number in &ring.order {
                let Some(entry) = ring.by_number.get(number) else { continue };
                let other_ring = !asked.is_empty() && !asked.contains(keyring.name.as_str());
                if other_ring && called.contains(number.as_str()) {
                    let name = &keyring.name;
                    let message = format!(
                        "the keyring {name} has a key for {number}, and the profiles of its tunnels name another keyring"
                    );
                    let hint = "nothing to do: the router does not use this key either";
                    self.report.note(&entry.peer.lines_of_name(), message, hint);
                }
                if called.contains(number.as_str()) || !seen.insert(number) {
                    continue;
                }
                let Some(key) = &entry.key else { continue };
                let ppk = entry.peer.ppk.as_ref().and_then(|p| self.ppk(p, None, number));
                self.out.keyring.push(KeyEntry {
                    number: Some(number.clone()),
                    proof: Proof::Psk(key.clone()),
                    ppk,
                    identity: None,
                    peer_identity: None,
                });
                if !called.is_empty() && !left_out.contains(number.as_str()) {
                    let lines: Vec<At> = entry.peer.key_ids.iter().map(|k| k.at).collect();
                    self.report.note(
                        &lines,
                        format!("no tunnel calls {number}"),
                        "the entry is kept; correct the number, or remove it",
                    );
                }
            }
        }
    }

    fn ring(&mut self, keyring: &'a Keyring) -> Ring<'a> {
        let mut ring = Ring::default();
        for peer in &keyring.peers {
            if peer.is_wildcard() {
                let key = self.key(peer, "any peer");
                ring.wildcard = ring.wildcard.or(key);
                continue;
            }
            let Some(id) = peer.key_ids.last() else {
                self.unreachable(peer);
                continue;
            };
            let Ok(number) = id.value.parse::<TelNumber>() else {
                let message = format!(
                    "the peer {} has the key-id {}, which no telephone number leads to",
                    peer.name, id.value
                );
                self.report.warn(
                    &peer.lines,
                    message,
                    "write its telephone number as key-id; it is left out",
                );
                continue;
            };
            let number = number.to_string();
            if let Some(first) = ring.by_number.get(&number).map(|first| (first.peer, first.key.clone())) {
                let (first, known) = first;
                if known.is_some() && has_same_key(peer, known.as_ref()) {
                    let message =
                        format!("{number} has the same key in the peers {} and {}", first.name, peer.name);
                    self.report.note(&peer.lines_of_name(), message, "nothing to do: one entry is enough");
                    continue;
                }
                let message = format!("{number} has a key already, in the peer {}", first.name);
                self.report.error(
                    &peer.lines,
                    message,
                    "keep the one whose key the peer has; this one is left out",
                );
                continue;
            }
            let key = self.key(peer, &number);
            for other in &peer.identities {
                let message = format!(
                    "the peer {} is found by {number}; its name {} is not used",
                    peer.name, other.value
                );
                self.report.note(&[other.at], message, "nothing to do");
            }
            ring.order.push(number.clone());
            ring.by_number.insert(number, Entry { peer, key });
        }
        ring
    }

    /// A peer that no number leads to.
    fn unreachable(&mut self, peer: &Peer) {
        let by = match (peer.identities.last(), &peer.address) {
            (Some(name), _) => format!("by its name {} alone", name.value),
            (None, Some(address)) => format!("by its address {} alone", address.value),
            (None, None) => "by nothing".to_owned(),
        };
        let message =
            format!("the peer {} is known {by}, and vpn-sip finds peers by telephone number", peer.name);
        self.report.warn(
            &peer.lines,
            message,
            "add `identity key-id NUMBER` if it is called; it is left out",
        );
        // Whether its key could be taken does not matter.
        for line in &peer.keys {
            if let Err(KeyFault::Characters(_)) = line.key {
                self.fault(line, &peer.name);
            }
        }
    }

    /// The one key of a peer.
    fn key(&mut self, peer: &Peer, whose: &str) -> Option<Secret> {
        let last = |d: Direction| peer.keys.iter().rev().find(|k| k.direction == d);
        let (both, local, remote) = (last(Direction::Both), last(Direction::Local), last(Direction::Remote));
        let key = match (both, local, remote) {
            (None, None, None) => {
                self.report.error(
                    &peer.lines_of_name(),
                    format!("the peer {} ({whose}) has no key", peer.name),
                    "write its `pre-shared-key`",
                );
                return None;
            }
            (Some(line), ..) => self.usable(line, whose)?,
            (None, Some(local), Some(remote)) => {
                let (one, other) = (self.usable(local, whose)?, self.usable(remote, whose)?);
                if one != other {
                    let message =
                        format!("the keys local and remote of the peer {} ({whose}) differ", peer.name);
                    self.report.error(
                        &[local.at, remote.at],
                        message,
                        "an entry of the profile's keyring has one key for both directions: agree on one with the peer",
                    );
                    return None;
                }
                one
            }
            (None, Some(line), None) | (None, None, Some(line)) => {
                self.usable(line, whose)?;
                let message = format!(
                    "the peer {} ({whose}) has a key for one direction, local or remote, alone",
                    peer.name
                );
                self.report.error(&[line.at], message, "write one key for both directions");
                return None;
            }
        };
        let text = key.expose();
        let guessed =
            GUESSED.iter().any(|w| text.to_ascii_lowercase().contains(w)) && text.len() < 2 * KEY_BYTES_WARN;
        if text.len() < KEY_BYTES_WARN || guessed {
            let lines: Vec<At> = peer.keys.iter().map(|k| k.at).collect();
            let message =
                format!("the key of {whose} is weak: it is short or made of a word, and is guessed easily");
            self.report.warn(
                &lines,
                message,
                "agree on 32 random bytes with the peer: `openssl rand -hex 32`, 0x in front",
            );
        }
        Some(key)
    }

    /// `authentication local|remote pre-share key K`: the same key both ways serves every peer.
    fn inline(&mut self, profile: &IkeProfile) -> Inline {
        let whose = format!("every peer of the profile {}", profile.name);
        let last = |d: Direction| profile.inline_keys.iter().find(|k| k.direction == d);
        let (local, remote) = (last(Direction::Local), last(Direction::Remote));
        let Some(line) = local.or(remote) else { return Inline::None };
        let Some(key) = self.usable(line, &whose) else { return Inline::Wrong };
        let Some(other) = local.and(remote) else { return Inline::Key(key) };
        match self.usable(other, &whose) {
            Some(second) if second == key => Inline::Key(key),
            Some(_) => {
                let message = format!("the keys local and remote of {whose} differ");
                let hint = "an entry of the profile's keyring has one key for both directions: agree on one with the peers";
                self.report.error(&[line.at, other.at], message, hint);
                Inline::Wrong
            }
            None => Inline::Wrong,
        }
    }

    fn usable(&mut self, line: &KeyLine, whose: &str) -> Option<Secret> {
        match &line.key {
            Ok(key) => Some(key.clone()),
            Err(_) => {
                self.fault(line, whose);
                None
            }
        }
    }

    /// Why a key is not taken; never the key itself.
    fn fault(&mut self, line: &KeyLine, whose: &str) {
        let Err(fault) = &line.key else { return };
        let (message, hint) = match fault {
            KeyFault::Type("6") => (
                format!(
                    "the key of {whose} is of type 6: it is encrypted, and the router's master key alone decrypts it"
                ),
                "write the key itself, as the peer has it: ask its administrator, or agree on a new one",
            ),
            KeyFault::Type(kind) => (
                format!("the key of {whose} is of type {kind}: what stands there is a disguise, not the key"),
                "write the key itself, as the peer has it",
            ),
            KeyFault::Masked => (
                format!("the key of {whose} has been masked by a tool"),
                "write the key itself, as the peer has it",
            ),
            KeyFault::NotHex => (
                format!("the key of {whose} is not hexadecimal, or has an odd number of digits"),
                "write pairs of hexadecimal digits",
            ),
            KeyFault::Blank => (
                format!("the key of {whose} has a blank in it; where it ends cannot be told"),
                "write the key alone, without a remark behind it",
            ),
            KeyFault::TooLong => {
                (format!("the key of {whose} has more than 256 bytes"), "agree on a shorter one")
            }
            KeyFault::Cut => (format!("the key of {whose} is cut off"), "write it in one line"),
            KeyFault::Characters(list) => {
                let names: Vec<String> = list
                    .iter()
                    .take(8)
                    .map(|(column, c)| format!("U+{:04X} in column {column}", u32::from(*c)))
                    .collect();
                (
                    format!(
                        "the key of {whose} has characters that a key of a router has not: {}",
                        names.join(", ")
                    ),
                    "a key is not guessed at: write it as the router has it",
                )
            }
        };
        self.report.error(&[line.at], message, hint);
    }

    /// The PPK that the profile uses with this peer.
    fn ppk_of(
        &mut self,
        profile: &IkeProfile,
        peer: &Peer,
        number: &str,
        rings: &HashMap<&str, Ring<'a>>,
    ) -> Option<Ppk> {
        match &profile.ppk_keyring {
            Some(said) => {
                let named = rings.get(said.value.as_str()).and_then(|r| r.by_number.get(number));
                let line = named.and_then(|e| e.peer.ppk.as_ref());
                if line.is_none() {
                    let message = format!("the keyring {} has no ppk for {number}", said.value);
                    self.report.warn(&[said.at], message, "without one the session has no post-quantum key");
                }
                self.ppk(line?, Some(said.at), number)
            }
            None => {
                let line = peer.ppk.as_ref()?;
                let message = format!(
                    "the peer {} has a ppk, and its profile has no `keyring ppk`: the router does not use it",
                    peer.name
                );
                self.report.warn(&[line.at], message, "it is left out; add `keyring ppk KEYRING` to use it");
                None
            }
        }
    }

    fn ppk(&mut self, line: &PpkLine, used: Option<At>, number: &str) -> Option<Ppk> {
        match &line.key {
            Ok(key) => {
                let message = format!("the ppk of {number} becomes ppk_id, ppk and ppk_required (RFC 8784)");
                let lines: Vec<At> = [line.at].into_iter().chain(used).collect();
                self.report.note(&lines, message, "nothing to do");
                Some(Ppk { id: line.id.clone(), key: key.clone(), required: line.required })
            }
            Err(fault) => {
                let stand_in = KeyLine { at: line.at, direction: Direction::Both, key: Err(fault.clone()) };
                self.fault(&stand_in, &format!("the ppk of {number}"));
                None
            }
        }
    }
}

impl Peer {
    /// Its head and its identity: where a key is missing.
    fn lines_of_name(&self) -> Vec<At> {
        let head = self.lines.first().copied();
        head.into_iter().chain(self.key_ids.iter().map(|k| k.at)).collect()
    }
}

/// How both ends prove themselves.
pub(super) fn method(profile: &IkeProfile) -> Auth {
    match (&profile.local, profile.remote.last()) {
        (Some(said), _) | (None, Some(said)) => said.value.clone(),
        (None, None) => Auth::Psk,
    }
}

/// Whether the peer has this one key, and nothing that another entry would not have.
fn has_same_key(peer: &Peer, known: Option<&Secret>) -> bool {
    let [line] = peer.keys.as_slice() else { return false };
    peer.ppk.is_none() && line.direction == Direction::Both && line.key.as_ref().ok() == known
}

/// Numbers like this one: of the same beginning, and of few differences.
fn near_numbers<'n>(number: &str, known: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let known: Vec<&str> = known.take(512).collect();
    let close = nearest(number, known.iter().copied(), 1);
    let common = |k: &str| k.bytes().zip(number.bytes()).take_while(|(a, b)| a == b).count();
    let mut begins: Vec<_> = known.iter().copied().filter(|k| common(k) >= 2).collect();
    begins.sort_by_key(|k| std::cmp::Reverse(common(k)));
    let longest = begins.first().map_or(0, |k| common(k));
    let mut out: Vec<&str> =
        begins.into_iter().take_while(|k| common(k) == longest).take(NEAREST_SHOWN).collect();
    out.extend(close.into_iter().filter(|k| common(k) + 2 >= longest));
    out.sort_unstable();
    out.dedup();
    out
}
