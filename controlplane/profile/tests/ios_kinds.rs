//! Kinds of input beside the cases: each variant changes one thing of a good configuration, and has to be told, read or
//! left out as an operator would expect.

#[macro_use]
#[path = "ios/branch.rs"]
mod branch;
#[path = "ios/flow.rs"]
mod flow;

use proptest::prelude::*;
use sipsec_profile::ios::report::{At, Severity, Verdict};
use sipsec_profile::ios::{self, Import, Options, Outcome, Source, write};

const KEY: &str = branch!(key);
const GOOD: &str = concat!(
    branch!(
        begin: "\
Building configuration...
Current configuration : 1234 bytes
version 15.7
hostname BR1
crypto ikev2 proposal P
 encryption aes-gcm-256
 prf sha384
 group 20
crypto ikev2 policy P
 proposal P
",
        loopback: " ip nat inside\n",
        tunnel: " ip unnumbered Loopback1\n",
        kbps: "1000",
        policy: "",
        wan: " ip nat outside\n",
        more: "ip route 10.2.0.0 255.255.0.0 Tunnel1 250\n"
    ),
    "end\n"
);

fn import(bytes: &[u8]) -> Import {
    let interfaces = [("GigabitEthernet8".to_owned(), "wan0".to_owned())].into();
    ios::import(&[Source { name: "x.txt", bytes }], &Options { interfaces, gateway: None })
}

/// The good configuration with one change.
fn with(from: &str, to: &str) -> Import {
    assert!(GOOD.contains(from), "{from}");
    import(GOOD.replace(from, to).as_bytes())
}

/// And with lines before its end.
fn and(lines: &str) -> Import {
    with("vpn-sip enable\n", &format!("{lines}\nvpn-sip enable\n"))
}

fn profile(import: &Import) -> String {
    flow::of_text(&write::profile(&import.conversion, None, &write::Keys::Inline, "").profile)
}

fn says(import: &Import, severity: Severity, words: &str) -> bool {
    import
        .report
        .findings
        .iter()
        .any(|f| f.severity == severity && format!("{} {}", f.message, f.hint).contains(words))
}

#[track_caller]
fn error(import: &Import, words: &str) {
    assert!(says(import, Severity::Error, words), "no error with {words:?}:\n{}", import.report.text());
}

#[track_caller]
fn warning(import: &Import, words: &str) {
    assert!(says(import, Severity::Warning, words), "no warning with {words:?}:\n{}", import.report.text());
}

#[track_caller]
fn is_good(import: &Import) {
    assert_eq!(import.report.outcome(), Outcome::Converted, "{}", import.report.text());
    same_profile(import);
}

#[track_caller]
fn same_profile(found: &Import) {
    assert_eq!(profile(found), profile(&import(GOOD.as_bytes())), "{}", found.report.text());
}

#[test]
fn the_good_configuration_has_nothing_to_be_told() {
    let good = import(GOOD.as_bytes());
    is_good(&good);
    assert_eq!(good.report.findings.len(), 0, "{}", good.report.text());
    for words in ["metric: 250", "routes: [10.2.0.0/16]", "gateway: BR1", "tunnel_source: 10.255.1.1"] {
        assert!(profile(&good).contains(words), "{words} in {}", profile(&good));
    }
}

#[test]
fn text_arrives_in_many_ways() {
    is_good(&import(GOOD.replace('\n', "\r\n").as_bytes()));
    is_good(&import(GOOD.replace('\n', "\r").as_bytes()));
    is_good(&import(format!("\u{feff}R1#sh run\n{GOOD}\nR1#\n").as_bytes()));
    is_good(&import(GOOD.replace('\n', "  \t\n").as_bytes()));
    is_good(&import(GOOD.replace("\n ", "\n\t").as_bytes()));
    is_good(&import(GOOD.replace("\n  ", "\n").replace("\n ", "\n").as_bytes()));
    is_good(&import(GOOD.replace("\n ", "\n   ").as_bytes()));
    let utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let read = import(&[b"\xff\xfe".as_slice(), &utf16].concat());
    is_good(&read);
    assert!(says(&read, Severity::Note, "UTF-16"));
    is_good(&with(
        " peer centre\n",
        " peer centre\n --More-- \u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}        \u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}",
    ));
    is_good(&and(
        "*Mar  1 00:00:10.123: %SYS-5-CONFIG_I: Configured from console by vty0\n000123: Mar  1 00:00:10: %LINK-3-UPDOWN: Interface x",
    ));
    same_profile(&with(
        "hostname BR1\n",
        "hostname BR1\nno service pad\nip cef\nlicense udi pid C891FJ-K9 sn X\n",
    ));
}

/// A paste in which one block has lost its indentation, or has another than the rest.
#[test]
fn each_block_may_have_an_indentation_of_its_own() {
    let lines: Vec<&str> = GOOD.lines().collect();
    let heads: Vec<usize> = (0..lines.len()).filter(|i| !lines[*i].starts_with(' ')).collect();
    for (n, head) in heads.iter().enumerate() {
        let end = heads.get(n + 1).copied().unwrap_or(lines.len());
        for indent in ["", "\t", "     "] {
            let block = lines[*head + 1..end].iter().map(|line| format!("{indent}{}", line.trim_start()));
            let text: Vec<String> = lines[..=*head]
                .iter()
                .map(|line| (*line).to_owned())
                .chain(block)
                .chain(lines[end..].iter().map(|line| (*line).to_owned()))
                .collect();
            is_good(&import(text.join("\n").as_bytes()));
        }
    }
}

#[test]
fn a_pager_may_stop_anywhere() {
    for pager in [
        " --More-- \u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}          \u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}\u{8}",
        " --More-- \r          \r",
        "--More--\r\u{1b}[K",
        "\u{1b}[7m--More--\u{1b}[m\r\u{1b}[K",
        "\u{1b}[7m --More-- \u{1b}[27m\r\u{1b}[2K",
    ] {
        let text: Vec<String> = GOOD.lines().map(|line| format!("{pager}{line}")).collect();
        is_good(&import(text.join("\n").as_bytes()));
        is_good(&import(text.join("\r\n").as_bytes()));
    }
}

