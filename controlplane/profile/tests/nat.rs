//! Rules of translation that a profile must not have, and what is said about them.

use sipsec_profile::{Nothing, Style, examine};

/// What a tunnel with these rules is told, in one line for each error.
fn told(rules: &str, nat: &str) -> Vec<String> {
    let text = format!(
        "version: 1\ngateway: g\nsip: {{ interface: wan0, registrar: 198.51.100.1, domain: c.example, lines: [{{ number: \"0388881001\" \
         }}] }}\nike: {{ keyring: [{{ number: any, psk_file: /etc/psk }}] }}\ntunnels:\n- name: T\n  local_number: \"0388881001\"\n  \
         remote_number: \"0388882001\"\n  bandwidth_kbps: 64\n  routes: [10.2.0.0/16]\n  nat: [{rules}]\nnat: {{ {nat} }}\ndataplane: {{ \
         outside: {{ device: wan0 }}, inside: {{ mode: host, device: svti0 }} }}\n"
    );
    let examined = examine("g.yaml", text.as_bytes(), &Nothing);
    let shown = examined.findings.render(Style::PLAIN);
    let errors: Vec<String> =
        shown.lines().filter(|l| l.contains("nat::") || l.contains("config::")).map(str::to_owned).collect();
    assert_eq!(examined.findings.errors() == 0, errors.is_empty(), "{shown}");
    errors
}

fn one(rules: &str, nat: &str) -> String {
    let all = told(rules, nat);
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap_or_default()
}

#[test]
fn each_mistake_is_told_once_and_at_its_place() {
    for (rules, nat, wanted) in [
        ("{ rule: overload }", "", "nat::rule"),
        ("{ rule: overload, pool: 10.0.0.9-10.0.0.1 }", "", "config::value"),
        ("{ rule: overload, pool: 10.0.0.0-10.0.1.0 }", "", "config::value"),
        ("{ rule: overload, pool: \"2001:db8::1\" }", "", "config::value"),
        ("{ rule: overload, pool: 10.0.0.1, source: 10.1.0.1/24 }", "", "nat::host-bits"),
        ("{ rule: overload, pool: 10.0.0.1, source: \"2001:db8::/32\" }", "", "nat::rule"),
        ("{ rule: overload, pool: 10.0.0.1, local: 10.1.0.0/24 }", "", "nat::rule"),
        ("{ rule: network, local: 10.1.0.0/24, global: 10.2.0.0/16 }", "", "nat::rule"),
        ("{ rule: network, local: 10.1.0.0/24, global: \"2001:d00::/24\" }", "", "nat::rule"),
        ("{ rule: network, local: \"fd00::/72\", global: \"2001:db8::/72\" }", "", "nat::rule"),
        ("{ rule: network, local: 10.1.0.0/24 }", "", "nat::rule"),
        ("{ rule: port, local: 10.1.0.9, global: \"10.0.0.1:80\" }", "", "config::value"),
        ("{ rule: port, local: \"10.1.0.9:0\", global: \"10.0.0.1:80\" }", "", "config::value"),
        ("{ rule: portt, local: \"10.1.0.9:1\", global: \"10.0.0.1:80\" }", "", "config::value"),
        ("", "block_ports: 96", "nat::block"),
        ("", "ports: 0-100", "config::value"),
        ("", "ports: 1025-1279", "nat::ports"),
        ("", "timeouts: { tcp_s: 60 }", "config::range"),
    ] {
        let told = one(rules, nat);
        assert!(told.contains(wanted), "{rules} {nat}: {told}");
    }
}

