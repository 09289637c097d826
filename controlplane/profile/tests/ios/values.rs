//! The values of a case: `tunnels.NAME.key`, `ike.keyring` by number, and others by their path.

use crate::expectation::{Case, sequence};
use serde_yaml::Value;

/// Expectations in prose, which `prose` checks.
const PROSE: &[&str] = &["absent", "absent_keys", "profile", "if_read_by_another_command"];

pub fn wrong(case: &Case) -> Vec<String> {
    let profile = case.profile();
    let mut out = Vec::new();
    let values = case.expected["values"].as_mapping().cloned().unwrap_or_default();
    for (path, wanted) in &values {
        let path = path.as_str().expect("a path");
        if PROSE.contains(&path) {
            continue;
        }
        if let Err(found) = check(case, &profile, path, wanted) {
            out.push(format!("{}: {path} is {found} instead of {wanted:?}", case.name));
        }
    }
    for absent in ["absent", "absent_keys"].iter().flat_map(|key| sequence(&case.expected["values"][*key])) {
        if key_of(&profile, absent.as_str().expect("a number")).is_some() {
            out.push(format!("{}: there is a key for {absent:?}", case.name));
        }
    }
    if case.expected["values"]["profile"].as_str() == Some("none written") && case.import.is_profile {
        out.push(format!("{}: a profile is written", case.name));
    }
    out
}

fn check(case: &Case, profile: &Value, path: &str, wanted: &Value) -> Result<(), String> {
    let said = |found: &Value| format!("{found:?}");
    match path {
        "tunnels" => match wanted.as_sequence() {
            Some(names) => {
                let found: Vec<&str> =
                    sequence(&profile["tunnels"]).filter_map(|t| t["name"].as_str()).collect();
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                (found == names).then_some(()).ok_or(format!("{found:?}"))
            }
            // "Tunnel1 alone …"
            None => {
                let found: Vec<&str> =
                    sequence(&profile["tunnels"]).filter_map(|t| t["name"].as_str()).collect();
                (found == ["Tunnel1"]).then_some(()).ok_or(format!("{found:?}"))
            }
        },
        "ike.keyring" => keyring(profile, wanted),
        "sip.lines" => {
            let found: Vec<&Value> = sequence(&profile["sip"]["lines"]).map(|l| &l["number"]).collect();
            let wanted: Vec<&Value> = sequence(wanted).collect();
            (found == wanted).then_some(()).ok_or(format!("{found:?}"))
        }
        "ike.keyring[0].secret" => {
            let found = &profile["ike"]["keyring"][0]["psk"];
            (found == wanted).then_some(()).ok_or(said(found))
        }
        "ike.certificates" => {
            let found: Vec<&Value> = sequence(&profile["ike"]["certificates"]).map(|c| &c["name"]).collect();
            let wanted: Vec<&Value> = sequence(wanted).collect();
            (found == wanted).then_some(()).ok_or(format!("{found:?}"))
        }
        // Defaults, which may be left out.
        "ike.fragmentation" => {
            let found = &profile["ike"]["fragmentation"];
            (found.is_null() || found == wanted).then_some(()).ok_or(said(found))
        }
        "ike.esp_proposals" if wanted.is_string() => {
            let mut list = sequence(&profile["ike"]["esp_proposals"]).peekable();
            let all =
                list.peek().is_some() && list.all(|p| p.as_str().is_some_and(|p| p.contains("-ecp256")));
            all.then_some(()).ok_or("another".to_owned())
        }
        "ike.proposals" if wanted.is_string() => {
            let list: Vec<&str> = sequence(&profile["ike"]["proposals"]).filter_map(Value::as_str).collect();
            let expected = ["aes256-aes128-sha512-sha256-ecp256-modp2048", "aes256gcm16-prfsha512-ecp521"];
            (list == expected).then_some(()).ok_or(format!("{list:?}"))
        }
        _ => {
            if let Some(rest) = path.strip_prefix("ike.keyring.\"") {
                let (number, key) = rest.split_once("\".").expect("a number");
                assert_eq!(key, "secret");
                let found = key_of(profile, number).cloned().unwrap_or_default();
                return (found == *wanted).then_some(()).ok_or(said(&found));
            }
            if let Some(rest) = path.strip_prefix("ike.certificates.") {
                let (name, key) = rest.split_once(".trust").expect("its trust");
                let found = sequence(&profile["ike"]["certificates"])
                    .find(|c| c["name"] == *name)
                    .cloned()
                    .unwrap_or_default();
                return trust(&found["trust"], key.trim_start_matches('.'), wanted);
            }
            if let Some(rest) = path.strip_prefix("tunnels.") {
                let (name, key) = rest.split_once('.').map_or((rest, None), |(n, k)| (n, Some(k)));
                let name = name.rsplit('_').next().unwrap_or(name);
                let tunnel = sequence(&profile["tunnels"]).find(|t| t["name"] == *name).cloned();
                let tunnel = tunnel.ok_or("no tunnel of that name")?;
                return match key {
                    Some(key) => same(&tunnel, key, wanted),
                    None => wanted
                        .as_mapping()
                        .expect("keys")
                        .iter()
                        .try_for_each(|(k, v)| same(&tunnel, k.as_str().expect("a key"), v)),
                };
            }
            let mut found = profile.clone();
            for part in path.replace("[0]", ".0").split('.') {
                found = match part.parse::<usize>() {
                    Ok(i) => found[i].clone(),
                    Err(_) => found[part].clone(),
                };
            }
            let _ = case;
            (found == *wanted).then_some(()).ok_or(said(&found))
        }
    }
}

