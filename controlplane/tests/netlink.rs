//! The kernel's side, in a network namespace of this test's own. Needs root.

use rustix::thread::UnshareFlags;
use sipsec_controlplane::net::netlink::{Change, Netlink, ROUTE_PROTOCOL, Route, Watch};
use sipsec_net::{MacAddr, MediaPort};
use std::io::Write;
use std::process::Command;

fn sh(line: &str) -> String {
    let mut words = line.split_whitespace();
    let out = Command::new(words.next().expect("a command")).args(words).output().expect(line);
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Runs in a fresh namespace, which ends with the thread.
fn in_namespace(test: impl AsyncFnOnce()) {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: network namespaces need root");
        return;
    }
    #[expect(
        deprecated,
        reason = "unsafe for shared file tables; a network namespace shares nothing with other threads"
    )]
    rustix::thread::unshare(UnshareFlags::NEWNET).expect("a namespace");
    sh("ip link set lo up");
    // One thread, so that every socket is of this namespace.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test());
}

async fn wan(netlink: &mut Netlink) -> Result<std::net::IpAddr, String> {
    loop {
        if let Change::Wan(wan) = netlink.next().await {
            return wan;
        }
    }
}

async fn routes(netlink: &mut Netlink) -> Vec<String> {
    loop {
        if let Change::Routes(states) = netlink.next().await {
            return states.into_iter().map(|(prefix, state)| format!("{prefix} {state}")).collect();
        }
    }
}

async fn hop(netlink: &mut Netlink) -> (u16, MacAddr) {
    loop {
        if let Change::NextHop { media_port, mac } = netlink.next().await {
            return (media_port.0, mac);
        }
    }
}

fn watch(routes: &[(&str, Option<u32>)]) -> Watch {
    let routes = routes
        .iter()
        .map(|(prefix, metric)| Route { prefix: prefix.parse().expect("a prefix"), metric: *metric })
        .collect();
    Watch { wan: "wan0".into(), v6: false, svti: Some(("svti0".into(), routes)) }
}

#[test]
fn the_wan_address_is_followed_and_its_absence_explained() {
    in_namespace(async || {
        let mut netlink = Netlink::start(watch(&[])).expect("started");
        assert_eq!(wan(&mut netlink).await, Err("there is no interface wan0".into()));
        sh("ip link add wan0 type veth peer name peer0");
        assert_eq!(wan(&mut netlink).await, Err("wan0 is down: `ip link set wan0 up`".into()));
        sh("ip link set wan0 up");
        assert_eq!(wan(&mut netlink).await, Err("wan0 has no IPv4 address".into()));
        sh("ip addr add 192.0.2.1/24 dev wan0");
        assert_eq!(wan(&mut netlink).await, Ok("192.0.2.1".parse().expect("address")));
        // A second address changes nothing; losing the first does.
        sh("ip addr add 198.51.100.1/24 dev wan0");
        sh("ip addr del 192.0.2.1/24 dev wan0");
        assert_eq!(wan(&mut netlink).await, Ok("198.51.100.1".parse().expect("address")));
        sh("ip link del wan0");
        assert_eq!(wan(&mut netlink).await, Err("there is no interface wan0".into()));
    });
}

#[test]
fn next_hops_are_found_provoked_and_followed() {
    in_namespace(async || {
        sh("ip link add wan0 type veth peer name peer0");
        sh("ip link set wan0 address 02:00:00:00:00:01");
        sh("ip link set peer0 address 02:00:00:00:00:02");
        for device in ["wan0", "peer0"] {
            sh(&format!("ip link set {device} up"));
        }
        sh("ip addr add 192.0.2.1/24 dev wan0");
        sh("ip route add 203.0.113.0/24 via 192.0.2.254");
        let mut netlink = Netlink::start(watch(&[])).expect("started");
        wan(&mut netlink).await.expect("an address");

        // An entry that is there already: by gateway, and on the link.
        sh("ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev wan0 nud stale");
        netlink.resolve(MediaPort(50001), "203.0.113.7".parse().expect("address"));
        assert_eq!(hop(&mut netlink).await, (50001, MacAddr([2, 0, 0, 0, 0, 0xfe])));
        // It changes: told again.
        sh("ip neigh replace 192.0.2.254 lladdr 02:00:00:00:00:fd dev wan0 nud reachable");
        assert_eq!(hop(&mut netlink).await, (50001, MacAddr([2, 0, 0, 0, 0, 0xfd])));
        netlink.forget(MediaPort(50001));

        // None is there: the kernel is made to look (an entry appears), and what it finds is told.
        netlink.resolve(MediaPort(50003), "192.0.2.2".parse().expect("address"));
        let provoked = async {
            while !sh("ip neigh show dev wan0").contains("192.0.2.2 ") {
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(provoked, async {
            // Gives the netlink task its turns.
            tokio::task::yield_now().await;
        });
        sh("ip neigh replace 192.0.2.2 lladdr 02:00:00:00:00:02 dev wan0 nud reachable");
        assert_eq!(hop(&mut netlink).await, (50003, MacAddr([2, 0, 0, 0, 0, 2])));
    });
}

#[test]
fn routes_follow_the_device_and_leave_those_of_others_alone() {
    in_namespace(async || {
        let wanted = [("10.2.0.0/16", None), ("10.3.0.0/16", Some(254)), ("10.4.0.0/16", None)];
        let mut netlink = Netlink::start(watch(&wanted)).expect("started");
        let states = routes(&mut netlink).await;
        assert!(states.iter().all(|s| s.contains("waits for the device svti0")), "{states:?}");

        // A route of an earlier run that nobody wants any more, and one of somebody else.
        sh("ip link add svti0 type veth peer name svti0-x");
        sh("ip link set svti0 up");
        let mut states = routes(&mut netlink).await;
        while states.iter().any(|s| s.contains("down") || s.contains("waits")) {
            states = routes(&mut netlink).await;
        }
        let ours = sh(&format!("ip route show proto {ROUTE_PROTOCOL}"));
        assert!(ours.contains("10.3.0.0/16 dev svti0 scope link metric 254"), "{ours}");
        assert_eq!(ours.lines().count(), 3, "{ours}");

        // The device goes and comes back: so do the routes.
        sh("ip link del svti0");
        while !routes(&mut netlink).await.iter().all(|s| s.contains("waits")) {}
        sh("ip link add svti0 type veth peer name svti0-x");
        sh("ip link set svti0 up");
        sh("ip route add 10.99.0.0/16 dev svti0 proto static");
        sh(&format!("ip route add 10.98.0.0/16 dev svti0 proto {ROUTE_PROTOCOL}"));
        while routes(&mut netlink).await.iter().any(|s| s.contains("down") || s.contains("waits")) {}
        while sh("ip route show").contains("10.98.0.0/16") {
            tokio::task::yield_now().await;
        }

        // The process ends, and nothing may leave in clear by another route until the next one, whose profile is shorter.
        drop(netlink);
        for _ in 0..8 {
            tokio::task::yield_now().await; // the turns in which its task ends
        }
        let left = sh("ip route show dev svti0");
        assert_eq!(left.lines().filter(|l| l.starts_with("10.")).count(), 4, "{left}");
        let mut netlink = Netlink::start(watch(&[("10.2.0.0/16", None)])).expect("started");
        routes(&mut netlink).await;
        let left = sh("ip route show dev svti0");
        let left: Vec<_> =
            left.lines().filter_map(|l| l.split(' ').next()).filter(|p| p.starts_with("10.")).collect();
        assert_eq!(left, ["10.2.0.0/16", "10.99.0.0/16"]);
    });
}
