//! The command as users start it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sipsec(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sipsec")).args(args).output().expect("started")
}

fn profile(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn check_says_by_its_exit_code_whether_a_gateway_would_start() {
    let good = sipsec(&["check", profile("good.yaml").to_str().expect("utf-8")]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stdout));
    let bad = sipsec(&["check", "--json", profile("values.yaml").to_str().expect("utf-8")]);
    assert_eq!(bad.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&bad.stdout).expect("JSON");
    let count = |key: &str| report["data"][key].as_u64().expect("a number");
    let findings = report["data"]["findings"].as_array().expect("a list");
    assert_eq!(count("errors") + count("warnings"), findings.len() as u64);
    assert_eq!((report["schema"].as_str(), report["data"]["more"].as_u64()), (Some("sipsec/1"), Some(0)));
    let first = &report["data"]["findings"][0];
    assert_eq!((first["line"].as_u64(), first["severity"].as_str()), (Some(1), Some("error")), "{first}");
    let absent = sipsec(&["check", "/nowhere.yaml"]);
    assert_eq!(absent.status.code(), Some(2));
    assert!(text(&absent.stderr).contains("/nowhere.yaml"));
}

#[test]
fn without_a_control_plane_the_cure_is_told() {
    let socket = std::env::temp_dir().join(format!("sipsec-none-{}.sock", std::process::id()));
    let shown =
        sipsec(&["--socket", socket.to_str().expect("utf-8"), "show", "vpn-sip", "session", "detail"]);
    assert_eq!(shown.status.code(), Some(2));
    let error = text(&shown.stderr);
    assert!(error.contains("is not running") && error.contains("--profile FILE"), "{error}");
    let profile = profile("good.yaml");
    let shown = sipsec(&["--profile", profile.to_str().expect("utf-8"), "show", "dataplane"]);
    assert!(text(&shown.stderr).contains("/run/sipsec/branch/control.sock"), "{}", text(&shown.stderr));
}

#[test]
fn health_without_a_gateway_is_critical_and_one_line() {
    let socket = std::env::temp_dir().join(format!("sipsec-no-{}.sock", std::process::id()));
    let health = sipsec(&["--socket", socket.to_str().expect("utf-8"), "health"]);
    assert_eq!(health.status.code(), Some(2));
    let line = text(&health.stdout);
    assert!(line.starts_with("SIPSEC CRITICAL - ") && line.lines().count() == 1, "{line}");
    let unknown = sipsec(&["-g", "../x", "health"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", text(&unknown.stdout));
}

#[test]
fn help_version_completions_and_manual_pages() {
    let help = sipsec(&["help", "show"]);
    assert!(
        help.status.success() && text(&help.stdout).contains("sipsec show vpn-sip summary"),
        "{}",
        text(&help.stdout)
    );
    let version = text(&sipsec(&["--version"]).stdout);
    assert!(version.contains("(development)") && version.contains(" abi "), "{version}");
    assert!(text(&sipsec(&["show", "version", "--socket", "/nowhere"]).stdout).contains("not running here"));
    for shell in ["bash", "zsh", "fish"] {
        let script = sipsec(&["completions", shell]);
        assert!(script.status.success() && text(&script.stdout).contains("registration-status"), "{shell}");
    }
    let directory = std::env::temp_dir().join(format!("sipsec-man-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("made");
    let man = sipsec(&["man", directory.to_str().expect("utf-8")]);
    assert!(man.status.success(), "{}", text(&man.stderr));
    let page = std::fs::read_to_string(directory.join("sipsec.1")).expect("a page");
    assert!(page.contains("Exit codes") && page.contains("SIPSEC_GATEWAY"), "{page}");
    assert!(directory.join("sipsec-show-vpn-sip-session.1").exists());
    std::fs::remove_dir_all(directory).expect("removed");
}
