//! Two gateways, A and B, with one call between them.

use super::{Controlled, TestEngine, VecPacket, VecSink};
use crate::config::{Config, DontFragment, InsideMode, InsidePort, Limits, OutsidePort};
use crate::engine::AeadEngine;
use crate::lan_routers::LanRouters;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use sipsec_net::dp::{
    Adjacency, Direction, EspCipher, MediaBinding, Op, OuterDscp, SaSpec, Selector, Selectors, TunnelSpec,
};
use sipsec_net::{Instant, IpPrefix, Kbps, MacAddr, MediaPort, SaId, SecretBox, Spi, TunnelId};

/// The branch is A, the head-end B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    #[must_use]
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

    /// Its end of the media, as in SDP.
    #[must_use]
    pub const fn media(self) -> SocketAddr {
        match self {
            Self::A => SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50_012),
            Self::B => SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 24_825),
        }
    }

    #[must_use]
    pub const fn media_port(self) -> MediaPort {
        MediaPort(self.media().port())
    }

    /// A host of its LAN, `10.1.0.0/16` or `10.2.0.0/16`.
    #[must_use]
    pub const fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number(), 0, 9)
    }

    /// The host behind tunnel `n` of many.
    #[must_use]
    pub const fn host_of(self, n: u16) -> Ipv4Addr {
        let [high, low] = n.to_be_bytes();
        Ipv4Addr::new(10, self.number(), high, low)
    }

    /// Its LAN.
    #[must_use]
    pub fn lan(self) -> IpPrefix {
        IpPrefix::new(IpAddr::V4(Ipv4Addr::new(10, self.number(), 0, 0)), 16).expect("no host bits")
    }

    /// The SPI under which it receives.
    #[must_use]
    pub const fn spi(self) -> u32 {
        match self {
            Self::A => 0xc200_0002,
            Self::B => 0xc100_0001,
        }
    }
}

/// Keys of the call, the same for both directions' lengths but of different bytes.
#[derive(Clone, Debug)]
pub struct Keys {
    pub cipher: EspCipher,
    pub esn: bool,
    pub a_to_b: Vec<u8>,
    pub b_to_a: Vec<u8>,
}

impl Keys {
    #[must_use]
    pub fn new(cipher: EspCipher, esn: bool) -> Self {
        let keymat = |start: u8| (0..cipher.keymat_len() as u8).map(|i| start.wrapping_add(i)).collect();
        Self { cipher, esn, a_to_b: keymat(0), b_to_a: keymat(128) }
    }
}

/// A pipeline with its sink.
pub struct Gateway {
    pub side: Side,
    pub pipeline: Controlled,
    pub out: VecSink,
}

impl core::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gateway").field("side", &self.side).finish_non_exhaustive()
    }
}

impl Gateway {
    pub const TUNNEL: TunnelId = TunnelId(7);
    pub const SA_IN: SaId = SaId(1);
    pub const SA_OUT: SaId = SaId(2);
    /// Media port of the first of many tunnels.
    pub const FIRST_PORT: u16 = 20_000;
    pub const OUTSIDE_MTU: u16 = 1500;
    /// What 1500 bytes leave inside ESP in UDP over IPv4.
    pub const INNER_MTU: u16 = 1438;

    /// With its tunnel and route, without a call.
    #[must_use]
    pub fn new(side: Side, mode: InsideMode) -> Self {
        Self::with_engine(side, mode, Box::new(TestEngine))
    }

    #[must_use]
    pub fn with_engine(side: Side, mode: InsideMode, engine: Box<dyn AeadEngine>) -> Self {
        Self::up(side, Self::config(side, mode), engine)
    }

    #[must_use]
    pub fn with_config(side: Side, config: Config) -> Self {
        Self::up(side, config, Box::new(TestEngine))
    }

    /// A pipeline that refuses the tunnel would be at fault.
    fn up(side: Side, config: Config, engine: Box<dyn AeadEngine>) -> Self {
        let mut g = Self { side, pipeline: Controlled::new(config, engine), out: VecSink::with_frames(64) };
        g.apply(&[
            Op::TunnelAdd(Self::tunnel()),
            Op::RouteAdd { prefix: side.other().lan(), tunnel: Self::TUNNEL, adjacency: Adjacency::Tunnel },
        ]);
        g
    }

