//! `sla`, `track`, `routes` and `failback`: every mistake is named with its place and a hint.

use sipsec_profile::model::{Drain, Probe, RouteTo, Table, Watch};
use sipsec_profile::{Nothing, Profile, Style, examine};
use std::time::Duration;

const HEAD: &str = "version: 1
gateway: branch
sip: { interface: wan0, registrar: 198.51.100.1:5060, domain: carrier.example, lines: [{ number: '0388881001' }] }
ike: { keyring: [{ number: any, psk: '0x9d1f0a93b7c4e58261b7f9c03e6a2d8457aa01c3e4f5968b72d0136c8ef9a4b5' }] }
media: { tunnel_source: 172.31.255.1 }
dataplane: { outside: { device: wan0 }, inside: { mode: host, device: svti0 } }
";
const TUNNEL: &str = "tunnels:
  - { name: Tunnel1, local_number: '0388881001', remote_number: '0388882001', bandwidth_kbps: 1000, routes: [ROUTES] }
";

fn tunnel(routes: &str) -> String {
    TUNNEL.replace("ROUTES", routes)
}

fn profile(text: &str) -> Profile {
    let examined = examine("p.yaml", format!("{HEAD}{text}").as_bytes(), &Nothing);
    assert_eq!(examined.findings.errors(), 0, "{}", examined.findings.render(Style::PLAIN));
    examined.profile.expect("a profile")
}

/// Every finding as `code path: message; hint`.
fn findings(text: &str) -> Vec<String> {
    let examined = examine("p.yaml", format!("{HEAD}{text}").as_bytes(), &Nothing);
    let list = examined.findings.list.iter();
    list.map(|f| format!("{} {}: {}; {}", f.code, f.path, f.message, f.hint)).collect()
}

/// Exactly one finding, which has all of these words.
fn only(text: &str, words: &[&str]) {
    let found = findings(text);
    assert_eq!(found.len(), 1, "{text}: {found:#?}");
    for word in words {
        assert!(found[0].contains(word), "{word} is not in {}", found[0]);
    }
}

fn sla(entry: &str) -> String {
    format!("{}sla: [{{ {entry} }}]\n", tunnel("10.2.0.0/16"))
}

fn track(entries: &str) -> String {
    format!(
        "{}sla: [{{ id: 1, type: icmp-echo, target: 10.9.9.9, device: wan1 }}]\ntrack: [{entries}]\n",
        tunnel("10.2.0.0/16")
    )
}

#[test]
fn the_defaults_are_those_of_a_fast_probe() {
    let p = profile(&sla("id: 1, type: icmp-echo, target: 10.11.11.1, frequency_ms: 100"));
    let times = p.sla[0].times.expect("times");
    let ms = Duration::from_millis;
    assert_eq!((times.frequency, times.timeout, times.threshold), (ms(100), ms(100), ms(100)));
    assert_eq!((p.sla[0].up_count, p.sla[0].down_count), (3, 3));
    let p = profile(&sla("id: 1, type: icmp-echo, target: 10.11.11.1, frequency_ms: 60000"));
    assert_eq!(p.sla[0].times.expect("times").timeout, ms(5000));
    let p = profile(&sla("id: 1, type: bfd, target: 10.11.11.1"));
    assert_eq!(p.sla[0].times, None);
    assert_eq!(p.sla[0].probe, Probe::Bfd { transmit: ms(50), receive: ms(50), multiplier: 3 });
    assert_eq!(p.failback.drain, Drain::Move);
}

#[test]
fn times_that_contradict_each_other_are_refused() {
    const P: &str = "id: 1, type: icmp-echo, target: 10.11.11.1, frequency_ms: 100";
    only(
        &sla(&format!("{P}, timeout_ms: 101")),
        &["sla::times sla[0].timeout_ms", "101 ms", "100 ms", "write 100"],
    );
    only(
        &sla(&format!("{P}, timeout_ms: 50, threshold_ms: 51")),
        &["sla::times sla[0].threshold_ms", "51 ms", "50 ms", "write 50"],
    );
    only(
        &sla(
            "id: 1, type: icmp-jitter, target: 10.1.1.1, packets: 10, interval_ms: 20, frequency_ms: 250, timeout_ms: 100",
        ),
        &["sla::times sla[0].packets", "300 ms", "frequency_ms: 300"],
    );
    only(&sla(&P.replace("100", "9")), &["config::range sla[0].frequency_ms"]);
}

