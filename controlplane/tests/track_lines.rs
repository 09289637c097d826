//! Primary lines of other kinds than one Ethernet device with an IPv4 address, in a network namespace of this test's own. Needs root.

#[path = "support/policy.rs"]
mod policy;
mod support;

use policy::{Gateway, ip, network, operation, reachability, route};
use sipsec_track::config::{Config, Failback, Flows, NextHop, Operation, Probe};
use std::time::Duration;
use support::{in_namespace, sh};

const LIMIT: Duration = Duration::from_secs(20);

/// A primary by this next hop, whose probe asks it, and a tunnel.
fn line(prefix: &str, hop: &str, device: Option<&str>, by: Option<&str>) -> Config {
    let probe =
        Operation { device: by.map(str::to_owned), ..operation(1, Probe::IcmpEcho { target: ip(hop) }) };
    Config {
        operations: vec![probe],
        objects: vec![reachability(1)],
        routes: vec![
            route(prefix, NextHop::Via { hop: ip(hop), device: device.map(str::to_owned) }, 1, Some(1)),
            route(prefix, NextHop::Tunnel("Tunnel1".into()), 250, None),
        ],
        failback: Failback { hold: Duration::ZERO, good_probes: 0, flows: Flows::Move, calls_per_hour: 0 },
    }
}

struct Line {
    gateway: Gateway,
    shown: String,
    primary: String,
}

impl Line {
    async fn is(&mut self, is_primary: bool, after: &str) {
        let wanted = if is_primary { self.primary.clone() } else { "dev svti0".to_owned() };
        let fits = |table: &str| table.contains(&wanted) && table.trim().lines().count() == 1;
        let done = tokio::time::timeout(LIMIT, self.gateway.until(&self.shown, fits)).await;
        assert!(done.is_ok(), "after {after}: `{wanted}` is not the only one of\n{}", sh(&self.shown));
    }
}

fn v6(prefix: &str, hop: &str, device: &str, by: Option<&str>) -> Line {
    Line {
        gateway: Gateway::start(line(prefix, hop, by, Some(device))),
        shown: format!("ip -6 route show {prefix} proto 83"),
        primary: format!("via {hop} dev {device} "),
    }
}

const TO: &str = "2001:db8:2::/48";

/// As VLANs and macvlans are. Not every kernel has VLANs.
fn above() {
    sh("ip link add link wan1 name wan1.100 type macvlan mode bridge");
    sh("sysctl -qw net/ipv6/conf/wan1.100/keep_addr_on_down=1");
    sh("ip addr add 2001:db8:f::2/64 dev wan1.100 nodad");
    sh("ip link set wan1.100 up");
}

#[test]
fn an_ipv6_primary_on_a_device_above_another() {
    in_namespace(async || {
        let far = network();
        far.sh("addr add 2001:db8:f::1/64 dev far1 nodad");
        above();
        let mut line = v6(TO, "2001:db8:f::1", "wan1.100", None);
        line.is(true, "the start").await;
        far.sh("addr del 2001:db8:f::1/64 dev far1");
        line.is(false, "a cut that no device shows").await;
        far.sh("addr add 2001:db8:f::1/64 dev far1 nodad");
        line.is(true, "its end").await;
        // The device below goes down, and the one above loses its carrier.
        sh("ip link set wan1 down");
        line.is(false, "the device below is down").await;
        sh("ip link set wan1 up");
        line.is(true, "the device below is up").await;
        sh("ip link del wan1.100");
        line.is(false, "the device is removed").await;
        above();
        line.is(true, "the device is made again").await;
    });
}

#[test]
fn an_ipv6_primary_by_a_link_local_router() {
    in_namespace(async || {
        let far = network();
        far.sh("addr add fe80::1/64 dev far1 nodad");
        sh("ip addr add fe80::2/64 dev wan1 nodad");
        let mut line = v6(TO, "fe80::1", "wan1", Some("wan1"));
        line.is(true, "the start").await;
        far.sh("addr del fe80::1/64 dev far1");
        line.is(false, "the router is gone").await;
        far.sh("addr add fe80::1/64 dev far1 nodad");
        line.is(true, "it is back").await;
    });
}

#[test]
fn a_primary_whose_lease_changes_its_address() {
    in_namespace(async || {
        let far = network();
        let mut line = Line {
            gateway: Gateway::start(line("10.2.0.0/16", "192.0.2.1", None, Some("wan1"))),
            shown: "ip route show 10.2.0.0/16 proto 83".into(),
            primary: "via 192.0.2.1 dev wan1 ".into(),
        };
        line.is(true, "the start").await;
        // Another network: the next hop is not on the link.
        sh("ip addr del 192.0.2.2/24 dev wan1");
        sh("ip addr add 198.51.100.2/24 dev wan1");
        line.is(false, "another network").await;
        // The old one, with another address.
        sh("ip addr add 192.0.2.3/24 dev wan1");
        line.is(true, "another address").await;
        sh("sysctl -qw net/ipv4/conf/wan1/promote_secondaries=1");
        // Another one without a moment in between: the probes must not keep the source that has gone.
        sh("ip addr add 192.0.2.4/24 dev wan1");
        sh("ip addr del 192.0.2.3/24 dev wan1");
        far.sh("link set far1 down");
        line.is(false, "a cut").await;
        far.sh("link set far1 up");
        line.is(true, "its end").await;
    });
}