#[test]
fn words_may_be_short_and_of_any_case() {
    for (word, short) in [
        ("interface Tunnel1", "int Tu1"),
        ("interface GigabitEthernet8", "INTERFACE gi8"),
        ("interface Loopback1", "inter lo 1"),
        ("crypto ikev2 keyring KR", "cry ikev2 keyr KR"),
        ("crypto ikev2 profile IKE", "CRYPTO IKEv2 PROF IKE"),
        ("crypto ipsec profile IPS", "cr ips prof IPS"),
        ("identity key-id 0388882001", "ident key 0388882001"),
        ("pre-shared-key Kz81", "pre-sh Kz81"),
        ("match identity remote any", "match ident rem any"),
        ("identity local key-id", "ident loc key-id"),
        ("authentication remote pre-share", "auth rem pre"),
        ("set security-association idle-time 120", "set sec idle 120"),
        ("set transform-set T", "set trans T"),
        ("ip unnumbered Loopback1", "ip unnum lo1"),
        ("tunnel source Loopback1", "tun sou lo1"),
        ("tunnel mode ipsec ipv4", "tunn mo ips ipv4"),
        ("tunnel destination dynamic", "tunnel dest dyn"),
        ("tunnel protection ipsec profile IPS ikev2-profile IKE", "tun prot ips prof IPS ikev2 IKE"),
        ("vpn-sip local-number 0388881001 remote-number", "VPN-SIP LOCAL-NUMBER 0388881001 REMOTE-NUMBER"),
        ("bandwidth 1000", "band 1000"),
        ("address ipv4 GigabitEthernet8", "addr ipv4 g8"),
        ("vpn-sip enable", "vpn-sip ena"),
    ] {
        let found = with(word, short);
        assert_eq!(profile(&found), profile(&import(GOOD.as_bytes())), "{short}: {}", found.report.text());
        assert_eq!(found.report.errors(), 0, "{short}: {}", found.report.text());
    }
    // `ip route` or `ip routing`: IOS refuses it, and no route is lost in silence.
    error(&with("ip route 10.2.0.0", "ip rou 10.2.0.0"), "rou");
}

/// A copy that ends too early is never taken for a whole one.
#[test]
fn a_truncated_file_is_told() {
    let lines: Vec<&str> = GOOD.lines().collect();
    for n in 3..lines.len() {
        let cut = import((lines[..n].join("\n") + "\n").as_bytes());
        let told = says(&cut, Severity::Warning, "may be incomplete") || cut.report.errors() > 0;
        assert!(told, "{n} lines: {}", cut.report.text());
        // In the middle of a line: no part of a key or a number is taken.
        let half = import((lines[..n].join("\n") + "\n" + &lines[n][..lines[n].len() / 2]).as_bytes());
        assert!(says(&half, Severity::Warning, "may be incomplete") || half.report.errors() > 0);
    }
}

#[test]
fn captures_have_more_in_them_than_a_configuration() {
    let capture = format!(
        "BR1#show ip route\nCodes: L - local\nS* 0.0.0.0/0 [254/0] via x\nBR1#show running-config\n{GOOD}BR1#show ip interface brief\n\
         Interface IP-Address OK? Method Status Protocol\nTunnel1 10.5.5.5 YES NVRAM up down\nBR1#\n"
    );
    is_good(&import(capture.as_bytes()));
    let tech = format!(
        "------------------ show version ------------------\n\nCisco IOS Software\ninterface Tunnel7 is up\n\
         ------------------ show running-config ------------------\n\n{GOOD}\n\
         ------------------ show stacks ------------------\nMinimum process stacks:\nvpn-sip enable\n"
    );
    is_good(&import(tech.as_bytes()));
    // The startup configuration behind the running one.
    let twice = import(format!("{GOOD}{}", GOOD.replace("0388882001", "0388882009")).as_bytes());
    warning(&twice, "second configuration");
    same_profile(&twice);
    let two = import(format!("{GOOD}{}", GOOD.replace("BR1", "BR2")).as_bytes());
    error(&two, "BR1 and BR2");
    error(&and("hostname OTHER"), "BR1 and OTHER");
    warning(&with("end\n", ""), "end");
}

#[test]
fn broken_lines_are_joined_and_keys_are_not() {
    let long = " vpn-sip local-number 0388881001 remote-number 0388882001 bandwidth 1000";
    let padded = " vpn-sip      local-number     0388881001   remote-number 0388882001 bandwidth 1000";
    let (head, tail) = padded.split_at(80);
    let joined = with(long, &format!("{head}\n{tail}"));
    warning(&joined, "terminal broke");
    same_profile(&joined);
    let key = format!("  pre-shared-key {}", "Q".repeat(90));
    let (head, tail) = key.split_at(80);
    let cut = with("  pre-shared-key Kz81-Kinds-Of-Input-77", &format!("{head}\n{tail}"));
    error(&cut, "where the key ends");
    assert!(!cut.report.text().contains("QQQ") && !profile(&cut).contains("QQQ"));
}

#[test]
fn banners_and_other_texts_are_no_commands() {
    for banner in [
        "banner motd #Keep out#",
        "banner motd ^C\ninterface Tunnel9\n! x\n vpn-sip local-number 1 remote-number 2 bandwidth 64\n^C",
        "banner login \u{3}\nvpn-sip local-number 9 address ipv4 Gi7\n\u{3}",
        "banner exec @\nno vpn-sip enable\n@",
        "banner motd ^CCC\n no interface Tunnel1\n^C",
        "macro name M\nno interface Tunnel1\n@",
        "menu M title ^C\nno interface Tunnel1\n^C",
        "crypto pki certificate chain TP-self-signed-1\n certificate self-signed 01\n  30820241 308201AA A0030201 \n  \tquit",
        "event manager applet A\n event timer watchdog time 60\n action 1.0 cli command \"show clock\"",
        "kron policy-list P\n cli show clock",
        "archive\n log config\n  logging enable",
        "alias exec s show ip interface brief",
    ] {
        same_profile(&and(banner));
        assert_eq!(and(banner).report.errors(), 0, "{banner}: {}", and(banner).report.text());
    }
    error(&and("banner motd ^C\nnever closed"), "never closed");
}

#[test]
fn no_takes_back_what_was_said() {
    let without = |lines: &str| profile(&and(lines));
    assert!(
        !without(
            "interface Tunnel1\n no vpn-sip local-number 0388881001 remote-number 0388882001 bandwidth 1000"
        )
        .contains("Tunnel1")
    );
    assert!(!without("no interface Tunnel1").contains("Tunnel1"));
    assert!(!without("no ip route 10.2.0.0 255.255.0.0 Tunnel1").contains("10.2.0.0"));
    assert!(!without("crypto ikev2 keyring KR\n no peer centre").contains(KEY));
    assert!(!without("crypto ikev2 keyring KR\n peer centre\n  no pre-shared-key x").contains(KEY));
    error(&and("no crypto ikev2 keyring KR"), "keyring of the name KR");
    error(&and("default crypto ikev2 profile IKE"), "IKEv2 profile of the name IKE");
    warning(&with("vpn-sip enable\n", "no vpn-sip enable\n"), "vpn-sip enable");
    same_profile(&and("interface Tunnel1\n no shutdown\n no ip redirects\nno ip http server"));
    same_profile(&and("interface Tunnel1\n shutdown\n no shutdown"));
    // Later lines of a block add to it and win.
    assert!(without("interface Tunnel1\n ip mtu 1300").contains("mtu: 1300"));
}

