use super::*;
use crate::Nothing;
use crate::schema::{self, Kind};

const FULL: &str = include_str!("../../tests/profiles/full.yaml");

fn read(text: &str) -> Profile {
    let examined = crate::examine("x.yaml", text.as_bytes(), &Nothing);
    assert_eq!(examined.findings.errors(), 0, "{}", examined.findings.render(crate::Style::PLAIN));
    examined.profile.expect("read")
}

const BASE: &str = "version: 1\ngateway: g\n\
    sip: { interface: wan0, registrar: 198.51.100.1:5060, domain: carrier.example, lines: [{ number: '0388881001' }] }\n\
    ike:\n  keyring:\n  - { number: '0388882001', psk: 'a key of one peer, long enough' }\n  - { number: any, certificate: own }\n\
    \x20 certificates: [{ name: own, certificate: /a.crt, key: /a.key, trust: { self_signed: true } }]\n\
    tunnels:\n\
    - { name: Tunnel1, local_number: '0388881001', remote_number: '0388882001', bandwidth_kbps: 512, routes: [10.1.0.0/16] }\n\
    - { name: Tunnel2, local_number: '0388881001', remote_number: '0388882002', bandwidth_kbps: 512, routes: [10.2.0.0/16] }\n\
    dataplane: { outside: { device: wan0 }, inside: { mode: host, device: svti0 } }\n";

/// The differences after one piece of text is another.
fn after(find: &str, replace: &str) -> Diff {
    assert!(BASE.contains(find), "{find}");
    diff(&read(BASE), &read(&BASE.replace(find, replace)))
}

fn shown(diff: &Diff) -> Vec<String> {
    let value = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".to_owned());
    let one =
        |c: &Change| format!("{} {} > {}: {}", c.path, value(&c.before), value(&c.after), c.takes.word());
    diff.changes.iter().map(one).collect()
}

fn bounced(diff: &Diff) -> Vec<(usize, String)> {
    diff.bounced.iter().map(|(i, reasons)| (*i, reasons.join("; "))).collect()
}

#[test]
fn the_same_profile_has_no_difference() {
    for text in [BASE, FULL] {
        let d = diff(&read(text), &read(text));
        assert!(d.is_empty() && d.bounced.is_empty() && d.summary() == "no difference", "{d:?}");
    }
}

#[test]
fn a_timer_is_changed_under_the_call_and_a_number_is_not() {
    let d = after("'0388882002', bandwidth_kbps: 512", "'0388882002', bandwidth_kbps: 512, idle_s: 60");
    assert_eq!(shown(&d), ["tunnels[Tunnel2].idle_s 120 > 60: now"]);
    assert!(d.bounced.is_empty());
    let d = after(
        "remote_number: '0388882002', bandwidth_kbps: 512",
        "remote_number: '0388882009', bandwidth_kbps: 64",
    );
    assert_eq!(bounced(&d), [(1, "remote_number changes; bandwidth_kbps changes".to_owned())]);
    assert_eq!(d.summary(), "1 tunnel changed");
}

#[test]
fn a_key_of_ike_concerns_the_tunnels_that_use_it() {
    let d = after("a key of one peer, long enough", "another key of one peer, long enough");
    assert_eq!(shown(&d), ["ike.keyring[0388882001].psk ******** > ********: next call"]);
    assert!(d.bounced.is_empty());
    let d = after("certificate: /a.crt", "certificate: /b.crt");
    assert_eq!(bounced(&d), [(1, "ike.certificates[own].certificate changes".to_owned())]);
    let d = after("psk: 'a key of one peer, long enough'", "certificate: own");
    assert_eq!(bounced(&d), [(0, "ike.keyring[0388882001].certificate changes".to_owned())]);
    let d = after("ike:\n", "ike:\n  proposals: [aes256gcm16-prfsha384-ecp384]\n");
    assert_eq!(bounced(&d).len(), 2);
    assert_eq!(d.summary(), "ike");
}

#[test]
fn tunnels_come_go_and_are_renamed() {
    let line = "- { name: Tunnel2, local_number: '0388881001', remote_number: '0388882002', bandwidth_kbps: 512, routes: [10.2.0.0/16] }\n";
    let third =
        line.replace("Tunnel2", "Tunnel3").replace("0388882002", "0388882003").replace("10.2", "10.3");
    let d = after(line, &format!("{third}{line}"));
    assert_eq!((d.added.clone(), d.kept.clone()), (vec![1], vec![(0, 0), (1, 2)]));
    assert_eq!(shown(&d), ["tunnels[Tunnel3] - > 0388881001 to 0388882003, 512 kbps: now"]);
    assert!(d.bounced.is_empty());
    let d = after(line, "");
    assert_eq!((d.removed.clone(), bounced(&d)), (vec![1], vec![(1, "the tunnel is removed".to_owned())]));
    let d = after("name: Tunnel2", "name: Osaka");
    assert_eq!(shown(&d), ["tunnels[Tunnel2].name Tunnel2 > Osaka: now"]);
    assert!(d.added.is_empty() && d.removed.is_empty() && d.bounced.is_empty(), "it keeps its call");
}

