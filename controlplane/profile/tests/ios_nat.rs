//! `ip nat` of a tunnel becomes its rules, and comes back in the words of IOS; what cannot be said as exactly stays a warning.

#[macro_use]
#[path = "ios/branch.rs"]
mod branch;

use sipsec_profile::ios::report::Verdict;
use sipsec_profile::ios::{self, Import, Options, Source, show, write};
use sipsec_profile::{Nothing, examine};

const BASE: &str = branch!(
    begin: "hostname branch\n",
    loopback: "",
    tunnel: " ip address 10.99.0.2 255.255.255.252\n ip nat outside\n",
    kbps: "1000",
    policy: "",
    wan: "",
    more: "ip route 10.2.0.0 255.255.0.0 Tunnel1\n"
);

fn import(more: &str) -> Import {
    let interfaces = [("GigabitEthernet8".to_owned(), "wan0".to_owned())].into();
    let text = format!("{BASE}{more}end\n");
    ios::import(&[Source { name: "x.txt", bytes: text.as_bytes() }], &Options { interfaces, gateway: None })
}

/// The rules of the profile.
fn rules(import: &Import) -> Vec<String> {
    let text = write::profile(&import.conversion, None, &write::Keys::Inline, "").profile.to_string();
    let filled =
        text.replace(write::REGISTRAR, "198.51.100.1:5060").replace(write::DOMAIN, "carrier.example");
    let examined = examine("x.yaml", filled.as_bytes(), &Nothing);
    assert_eq!(examined.findings.errors(), 0, "{}", examined.findings.render(sipsec_profile::Style::PLAIN));
    let profile = examined.profile.expect("a profile");
    profile.tunnels.iter().flat_map(|t| &t.nat).map(|rule| format!("{:?}", rule.0)).collect()
}

/// Every line of `more` is converted, and these are the rules.
fn becomes(more: &str, expected: &[&str]) -> Import {
    let import = import(more);
    assert_eq!(rules(&import), expected, "{}", import.report.text());
    for (line, text) in import.report.files[0].lines.iter().zip(format!("{BASE}{more}").lines()) {
        if text.contains("nat ") || text.contains("permit") || text.contains("deny") {
            assert_eq!(line.verdict, Verdict::Converted, "{text}\n{}", import.report.text());
        }
    }
    import
}

#[test]
fn overload_by_the_tunnels_address_and_by_a_pool() {
    becomes(
        "access-list 10 permit 192.168.1.0 0.0.0.255\nip nat inside source list 10 interface Tunnel1 overload\n",
        &[
            "Overload { source: 192.168.1.0/24, destination: 0.0.0.0/0, first: 10.99.0.2, last: 10.99.0.2, own_address: true }",
        ],
    );
    let more = "ip access-list extended LAN
 remark the tills
 deny   ip 192.168.1.0 0.0.0.255 10.2.9.0 0.0.0.255
 permit ip host 192.168.1.9 any
ip nat pool P 10.99.1.1 10.99.1.4 prefix-length 24
ip nat inside source list LAN pool P overload
";
    let expected = [
        "Exempt { source: 192.168.1.0/24, destination: 10.2.9.0/24 }",
        "Overload { source: 192.168.1.9/32, destination: 0.0.0.0/0, first: 10.99.1.1, last: 10.99.1.4, own_address: false }",
    ];
    becomes(more, &expected);
}

#[test]
fn static_entries_and_back_again() {
    let more = "ip nat inside source static 192.168.1.8 10.99.2.8
ip nat inside source static tcp 192.168.1.9 80 10.99.0.2 8080 extendable
ip nat inside source static network 192.168.3.0 10.99.3.0 /24
ip nat inside source static network 192.168.4.0 10.99.4.0 255.255.255.0
";
    let import = becomes(
        more,
        &[
            "Network { side: Inside, local: 192.168.1.8/32, global: 10.99.2.8/32 }",
            "Port { protocol: Tcp, local: 192.168.1.9:80, global: 10.99.0.2:8080 }",
            "Network { side: Inside, local: 192.168.3.0/24, global: 10.99.3.0/24 }",
            "Network { side: Inside, local: 192.168.4.0/24, global: 10.99.4.0/24 }",
        ],
    );
    let shown = show::running_config(&import.conversion);
    for line in more.lines().filter(|l| !l.contains("255.255.255.0")) {
        assert!(shown.lines().any(|l| l == line), "{line}\n{shown}");
    }
    assert!(shown.contains("ip nat inside source static network 192.168.4.0 10.99.4.0 /24"), "{shown}");
    let back = shown.lines().filter(|l| l.starts_with("ip nat")).collect::<Vec<_>>().join("\n");
    assert_eq!(rules(&self::import(&format!("{back}\n"))), rules(&import), "what is shown means the same");
}

