//! `ip sla`, `track` and tracked routes in every spelling of IOS, and back.

#[macro_use]
#[path = "ios/branch.rs"]
mod branch;
#[path = "ios/flow.rs"]
mod flow;

use sipsec_profile::ios::report::{Severity, Verdict};
use sipsec_profile::ios::{self, Import, Options, Source, show, write};
use sipsec_profile::{Nothing, Profile, examine};

/// A branch whose primary is not written yet.
const BASE: &str = branch!(
    begin: "hostname branch\n",
    loopback: "",
    tunnel: " ip unnumbered Loopback1\n",
    kbps: "1000",
    policy: "",
    wan: "interface GigabitEthernet0\n ip address 192.0.2.2 255.255.255.0\n",
    more: ""
);
const PRIMARY: &str = "ip route 0.0.0.0 0.0.0.0 192.0.2.1 track 1
ip route 0.0.0.0 0.0.0.0 Tunnel1 254
";
const SLA: &str = "ip sla 1
 icmp-echo 10.11.11.1
 threshold 500
 timeout 500
 frequency 2
ip sla schedule 1 life forever start-time now
";
const TRACK: &str = "track 1 ip sla 1 reachability\n";

fn import(more: &str) -> Import {
    let interfaces = [("GigabitEthernet8", "wan0"), ("GigabitEthernet0", "wan1"), ("Tunnel0", "gre0")];
    let interfaces = interfaces.map(|(ios, device)| (ios.to_owned(), device.to_owned())).into();
    let text = format!("{BASE}{more}end\n");
    ios::import(&[Source { name: "x.txt", bytes: text.as_bytes() }], &Options { interfaces, gateway: None })
}

fn written(import: &Import) -> String {
    write::profile(&import.conversion, None, &write::Keys::Inline, "").profile.to_string()
}

/// The profile that comes of it, which has to be free of errors once its gaps are filled.
fn profile(more: &str) -> Profile {
    let import = import(more);
    assert_eq!(import.report.errors(), 0, "{}", import.report.text());
    for (line, text) in import.report.files[0].lines.iter().zip(format!("{BASE}{more}").lines()) {
        let policy = ["sla", "track", "echo", "object", "delay", "threshold", "rtr", " ty", "ip route"];
        if policy.iter().any(|word| text.contains(word)) {
            assert_eq!(line.verdict, Verdict::Converted, "{text}\n{}", import.report.text());
        }
    }
    let text = written(&import)
        .replace(write::REGISTRAR, "198.51.100.1:5060")
        .replace(write::DOMAIN, "carrier.example");
    let examined = examine("p.yaml", text.as_bytes(), &Nothing);
    let errors: Vec<_> = examined.findings.list.iter().map(|f| format!("{} {}", f.code, f.message)).collect();
    assert_eq!(examined.findings.errors(), 0, "{errors:?}\n{text}");
    examined.profile.expect("a profile")
}

/// Lists of the profile, one entry a line, without the rest.
fn policy(more: &str) -> String {
    let whole: serde_yaml::Value = serde_yaml::from_str(&written(&import(more))).expect("YAML");
    let mut out = String::new();
    for key in ["sla", "track", "routes"] {
        if let Some(list) = whole[key].as_sequence() {
            out += &format!("{key}:\n");
            out.extend(list.iter().map(|entry| format!("  - {}\n", flow::flow(entry))));
        }
    }
    out.trim_end().to_owned()
}

/// Something is said at a line that holds `at`.
fn said(more: &str, at: &str, severity: Severity, words: &str) {
    let import = import(more);
    let text = format!("{BASE}{more}");
    let line = text.lines().position(|l| l.contains(at)).expect("the line") + 1;
    let found = import.report.findings.iter().any(|f| {
        f.severity == severity
            && format!("{} {}", f.message, f.hint).contains(words)
            && f.places.iter().any(|s| (s.first..=s.last).contains(&u32::try_from(line).expect("small")))
    });
    assert!(found, "no {severity:?} with {words:?} at line {line}:\n{}", import.report.text());
}

