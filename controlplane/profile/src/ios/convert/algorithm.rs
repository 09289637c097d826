//! Proposals, transform sets, lifetimes, dead peer detection.

use super::Work;
use crate::ios::document::{Block, Document, IkeProfile, IkeProposal, IpsecProfile, Said};
use crate::ios::report::{At, Class};
use std::collections::HashSet;
use std::ops::RangeInclusive;

/// What is to be done about a value that does not fit.
const LIFETIME: &str = "see which is meant; the shorter of both ends counts";
const OTHERS: &str = "see whether that value serves the peers";

/// What a profile takes.
const PROPOSALS_MAX: usize = 8;
const SECONDS: RangeInclusive<u32> = 120..=86_400;
const KB_MIN: u32 = 2560;
/// IP and UDP headers, which IOS counts in and the profile does not.
const HEADERS: u32 = 28;
const FRAGMENT: RangeInclusive<u32> = 200..=1400;
const KEEPALIVE_MAX_S: u32 = 3600;
const DPD_S: RangeInclusive<u32> = 1..=3600;

impl<'a> Work<'a> {
    /// `crypto ikev2 proposal` and `policy` → `ike.proposals`
    pub(super) fn proposals(&mut self) {
        let doc = self.doc;
        let mut bound: HashSet<&str> = HashSet::new();
        let mut list: Vec<(&IkeProposal, At)> = Vec::new();
        for policy in doc.policies.iter() {
            if let Some(vrf) = &policy.vrf {
                let message = format!(
                    "the policy {} is of the VRF {}; tunnels of the gateway are in the global table",
                    policy.name, vrf.value
                );
                self.report.warn(&[vrf.at], message, "its proposals are left out");
                bound.extend(policy.proposals.iter().map(|p| p.value.as_str()));
                continue;
            }
            for said in &policy.proposals {
                match doc.proposals.get(&said.value) {
                    Some(proposal) if bound.insert(&said.value) => list.push((proposal, said.at)),
                    Some(_) => {}
                    // The router's own.
                    None if said.value == "default" => {
                        let message = "the policy names the router's default proposal; the gateway offers its own instead";
                        self.report.note(
                            &[said.at],
                            message,
                            "nothing to do if the peer takes AES-GCM or AES-CBC with SHA-2",
                        );
                    }
                    None => self.dangling(said.at, "IKEv2 proposal", &said.value, doc.proposals.names()),
                }
            }
        }
        if doc.policies.iter().next().is_none() {
            // The router's default policy has the proposal of that name.
            list.extend(doc.proposals.get("default").map(|p| (p, p.lines[0])));
            bound.insert("default");
        }
        for proposal in doc.proposals.iter().filter(|p| !bound.contains(p.name.as_str())) {
            let words: Vec<String> = said_words(proposal);
            let message = format!(
                "the proposal {} is bound to no policy, so nothing of it is offered: {}",
                proposal.name,
                words.join(", ")
            );
            self.report.warn(&proposal.lines, message, "name it in a `crypto ikev2 policy`, or remove it");
        }
        for (proposal, _) in list {
            self.proposal(proposal);
        }
        if self.out.proposals.len() > PROPOSALS_MAX {
            let count = self.out.proposals.len();
            self.out.proposals.truncate(PROPOSALS_MAX);
            self.report.warn(
                &[],
                format!("{count} proposals of IKE are more than a profile takes; {PROPOSALS_MAX} are kept"),
                "remove the weakest",
            );
        }
        if self.out.proposals.is_empty() && !self.used.is_empty() && bound.iter().all(|n| *n == "default") {
            let heads: Vec<At> = doc
                .ike_profiles
                .iter()
                .filter(|p| self.by_ike.contains_key(p.name.as_str()))
                .flat_map(|p| p.head())
                .copied()
                .collect();
            self.report.note(
                &heads,
                "no IKEv2 proposal is given: by default, IOS 15 offers the groups 5 and 2 alone, none of which is accepted here; \
                 IOS XE offers 19, 14, 21 and 5",
                "while the peer stays a router of IOS 15, give it a proposal with group 14, 19, 20 or 21, or write `peer: cisco` in its keyring entry",
            );
        }
    }

