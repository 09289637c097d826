//! Checks that depend on the machine, and mistakes that operators have made.

use sipsec_profile::model::{Secret, SecretError, SecretSource};
use sipsec_profile::{Findings, Severity, Style, Surroundings, examine};
use std::net::IpAddr;
use std::path::Path;

/// A machine with two processors, the address 192.0.2.9 and a file that everybody may read.
struct Machine {
    profile_mode: u32,
}

impl Surroundings for Machine {
    fn secret(&self, source: &SecretSource) -> Option<Result<Secret, SecretError>> {
        Some(match source {
            SecretSource::Inline(secret) => Ok(Secret::clone(secret)),
            SecretSource::Env(name) => Err(SecretError::Env(name.clone())),
            SecretSource::Command(_) | SecretSource::Credential(_) => {
                Err(SecretError::Credential("there is none".to_owned()))
            }
            SecretSource::File(path) => {
                Err(SecretError::File { path: path.clone(), reason: "there is no such file".to_owned() })
            }
        })
    }

    fn mode(&self, path: &Path) -> Option<u32> {
        (path == Path::new("/etc/open")).then_some(0o644)
    }

    fn profile_mode(&self) -> Option<u32> {
        Some(self.profile_mode)
    }

    fn has_core(&self, core: u16) -> Option<bool> {
        Some(core < 2)
    }

    fn rx_queues(&self, device: &str) -> Option<u32> {
        (device == "wan0").then_some(2)
    }

    fn directory(&self, path: &Path) -> Result<(), String> {
        if path.starts_with("/file") { Err("/file is not a directory".to_owned()) } else { Ok(()) }
    }

    fn is_own_address(&self, ip: IpAddr) -> Option<bool> {
        Some(ip == IpAddr::from([192, 0, 2, 9]))
    }
}

const GOOD: &str = include_str!("../../../deploy/profiles/lab-branch.yaml");

fn check(old: &str, new: &str, profile_mode: u32) -> Findings {
    assert!(GOOD.contains(old), "{old}");
    examine("x.yaml", GOOD.replace(old, new).as_bytes(), &Machine { profile_mode }).findings
}

fn codes(findings: &Findings) -> Vec<(&'static str, Severity, &str)> {
    findings.list.iter().map(|f| (f.code, f.severity, f.path.as_str())).collect()
}

#[test]
fn what_the_machine_cannot_do_is_told() {
    use Severity::{Error, Warning};
    let core = "worker: { idle: adaptive }";
    let source = "tunnel_source: 10.255.0.1";
    let state = "state_dir: /run/sipsec-lab/branch/state";
    for (old, new, expected) in [
        (core, "worker: { core: 1 }", None),
        (core, "worker: { core: 900 }", Some(("dataplane::core", Warning, "dataplane.worker.core"))),
        (core, "worker: { cores: [1, 0] }", None),
        (core, "worker: { cores: [1, 7] }", Some(("dataplane::core", Warning, "dataplane.worker.cores[1]"))),
        (core, "worker: { count: 2 }", None),
        (core, "worker: { count: 3 }", Some(("dataplane::queues", Warning, "dataplane.outside.device"))),
        (core, "worker: { count: 2, core: 1 }", Some(("dataplane::cores", Error, "dataplane.worker.core"))),
        (
            core,
            "worker: { count: 3, cores: [0, 1] }",
            Some(("dataplane::cores", Error, "dataplane.worker.cores")),
        ),
        (
            core,
            "worker: { core: 1, cores: [0, 1] }",
            Some(("dataplane::cores", Error, "dataplane.worker.cores")),
        ),
        (core, "worker: { cores: [1, 1] }", Some(("dataplane::cores", Error, "dataplane.worker.cores"))),
        (core, "worker: { count: 17 }", Some(("dataplane::value", Error, "dataplane.worker.count"))),
        (source, "tunnel_source: 192.0.2.9", Some(("media::tunnel-source", Warning, "media.tunnel_source"))),
        (source, "tunnel_source: 10.2.3.4", Some(("media::tunnel-source", Warning, "media.tunnel_source"))),
        (source, "tunnel_source: 198.51.100.1", Some(("media::tunnel-source", Error, "media.tunnel_source"))),
        (state, "state_dir: /proc/self/x", Some(("config::state-dir", Error, "state_dir"))),
        (state, "state_dir: state", Some(("config::state-dir", Error, "state_dir"))),
        (state, "state_dir: /file/x", Some(("config::state-dir", Warning, "state_dir"))),
        (
            "bandwidth_kbps: 1000",
            "bandwidth_kbps: 128",
            Some(("tunnels::bandwidth", Warning, "tunnels[0].bandwidth_kbps")),
        ),
        ("bandwidth_kbps: 1000", "bandwidth_kbps: 512", None),
        ("bandwidth_kbps: 1000", "bandwidth_kbps: 100000", None),
    ] {
        let found = check(old, new, 0o600);
        assert_eq!(codes(&found), expected.into_iter().collect::<Vec<_>>(), "{new}");
        assert!(found.list.iter().all(|f| !f.hint.is_empty()));
    }
    let cost = check("bandwidth_kbps: 1000", "bandwidth_kbps: 128", 0o600);
    assert!(cost.list[0].message.contains("cost as much as 512 kbps"), "{}", cost.list[0].message);
}

