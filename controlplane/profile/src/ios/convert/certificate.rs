//! Trustpoints and maps → `ike.certificates`.

use super::Work;
use super::keys::method;
use super::reference::peer_identity;
use crate::ios::conversion::{Certificate, KeyEntry, Proof};
use crate::ios::document::{Auth, Block, IkeProfile, Revocation, Trustpoint};
use crate::ios::report::Class;
use std::collections::{HashMap, HashSet};

/// Trustpoints that a router makes for itself.
const OWN: &[&str] = &["TP-self-signed-", "SLA-TrustPoint", "CISCO_IDEVID", "CISCO_ROOT", "Cisco_", "SLA-"];

fn is_own(name: &str) -> bool {
    OWN.iter().any(|o| name.starts_with(o))
}

impl<'a> Work<'a> {
    pub(super) fn certificates(&mut self) {
        let doc = self.doc;
        let mut named: HashSet<&str> = HashSet::new();
        let mut entries: HashMap<&str, Vec<Certificate>> = HashMap::new();
        let mut order: Vec<&str> = Vec::new();
        let mut certified = Vec::new();
        for profile in self.related() {
            named.extend(profile.trustpoints.iter().map(|t| t.value.trustpoint.as_str()));
            if method(profile) != Auth::Signature {
                continue;
            }
            let Some(point) = self.own_trustpoint(profile) else { continue };
            named.insert(&point.name);
            let wanted = self.certificate(point, profile);
            let list = entries.entry(&point.name).or_insert_with(|| {
                order.push(&point.name);
                Vec::new()
            });
            // Maps belong to the profile on IOS, and to the certificate here.
            let place =
                list.iter().position(|c| c.maps == wanted.maps && c.self_signed == wanted.self_signed);
            let index = place.unwrap_or_else(|| {
                let name = if list.is_empty() {
                    wanted.name.clone()
                } else {
                    format!("{}-{}", wanted.name, profile.name)
                };
                list.push(Certificate { name, ..wanted });
                list.len() - 1
            });
            certified.push((profile.name.as_str(), list[index].name.clone()));
        }
        let by_profile: HashMap<&str, String> = certified.into_iter().collect();
        let mut seen: HashSet<String> = self.out.keyring.iter().filter_map(|k| k.number.clone()).collect();
        for used in &self.used {
            let Some(name) = used.ike.and_then(|p| by_profile.get(p.name.as_str())) else { continue };
            if seen.insert(used.vpn_sip.remote.clone()) {
                let profile = used.ike;
                self.out.keyring.push(KeyEntry {
                    number: Some(used.vpn_sip.remote.clone()),
                    proof: Proof::Certificate(name.clone()),
                    ppk: None,
                    identity: profile.and_then(|p| self.own_identity(p, &used.vpn_sip.local)),
                    peer_identity: profile.and_then(peer_identity),
                });
            }
        }
        let found = order.iter().any(|name| !is_own(name));
        for name in order {
            self.out.certificates.extend(entries.remove(name).unwrap_or_default());
        }
        for point in doc.trustpoints.iter() {
            let uses = named.contains(point.name.as_str());
            if is_own(&point.name) && !uses {
                self.unrelated_trustpoint(point, "the router made it for itself");
            } else if !uses && found {
                self.unrelated_trustpoint(point, "no profile of vpn-sip uses this trustpoint");
            } else if !uses {
                // A fragment, or a profile whose reference is wrong: it may be the one that is meant.
                let maps = if point.self_signed { Vec::new() } else { self.all_maps() };
                let entry = self.entry(point, maps);
                self.out.certificates.push(entry);
            }
        }
        for (name, lines) in doc.chains.iter().map(|c| (c.name.as_str(), &c.lines)) {
            let uses =
                named.contains(name) || (!is_own(name) && doc.trustpoints.get(name).is_some() && !found);
            if !uses {
                self.report.ignore(lines, Class::Unrelated, "of a trustpoint that vpn-sip does not use");
            }
        }
        self.ask_for_files();
    }

    fn unrelated_trustpoint(&mut self, point: &Trustpoint, why: &'static str) {
        self.report.ignore(&point.lines, Class::Unrelated, why);
    }

