//! The two ends of a tunnel.

use sipsec_profile::check::pair::{Comparison, compare};
use sipsec_profile::{Nothing, Profile, Severity, Style, examine};

const BRANCH: &str = include_str!("../../../deploy/profiles/lab-branch.yaml");
const HEADEND: &str = include_str!("../../../deploy/profiles/lab-headend.yaml");

fn read(text: &str) -> Profile {
    let examined = examine("x.yaml", text.as_bytes(), &Nothing);
    examined.profile.unwrap_or_else(|| panic!("{}", examined.findings.render(Style::PLAIN)))
}

/// The ends of the lab with a part of the branch replaced.
fn with(old: &str, new: &str) -> Comparison {
    assert!(BRANCH.contains(old), "{old}");
    compare(&read(&BRANCH.replace(old, new)), &read(HEADEND), &Nothing)
}

fn codes(comparison: &Comparison) -> Vec<(&'static str, Severity)> {
    comparison.differences.iter().map(|d| (d.code, d.severity)).collect()
}

#[test]
fn the_ends_of_the_lab_fit() {
    let comparison = compare(&read(BRANCH), &read(HEADEND), &Nothing);
    assert_eq!((comparison.joined, codes(&comparison)), (1, vec![]));
    assert_eq!(comparison.to_string(), "1 tunnel joined: 0 errors, 0 warnings\n");
}

#[test]
fn each_difference_is_found_from_both_sides_and_shows_no_key() {
    use Severity::{Error, Warning};
    let psk = "psk: \"lab-only-3f9d1c7a5be04826d1907cf2a4e86b53\"";
    for (old, new, code, severity) in [
        (psk, "psk: \"hunter2-hunter2-hunter2\"", "pair::key", Error),
        (psk, "psk_file: /nowhere", "pair::key-unknown", Warning),
        ("bandwidth_kbps: 1000", "bandwidth_kbps: 512", "pair::bandwidth", Warning),
        ("routes: [10.2.0.0/16]", "routes: [10.1.0.0/16]", "pair::routes", Error),
        ("routes: [10.2.0.0/16]", "routes: [10.1.2.0/24]", "pair::routes", Warning),
        ("idle_s: 5", "mtu: 1400", "pair::mtu", Warning),
        ("domain: carrier.example", "domain: other.example", "pair::domain", Warning),
        ("ike:\n", "ike:\n  psk_fingerprint: true\n", "pair::psk-fingerprint", Error),
        (psk, &format!("{psk}, ppk: \"0x12\", ppk_id: one, ppk_required: true"), "pair::ppk", Error),
    ] {
        let found = with(old, new);
        assert_eq!((found.joined, codes(&found)), (1, vec![(code, severity)]), "{new}");
        let back = compare(&read(HEADEND), &read(&BRANCH.replace(old, new)), &Nothing);
        assert_eq!(codes(&back), codes(&found), "{new}");
        assert!(
            !found.to_string().contains("hunter2") && found.differences.iter().all(|d| !d.hint.is_empty())
        );
    }
}

/// While keys change: each end calls with its current key, and the other one must have it as one of its two.
#[test]
fn keys_that_change_have_to_be_known_at_the_other_end() {
    let old = "psk: \"lab-only-3f9d1c7a5be04826d1907cf2a4e86b53\"";
    let new = "psk: \"hunter2-the-new-key-of-both-ends-0001\"";
    let next = |key: &str| key.replacen("psk:", "psk_next:", 1);
    let both = |first: &str, second: &str| format!("{first}, {}", next(second));
    let other = "psk: \"hunter2-some-other-key-0002\"";
    for (branch, headend, fits) in [
        (old.to_owned(), both(old, new), true),
        (both(new, old), both(old, new), true),
        (both(new, old), old.to_owned(), false),
        (both(new, old), new.to_owned(), true),
        (new.to_owned(), both(old, new), false),
        (both(old, new), new.to_owned(), false),
        (both(other, new), both(old, new), false),
    ] {
        let (a, b) = (read(&BRANCH.replace(old, &branch)), read(&HEADEND.replace(old, &headend)));
        for found in [compare(&a, &b, &Nothing), compare(&b, &a, &Nothing)] {
            let expected: &[_] = if fits { &[] } else { &[("pair::key", Severity::Error)] };
            assert_eq!(codes(&found), expected, "{found}");
            assert!(!found.to_string().contains("hunter2"), "{found}");
        }
    }
}

#[test]
fn a_forgotten_branch_is_found_before_the_first_call() {
    let other = HEADEND.replace("0388881001", "0388889999");
    let found = compare(&read(BRANCH), &read(&other), &Nothing);
    assert_eq!(codes(&found), [("pair::no-tunnel", Severity::Error)]);
    let message = &found.differences[0].message;
    assert!(
        message.contains("calls 0388882001") && message.contains("no tunnel for 0388881001"),
        "{message}"
    );
    let stranger = HEADEND.replace("0388881001", "0388889999").replace("0388882001", "0388889998");
    assert_eq!(
        codes(&compare(&read(BRANCH), &read(&stranger), &Nothing)),
        [("pair::not-joined", Severity::Error)]
    );
}
