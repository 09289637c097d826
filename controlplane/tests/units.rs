//! The systemd units say what the processes rely on.

use std::path::Path;

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd").join(name);
    std::fs::read_to_string(path).expect(name)
}

/// The values of a directive, in order.
fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|l| l.strip_prefix(directive)?.strip_prefix('=')).collect()
}

#[test]
fn neither_unit_gives_up_and_both_keep_secrets_in_memory() {
    for name in ["sipsec-controlplane@.service", "sipsec-dataplane@.service"] {
        let unit = unit(name);
        let (head, service) = unit.split_once("[Service]").expect("two sections");
        // systemd reads it in [Unit] only.
        assert_eq!(values(head, "StartLimitIntervalSec"), ["0"], "{name}");
        for (directive, value) in [("Restart", "always"), ("LimitMEMLOCK", "infinity"), ("LimitCORE", "0")] {
            assert_eq!(values(service, directive), [value], "{name} {directive}");
        }
    }
}

#[test]
fn neither_process_is_root_and_the_control_plane_has_what_it_needs() {
    let units = ["sipsec-controlplane@.service", "sipsec-dataplane@.service"].map(unit);
    for unit in &units {
        // One user: the socket between them admits its own user alone, and they share a runtime directory.
        assert_eq!((values(unit, "User"), values(unit, "Group")), (vec!["sipsec"], vec!["sipsec"]));
        assert_eq!(values(unit, "NoNewPrivileges"), ["yes"]);
        // Without root's other permissions, `+` and `!` would bring them back.
        let lines = ["ExecStartPre", "ExecStart", "ExecReload"].map(|d| values(unit, d)).concat();
        assert!(lines.iter().all(|l| !l.starts_with(['+', '!'])), "{lines:?}");
    }
    for directive in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        let mut given: Vec<_> = values(&units[0], directive)[0].split(' ').map(str::to_owned).collect();
        let mut needed: Vec<_> =
            sipsec_controlplane::harden::NEEDED.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
        given.sort();
        needed.sort();
        assert_eq!(given, needed, "{directive}");
    }
    assert!(unit("sipsec.sysusers.conf").lines().any(|l| l.starts_with("u sipsec ")), "the user is made");
}

#[test]
fn the_control_plane_has_time_to_hang_up_and_may_ask_for_more() {
    let unit = unit("sipsec-controlplane@.service");
    let stop: u64 = values(&unit, "TimeoutStopSec")[0].trim_end_matches('s').parse().expect("seconds");
    // RFC 3261 §17.1.2.2: Timer F is 32 s.
    assert!(stop > 36, "{stop}");
    // EXTEND_TIMEOUT_USEC counts from Type=notify services only.
    assert_eq!((values(&unit, "Type"), values(&unit, "NotifyAccess")), (vec!["notify"], vec!["main"]));
}

#[test]
fn packets_for_the_tunnels_are_discarded_before_either_process_runs() {
    let unit = unit("sipsec-dataplane@.service");
    let before = values(&unit, "ExecStartPre");
    assert!(
        before.iter().any(|l| l.starts_with('-') && l.ends_with("--install-discard-routes")),
        "{before:?}"
    );
    assert_eq!(values(&unit, "Before"), ["network.target"]);
}
