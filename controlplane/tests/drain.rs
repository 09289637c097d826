//! Flows that stay in tunnels, in a network namespace of this test's own. Needs root and nft.

mod support;

use sipsec_controlplane::clock;
use sipsec_controlplane::net::drain::{Drains, Rules, Setup};
use sipsec_net::IpPrefix;
use std::time::Duration;
use support::{in_namespace, sh};

const TABLE: &str = "sipsec-drain-branch";

fn rules() -> Rules {
    Rules { table: TABLE.into(), devices: vec!["svti0".into()], quiet: Duration::from_secs(30) }
}

fn start(rules: Option<Rules>) -> Drains {
    Drains::start(Setup { svti: "svti0".into(), table: TABLE.into(), rules })
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..100 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within 10 s: {what}\n{}{}", sh("nft list ruleset"), sh("ip rule show"));
}

fn tables() -> String {
    sh("nft list ruleset")
}

fn steers() -> bool {
    tables().contains("jump steer")
}

/// The routes of the table that marked packets are routed by.
fn routes(family: &str) -> String {
    let rules = sh(&format!("ip {family} rule show"));
    let rule = rules.lines().find(|line| line.contains("fwmark 0x10000000/0x10000000"));
    let table = rule.and_then(|rule| rule.split("lookup ").nth(1)?.split_whitespace().next());
    table.map(|table| sh(&format!("ip {family} route show table {table}"))).unwrap_or_default()
}

fn device() {
    sh("ip link add svti0 type veth peer name far0");
    sh("ip link set svti0 up");
    sh("ip link set far0 up");
}

#[test]
fn flows_are_kept_released_and_counted() {
    in_namespace(async || {
        device();
        let prefix: IpPrefix = "10.2.0.0/16".parse().expect("a prefix");
        let v6: IpPrefix = "2001:db8:2::/48".parse().expect("a prefix");
        let drains = start(Some(rules()));
        until("the table", || tables().contains("jump record")).await;
        assert!(!steers() && routes("-4").is_empty());
        for prefix in [prefix, v6] {
            let end = clock::now() + Duration::from_secs(60);
            assert_eq!(drains.keep(vec![(prefix, "svti0".into(), end)]).await, Ok(()));
        }
        assert!(steers(), "in force when it returns");
        assert!(
            routes("-4").contains("10.2.0.0/16 via 169.254.83.1 dev svti0 proto 182"),
            "{}",
            routes("-4")
        );
        assert!(
            routes("-6").contains("2001:db8:2::/48 via fe80::83 dev svti0 proto 182"),
            "{}",
            routes("-6")
        );
        for (set, flow) in [
            ("flows4", "10.1.0.2 . 10.2.0.2 . tcp . 5000 . 80"),
            ("flows4", "10.1.0.2 . 10.3.0.2 . tcp . 5000 . 80"),
            ("flows6", "2001:db8:1::2 . 2001:db8:2::2 . udp . 5000 . 53"),
        ] {
            sh(&format!("nft add element inet {TABLE} {set} {{ {flow} }}"));
        }
        let counts = drains.count().await.expect("counted");
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(prefix, 1), (v6, 1)]);
        // Another program begins with an empty kernel: what is remembered is lost, and the rest is put back.
        sh("nft flush ruleset");
        until("the table after a flush", steers).await;
        drains.release(&[v6]);
        until("the rule of IPv6 to go", || routes("-6").is_empty()).await;
        assert!(steers() && !routes("-4").is_empty());
        drains.release(&[prefix]);
        until("the rule of IPv4 to go", || routes("-4").is_empty() && !steers()).await;
        assert!(tables().contains("jump record"), "flows are still remembered");
        drains.set_rules(None);
        until("the table to go", || !tables().contains(TABLE)).await;
        let end = clock::now() + Duration::from_secs(60);
        assert!(drains.keep(vec![(prefix, "svti0".into(), end)]).await.is_err(), "not without rules");
    });
}

/// A primary of many branches is back: their flows stay by one change of the kernel's tables.
#[test]
fn many_prefixes_are_kept_at_once() {
    const MANY: u16 = 1000;
    in_namespace(async || {
        device();
        let drains = start(Some(rules()));
        until("the table", || tables().contains("jump record")).await;
        let end = clock::now() + Duration::from_secs(60);
        let prefix = |n: u16| -> IpPrefix {
            format!("10.{}.{}.0/24", 2 + n / 256, n % 256).parse().expect("a prefix")
        };
        let list = (0..MANY).map(|n| (prefix(n), "svti0".into(), end)).collect();
        assert_eq!(drains.keep(list).await, Ok(()));
        assert_eq!(routes("-4").lines().count(), usize::from(MANY));
        assert_eq!(drains.count().await.expect("counted").len(), usize::from(MANY));
        drains.release(&(0..MANY).map(prefix).collect::<Vec<_>>());
        until("the routes to go", || routes("-4").is_empty() && !steers()).await;
    });
}

#[test]
fn what_a_crash_has_left_is_removed() {
    in_namespace(async || {
        device();
        for next in [Some(rules()), None] {
            let drains = start(Some(rules()));
            let end = clock::now() + Duration::from_secs(60);
            let prefix = "10.2.0.0/16".parse().expect("a prefix");
            assert_eq!(drains.keep(vec![(prefix, "svti0".into(), end)]).await, Ok(()));
            drop(drains);
            assert!(steers() && !routes("-4").is_empty(), "the deadline ends it, if no other run does");
            let is_kept = next.is_some();
            let drains = start(next);
            until("the end of it", || routes("-4").is_empty() && !steers()).await;
            until("the table", || tables().contains(TABLE) == is_kept).await;
            drop(drains);
        }
    });
}
