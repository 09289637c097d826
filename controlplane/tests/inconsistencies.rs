//! Where the vendor's chapter contradicts itself: each place is a test with the verdict of this gateway. The ninth, masked
//! addresses in a Call-ID, is a test of `sipsec-sip`.

use sipsec_net::Kbps;
use sipsec_profile::check::tariff;
use sipsec_profile::ios::report::{At, Severity};
use sipsec_profile::ios::{self, Import, Options, Source, write};
use sipsec_profile::model::limits::NEGOTIATION_DEADLINE_S;
use sipsec_profile::{Nothing, Profile, Style, change, examine};
use sipsec_sip::sdp::SessionDescription;

const EXAMPLE: &str = include_str!("../profile/tests/ios/cases/chapter-30-example-self-signed.txt");
const PSK: &str = include_str!("../profile/tests/ios/cases/chapter-20-procedure-psk.txt");
const BEFORE: &str = include_str!("../profile/tests/ios/cases/chapter-44-troubleshooting-key-before.txt");
const AFTER: &str = include_str!("../profile/tests/ios/cases/chapter-45-troubleshooting-key-after.txt");
const CRYPTO: &str = include_str!("golden/show/crypto-detail.txt");
const NAT: &str = include_str!("golden/show/nat.txt");
const SESSION: &str = include_str!("golden/show/session-detail.txt");

fn import(text: &str) -> Import {
    let interfaces = [("GigabitEthernet8".to_owned(), "wan0".to_owned())].into();
    let options = Options { interfaces, gateway: Some("here".to_owned()) };
    ios::import(&[Source { name: "x.txt", bytes: text.as_bytes() }], &options)
}

/// What the report says of the first line that has these words.
fn said(import: &Import, text: &str, words: &str) -> Vec<(Severity, String)> {
    let line = text.lines().position(|l| l.contains(words)).expect("the line") + 1;
    let at = At { file: 0, line: u32::try_from(line).expect("a line") };
    let of_line = import.report.findings.iter().filter(|f| f.places.iter().any(|p| p.holds(at)));
    of_line.map(|f| (f.severity, format!("{} {}", f.message, f.hint))).collect()
}

#[track_caller]
fn says(import: &Import, text: &str, words: &str, severity: Severity, parts: &[&str]) {
    let said = said(import, text, words);
    let fits = |(s, m): &(Severity, String)| *s == severity && parts.iter().all(|p| m.contains(p));
    assert!(said.iter().any(fits), "{words}: {said:?}");
}

fn written(import: &Import) -> String {
    write::profile(&import.conversion, Some("here"), &write::Keys::Inline, "").profile.to_string()
}

/// The profile, with what the file cannot know.
fn filled(import: &Import) -> String {
    written(import)
        .replace(write::REGISTRAR, "198.51.100.1:5060")
        .replace(write::DOMAIN, "carrier.example")
        .replace("<the device of Tunnel0>", "gre0")
}

fn complete(import: &Import) -> Profile {
    let text = filled(import);
    let examined = examine("x.yaml", text.as_bytes(), &Nothing);
    examined.profile.unwrap_or_else(|| panic!("{}", examined.findings.render(Style::PLAIN)))
}

/// `vpn-sip sip-local … sip-remote …` beside `local-number … remote-number …`: the same.
#[test]
fn inconsistency_01_two_spellings_of_the_numbers() {
    let one = import(&PSK.replace("local-number 5678 remote-number", "sip-local 5678 sip-remote"));
    assert_eq!(written(&one), written(&import(PSK)), "{}", one.report.text());
    assert!(PSK.contains("vpn-sip local-number 5678 remote-number 1234"));
}

/// The example names an `ikev2-profile iprof` that it does not define: an error with its place.
#[test]
fn inconsistency_02_a_profile_that_is_not_defined() {
    says(&import(EXAMPLE), EXAMPLE, "ikev2-profile iprof", Severity::Error, &["no IKEv2 profile", "iprof"]);
}

/// `idle-time 2000` in the procedure, 120 recommended: a warning with what it costs.
#[test]
fn inconsistency_03_an_idle_time_of_2000_seconds() {
    says(
        &import(PSK),
        PSK,
        "idle-time",
        Severity::Warning,
        &["2000 s", "67 charged units", "120 s is recommended"],
    );
    assert_eq!(tariff::yen(Kbps(1000), 2000), 134);
}