#[test]
fn the_chapter_s_primary_comes_over_whole() {
    profile(&format!("{PRIMARY}{SLA}{TRACK}"));
    assert_eq!(
        policy(&format!("{PRIMARY}{SLA}{TRACK}")),
        "sla:\n  - { id: 1, type: icmp-echo, target: 10.11.11.1, frequency_ms: 2000, timeout_ms: 500, threshold_ms: 500, up_count: 1, down_count: 1 }\n\
         track:\n  - { id: 1, sla: 1 }\n\
         routes:\n  - { prefix: 0.0.0.0/0, via: 192.0.2.1, track: 1 }"
    );
    let whole = flow::of_text(&written(&import(&format!("{PRIMARY}{SLA}{TRACK}"))));
    assert!(whole.contains("routes: [0.0.0.0/0], metric: 254"), "{whole}");
    said(&format!("{PRIMARY}{SLA}{TRACK}"), "192.0.2.1 track", Severity::Note, "track 1");
}

#[test]
fn every_spelling_is_the_same_probe() {
    let canonical = policy(&format!("{PRIMARY}{SLA}{TRACK}"));
    for sla in [
        "ip sla 1\n\nicmp-echo 10.11.11.1\nthreshold 500\ntimeout 500\nfrequency 2\nip sla schedule 1 start-time now life forever\n",
        "IP SLA 1\n ICMP-ECHO 10.11.11.1\n thr 500\n timeo 500\n freq 2\nip sla sch 1 l for s now\n",
        "ip sla monitor 1\n type echo protocol ipIcmpEcho 10.11.11.1\n threshold 500\n timeout 500\n frequency 2\nip sla monitor schedule 1 life forever start-time now\n",
        "rtr 1\n type echo protocol ipIcmpEcho 10.11.11.1\n threshold 500\n timeout 500\n frequency 2\nrtr schedule 1 life forever start-time now\n",
        "ip sla 01\n icmp-echo 10.11.11.1\n owner netops\n tos 160\n threshold 500\n timeout 500\n frequency 2\nip sla schedule 1 life forever start-time now recurring\n",
    ] {
        assert_eq!(policy(&format!("{PRIMARY}{sla}{TRACK}")), canonical, "{sla}");
    }
    for track in [
        "track 1 ip sla 1 reach\n",
        "track 1 rtr 1 reachability\n",
        "TRACK 1 IP SLA 1 REACHABILITY\n",
        "trac 1 ip sla 1 r\n",
    ] {
        assert_eq!(policy(&format!("{PRIMARY}{SLA}{track}")), canonical, "{track}");
    }
    for route in [
        "ip route 0.0.0.0 0.0.0.0 192.0.2.1 1 track 1\nip route 0.0.0.0 0.0.0.0 Tu1 254\n",
        "ip route 0.0.0.0 0.0.0.0 192.0.2.1 tr 1\nip route 0.0.0.0 0.0.0.0 tunnel 1 254 name BACKUP\n",
    ] {
        assert_eq!(policy(&format!("{route}{SLA}{TRACK}")), canonical, "{route}");
    }
    // IOS follows the state where nothing else is written.
    assert!(policy(&format!("{PRIMARY}{SLA}track 1 ip sla 1\n")).contains("{ id: 1, sla: 1, of: state }"));
}