#[test]
fn routes_of_a_new_address_family_need_other_selectors() {
    assert!(after("[10.2.0.0/16]", "[10.2.0.0/16, 10.9.0.0/16]").bounced.is_empty());
    let d = after("[10.2.0.0/16]", "[10.2.0.0/16, '2001:db8::/32']");
    assert_eq!(bounced(&d), [(1, "routes: IPv6 is new".to_owned())]);
    assert!(after("[10.2.0.0/16]", "[]").bounced.is_empty());
}

#[test]
fn what_needs_a_restart_is_named_and_can_be_left_out() {
    let (old, new) = (read(BASE), read(FULL));
    let d = diff(&old, &new);
    let named: Vec<_> = d.restart().map(|c| c.path.as_str()).collect();
    assert!(named.contains(&"gateway") && named.contains(&"sip.registrar"), "{named:?}");
    let partial = without_restart(&old, &new);
    let left: Vec<_> = diff(&old, &partial).restart().map(|c| c.path.clone()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(diff(&partial, &new).changes.iter().filter(|c| c.takes != Takes::Restart).count(), 0);
}

/// A carrier's values concern the calls over it; its user agent is replaced.
#[test]
fn a_changed_carrier_bounces_its_own_calls() {
    let d = after("registrar: 198.51.100.1:5060", "registrar: 198.51.100.2:5060");
    assert_eq!(shown(&d), ["sip.registrar 198.51.100.1:5060 > 198.51.100.2:5060: hangs up"]);
    assert_eq!(d.replaced.iter().map(String::as_str).collect::<Vec<_>>(), ["default"]);
    assert!(!d.bounced.is_empty() && d.restart().count() == 0);
    let with = |requests: u32| {
        let east = format!(
            "carriers: [{{ name: east, sip: {{ interface: wan0, port: 5062, registrar: 203.0.113.1, domain: e.example, \
             requests_per_s: {requests}, lines: [{{ number: '0388881009' }}] }} }}]\nike:"
        );
        read(&BASE.replacen("ike:", &east, 1))
    };
    let d = diff(&with(10), &with(20));
    assert_eq!(shown(&d), ["carriers[east].sip.requests_per_s 10 > 20: hangs up"]);
    assert_eq!(d.replaced.iter().map(String::as_str).collect::<Vec<_>>(), ["east"]);
    assert!(d.bounced.is_empty(), "no tunnel has its line: {:?}", d.bounced);
    let d = diff(&with(10), &read(BASE));
    assert_eq!(shown(&d), ["carriers[east] there > -: hangs up"]);
}

/// A line can be added, and not removed.
#[test]
fn a_removed_line_needs_a_restart() {
    let lines = "lines: [{ number: '0388881001' }]";
    let two = "lines: [{ number: '0388881001' }, { number: '0388881002' }]";
    let d = after(lines, two);
    assert_eq!(shown(&d), ["sip.lines[0388881002] - > there: now"]);
    let back = diff(&read(&BASE.replace(lines, two)), &read(BASE));
    assert_eq!(shown(&back), ["sip.lines[0388881002] there > -: restart"]);
}

/// Operations and tracks by their ids, routes by their prefixes, of which there may be several.
#[test]
fn route_policy_changes_under_the_calls() {
    let policy = "sla: [{ id: 1, name: primary, type: icmp-echo, target: 192.0.2.1 }]\n\
                  track: [{ id: 10, sla: 1 }]\n\
                  routes:\n- { prefix: 10.9.0.0/16, via: 192.0.2.1, track: 10 }\n- { prefix: 10.9.0.0/16, via: 192.0.2.2, distance: 5 }\n";
    let with = |text: &str| BASE.replace("tunnels:\n", &format!("{text}tunnels:\n"));
    let first = with(policy);
    let d = diff(&read(BASE), &read(&first));
    assert_eq!(
        shown(&d),
        [
            "sla[1] - > there: now",
            "track[10] - > there: now",
            "routes[10.9.0.0/16] - > there: now",
            "routes[10.9.0.0/16 #2] - > there: now",
        ]
    );
    let second = with(
        &policy
            .replace("primary", "main")
            .replace("sla: 1", "sla: 1, delay_up_ms: 500")
            .replace("192.0.2.2", "192.0.2.9"),
    );
    let d = diff(&read(&first), &read(&second));
    assert_eq!(
        shown(&d),
        [
            "sla[1].name primary > main: now",
            "track[10].delay_up_ms 0 > 500: now",
            "routes[10.9.0.0/16 #2].via 192.0.2.2 > 192.0.2.9: now",
        ]
    );
    assert!(d.bounced.is_empty() && d.restart().count() == 0);
}

/// What the schema says of a key is what becomes of it: no key that needs a restart is taken by `without_restart`.
#[test]
fn no_value_that_may_change_depends_on_one_that_may_not() {
    const SECTIONS: [&str; 7] =
        ["gateway", "runtime_dir", "state_dir", "version", "wan", "media", "dataplane"];
    let taken = |path: &str| {
        !SECTIONS
            .iter()
            .any(|s| path == *s || path.starts_with(&format!("{s}.")) || path.starts_with(&format!("{s}[]")))
            && !["sip.interface", "sip.carrier"].contains(&path.trim_start_matches("carriers[]."))
    };
    for (path, key) in schema::all() {
        // `for` is worked out before anything is compared.
        if matches!(key.kind, Kind::Group(_)) || path.contains(".for") {
            continue;
        }
        assert_eq!(key.takes != Takes::Restart, taken(&path), "{path}");
    }
}
