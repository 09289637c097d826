//! What `sipsec check` says, word for word. `UPDATE_GOLDEN=1` rewrites the expected texts.

use sipsec_controlplane::config;
use std::path::Path;

fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).expect("writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, actual, "{name} differs; UPDATE_GOLDEN=1 accepts");
}

fn check(name: &str) -> (Option<config::Profile>, config::Findings) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles").join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(path).expect("a profile of this test");
    config::examine(&format!("{name}.yaml"), &text)
}

#[test]
fn a_good_profile_is_read_without_remark() {
    let (profile, findings) = check("good");
    assert_eq!(findings.render(false), "good.yaml: 0 errors, 0 warnings\n");
    let profile = profile.expect("read");
    assert_eq!(profile.tunnels[0].remote_number.as_str(), "0388882001");
    assert_eq!(
        (profile.ike.dpd.mode, profile.ike.fragment_bytes),
        (sipsec_ike::DpdMode::Periodic, Some(576))
    );
    assert_eq!(profile.control_socket(), Path::new("/run/sipsec/branch/control.sock"));
    let shown = format!("{profile:?}");
    assert!(
        !shown.contains("not-for-show") && !shown.contains("9d1f0a93") && !shown.contains("3f1c9a7e"),
        "{shown}"
    );
}

#[test]
fn all_wrong_values_are_told_at_once_with_place_and_cure() {
    let (profile, findings) = check("values");
    assert!(profile.is_none());
    let text = findings.render(false);
    golden("values.txt", &text);
    assert!(!text.contains("hunter2"), "{text}");
    assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
}

#[test]
fn what_only_the_whole_profile_shows_is_told_too() {
    let (profile, findings) = check("meaning");
    assert!(profile.is_some());
    let text = findings.render(false);
    golden("meaning.txt", &text);
    assert!(!text.contains("psk1"), "{text}");
}

#[test]
fn certificates_and_their_trust_are_read_with_care() {
    let (profile, findings) = check("certificates");
    assert!(profile.is_none());
    let text = findings.render(false);
    golden("certificates.txt", &text);
    assert!(!text.contains("hunter2"), "{text}");
}

/// All that the example lacks on another machine is its files.
#[test]
fn the_example_with_certificates_is_right_but_for_its_files() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/profiles/certificates.yaml");
    let text = std::fs::read_to_string(path).expect("the example");
    let (profile, findings) = config::examine("certificates.yaml", &text);
    assert_eq!(profile.expect("read").ike.certificates.len(), 2);
    let others: Vec<_> =
        findings.list.iter().filter(|f| !["pki::file", "secret::unreadable"].contains(&f.code)).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn text_that_is_no_yaml_shows_where_and_no_secret() {
    let (_, findings) = check("syntax");
    let text = findings.render(false);
    golden("syntax.txt", &text);
    assert!(!text.contains("hunter2"), "{text}");
}
