//! `ike:`

use super::{certificates, flag, lifetime, number, ppk, proposals, seconds, secret};
use crate::config::diagnostic::Problem;
use crate::config::profile::{Ike, KeyEntry, KeyOwner, Proof};
use crate::config::reader::{Item, Table};
use crate::config::yaml::Node;
use sipsec_ike::{Dpd, DpdMode, NAT_KEEPALIVE};
use sipsec_session::PeerKind;
use std::collections::HashMap;
use std::path::PathBuf;

const DPD_DEFAULT_S: u64 = 10;
const FRAGMENT_DEFAULT: u16 = 1200;
/// Smaller ones would be more than a peer takes, larger ones do not fit Ethernet with what lies around them.
const FRAGMENT: std::ops::RangeInclusive<u16> = 200..=1400;
const DEADLINE_DEFAULT_S: u64 = 15;

pub fn read(item: &Item<'_>) -> Option<Ike> {
    let table = item.table()?;
    let keyring = table
        .required("keyring", "[{ number: \"0388882001\", psk_file: /etc/sipsec/psk }]")
        .and_then(|i| keyring(&i));
    let certificates = match table.optional("certificates") {
        Some(i) => certificates::read(&i),
        None => Some(Vec::new()),
    };
    let force_encap = flag(&table, "force_encap", true);
    let dpd = dpd(&table);
    let nat_keepalive = seconds(&table, "nat_keepalive_s", NAT_KEEPALIVE.as_secs(), 0..=3600);
    let fragment_bytes = fragment_bytes(&table);
    let negotiation_deadline = seconds(&table, "negotiation_deadline_s", DEADLINE_DEFAULT_S, 1..=300);
    // Off unless asked for: a hash of a weak key in clear-text SIP lets anyone on the path guess at leisure.
    let psk_fingerprint = flag(&table, "psk_fingerprint", false);
    let (proposals, esp_proposals) = (proposals::ike(&table), proposals::esp(&table));
    let lifetimes = lifetime::read(&table);
    let lab_key_log = match table.optional("lab_key_log") {
        Some(i) => key_log(&i).map(Some),
        None => Some(None),
    };
    table.finish();
    Some(Ike {
        keyring: keyring?,
        proposals: proposals?,
        esp_proposals: esp_proposals?,
        lifetimes: lifetimes?,
        certificates: certificates?,
        force_encap: force_encap?,
        dpd: dpd?,
        nat_keepalive: nat_keepalive.map(|idle| (!idle.is_zero()).then_some(idle))?,
        fragment_bytes: fragment_bytes?,
        negotiation_deadline: negotiation_deadline?,
        psk_fingerprint: psk_fingerprint?,
        lab_key_log: lab_key_log?,
    })
}

fn dpd(table: &Table<'_>) -> Option<Dpd> {
    let mode = match table.optional("dpd_mode") {
        Some(item) => match item.text()? {
            "on-demand" => Some(DpdMode::OnDemand),
            "periodic" => Some(DpdMode::Periodic),
            "off" => Some(DpdMode::Off),
            other => {
                let cure =
                    "write on-demand to ask a silent peer alone, periodic to ask whatever is heard, or off";
                item.bad_value(other, "on-demand, periodic or off", cure);
                None
            }
        },
        None => Some(DpdMode::OnDemand),
    };
    let interval = seconds(table, "dpd_s", DPD_DEFAULT_S, 1..=3600);
    Some(Dpd { mode: mode?, interval: interval? })
}

/// The outer `None` is an error; the inner one, that messages are sent whole.
fn fragment_bytes(table: &Table<'_>) -> Option<Option<usize>> {
    let on = flag(table, "fragmentation", true);
    let size_item = table.optional("fragment_bytes");
    let size = match &size_item {
        Some(item) => item.int(FRAGMENT),
        None => Some(FRAGMENT_DEFAULT),
    };
    if let (Some(false), Some(item)) = (on, &size_item) {
        let message = format!("`{}` has no meaning without fragmentation", item.path);
        let problem = Problem::error("ike::fragmentation", &item.path, message).at_key();
        table.report(problem.cure("remove it, or remove `fragmentation: false`"));
        return None;
    }
    let size = usize::from(size?);
    Some(on?.then_some(size))
}

fn key_log(item: &Item<'_>) -> Option<PathBuf> {
    let directory = PathBuf::from(item.text()?);
    let message = format!("every key of every session is written to {} in clear", directory.display());
    let problem = Problem::warning("ike::key-log", &item.path, message).at_key();
    item.report(
        problem
            .label("for captures in a lab")
            .cure("remove it from any gateway that carries somebody's traffic"),
    );
    Some(directory)
}

fn keyring(item: &Item<'_>) -> Option<Vec<KeyEntry>> {
    let mut out = Vec::new();
    let mut seen: HashMap<String, String> = HashMap::new();
    let items = item.list()?;
    let wanted = items.len();
    for entry in items {
        let Some(table) = entry.table() else { continue };
        let number_item = table.required("number", "\"0388882001\"");
        let owner = number_item.as_ref().and_then(|i| match i.node {
            Node::Str(s) if s == "any" => Some(KeyOwner::Any),
            _ => number(i).map(KeyOwner::Number),
        });
        let proof = proof(&table);
        let ppk = ppk::read(&table);
        let peer = match table.optional("peer") {
            Some(i) => peer(&i),
            None => Some(PeerKind::Generic),
        };
        table.finish();
        let (Some(owner), Some(at)) = (owner, number_item) else { continue };
        let name = match owner {
            KeyOwner::Any => "any".to_owned(),
            KeyOwner::Number(n) => n.to_string(),
        };
        if let Some(first) = seen.insert(name.clone(), at.path.to_string()) {
            let problem = Problem::error("ike::duplicate-key", &at.path, format!("{name} has two keys"));
            at.report(
                problem.label(format!("already {first}")).cure("keep the entry whose key the peer has"),
            );
            continue;
        }
        if let (Some(proof), Some(ppk), Some(peer)) = (proof, ppk, peer) {
            out.push(KeyEntry { owner, proof, ppk, peer });
        }
    }
    (out.len() == wanted).then_some(out)
}

/// A pre-shared key or the name of a certificate.
fn proof(table: &Table<'_>) -> Option<Proof> {
    const PSK: [&str; 3] = ["psk", "psk_file", "psk_env"];
    let Some(named) = table.optional("certificate") else { return secret(table, PSK).map(Proof::Psk) };
    if let Some(psk) = PSK.into_iter().find_map(|key| table.optional(key)) {
        let message = format!("`{}` has a pre-shared key and a certificate", table.path);
        let problem = Problem::error("ike::two-proofs", &psk.path, message).at_key();
        table.report(problem.label("the other one").cure("keep the one that the peer uses, too"));
        return None;
    }
    named.text().map(|name| Proof::Certificate(name.to_owned()))
}

fn peer(item: &Item<'_>) -> Option<PeerKind> {
    match item.text()? {
        "generic" => Some(PeerKind::Generic),
        "cisco" => Some(PeerKind::Cisco),
        other => {
            let cure = "write generic, or cisco for a router that announces SHA-1 fingerprints alone";
            item.bad_value(other, "a kind of peer", cure);
            None
        }
    }
}
