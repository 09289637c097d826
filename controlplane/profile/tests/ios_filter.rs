//! Interesting traffic of IOS: read, written into a profile, shown in the words of IOS, and read again.

use sipsec_net::filter::{FilterFacts, permits};
use sipsec_profile::ios::report::Verdict;
use sipsec_profile::ios::write::{Keys, profile as write};
use sipsec_profile::ios::{Import, Options, Source, import, show};
use sipsec_profile::{Nothing, Profile, examine};

const ROUTER: &str = "\
hostname branch
access-list 101 remark what may call
access-list 101 deny ospf any any
access-list 101 deny tcp any any eq bgp
access-list 101 deny icmp any any
access-list 101 permit tcp 10.1.0.0 0.0.255.255 host 10.2.0.9 range 8080 8090 log
access-list 101 permit ip any any
dialer-list 1 protocol ip list 101
dialer-list 2 protocol ip list SECOND
dialer-list 3 protocol ip deny
dialer-list 3 protocol ipv6 permit
ip access-list extended SECOND
 10 permit udp any eq 5000 10.2.0.0 0.0.255.255 dscp ef
crypto ikev2 keyring KR
 peer a
  identity key-id 0388882001
  pre-shared-key Ss71-Policies-Of-Ios
crypto ikev2 profile IKE
 match identity remote any
 identity local key-id 0388881009
 authentication remote pre-share
 authentication local pre-share
 keyring local KR
 nat force-encap
crypto ipsec profile IPS
 set security-association idle-time 120
interface Loopback1
 ip address 10.255.9.1 255.255.255.255
interface Tunnel1
 ip unnumbered GigabitEthernet1
 dialer-group 1
 tunnel source Loopback1
 tunnel mode ipsec ipv4
 tunnel destination dynamic
 tunnel protection ipsec profile IPS ikev2-profile IKE
 vpn-sip local-number 0388881009 remote-number 0388882001 bandwidth 64
interface GigabitEthernet1
 ip address 10.1.0.1 255.255.0.0
interface GigabitEthernet8
 ip address dhcp
ip route 10.2.0.0 255.255.0.0 Tunnel1
vpn-sip enable
vpn-sip local-number 0388881009 address ipv4 GigabitEthernet8
vpn-sip tunnel source Loopback1
end
";

fn read(text: &str) -> Import {
    let mut options = Options::default();
    for (name, device) in [("GigabitEthernet8", "wan0"), ("GigabitEthernet1", "lan0")] {
        options.interfaces.insert(name.to_owned(), device.to_owned());
    }
    import(&[Source { name: "router", bytes: text.as_bytes() }], &options)
}

fn written(import: &Import) -> Profile {
    let written = write(&import.conversion, Some("branch"), &Keys::Inline, "");
    let text = written
        .profile
        .replace("<the carrier's registrar as ADDRESS:PORT>", "192.0.2.1:5060")
        .replace("<the carrier's SIP domain>", "example.com");
    let examined = examine("branch.yaml", text.as_bytes(), &Nothing);
    let shown = examined.findings.render(sipsec_profile::Style::PLAIN);
    assert_eq!(examined.findings.errors(), 0, "{shown}\n{text}");
    examined.profile.expect("read")
}

/// The verdict of the line that begins so.
fn verdict(import: &Import, line: &str) -> Verdict {
    let lines = import.report.files[0].lines.iter();
    lines.filter(|l| l.text.trim().starts_with(line)).map(|l| l.verdict).next().expect("a line")
}

fn packet(protocol: u8, destination: &str, ports: Option<(u16, u16)>, dscp: u8) -> FilterFacts {
    let source = "10.1.0.9".parse().expect("an address");
    FilterFacts {
        protocol,
        source,
        destination: destination.parse().expect("an address"),
        ports,
        dscp,
        len: 100,
    }
}