#[test]
fn keys_that_are_none_are_never_taken() {
    let key = format!("pre-shared-key {KEY}");
    for (line, words) in [
        ("pre-shared-key 6 ABCDEF", "type 6"),
        ("pre-shared-key 7 08271D", "type 7"),
        ("pre-shared-key local 6 ABCDEF", "type 6"),
        ("pre-shared-key <configuration removed>", "masked"),
        ("pre-shared-key <secret hidden>", "masked"),
        ("pre-shared-key ********", "masked"),
        ("! pre-shared-key <removed>", "masked"),
        ("pre-shared-key hex 0A1", "hexadecimal"),
        ("pre-shared-key two words", "blank"),
        ("pre-shared-key caf\u{e9}-caf\u{e9}", "U+00E9"),
        ("pre-shared-key local only-one-direction", "one direction"),
        ("pre-shared-ky SomethingSecret", "no command"),
    ] {
        let found = with(&key, line);
        error(&found, words);
        assert!(found.conversion.keyring.is_empty(), "{line}");
        for secret in ["ABCDEF", "08271D", "SomethingSecret", "two words", "only-one"] {
            assert!(!found.report.text().contains(secret), "{line}");
        }
    }
    assert!(profile(&with(&key, "pre-shared-key 0 abc0123456789")).contains("psk: abc0123456789 "));
    assert!(
        profile(&with(&key, "pre-shared-key hex 0A1B2C3D4E5F60718293"))
            .contains("psk: 0x0a1b2c3d4e5f60718293 ")
    );
    assert!(
        profile(&with(&key, "pre-shared-key 0xNotHexButText"))
            .contains("psk: 0x30784e6f7448657842757454657874 ")
    );
}

#[test]
fn keys_are_found_in_every_place_that_may_hold_them() {
    let inline = with(
        "authentication remote pre-share\n authentication local pre-share\n keyring local KR",
        "authentication remote pre-share key Zq19-inline-key-0\n authentication local pre-share key 0 Zq19-inline-key-0",
    );
    assert!(profile(&inline).contains("{ number: any, psk: Zq19-inline-key-0 }"), "{}", profile(&inline));
    let wildcard = with("  identity key-id 0388882001\n", "  address 0.0.0.0 0.0.0.0\n");
    assert!(profile(&wildcard).contains("{ number: any,"), "{}", wildcard.report.text());
    error(&with("identity key-id 0388882001", "identity key-id 0388882011"), "0388882011");
    warning(&with("identity key-id 0388882001", "identity key-id centre.example"), "centre.example");
    error(&with("keyring local KR", "keyring aaa LIST"), "AAA");
    same_profile(&with("keyring local KR", "keyring KR"));
    let both = with("  identity key-id 0388882001\n", "  identity key-id 0388882001\n  address 192.0.2.9\n");
    same_profile(&both);
    let inherited =
        with("tunnel protection ipsec profile IPS ikev2-profile IKE", "tunnel protection ipsec profile IPS");
    error(&inherited, "no IKEv2 profile");
    let inherited = import(
        GOOD.replace(" ikev2-profile IKE\n", "\n")
            .replace(" set transform-set T\n", " set transform-set T\n set ikev2-profile IKE\n")
            .as_bytes(),
    );
    is_good(&inherited);
}

#[test]
fn what_vpn_sip_has_not_is_refused_where_a_tunnel_uses_it() {
    for (line, words) in [
        (" authentication remote eap query-identity", "eap"),
        (" ivrf CUST", "VRF CUST"),
        (" match fvrf WAN", "VRF WAN"),
        (" virtual-template 1", "virtual-template"),
        (" aaa authorization group psk list L P", "aaa authorization"),
    ] {
        let found = with(" nat force-encap\n", &format!(" nat force-encap\n{line}\n"));
        error(&found, words);
    }
    // Profiles of other tunnels are none of ours.
    let other = and(
        "crypto ikev2 profile RA\n match identity remote any\n authentication remote eap\n virtual-template 1\ninterface Virtual-Template1\n tunnel protection ipsec profile RAP\ncrypto isakmp policy 10\n encr aes\ncrypto map M 10 ipsec-isakmp\n set peer 192.0.2.1",
    );
    is_good(&other);
    error(
        &with("authentication remote pre-share\n", "authentication remote rsa-sig\n"),
        "another of its peers",
    );
    warning(&with(" nat force-encap\n", ""), "nat force-encap");
    warning(&with("match identity remote any", "match identity remote key-id 0388889999"), "0388882001");
    warning(&with("identity local key-id 0388881001", "identity local fqdn br.example"), "fqdn br.example");
}

/// A name by which the profile takes its peers becomes theirs in the keyring; what no entry can say is an error.
#[test]
fn names_of_peers_are_converted_or_refused() {
    for (line, written) in [
        ("fqdn centre.bank.example", "peer_identity: fqdn centre.bank.example"),
        ("fqdn domain bank.example", "peer_identity: fqdn *.bank.example"),
        ("email domain bank.example", "peer_identity: email *@bank.example"),
        ("address 192.0.2.7 255.255.255.255", "peer_identity: address 192.0.2.7"),
    ] {
        let found = with("match identity remote any", &format!("match identity remote {line}"));
        warning(&found, "peer_identity");
        assert_eq!(found.report.errors(), 0, "{line}: {}", found.report.text());
        let text = profile(&found);
        assert!(text.replace(['"', '\''], "").contains(written), "{line}: {text}");
        // And back.
        let shown = ios::show::running_config(&found.conversion);
        let back = line.trim_end_matches(" 255.255.255.255");
        assert!(shown.contains(&format!(" match identity remote {back}\n")), "{line}: {shown}");
    }
    for line in [
        "address 10.0.0.0 255.0.0.0",
        "address 0.0.0.0",
        "fqdn a.example\n match identity remote fqdn b.example",
    ] {
        let found = with("match identity remote any", &format!("match identity remote {line}"));
        error(&found, "match identity remote any");
        assert!(!profile(&found).contains("peer_identity"), "{line}");
    }
    error(&with("identity local key-id 0388881001", "identity local dn"), "identity local key-id NUMBER");
    // Beside a number, or any, nothing is refused for it.
    let beside = with(
        "match identity remote any",
        "match identity remote any\n match identity remote fqdn domain b.example",
    );
    assert_eq!(beside.report.errors(), 0, "{}", beside.report.text());
}