    fn proposal(&mut self, proposal: &IkeProposal) {
        let mut dropped: Vec<(String, At)> = Vec::new();
        let mut keep = |field: &Option<Said<Vec<String>>>, known: fn(&str) -> Option<&'static str>| {
            let mut out: Vec<&'static str> = Vec::new();
            if let Some(said) = field {
                for word in &said.value {
                    match known(word) {
                        Some(word) if !out.contains(&word) => out.push(word),
                        Some(_) => {}
                        None => dropped.push((word.clone(), said.at)),
                    }
                }
            }
            out
        };
        let encryption = keep(&proposal.encryption, encryption);
        let integrity = keep(&proposal.integrity, integrity);
        let prf = keep(&proposal.prf, prf);
        let groups = keep(&proposal.group, group);
        let ke1 = match &proposal.pqc {
            None => "",
            Some(said) if said.value.method == "mlkem768" => {
                if said.value.optional {
                    "-ke1_mlkem768-ke1_none"
                } else {
                    "-ke1_mlkem768"
                }
            }
            Some(said) => {
                dropped.push((said.value.method.clone(), said.at));
                ""
            }
        };
        let name = &proposal.name;
        let hybrid_lost = ke1.is_empty() && proposal.pqc.as_ref().is_some_and(|p| !p.value.optional);
        let (aead, cbc): (Vec<&str>, Vec<&str>) = encryption.iter().partition(|e| e.contains("gcm"));
        let mut made = Vec::new();
        if !groups.is_empty() && !hybrid_lost {
            let tail = format!("{}{ke1}", groups.join("-"));
            if !cbc.is_empty() && !integrity.is_empty() {
                let prf = if prf.is_empty() { String::new() } else { format!("{}-", prf.join("-")) };
                made.push(format!("{}-{}-{prf}{tail}", cbc.join("-"), integrity.join("-")));
            }
            if !aead.is_empty() && !prf.is_empty() {
                made.push(format!("{}-{}-{tail}", aead.join("-"), prf.join("-")));
            }
        }
        let words: Vec<&str> = dropped.iter().map(|(w, _)| w.as_str()).collect();
        if made.is_empty() && is_legacy(proposal) {
            self.out.old_peers = true;
            let message = format!(
                "the proposal {name} has {}, which is weak (RFC 8247): `peer: cisco` is written in each keyring entry, for which \
                 AES-CBC with SHA-1 and the groups 5 and 2 are offered last",
                said_words(proposal).join(", ")
            );
            let hint = "remove `peer: cisco` when the peers have SHA-2 and one of the groups 14, 19, 20, 21";
            self.report.warn(&proposal.lines, message, hint);
            return;
        }
        if made.is_empty() {
            let missing = match (encryption.is_empty(), groups.is_empty(), dropped.is_empty()) {
                (true, ..) => "no encryption is left",
                (_, true, _) => "no group is left",
                _ if hybrid_lost => "its post-quantum method is not offered",
                _ if !aead.is_empty() => "it has no prf, which AES-GCM needs",
                _ => "no integrity is left",
            };
            let all = said_words(proposal);
            let message = format!(
                "nothing of the proposal {name} is offered (RFC 8247): {missing}; it has {}",
                all.join(", ")
            );
            let hint = "offer AES-GCM or AES-CBC with SHA-2, and one of the groups 14, 15, 16, 19, 20, 21";
            self.report.error(&proposal.lines, message, hint);
            return;
        }
        if !words.is_empty() {
            let lines: Vec<At> =
                proposal.head().iter().copied().chain(dropped.iter().map(|(_, at)| *at)).collect();
            let message =
                format!("of the proposal {name} these are not offered and left out: {}", words.join(", "));
            self.report.warn(
                &lines,
                message,
                "a peer that has nothing else needs a stronger proposal (RFC 8247)",
            );
        }
        for made in made {
            if !self.out.proposals.contains(&made) {
                self.out.proposals.push(made);
            }
        }
    }

    /// IPsec profiles and transform sets → `ike.esp_proposals`, `ike.lifetime`, `dataplane.outside.dont_fragment`
    pub(super) fn esp(&mut self) {
        let doc = self.doc;
        let fragment = self.used.is_empty();
        let mut list: Vec<String> = Vec::new();
        let mut defaults: Vec<At> = Vec::new();
        let mut old: Vec<At> = Vec::new();
        let mut named: HashSet<&str> = HashSet::new();
        let mut refused: HashSet<&str> = HashSet::new();
        let profiles: Vec<&IpsecProfile> =
            doc.ipsec_profiles.iter().filter(|p| !self.foreign_ipsec.contains(p.name.as_str())).collect();
        for profile in &profiles {
            let used = self.used_ipsec.contains(profile.name.as_str()) || fragment;
            let group = self.pfs(profile);
            if profile.transforms.is_empty() {
                if used {
                    defaults.extend(profile.head());
                    list.extend(
                        ["aes256gcm16", "aes128gcm16"].map(|cipher| format!("{cipher}{}", suffix(group))),
                    );
                }
                continue;
            }
            for said in &profile.transforms {
                named.insert(&said.value);
                let Some(set) = doc.transforms.get(&said.value) else {
                    if said.value != "default" {
                        self.dangling(said.at, "transform set", &said.value, doc.transforms.names());
                    }
                    continue;
                };
                match cipher(&set.transforms) {
                    Some(Esp::Suite(suite)) if used => list.push(format!("{suite}{}", suffix(group))),
                    Some(Esp::Suite(_)) => {}
                    Some(Esp::Legacy) => {
                        if used {
                            old.extend(set.lines.iter().copied().chain([said.at]));
                        }
                    }
                    None => {
                        let lines: Vec<At> = if refused.insert(&set.name) {
                            set.lines.iter().copied().chain([said.at]).collect()
                        } else {
                            vec![said.at]
                        };
                        let message = format!(
                            "the transform set {} has {}, which ESP is not offered with",
                            set.name,
                            set.transforms.join(" ")
                        );
                        self.report.error(
                            &lines,
                            message,
                            "write esp-gcm 256, esp-gcm, or esp-aes 256 esp-sha256-hmac at both ends",
                        );
                    }
                }
            }
        }
        for set in doc.transforms.iter().filter(|s| !named.contains(s.name.as_str())) {
            self.report.ignore(
                &set.lines,
                Class::Unrelated,
                "no IPsec profile of vpn-sip uses this transform set",
            );
        }
        if !defaults.is_empty() {
            self.report.note(
                &defaults,
                "an IPsec profile has no transform set: the router's default is AES-CBC with SHA-1, which is not offered here",
                "while the peer stays a router, give it `crypto ipsec transform-set` with esp-gcm and `set transform-set`, or write `peer: cisco` in its keyring entry",
            );
        }
        if !old.is_empty() {
            old.sort_unstable();
            old.dedup();
            self.out.old_peers = true;
            self.report.warn(
                &old,
                "a transform set has AES with SHA-1, which is weak: `peer: cisco` is written in each keyring entry, for which it is offered last",
                "remove `peer: cisco` when the peers have esp-gcm, or esp-aes 256 esp-sha256-hmac",
            );
        }
        let mut seen = HashSet::new();
        list.retain(|p| seen.insert(p.clone()));
        if !fragment {
            self.differing_pfs(&profiles);
            // A peer that takes both is renewed with forward secrecy.
            list.sort_by_key(|p| !p.split('-').any(|word| GROUPS.iter().any(|(_, name)| *name == word)));
        }
        // What the gateway offers by itself needs no words.
        if list != ["aes256gcm16", "aes128gcm16"] && !fragment {
            list.truncate(PROPOSALS_MAX);
            self.out.esp_proposals = list;
        }
        let used: Vec<&IpsecProfile> = profiles
            .iter()
            .copied()
            .filter(|p| fragment || self.used_ipsec.contains(p.name.as_str()))
            .collect();
        let seconds = in_effect(&used, |p| p.lifetime_s.as_ref(), doc.lifetime_s.as_ref());
        let kilobytes = in_effect(&used, |p| p.lifetime_kb.as_ref(), doc.lifetime_kb.as_ref());
        self.out.child_s = self.smallest("the lifetime of IPsec SAs", seconds, SECONDS, LIFETIME);
        self.out.child_kb =
            self.smallest("the lifetime of IPsec SAs in kilobytes", kilobytes, KB_MIN..=u32::MAX, LIFETIME);
        let windows = in_effect(&used, |p| p.replay_window.as_ref(), doc.replay_window.as_ref());
        self.out.replay_window = windows.iter().map(|said| said.value).max();
        if windows.iter().any(|said| Some(said.value) != self.out.replay_window) {
            let lines: Vec<At> = windows.iter().map(|said| said.at).collect();
            let message =
                "replay windows differ, and the gateway has one for all tunnels; the largest was taken";
            self.report.note(&lines, message, "nothing to do: a larger window loses fewer packets");
        }
        self.out.dont_fragment = doc.df.as_ref().map(|d| d.value);
        self.settings();
    }

    /// The gateway has one list of ESP proposals for all tunnels.
    fn differing_pfs(&mut self, profiles: &[&IpsecProfile]) {
        let used = profiles.iter().filter(|p| self.used_ipsec.contains(p.name.as_str()));
        let used: Vec<&IpsecProfile> = used.copied().collect();
        let pfs = |p: &IpsecProfile| p.pfs.as_ref().map(|said| said.value.clone());
        let Some(first) = used.first().map(|p| pfs(p)) else { return };
        if used.iter().all(|p| pfs(p) == first) {
            return;
        }
        let lines: Vec<At> = used
            .iter()
            .flat_map(|p| p.pfs.as_ref().map_or(p.head(), |said| std::slice::from_ref(&said.at)))
            .copied()
            .collect();
        let message = "the IPsec profiles differ in `set pfs`, and the gateway has one list of ESP proposals for all tunnels: a tunnel may be renewed without the forward secrecy of its profile";
        let hint =
            "give every profile the same `set pfs`; or remove from `ike.esp_proposals` what no peer needs";
        self.report.warn(&lines, message, hint);
    }

    /// Settings of IKEv2 profiles that the gateway has once.
    fn settings(&mut self) {
        let doc = self.doc;
        let fragment = self.used.is_empty();
        let profiles: Vec<&IkeProfile> = doc
            .ike_profiles
            .iter()
            .filter(|p| {
                !self.unrelated.contains(p.name.as_str())
                    && (fragment || self.by_ike.contains_key(p.name.as_str()))
            })
            .collect();
        let lifetimes = profiles.iter().filter_map(|p| p.lifetime.as_ref());
        self.out.ike_s = self.smallest("the lifetime of IKE SAs", lifetimes.collect(), SECONDS, LIFETIME);
        let keepalives = in_effect(&profiles, |p| p.nat_keepalive.as_ref(), doc.nat_keepalive.as_ref());
        self.out.nat_keepalive_s =
            self.smallest("the NAT keepalive", keepalives, 1..=KEEPALIVE_MAX_S, OTHERS);
        let dpd = in_effect(&profiles, |p| p.dpd.as_ref(), doc.dpd.as_ref());
        if let Some(first) = dpd.first() {
            if dpd.iter().any(|d| d.value != first.value) {
                let lines: Vec<At> = dpd.iter().map(|d| d.at).collect();
                self.report.warn(
                    &lines,
                    "profiles differ in dpd, and the gateway has one for all; the first was taken",
                    "see which is meant",
                );
            }
            let mode = if first.value.periodic { "periodic" } else { "on-demand" };
            self.out.dpd = Some((
                mode,
                self.fit("the interval of dpd", first.value.interval_s, &[first.at], DPD_S, OTHERS),
            ));
        }
        if let Some(Said { value: Some(mtu), at }) = &doc.fragmentation {
            let range = FRAGMENT.start() + HEADERS..=FRAGMENT.end() + HEADERS;
            let mtu = self.fit("the mtu of crypto ikev2 fragmentation", *mtu, &[*at], range, OTHERS);
            self.out.fragment_bytes = Some(mtu - HEADERS);
        }
    }

    /// The value, or the nearest that the profile takes.
    fn fit(
        &mut self,
        what: &str,
        value: u32,
        lines: &[At],
        range: RangeInclusive<u32>,
        hint: &'static str,
    ) -> u32 {
        let fits = value.clamp(*range.start(), *range.end());
        if fits != value {
            let (least, most) = (range.start(), range.end());
            let bounds =
                if *most == u32::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
            let message = format!("{what} is {value}, and the gateway takes {bounds}: {fits} was taken");
            self.report.warn(lines, message, hint);
        }
        fits
    }

    /// The one value for all, 0 being no limit.
    fn smallest(
        &mut self,
        what: &str,
        list: Vec<&Said<u32>>,
        range: RangeInclusive<u32>,
        hint: &'static str,
    ) -> Option<u32> {
        let least = list.iter().map(|s| s.value).min_by_key(|value| value.wrapping_sub(1))?;
        if list.iter().any(|s| s.value != least) {
            let lines: Vec<At> = list.iter().map(|s| s.at).collect();
            let message =
                format!("profiles differ in {what}, and the gateway has one for all: {least} was taken");
            self.report.warn(&lines, message, "see which is meant");
        }
        let lines: Vec<At> = list.iter().filter(|s| s.value == least).map(|s| s.at).collect();
        Some(if least == 0 { 0 } else { self.fit(what, least, &lines, range, hint) })
    }

    fn pfs(&mut self, profile: &IpsecProfile) -> Option<&'static str> {
        let said = profile.pfs.as_ref()?;
        let number = said.value.trim_start_matches("group");
        let known = group(number);
        if known.is_none() {
            let message = format!("the group {number} of `set pfs` is not offered");
            self.report.error(&[said.at], message, "write group14, group19, group20 or group21 at both ends");
        }
        known
    }
}

