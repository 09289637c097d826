//! Which blocks belong to vpn-sip, and what an IKEv2 profile refers to.

use super::Work;
use super::algorithm::is_offered;
use super::keys::method;
use crate::ios::document::{Auth, Block, Identity, IkeProfile};
use crate::ios::report::Class;
use crate::model::{IkeIdentity, PeerIdentity};
use std::collections::HashSet;

impl Work<'_> {
    /// Profiles that only other tunnels use are no part of this; what nothing uses may have been meant.
    pub(super) fn relations(&mut self) {
        let doc = self.doc;
        if doc.interfaces.iter().all(|i| i.vpn_sip.is_none()) {
            return;
        }
        let (mut ours, mut others) = (Names::default(), Names::default());
        for interface in doc.interfaces.iter() {
            let Some(protection) = &interface.protection else { continue };
            let names = if interface.vpn_sip.is_some() { &mut ours } else { &mut others };
            names.ipsec.insert(protection.value.ipsec.as_str());
            let inherited =
                doc.ipsec_profiles.get(&protection.value.ipsec).and_then(|p| p.ike_profile.as_ref());
            names.ike.extend(protection.value.ike.as_deref().or(inherited.map(|s| s.value.as_str())));
        }
        for profile in doc.ike_profiles.iter() {
            let foreign = others.ike.contains(profile.name.as_str()) || !profile.remote_access.is_empty();
            if foreign && !ours.ike.contains(profile.name.as_str()) {
                self.unrelated.insert(&profile.name);
                self.report.ignore(&profile.lines, Class::Unrelated, "of tunnels without vpn-sip");
            }
        }
        for profile in doc.ipsec_profiles.iter() {
            let name = profile.name.as_str();
            let why = if ours.ipsec.contains(name) {
                continue;
            } else if others.ipsec.contains(name) {
                "of tunnels without vpn-sip"
            } else if !is_offered(doc, profile) {
                "no tunnel of vpn-sip uses this IPsec profile"
            } else {
                continue;
            };
            self.foreign_ipsec.insert(&profile.name);
            self.report.ignore(&profile.lines, Class::Unrelated, why);
        }
        let related: Vec<&IkeProfile> =
            doc.ike_profiles.iter().filter(|p| !self.unrelated.contains(p.name.as_str())).collect();
        let kept: HashSet<&str> = related.iter().flat_map(|p| keyrings(p)).collect();
        let foreign: HashSet<&str> =
            doc.ike_profiles.iter().flat_map(keyrings).filter(|k| !kept.contains(k)).collect();
        for keyring in doc.keyrings.iter().filter(|k| foreign.contains(k.name.as_str())) {
            let lines: Vec<_> =
                keyring.lines.iter().chain(keyring.peers.iter().flat_map(|p| &p.lines)).copied().collect();
            self.foreign_keyrings.insert(&keyring.name);
            self.report.ignore(&lines, Class::Unrelated, "of tunnels without vpn-sip");
        }
    }

    /// What every IKEv2 profile that matters refers to.
    pub(super) fn ike_settings(&mut self) {
        let doc = self.doc;
        let lines: Vec<String> = doc.lines.iter().map(|l| l.value.number.clone()).take(64).collect();
        for profile in self.related() {
            let used = self.by_ike.contains_key(profile.name.as_str());
            for said in [&profile.keyring, &profile.ppk_keyring].into_iter().flatten() {
                if doc.keyrings.get(&said.value).is_none() {
                    self.dangling(said.at, "keyring", &said.value, doc.keyrings.names());
                }
            }
            for said in &profile.trustpoints {
                if doc.trustpoints.get(&said.value.trustpoint).is_none() {
                    self.dangling(said.at, "trustpoint", &said.value.trustpoint, doc.trustpoints.names());
                }
            }
            for said in &profile.match_maps {
                if doc.maps.get(&said.value).is_none() {
                    self.dangling(said.at, "certificate map", &said.value, doc.maps.names());
                }
            }
            if let Some(said) = &profile.keyring_aaa {
                self.report.error(
                    &[said.at],
                    "keys of an AAA server cannot be read here",
                    "write them into a keyring of the file",
                );
            }
            if let Some(said) = profile.vrf.as_ref().filter(|_| used) {
                let message = format!(
                    "the profile {} is of the VRF {}, and tunnels of the gateway are in the global table",
                    profile.name, said.value
                );
                self.report.error(&[said.at], message, "give the VRF a gateway of its own");
            }
            for said in profile.remote_access.iter().filter(|_| used) {
                let message =
                    format!("the profile {} does what vpn-sip has not: {}", profile.name, said.value);
                self.report.error(
                    &[said.at],
                    message,
                    "remove it, or give the tunnels a profile of their own",
                );
            }
            self.names(profile);
            self.authentications(profile);
            self.identity(profile, &lines);
            if profile.force_encap != Some(true) && used {
                let message = format!(
                    "the profile {} has no `nat force-encap`, which vpn-sip needs on a router",
                    profile.name
                );
                self.report.warn(
                    profile.head(),
                    message,
                    "the gateway starts on port 4500 in any case; see the other end",
                );
            }
            self.matches(profile);
        }
    }

    /// `match identity remote` of something else than a number: the peer says that name instead of its number.
    fn names(&mut self, profile: &IkeProfile) {
        let used = self.by_ike.contains_key(profile.name.as_str());
        // Peers that say a number are taken besides, and with certificates any name is.
        let alone = !profile.match_any && profile.match_numbers.is_empty();
        let refused = alone && used && method(profile) == Auth::Psk && peer_identity(profile).is_none();
        for said in &profile.match_other {
            let message = format!("peers are found by number, not by `match identity remote {}`", said.value);
            if refused {
                let hint = "an entry of the keyring takes one name, or those of one domain: leave one such line, or write `identity local key-id NUMBER` at the peers and `match identity remote any` here";
                self.report.error(&[said.at], message, hint);
                continue;
            }
            let hint = if peer_identity(profile).is_some() {
                "its entry of the keyring has it as `peer_identity`, which is checked besides"
            } else if alone {
                "any name is accepted with a certificate: its fingerprint in SDP is the proof"
            } else {
                "peers that say their number are taken; those that say another name need `peer_identity` in their entry of the keyring"
            };
            self.report.warn(&[said.at], message, hint);
        }
    }

    fn authentications(&mut self, profile: &IkeProfile) {
        for said in profile.local.iter().chain(&profile.remote) {
            if let Auth::Other(method) = &said.value {
                let message = format!("authentication by {method} is not offered here");
                self.report.error(&[said.at], message, "write pre-share, rsa-sig or ecdsa-sig");
            }
        }
        if let Some(local) = &profile.local
            && !profile.remote.is_empty()
            && !profile.remote.iter().any(|r| r.value == local.value || matches!(r.value, Auth::Other(_)))
        {
            let lines: Vec<_> = profile.remote.iter().map(|r| r.at).chain([local.at]).collect();
            let message = format!(
                "the profile {} proves itself in one way and wants another of its peers",
                profile.name
            );
            self.report.error(
                &lines,
                message,
                "an entry of the profile's keyring has one proof for both: use the same method",
            );
        }
    }

    fn identity(&mut self, profile: &IkeProfile, lines: &[String]) {
        let Some(said) = &profile.identity else { return };
        match &said.value {
            Identity::KeyId(id) => {
                let own: Vec<&str> = match lines {
                    [] => self.tunnels_of(profile).map(|u| u.vpn_sip.local.as_str()).take(64).collect(),
                    lines => lines.iter().map(String::as_str).collect(),
                };
                let same = id.parse::<sipsec_net::TelNumber>().is_ok_and(|n| own.contains(&n.as_str()));
                if !own.is_empty() && !same {
                    let message = format!(
                        "the profile {} presents itself as {id}, and its line is {}",
                        profile.name, own[0]
                    );
                    let hint = "so does the gateway: its entries of the keyring have `identity`; remove it if the number of the line is meant";
                    self.report.warn(&[said.at], message, hint);
                }
            }
            Identity::Other(text) => {
                let message = format!("the profile {} presents itself by {text}", profile.name);
                let used = self.by_ike.contains_key(profile.name.as_str());
                match text.parse::<IkeIdentity>() {
                    Ok(_) => {
                        let hint = "so does the gateway: its entries of the keyring have `identity`";
                        self.report.warn(&[said.at], message, hint);
                    }
                    Err(_) if method(profile) == Auth::Signature && text == "dn" => {
                        let hint = "so does the gateway: it presents the subject of its certificate";
                        self.report.note(&[said.at], message, hint);
                    }
                    Err(_) if used => {
                        let hint = "write `identity local key-id NUMBER` with the number of the line, or `fqdn`, `email` or `address` with a value; the peer must expect the same";
                        self.report.error(&[said.at], message, hint);
                    }
                    Err(_) => {
                        let hint =
                            "the gateway presents the number of its line, or the subject of its certificate";
                        self.report.warn(&[said.at], message, hint);
                    }
                }
            }
        }
    }

    /// What the router says it is, if that is not the number of the tunnel's line, which the gateway says by itself.
    pub(super) fn own_identity(&self, profile: &IkeProfile, line: &str) -> Option<IkeIdentity> {
        match &profile.identity.as_ref()?.value {
            Identity::KeyId(id) => {
                let number = id.parse::<sipsec_net::TelNumber>();
                let own = |text: &str| number.as_ref().is_ok_and(|n| n.as_str() == text);
                let same = own(line) || self.doc.lines.iter().any(|l| own(&l.value.number));
                (!same).then(|| IkeIdentity::KeyId(id.clone()))
            }
            Identity::Other(text) => text.parse().ok(),
        }
    }

    /// Peers that the profile would not take.
    fn matches(&mut self, profile: &IkeProfile) {
        if profile.match_any || profile.match_numbers.is_empty() {
            return;
        }
        let number = |text: &str| text.parse::<sipsec_net::TelNumber>().ok().map(|n| n.to_string());
        let taken: HashSet<String> = profile.match_numbers.iter().filter_map(|m| number(&m.value)).collect();
        let missed: Vec<String> = self
            .tunnels_of(profile)
            .filter(|u| !taken.contains(&u.vpn_sip.remote))
            .map(|u| u.vpn_sip.remote.clone())
            .take(4)
            .collect();
        if !missed.is_empty() {
            let lines: Vec<_> = profile.match_numbers.iter().map(|m| m.at).collect();
            let message = format!(
                "the profile {} does not match {}, which a tunnel of it calls",
                profile.name,
                missed.join(", ")
            );
            self.report.warn(&lines, message, "the gateway takes the peer that the tunnel names");
        }
    }
}