#[test]
fn a_kind_of_probe_has_its_own_keys_and_no_others() {
    only(&sla("id: 1, type: tcp-connect, target: 10.1.1.1"), &["config::missing sla[0].port", "tcp-connect"]);
    only(&sla("id: 1, type: dns, target: 10.1.1.1"), &["config::missing sla[0].query"]);
    only(&sla("id: 1, type: icmp-echo, target: 10.1.1.1, port: 7"), &["sla::key sla[0].port", "icmp-echo"]);
    only(&sla("id: 1, type: bfd, target: 10.1.1.1, frequency_ms: 100"), &["sla::key", "bfd"]);
    only(&sla("id: 1, type: icmp-ecko, target: 10.1.1.1"), &["sla[0].type", "did you mean `icmp-echo`"]);
    only(&sla("id: 1, type: icmp-echo, target: gw.example"), &["sla[0].target", "names are not resolved"]);
    only(&sla("id: 1, type: icmp-echo, target: 224.0.0.1"), &["sla[0].target", "address of a host"]);
    only(&sla("id: 1, type: icmp-echo, target: 10.1.1.1, source: 2001:db8::1"), &["sla::family"]);
    only(&sla("id: 1, type: http, target: 10.1.1.1, path: 'a b'"), &["sla[0].path"]);
    only(&sla("id: 1, type: dns, target: 10.1.1.1, query: 'a b'"), &["sla[0].query"]);
    only(&sla("id: 0, type: icmp-echo, target: 10.1.1.1"), &["config::range sla[0].id"]);
}

#[test]
fn numbers_are_unique_and_lead_somewhere() {
    only(
        &format!(
            "{}sla: [{{ id: 1, type: icmp-echo, target: 10.1.1.1 }}, {{ id: 1, type: bfd, target: 10.1.1.1 }}]\n",
            tunnel("10.2.0.0/16")
        ),
        &["sla::duplicate sla[1].id"],
    );
    only(&track("{ id: 1, sla: 1 }, { id: 1, device: wan1 }"), &["track::duplicate track[1].id"]);
    only(&track("{ id: 1, sla: 2 }"), &["track::unknown-sla track[0].sla", "operation 2", "one of 1"]);
    only(
        &track("{ id: 1, sla: 1 }, { id: 2, or: [1, 3] }"),
        &["track::unknown track[1].or[1]", "track 3", "1, 2"],
    );
    only(&track("{ id: 1, sla: 1 }, { id: 2, not: 3 }"), &["track::unknown track[1].not"]);
    only(
        &track("{ id: 1, sla: 1 }, { id: 2, weight: [{ id: 1, weight: 5 }, { id: 9 }], up: 5 }"),
        &["track::unknown track[1].weight[1].id"],
    );
    only(
        &tunnel("{ prefix: 10.2.0.0/16, track: 4 }"),
        &["routes::unknown-track tunnels[0].routes[0].track", "empty"],
    );
    only(
        &format!("{}routes: [{{ prefix: 10.7.0.0/16, tunnel: Tunel1 }}]\n", tunnel("10.2.0.0/16")),
        &["routes::unknown-tunnel routes[0].tunnel", "did you mean Tunnel1"],
    );
    only(
        &track("{ id: 1, sla: 1 }").replace("device: wan1", "device: wan1, start: pending"),
        &["track::pending", "stays down"],
    );
}

#[test]
fn a_track_watches_exactly_one_thing() {
    only(&track("{ id: 1 }"), &["track::kind track[0]", "watches nothing"]);
    only(&track("{ id: 1, sla: 1, device: wan1 }"), &["track::kind", "sla and device"]);
    only(&track("{ id: 1, device: wan1, of: state }"), &["track::key track[0].of"]);
    only(&track("{ id: 1, device: wan1, up: 3 }"), &["track::key track[0].up"]);
    only(&track("{ id: 1, and: [] }"), &["track::members", "no members"]);
    only(&track("{ id: 1, sla: 1 }, { id: 2, and: [1, 1] }"), &["track::members", "track 1 is twice"]);
    only(
        &track("{ id: 1, sla: 1 }, { id: 2, percentage: [1], up: 101 }"),
        &["track::threshold track[1].up", "at most 100"],
    );
    only(
        &track("{ id: 1, sla: 1 }, { id: 2, weight: [{ id: 1, weight: 5 }], up: 6 }"),
        &["track::threshold track[1].up", "at most 5"],
    );
    only(
        &track("{ id: 1, sla: 1 }, { id: 2, percentage: [1], up: 50, down: 50 }"),
        &["track::threshold track[1].down"],
    );
    only(&track("{ id: 1, sla: 1 }, { id: 2, percentage: [1] }"), &["config::missing track[1].up"]);
    only(&track("{ id: 1, sla: 1, suppress: 2000 }"), &["track::damping", "half_life_s"]);
    only(&track("{ id: 1, sla: 1, half_life_s: 15, reuse: 2000 }"), &["track::damping track[0].reuse"]);
    only(&track("{ id: 1, route: 10.1.2.3/16 }"), &["track::host-bits track[0].route", "write 10.1.0.0/16"]);
    let p = profile(&track("{ id: 1, sla: 1 }, { id: 2, percentage: [1], up: 50 }"));
    assert_eq!(p.track[1].watch, Watch::Percentage { percentage: vec![1], up: 50, down: 49 });
}

