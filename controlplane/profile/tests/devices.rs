//! Devices of single tunnels and routers of the LAN that a profile must not have.

use sipsec_profile::{Nothing, examine};

const GOOD: &str = include_str!("../../../deploy/profiles/lab-branch.yaml");
const INSIDE: &str = "inside: { mode: host, device: svti0 }";

/// Errors of the lab's branch with these keys of its tunnel and this inside: path and message.
fn told(tunnel: &str, inside: &str) -> Vec<String> {
    let text = GOOD.replace("    idle_s: 5\n", &format!("    idle_s: 5\n{tunnel}")).replace(INSIDE, inside);
    let findings = examine("g.yaml", text.as_bytes(), &Nothing).findings;
    let errors = findings.list.iter().filter(|f| f.severity == sipsec_profile::Severity::Error);
    errors.map(|f| format!("{} {}: {}", f.code, f.path, f.message)).collect()
}

#[test]
fn a_device_stands_on_the_svti_and_is_no_other() {
    let device = |name: &str| format!("    device: {name}\n");
    assert_eq!(told(&device("sipsec7"), INSIDE), [""; 0]);
    assert_eq!(told("    device: sipsec7\n    unnumbered: lan0\n", INSIDE), [""; 0]);
    for (keys, inside, wanted) in [
        (device("svti0"), INSIDE, "tunnels::device tunnels[0].device: svti0 is another device"),
        (device("svti0-x"), INSIDE, "tunnels::device tunnels[0].device: svti0-x is another device"),
        (device("wan0"), INSIDE, "tunnels::device tunnels[0].device: wan0 is another device"),
        (device("a/b"), INSIDE, "config::value tunnels[0].device"),
        (
            "    unnumbered: lan0\n".to_owned(),
            INSIDE,
            "tunnels::device tunnels[0].unnumbered: Tunnel1 has no device",
        ),
        (
            "    device: a0\n    unnumbered: a0\n".to_owned(),
            INSIDE,
            "tunnels::device tunnels[0].unnumbered: a0 cannot have its own",
        ),
        (
            device("sipsec7"),
            "inside: { mode: router, device: lan0, next_hop: \"02:00:00:00:00:01\" }",
            "tunnels::device tunnels[0].device: Tunnel1 has a device",
        ),
    ] {
        let all = told(&keys, inside);
        assert!(all.len() == 1 && all[0].starts_with(wanted), "{keys}: {all:#?}");
    }
}

#[test]
fn routers_of_the_lan_belong_to_router_mode_and_are_few() {
    let router = |more: &str| {
        format!(
            "inside: {{ mode: router, device: lan0, next_hop: \"02:00:00:00:00:01\", routers: [{more}] }}"
        )
    };
    let one = "{ prefix: 10.1.8.0/24, next_hop: \"02:00:00:00:00:02\" }";
    assert_eq!(told("", &router(one)), [""; 0]);
    for (inside, wanted) in [
        (
            router(&[one; 17].join(", ")),
            "dataplane::value dataplane.inside.routers: 17 routers are more than 16",
        ),
        (router("{ prefix: 10.1.8.1/24, next_hop: \"02:00:00:00:00:02\" }"), "dataplane::host-bits"),
        (router("{ prefix: 10.1.8.0/24, next_hop: \"01:00:00:00:00:02\" }"), "dataplane::value"),
        (router("{ prefix: 10.1.8.0/24 }"), "dataplane::syntax"),
        (format!("inside: {{ mode: host, device: svti0, routers: [{one}] }}"), "dataplane::mode"),
        (format!("inside: {{ mode: tun, device: svti0, routers: [{one}] }}"), "dataplane::mode"),
    ] {
        let all = told("", &inside);
        assert!(all.len() == 1 && all[0].starts_with(wanted), "{inside}: {all:#?}");
    }
}
