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
    assert_eq!(findings.render(config::Style::PLAIN), "good.yaml: 0 errors, 0 warnings\n");
    let profile = profile.expect("read");
    let carrier = profile.carrier(&profile.sip);
    assert_eq!((carrier.session_expires_s, carrier.rport), (300, false));
    assert_eq!(profile.tunnels[0].remote_number.as_str(), "0388882001");
    assert_eq!(
        (profile.ike.dpd_mode, profile.ike.fragment_bytes),
        (sipsec_profile::model::DpdMode::Periodic, 576)
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
    let text = findings.render(config::Style::PLAIN);
    golden("values.txt", &text);
    assert!(!text.contains("hunter2"), "{text}");
    assert!(!format!("{findings:?}").contains("hunter2"), "{findings:?}");
}

#[test]
fn what_only_the_whole_profile_shows_is_told_too() {
    let (_, findings) = check("meaning");
    let text = findings.render(config::Style::PLAIN);
    golden("meaning.txt", &text);
    assert!(!text.contains("psk1"), "{text}");
}

#[test]
fn certificates_and_their_trust_are_read_with_care() {
    let (profile, findings) = check("certificates");
    assert!(profile.is_none());
    let text = findings.render(config::Style::PLAIN);
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
fn the_readme_shows_the_profile_that_it_installs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("deploy/profiles/branch.yaml")).expect("the example");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the README");
    assert!(readme.contains(&format!("```yaml\n{text}```\n")), "README.md shows another profile");
    let (profile, findings) = config::examine("branch.yaml", &text);
    assert!(profile.is_some());
    let others: Vec<_> = findings.list.iter().filter(|f| f.code != "secret::unreadable").collect();
    assert!(others.is_empty(), "{others:?}");
}

/// All that the others lack on another machine is their files and processors.
#[test]
fn the_profiles_for_a_kind_of_machine_are_right() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/profiles");
    for name in ["headend.yaml", "headend-x86.yaml", "lab-veth.yaml"] {
        let text = std::fs::read_to_string(root.join(name)).expect("the example");
        let (profile, findings) = config::examine(name, &text);
        assert!(profile.is_some(), "{name}");
        let codes = ["secret::unreadable", "dataplane::core"];
        let others: Vec<_> = findings.list.iter().filter(|f| !codes.contains(&f.code)).collect();
        assert!(others.is_empty(), "{name}: {others:?}");
    }
}

#[test]
fn text_that_is_no_yaml_shows_where_and_no_secret() {
    let (_, findings) = check("syntax");
    let text = findings.render(config::Style::PLAIN);
    golden("syntax.txt", &text);
    assert!(!text.contains("hunter2"), "{text}");
}

/// A good profile with its parts replaced.
fn with(parts: &[(&str, &str)]) -> (Option<config::Profile>, config::Findings) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles/good.yaml");
    let mut text = std::fs::read_to_string(path).expect("a profile of this test");
    for (old, new) in parts {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    config::examine("good.yaml", &text)
}

fn codes(findings: &config::Findings) -> Vec<&'static str> {
    findings.list.iter().map(|f| f.code).collect()
}

#[test]
fn a_dataplane_that_cannot_be_read_hides_nothing_and_has_a_cure() {
    let wrong_line = ("local_number: \"0388881001\"", "local_number: \"0388881002\"");
    for (right, wrong) in [
        ("outside: { device: wan0 }", "outside: {}"),
        ("outside: { device: wan0 }", "outside: wan0"),
        ("outside: { device: wan0 }", "outside: { device: [wan0] }"),
        ("mode: host", "mode: bridge"),
        ("mode: host, ", ""),
        ("core: 1", "core: -1"),
        ("core: 1", "core: one"),
        ("idle: adaptive", "idle: busy"),
        ("worker: {", "colour: {"),
        ("dataplane:\n", "dataplanes:\n"),
    ] {
        let (_, findings) = with(&[(right, wrong), wrong_line]);
        assert!(codes(&findings).contains(&"tunnels::unknown-line"), "{wrong}: {findings:?}");
        assert!(findings.errors() >= 2, "{wrong}: {findings:?}");
        let silent: Vec<_> = findings.list.iter().filter(|f| f.hint.is_empty()).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }
}

