//! Certificates as files: what `sipsec check` finds in them, and `sipsec pki` from the first key to the import.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use sipsec_controlplane::{clock, config};
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const DAY_S: i64 = 86_400;

/// A directory of this test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sipsec-pki-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        Self(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn put(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn mode(&self, name: &str) -> u32 {
        std::fs::metadata(self.0.join(name)).expect("there").permissions().mode() & 0o777
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).expect("there")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Valid for these days from now on; they may lie behind.
fn params(name: &str, from_days: i64, to_days: i64) -> CertificateParams {
    let now = i64::try_from(clock::unix_time_s()).expect("a time");
    let at = |days: i64| {
        let seconds = u64::try_from(now + days * DAY_S).expect("after 1970");
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    let mut p = CertificateParams::default();
    p.distinguished_name = rcgen::DistinguishedName::new();
    p.distinguished_name.push(DnType::CommonName, name);
    (p.not_before, p.not_after) = (at(from_days), at(to_days));
    p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    p
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut p = params(name, -1, 1000);
    p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(p, key()).expect("a certificate")
}

/// A list that was due `late_days` ago.
fn list(of: &CertifiedIssuer<'static, KeyPair>, late_days: i64) -> String {
    let dates = params("", -100, -late_days);
    let list = CertificateRevocationListParams {
        this_update: dates.not_before,
        next_update: dates.not_after,
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(of).expect("a list").pem().expect("PEM")
}

/// Severity, code and path of every finding about certificates.
fn findings(files: &Files, keyring: &str, trust: &str) -> Vec<(String, String)> {
    let text = format!(
        "version: 1\ngateway: branch\nsip:\n  interface: wan0\n  registrar: 198.51.100.1\n  domain: carrier.example\n  \
         lines: [{{ number: \"0388881001\" }}]\nike:\n  keyring:\n    - {{ number: any, certificate: {keyring} }}\n  \
         certificates:\n    - {{ name: own, certificate: {}, key: {}, trust: {{ {trust} }} }}\n\
         tunnels:\n  - {{ name: T, local_number: \"0388881001\", remote_number: \"0388882001\", bandwidth_kbps: 64, routes: [10.2.0.0/16] }}\n\
         dataplane:\n  outside: {{ device: wan0 }}\n  inside: {{ mode: host, device: svti0 }}\n",
        files.path("own.crt"),
        files.path("own.key"),
    );
    let (profile, findings) = config::examine("test.yaml", &text);
    assert!(profile.is_some(), "{}", findings.render(config::Style::PLAIN));
    for f in &findings.list {
        assert!(!f.hint.is_empty() && f.line > 1 && f.column > 1, "{f:?}");
    }
    let short = |f: &config::Finding| {
        (f.code.to_owned(), f.path.trim_start_matches("ike.certificates[0].").to_owned())
    };
    let errors = findings.errors();
    let all: Vec<_> = findings.list.iter().map(short).collect();
    // Dates and what is not used are remarks; everything else keeps the gateway from starting.
    let remarks =
        ["pki::expired", "pki::not-yet-valid", "pki::expires-soon", "pki::crl", "ike::unused-certificate"];
    assert_eq!(errors, all.iter().filter(|(code, _)| !remarks.contains(&code.as_str())).count(), "{all:?}");
    all
}

#[test]
fn every_flaw_of_the_files_is_found() {
    let files = Files::new("check");
    let ca = authority("ca");
    let good = |from, to, key: &KeyPair| params("gw", from, to).signed_by(key, &ca).expect("made").pem();
    let ours = key();
    let own = |crt: &str, key: &str, mode: u32| {
        files.put("own.crt", crt, 0o644);
        files.put("own.key", key, mode);
    };
    files.put("ca.crt", &ca.pem(), 0o644);
    files.put("ca.crl", &list(&ca, -10), 0o644);
    files.put("late.crl", &list(&ca, 3), 0o644);
    files.put("empty", "", 0o644);
    let trust = format!("ca: [{}]", files.path("ca.crt"));
    let found = |trust: &str| findings(&files, "own", trust);
    let one = |code: &str, path: &str| vec![(code.to_owned(), path.to_owned())];
    let pkcs8 = ours.serialize_pem();

    own(&good(-1, 365, &ours), &pkcs8, 0o600);
    assert_eq!(found(&trust), []);
    let crl = |name: &str| format!("{trust}, crl: {{ files: [{}], fail: closed }}", files.path(name));
    assert_eq!(found(&crl("ca.crl")), []);
    assert_eq!(found(&crl("late.crl")), one("pki::crl", "trust.crl.files[0]"));
    assert_eq!(found(&crl("empty")), one("pki::file", "trust.crl.files[0]"));
    assert_eq!(found(&crl("none")), one("pki::file", "trust.crl.files[0]"));
    let as_ca = |name: &str| format!("ca: [{}]", files.path(name));
    assert_eq!(found(&as_ca("own.crt")), one("pki::authority", "trust.ca[0]"));
    assert_eq!(found(&as_ca("none")), one("pki::file", "trust.ca[0]"));
    let dangling = vec![
        ("ike::unknown-certificate".to_owned(), "ike.keyring[0].certificate".to_owned()),
        ("ike::unused-certificate".to_owned(), "name".to_owned()),
    ];
    assert_eq!(findings(&files, "owm", &trust), dangling);

    for mode in [0o640, 0o604, 0o660] {
        own(&good(-1, 365, &ours), &pkcs8, mode);
        assert_eq!(found(&trust), one("pki::permissions", "key"));
    }
    for (from, to, code) in
        [(-10, -1, "pki::expired"), (1, 10, "pki::not-yet-valid"), (-1, 29, "pki::expires-soon")]
    {
        own(&good(from, to, &ours), &pkcs8, 0o600);
        assert_eq!(found(&trust), one(code, "certificate"));
    }
    own(&good(-1, 365, &ours), &key().serialize_pem(), 0o600);
    assert_eq!(found(&trust), one("pki::key-mismatch", "key"));
    for text in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        own(&good(-1, 365, &ours), text, 0o600);
        assert_eq!(found(&trust), one("pki::file", "key"));
    }
    own(&good(-1, 365, &ours), &pkcs8.replace("PRIVATE KEY", "EC PRIVATE KEY"), 0o600);
    assert_eq!(found(&trust), one("pki::file", "key"));
    own(&pkcs8, &pkcs8, 0o600);
    assert_eq!(found(&trust), one("pki::file", "certificate"));
    let mut p = params("gw", -1, 365);
    p.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    own(&p.signed_by(&ours, &ca).expect("made").pem(), &pkcs8, 0o600);
    assert_eq!(found(&trust), one("pki::key-usage", "certificate"));
    own(include_str!("pki/rsa1024.crt"), &pkcs8, 0o600);
    let weak = found("self_signed: true");
    assert_eq!(weak[0], ("pki::weak-key".to_owned(), "certificate".to_owned()), "{weak:?}");
}

fn pki<S: AsRef<OsStr>>(files: &Files, words: &[S]) -> Output {
    let dir = ["--dir", files.0.to_str().expect("utf-8")];
    Command::new(env!("CARGO_BIN_EXE_sipsec")).arg("pki").args(words).args(dir).output().expect("started")
}

/// Its output.
#[track_caller]
fn done<S: AsRef<OsStr>>(files: &Files, words: &[S]) -> String {
    let output = pki(files, words);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Its complaint.
#[track_caller]
fn refused<S: AsRef<OsStr>>(files: &Files, words: &[S]) -> String {
    let output = pki(files, words);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn self_signed_certificates_are_made_and_never_overwritten_unasked() {
    let files = Files::new("self");
    for kind in ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048"] {
        let said = done(&files, &["self-signed", kind, "--key-type", kind, "--dns", "gw.example"]);
        let (crt, key) = (format!("{kind}.crt"), format!("{kind}.key"));
        assert_eq!((files.mode(&crt), files.mode(&key)), (0o644, 0o600));
        let shown = done(&files, &["fingerprint", &files.path(&crt)]);
        let line = shown.lines().find(|l| l.starts_with("fingerprint")).expect("a fingerprint");
        assert!(line.contains("sha-256 ") && said.contains(line), "{said}{shown}");
        assert!(shown.contains("gw.example"), "{shown}");
        // What was made is what the gateway takes.
        std::fs::copy(files.path(&crt), files.path("own.crt")).expect("copied");
        std::fs::copy(files.path(&key), files.path("own.key")).expect("copied");
        assert_eq!(findings(&files, "own", "self_signed: true"), []);
    }
    let before = files.text("ed25519.key");
    assert!(refused(&files, &["self-signed", "ed25519"]).contains("exists already"));
    std::fs::remove_file(files.path("ed25519.crt")).expect("removed");
    assert!(refused(&files, &["self-signed", "ed25519"]).contains("ed25519.key exists already"));
    assert_eq!(files.text("ed25519.key"), before);
    done(&files, &["self-signed", "ed25519", "--force"]);
    assert_ne!(files.text("ed25519.key"), before);
    assert_eq!(files.mode("ed25519.key"), 0o600);
    // Nothing is left beside them.
    assert_eq!(std::fs::read_dir(&files.0).expect("there").count(), 2 * 4 + 2);
}

#[test]
fn a_request_becomes_a_certificate_once_key_and_path_hold() {
    let files = Files::new("csr");
    let (ca, other) = (authority("ca"), authority("other"));
    files.put("from-ca.pem", &ca.pem(), 0o644);
    files.put("from-other.pem", &other.pem(), 0o644);
    let from = |name: &str| files.path(name);
    assert!(done(&files, &["ca-import", "corp", &from("from-ca.pem")]).contains("CN=ca"));
    done(&files, &["csr", "gw", "--organization", "Bank", "--key-type", "ecdsa-p384"]);
    assert!(files.text("gw.csr").starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    let key_before = files.text("gw.key");
    assert!(refused(&files, &["csr", "gw"]).contains("gw.csr exists already"));
    // A renewal keeps the key.
    done(&files, &["csr", "gw", "--force"]);
    assert_eq!(files.text("gw.key"), key_before);

    // What the authority does.
    let requested = KeyPair::from_pem(&key_before).expect("our key");
    let issue = |to: &str, key: &KeyPair, days| {
        let cert = params("gw", -1, days).signed_by(key, &ca).expect("made");
        files.put(to, &cert.pem(), 0o644);
    };
    issue("answer.pem", &requested, 365);
    issue("late.pem", &requested, -1);
    issue("foreign.pem", &key(), 365);
    let import =
        |answer: &str, ca: &str| ["cert-import", "gw", &from(answer), "--ca", &from(ca)].map(str::to_owned);
    for (answer, ca, why) in [
        ("foreign.pem", "corp.crt", "was not made for the key"),
        ("answer.pem", "from-other.pem", "no trusted authority issued it"),
        ("late.pem", "corp.crt", "it has expired"),
    ] {
        let said = refused(&files, &import(answer, ca));
        assert!(said.contains(why), "{said}");
        assert!(!Path::new(&from("gw.crt")).exists());
    }
    let good = import("answer.pem", "corp.crt");
    let said = done(&files, &good);
    assert!(said.contains("gw.crt") && said.contains("issuer       CN=ca"), "{said}");
    assert_eq!(files.text("gw.crt"), files.text("answer.pem"));
    assert!(refused(&files, &good).contains("exists already"));
    let leaf = refused(&files, &["ca-import", "leaf", &from("answer.pem")]);
    assert!(leaf.contains("no authority"), "{leaf}");
}

#[test]
fn json_has_each_certificate_of_a_bundle() {
    let files = Files::new("json");
    let json = |words: &[&str]| -> serde_json::Value {
        let said = done(&files, &[words, &["--json"]].concat());
        let mut answer: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(answer["schema"], "sipsec/1");
        answer["data"].take()
    };
    files.put("two.pem", &(authority("one").pem() + &authority("two").pem()), 0o644);
    let from = files.path("two.pem");
    for words in [&["ca-import", "corp", &from][..], &["fingerprint", &from]] {
        let data = json(words);
        let list = data["certificates"].as_array().expect("a list");
        let subjects: Vec<_> = list.iter().map(|c| c["subject"].as_str().expect("text")).collect();
        assert_eq!(subjects, ["CN=one", "CN=two"]);
        assert!(list.iter().all(|c| c["fingerprint"].as_str().is_some_and(|f| f.starts_with("sha-256 "))));
    }
    let made = json(&["self-signed", "gw"]);
    assert_eq!(
        (&made["private_key"], &made["certificate"]),
        (&files.path("gw.key").into(), &files.path("gw.crt").into())
    );
    assert_eq!(made["certificates"][0]["self_issued"], true);
    assert_eq!(json(&["csr", "gw"])["request"], files.path("gw.csr").as_str());
}