#[test]
fn circles_of_any_length_are_found_and_shown() {
    only(&track("{ id: 1, not: 1 }"), &["track::cycle track[0].not", "1 → 1"]);
    only(
        &track("{ id: 5, sla: 1 }, { id: 1, or: [5, 2] }, { id: 2, and: [3] }, { id: 3, not: 1 }"),
        &["track::cycle track[1].or", "1 → 2 → 3 → 1"],
    );
    // The same track by two ways is no circle.
    profile(&track("{ id: 1, sla: 1 }, { id: 2, not: 1 }, { id: 3, or: [1, 2] }, { id: 4, and: [1, 3] }"));
    // A chain as long as the list does not exhaust the stack.
    let chain: Vec<String> = (1..20_000).map(|n| format!("{{ id: {n}, not: {} }}", n + 1)).collect();
    profile(&track(&format!("{}, {{ id: 20000, sla: 1 }}", chain.join(", "))));
    only(&track(&format!("{}, {{ id: 20000, not: 1 }}", chain.join(", "))), &["track::cycle", "→ …"]);
}

fn failover(primary: &str, backup: &str) -> String {
    format!(
        "{}sla: [{{ id: 1, type: icmp-echo, target: 10.9.9.9, device: wan1 }}]\ntrack: [{{ id: 1, sla: 1 }}]\nroutes: [{{ {primary} }}]\n",
        tunnel(backup)
    )
}

#[test]
fn a_primary_and_its_backup_have_different_distances() {
    let p = profile(&failover(
        "prefix: 0.0.0.0/0, via: 192.0.2.1, device: wan1, track: 1",
        "{ prefix: 0.0.0.0/0, distance: 254 }, { prefix: 10.2.0.0/16 }",
    ));
    assert!(matches!(&p.routes[0].to, RouteTo::Via { device: Some(device), .. } if device == "wan1"));
    let all: Vec<_> = p.static_routes().map(|r| (r.prefix.to_string(), r.distance, r.track)).collect();
    let expected = [("0.0.0.0/0", 1, Some(1)), ("0.0.0.0/0", 254, None), ("10.2.0.0/16", 1, None)];
    assert_eq!(all, expected.map(|(p, d, t)| (p.to_owned(), d, t)));

    let primary = "prefix: 10.2.0.0/16, via: 192.0.2.1, track: 1";
    only(
        &failover(primary, "10.2.0.0/16"),
        &[
            "routes::distance tunnels[0].routes[0]",
            "192.0.2.1",
            "Tunnel1 has no distance",
            "{ prefix: 10.2.0.0/16, distance: 200 }",
        ],
    );
    only(
        &failover(&format!("{primary}, distance: 254"), "{ prefix: 10.2.0.0/16, distance: 254 }"),
        &["routes::distance tunnels[0].routes[0].distance", "both at distance 254"],
    );
    only(&failover(primary, "10.3.0.0/16"), &["routes::no-backup routes[0]", "track 1", "distance: 250"]);
    let metric = |text: String| text.replace("bandwidth_kbps: 1000", "bandwidth_kbps: 1000, metric: 250");
    assert_eq!(findings(&metric(failover(primary, "10.2.0.0/16"))), Vec::<String>::new());
    let p = profile(&metric(failover(primary, "10.2.0.0/16, { prefix: 10.3.0.0/16, distance: 7 }")));
    assert_eq!(p.static_routes().map(|r| r.distance).collect::<Vec<_>>(), [1, 250, 7]);
    // A shorter prefix is a backup, too.
    profile(&failover(primary, "{ prefix: 10.0.0.0/8, distance: 250 }"));
    assert_eq!(findings(&failover(primary, "{ prefix: 10.0.0.0/8, distance: 250 }")), Vec::<String>::new());
    assert_eq!(findings(&failover(primary, "10.0.0.0/8")), Vec::<String>::new());
}

