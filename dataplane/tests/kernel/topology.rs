//! Two gateways joined by a WAN, each with a LAN host behind it:
//!
//! ```text
//!  la (10.1.0.2) ── lan0 a wan0 ── 192.0.2.0/24 ── wan0 b lan0 ── lb (10.2.0.2)
//! ```

use crate::support::sh;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Network namespaces of one test, removed at its end.
pub struct Topology {
    tag: String,
    pub dir: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::A => 1,
            Self::B => 2,
        }
    }

    pub const fn wan(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number())
    }

    pub const fn wan_mac(self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number()]
    }

    pub const fn lan_host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number(), 0, 2)
    }

    pub fn lan_prefix(self) -> String {
        format!("10.{}.0.0/16", self.number())
    }
}

impl Topology {
    /// `test` tells the namespaces of concurrent tests apart.
    pub fn new(test: &str) -> Self {
        let tag = format!("sdp-{test}");
        let dir = std::env::temp_dir().join(format!("{tag}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temporary directory");
        let topology = Self { tag, dir };
        topology.clean();
        for ns in topology.namespaces() {
            sh(&format!("ip netns add {ns}"));
            sh(&format!("ip netns exec {ns} sysctl -qw net.ipv6.conf.all.disable_ipv6=1"));
            sh(&format!("ip netns exec {ns} sysctl -qw net.ipv6.conf.default.disable_ipv6=1"));
            sh(&format!("ip -n {ns} link set lo up"));
        }
        let [a, b] = [Side::A, Side::B].map(|s| topology.gateway(s));
        sh(&format!("ip -n {a} link add wan0 type veth peer name wan0 netns {b}"));
        for side in [Side::A, Side::B] {
            let (gw, host) = (topology.gateway(side), topology.host(side));
            let mac = side.wan_mac().map(|b| format!("{b:02x}")).join(":");
            sh(&format!("ip -n {gw} link set wan0 address {mac} up"));
            sh(&format!("ip -n {gw} addr add {}/24 dev wan0", side.wan()));
            // A default route over the WAN: packets that are not kept in the tunnel would leave here.
            sh(&format!("ip -n {gw} route add default via {}", side.other().wan()));
            sh(&format!("ip netns exec {gw} sysctl -qw net.ipv4.ip_forward=1"));
            sh(&format!("ip -n {gw} link add lan0 type veth peer name eth0 netns {host}"));
            sh(&format!("ip -n {gw} addr add 10.{}.0.1/24 dev lan0", side.number()));
            sh(&format!("ip -n {gw} link set lan0 up"));
            sh(&format!("ip -n {host} addr add {}/24 dev eth0", side.lan_host()));
            sh(&format!("ip -n {host} link set eth0 up"));
            sh(&format!("ip -n {host} route add default via 10.{}.0.1", side.number()));
            // Generic checksums would reach the far sockets unfinished.
            sh(&format!("ip netns exec {host} ethtool -K eth0 tx off tso off gso off"));
        }
        topology
    }

    pub fn gateway(&self, side: Side) -> String {
        format!("{}-{}", self.tag, side.name())
    }

    pub fn host(&self, side: Side) -> String {
        format!("{}-l{}", self.tag, side.name())
    }

    fn namespaces(&self) -> [String; 4] {
        let (a, b) = (Side::A, Side::B);
        [self.gateway(a), self.gateway(b), self.host(a), self.host(b)]
    }

    fn clean(&self) {
        for ns in self.namespaces() {
            // Absent is what is wanted.
            let _ = std::process::Command::new("ip").args(["netns", "del", &ns]).output();
        }
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        self.clean();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