    /// The trustpoint whose certificate the profile presents.
    fn own_trustpoint(&mut self, profile: &IkeProfile) -> Option<&'a Trustpoint> {
        let doc = self.doc;
        let sign = profile.trustpoints.iter().rev().find(|t| t.value.sign);
        if let Some(said) = sign.or(profile.trustpoints.last()) {
            let verify = profile
                .trustpoints
                .iter()
                .find(|t| t.value.verify && t.value.trustpoint != said.value.trustpoint);
            if let Some(other) = verify {
                let message = format!(
                    "the profile {} signs by {} and verifies by {}, too",
                    profile.name, said.value.trustpoint, other.value.trustpoint
                );
                let hint = "add the authority of the other one to `trust.ca` of the certificate";
                self.report.warn(&[said.at, other.at], message, hint);
            }
            return doc.trustpoints.get(&said.value.trustpoint);
        }
        let mut own = doc.trustpoints.iter().filter(|t| !is_own(&t.name));
        match (own.next(), own.next()) {
            (Some(one), None) => {
                let message =
                    format!("the profile {} names no trustpoint; {} is the only one", profile.name, one.name);
                self.report.warn(profile.head(), message, "see whether it is meant");
                Some(one)
            }
            _ => {
                let message = format!("the profile {} has signatures and no trustpoint", profile.name);
                self.report.error(profile.head(), message, "add `pki trustpoint NAME`");
                None
            }
        }
    }

    fn certificate(&mut self, point: &Trustpoint, profile: &IkeProfile) -> Certificate {
        let doc = self.doc;
        let maps: Vec<Vec<String>> = profile
            .match_maps
            .iter()
            .filter_map(|m| doc.maps.get(&m.value))
            .flat_map(|m| m.entries.iter().map(|(_, rules)| rules.clone()))
            .filter(|rules| !rules.is_empty())
            .collect();
        if point.self_signed && !maps.is_empty() {
            let lines: Vec<_> = profile.match_maps.iter().map(|m| m.at).collect();
            self.report.warn(
                &lines,
                "maps are for certificates of an authority; for self-signed ones the fingerprint in SDP vouches",
                "nothing to do: the fingerprint is the stronger check",
            );
            return self.entry(point, Vec::new());
        }
        self.entry(point, maps)
    }

    fn all_maps(&self) -> Vec<Vec<String>> {
        let entries = self.doc.maps.iter().flat_map(|m| m.entries.iter());
        entries.map(|(_, rules)| rules.clone()).filter(|rules| !rules.is_empty()).collect()
    }

    fn entry(&mut self, point: &Trustpoint, maps: Vec<Vec<String>>) -> Certificate {
        let revocation = point.revocation.as_ref();
        let crl = match revocation.map(|r| r.value) {
            _ if point.self_signed => None,
            // IOS checks a list unless told otherwise.
            Some(Revocation::Crl) | None => Some("closed"),
            Some(Revocation::CrlNone) => Some("open"),
            Some(Revocation::None) => None,
            Some(Revocation::Other) => {
                let lines: Vec<_> = revocation.map(|r| r.at).into_iter().collect();
                let message = format!(
                    "the trustpoint {} checks revocation in a way that is not offered here (OCSP)",
                    point.name
                );
                self.report.warn(&lines, message, "a revocation list is asked for instead");
                Some("closed")
            }
        };
        Certificate { name: point.name.clone(), self_signed: point.self_signed, crl, maps }
    }

    /// What no running-config holds.
    fn ask_for_files(&mut self) {
        for certificate in &self.out.certificates {
            let name = &certificate.name;
            let key = format!("ike.certificates.{name}");
            if certificate.self_signed {
                let what = format!(
                    "the private key and the certificate, which no configuration holds: `sipsec pki self-signed {name}` makes them"
                );
                self.report.ask(format!("{key}.key"), what);
                continue;
            }
            let what = format!(
                "the private key, which no configuration holds: `sipsec pki csr {name}` makes a new one and its request"
            );
            self.report.ask(format!("{key}.key"), what);
            let what = format!("the certificate as PEM: `sipsec pki cert-import {name} FILE --ca CA`");
            self.report.ask(format!("{key}.certificate"), what);
            let what = format!(
                "the certificate of the authority (CA) as PEM: `sipsec pki ca-import {name}-ca FILE`"
            );
            self.report.ask(format!("{key}.trust.ca"), what);
            if certificate.crl.is_some() {
                self.report.ask(format!("{key}.trust.crl"), "a revocation list of the authority");
            }
        }
    }
}
