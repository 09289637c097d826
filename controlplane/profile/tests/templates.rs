//! `defaults:` and `for:`: many branches out of few lines.

use sipsec_profile::{Examined, Nothing, Style, Surroundings, examine};
use std::path::Path;

const HEAD: &str = "version: 1\ngateway: headend\nsip:\n  interface: wan0\n  registrar: 198.51.100.1\n  domain: c.example\n  \
    lines: [{ number: \"0388882001\" }]\nmedia: { ports: 10000-65000 }\ndataplane:\n  outside: { device: wan0 }\n  \
    inside: { mode: host, device: svti0 }\n  tunnels_max: 16384\n";

struct Files;

impl Surroundings for Files {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        match path.to_str() {
            Some("branches.csv") => {
                Ok(b"site,number,net,kbps,psk\nosaka,0612340001,10.1.0.0/16,64,hunter2-hunter2-hunter2\n\
                kobe,0781230001,10.2.0.0/16,1000,hunter2-hunter2-hunter3\n"
                    .to_vec())
            }
            Some("bad.csv") => Ok(b"site,number\nosaka\n".to_vec()),
            _ => Err("there is no such file".to_owned()),
        }
    }
}

fn read(rest: &str, around: &dyn Surroundings) -> Examined {
    examine("x.yaml", format!("{HEAD}{rest}").as_bytes(), around)
}

fn errors(rest: &str) -> String {
    let Examined { findings, .. } = read(rest, &Files);
    assert!(findings.errors() > 0 && findings.list.iter().all(|f| !f.hint.is_empty()), "{rest}");
    findings.render(Style::PLAIN)
}

#[test]
fn a_range_makes_a_tunnel_and_a_key_for_each_number() {
    let rest = "defaults: { local_number: \"0388882001\", bandwidth_kbps: 64, idle_s: 60 }\nike:\n  keyring:\n  \
        - { for: { n: 1-500 }, number: \"03777{n:05}\", psk_file: \"/etc/sipsec/psk/{n}\" }\ntunnels:\n\
        - { for: { n: 1-500 }, name: \"Branch{n}\", remote_number: \"03777{n:05}\", routes: [\"10.{n/256}.{n%256}.0/24\"] }\n\
        - { name: Other, remote_number: \"0377700001\", local_number: \"0388882002\", idle_s: 30 }\n";
    let Examined { profile, findings } = read(rest, &Nothing);
    let profile = profile.unwrap_or_else(|| panic!("{}", findings.render(Style::PLAIN)));
    assert_eq!((profile.tunnels.len(), profile.ike.keyring.len()), (501, 500));
    let t = &profile.tunnels[299];
    assert_eq!((t.name.as_str(), t.remote_number.as_str(), t.id.0), ("Branch300", "0377700300", 300));
    assert_eq!(
        (t.routes[0].prefix.to_string().as_str(), t.bandwidth.0, t.idle.as_secs()),
        ("10.1.44.0/24", 64, 60)
    );
    assert_eq!(profile.tunnels[500].idle.as_secs(), 30, "an own value wins");
    // The line of the last one is missing, and the message points at it.
    let codes: Vec<_> = findings.list.iter().map(|f| (f.code, f.path.as_str())).collect();
    assert!(codes.contains(&("tunnels::unknown-line", "tunnels[500].local_number")), "{codes:?}");
}

#[test]
fn the_example_of_a_head_end_is_right() {
    let text = include_str!("../../../deploy/profiles/headend.yaml");
    let Examined { profile, findings } = examine("headend.yaml", text.as_bytes(), &Nothing);
    assert_eq!((findings.errors(), findings.warnings()), (0, 0), "{}", findings.render(Style::PLAIN));
    assert_eq!(profile.expect("read").tunnels.len(), 500);
}

