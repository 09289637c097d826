//! `compat: cisco`: what IOS refuses is refused with its reason, in a profile and in a change of it.

use sipsec_profile::change::{diff, locked};
use sipsec_profile::model::CertificateEntry;
use sipsec_profile::surroundings::{CertificateKind, Surroundings};
use sipsec_profile::{Nothing, Profile, Severity, Style, examine};

const GOOD: &str = "version: 1\ngateway: g\ncompat: cisco\nsip:\n  interface: wan0\n  registrar: 198.51.100.1\n  \
    domain: c.example\n  lines: [{ number: \"0388881001\" }]\nike:\n  keyring:\n  \
    - { number: \"0388882001\", psk_file: /k, peer: cisco }\n  - { number: \"0388882002\", psk_file: /l }\ntunnels:\n\
    - { name: Tunnel1, local_number: \"0388881001\", remote_number: \"0388882001\", bandwidth_kbps: 512, routes: [10.1.0.0/16] }\n\
    - { name: Tunnel2, local_number: \"0388881001\", remote_number: \"0388882002\", bandwidth_kbps: 64, routes: [10.2.0.0/16] }\n\
    dataplane:\n  outside: { device: wan0 }\n  inside: { mode: host, device: svti0 }\n";

/// What `compat` has to say: severity, path and message.
fn said(text: &str) -> Vec<(Severity, String, String)> {
    let findings = examine("x.yaml", text.as_bytes(), &Nothing).findings;
    let ours = findings.list.iter().filter(|f| f.code == "compat::cisco");
    ours.map(|f| (f.severity, f.path.clone(), f.message.clone())).collect()
}

fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replacen(from, to, 1)
}

fn read(text: &str) -> Profile {
    let examined = examine("x.yaml", text.as_bytes(), &Nothing);
    examined.profile.unwrap_or_else(|| panic!("{}", examined.findings.render(Style::PLAIN)))
}

#[test]
fn what_ios_refuses_is_refused_with_its_reason() {
    assert_eq!(said(GOOD), [], "a profile that a router could have");
    let ten: String = (3..13)
        .map(|n| format!("- {{ name: Tunnel{n}, local_number: \"0388881001\", remote_number: \"03888820{n:02}\", bandwidth_kbps: 64, routes: [10.{n}.0.0/16] }}\n"))
        .collect();
    use Severity::{Error, Warning};
    for (text, severity, path, part) in [
        (
            with("bandwidth_kbps: 512", "bandwidth_kbps: 2600"),
            Error,
            "tunnels[0].bandwidth_kbps",
            "64, 512 and 1000",
        ),
        (
            with("[10.1.0.0/16]", "[10.1.0.0/16, \"2001:db8::/32\"]"),
            Error,
            "tunnels[0].routes[1]",
            "IPv4 alone",
        ),
        (
            with("routes: [10.2", "routing_hellos: true, routes: [10.2"),
            Error,
            "tunnels[1].routing_hellos",
            "routing protocols",
        ),
        (
            with("{ number: \"0388881001\" }", "{ number: \"0388881001\" }, { number: \"0388881002\" }"),
            Error,
            "sip.lines[1]",
            "one local number",
        ),
        (with("registrar: 198.51.100.1", "registrar: \"2001:db8::1\""), Error, "sip.registrar", "IPv4 alone"),
        (with("sip:\n", "wan: { ipv6: address }\nsip:\n"), Error, "wan.ipv6", "IPv4 alone"),
        (
            with("sip:\n", "media: { tunnel_source: 10.2.0.1 }\nsip:\n"),
            Error,
            "media.tunnel_source",
            "loopback",
        ),
        (
            with("routes: [10.2", "qos: VOICE, routes: [10.2").replace(
                "ike:\n",
                "qos: { policies: [{ name: VOICE, classes: [{ name: class-default }] }] }\nike:\n",
            ),
            Error,
            "tunnels[1].qos",
            "static policy",
        ),
        (with("ike:\n", "ike:\n  force_encap: false\n"), Error, "ike.force_encap", "nat force-encap"),
        (with("dataplane:\n", &format!("{ten}dataplane:\n")), Warning, "tunnels", "8 sessions"),
    ] {
        let said = said(&text);
        let fits = |(s, p, m): &(Severity, String, String)| *s == severity && p == path && m.contains(part);
        assert!(said.iter().any(fits), "{path}: {said:?}");
    }
}

/// A machine whose certificates are of one kind.
struct Has(CertificateKind);

impl Surroundings for Has {
    fn certificate_kind(&self, _: &CertificateEntry) -> Option<CertificateKind> {
        Some(self.0.clone())
    }
}