/// What `write memory` says is no header.
#[test]
fn saving_is_not_the_beginning_of_a_configuration() {
    let typed = format!(
        "BR1#conf t\n{}BR1#wr mem\nBuilding configuration...\n[OK]\nBR1#\n",
        GOOD.replace("Building configuration...\nCurrent configuration : 1234 bytes\n", "")
    );
    assert!(!says(&import(typed.as_bytes()), Severity::Warning, "incomplete"));
}

#[test]
fn lines_and_tunnels_have_to_fit() {
    let vpn_sip = "vpn-sip local-number 0388881001 remote-number 0388882001 bandwidth 1000";
    for (line, words) in [
        ("vpn-sip local-number 0388881001 remote-number 0388882001 bandwidth 0", "bandwidth"),
        ("vpn-sip local-number 0388881001 remote-number 0388882001", "bandwidth"),
        ("vpn-sip local-number 0388881001 remote-number 0388881001 bandwidth 64", "own number"),
        ("vpn-sip local-number 0388881009 remote-number 0388882001 bandwidth 64", "0388881009"),
        ("vpn-sip local-number abc remote-number 0388882001 bandwidth 64", "telephone numbers"),
    ] {
        error(&with(vpn_sip, line), words);
    }
    warning(&with("bandwidth 1000", "bandwidth 128"), "128 kbps");
    same_profile(&with(vpn_sip, "VPN-SIP SIP-LOCAL 0388881001 SIP-REMOTE 0388882001 BANDWIDTH 1000"));
    same_profile(&and("vpn-sip local-number 0388881001 address ipv4 Gi8"));
    warning(&and("vpn-sip local-number 0388881001 address ipv4 Gi9"), "two interfaces");
    error(
        &with("interface GigabitEthernet8\n", "interface GigabitEthernet8\n vrf forwarding WAN\n"),
        "VRF WAN",
    );
    warning(&with(" ip address dhcp\n", " no ip address\n"), "no address");
    warning(&and("sip-ua\n registrar dhcp"), "5060");
    warning(&and("voice service voip\n sip"), "5060");
    error(&with(" tunnel protection ipsec profile IPS ikev2-profile IKE\n", ""), "tunnel protection");
}

#[test]
fn routes_in_every_form() {
    let route = "ip route 10.2.0.0 255.255.0.0 Tunnel1 250";
    for line in [
        "ip route 10.2.0.0 255.255.0.0 Tu1 250 permanent name X tag 7",
        "ip route 10.2.0.0 255.255.0.0 tunnel 1 name X 250",
        "ip route 10.2.0.0 255.255.0.0 Tunnel1 10.254.0.1 250",
        "IP ROUTE 10.2.0.0 255.255.0.0 TUNNEL1 250",
    ] {
        same_profile(&with(route, line));
    }
    assert!(!profile(&with(route, "ip route 10.2.0.0 255.255.0.0 Tunnel1")).contains("metric"));
    assert!(profile(&and("ipv6 route 2001:DB8:2::/48 Tunnel1 250")).contains("2001:db8:2::/48"));
    for (line, words) in [
        ("ip route 10.2.1.0 255.255.0.0 Tunnel1 250", "10.2.0.0"),
        ("ip route 10.2.0.0 255.0.255.0 Tunnel1 250", "255.0.255.0"),
        ("ip route 10.2.0.0 0.0.255.255 Tunnel1 250", "255.255.0.0"),
        ("ip route 10.2.0.0 255.255.0.0 Tunnel9 250", "Tunnel9"),
        ("ip route vrf CUST 10.2.0.0 255.255.0.0 Tunnel1 250", "CUST"),
        ("ip route 10.2.0.0 255.255.0.0 Tunnel1 300", "1 to 255"),
        ("ip route 10.2.0.0 255.255.0.0 Tunnel1 250 wrong", "wrong"),
        ("ipv6 route 2001:db8::1/48 Tunnel1", "2001:db8::/48"),
    ] {
        error(&with(route, line), words);
    }
    let several = profile(&and("ip route 10.9.0.0 255.255.0.0 Tunnel1 240"));
    assert!(several.contains("{ prefix: 10.9.0.0/16, distance: 240 }"), "{several}");
    let tracked = and("track 1 interface Gi9 line-protocol\nip route 0.0.0.0 0.0.0.0 192.0.2.1 track 1");
    warning(&tracked, "--ifmap GigabitEthernet9");
    assert!(profile(&tracked).contains("{ prefix: 0.0.0.0/0, via: 192.0.2.1, track: 1 }"));
    error(&and("track 1 interface Gi9 line-protocol\nip route 0.0.0.0 0.0.0.0 192.0.2.1 track 2"), "track 2");
    is_good(&and(
        "ip route 0.0.0.0 0.0.0.0 dhcp 253\nip route 10.0.0.0 255.0.0.0 Null0\nip route 0.0.0.0 0.0.0.0 Dialer1 240\nip route vrf MGMT 0.0.0.0 0.0.0.0 10.99.0.1",
    ));
}

#[test]
fn protection_is_never_lost_in_silence() {
    let tunnel = " ip unnumbered Loopback1\n tunnel source";
    for (line, words) in [
        (" ip access-group FILTER in", "FILTER"),
        (" ipv6 traffic-filter FILTER6 in", "FILTER6"),
        (" zone-member security ATM", "zone"),
        (" ip nat outside", "nat outside"),
        (" service-policy output QOS", "QOS"),
        (" ip inspect FW out", "ip inspect FW"),
        (" ip verify unicast source reachable-via rx", "ip verify unicast"),
    ] {
        warning(&with(tunnel, &format!(" ip unnumbered Loopback1\n{line}\n tunnel source")), words);
    }
    for line in [" vrf forwarding ATM", " ip vrf forwarding ATM", " tunnel vrf ATM"] {
        let found = with(tunnel, &format!(" ip unnumbered Loopback1\n{line}\n tunnel source"));
        error(&found, "ATM");
        assert!(found.conversion.tunnels.is_empty());
    }
    let shut = with(tunnel, " ip unnumbered Loopback1\n shutdown\n tunnel source");
    warning(&shut, "shutdown");
    assert!(shut.conversion.tunnels.is_empty());
    warning(
        &and(
            "ip nat inside source list L interface GigabitEthernet8 overload\nip access-list standard L\n permit 10.0.0.0 0.255.0.255",
        ),
        "overload",
    );
    warning(
        &and(
            "event manager applet E\n action 1 cli command \"interface tunnel 1\"\n action 2 cli command \"shutdown\"",
        ),
        "applet E",
    );
}