/// A backslash at the end of `a=fingerprint`: a device of the printed page, not a continuation.
#[test]
fn inconsistency_04_a_folded_fingerprint_is_none() {
    let body = |fingerprint: &str| {
        format!(
            "v=0\r\no=- 1 1 IN IP4 198.51.100.6\r\ns=-\r\nc=IN IP4 198.51.100.6\r\nt=0 0\r\n\
             m=application 24825 udp ike-esp-udpencap\r\na=ike-setup:active\r\n{fingerprint}\r\nb=AS:512\r\n"
        )
    };
    let digest = "D2:9F:6F:1E:CD:D3:09:E8:70:65:1A:51:7C:9D:30:4F:21:E4:4A:8E";
    let folded = format!("a=fingerprint:SHA-1 \\\r\nb=AS:512\r\n{digest}");
    let read = SessionDescription::parse(body(&folded).as_bytes());
    assert!(read.is_err() || read.is_ok_and(|d| d.ike.fingerprints.is_empty()), "the digest is not joined");
    let whole = SessionDescription::parse(body(&format!("a=fingerprint:SHA-1 {digest}")).as_bytes());
    assert_eq!(whole.expect("valid").ike.fingerprints.len(), 1);
}

/// Its output has the numbers of the two ends swapped: ours shows the peer's as remote.
#[test]
fn inconsistency_05_remote_is_the_number_of_the_peer() {
    assert!(SESSION.contains("Remote number : 0388881001\n   Local number  : 0388882001"), "{SESSION}");
}

/// `Peer … port 4500` beside an SA of 50002: the real outer port, wherever a port is shown.
#[test]
fn inconsistency_06_one_outer_port() {
    assert!(CRYPTO.contains("Peer: 10.6.6.49 port 50002") && CRYPTO.contains("remote 10.6.6.49/50002"));
    assert!(!CRYPTO.contains("port 4500") && !CRYPTO.contains("10.6.6.49/4500"));
}

/// Its table of translations has other addresses than its loopback: inside local is the tunnel source.
#[test]
fn inconsistency_07_inside_local_is_the_tunnel_source() {
    assert!(NAT.lines().any(|l| l.contains("10.6.6.50:50001") && l.contains("10.11.1.1:4500")), "{NAT}");
}

/// `Phase1_id: 10.6.6.49` although the profile says key-id: a peer's identity may be an address.
#[test]
fn inconsistency_08_an_identity_that_is_an_address() {
    let text =
        PSK.replace("match identity remote any", "match identity remote address 10.6.6.49 255.255.255.255");
    let imported = import(&text);
    assert!(written(&imported).contains("peer_identity: address 10.6.6.49"), "{}", written(&imported));
    let profile = complete(&imported);
    let identity = profile.ike.keyring[0].peer_identity.as_ref().map(ToString::to_string);
    assert_eq!(identity.as_deref(), Some("address 10.6.6.49"));
}

/// `ip route 10.1.0.0 255.0.0.0`: IOS refuses host bits, and so does the importer, with the prefix that is meant.
#[test]
fn inconsistency_10_host_bits_in_a_route() {
    says(&import(EXAMPLE), EXAMPLE, "ip route 10.1.0.0", Severity::Error, &["bits of the host", "10.0.0.0"]);
    says(&import(EXAMPLE), EXAMPLE, "ip route 10.1.0.0", Severity::Error, &["255.255.0.0"]);
}

/// `selfCert` and `Self`, `self`: names of IOS are exact, so another case is another name.
#[test]
fn inconsistency_11_names_that_differ_in_case() {
    let text = EXAMPLE.replace("pki trustpoint selfCert //", "pki trustpoint SelfCert //");
    says(
        &import(&text),
        &text,
        "pki trustpoint SelfCert",
        Severity::Error,
        &["SelfCert", "differs in case alone"],
    );
}

/// `IPROF` is an IKEv2 profile and an IPsec profile: two name spaces.
#[test]
fn inconsistency_12_one_name_for_two_profiles() {
    assert!(PSK.contains("crypto ikev2 profile IPROF") && PSK.contains("crypto ipsec profile IPROF"));
    let imported = import(PSK);
    assert_eq!(imported.report.errors(), 0, "{}", imported.report.text());
    assert_eq!((imported.conversion.tunnels.len(), imported.conversion.tunnels[0].idle_s), (1, Some(2000)));
}

