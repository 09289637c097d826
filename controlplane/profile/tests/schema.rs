//! The JSON schema, as an editor's validator uses it: what the reader of profiles accepts is valid, and what operators write
//! wrongly is not.

#[path = "schema/validator.rs"]
mod validator;

use serde_json::Value;
use sipsec_profile::ios::{self, Options, Source, write};
use sipsec_profile::{Nothing, examine};
use std::path::{Path, PathBuf};
use validator::Validator;

const GOOD: &str = include_str!("../../../deploy/profiles/lab-branch.yaml");

fn validator() -> Validator {
    Validator::new(sipsec_profile::schema::json_schema())
}

fn json(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).expect("YAML")
}

/// What is wrong with a profile.
fn errors(validator: &Validator, yaml: &str) -> Vec<String> {
    validator.errors(&json(yaml))
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut list: Vec<PathBuf> =
        std::fs::read_dir(root).expect("a directory").map(|e| e.expect("an entry").path()).collect();
    list.retain(|path| path.extension().is_some_and(|e| e == extension));
    list.sort();
    list
}

#[test]
fn profiles_that_are_read_are_valid() {
    let validator = validator();
    let mut count = 0;
    for path in files("../../deploy/profiles", "yaml").into_iter().chain(files("tests/profiles", "yaml")) {
        let text = std::fs::read_to_string(&path).expect("readable");
        if examine("x.yaml", text.as_bytes(), &Nothing).findings.errors() > 0 {
            continue; // one that shows mistakes, or names files
        }
        assert_eq!(errors(&validator, &text), [""; 0], "{}", path.display());
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

/// What the import asks for is no value of the schema; with it filled in, the profile is valid.
#[test]
fn imported_profiles_are_valid_once_they_are_filled_in() {
    let validator = validator();
    let mut count = 0;
    for path in files("tests/ios/cases", "txt") {
        let bytes = std::fs::read(&path).expect("readable");
        let found = ios::import(&[Source { name: "x", bytes: &bytes }], &Options::default());
        if found.conversion.is_empty() {
            continue;
        }
        for keys in [write::Keys::Inline, write::Keys::Files("/etc/sipsec".into())] {
            let written = write::profile(&found.conversion, Some("gateway"), &keys, "");
            let text = written
                .profile
                .replace(write::REGISTRAR, "198.51.100.1:5060")
                .replace(write::DOMAIN, "carrier.example")
                .replace("<the number of the line>", "0300000000");
            // `<the device of …>`
            let devices = text.split("<the device of ").enumerate();
            let text: String = devices
                .map(|(n, part)| match (n, part.split_once('>')) {
                    (0, _) | (_, None) => part.to_owned(),
                    (_, Some((_, rest))) => format!("wan0{rest}"),
                })
                .collect();
            assert_eq!(errors(&validator, &text), [""; 0], "{}:\n{text}", path.display());
        }
        count += 1;
    }
    assert!(count >= 30, "{count}");
    let open =
        write::profile(&ios::import(&[], &Options::default()).conversion, None, &write::Keys::Inline, "");
    assert!(!errors(&validator, &open.profile).is_empty(), "questions are no values");
}

/// Each is refused by the reader as well: an editor that marks more, or less, would teach the wrong thing.
#[test]
fn what_operators_write_wrongly_is_marked() {
    let validator = validator();
    assert_eq!(errors(&validator, GOOD), [""; 0]);
    let psk = "psk: \"lab-only-3f9d1c7a5be04826d1907cf2a4e86b53\"";
    for (from, to) in [
        ("version: 1", "version: one"),
        ("version: 1\n", ""),
        ("gateway: branch", "gateway: [branch]"),
        ("gateway: branch", "gateway: two words"),
        ("port: 5060", "port: 70000"),
        ("port: 5060", "port: \"5060\""),
        ("port: 5060", "prot: 5060"),
        ("  domain: carrier.example\n", ""),
        ("expires_s: 3600", "expires_s: 1h"),
        ("expires_s: 3600", "expires: 3600"),
        ("  lines:\n", "  lines: none\n  line:\n"),
        (psk, &format!("{psk}, psk_file: /etc/psk")),
        (psk, "psk_fiel: /etc/psk"),
        (psk, "psk: 12345"),
        (psk, &format!("{psk}, ppk: secret-of-32-bytes-000000000000, ppk_file: /etc/ppk")),
        (psk, &format!("{psk}, peer: juniper")),
        ("ports: 50000-50999", "ports: 50000"),
        ("ports: 50000-50999", "ports: 50000..50999"),
        ("bandwidth_kbps: 1000", "bandwidth_kbps: 1000k"),
        ("bandwidth_kbps: 1000", "bandwidth_kbps: -1"),
        ("idle_s: 5", "idle_s: 5\n    idle: 5"),
        ("routes: [10.2.0.0/16]", "routes: 10.2.0.0/16"),
        ("routes: [10.2.0.0/16]", "routes: [10.2.0.0]"),
        ("routes: [10.2.0.0/16]", "routes: [{ prefix: 10.2.0.0/16, distanse: 5 }]"),
        ("mode: host", "mode: bridge"),
        ("device: svti0", "device: a/b"),
        ("idle: adaptive", "idle: lazy"),
        ("tunnels:\n", "tunnel:\n"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        let read = examine("x.yaml", text.as_bytes(), &Nothing).findings;
        assert!(read.errors() > 0, "the reader takes {to}");
        let Ok(value) = serde_yaml::from_str::<Value>(&text) else { continue };
        assert!(!validator.errors(&value).is_empty(), "the schema takes {to}");
    }
}