    /// In calls of so many tunnels at this rate, in host mode. Tunnel `n` leads to `10.x.(n / 256).(n mod 256)`, where `x` is
    /// the other side's number, and has a media port of its own.
    #[must_use]
    pub fn with_tunnels(
        side: Side,
        tunnels: u16,
        rate: Kbps,
        keys: &Keys,
        engine: Box<dyn AeadEngine>,
    ) -> Self {
        let mut config = Self::config(side, InsideMode::Host);
        config.limits = Limits::for_tunnels(tunnels.into(), 1024);
        let mut g = Self { side, pipeline: Controlled::new(config, engine), out: VecSink::default() };
        for n in 0..tunnels {
            g.apply(&Self::tunnel_of_many(side, n, rate, keys));
        }
        g
    }

    /// Tunnel `n` of many, in a call.
    #[must_use]
    pub fn tunnel_of_many(side: Side, n: u16, rate: Kbps, keys: &Keys) -> Vec<Op> {
        let id = u32::from(n);
        let (mut tunnel, mut binding) = (Self::tunnel(), Self::binding(side, rate));
        tunnel.tunnel = TunnelId(id);
        binding.tunnel = tunnel.tunnel;
        binding.outside_local.set_port(Self::FIRST_PORT + n);
        binding.remote.set_port(Self::FIRST_PORT + n);
        let sa = |direction, sa| SaSpec {
            sa: SaId(sa),
            tunnel: TunnelId(id),
            spi: Spi::new(0x1_0000 + id).expect("not reserved"),
            media_port: MediaPort(Self::FIRST_PORT + n),
            ..Self::sa(side, direction, keys)
        };
        let prefix = IpPrefix::new(side.other().host_of(n).into(), 32).expect("a host");
        vec![
            Op::TunnelAdd(tunnel),
            Op::RouteAdd { prefix, tunnel: tunnel.tunnel, adjacency: Adjacency::Tunnel },
            Op::MediaOpen(binding),
            Op::SaAdd(sa(Direction::In, 2 * id)),
            Op::SaAdd(sa(Direction::Out, 2 * id + 1)),
            Op::TunnelBind { tunnel: tunnel.tunnel, outbound: SaId(2 * id + 1) },
        ]
    }

    #[must_use]
    pub const fn config(side: Side, mode: InsideMode) -> Config {
        let n = side.number();
        Config {
            outside: OutsidePort {
                mac: MacAddr([2, 0, 0, 0, 0, 0xa0 + n]),
                mtu: Self::OUTSIDE_MTU,
                dont_fragment: DontFragment::Clear,
            },
            inside: InsidePort {
                mac: MacAddr([2, 0, 0, 0, 1, n]),
                next_hop: MacAddr([2, 0, 0, 0, 2, n]),
                routers: LanRouters::NONE,
                mode,
            },
            limits: Limits::for_tunnels(16, 1024),
            flow_key: 0,
            nat_seed: [1, 2, 3],
        }
    }

    #[must_use]
    pub const fn tunnel() -> TunnelSpec {
        TunnelSpec::new(Self::TUNNEL, Self::INNER_MTU)
    }