#[test]
fn algorithms_are_carried_over_or_named() {
    for (from, to, severity, words) in [
        (" group 20\n", " group 20 2 5\n", Severity::Warning, "2, 5"),
        (" encryption aes-gcm-256\n", " encryption 3des\n", Severity::Error, "3des"),
        (" group 20\n", " group 2\n", Severity::Error, "group 2"),
        (" prf sha384\n", "", Severity::Error, "prf"),
        (
            "policy P\n proposal P\n",
            "policy P\n proposal Q\n",
            Severity::Error,
            "IKEv2 proposal of the name Q",
        ),
        ("esp-gcm 256", "esp-3des esp-sha-hmac", Severity::Error, "esp-gcm"),
        ("esp-gcm 256", "esp-aes 192 esp-sha256-hmac", Severity::Error, "esp-gcm"),
        ("esp-gcm 256", "esp-aes 256", Severity::Error, "esp-gcm"),
        ("esp-gcm 256", "esp-gcm 256 esp-sha256-hmac", Severity::Error, "esp-gcm"),
        ("esp-gcm 256", "esp-aes esp-md5-hmac", Severity::Error, "esp-gcm"),
        ("esp-gcm 256", "esp-aes esp-sha-hmac", Severity::Warning, "peer: cisco"),
        (
            " encryption aes-gcm-256\n prf sha384\n group 20\n",
            " encryption aes-cbc-128\n integrity sha1\n group 5 2\n",
            Severity::Warning,
            "peer: cisco",
        ),
        ("esp-gcm 256", "ah-sha-hmac", Severity::Error, "esp-gcm"),
        ("set transform-set T", "set transform-set U", Severity::Error, "transform set of the name U"),
        (" set transform-set T\n", "", Severity::Note, "default"),
        (" set transform-set T\n", " set transform-set T\n set pfs group2\n", Severity::Error, "group 2"),
        (" set security-association idle-time 120\n", "", Severity::Warning, "idle-time"),
        ("idle-time 120", "idle-time 3600", Severity::Warning, "120 charged units"),
        ("idle-time 120", "idle-time 5", Severity::Error, "60 to 86400"),
    ] {
        let found = with(from, to);
        assert!(says(&found, severity, words), "{to}: {}", found.report.text());
    }
    for (set, words) in [
        ("esp-aes 256 esp-sha256-hmac", "esp_proposals: [aes256-sha256]"),
        ("esp-sha512-hmac esp-aes", "esp_proposals: [aes128-sha512]"),
        ("esp-aes 128 esp-sha384-hmac", "esp_proposals: [aes128-sha384]"),
    ] {
        let found = with("esp-gcm 256", set);
        assert!(profile(&found).contains(words), "{words} in {}", profile(&found));
        assert!(!profile(&found).contains("peer: cisco"), "{set}");
    }
    for (from, to) in [
        ("esp-gcm 256", "esp-sha-hmac esp-aes 256"),
        (
            " encryption aes-gcm-256\n prf sha384\n group 20\n",
            " encryption aes-cbc-256\n integrity sha1 sha256\n group 2\n",
        ),
    ] {
        let found = with(from, to);
        assert!(profile(&found).contains("peer: cisco"), "{}", profile(&found));
    }
    let more = with(
        " nat force-encap\n",
        " nat force-encap\n lifetime 28800\n dpd 30 5 periodic\n nat keepalive 25\ncrypto ikev2 fragmentation mtu 1000\n\
         crypto ipsec df-bit set\n",
    );
    for words in [
        "ike_s: 28800",
        "dpd_s: 30, dpd_mode: periodic",
        "nat_keepalive_s: 25",
        "fragment_bytes: 972",
        "dont_fragment: set",
    ] {
        assert!(profile(&more).contains(words), "{words} in {}", profile(&more));
    }
    let pfs = with(
        " set transform-set T\n",
        " set transform-set T\n set pfs group19\n set security-association lifetime kilobytes disable\n",
    );
    assert!(
        profile(&pfs).contains("esp_proposals: [aes256gcm16-ecp256]")
            && profile(&pfs).contains("child_kb: 0")
    );
}

#[test]
fn unknown_commands_are_told_with_the_nearest() {
    error(&and("vpn-sip loging"), "logging");
    error(&and("crypto ikev2 profiel X"), "profile");
    error(&with("keyring local KR", "kering local KR"), "keyring");
    warning(&and("nterface Loopback7"), "lacks letters");
    // People misspell commands; what the router printed itself is a feature that the import does not know.
    error(&import(b"hostname BR1\ncompletely unknown words\nvpn-sip enable\n"), "completely");
    let feature = and("completely unknown words\n below it\nip sdnext on");
    warning(&feature, "completely unknown, ip sdnext");
    same_profile(&feature);
    error(&and("interfaec Tunnel7"), "interface");
    // What the router itself refused was never configured.
    same_profile(&and("vpn-sip loging\n             ^\n% Invalid input detected at '^' marker.\n"));
    let refused =
        import(format!("{}BR1(config)#no interface Tunnel1\n% Incomplete command.\n", GOOD).as_bytes());
    same_profile(&refused);
}

#[test]
fn other_products_and_other_files_are_refused_with_one_error() {
    for text in [
        "# RTX1220 Rev.15.04.06\nlogin user admin *\ntunnel select 1\n",
        "! NEC Portable Internetwork Core Operating System Software\ninterface GigaEthernet0.0\n",
        "!! IOS XR Configuration 7.3.2\nhostname x\n",
        "ASA Version 9.8(2)\nhostname x\n",
        "! device: sw1 (DCS-7050, EOS-4.20)\n",
        "+ip route 10.0.0.0 255.0.0.0 Tunnel1\n-ip route 10.0.0.0 255.0.0.0 Tunnel2\n+hostname x\n",
        "{\"hostname\": \"x\"}\n",
        "<html><body>interface Tunnel1</body></html>\n",
        "この文書は設定ではありません。\n",
        "",
    ] {
        let found = import(text.as_bytes());
        assert_eq!(found.report.outcome(), Outcome::Refused, "{text}: {}", found.report.text());
        assert_eq!(found.report.errors(), 1, "{text}");
    }
    let binary = [0u8, 1, 2, 3, 255, 254, 0, 0, 1, 7, 6, 5].repeat(50);
    assert_eq!(import(&binary).report.outcome(), Outcome::Refused);
}

#[test]
fn bounds_are_refused_with_words() {
    let long = format!("hostname {}\n", "x".repeat(1 << 20));
    let many = "!\n".repeat(ios::LINES_MAX + 1);
    let large = vec![b'a'; ios::BYTES_MAX + 1];
    for bytes in [long.as_bytes(), many.as_bytes(), &large] {
        let found = import(bytes);
        assert_eq!(found.report.outcome(), Outcome::Refused);
        assert!(found.report.text().len() < 4_000);
    }
}