#[test]
fn a_table_makes_a_tunnel_for_each_row_and_shows_no_secret() {
    let rest = "ike: { keyring: [{ for: { csv: branches.csv }, number: \"{number}\", psk: \"{psk}\" }] }\ntunnels:\n\
        - for: { csv: branches.csv }\n  name: \"{site}\"\n  local_number: \"0388882001\"\n  remote_number: \"{number}\"\n  \
        bandwidth_kbps: \"{kbps}\"\n  routes: [\"{net}\"]\n";
    let Examined { profile, findings } = read(rest, &Files);
    let profile = profile.unwrap_or_else(|| panic!("{}", findings.render(Style::PLAIN)));
    let rates: Vec<_> = profile.tunnels.iter().map(|t| (t.name.as_str(), t.bandwidth.0)).collect();
    assert_eq!(rates, [("osaka", 64), ("kobe", 1000)]);
    assert_eq!(findings.errors(), 0, "{}", findings.render(Style::PLAIN));
    assert!(!format!("{findings:?}{profile:?}").contains("hunter2"));
}

#[test]
fn mistakes_of_templates_are_told_where_they_stand() {
    let tunnel = |of: &str, name: &str| {
        format!(
            "ike: {{ keyring: [{{ number: any, psk_file: /k }}] }}\ntunnels:\n- {{ for: {of}, name: \"{name}\", \
             local_number: \"0388882001\", remote_number: \"0377{{n:05}}\", bandwidth_kbps: 64, routes: [\"10.0.{{n}}.0/24\"] }}\n"
        )
    };
    for (of, name, word) in [
        ("{ n: 1-100000 }", "B{n}", "is not a range"),
        ("{ n: 5-1 }", "B{n}", "is not a range"),
        ("{ m: 1-5 }", "B{n}", "does not say what to repeat"),
        ("1-5", "B{n}", "does not say what to repeat"),
        ("{ csv: nowhere.csv }", "B{n}", "no such file"),
        ("{ csv: bad.csv }", "B{n}", "line 2"),
        ("{ n: 1-5 }", "B{m}", "`{m}` has no value here"),
        ("{ n: 1-5 }", "B{n", "no partner"),
        ("{ n: 1-5 }", "B", "two tunnels are named B"),
        ("{ n: 250-260 }", "B{n}", "10.0.256.0/24"),
    ] {
        let shown = errors(&tunnel(of, name));
        assert!(shown.contains(word), "{of} {name}: {shown}");
        assert!(shown.contains("x.yaml:15:"), "the place of the template: {shown}");
    }
    let shown = errors(
        "defaults: { bandwidth_kbps: 0, idle_s: ten }\nike: { keyring: [] }\ntunnels: [{ for: { n: 1-9000 }, name: \"B{n}\" }]\n",
    );
    assert!(shown.contains("2 errors"), "once, not for each tunnel: {shown}");
}

#[test]
fn templates_cannot_multiply_without_bound() {
    let many = "- { for: { n: 1-16384 }, name: \"A{n}\" }\n".repeat(40);
    let shown = errors(&format!("ike: {{ keyring: [] }}\ntunnels:\n{many}"));
    assert!(shown.contains("templates make more than"), "{shown}");
}

#[test]
fn the_largest_profile_is_read_and_checked() {
    let rest = "defaults: { local_number: \"0388882001\", bandwidth_kbps: 64 }\nike:\n  keyring:\n  \
        - { for: { n: 1-16384 }, number: \"03777{n:05}\", psk_file: \"/etc/sipsec/psk/{n}\" }\ntunnels:\n\
        - { for: { n: 1-16384 }, name: \"Branch{n}\", remote_number: \"03777{n:05}\", routes: [\"10.{n/256}.{n%256}.0/24\"] }\n";
    let Examined { profile, findings } = read(rest, &Nothing);
    assert_eq!((findings.errors(), findings.warnings()), (0, 0), "{}", findings.render(Style::PLAIN));
    assert_eq!(profile.expect("read").tunnels.len(), 16_384);
}