#[test]
fn what_nobody_can_have_or_reach_is_refused() {
    for (right, wrong, code) in [
        ("10.255.0.1", "0.0.0.0", "config::value"),
        ("10.255.0.1", "127.0.0.1", "config::value"),
        ("198.51.100.1:5060", "255.255.255.255", "config::value"),
        ("carrier.example", "..-", "config::value"),
        ("username: \"0388881001\"", "username: \"a\\nb\"", "config::value"),
        ("10.2.0.0/16", "127.0.0.0/8", "config::value"),
        ("10.2.0.0/16", "169.254.7.0/24", "config::value"),
        ("10.2.0.0/16", "\"ff02::/16\"", "config::value"),
        ("gateway: branch\n", "gateway: branch\nruntime_dir: run\n", "dataplane::value"),
        ("core: 1", "core: 1024", "dataplane::value"),
    ] {
        let (_, findings) = with(&[(right, wrong)]);
        assert_eq!((codes(&findings), findings.errors()), (vec![code], 1), "{wrong}");
    }
    let long = format!("gateway: branch\nruntime_dir: /{}\n", "d".repeat(92));
    assert_eq!(codes(&with(&[("gateway: branch\n", &long)]).1), ["dataplane::value"]);
    let default = with(&[("10.2.0.0/16", "0.0.0.0/0")]).1;
    assert_eq!(default.errors(), 0, "a default route may be a tunnel's: {default:?}");
}

#[test]
fn a_profile_of_an_editor_with_a_byte_order_mark_is_read() {
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles/good.yaml");
    let path = std::env::temp_dir().join(format!("sipsec-bom-{}.yaml", std::process::id()));
    let mut bytes = "\u{feff}".as_bytes().to_vec();
    bytes.extend(std::fs::read(good).expect("a profile of this test"));
    std::fs::write(&path, &bytes).expect("written");
    let marked = config::load(&path).map(|l| l.profile.gateway);
    std::fs::write(&path, b"version: 1\ngateway: \xff\n").expect("written");
    let latin = config::load(&path).expect_err("Latin-1").to_string();
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(marked.expect("read"), "branch");
    assert!(latin.contains(".yaml:2:10]") && latin.contains("UTF-8"), "{latin}");
}

#[test]
fn every_finding_has_a_cure() {
    for name in ["values", "meaning", "certificates", "syntax"] {
        let (_, findings) = check(name);
        let silent: Vec<_> = findings.list.iter().filter(|f| f.hint.is_empty()).collect();
        assert!(!findings.list.is_empty() && silent.is_empty(), "{name}: {silent:?}");
    }
}

#[test]
fn a_tunnels_mtu_fits_what_carries_it() {
    let inside = |mtu: &str| ("device: svti0", format!("device: svti0, mtu: {mtu}"));
    let mtu = |parts: &[(&str, &str)]| {
        let (profile, findings) = with(parts);
        let profile = profile.expect("read");
        (profile.tunnel_mtu(&profile.tunnels[0]), codes(&findings))
    };
    for (given, default) in [("1400", 1400), ("1438", 1438), ("2000", 1438)] {
        let (old, new) = inside(given);
        assert_eq!(mtu(&[(old, &new)]), (default, vec![]), "inside {given}");
    }
    let (old, new) = inside("1400");
    assert_eq!(mtu(&[(old, &new), ("idle_s: 120", "mtu: 1401")]).1, ["tunnels::mtu"]);
    assert_eq!(mtu(&[("idle_s: 120", "mtu: 1439")]).1, ["tunnels::mtu"]);
    let (old, new) = inside("2000");
    assert_eq!(mtu(&[(old, &new), ("idle_s: 120", "mtu: 1439")]).1, ["tunnels::mtu"]);
}

