//! `ike.certificates:`

use super::item::{Item, Table, all};
use super::secrets;
use super::text::path;
use crate::diagnose::Problem;
use crate::model::secret::PRIVATE_KEY;
use crate::model::{CertificateEntry, CrlPolicy, MapField, MapOp, MapRule, TrustPolicy, Word};
use std::collections::HashMap;

pub fn read(item: &Item<'_>) -> Option<Vec<CertificateEntry>> {
    let mut seen: HashMap<String, String> = HashMap::new();
    all(item, |i| certificate(i, &mut seen))
}

fn certificate(item: &Item<'_>, seen: &mut HashMap<String, String>) -> Option<CertificateEntry> {
    let table = item.table()?;
    let name_item = table.required("name");
    let name = name_item.as_ref().and_then(|i| i.text().map(str::to_owned));
    let chain = table.required("certificate").and_then(|i| path(&i));
    let key = secrets::one(&table, PRIVATE_KEY);
    let rsa_pss = table.flag("rsa_pss");
    let trust = table.required("trust").and_then(|i| i.table().and_then(|t| trust(&t)));
    table.finish();
    let (name, at) = (name?, name_item?);
    if let Some(first) = seen.insert(name.clone(), at.path.to_string()) {
        let shown = crate::diagnose::shown_raw(&name);
        let problem =
            Problem::error("pki::duplicate", &at.path, format!("two certificates are named {shown}"));
        at.report(problem.label(format!("already {first}")).hint("give each its own name"));
        return None;
    }
    Some(CertificateEntry { name, chain: chain?, key: key?, rsa_pss: rsa_pss?, trust: trust? })
}

fn trust(table: &Table<'_>) -> Option<TrustPolicy> {
    let self_signed = table.flag("self_signed");
    let check_self_signed_validity = table.flag("check_self_signed_validity");
    let ca = table.list("ca", path);
    let crl = table.value("crl", None, |i| i.table().and_then(|t| crl(&t)).map(Some));
    let maps = table.list("maps", map);
    table.finish();
    let trust = TrustPolicy {
        self_signed: self_signed?,
        check_self_signed_validity: check_self_signed_validity?,
        ca: ca?,
        crl: crl?,
        maps: maps?,
    };
    if trust.ca.is_empty() {
        if !trust.self_signed {
            let problem = Problem::error("pki::no-trust", &table.path, "no peer's certificate is trusted");
            table.report(problem.hint(
                "write `self_signed: true` for peers that sign their own, or `ca: [FILE]` for those of an authority",
            ));
            return None;
        }
        for item in ["crl", "maps"].into_iter().filter_map(|key| table.optional(key)) {
            let message = format!("`{}` is for certificates of an authority, and none is trusted", item.path);
            let problem = Problem::error("pki::no-authority", &item.path, message).at_key();
            table.report(problem.hint("add `ca: [FILE]`, or remove it"));
        }
    }
    Some(trust)
}

fn crl(table: &Table<'_>) -> Option<CrlPolicy> {
    let files = table.required("files").and_then(|i| all(&i, path));
    let fail = table.required("fail").and_then(|i| i.known_word());
    table.finish();
    Some(CrlPolicy { files: files?, fail_closed: fail? == "closed" })
}

fn map(map: &Item<'_>) -> Option<Vec<MapRule>> {
    let items = map.list()?;
    let rules: Vec<_> = items.iter().filter_map(rule).collect();
    if items.is_empty() {
        let problem =
            Problem::error("pki::empty-map", &map.path, "a map without rules accepts every certificate");
        map.report(problem.hint("add a rule, as in \"subject co O=Example Bank\", or remove the map"));
        return None;
    }
    (rules.len() == items.len()).then_some(rules)
}

/// `FIELD OP VALUE`, in the operators of IOS's certificate maps.
fn rule(item: &Item<'_>) -> Option<MapRule> {
    const HINT: &str = "write FIELD OP VALUE: subject, issuer or alt-name; eq, ne, co (contains) or nc (does not contain); \
                        the name, as in \"subject co O=Example Bank\"";
    let text = item.text()?;
    let mut words = text.trim().splitn(3, ' ');
    let field = words.next().and_then(MapField::from_word);
    let op = words.next().and_then(MapOp::from_word);
    let value = words.next().map(str::trim).filter(|v| !v.is_empty());
    match (field, op, value) {
        (Some(field), Some(op), Some(value)) => Some(MapRule { field, op, value: value.to_owned() }),
        _ => {
            item.bad_value(text, "a rule", HINT);
            None
        }
    }
}
