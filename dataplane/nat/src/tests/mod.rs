mod errors;
mod golden;
mod model;
mod packet;
mod rules;

use crate::{Nat, NatLimits};
use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;
use packet::Packet;
use sipsec_net::nat::{NatPolicy, NatProtocol, NatRule};
use sipsec_net::{DropReason, Instant, IpPrefix, TunnelId};

/// The tunnel's place in these tests.
const T: u32 = 3;
const SESSIONS: u32 = 64;

fn prefix(text: &str) -> IpPrefix {
    text.parse().expect("prefix")
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("address")
}

fn end(text: &str) -> SocketAddrV4 {
    text.parse().expect("endpoint")
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

/// 10.1.0.0/16 by 192.0.2.1 and 192.0.2.2.
fn pool() -> NatRule {
    NatRule::Overload {
        source: prefix("10.1.0.0/16"),
        destination: IpPrefix::ANY_V4,
        first: ip("192.0.2.1"),
        last: ip("192.0.2.2"),
        own_address: false,
    }
}

fn own_address() -> NatRule {
    NatRule::Overload {
        source: prefix("10.1.0.0/16"),
        destination: IpPrefix::ANY_V4,
        first: ip("192.0.2.1"),
        last: ip("192.0.2.1"),
        own_address: true,
    }
}

/// Blocks of 64 ports, two of them for each host.
fn policy() -> NatPolicy {
    NatPolicy { block_ports: 64, blocks_per_host_max: 2, ..NatPolicy::default() }
}

fn nat_of(rules: &[NatRule], policy: NatPolicy) -> Nat {
    let mut nat = Nat::new(NatLimits { tunnels_max: 8, sessions_max: SESSIONS }, [1, 2, 3]);
    nat.set_policy(policy);
    for rule in rules {
        assert!(rule.is_valid(), "{rule:?}");
        nat.add_rule(T, TunnelId(7), rule);
    }
    nat
}

fn nat(rules: &[NatRule]) -> Nat {
    nat_of(rules, policy())
}

impl Nat {
    /// Out, and what comes out; the checksums that a receiver computes are those that the packet bears.
    fn send(&mut self, now: Instant, packet: &Packet) -> Result<Packet, DropReason> {
        let mut bytes = packet.bytes();
        self.outbound(now, T, &mut bytes)?;
        Ok(Packet::read(&bytes))
    }

    fn receive(&mut self, now: Instant, packet: &Packet) -> Result<Packet, DropReason> {
        let mut bytes = packet.bytes();
        self.inbound(now, T, &mut bytes)?;
        Ok(Packet::read(&bytes))
    }

    /// UDP from here to there; the global endpoint that it got.
    fn udp(&mut self, now: Instant, from: &str, to: &str) -> Result<SocketAddrV4, DropReason> {
        self.send(now, &Packet::new(NatProtocol::Udp, end(from), end(to))).map(|p| p.source)
    }
}