#[test]
fn secrets_in_a_profile_that_others_can_read_are_told() {
    for mode in [0o644, 0o666, 0o640, 0o604] {
        let found = check("version: 1", "version: 1", mode);
        assert_eq!(codes(&found), [("secret::permissions", Severity::Warning, "sip.lines[0].auth.password")]);
        let message = &found.list[0].message;
        assert!(message.contains("2 secrets") && message.contains(&format!("{mode:04o}")), "{message}");
    }
    assert!(codes(&check("version: 1", "version: 1", 0o600)).is_empty());
    let psk = "psk: \"lab-only-3f9d1c7a5be04826d1907cf2a4e86b53\"";
    let open = check(psk, "psk_file: /etc/open", 0o600);
    let codes: Vec<_> = open.list.iter().map(|f| f.code).collect();
    assert_eq!(codes, ["secret::unreadable", "secret::permissions"]);
}

/// The key of another mode, with the right place and the key that it needs.
#[test]
fn a_wrong_key_of_the_inside_device_is_shown_where_it_stands() {
    let found =
        check("{ mode: host, device: svti0 }", "{ mode: host, device: svti0, address: 10.21.1.1/32 }", 0o600);
    assert_eq!(codes(&found), [("dataplane::syntax", Severity::Error, "dataplane.inside.address")]);
    let finding = &found.list[0];
    assert_eq!((finding.line, finding.column), (35, 40), "{}", found.render(Style::PLAIN));
    assert!(finding.hint.contains("mode, device, mtu, next_hop"), "{}", finding.hint);
    let found = check("{ mode: host, device: svti0 }", "{ mode: router, device: lan0 }", 0o600);
    assert!(
        found.list[0].message.contains("`dataplane.inside.next_hop` is missing"),
        "{}",
        found.list[0].message
    );
    let found = check(
        "{ mode: host, device: svti0 }",
        "{ mode: host, device: svti0, next_hop: \"02:00:5e:10:00:01\" }",
        0o600,
    );
    assert!(found.list[0].hint.contains("mode: router"), "{}", found.list[0].hint);
}

#[test]
fn any_is_told_where_a_number_is_wrong() {
    let found = check("number: \"0388882001\", psk", "number: \"*\", psk", 0o600);
    assert!(found.list[0].hint.contains("`any`"), "{}", found.list[0].hint);
}

/// A machine whose kernel rewrites SIP.
struct Helper;

impl Surroundings for Helper {
    fn has_module(&self, name: &str) -> Option<bool> {
        Some(name == "nf_nat_sip")
    }
}

#[test]
fn a_kernel_that_rewrites_sip_is_told() {
    let told = |around: &dyn Surroundings| {
        let findings = examine("x.yaml", GOOD.as_bytes(), around).findings;
        findings.list.iter().any(|f| f.code == "sip::nat-helper" && f.severity == Severity::Warning)
    };
    assert!(told(&Helper));
    assert!(!told(&Machine { profile_mode: 0o600 }), "nothing is known of its modules");
}