#[test]
fn two_rules_for_one_end_and_too_many_rules_are_errors() {
    let port =
        |local: &str, global: &str| format!("{{ rule: port, local: \"{local}\", global: \"{global}\" }}");
    let same = format!("{}, {}", port("10.1.0.9:80", "10.0.0.1:80"), port("10.1.0.8:80", "10.0.0.1:80"));
    assert!(one(&same, "").contains("nat::duplicate"));
    let other = format!("{}, {}", port("10.1.0.9:80", "10.0.0.1:80"), port("10.1.0.8:80", "10.0.0.1:81"));
    assert!(told(&other, "").is_empty());
    let exempt = |n: u32| format!("{{ rule: exempt, source: 10.{n}.0.0/16 }}");
    let many = |count: u32| (0..count).map(exempt).collect::<Vec<_>>().join(", ");
    assert!(told(&many(64), "").is_empty());
    assert!(one(&many(65), "").contains("nat::too-many"));
    let pool =
        |n: u32| format!("{{ rule: overload, source: 10.{n}.0.0/16, pool: 172.{n}.0.0-172.{n}.0.255 }}");
    let pools = |count: u32| (16..16 + count).map(pool).collect::<Vec<_>>().join(", ");
    assert!(told(&pools(4), "").is_empty());
    assert!(one(&pools(5), "").contains("nat::too-many"));
}

/// What `nat.primary` with these keys is told.
fn of_primary(keys: &str) -> Vec<String> {
    told("", &format!("primary: [{{ device: wan1, sources: [192.168.1.0/24], {keys} }}]"))
}

#[test]
fn a_primary_line_leaves_to_the_gateway_what_is_its_own() {
    assert!(of_primary("").is_empty());
    assert!(
        of_primary("exempt: [10.0.0.0/8], forwards: [{ port: 8080, local: '192.168.1.9:80' }]").is_empty()
    );
    // On another device than SIP's any port will do.
    assert!(of_primary("ports: 1024-65535, forwards: [{ port: 5060, local: '192.168.1.9:80' }]").is_empty());
    let wan0 =
        |keys: &str| told("", &format!("primary: [{{ device: wan0, sources: [192.168.1.0/24], {keys} }}]"));
    assert!(wan0("").is_empty());
    for (told, wanted) in [
        (told("", "primary: [{ device: wan1 }]"), "config::"),
        (told("", "primary: [{ device: wan1, sources: [] }]"), "nat::sources"),
        (told("", "primary: [{ device: wan1, sources: ['2001:db8::/32'] }]"), "config::value"),
        (told("", "primary: [{ device: wan1, sources: [192.168.1.1/24] }]"), "nat::host-bits"),
        (told("", "primary: [{ device: svti0, sources: [192.168.1.0/24] }]"), "nat::device"),
        (
            told(
                "",
                "primary: [{ device: wan1, sources: [10.1.0.0/16] }, { device: wan1, sources: [10.3.0.0/16] }]",
            ),
            "nat::duplicate",
        ),
        (of_primary("ports: 9-1"), "config::value"),
        (of_primary("forwards: [{ port: 0, local: '192.168.1.9:80' }]"), "config::range"),
        (of_primary("forwards: [{ port: 80, local: 192.168.1.9 }]"), "config::value"),
        (
            of_primary(
                "forwards: [{ port: 80, local: '192.168.1.9:80' }, { port: 80, local: '192.168.1.8:80' }]",
            ),
            "nat::duplicate",
        ),
        (wan0("ports: 1024-65535"), "nat::media-ports"),
        (wan0("forwards: [{ protocol: udp, port: 50001, local: '192.168.1.9:80' }]"), "nat::media-ports"),
        (wan0("forwards: [{ protocol: udp, port: 5060, local: '192.168.1.9:80' }]"), "nat::media-ports"),
    ] {
        assert!(told.len() == 1 && told[0].contains(wanted), "{wanted}: {told:?}");
    }
    let network = |n: usize| format!("10.{n}.0.0/16");
    let many: Vec<String> = (0..17).map(network).collect();
    let told = told("", &format!("primary: [{{ device: wan1, sources: [{}] }}]", many.join(", ")));
    assert!(told.len() == 1 && told[0].contains("nat::too-many"), "{told:?}");
}