impl<'a> Work<'a> {
    /// IKEv2 profiles that may be of vpn-sip.
    pub(super) fn related(&self) -> Vec<&'a IkeProfile> {
        self.doc.ike_profiles.iter().filter(|p| !self.unrelated.contains(p.name.as_str())).collect()
    }

    /// The tunnels that use an IKEv2 profile.
    pub(super) fn tunnels_of(&self, profile: &IkeProfile) -> impl Iterator<Item = &super::Used<'a>> {
        self.by_ike.get(profile.name.as_str()).into_iter().flatten().map(|i| &self.used[*i])
    }
}

/// The one identity by which a profile takes peers, or the one domain, if it is not their number.
pub(super) fn peer_identity(profile: &IkeProfile) -> Option<PeerIdentity> {
    let [one] = profile.match_other.as_slice() else { return None };
    let alone = !profile.match_any && profile.match_numbers.is_empty();
    let text = one.value.trim().strip_suffix(" 255.255.255.255").unwrap_or(&one.value);
    let words: Vec<&str> = text.split_whitespace().collect();
    let found = match words.as_slice() {
        ["fqdn", "domain", domain] => format!("fqdn *.{domain}").parse(),
        ["email", "domain", domain] => format!("email *@{domain}").parse(),
        // Every address, of which a peer says one.
        ["address", "0.0.0.0", ..] => return None,
        _ => text.parse(),
    };
    found.ok().filter(|_| alone)
}

#[derive(Default)]
struct Names<'a> {
    ipsec: HashSet<&'a str>,
    ike: HashSet<&'a str>,
}

fn keyrings(profile: &IkeProfile) -> impl Iterator<Item = &str> {
    [&profile.keyring, &profile.ppk_keyring].into_iter().flatten().map(|s| s.value.as_str())
}