/// Whether the gateway has the algorithms of the profile.
pub(super) fn is_offered(doc: &Document, profile: &IpsecProfile) -> bool {
    let sets = profile.transforms.iter().filter_map(|said| doc.transforms.get(&said.value));
    let pfs = profile.pfs.as_ref().is_none_or(|said| group(said.value.trim_start_matches("group")).is_some());
    pfs && sets.into_iter().all(|set| cipher(&set.transforms).is_some())
}

/// What is in force for each profile: its own value, or that of global configuration. Each is there once.
fn in_effect<'d, P, T>(
    profiles: &[&'d P],
    own: impl Fn(&'d P) -> Option<&'d Said<T>>,
    global: Option<&'d Said<T>>,
) -> Vec<&'d Said<T>> {
    if profiles.is_empty() {
        return global.into_iter().collect();
    }
    let mut seen = HashSet::new();
    profiles.iter().filter_map(|p| own(p).or(global)).filter(|said| seen.insert(said.at)).collect()
}

fn said_words(proposal: &IkeProposal) -> Vec<String> {
    let mut words: Vec<String> = [&proposal.encryption, &proposal.integrity, &proposal.prf]
        .into_iter()
        .flatten()
        .flat_map(|s| s.value.clone())
        .collect();
    words.extend(proposal.group.iter().flat_map(|s| &s.value).map(|g| format!("group {g}")));
    words.extend(proposal.pqc.iter().map(|p| p.value.method.clone()));
    words
}