#[test]
fn a_route_leads_to_exactly_one_place() {
    const BACKUP: &str = "10.2.0.0/16";
    only(&failover("prefix: 10.4.0.0/16", BACKUP), &["routes::target routes[0]", "nowhere"]);
    only(
        &failover("prefix: 10.4.0.0/16, tunnel: Tunnel1, device: wan1", BACKUP),
        &["routes::target", "several"],
    );
    only(
        &failover("prefix: 10.4.5.0/16, device: wan1", BACKUP),
        &["routes::host-bits routes[0].prefix", "10.4.0.0/16"],
    );
    only(&failover("prefix: 10.4.0.0/16, via: 2001:db8::1", BACKUP), &["routes::family routes[0].via"]);
    only(
        &failover("prefix: 10.4.0.0/16, device: wan1, distance: 256", BACKUP),
        &["config::range routes[0].distance"],
    );
    only(&failover("prefix: 10.4.0.0/16, device: wan1, distance: 255", BACKUP), &["routes::unusable"]);
    only(&failover("prefix: 127.0.0.0/8, device: wan1", BACKUP), &["routes[0].prefix", "forwarded"]);
    only(&tunnel("10.2.0.0/16, { prefix: 10.2.0.0/16, distance: 3 }"), &["tunnels::duplicate"]);
    only(
        &tunnel("{ prefix: 10.2.0.0/15, distanse: 3 }"),
        &["config::unknown-key", "did you mean `distance`"],
    );
    only(&tunnel("{ prefix: 10.2.1.0/16, distance: 3 }"), &["tunnels::host-bits", "10.2.0.0/16"]);
    only(&tunnel("{ distance: 3 }"), &["config::missing tunnels[0].routes[0].prefix"]);
}

#[test]
fn routes_of_one_prefix_are_in_one_table() {
    let p = profile(&failover("prefix: 10.4.0.0/16, device: lan0, vrf: vrf-wan1", "10.2.0.0/16"));
    assert_eq!(p.routes[0].table, Some(Table::Vrf("vrf-wan1".into())));
    let p = profile(&failover("prefix: 10.4.0.0/16, device: lan0, table: 1010", "10.2.0.0/16"));
    assert_eq!(p.routes[0].table, Some(Table::Number(1010)));
    // It is no rival of the tunnel's route, and backs it up no more than that backs it up.
    let other =
        failover("prefix: 10.2.0.0/16, device: wan1, table: 7", "{ prefix: 10.2.0.0/16, distance: 250 }");
    only(&other, &["routes::table tunnels[0].routes[0]", "table 7", "the main table"]);
    let several = "prefix: 10.4.0.0/16, device: wan1, vrf: red }, { prefix: 10.4.0.0/16, device: wan2, distance: 5, vrf: blue";
    only(&failover(several, "10.2.0.0/16"), &["routes::table routes[1]", "VRF red", "VRF blue"]);
    only(
        &failover("prefix: 10.4.0.0/16, tunnel: Tunnel1, vrf: red", "10.2.0.0/16"),
        &["routes::table", "tunnel"],
    );
    let both = "prefix: 10.4.0.0/16, device: wan1, vrf: red, table: 7";
    only(&failover(both, "10.2.0.0/16"), &["routes::table routes[0].table", "`vrf` and `table`"]);
    for own in ["253", "254", "255"] {
        let text = format!("prefix: 10.4.0.0/16, device: wan1, table: {own}");
        only(&failover(&text, "10.2.0.0/16"), &["routes::table routes[0].table", "the kernel's own"]);
    }
    only(
        &failover("prefix: 10.4.0.0/16, device: wan1, table: 0", "10.2.0.0/16"),
        &["config::range routes[0].table"],
    );
    // A tracked route of a VRF has no tunnel behind it, and needs none.
    let tracked = failover("prefix: 10.4.0.0/16, device: wan1, vrf: red, track: 1", "10.2.0.0/16");
    assert_eq!(findings(&tracked), Vec::<String>::new());
}

#[test]
fn a_probe_that_would_follow_the_traffic_onto_the_backup_is_named() {
    let text = failover(
        "prefix: 10.0.0.0/8, via: 192.0.2.1, device: wan1, track: 1",
        "{ prefix: 10.0.0.0/8, distance: 254 }",
    );
    assert_eq!(findings(&text), Vec::<String>::new());
    let free = text.replace(", device: wan1 }]\ntrack", " }]\ntrack");
    only(&free, &["sla::device sla[0].target", "Tunnel1", "add `device: wan1`"]);
    // A router on the link is reached independent of the routes.
    assert_eq!(findings(&free.replace("10.9.9.9", "192.0.2.1")), Vec::<String>::new());
}