#[test]
fn every_kind_of_operation_comes_over() {
    for (kind, expected) in [
        ("icmp-echo 10.1.1.1 source-ip 192.0.2.2", "type: icmp-echo, target: 10.1.1.1, source: 192.0.2.2,"),
        ("icmp-echo 10.1.1.1 source-interface Loopback1", "target: 10.1.1.1, source: 10.255.1.1,"),
        ("icmp-echo 10.1.1.1 source-interface gi 0", "target: 10.1.1.1, device: wan1,"),
        ("icmp-jitter 10.1.1.1 num-packets 5 interval 40", "type: icmp-jitter, packets: 5, interval_ms: 40,"),
        ("tcp-connect 10.1.1.1 443 control disable", "type: tcp-connect, port: 443, target: 10.1.1.1,"),
        (
            "udp-echo 10.1.1.1 7 source-ip 192.0.2.2 source-port 4000",
            "type: udp-echo, port: 7, target: 10.1.1.1,",
        ),
        (
            "dns www.example name-server 10.1.1.53",
            "type: dns, port: 53, query: www.example, target: 10.1.1.53,",
        ),
        ("http get http://10.1.1.1/alive", "type: http, port: 80, path: /alive, target: 10.1.1.1,"),
        ("http get http://10.1.1.1:8080", "type: http, port: 8080, path: /, target: 10.1.1.1,"),
        ("type tcpConnect dest-ipaddr 10.1.1.1 dest-port 443", "type: tcp-connect, port: 443,"),
        ("type udpEcho dest-ipaddr 10.1.1.1 dest-port 7", "type: udp-echo, port: 7,"),
        ("type dns target-addr www.example name-server 10.1.1.53", "query: www.example,"),
        ("type http operation get url http://10.1.1.1/x", "path: /x,"),
    ] {
        let more = format!("{PRIMARY}{}{TRACK}", SLA.replace("icmp-echo 10.11.11.1", kind));
        assert!(
            policy(&more).contains(expected),
            "{kind}:\n{}\n{}",
            policy(&more),
            import(&more).report.text()
        );
        profile(&more);
    }
    // What IOS has where nothing is written.
    let bare = policy(&format!(
        "{PRIMARY}ip sla 1\n icmp-echo 10.1.1.1\nip sla schedule 1 life forever start-time now\n{TRACK}"
    ));
    assert!(
        bare.contains("frequency_ms: 60000, timeout_ms: 5000, threshold_ms: 5000, up_count: 1"),
        "{bare}"
    );
    let life = SLA.replace("life forever", "life 600");
    assert!(policy(&format!("{PRIMARY}{life}{TRACK}")).contains("lifetime_s: 600"));
    said(&format!("{PRIMARY}{life}{TRACK}"), "life 600", Severity::Warning, "600 s");
    assert!(
        policy(&format!("{PRIMARY}{}{TRACK}", SLA.replace("start-time now", ""))).contains("start: pending")
    );
}

#[test]
fn every_kind_of_track_comes_over() {
    let track = |track: &str| policy(&format!("{PRIMARY}{SLA}{TRACK}{track}"));
    for (lines, expected) in [
        ("track 2 interface GigabitEthernet0 line-protocol\n", "{ id: 2, device: wan1 }"),
        ("track 2 interface gi0 ip routing\n", "{ id: 2, device: wan1 }"),
        ("track 2 ip route 10.9.0.0 255.255.0.0 reachability\n", "{ id: 2, route: 10.9.0.0/16 }"),
        ("track 2 ip route 10.9.0.0/16 reachability\n", "{ id: 2, route: 10.9.0.0/16 }"),
        (
            "track 3 list boolean or\n object 1\n object 2\ntrack 2 interface gi0 line\n",
            "{ id: 3, or: [1, 2] }",
        ),
        ("track 3 list boo and\n obj 1\n", "{ id: 3, and: [1] }"),
        ("track 3 list boolean and\n object 1 not\n", "{ id: 3, not: 1 }"),
        (
            "track 3 list boolean and\n object 1 not\n object 1\n object 2 not\ntrack 2 interface gi0 line\n",
            "{ id: 1004, not: 2 }\n  - { id: 3, and: [1, 1004] }",
        ),
        (
            "track 3 list threshold weight\n object 1 weight 20\n object 2\n threshold weight up 20 down 10\ntrack 2 interface gi0 line\n",
            "{ id: 3, weight: [{ id: 1, weight: 20 }, { id: 2, weight: 10 }], up: 20, down: 10 }",
        ),
        (
            "track 3 list threshold percentage\n object 1\n threshold percentage up 60 down 30\n",
            "{ id: 3, percentage: [1], up: 60, down: 30 }",
        ),
        ("track 2 ip sla 1\n delay down 5 up 60\n", "of: state, delay_up_ms: 60000, delay_down_ms: 5000 }"),
    ] {
        assert!(
            track(lines).contains(expected),
            "{lines}\n{}\n{}",
            track(lines),
            import(&format!("{PRIMARY}{SLA}{TRACK}{lines}")).report.text()
        );
        profile(&format!("{PRIMARY}{SLA}{TRACK}{lines}"));
    }
}