#[test]
fn what_has_no_exact_rule_stays_a_warning() {
    for more in [
        "ip nat inside source list 10 interface Tunnel1 overload\n", // no such list
        "access-list 10 permit 192.168.1.0 0.0.255.1\nip nat inside source list 10 interface Tunnel1 overload\n",
        "access-list 110 permit tcp 192.168.1.0 0.0.0.255 any eq 80\nip nat inside source list 110 interface Tunnel1 overload\n",
        "access-list 10 permit any\nip nat inside source list 10 interface GigabitEthernet8 overload\n",
        "ip nat inside source route-map M interface Tunnel1 overload\n",
        "ip nat outside source static 10.1.1.1 10.2.2.2\n",
    ] {
        let import = import(more);
        assert_eq!(rules(&import), Vec::<String>::new(), "{more}");
        assert!(import.report.text().contains("ip nat outside"), "{more}\n{}", import.report.text());
    }
}

/// `nat.primary` of the profile that this becomes; the interfaces have the devices wan0 and wan1.
fn primaries(more: &str) -> (Import, Vec<sipsec_profile::model::PrimaryNat>) {
    let devices = [("GigabitEthernet8", "wan0"), ("GigabitEthernet9", "wan1")];
    let interfaces = devices.map(|(name, device)| (name.to_owned(), device.to_owned())).into();
    let text = format!(
        "{BASE}interface GigabitEthernet9\n ip address 198.51.100.2 255.255.255.0\n ip nat outside\n{more}end\n"
    );
    let import = ios::import(
        &[Source { name: "x.txt", bytes: text.as_bytes() }],
        &Options { interfaces, gateway: None },
    );
    let text = write::profile(&import.conversion, None, &write::Keys::Inline, "").profile.to_string();
    let filled =
        text.replace(write::REGISTRAR, "198.51.100.1:5060").replace(write::DOMAIN, "carrier.example");
    let examined = examine("x.yaml", filled.as_bytes(), &Nothing);
    assert_eq!(examined.findings.errors(), 0, "{}", examined.findings.render(sipsec_profile::Style::PLAIN));
    let primary = examined.profile.expect("a profile").nat.primary;
    (import, primary)
}

#[test]
fn overload_and_ports_of_a_primary_line() {
    let (import, found) = primaries(
        "ip access-list extended LAN
 deny ip any 10.0.0.0 0.255.255.255
 permit ip 192.168.1.0 0.0.0.255 any
 permit ip 192.168.2.0 0.0.0.255 any
ip nat inside source list LAN interface GigabitEthernet9 overload
ip nat inside source static tcp 192.168.1.10 80 interface GigabitEthernet9 8080
ip nat inside source static udp 192.168.1.11 53 198.51.100.2 53 extendable
",
    );
    let [primary] = &found[..] else { panic!("{found:?}\n{}", import.report.text()) };
    let texts = |list: &[sipsec_net::IpPrefix]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!((primary.device.as_str(), primary.forwards.len()), ("wan1", 2));
    assert_eq!(texts(&primary.sources), ["192.168.1.0/24", "192.168.2.0/24"]);
    assert_eq!(texts(&primary.exempt), ["10.0.0.0/8"]);
    for line in &import.report.files[0].lines {
        if ["permit", "deny", "ip nat inside"].iter().any(|w| line.text.contains(w)) {
            assert_eq!(line.verdict, Verdict::Converted, "{}\n{}", line.text, import.report.text());
        }
    }
    let shown = show::running_config(&import.conversion);
    for line in [
        "ip nat inside source list GigabitEthernet9-nat interface GigabitEthernet9 overload",
        " deny ip any 10.0.0.0 0.255.255.255",
        "ip nat inside source static tcp 192.168.1.10 80 interface GigabitEthernet9 8080",
    ] {
        assert!(shown.lines().any(|l| l == line), "{line}\n{shown}");
    }
}

/// An exemption of one host, a destination, a protocol: these have no word.
#[test]
fn what_a_list_says_beyond_sources_and_exemptions_stays_a_warning() {
    for list in [
        "access-list 100 deny ip host 192.168.1.5 any\naccess-list 100 permit ip 192.168.1.0 0.0.0.255 any\n",
        "access-list 100 permit ip 192.168.1.0 0.0.0.255 host 203.0.113.1\n",
        "access-list 100 permit tcp 192.168.1.0 0.0.0.255 any\n",
        "access-list 100 permit ip 192.168.1.0 0.0.0.255 any\naccess-list 100 deny ip any 10.0.0.0 0.255.255.255\n",
    ] {
        let rule = "ip nat inside source list 100 interface GigabitEthernet8 overload\n";
        let (import, found) = primaries(&format!("{list}{rule}"));
        assert!(found.is_empty(), "{found:?}");
        assert!(import.report.text().contains("overload"), "{list}{}", import.report.text());
    }
}