/// IOS takes RSA keys, and a trustpoint is either self-signed or an authority's.
#[test]
fn certificates_are_of_a_kind_that_a_trustpoint_has() {
    use Severity::{Error, Warning};
    let with_trust = |trust: &str, head: &str| {
        with(
            "{ number: \"0388882001\", psk_file: /k, peer: cisco }",
            "{ number: \"0388882001\", certificate: own, peer: cisco }",
        )
        .replace(
            "tunnels:\n",
            &format!(
                "  certificates:\n  - {{ name: own, certificate: /c, key: /k, trust: {trust} }}\ntunnels:\n"
            ),
        )
        .replace("compat: cisco\n", head)
    };
    let (own, both, ca) = ("{ self_signed: true }", "{ self_signed: true, ca: [/ca] }", "{ ca: [/ca] }");
    for (key, is_self_signed, trust, paths) in [
        ("RSA 2048", true, own, &[][..]),
        ("RSA 2048", true, both, &[]),
        ("RSA 2048", false, ca, &[]),
        ("RSA 2048", false, both, &[]),
        ("RSA 2048", true, ca, &["ike.certificates[0].trust"]),
        ("RSA 2048", false, own, &["ike.certificates[0].trust"]),
        ("ECDSA P-256", true, own, &["ike.certificates[0].certificate"]),
        ("Ed25519", false, own, &["ike.certificates[0].certificate", "ike.certificates[0].trust"]),
    ] {
        let machine = Has(CertificateKind { key: key.to_owned(), is_self_signed });
        for (head, severity) in [("compat: cisco\n", Error), ("", Warning)] {
            let text = with_trust(trust, head);
            let found = examine("x.yaml", text.as_bytes(), &machine).findings;
            let ours: Vec<_> = found.list.iter().filter(|f| f.code == "compat::cisco").collect();
            let at: Vec<_> = ours.iter().map(|f| f.path.as_str()).collect();
            assert_eq!(at, paths, "{key} {trust}: {}", found.render(Style::PLAIN));
            assert!(ours.iter().all(|f| f.severity == severity && !f.hint.is_empty()));
        }
        // A peer that follows the RFCs takes them all.
        let text = with_trust(trust, "").replace(", peer: cisco", "");
        let found = examine("x.yaml", text.as_bytes(), &machine).findings;
        assert!(found.list.iter().all(|f| f.code != "compat::cisco"), "{}", found.render(Style::PLAIN));
    }
}

/// Without `compat: cisco` the same is a warning for the tunnel whose peer is a router, and nothing for others.
#[test]
fn otherwise_a_router_as_peer_is_warned_of() {
    let free = |text: String| said(&text.replace("compat: cisco\n", ""));
    let of_router = free(with("bandwidth_kbps: 512", "bandwidth_kbps: 2600"));
    assert_eq!(of_router.len(), 1, "{of_router:?}");
    assert_eq!(of_router[0].0, Severity::Warning);
    assert_eq!(free(with("bandwidth_kbps: 64", "bandwidth_kbps: 2600")), []);
    assert_eq!(free(with("ike:\n", "ike:\n  force_encap: false\n")), []);
}

#[test]
fn what_ios_locks_is_locked_in_a_change() {
    let old = read(GOOD);
    let reasons = |new: &str| {
        let new = read(new);
        locked(&old, &diff(&old, &new))
    };
    let source = reasons(&with("sip:\n", "media: { tunnel_source: 10.255.0.9 }\nsip:\n"));
    assert!(
        source[0].starts_with("media.tunnel_source: IOS blocks every update of the loopback"),
        "{source:?}"
    );
    let numbers = reasons(&with(
        "remote_number: \"0388882001\", bandwidth",
        "remote_number: \"0388882009\", bandwidth",
    ));
    assert!(numbers[0].starts_with("Tunnel1: remote_number changes; IOS locks"), "{numbers:?}");
    // What IOS lets an operator change: idle time, routes, another tunnel.
    assert_eq!(reasons(&with("bandwidth_kbps: 64", "idle_s: 60, bandwidth_kbps: 64")), Vec::<String>::new());
    let less = GOOD.lines().filter(|l| !l.contains("Tunnel2")).collect::<Vec<_>>().join("\n") + "\n";
    assert_eq!(reasons(&less), Vec::<String>::new());
    // Not the new profile, but the one in force says whether.
    let free = read(&GOOD.replace("compat: cisco\n", ""));
    assert_eq!(locked(&free, &diff(&free, &read(&with("512", "64")))), Vec::<String>::new());
}