/// Thousands of everything: nothing is quadratic, or this would not end.
#[test]
fn a_centre_of_many_branches_is_read() {
    let count = 4_000;
    let mut text = GOOD.split("interface Tunnel1").next().expect("the beginning").to_owned();
    text.push_str("crypto ikev2 keyring KR\n");
    for i in 0..count {
        text.push_str(&format!(
            " peer p{i}\n  identity key-id 05{i:08}\n  pre-shared-key Kk{i}-key-of-many-{i}\n"
        ));
    }
    for i in 0..count {
        text.push_str(&format!(
            "interface Tunnel{i}\n tunnel source Loopback1\n tunnel mode ipsec ipv4\n tunnel destination dynamic\n ip access-group F{} in\n \
             tunnel protection ipsec profile IPS ikev2-profile IKE\n vpn-sip local-number 0388881001 remote-number 05{i:08} bandwidth 64\n\
             ip route 10.{}.{}.0 255.255.255.0 Tunnel{i} 250\n",
            i % 7,
            i / 250,
            i % 250
        ));
    }
    text.push_str("interface GigabitEthernet8\n ip address dhcp\nvpn-sip enable\nvpn-sip local-number 0388881001 address ipv4 Gi8\nend\n");
    let found = import(text.as_bytes());
    assert_eq!(found.conversion.tunnels.len(), count);
    assert_eq!(found.report.errors(), 0, "{}", found.report.text());
    assert_eq!(found.conversion.keyring.len(), count + 1);
}

/// Pieces of configurations, so that changes reach every handler.
fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&'static str> = GOOD.lines().collect();
    let line = prop_oneof![
        8 => prop::sample::select(lines),
        1 => Just("banner motd ^C"),
        1 => Just("certificate 01"),
        1 => Just("no"),
        1 => Just("-----BEGIN RSA PRIVATE KEY-----"),
        1 => Just("crypto pki certificate map M 10"),
        1 => Just("R1(config-if)#"),
        1 => Just("% Invalid input"),
    ];
    let edit = (
        0usize..90,
        prop_oneof![any::<u8>(), Just(b' '), Just(b'\r'), Just(8u8), Just(27u8), Just(0xe3), Just(0x81)],
    );
    (prop::collection::vec((line, prop::option::of(edit)), 0..60)).prop_map(|lines| {
        let mut out = Vec::new();
        for (line, edit) in lines {
            let mut bytes = line.as_bytes().to_vec();
            if let Some((at, byte)) = edit {
                let at = at % (bytes.len() + 1);
                if byte % 3 == 0 { bytes.truncate(at) } else { bytes.insert(at, byte) }
            }
            out.extend(bytes);
            out.push(b'\n');
        }
        out
    })
}

/// What holds of every import: each line has a verdict, the reports can be made, and the profile is YAML.
fn holds(bytes: &[u8]) {
    let found = import(bytes);
    for (file, report) in (0u16..).zip(&found.report.files) {
        for (number, line) in (1u32..).zip(&report.lines) {
            assert_eq!(line.number, number);
            let told = || {
                found
                    .report
                    .findings
                    .iter()
                    .any(|f| f.places.iter().any(|s| s.holds(At { file, line: number })))
            };
            assert!(line.verdict != Verdict::Error || told() || found.report.more > 0);
        }
    }
    let (text, html) = (found.report.text(), found.report.html(None));
    assert!(!text.chars().any(|c| c.is_control() && c != '\n') && html.ends_with("</html>\n"));
    profile(&found);
    assert!(!text.contains(KEY) && !html.contains(KEY));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        holds(&bytes);
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "(\\PC{0,60}\n){0,30}") {
        holds(text.as_bytes());
    }

    #[test]
    fn mangled_configurations_are_read_without_a_panic(bytes in mangled()) {
        holds(&bytes);
    }
}

/// What else the router does with a tunnel is told, with what to write instead.
#[test]
fn commands_beside_vpn_sip_are_told() {
    let on_tunnel =
        |line: &str| with(" ip unnumbered Loopback1\n", &format!(" ip unnumbered Loopback1\n {line}\n"));
    let backup = and(
        "interface GigabitEthernet0\n ip address 192.0.2.1 255.255.255.0\n backup int Tu1\n backup delay 5 30",
    );
    warning(&backup, "GigabitEthernet0 has `backup interface Tunnel1`");
    warning(&backup, "larger `distance`");
    same_profile(&backup);
    warning(
        &with(" ip nat outside\n", " ip nat outside\n backup interface Dialer1\n"),
        "backup interface Dialer1",
    );
    warning(&on_tunnel("backup interface Tunnel2"), "Tunnel1 has `backup interface Tunnel2`");
    let other = and("interface GigabitEthernet0\n backup interface Dialer1\ninterface Dialer1\n ip mtu 1454");
    is_good(&other);
    is_good(&and("interface GigabitEthernet0\n backup interface Tunnel1\n no backup interface"));
    for line in [
        "ip ospf 1 area 0",
        "ip pim sparse-mode",
        "ipv6 ospf 1 area 0",
        "ip router isis",
        "bfd interval 50 min_rx 50 multiplier 3",
    ] {
        warning(&on_tunnel(line), "routing_hellos: true");
        same_profile(&on_tunnel(line));
    }
    let secret = on_tunnel("ip ospf message-digest-key 1 md5 hunter2");
    assert!(!format!("{}{:?}", secret.report.text(), secret.report).contains("hunter2"));
    for line in [
        "rate-limit output 64000 8000 8000 conform-action transmit exceed-action drop",
        "traffic-shape rate 64000",
    ] {
        warning(&on_tunnel(line), "the negotiated rate alone shapes");
    }
    for line in ["ip ips IPS in", "ip admission A", "ip urlfilter U"] {
        warning(&on_tunnel(line), "is not imported");
    }
    let mode = |to: &str| with("tunnel mode ipsec ipv4", to);
    warning(&mode("tunnel mode gre ip"), "vpn-sip needs `tunnel mode ipsec ipv4`");
    is_good(&mode("tunn mo ips ipv4"));
    let fixed = with("tunnel destination dynamic", "tunnel destination 203.0.113.9");
    warning(&fixed, "the fixed destination 203.0.113.9");
    let bare = with(" tunnel protection ipsec profile IPS ikev2-profile IKE\n", "");
    error(&bare, "Tunnel1 has no tunnel protection");
    assert!(!says(&bare, Severity::Error, "there is no Tunnel1"), "{}", bare.report.text());
    let never = with("Tunnel1 250", "Tunnel1 255");
    warning(&never, "with which the router never uses a route");
    assert!(!profile(&never).contains("10.2.0.0/16"));
}

