//! Configurations as routers, terminals, backup tools and web pages give them, each beside what has to become of every
//! line of it (`ios/cases/NAME.expect.yaml`).

#[path = "ios/expectation.rs"]
mod expectation;
#[path = "ios/values.rs"]
mod values;

use expectation::Case;
use sipsec_profile::ios::{self, Options, Source, show, write};
use std::path::PathBuf;

fn cases() -> Vec<Case> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/ios/cases");
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_string_lossy().ends_with(".expect.yaml"))
        .collect();
    names.sort();
    names.iter().map(|path| Case::read(path)).collect()
}

#[test]
fn every_line_of_every_case_gets_its_verdict() {
    let cases = cases();
    assert_eq!(cases.len(), 46);
    let wrong: Vec<String> = cases.iter().flat_map(Case::wrong).collect();
    assert!(wrong.is_empty(), "{} expectations do not hold:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_case_comes_out_with_its_values() {
    let wrong: Vec<String> = cases().iter().flat_map(values::wrong).collect();
    assert!(wrong.is_empty(), "{} values are others:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_report_shows_a_secret() {
    for case in cases() {
        let shown = case.everything_shown();
        for secret in case.never_shown() {
            assert!(!shown.contains(&secret), "{} shows a secret", case.name);
        }
    }
}

/// What `show running-config` prints of a profile makes the same profile again. Keys are hidden in it.
#[test]
fn a_profile_in_ios_words_is_the_same_profile() {
    let mut count = 0;
    for case in cases().iter().filter(|c| c.import.is_profile && c.import.report.errors() == 0) {
        let shown = show::running_config(&case.import.conversion);
        assert!(case.never_shown().iter().all(|secret| !shown.contains(secret)), "{}", case.name);
        let typed = shown.replace("<hidden>", "A-key-for-the-way-back-42");
        let interfaces = case.options().interfaces;
        let again = ios::import(
            &[Source { name: "show", bytes: typed.as_bytes() }],
            &Options { interfaces, gateway: None },
        );
        let text = |import: &ios::Import| {
            let written = write::profile(&import.conversion, Some("same"), &write::Keys::Hidden, "");
            written.profile.to_string()
        };
        assert_eq!(text(&again), text(&case.import), "{}:\n{shown}\n{}", case.name, again.report.text());
        assert_eq!(again.report.errors(), 0, "{}", again.report.text());
        let tunnel = &case.import.conversion.tunnels[0].name;
        let one = show::interface(&case.import.conversion, tunnel).expect("a tunnel");
        assert!(one.starts_with(&format!("interface {tunnel}\n")) && one.contains(" vpn-sip local-number "));
        count += 1;
    }
    assert!(count >= 7, "{count}");
}

#[test]
fn reports_fit_a_terminal() {
    for case in cases() {
        for line in case.import.report.text().lines() {
            assert!(line.chars().count() <= 80, "{}: {line}", case.name);
        }
    }
}