fn same(tunnel: &Value, key: &str, wanted: &Value) -> Result<(), String> {
    let found = &tunnel[key];
    // The default of the gateway.
    let default = key == "idle_s" && found.is_null() && wanted.as_u64() == Some(120);
    (found == wanted || default).then_some(()).ok_or(format!("{key}: {found:?}"))
}

fn trust(found: &Value, key: &str, wanted: &Value) -> Result<(), String> {
    match key {
        "" => wanted
            .as_mapping()
            .expect("keys")
            .iter()
            .try_for_each(|(k, v)| trust(found, k.as_str().expect("a key"), v)),
        "self_signed" => {
            let is = found["self_signed"].as_bool().unwrap_or(false);
            (Some(is) == wanted.as_bool()).then_some(()).ok_or(format!("{is}"))
        }
        "crl.fail" => (found["crl"]["fail"] == *wanted).then_some(()).ok_or(format!("{found:?}")),
        _ => (found[key] == *wanted).then_some(()).ok_or(format!("{found:?}")),
    }
}

/// `{ NUMBER: KEY, … }` or `[ { number: …, certificate: … }, … ]`
fn keyring(profile: &Value, wanted: &Value) -> Result<(), String> {
    if let Some(map) = wanted.as_mapping() {
        for (number, key) in map {
            let found = key_of(profile, number.as_str().expect("a number"));
            if found != Some(key) {
                return Err(format!("{number:?}: {found:?}"));
            }
        }
        let count = sequence(&profile["ike"]["keyring"]).count();
        return (count == map.len()).then_some(()).ok_or(format!("{count} entries"));
    }
    for entry in sequence(wanted) {
        let Some(certificate) = entry.get("certificate") else { continue };
        let found = sequence(&profile["ike"]["keyring"]).find(|e| e["number"] == entry["number"]);
        if found.map(|f| &f["certificate"]) != Some(certificate) {
            return Err(format!("{found:?}"));
        }
    }
    Ok(())
}

fn key_of<'a>(profile: &'a Value, number: &str) -> Option<&'a Value> {
    sequence(&profile["ike"]["keyring"]).find(|e| e["number"] == *number).map(|e| &e["psk"])
}