/// Whether a peer of kind `cisco` is offered one of each of its lists.
fn is_legacy(proposal: &IkeProposal) -> bool {
    let has = |field: &Option<Said<Vec<String>>>, known: &[&str]| {
        field.as_ref().is_some_and(|said| said.value.iter().any(|word| known.contains(&word.as_str())))
    };
    const HASHES: &[&str] = &["sha1", "sha256", "sha384", "sha512"];
    has(&proposal.encryption, &["aes-cbc-128", "aes-cbc-256"])
        && has(&proposal.integrity, HASHES)
        && (proposal.prf.is_none() || has(&proposal.prf, HASHES))
        && has(&proposal.group, &["2", "5", "14", "19", "20", "21"])
        && proposal.pqc.as_ref().is_none_or(|said| said.value.optional)
}

fn suffix(group: Option<&'static str>) -> String {
    group.map(|g| format!("-{g}")).unwrap_or_default()
}

fn encryption(word: &str) -> Option<&'static str> {
    Some(match word {
        "aes-cbc-128" => "aes128",
        "aes-cbc-256" => "aes256",
        "aes-gcm-128" => "aes128gcm16",
        "aes-gcm-256" => "aes256gcm16",
        _ => return None,
    })
}

fn integrity(word: &str) -> Option<&'static str> {
    Some(match word {
        "sha256" => "sha256",
        "sha384" => "sha384",
        "sha512" => "sha512",
        _ => return None,
    })
}