/// The cure of one key changes those of other peers, too: `sipsec diff` names each of them.
#[test]
fn inconsistency_13_a_cure_that_changes_other_keys() {
    let rest = "vpn-sip enable\nvpn-sip local-number 0623458888 address ipv4 GigabitEthernet8\nend\n";
    let interface = "interface Tunnel4\n tunnel mode ipsec ipv4\n tunnel protection ipsec profile test-prof ikev2-profile test\n \
                     vpn-sip local-number 0623458888 remote-number 0312341111 bandwidth 1000\n\
                     crypto ipsec profile test-prof\n set security-association idle-time 120\n";
    let keyring = BEFORE.split_once("IKEv2 Keyring configs:").expect("the keyring").1;
    let one = complete(&import(&format!("{keyring}\n{interface}{rest}")));
    let other = complete(&import(&format!("{AFTER}\n{interface}{rest}")));
    let changed: Vec<String> = change::diff(&one, &other).changes.iter().map(|c| c.path.clone()).collect();
    for number in ["0334563333", "0634567777", "0323452222"] {
        assert!(changed.contains(&format!("ike.keyring[{number}].psk")), "{changed:?}");
    }
    assert!(changed.contains(&"ike.keyring[0645676666]".to_owned()), "{changed:?}");
    assert!(changed.contains(&"ike.keyring[0612349999]".to_owned()), "{changed:?}");
}

/// The peer's port is 24825, ours 50012: any port of SDP is taken.
#[test]
fn inconsistency_14_any_port_of_the_peer() {
    for port in [1024, 24_825, 24_845, 50_012, 65_535] {
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 198.51.100.6\r\ns=-\r\nc=IN IP4 198.51.100.6\r\nt=0 0\r\n\
             m=application {port} udp ike-esp-udpencap\r\nb=AS:512\r\n"
        );
        let read = SessionDescription::parse(body.as_bytes()).expect("valid");
        assert_eq!(read.ike.addr.port(), port);
    }
}

/// 58 s in NEGOTIATING_IKE with an answered call: a paid unit is the longest that one waits.
#[test]
fn inconsistency_15_a_call_without_a_tunnel_is_hung_up() {
    let profile = complete(&import(PSK));
    assert_eq!(profile.ike.negotiation_deadline.as_secs(), NEGOTIATION_DEADLINE_S);
    assert!(NEGOTIATION_DEADLINE_S <= tariff::unit_s(Kbps(64)));
}

/// `key123`, `psk1`: weak, at import and in `check`; refused where a hash of the key travels in SDP.
#[test]
fn inconsistency_16_weak_keys() {
    says(&import(PSK), PSK, "key123", Severity::Warning, &["weak"]);
    let text = filled(&import(PSK));
    let codes = |text: &str| {
        let findings = examine("x.yaml", text.as_bytes(), &Nothing).findings;
        assert!(!findings.render(Style::PLAIN).contains("key123"));
        findings.list.iter().map(|f| (f.code, f.severity)).collect::<Vec<_>>()
    };
    let weak = |severity| ("ike::weak-key", severity);
    assert!(codes(&text).contains(&weak(sipsec_profile::Severity::Warning)));
    let oracle = text.replace("ike:\n", "ike:\n  psk_fingerprint: true\n");
    assert!(codes(&oracle).contains(&weak(sipsec_profile::Severity::Error)));
}

/// The primary is a tunnel (`Tunnel0 track 1`), or there is none: neither is assumed to be a line.
#[test]
fn inconsistency_17_a_primary_that_is_no_line() {
    let imported = import(PSK);
    let tunnel = &imported.conversion.tunnels[0];
    assert_eq!((tunnel.name.as_str(), tunnel.routes.len()), ("Tunnel1", 1), "{}", imported.report.text());
    assert!(!said(&imported, PSK, "Tunnel0 track 1").is_empty(), "the primary is told");
    let alone = PSK.lines().filter(|l| !l.contains("Tunnel0 track")).collect::<Vec<_>>().join("\n");
    let imported = import(&alone);
    assert_eq!(imported.conversion.tunnels[0].routes.len(), 1, "{}", imported.report.text());
}