#[test]
fn a_key_that_is_there_twice_is_told_and_is_no_error() {
    let ring = |key: &str| {
        format!("crypto ikev2 keyring KR\n peer again\n  identity key-id 0388882001\n  pre-shared-key {key}")
    };
    let same = and(&ring(KEY));
    assert_eq!(same.report.errors(), 0, "{}", same.report.text());
    assert!(says(&same, Severity::Note, "the same key in the peers"), "{}", same.report.text());
    same_profile(&same);
    error(&and(&ring("another-key-of-the-peer-77")), "has a key already");
    let unused = and(&ring("another-key-of-the-peer-77").replace("keyring KR", "keyring SPARE"));
    assert!(
        says(&unused, Severity::Note, "the keyring SPARE has a key for 0388882001"),
        "{}",
        unused.report.text()
    );
    same_profile(&unused);
}

/// The gateway offers one list to all tunnels; the router has groups by profile.
#[test]
fn profiles_that_differ_in_pfs_are_told_and_both_are_shown() {
    let two = "crypto ipsec profile IPS2\n set transform-set T\n set pfs group20\n set security-association idle-time 60\n\
               interface Tunnel2\n ip unnumbered Loopback1\n tunnel source Loopback1\n tunnel mode ipsec ipv4\n \
               tunnel destination dynamic\n tunnel protection ipsec profile IPS2 ikev2-profile IKE\n \
               vpn-sip local-number 0388881001 remote-number 0388882002 bandwidth 512\n\
               crypto ikev2 keyring KR\n peer two\n  identity key-id 0388882002\n  pre-shared-key second-key-of-a-peer-5521";
    let found = and(two);
    warning(&found, "differ in `set pfs`");
    let text = profile(&found);
    let (first, second) = (text.find("aes256gcm16-ecp384"), text.rfind("aes256gcm16"));
    assert!(first.is_some() && first < second, "{text}");
    let shown = ios::show::running_config(&found.conversion);
    for line in [
        "crypto ipsec profile sipsec-idle-120-group20\n",
        "crypto ipsec profile sipsec-idle-60-no-pfs\n",
        " set pfs group20\n",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    let again =
        import(shown.replace("<hidden>", KEY).replace("GigabitEthernet0", "GigabitEthernet8").as_bytes());
    assert_eq!(again.conversion.esp_proposals, found.conversion.esp_proposals, "{shown}");
    let idle = |import: &Import| import.conversion.tunnels.iter().map(|t| t.idle_s).collect::<Vec<_>>();
    assert_eq!(idle(&again), idle(&found));
    // One tunnel cannot name two profiles: both are printed all the same.
    let mut one = found.conversion;
    one.tunnels.truncate(1);
    let shown = ios::show::running_config(&one);
    assert!(shown.contains("-group20\n") && shown.contains("-no-pfs\n"), "{shown}");
}

/// `show tech` has the startup configuration behind the running one, which is whole.
#[test]
fn a_second_configuration_does_not_make_the_first_incomplete() {
    let between = "\n------------------ show startup-config ------------------\n\n";
    let both = import(
        format!("{GOOD}{between}{GOOD}\n------------------ show ip route ------------------\n").as_bytes(),
    );
    warning(&both, "a second configuration begins here");
    assert!(!says(&both, Severity::Warning, "may be incomplete"), "{}", both.report.text());
    same_profile(&both);
    let cut = import(format!("{}{between}{GOOD}", GOOD.strip_suffix("end\n").expect("its end")).as_bytes());
    warning(&cut, "may be incomplete");
}

/// A whole IOS XE router beside its vpn-sip: every other feature has a reason, none is an error, and no secret of it is shown.
#[test]
fn features_beside_vpn_sip_are_ignored_with_a_reason() {
    let features = include_str!("ios/features.txt");
    let found = and(features);
    assert_eq!(found.report.errors(), 0, "{}", found.report.text());
    let lines = &found.report.files[0].lines;
    assert_eq!(lines.len(), GOOD.lines().count() + features.lines().count() + 1);
    let first = lines.iter().position(|l| l.text == "aaa new-model").expect("the first feature");
    for line in &lines[first..first + features.lines().count()] {
        assert_ne!(line.verdict, Verdict::Error, "{}", line.text);
        // What names a track or an address may be taken; nothing of a tunnel or a key is.
        let ours = ["vpn-sip", "tunnel protection", "pre-shared-key", "crypto "];
        let taken =
            line.verdict == Verdict::Converted && ours.iter().any(|w| line.text.trim_start().starts_with(w));
        assert!(!taken, "{}", line.text);
    }
    assert_eq!(found.conversion.tunnels.len(), 1);
    let (text, json) = (found.report.text(), serde_json::to_string(&found.report).expect("JSON"));
    let page = found.report.html(None);
    // Of type 7, too, which anybody can read.
    for secret in ["Secret", "0822455D0A16", "13061E010803557878", "094F471A1A0A", "32a67eb4d3078aa8"] {
        assert!(features.contains(secret));
        for shown in [&text, &json, &page] {
            let line = shown.lines().find(|line| line.contains(secret));
            assert_eq!(line.map(|l| l.chars().take(200).collect::<String>()), None);
        }
    }
}

#[test]
fn the_limits_of_reassembly_come_along_and_go_back() {
    const OUTSIDE: &str = " ip nat outside\n";
    let wan = |line: &str| {
        let at = GOOD.rfind(OUTSIDE).expect("the WAN") + OUTSIDE.len();
        import(format!("{} {line}\n{}", &GOOD[..at], &GOOD[at..]).as_bytes())
    };
    for (line, written) in [
        (
            "max-reassemblies 100 max-fragments 16 timeout 5",
            "{ datagrams_per_peer: 100, fragments: 16, timeout_s: 5 }",
        ),
        ("max-frag 8", "{ fragments: 8 }"),
        ("drop-fragments", "{ datagrams_per_peer: 0 }"),
    ] {
        let found = wan(&format!("ip virtual-reassembly in {line}"));
        assert_eq!(found.report.errors(), 0, "{}", found.report.text());
        assert!(profile(&found).contains(written), "{line}: {}", profile(&found));
        let shown = ios::show::running_config(&found.conversion);
        let again =
            import(shown.replace("<hidden>", KEY).replace("GigabitEthernet0", "GigabitEthernet8").as_bytes());
        assert_eq!(again.conversion.reassembly, found.conversion.reassembly, "{shown}");
    }
    warning(&wan("ip virtual-reassembly in drop-fragments"), "drops fragments");
    let most = wan("ip virtual-reassembly max-reassemblies 1024 max-fragments 64 timeout 64 percentage 20");
    warning(&most, "max-reassemblies 1024 is 512 here");
    assert!(
        profile(&most).contains("{ datagrams_per_peer: 512, timeout_s: 60, fragments: 32 }"),
        "{}",
        profile(&most)
    );
    warning(&most, "percentage 20 has no key");
    error(&wan("ip virtual-reassembly in max-fragments many"), "max-fragments");
    error(&wan("ip virtual-reassembly in max-fragment-size 5"), "max-reassemblies");
    // Of packets that leave, without numbers, taken back, and of another interface.
    let kept = wan("ip virtual-reassembly in max-fragments 8\n no ip virtual-reassembly out");
    let alone = wan("ip virtual-reassembly in max-fragments 8");
    assert_eq!(kept.conversion.reassembly, alone.conversion.reassembly);
    for line in ["out max-fragments 8", "in", "in max-fragments 8\n no ip virtual-reassembly in"] {
        same_profile(&wan(&format!("ip virtual-reassembly {line}")));
    }
    same_profile(&and("interface GigabitEthernet7\n ip virtual-reassembly in max-fragments 8"));
}

/// Keys in the IKEv2 profile itself are judged as those of a keyring are.
#[test]
fn a_key_of_a_profile_that_cannot_be_taken_is_told() {
    let inline = |lines: &str| {
        with(
            " authentication remote pre-share\n authentication local pre-share\n keyring local KR\n",
            &format!("{lines}\n"),
        )
    };
    let same = inline(
        " authentication remote pre-share key 0 Inline-Key-Kinds-1\n authentication local pre-share key Inline-Key-Kinds-1",
    );
    assert!(profile(&same).contains("number: any, psk: Inline-Key-Kinds-1"), "{}", profile(&same));
    let differ = inline(
        " authentication remote pre-share key Inline-Key-Kinds-1\n authentication local pre-share key Inline-Key-Kinds-2",
    );
    error(&differ, "the keys local and remote of every peer of the profile");
    for (key, words) in [("6 Wq7tLz29fXe4Hb", "type 6"), ("7 0822455D0A16", "type 7"), ("******", "masked")] {
        let found = inline(&format!(
            " authentication remote pre-share key {key}\n authentication local pre-share key {key}"
        ));
        error(&found, words);
        assert!(!found.report.text().contains("there is no key"), "{}", found.report.text());
    }
}

/// A profile's own value stands before that of global configuration, and only what is in force can differ.
#[test]
fn settings_in_force_are_compared() {
    let lifetime = |own: &str, global: &str| {
        with(
            " set transform-set T\n",
            &format!(
                " set transform-set T\n set security-association lifetime {own}\ncrypto ipsec security-association lifetime {global}\n"
            ),
        )
    };
    let own = lifetime("seconds 28800", "seconds 3600");
    is_told(&own, "differ", false);
    assert!(profile(&own).contains("child_s: 28800"), "{}", profile(&own));
    // A second tunnel whose IPsec profile has no lifetime of its own has the global one.
    let second = "crypto ipsec profile SECOND\n set transform-set T\n set security-association idle-time 120\ninterface Tunnel2\n \
                  tunnel source Loopback1\n tunnel mode ipsec ipv4\n tunnel destination dynamic\n tunnel protection ipsec profile \
                  SECOND ikev2-profile PROF2\n vpn-sip local-number 0388881001 remote-number 0388882002 bandwidth 64\n";
    let ike = "crypto ikev2 keyring KR2\n peer x\n  identity key-id 0388882002\n  pre-shared-key Kz81-Kinds-Of-Input-78\ncrypto \
               ikev2 profile PROF2\n match identity remote any\n identity local key-id 0388881001\n authentication remote \
               pre-share\n authentication local pre-share\n keyring local KR2\n dpd 10 2 periodic\n nat keepalive 60\n nat \
               force-encap\n";
    let two = and(&format!(
        "{ike}{second}crypto ipsec security-association lifetime kilobytes 100000\ncrypto ikev2 dpd 30 2 on-demand\ncrypto ikev2 \
         nat keepalive 30"
    ));
    assert_eq!(two.conversion.tunnels.len(), 2, "{}", two.report.text());
    warning(&two, "differ in dpd");
    warning(&two, "differ in the NAT keepalive, and the gateway has one for all: 30 was taken");
    // No limit is the largest.
    let without = lifetime("kilobytes disable", "kilobytes 50000");
    assert!(profile(&without).contains("child_kb: 0"), "{}", profile(&without));
    let both = with(
        "vpn-sip enable\n",
        &format!(
            "{ike}{second}crypto ipsec profile SECOND\n set security-association lifetime kilobytes disable\ncrypto ipsec \
             security-association lifetime kilobytes 100000\nvpn-sip enable\n"
        ),
    );
    warning(&both, "in kilobytes, and the gateway has one for all: 100000 was taken");
}

fn is_told(import: &Import, words: &str, wanted: bool) {
    let told = import.report.findings.iter().any(|f| f.message.contains(words));
    assert_eq!(told, wanted, "{words}: {}", import.report.text());
}

/// IOS and the gateway have other bounds: what does not fit is told with what was taken, and no value becomes another in silence.
#[test]
fn values_beyond_the_bounds_of_the_gateway_are_told() {
    let ipsec = |line: &str| with(" set transform-set T\n", &format!(" set transform-set T\n {line}\n"));
    let ike = |line: &str| with(" nat force-encap\n", &format!(" nat force-encap\n {line}\n"));
    for (found, words, written) in [
        (
            ipsec("set security-association lifetime days 30"),
            "is 2592000, and the gateway takes 120 to 86400",
            "child_s: 86400",
        ),
        (ipsec("set security-association lifetime kilobytes 100"), "takes at least 2560", "child_kb: 2560"),
        (ike("lifetime 99999999"), "the lifetime of IKE SAs is 99999999", "ike_s: 86400"),
        (ike("nat keepalive 5000"), "the NAT keepalive is 5000", "nat_keepalive_s: 3600"),
        (ike("dpd 99999 2 periodic"), "the interval of dpd is 99999", "dpd_s: 3600"),
        (and("crypto ikev2 fragmentation mtu 96"), "takes 228 to 1428", "fragment_bytes: 200"),
    ] {
        warning(&found, words);
        assert!(profile(&found).contains(written), "{written}: {}", profile(&found));
    }
    error(&ipsec("set security-association lifetime kilobytes 0"), "the lifetime is no number");
    error(&ipsec("set security-association lifetime seconds 0"), "the lifetime is no number");
    error(&ike("lifetime 0"), "not complete, or its value is none");
}
