//! Keys of `ike:` that have forms and bounds of their own.

use sipsec_profile::model::{IkeIdentity, PeerIdentity};
use sipsec_profile::{Examined, Nothing, examine};

/// With more lines under `ike:` and more in its keyring entry.
fn with(ike: &str, entry: &str) -> Examined {
    let text = format!(
        "version: 1\ngateway: g\nsip:\n  interface: wan0\n  registrar: \"192.0.2.1:5060\"\n  domain: example.com\n  lines:\n  - number: \"0388881001\"\n\
         ike:\n{ike}  keyring:\n  - number: \"0388882001\"\n    psk: \"0xd1f0a93b7c4e58261b7f9c03e6a2d845\"\n{entry}\
         media:\n  ports: 50000-50999\n  tunnel_source: 10.255.0.1\n\
         tunnels:\n- {{ name: Tunnel1, local_number: \"0388881001\", remote_number: \"0388882001\", bandwidth_kbps: 64, idle_s: 120, routes: [10.2.0.0/16] }}\n\
         dataplane:\n  outside: {{ device: wan0 }}\n  inside: {{ mode: host, device: svti0 }}\n"
    );
    examine("test.yaml", text.as_bytes(), &Nothing)
}

fn codes(examined: &Examined) -> Vec<(&str, &str)> {
    examined.findings.list.iter().map(|f| (f.code, f.path.as_str())).collect()
}

#[test]
fn a_replay_window_is_a_power_of_two() {
    assert_eq!(with("", "").profile.expect("valid").ike.replay_window, 1024);
    for packets in [64, 1024, 65_536] {
        let read = with(&format!("  replay_window: {packets}\n"), "");
        assert_eq!(read.profile.expect("valid").ike.replay_window, packets);
    }
    for (packets, hint) in [(100, "write 128"), (65_535, "write 65536")] {
        let read = with(&format!("  replay_window: {packets}\n"), "");
        assert!(read.profile.is_none());
        assert_eq!(codes(&read), [("config::range", "ike.replay_window")]);
        assert_eq!(read.findings.list[0].hint, hint);
    }
    for packets in ["0", "32", "131072", "-1", "x"] {
        assert!(with(&format!("  replay_window: {packets}\n"), "").profile.is_none(), "{packets}");
    }
}

#[test]
fn identities_are_read_in_their_forms_and_written_again() {
    let entry = "    identity: address 203.0.113.9\n    peer_identity: fqdn vpn.example.com\n";
    let profile = with("", entry).profile.expect("valid");
    let read = &profile.ike.keyring[0];
    assert_eq!(read.identity, Some(IkeIdentity::Address([203, 0, 113, 9].into())));
    assert_eq!(read.peer_identity, Some(PeerIdentity::Is(IkeIdentity::Fqdn("vpn.example.com".into()))));
    let branches = with("", "    peer_identity: fqdn *.example.com\n").profile.expect("valid");
    let branches = &branches.ike.keyring[0].peer_identity;
    assert_eq!(branches, &Some(PeerIdentity::FqdnOf("example.com".into())));
    assert!(with("", "    identity: fqdn *.example.com\n").profile.is_none(), "this gateway is one host");
    for bad in ["0388882001", "fqdn", "address vpn.example.com", "any"] {
        let read = with("", &format!("    peer_identity: \"{bad}\"\n"));
        assert!(read.profile.is_none(), "{bad}");
        assert_eq!(codes(&read)[0].1, "ike.keyring[0].peer_identity");
        assert!(read.findings.list[0].hint.contains("`address IP`"));
    }
}

/// RFC 8247, RFC 8221: who accepts weak algorithms is told so.
#[test]
fn an_entry_for_an_old_router_is_warned_of() {
    assert!(codes(&with("", "")).is_empty());
    let read = with("", "    peer: cisco\n");
    assert!(read.profile.is_some());
    assert_eq!(codes(&read), [("ike::weak-algorithms", "ike.keyring[0].peer")]);
    assert!(read.findings.list[0].message.contains("0388882001"));
}

/// RFC 7296 §1.2: the first SA of ESP has the keys of the IKE SA.
#[test]
fn ml_kem_for_esp_alone_is_warned_of() {
    let esp = "  esp_proposals: [aes256gcm16-x25519-ke1_mlkem768]\n";
    let ike = "  proposals: [aes256gcm16-prfsha384-x25519-ke1_mlkem768]\n";
    let read = with(esp, "");
    assert!(read.profile.is_some());
    assert_eq!(codes(&read), [("ike::hybrid-esp-only", "ike.esp_proposals")]);
    assert!(codes(&with(&format!("{ike}{esp}"), "")).is_empty());
    assert!(codes(&with("  esp_proposals: [aes256gcm16-x25519-ke1_none]\n", "")).is_empty());
}