fn prf(word: &str) -> Option<&'static str> {
    Some(match word {
        "sha256" => "prfsha256",
        "sha384" => "prfsha384",
        "sha512" => "prfsha512",
        _ => return None,
    })
}

/// Groups by their numbers (IANA), with the names of proposals.
pub const GROUPS: &[(&str, &str)] = &[
    ("14", "modp2048"),
    ("15", "modp3072"),
    ("16", "modp4096"),
    ("19", "ecp256"),
    ("20", "ecp384"),
    ("21", "ecp521"),
    ("31", "x25519"),
];

fn group(number: &str) -> Option<&'static str> {
    GROUPS.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// A transform set.
#[derive(Debug, PartialEq, Eq)]
enum Esp {
    Suite(String),
    /// AES with SHA-1.
    Legacy,
}

/// The transforms may stand in any order.
fn cipher(transforms: &[String]) -> Option<Esp> {
    let words: Vec<&str> = transforms.iter().map(String::as_str).collect();
    let (mut encryption, mut integrity) = (None, None);
    let mut rest = &words[..];
    while let [word, tail @ ..] = rest {
        let bits = tail.first().copied().filter(|w| w.bytes().all(|b| b.is_ascii_digit()));
        rest = &tail[usize::from(bits.is_some())..];
        let slot = if word.ends_with("-hmac") { &mut integrity } else { &mut encryption };
        if slot.replace((*word, bits)).is_some() {
            return None;
        }
    }
    let aes = match encryption? {
        ("esp-gcm", None | Some("128")) if integrity.is_none() => {
            return Some(Esp::Suite("aes128gcm16".to_owned()));
        }
        ("esp-gcm", Some("256")) if integrity.is_none() => {
            return Some(Esp::Suite("aes256gcm16".to_owned()));
        }
        ("esp-aes", None | Some("128")) => "aes128",
        ("esp-aes", Some("256")) => "aes256",
        _ => return None,
    };
    let hash = match integrity? {
        ("esp-sha256-hmac", None) => "sha256",
        ("esp-sha384-hmac", None) => "sha384",
        ("esp-sha512-hmac", None) => "sha512",
        ("esp-sha-hmac", None) => return Some(Esp::Legacy),
        _ => return None,
    };
    Some(Esp::Suite(format!("{aes}-{hash}")))
}