#[test]
fn routes_that_a_track_decides_about_are_the_gateway_s() {
    let routes = |routes: &str| policy(&format!("{routes}{SLA}{TRACK}"));
    const BACKUP: &str = "ip route 10.0.0.0 255.0.0.0 Tunnel1 250\n";
    for (line, expected) in [
        (
            "ip route 10.0.0.0 255.0.0.0 GigabitEthernet0 192.0.2.1 track 1",
            "via: 192.0.2.1, device: wan1, track: 1 }",
        ),
        (
            "ip route 10.0.0.0 255.0.0.0 gi0 5 name PRIMARY track 1",
            "device: wan1, distance: 5, track: 1, name: PRIMARY }",
        ),
        ("ip route 10.0.0.0 255.0.0.0 Tunnel0 track 1", "device: gre0, track: 1 }"),
        ("ip route 10.0.0.0 255.0.0.0 Null0 254 track 1", "discard: true, distance: 254, track: 1 }"),
    ] {
        let out = routes(&format!("{line}\n{BACKUP}"));
        assert!(out.contains(expected), "{line}\n{out}");
    }
    // A second, floating primary is one of its candidates; a route of another prefix is the system's.
    let out = routes(&format!(
        "ip route 10.0.0.0 255.0.0.0 192.0.2.1 track 1\nip route 10.0.0.0 255.0.0.0 192.0.2.9 200\n{BACKUP}ip route 172.16.0.0 255.240.0.0 192.0.2.1\n"
    ));
    assert!(out.contains("via: 192.0.2.9, distance: 200 }") && !out.contains("172.16"), "{out}");
    // The tunnel's own route may hang on a track, too.
    let whole = flow::of_text(&written(&import(&format!(
        "ip route 10.0.0.0 255.0.0.0 Tunnel1 250 track 1\n{SLA}{TRACK}"
    ))));
    assert!(whole.contains("{ prefix: 10.0.0.0/8, track: 1 }"), "{whole}");
    // Bits of the host, with the corrected prefix.
    said(
        &format!("ip route 10.1.0.0 255.0.0.0 192.0.2.1 track 1\n{SLA}{TRACK}"),
        "ip route 10.1.0.0",
        Severity::Error,
        "10.0.0.0",
    );
}