    #[must_use]
    pub const fn binding(side: Side, rate: Kbps) -> MediaBinding {
        MediaBinding {
            tunnel: Self::TUNNEL,
            inside_local: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 255, 0, 1)), 4500),
            outside_local: side.media(),
            remote: side.other().media(),
            rate,
            next_hop: MacAddr([2, 0, 0, 0, 0, 0xb0 + side.number()]),
            outer_dscp: OuterDscp::Fixed(0),
        }
    }

    /// One SA of this side.
    #[must_use]
    pub fn sa(side: Side, direction: Direction, keys: &Keys) -> SaSpec {
        let (sa, sender) = match direction {
            Direction::In => (Self::SA_IN, side.other()),
            Direction::Out => (Self::SA_OUT, side),
        };
        let keymat = if sender == Side::A { &keys.a_to_b } else { &keys.b_to_a };
        SaSpec {
            sa,
            tunnel: Self::TUNNEL,
            direction,
            spi: Spi::new(sender.other().spi()).expect("not reserved"),
            media_port: side.media_port(),
            cipher: keys.cipher,
            keymat: SecretBox::new(keymat).expect("fits"),
            esn: keys.esn,
            replay_window: 1024,
            selectors: Self::selectors(),
            soft_bytes_max: 0,
            hard_bytes_max: 0,
        }
    }

    /// Everything, of both families.
    #[must_use]
    pub const fn selectors() -> Selectors {
        let v6 = Selector {
            addr_start: IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
            addr_end: IpAddr::V6(core::net::Ipv6Addr::from_bits(u128::MAX)),
            protocol: 0,
            port_start: 0,
            port_end: u16::MAX,
        };
        let all = [Some(Selector::ANY_V4), Some(v6), None, None];
        Selectors { local: all, remote: all }
    }

    /// What the control plane sends when the SAs are negotiated.
    #[must_use]
    pub fn session(side: Side, keys: &Keys) -> Vec<Op> {
        vec![
            Op::SaAdd(Self::sa(side, Direction::In, keys)),
            Op::SaAdd(Self::sa(side, Direction::Out, keys)),
            Op::TunnelBind { tunnel: Self::TUNNEL, outbound: Self::SA_OUT },
            Op::ReplayTrigger(Self::TUNNEL),
        ]
    }

    /// Both gateways in a call at this rate.
    #[must_use]
    pub fn pair(mode: InsideMode, rate: Kbps, keys: &Keys) -> (Self, Self) {
        let up = |side| {
            let mut g = Self::new(side, mode);
            g.call(rate, keys);
            g
        };
        (up(Side::A), up(Side::B))
    }

    pub fn call(&mut self, rate: Kbps, keys: &Keys) {
        self.apply(&[Op::MediaOpen(Self::binding(self.side, rate))]);
        self.apply(&Self::session(self.side, keys));
    }

    /// # Panics
    /// If the transaction is refused.
    pub fn apply(&mut self, ops: &[Op]) {
        let applied = self.pipeline.apply(Instant::ZERO, ops);
        assert!(applied.is_ok(), "{applied:?}");
    }

    /// An IP packet from the LAN.
    pub fn lan(&mut self, now: Instant, ip: &[u8]) {
        self.lan_to(now, Self::config(self.side, InsideMode::Host).inside.mac, ip);
    }

    /// The same in a frame for this station.
    pub fn lan_to(&mut self, now: Instant, station: MacAddr, ip: &[u8]) {
        self.pipeline.from_inside(now, lan_frame(station, ip), &mut self.out);
    }

    /// IP packets from the LAN in one batch.
    pub fn lan_batch(&mut self, now: Instant, packets: &[Vec<u8>]) {
        let station = Self::config(self.side, InsideMode::Host).inside.mac;
        let frames = packets.iter().map(|ip| lan_frame(station, ip));
        self.pipeline.batch_from_inside(now, frames, &mut self.out);
    }

    /// A frame from the WAN.
    pub fn wan(&mut self, now: Instant, frame: VecPacket) {
        self.pipeline.from_outside(now, frame, &mut self.out);
    }

    pub fn poll(&mut self, now: Instant) {
        self.pipeline.poll(now, &mut self.out);
    }

    /// Everything it has sent to the WAN arrives at `other`; how many frames.
    pub fn carry_to(&mut self, now: Instant, other: &mut Self) -> usize {
        let frames = std::mem::take(&mut self.out.outside);
        let count = frames.len();
        frames.into_iter().for_each(|f| other.wan(now, f));
        count
    }
}

/// An IP packet in Ethernet.
pub(super) fn lan_frame(station: MacAddr, ip: &[u8]) -> VecPacket {
    let ether_type: u16 = if ip.first().is_some_and(|b| b >> 4 == 6) { 0x86dd } else { 0x0800 };
    let mut frame = vec![0; 12];
    frame[..6].copy_from_slice(&station.0);
    frame.extend(ether_type.to_be_bytes());
    frame.extend_from_slice(ip);
    VecPacket::new(&frame)
}