#[test]
fn ten_thousand_operations_and_tracks_are_one_template_each() {
    let p = profile(&format!(
        "{}sla:\n- {{ for: {{ n: 1-10000 }}, id: '{{n}}', type: icmp-echo, target: '10.{{n/256}}.{{n%256}}.9', frequency_ms: 100, device: wan1 }}\n\
         track:\n- {{ for: {{ n: 1-10000 }}, id: '{{n}}', sla: '{{n}}' }}\n- {{ id: 20000, or: [1, 10000] }}\n",
        tunnel("10.2.0.0/16")
    ));
    assert_eq!((p.sla.len(), p.track.len()), (10_000, 10_001));
    assert_eq!(p.sla[9_999].target.to_string(), "10.39.16.9");
}

fn filter(rules: &str) -> String {
    format!("{}filters: [{{ name: f, rules: [{rules}] }}]\n", tunnel("10.2.0.0/16"))
}

#[test]
fn filters_are_named_by_tunnels_and_have_rules_in_order() {
    let with = |key: &str| {
        tunnel("10.2.0.0/16").replace("bandwidth_kbps: 1000,", &format!("bandwidth_kbps: 1000, {key},"))
    };
    let text = with("trigger_filter: f, idle_filter: routing")
        + "filters: [{ name: f, rules: [{ action: deny, protocol: OSPF }, { action: permit, protocol: tcp, destination_ports: 80-443, dscp: 46 }] }]\n";
    let p = profile(&text);
    let rules = p.filter_rules(p.tunnels[0].trigger_filter.as_deref());
    assert_eq!(
        (rules.len(), rules[0].permit, rules[0].protocol, rules[1].dscp),
        (2, false, Some(89), Some(46))
    );
    assert_eq!((rules[1].destination_ports.first, rules[1].destination_ports.last), (80, 443));
    assert!(
        p.filter_rules(p.tunnels[0].idle_filter.as_deref()).len() > 10 && p.filter_rules(None).is_empty()
    );
    only(
        &with("trigger_filter: routng"),
        &["filters::unknown tunnels[0].trigger_filter", "did you mean `routing`?"],
    );
    only(&with("idle_filter: g"), &["filters::unknown tunnels[0].idle_filter", "add it to `filters`"]);
}

#[test]
fn a_filter_that_cannot_work_is_refused_with_its_place() {
    only(&filter(""), &["filters::rules filters[0].rules: the filter has 0 rules", "1 to 16"]);
    only(&filter(&vec!["{ action: permit, protocol: tcp }"; 17].join(", ")), &["has 17 rules"]);
    only(&filter("{ protocol: tcp }"), &["config::missing filters[0].rules[0].action"]);
    only(&filter("{ action: permit, destination_ports: 80 }"), &["filters::ports", "protocol: tcp"]);
    only(
        &filter("{ action: permit, protocol: ospf, source_ports: 80 }"),
        &["filters::ports filters[0].rules[0].source_ports"],
    );
    only(
        &filter("{ action: permit, protocol: tcp, source_ports: 443-80 }"),
        &["which is not a port, or FIRST-LAST"],
    );
    only(&filter("{ action: permit, protocol: ospff }"), &["did you mean `ospf`?"]);
    only(&filter("{ action: permit, dscp: 64 }"), &["config::range", "0 to 63"]);
    only(&filter("{ action: permit, source: 10.0.0.1/8 }"), &["filters::host-bits"]);
    only(
        &filter("{ action: permit, source: 10.0.0.0/8, destination: '2001:db8::/32' }"),
        &["filters::family"],
    );
    only(&filter("{ action: deny }"), &["filters::denies-all", "permits nothing"]);
    only(
        &filter("{ action: permit }, { action: deny, protocol: tcp }"),
        &["filters::unreachable filters[0].rules[0]"],
    );
    let two =
        "filters: [{ name: f, rules: [{ action: permit }] }, { name: f, rules: [{ action: permit }] }]\n";
    only(&format!("{}{two}", tunnel("10.2.0.0/16")), &["filters::duplicate filters[1].name"]);
    let taken = two.replacen("name: f", "name: routing", 1);
    only(
        &format!("{}{taken}", tunnel("10.2.0.0/16")),
        &["filters::duplicate filters[0].name", "every profile has"],
    );
}