#[test]
fn what_does_not_come_over_is_said() {
    let whole = |sla: &str, track: &str| format!("{PRIMARY}{sla}{track}");
    let sla = |kind: &str| SLA.replace("icmp-echo 10.11.11.1", kind);
    use Severity::{Error, Warning};
    for (more, at, severity, words) in [
        (whole(&sla("udp-jitter 10.1.1.1 5000"), TRACK), "udp-jitter", Warning, "kind"),
        (whole(&sla("icmp-echo gw.example"), TRACK), "gw.example", Warning, "not resolved"),
        (whole(&sla("http get http://www.example/"), TRACK), "www.example", Warning, "without an address"),
        (whole(&sla("icmp-echo 10.1.1"), TRACK), "10.1.1", Error, "no address"),
        (whole(&sla("tcp-connect 10.1.1.1"), TRACK), "tcp-connect", Error, "port"),
        (whole(&sla("icmp-echo 10.1.1.1\n vrf CUST"), TRACK), "vrf CUST", Warning, "VRF"),
        (whole(&SLA.replace("timeout 500", "timeout 5000"), TRACK), "timeout 5000", Warning, "2000 ms"),
        (
            whole(&SLA.replace("start-time now", "start-time 12:30:00 1 Jan"), TRACK),
            "12:30",
            Warning,
            "time of its own",
        ),
        (
            whole(&SLA.replace("ip sla schedule 1 life forever start-time now\n", ""), TRACK),
            "track 1 ip sla",
            Warning,
            "schedule",
        ),
        (whole(SLA, "track 1 ip sla 2 reachability\n"), "track 1 ip sla", Warning, "ip sla 2"),
        (whole(SLA, "track 1 ip sla 2 reachability\n"), "192.0.2.1 track 1", Warning, "track 1"),
        (whole(SLA, "track 2 ip sla 1 reachability\n"), "192.0.2.1 track 1", Error, "track 1"),
        (whole(SLA, "track 1 stub-object\n"), "stub-object", Warning, "watches"),
        (whole(SLA, "track 1 list boolean and\n object 7\n"), "object 7", Error, "track 7"),
        (whole(SLA, "track 1 interface Tunnel1 line-protocol\n"), "track 1 interface", Warning, "always up"),
        (whole(SLA, "track 1 interface Dialer1 line-protocol\n"), "Dialer1", Warning, "--ifmap Dialer1"),
        (whole(SLA, "track 1 list threshold weight\n object 1\n"), "threshold weight", Warning, "thresholds"),
        (
            whole(SLA, "track 1 ip route 10.1.0.0 255.0.0.0 reachability\n"),
            "track 1 ip route",
            Error,
            "10.0.0.0/8",
        ),
        (
            whole(SLA, &format!("{TRACK}track 2 list boolean and\n object 3\ntrack 3 stub-object\n")),
            "track 2 list",
            Warning,
            "track 3",
        ),
    ] {
        said(&more, at, severity, words);
    }
    // `no` takes back.
    assert_eq!(policy(&format!("{SLA}no ip sla 1\n{TRACK}no track 1\n")), "");
}

#[test]
fn show_running_config_and_the_import_are_inverse() {
    let more = "ip sla 2\n tcp-connect 10.1.1.1 443 source-ip 192.0.2.2\n frequency 10\n tag the centre\nip sla schedule 2 life 7200 start-time now\n\
        ip sla 3\n icmp-jitter 10.1.1.2 num-packets 5 interval 30\nip sla schedule 3 life forever start-time now\n\
        ip sla 4\n dns www.example name-server 10.1.1.53\nip sla 5\n http get http://10.1.1.1:8080/x\nip sla 6\n udp-echo 10.1.1.1 7\n\
        ip sla 7\n icmp-echo 10.1.1.9 source-interface gi0\n timeout 100\n threshold 50\n frequency 0.1\nip sla schedule 7 life forever start-time now\n\
        track 2 ip sla 2 state\n delay up 10 down 0.5\ntrack 3 interface gi0 line-protocol\ntrack 4 list boolean or\n object 1\n object 2 not\n\
        track 5 list threshold weight\n object 1 weight 20\n object 3 weight 5\n threshold weight up 20 down 5\n\
        track 6 list threshold percentage\n object 1\n object 3\n threshold percentage up 60 down 40\ntrack 7 ip route 10.9.0.0 255.255.0.0 reachability\n\
        ip route 10.4.0.0 255.255.0.0 Tunnel1 200 track 4\nip route 10.5.0.0 255.255.0.0 gi0 192.0.2.7 20 name X track 6\n";
    let first = import(&format!("{PRIMARY}{SLA}{TRACK}{more}"));
    assert_eq!(first.report.errors(), 0, "{}", first.report.text());
    let shown = show::running_config(&first.conversion);
    let again = ios::import(
        &[Source { name: "show", bytes: shown.replace("<hidden>", branch!(key)).as_bytes() }],
        &Options { interfaces: first.conversion.interfaces.clone(), gateway: None },
    );
    assert_eq!(again.report.errors(), 0, "{}", again.report.text());
    assert_eq!(again.conversion.sla, first.conversion.sla, "{shown}");
    assert_eq!(again.conversion.track, first.conversion.track, "{shown}");
    assert_eq!(again.conversion.routes, first.conversion.routes, "{shown}");
    assert_eq!(again.conversion.tunnels[0].routes, first.conversion.tunnels[0].routes, "{shown}");
    assert_eq!((again.conversion.sla.len(), again.conversion.track.len()), (7, 8));
}
