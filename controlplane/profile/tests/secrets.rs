//! Secrets from every source: read, written again, compared, and never shown.

use sipsec_profile::change::diff;
use sipsec_profile::model::{Proof, SecretSource};
use sipsec_profile::write::{Secrets, yaml};
use sipsec_profile::{Examined, Nothing, Profile, Style, examine};

/// A profile whose line, key and certificate take their secrets from there.
fn text(password: &str, psk: &str, key: &str) -> String {
    format!(
        "version: 1\ngateway: g\nsip:\n  interface: wan0\n  registrar: 198.51.100.1\n  domain: c.example\n  lines:\n  \
         - {{ number: \"0388881001\", auth: {{ username: u, {password} }} }}\nike:\n  keyring:\n  \
         - {{ number: \"0388882001\", {psk} }}\n  - {{ number: any, certificate: own }}\n  certificates:\n  \
         - {{ name: own, certificate: /a.crt, {key}, trust: {{ self_signed: true }} }}\ntunnels: []\ndataplane:\n  \
         outside: {{ device: wan0 }}\n  inside: {{ mode: host, device: svti0 }}\n"
    )
}

fn read(text: &str) -> Profile {
    let Examined { profile, findings } = examine("x.yaml", text.as_bytes(), &Nothing);
    assert_eq!(findings.errors(), 0, "{}", findings.render(Style::PLAIN));
    profile.expect("no errors")
}

const COMMAND: [&str; 3] = [
    "password_command: [/bin/echo, hunter2]",
    "psk_command: [/usr/bin/pass, show, hunter2]",
    "key_command: /usr/local/bin/key",
];
const CREDENTIAL: [&str; 3] =
    ["password_credential: line", "psk_credential: psk-osaka", "key_credential: gateway.key"];

#[test]
fn every_source_is_read_and_written_again() {
    for [password, psk, key] in [
        COMMAND,
        CREDENTIAL,
        ["password_env: LINE", "psk_env: PSK", "key_env: KEY"],
        ["password_file: /l", "psk_file: /p", "key: /k"],
    ] {
        let profile = read(&text(password, psk, key));
        let written = yaml(&profile, Secrets::Written).expect("written");
        let again = read(&written);
        assert!(diff(&profile, &again).is_empty(), "{written}");
        assert_eq!(yaml(&again, Secrets::Written).expect("written"), written);
    }
    let profile = read(&text(COMMAND[0], COMMAND[1], COMMAND[2]));
    let Proof::Psk(SecretSource::Command(words)) = &profile.ike.keyring[0].proof else { panic!("a command") };
    assert_eq!(words, &["/usr/bin/pass", "show", "hunter2"]);
}

#[test]
fn arguments_of_commands_are_compared_and_not_shown() {
    let one = read(&text(COMMAND[0], COMMAND[1], COMMAND[2]));
    let shown = yaml(&one, Secrets::Hidden).expect("written");
    assert!(shown.contains("/usr/bin/pass") && !shown.contains("hunter2"), "{shown}");
    let other = read(&text(COMMAND[0], "psk_command: [/usr/bin/pass, show, hunter3]", COMMAND[2]));
    let found = diff(&one, &other);
    let all: Vec<_> =
        found.changes.iter().map(|c| (c.path.as_str(), c.before.as_deref(), c.after.as_deref())).collect();
    let program = Some("/usr/bin/pass …");
    assert_eq!(all, [("ike.keyring[0388882001].psk_command", program, program)]);
    // From one source to another.
    let found = diff(&one, &read(&text(COMMAND[0], "psk: hunter2-hunter2-hunter2", COMMAND[2])));
    assert!(found.changes.iter().all(|c| !format!("{c:?}").contains("hunter2")), "{found:?}");
}

#[test]
fn mistakes_are_named_and_no_value_is_shown() {
    for (psk, part) in [
        ("psk_command: hunter2", "`ike.keyring[0].psk_command` does not begin with the absolute path"),
        ("psk_command: [pass, hunter2]", "does not begin with the absolute path"),
        ("psk_command: /bin/echo hunter2", "has a program and arguments in one text"),
        ("psk_command: []", "names no program"),
        ("psk_command: [/bin/echo, [hunter2]]", "must be text"),
        ("psk_command: { hunter2: 1 }", "must be text"),
        ("psk_credential: a/hunter2", "is not the name of a credential"),
        ("psk_credential: ..", "is not the name of a credential"),
        ("psk_credential: x, psk_command: /bin/x", "has more than one secret"),
        ("psk_env: X, psk: hunter2", "has more than one secret"),
        ("peer: cisco", "`ike.keyring[0]` has no secret"),
        ("certificate: own, psk_command: /bin/x", "has a pre-shared key and a certificate"),
    ] {
        let Examined { findings, .. } =
            examine("x.yaml", text(CREDENTIAL[0], psk, CREDENTIAL[2]).as_bytes(), &Nothing);
        let shown = findings.render(Style::PLAIN);
        assert!(findings.errors() > 0 && shown.contains(part), "{psk}: {shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(findings.list.iter().all(|f| !f.hint.is_empty()));
    }
    let Examined { findings, .. } =
        examine("x.yaml", text(CREDENTIAL[0], CREDENTIAL[1], "rsa_pss: true").as_bytes(), &Nothing);
    assert!(findings.render(Style::PLAIN).contains("`ike.certificates[0]` has no secret"), "a key is needed");
}
