//! Any sequence of packets and pauses against a model that knows the rules of RFC 4787 and nothing of the tables.

use super::packet::{ACK, Packet, SYN};
use super::{SESSIONS, T, at, ip, nat_of, policy, pool};
use crate::Nat;
use core::net::{Ipv4Addr, SocketAddrV4};
use proptest::prelude::*;
use sipsec_net::DropReason;
use sipsec_net::nat::{NatFiltering, NatPolicy, NatProtocol, NatTimeouts};
use std::collections::{BTreeMap, BTreeSet};

const PER_HOST: u32 = 20;
const FIN: u8 = 1;
const RST: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    Out {
        protocol: usize,
        host: u8,
        port: u16,
        remote: (u8, u16),
        flags: u8,
    },
    /// To the global endpoint of the n-th mapping that there ever was.
    Back {
        nth: usize,
        remote: (u8, u16),
        flags: u8,
    },
    Stray {
        port: u16,
        remote: (u8, u16),
    },
    Pause {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let flags = || prop_oneof![3 => Just(SYN), 2 => Just(SYN | ACK), 3 => Just(ACK), 2 => Just(ACK | FIN), 1 => Just(RST)];
    let remote = || (0..4u8, 1..4u16);
    let pause = prop_oneof![4 => 0..20u64, 2 => 200..330u64, 1 => 7000..8000u64];
    prop_oneof![
        8 => (0..3usize, 1..6u8, 1000..1008u16, remote(), flags())
            .prop_map(|(protocol, host, port, remote, flags)| Step::Out { protocol, host, port, remote, flags }),
        6 => (any::<usize>(), remote(), flags()).prop_map(|(nth, remote, flags)| Step::Back { nth, remote, flags }),
        1 => (any::<u16>(), remote()).prop_map(|(port, remote)| Step::Stray { port, remote }),
        2 => pause.prop_map(|seconds| Step::Pause { seconds }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Open,
    /// One side has sent.
    Half {
        inside: bool,
    },
    Whole {
        fin_out: bool,
        fin_back: bool,
    },
    Over,
}

impl Life {
    fn begin(protocol: NatProtocol, out: bool, flags: u8) -> Self {
        match protocol {
            NatProtocol::Tcp if flags & RST != 0 => Self::Over,
            NatProtocol::Tcp => Self::Half { inside: out },
            _ => Self::Open,
        }
    }

    fn packet(self, out: bool, flags: u8) -> Self {
        let fin = flags & FIN != 0;
        match self {
            Self::Open => Self::Open,
            _ if flags & RST != 0 => Self::Over,
            Self::Over if flags & SYN != 0 => Self::Half { inside: out },
            Self::Half { inside } if inside != out => {
                Self::Whole { fin_out: out && fin, fin_back: !out && fin }
            }
            Self::Whole { fin_out, fin_back } => {
                let (fin_out, fin_back) = (fin_out || out && fin, fin_back || !out && fin);
                if fin_out && fin_back { Self::Over } else { Self::Whole { fin_out, fin_back } }
            }
            other => other,
        }
    }

    fn timeout(self, protocol: NatProtocol) -> u64 {
        match (self, protocol) {
            (_, NatProtocol::Udp) => 300,
            (_, NatProtocol::Icmp) => 60,
            (Self::Whole { .. }, _) => 7440,
            (Self::Half { inside: false }, _) => 6,
            _ => 240,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Session {
    life: Life,
    last: u64,
}

type Key = (NatProtocol, SocketAddrV4, SocketAddrV4);

/// What the tables should hold.
struct World {
    nat: Nat,
    now: u64,
    filtering: NatFiltering,
    globals: BTreeMap<(NatProtocol, SocketAddrV4), SocketAddrV4>,
    sessions: BTreeMap<Key, Session>,
    ever: Vec<(NatProtocol, SocketAddrV4)>,
}

impl World {
    fn new(filtering: NatFiltering) -> Self {
        let policy = NatPolicy { filtering, sessions_per_host_max: PER_HOST, ..policy() };
        assert_eq!(policy.timeouts, NatTimeouts::default());
        Self {
            nat: nat_of(&[pool()], policy),
            now: 1000,
            filtering,
            globals: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ever: Vec::new(),
        }
    }

    fn of_host(&self, host: Ipv4Addr) -> u32 {
        self.sessions.keys().filter(|(_, local, _)| *local.ip() == host).count() as u32
    }

    fn out(&mut self, packet: &Packet) {
        let Packet { protocol, source: local, destination: remote, tcp_flags: flags, .. } = *packet;
        let key = (protocol, local, remote);
        let result = self.nat.send(at(self.now), packet);
        let is_new = !self.sessions.contains_key(&key);
        let host_full = is_new && self.of_host(*local.ip()) >= PER_HOST;
        let table_full = is_new && self.sessions.len() as u32 >= SESSIONS;
        match result {
            Err(DropReason::NatHostLimit) => assert!(host_full),
            Err(DropReason::NatTableFull) => assert!(table_full),
            Err(other) => panic!("{other:?}"),
            Ok(sent) => {
                assert!(!host_full && !table_full);
                let known = self.globals.get(&(protocol, local)).copied();
                let global = known.unwrap_or(sent.source);
                assert_eq!(sent, Packet { source: global, ..packet.clone() }, "the rest is as it was");
                if known.is_none() {
                    let others = self.globals.iter().filter(|((p, _), g)| *p == protocol && **g == global);
                    assert_eq!(others.count(), 0, "no other mapping has it");
                    assert!(
                        [ip("192.0.2.1"), ip("192.0.2.2")].contains(global.ip()) && global.port() >= 1024
                    );
                    // RFC 4787 REQ-2: all of a host by one address.
                    let same_host = |((_, l), _): &(&(_, SocketAddrV4), _)| l.ip() == local.ip();
                    assert!(self.globals.iter().filter(same_host).all(|(_, g)| g.ip() == global.ip()));
                    // RFC 4787 REQ-4; two blocks have room for more of either parity than the steps use.
                    assert_eq!(global.port() % 2, local.port() % 2);
                    self.globals.insert((protocol, local), global);
                    self.ever.push((protocol, global));
                }
                self.met(key, true, flags);
                if protocol != NatProtocol::Tcp {
                    let back = self.nat.receive(at(self.now), &sent.answer());
                    assert_eq!(back, Ok(packet.answer()), "there and back");
                }
            }
        }
    }

    fn back(&mut self, packet: &Packet) {
        let Packet { protocol, source: remote, destination: global, tcp_flags: flags, .. } = *packet;
        let result = self.nat.receive(at(self.now), packet);
        let local =
            self.globals.iter().find(|((p, _), g)| *p == protocol && **g == global).map(|((_, l), _)| *l);
        let Some(local) = local else {
            assert_eq!(result, Err(DropReason::NatNoTranslation));
            return;
        };
        let key = (protocol, local, remote);
        let is_new = !self.sessions.contains_key(&key);
        let knows = self.sessions.keys().any(|(p, l, r)| (*p, *l, r.ip()) == (protocol, local, remote.ip()));
        let lets_in = match self.filtering {
            _ if protocol == NatProtocol::Icmp => false,
            NatFiltering::EndpointIndependent => true,
            NatFiltering::AddressDependent => knows,
            NatFiltering::AddressAndPortDependent => false,
        };
        match result {
            Err(DropReason::NatFiltered) => assert!(is_new && !lets_in),
            Err(DropReason::NatHostLimit) => assert!(is_new && self.of_host(*local.ip()) >= PER_HOST),
            Err(DropReason::NatTableFull) => assert!(is_new && self.sessions.len() as u32 >= SESSIONS),
            Err(other) => panic!("{other:?}"),
            Ok(received) => {
                assert!(!is_new || lets_in);
                assert_eq!(received, Packet { destination: local, ..packet.clone() });
                self.met(key, false, flags);
            }
        }
    }

    fn met(&mut self, key: Key, out: bool, flags: u8) {
        let life = match self.sessions.get(&key) {
            Some(session) => session.life.packet(out, flags),
            None => Life::begin(key.0, out, flags),
        };
        self.sessions.insert(key, Session { life, last: self.now });
    }

    fn pause(&mut self, seconds: u64) {
        self.now += seconds;
        self.nat.poll(at(self.now));
        let now = self.now;
        self.sessions.retain(|(protocol, ..), s| s.last + s.life.timeout(*protocol) >= now);
        let sessions = &self.sessions;
        self.globals.retain(|(p, l), _| sessions.keys().any(|(sp, sl, _)| (sp, sl) == (p, l)));
    }

    fn compare(&self) {
        let statistics = self.nat.statistics();
        assert_eq!(statistics.sessions as usize, self.sessions.len());
        assert_eq!(statistics.mappings as usize, self.globals.len());
        let hosts: BTreeSet<_> = self.globals.keys().map(|(_, l)| l.ip()).collect();
        assert_eq!(statistics.hosts as usize, hosts.len());
        let blocks: BTreeSet<_> = self.globals.values().map(|g| (g.ip(), g.port() / 64)).collect();
        assert_eq!(statistics.blocks as usize, blocks.len());
        assert!(statistics.sessions <= SESSIONS && statistics.sessions_peak <= SESSIONS);
        let mut shown = BTreeSet::new();
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.nat.page(at(self.now), from, 7, |e| {
                let left = self.sessions[&(e.protocol, e.inside_local, e.outside_global)];
                assert_eq!(u64::from(e.idle_s), self.now - left.last);
                assert_eq!(u64::from(e.left_s), left.last + left.life.timeout(e.protocol) + 1 - self.now);
                assert_eq!(e.inside_global, self.globals[&(e.protocol, e.inside_local)]);
                shown.insert((e.protocol, e.inside_local, e.outside_global));
            });
        }
        assert!(shown.iter().eq(self.sessions.keys()));
    }

    /// Every block that was got is given back, by the same host.
    fn end(mut self) {
        self.pause(10_000);
        self.compare();
        assert_eq!(self.nat.statistics().sessions, 0);
        let mut held = BTreeSet::new();
        while let Some(block) = self.nat.take_block() {
            let key = (block.global, block.port_first, block.port_last, block.host);
            assert!(if block.is_allocated { held.insert(key) } else { held.remove(&key) });
        }
        assert!(held.is_empty() && self.nat.statistics().log_lost == 0);
        assert_eq!(self.nat.deadline(), sipsec_net::Instant::MAX);
    }
}

fn remote((host, port): (u8, u16), protocol: NatProtocol) -> SocketAddrV4 {
    let port = if protocol == NatProtocol::Icmp { 0 } else { port };
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, host), port)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_packets_is_as_the_rfcs_say(
        steps in prop::collection::vec(step(), 1..250),
        filtering in prop_oneof![
            Just(NatFiltering::EndpointIndependent),
            Just(NatFiltering::AddressDependent),
            Just(NatFiltering::AddressAndPortDependent)
        ],
    ) {
        let mut world = World::new(filtering);
        for step in steps {
            match step {
                Step::Out { protocol, host, port, remote: to, flags } => {
                    let protocol = NatProtocol::ALL[protocol];
                    let local = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, host), port);
                    let packet = Packet::new(protocol, local, remote(to, protocol));
                    let tcp_flags = if protocol == NatProtocol::Tcp { flags } else { SYN };
                    world.out(&Packet { tcp_flags, ..packet });
                }
                Step::Back { nth, remote: from, flags } => {
                    let Some((protocol, global)) = world.ever.get(nth % world.ever.len().max(1)).copied() else { continue };
                    let packet = Packet::new(protocol, remote(from, protocol), global);
                    let tcp_flags = if protocol == NatProtocol::Tcp { flags } else { SYN };
                    world.back(&Packet { tcp_flags, icmp_type: if protocol == NatProtocol::Icmp { 0 } else { 8 }, ..packet });
                }
                Step::Stray { port, remote: from } => {
                    let global = SocketAddrV4::new(ip("192.0.2.1"), port);
                    world.back(&Packet::new(NatProtocol::Udp, remote(from, NatProtocol::Udp), global));
                }
                Step::Pause { seconds } => world.pause(seconds),
            }
            world.compare();
        }
        world.end();
    }

    /// No bytes make it panic, and what it lets out bears none of the addresses that it hides.
    #[test]
    fn any_bytes(
        mut bytes in prop::collection::vec(any::<u8>(), 0..120),
        protocol in prop_oneof![Just(1u8), Just(6), Just(17), any::<u8>()],
        flags in prop_oneof![3 => Just([0u8, 0]), 1 => any::<[u8; 2]>()],
        quoted in any::<bool>(),
        out in any::<bool>(),
    ) {
        let mut nat = nat_of(&[pool()], policy());
        if bytes.len() >= 20 {
            bytes[0] = 0x45 + (bytes[0] & 1);
            bytes[6..8].copy_from_slice(&flags);
            bytes[9] = protocol;
            let near = if out { 12 } else { 16 };
            bytes[near..near + 4].copy_from_slice(&if out { [10, 1, 0, 9] } else { [192, 0, 2, 1] });
            if quoted && bytes.len() >= 50 && protocol == 1 {
                let at = usize::from(bytes[0] & 15) * 4;
                bytes[at] = 3;
                bytes[at + 8] = 0x45;
                super::packet::put_check(&mut bytes[at..], 2, 0);
            }
        }
        let result = if out { nat.outbound(at(5), T, &mut bytes) } else { nat.inbound(at(5), T, &mut bytes) };
        if out && bytes.len() >= 20 && result.is_ok() {
            prop_assert_ne!(&bytes[12..16], &[10, 1, 0, 9]);
        }
        if !out && bytes.len() >= 20 {
            prop_assert!(result.is_err(), "there is no translation");
        }
    }
}
