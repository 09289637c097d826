//! `ike:`

use super::{flag, number, proposals, seconds, secret};
use crate::config::diagnostic::Problem;
use crate::config::profile::{Ike, KeyEntry, KeyOwner};
use crate::config::reader::Item;
use crate::config::yaml::Node;
use std::collections::HashMap;
use std::path::PathBuf;

const DPD_DEFAULT_S: u64 = 10;
const DEADLINE_DEFAULT_S: u64 = 15;

pub fn read(item: &Item<'_>) -> Option<Ike> {
    let table = item.table()?;
    let keyring = table
        .required("keyring", "[{ number: \"0388882001\", psk_file: /etc/sipsec/psk }]")
        .and_then(|i| keyring(&i));
    let force_encap = flag(&table, "force_encap", true);
    let dpd = seconds(&table, "dpd_s", DPD_DEFAULT_S, 1..=3600);
    let negotiation_deadline = seconds(&table, "negotiation_deadline_s", DEADLINE_DEFAULT_S, 1..=300);
    // Off unless asked for: a hash of a weak key in clear-text SIP lets anyone on the path guess at leisure.
    let psk_fingerprint = flag(&table, "psk_fingerprint", false);
    let (proposals, esp_proposals) = (proposals::ike(&table), proposals::esp(&table));
    let lab_key_log = match table.optional("lab_key_log") {
        Some(i) => key_log(&i).map(Some),
        None => Some(None),
    };
    table.finish();
    Some(Ike {
        keyring: keyring?,
        proposals: proposals?,
        esp_proposals: esp_proposals?,
        force_encap: force_encap?,
        dpd: dpd?,
        negotiation_deadline: negotiation_deadline?,
        psk_fingerprint: psk_fingerprint?,
        lab_key_log: lab_key_log?,
    })
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
        let psk = secret(&table, ["psk", "psk_file", "psk_env"]);
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
        if let Some(psk) = psk {
            out.push(KeyEntry { owner, psk });
        }
    }
    (out.len() == wanted).then_some(out)
}
