//! Route policy with the kernel of a test's own namespace, and a line whose other end answers.

use crate::support::sh;
use sipsec_controlplane::net::netlink::{self, Netlink, Routed, Watch};
use sipsec_controlplane::net::track::{Change, Policy, Setup, Track};
use sipsec_track::Event;
use sipsec_track::config::{Config, NextHop, Object, Operation, Probe, Route, Start, Table, What};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn operation(id: u32, probe: Probe) -> Operation {
    Operation {
        id,
        name: None,
        probe,
        source: None,
        device: None,
        frequency: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        threshold: Duration::from_millis(100),
        up_count: 1,
        down_count: 3,
        start: Start::Now,
        lifetime: None,
    }
}

pub fn reachability(id: u32) -> Object {
    Object {
        id,
        what: What::Reachability { operation: id },
        delay_up: Duration::ZERO,
        delay_down: Duration::ZERO,
        damping: None,
    }
}

pub fn route(prefix: &str, next: NextHop, distance: u8, track: Option<u32>) -> Route {
    Route {
        prefix: prefix.parse().expect("a prefix"),
        table: Table::Main,
        next,
        distance,
        metric: None,
        track,
        name: None,
    }
}

pub fn routed(config: &Config) -> Routed {
    let tunnel = |r: &&Route| matches!(r.next, NextHop::Tunnel(_));
    Routed {
        tunnels: config.routes.iter().filter(tunnel).map(|r| r.prefix).collect(),
        elsewhere: config.routes.iter().filter(|r| !tunnel(r)).map(|r| r.prefix).collect(),
        ..Routed::default()
    }
}

pub struct Gateway {
    pub track: Track,
    pub netlink: Netlink,
}

impl Gateway {
    pub fn start(config: Config) -> Self {
        Self::start_with(config, None)
    }

    pub fn start_with(config: Config, ledger: Option<PathBuf>) -> Self {
        let watch = Watch {
            wan: "wan0".into(),
            families: (true, false),
            svti: Some("svti0".into()),
            routed: routed(&config),
            ledger,
        };
        let netlink = Netlink::start(watch);
        let setup = Setup {
            policy: Policy { config, ..Policy::default() },
            svti: Some("svti0".into()),
            drain_table: "sipsec-drain-test".into(),
        };
        Self { track: Track::start(setup, netlink.routes()).expect("started"), netlink }
    }

    /// The next event; what netlink tells meanwhile is handed on, as the loop does.
    pub async fn event(&mut self) -> Event {
        loop {
            tokio::select! {
                change = self.track.next() => if let Change::Event(event) = change { return event },
                change = self.netlink.next() => {
                    if let netlink::Change::Refused { prefix, wanted, reason } = change {
                        self.track.refused(prefix, wanted, reason);
                    }
                }
            }
        }
    }

    /// Until `ip route` says what is wanted.
    pub async fn until(&mut self, line: &str, fits: impl Fn(&str) -> bool) {
        while !fits(&sh(line)) {
            let _ = tokio::time::timeout(Duration::from_millis(2), self.event()).await;
        }
    }
}

/// A primary line over a veth whose other end answers, and a sVTI.
pub fn network() -> Far {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let far = Far(format!("track-far-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
    sh("ip link add wan1 type veth peer name far1");
    sh("ip link add svti0 type veth peer name svti0-x");
    sh(&format!("ip netns add {}", far.0));
    sh(&format!("ip link set far1 netns {}", far.0));
    far.sh("addr add 192.0.2.1/24 dev far1");
    far.sh("link set far1 up");
    far.sh("link set lo up");
    sh("ip addr add 192.0.2.2/24 dev wan1");
    for device in ["wan1", "svti0-x", "svti0"] {
        sh(&format!("ip link set {device} up"));
    }
    far
}

/// The namespace of the far end; removed also if the test fails.
pub struct Far(pub String);

impl Far {
    pub fn sh(&self, words: &str) {
        sh(&format!("ip -n {} {words}", self.0));
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}