#[test]
fn a_dialer_list_becomes_the_filter_of_calls_and_of_idle_time() {
    let read = read(ROUTER);
    assert_eq!(read.report.errors(), 0, "{:#?}", read.report.findings);
    for line in ["access-list 101", "dialer-list 1", "dialer-group 1", "ip unnumbered"] {
        assert_eq!(verdict(&read, line), Verdict::Converted, "{line}");
    }
    for line in ["dialer-list 2", "ip access-list extended SECOND", "10 permit"] {
        assert!(matches!(verdict(&read, line), Verdict::Ignored { .. }), "{line}: of no tunnel");
    }
    let profile = written(&read);
    let tunnel = &profile.tunnels[0];
    assert_eq!(tunnel.trigger_filter.as_deref(), Some("dialer-1"));
    assert_eq!(tunnel.idle_filter, tunnel.trigger_filter);
    assert_eq!((tunnel.device.as_deref(), tunnel.unnumbered.as_deref()), (Some("Tunnel1"), Some("lan0")));
    let rules = profile.filter_rules(tunnel.trigger_filter.as_deref());
    let calls = |protocol, ports| permits(&rules, &packet(protocol, "10.2.0.9", ports, 0));
    assert!(!calls(89, None) && !calls(6, Some((40_000, 179))) && !calls(1, None));
    assert!(calls(6, Some((40_000, 8085))) && calls(17, Some((1, 2))));
}

/// The words of `show running-config` are read as the same filter.
#[test]
fn what_is_shown_is_read_as_the_same() {
    for (group, other) in [("dialer-group 1", "dialer-group 1"), ("dialer-group 1", "dialer-group 2")] {
        let first = read(&ROUTER.replace(group, other));
        assert_eq!(first.report.errors(), 0, "{:#?}", first.report.findings);
        let text = show::running_config(&first.conversion);
        let again = read(&text);
        assert_eq!(again.conversion.filters, first.conversion.filters, "{text}");
        assert_eq!(again.conversion.tunnels[0].filter, first.conversion.tunnels[0].filter, "{text}");
        assert_eq!(again.conversion.tunnels[0].unnumbered.as_deref(), Some("lan0"), "{text}");
    }
}

#[test]
fn the_second_list_permits_what_its_line_says_alone() {
    let profile = written(&read(&ROUTER.replace("dialer-group 1", "dialer-group 2")));
    let rules = profile.filter_rules(profile.tunnels[0].trigger_filter.as_deref());
    let voice = |destination, dscp| permits(&rules, &packet(17, destination, Some((5000, 9)), dscp));
    assert!(voice("10.2.3.4", 46) && !voice("10.2.3.4", 0) && !voice("10.3.0.1", 46));
    assert!(!permits(&rules, &packet(6, "10.2.3.4", Some((5000, 9)), 46)));
}

#[test]
fn the_families_are_kept_apart() {
    let profile = written(&read(&ROUTER.replace("dialer-group 1", "dialer-group 3")));
    let rules = profile.filter_rules(profile.tunnels[0].trigger_filter.as_deref());
    assert!(!permits(&rules, &packet(6, "10.2.3.4", Some((1, 2)), 0)));
    let six = FilterFacts {
        source: "2001:db8::1".parse().expect("an address"),
        ..packet(6, "2001:db8::2", Some((1, 2)), 0)
    };
    assert!(permits(&rules, &six));
}

/// What cannot be said is an error with its line: a filter that says something else would call, or would not.
#[test]
fn what_a_filter_cannot_say_is_an_error_of_its_line() {
    for (from, to, line, words) in [
        (
            "deny icmp any any",
            "deny tcp any any established",
            "access-list 101 deny tcp any any est",
            "flags",
        ),
        ("deny icmp any any", "deny ip 10.0.0.1 0.255.0.255 any", "access-list 101 deny ip 10", "by prefix"),
        (
            "deny icmp any any",
            "deny ip any any time-range NIGHT",
            "access-list 101 deny ip any any t",
            "by prefix",
        ),
        ("deny icmp any any", "deny ip any eq 80 any", "access-list 101 deny ip any eq", "name the protocol"),
        ("list 101\n", "list 102\n", "dialer-list 1", "did you mean 101"),
        ("dialer-group 1", "dialer-group 9", "dialer-group 9", "remove the group"),
    ] {
        let text = ROUTER.replacen(from, to, 1);
        let read = read(&text);
        assert_eq!(verdict(&read, line), Verdict::Error, "{to}");
        let all: Vec<_> = read.report.findings.iter().map(|f| format!("{} {}", f.message, f.hint)).collect();
        assert!(all.iter().any(|f| f.contains(words)), "{to}: {all:#?}");
        assert!(read.conversion.tunnels[0].filter.is_none(), "{to}: no filter rather than half of one");
    }
}
