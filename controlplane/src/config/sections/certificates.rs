//! `ike.certificates:`

use super::flag;
use crate::config::diagnostic::Problem;
use crate::config::profile::{Certificate, Crl, Trust};
use crate::config::reader::{Item, Table};
use sipsec_ike::CertificateMap;
use sipsec_ike::config::{MapField, MapOp, MapRule};
use std::collections::HashMap;
use std::path::PathBuf;

const EXAMPLE: &str = "{ self_signed: true }";

pub fn read(item: &Item<'_>) -> Option<Vec<Certificate>> {
    let items = item.list()?;
    let mut seen: HashMap<String, String> = HashMap::new();
    let out: Vec<_> = items.iter().filter_map(|i| certificate(i, &mut seen)).collect();
    (out.len() == items.len()).then_some(out)
}

fn certificate(item: &Item<'_>, seen: &mut HashMap<String, String>) -> Option<Certificate> {
    let table = item.table()?;
    let name_item = table.required("name", "gateway");
    let name = name_item.as_ref().and_then(|i| i.text().map(str::to_owned));
    let chain = table.required("certificate", "/etc/sipsec/pki/gateway.crt").and_then(|i| path(&i));
    let key = table.required("key", "/etc/sipsec/pki/gateway.key").and_then(|i| path(&i));
    let rsa_pss = flag(&table, "rsa_pss", true);
    let trust = table.required("trust", EXAMPLE).and_then(|i| i.table().and_then(|t| trust(&t)));
    table.finish();
    let (name, at) = (name?, name_item?);
    if let Some(first) = seen.insert(name.clone(), at.path.to_string()) {
        let problem =
            Problem::error("pki::duplicate", &at.path, format!("two certificates are named {name}"));
        at.report(problem.label(format!("already {first}")).cure("give each its own name"));
        return None;
    }
    Some(Certificate { name, chain: chain?, key: key?, rsa_pss: rsa_pss?, trust: trust? })
}

fn path(item: &Item<'_>) -> Option<PathBuf> {
    item.text().map(PathBuf::from)
}

fn paths(item: &Item<'_>) -> Option<Vec<PathBuf>> {
    let items = item.list()?;
    let out: Vec<_> = items.iter().filter_map(path).collect();
    (out.len() == items.len()).then_some(out)
}

fn trust(table: &Table<'_>) -> Option<Trust> {
    let self_signed = flag(table, "self_signed", false);
    let check_self_signed_validity = flag(table, "check_self_signed_validity", false);
    let ca = match table.optional("ca") {
        Some(i) => paths(&i),
        None => Some(Vec::new()),
    };
    let crl_item = table.optional("crl");
    let crl = match &crl_item {
        Some(i) => i.table().and_then(|t| crl(&t)).map(Some),
        None => Some(None),
    };
    let maps_item = table.optional("maps");
    let maps = match &maps_item {
        Some(i) => maps(i),
        None => Some(Vec::new()),
    };
    table.finish();
    let trust = Trust {
        self_signed: self_signed?,
        check_self_signed_validity: check_self_signed_validity?,
        ca: ca?,
        crl: crl?,
        maps: maps?,
    };
    if trust.ca.is_empty() {
        if !trust.self_signed {
            let problem = Problem::error("pki::no-trust", &table.path, "no peer's certificate is trusted");
            table.report(problem.cure(
                "write `self_signed: true` for peers that sign their own, or `ca: [FILE]` for those of an authority",
            ));
            return None;
        }
        for item in [&crl_item, &maps_item].into_iter().flatten() {
            let message = format!("`{}` is for certificates of an authority, and none is trusted", item.path);
            let problem = Problem::error("pki::no-authority", &item.path, message).at_key();
            table.report(problem.cure("add `ca: [FILE]`, or remove it"));
        }
    }
    Some(trust)
}

fn crl(table: &Table<'_>) -> Option<Crl> {
    let files = table.required("files", "[/etc/sipsec/pki/corp.crl]").and_then(|i| paths(&i));
    let fail = table.required("fail", "closed").and_then(|i| match i.text()? {
        "open" => Some(false),
        "closed" => Some(true),
        other => {
            let cure = "write closed to refuse what no current list covers, or open to believe it";
            i.bad_value(other, "open or closed", cure);
            None
        }
    });
    table.finish();
    Some(Crl { files: files?, fail_closed: fail? })
}

/// A list of maps, each a list of rules.
fn maps(item: &Item<'_>) -> Option<Vec<CertificateMap>> {
    let items = item.list()?;
    let map = |map: &Item<'_>| {
        let items = map.list()?;
        let rules: Vec<_> = items.iter().filter_map(rule).collect();
        if items.is_empty() {
            let problem =
                Problem::error("pki::empty-map", &map.path, "a map without rules accepts everything");
            map.report(problem.cure("add a rule, as in \"subject co O=Example Bank\", or remove the map"));
            return None;
        }
        (rules.len() == items.len()).then_some(CertificateMap { rules })
    };
    let out: Vec<_> = items.iter().filter_map(map).collect();
    (out.len() == items.len()).then_some(out)
}

/// `FIELD OP VALUE`, in the operators of IOS's certificate maps.
fn rule(item: &Item<'_>) -> Option<MapRule> {
    const CURE: &str = "write FIELD OP VALUE: subject, issuer or alt-name; eq, ne, co (contains) or nc (contains not); the name, as in \"subject co O=Example Bank\"";
    let text = item.text()?;
    let mut words = text.trim().splitn(3, ' ');
    let field = match words.next() {
        Some("subject") => Some(MapField::Subject),
        Some("issuer") => Some(MapField::Issuer),
        Some("alt-name") => Some(MapField::AltName),
        _ => None,
    };
    let op = match words.next() {
        Some("eq") => Some(MapOp::Eq),
        Some("ne") => Some(MapOp::Ne),
        Some("co") => Some(MapOp::Co),
        Some("nc") => Some(MapOp::Nc),
        _ => None,
    };
    let value = words.next().map(str::trim).filter(|v| !v.is_empty());
    match (field, op, value) {
        (Some(field), Some(op), Some(value)) => Some(MapRule { field, op, value: value.to_owned() }),
        _ => {
            item.bad_value(text, "a rule", CURE);
            None
        }
    }
}