#[test]
fn a_tunnel_that_is_too_small_for_ipv6_has_no_ipv6_routes() {
    let both = ("[10.2.0.0/16]", "[10.2.0.0/16, \"2001:db8:2::/48\"]");
    assert_eq!(codes(&with(&[both]).1), [""; 0]);
    assert_eq!(codes(&with(&[both, ("idle_s: 120", "mtu: 1280")]).1), [""; 0]);
    assert_eq!(codes(&with(&[("idle_s: 120", "mtu: 1279")]).1), [""; 0]);
    let (_, findings) = with(&[both, ("idle_s: 120", "mtu: 1279")]);
    assert_eq!(codes(&findings), ["tunnels::ipv6-mtu"]);
    let finding = &findings.list[0];
    assert_eq!(finding.path, "tunnels[0].mtu");
    assert!(finding.message.contains("1279") && finding.message.contains("2001:db8:2::/48"), "{finding}");
    assert!(finding.hint.contains("write 1280 or more"), "{}", finding.hint);
}

#[test]
fn the_source_is_checked_unless_told_not_to_and_needs_routes() {
    let check = |parts: &[(&str, &str)]| {
        let (profile, findings) = with(parts);
        (profile.map(|p| p.tunnels[0].check_source), codes(&findings))
    };
    assert_eq!(check(&[]), (Some(true), vec![]));
    assert_eq!(check(&[("idle_s: 120", "check_source: false")]), (Some(false), vec![]));
    assert_eq!(check(&[("[10.2.0.0/16]", "[]")]), (Some(true), vec!["tunnels::no-routes"]));
    let both = [("[10.2.0.0/16]", "[]"), ("idle_s: 120", "check_source: false")];
    assert_eq!(check(&both), (Some(false), vec![]));
    assert_eq!(check(&[("idle_s: 120", "check_source: maybe")]).0, None);
}

#[test]
fn what_the_dataplane_has_no_room_for_is_told_with_the_key_to_raise() {
    let found = |old: &str, new: &str, dataplane: &str, code: &str| {
        let dataplane = format!("dataplane:\n  {dataplane}\n");
        let (_, findings) = with(&[("dataplane:\n", &dataplane), (old, new)]);
        findings.list.into_iter().find(|f| f.code == code).map(|f| f.hint)
    };
    let mut three = "tunnels:\n".to_owned();
    for n in [2, 3] {
        three += &format!(
            "  - {{ name: Tunnel{n}, local_number: \"0388881001\", remote_number: \"038888200{n}\", bandwidth_kbps: 64 }}\n"
        );
    }
    let cure = found("tunnels:\n", &three, "tunnels_max: 2", "dataplane::tunnels").expect("found");
    assert!(cure.contains("tunnels_max: 3"), "{cure}");
    assert_eq!(found("tunnels:\n", &three, "tunnels_max: 3", "dataplane::tunnels"), None);

    let (_, findings) = with(&[
        ("dataplane:\n", "dataplane:\n  tunnels_max: 1\n"),
        ("[10.2.0.0/16]", "[10.2.0.0/16, 10.3.0.0/16, 10.4.0.0/16, 10.5.0.0/16, 10.6.0.0/16]"),
    ]);
    assert_eq!(codes(&findings), ["dataplane::routes"]);
    assert!(findings.list[0].hint.contains("tunnels_max: 2"), "{findings:?}");

    let cure = found("packets: 64", "packets: 65", "frames: 512", "dataplane::frames").expect("found");
    assert!(cure.contains("frames: 520"), "{cure}");
    assert_eq!(found("packets: 64", "packets: 64", "frames: 512", "dataplane::frames"), None);
}
