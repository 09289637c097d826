//! The page: which stage follows which.
//!
//! ```text
//! inside ─► MAC ─► parse ─► TTL ─► fib ─► mss ─► pmtu ─► SA? ──yes──► shaper ─► NAT ─► selector ─► prepare ═► seal ═► outside
//!                                                  └───no────► trigger, Event::Acquire
//! outside ─► outer ─► (fragments put together) ─► media port ─► source ─► IKE: punt
//!                                             ESP: sad ─► replay check ═► open ═► commit ─► parse ─► selector ─► NAT ─► source
//!                                                  ─► ecn ─► mss ─► TTL ─► inside (router mode: or another tunnel)
//! ```
//! `─►` is for one packet, `═►` for all packets of a batch: they wait for each other there, in the order in which they came
//! ([`SealBatch`], [`OpenBatch`]). A batch of one packet is the same as a packet alone.
//!
//! This file goes as far as the tunnel on the way out and as far as the SPI on the way in; `graph/outbound.rs` and
//! `graph/inbound.rs` go on, `graph/due.rs` has what waits for its time. Every early end is exactly one [`DropReason`].

mod ahead;
mod due;
mod fragments;
mod handed;
mod hello;
mod inbound;
mod inside;
mod outbound;
mod translation;

use crate::activity::Activities;
use crate::config::{Config, InsideMode, InsidePort, Local};
use crate::esp_decap::OpenBatch;
use crate::esp_encap::SealBatch;
use crate::fib::{Answer, Fib};
use crate::first_fragments::FirstFragments;
use crate::icmp_error::IcmpLimit;
use crate::media::IkeFrame;
use crate::media::Outer;
use crate::media::{Identifications, MediaTable};
use crate::owner::{Owners, Place, WorkerIndex};
use crate::packet::Packet;
use crate::packet_queue::Pool;
use crate::parse::Info;
use crate::reassembly::Reassembly;
use crate::route_cache::RouteCache;
use crate::sad::Sad;
use crate::sink::{PuntRefused, Sink};
use crate::stage_profiler::{CycleCounter, Stage, StageStats, Stages};
use crate::timers::Timers;
use crate::tunnel::Tunnels;
use core::net::IpAddr;
use core::time::Duration;
use sipsec_nat::{Nat, NatLimits};
use sipsec_net::dp::{Event, PeerSource};
use sipsec_net::eth::{self, EthHeader};
use sipsec_net::icmp::IcmpError;
use sipsec_net::udp_encap::{self, UdpEncap};
use sipsec_net::{DropReason, Instant, IpPrefix, MacAddr, MediaPort, tunnel_device};

/// Wrong sources are reported at most so often for each port.
const WRONG_SOURCE_EVERY: Duration = Duration::from_secs(1);

/// One worker's pipeline.
pub struct Pipeline<P> {
    pub(crate) config: Config,
    /// The WAN's MTU at build.
    pub(crate) outside_mtu_max: u16,
    /// Among the workers of the gateway.
    pub(crate) place: Place,
    pub(crate) fib: Fib,
    pub(crate) tunnels: Tunnels,
    pub(crate) media: MediaTable,
    pub(crate) sad: Sad,
    identifications: Identifications,
    pub(crate) reassembly: Reassembly,
    /// Packets in clear that wait, for an SA or for their rate.
    pub(crate) waiting: Pool<P>,
    pub(crate) ike_waiting: Pool<IkeFrame<P>>,
    /// When each media port may send what waits for its rate.
    pub(crate) releases: Timers,
    /// When what waits for a tunnel's SA has waited too long, or a call that was asked for was not answered.
    pub(crate) expiries: Timers,
    /// When what was said of a media port's path is to be forgotten.
    pub(crate) path_expiries: Timers,
    /// Tunnels that hellos of routing protocols pass.
    pub(crate) hello_tunnels: Vec<u32>,
    /// Packets that wait for an SA.
    pub(crate) trigger_packets: u32,
    /// How many have got their SA since and wait for its rate: they still take the places of triggers.
    pub(crate) replay_packets: u32,
    local: Local,
    /// Media ports that are due in this turn; here for its memory.
    due: Vec<u32>,
    pub(crate) drops: [u64; DropReason::COUNT],
    icmp_limit: IcmpLimit,
    stages: Stages,
    routes: RouteCache,
    pub(crate) nat: Nat,
    pub(crate) first_fragments: FirstFragments<P>,
    /// The row from which a page of translations was asked for.
    pub(crate) nat_page: Option<u32>,
    /// Ethernet headers of what leaves by the inside port: of IPv4, of IPv6.
    inside_headers: [[u8; eth::HEADER_LEN]; 2],
    /// Empty between calls; here for their memory.
    sealing: SealBatch<P>,
    opening: OpenBatch<P>,
}

impl<P> core::fmt::Debug for Pipeline<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pipeline").field("limits", &self.config.limits).finish_non_exhaustive()
    }
}

impl<P: Packet> Pipeline<P> {
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self::with_activities(config, Activities::new(config.limits.tunnels_max))
    }

    /// With activity that another thread reads, made for as many tunnels.
    #[must_use]
    pub fn with_activities(config: Config, activities: Activities) -> Self {
        let limits = &config.limits;
        let ike_max = limits.media_ports_max.saturating_mul(limits.ike_packets_max.into());
        Self {
            fib: Fib::new(limits.routes_max),
            tunnels: Tunnels::new(limits.tunnels_max, activities),
            media: MediaTable::new(limits.media_ports_max),
            sad: Sad::new(limits.sas_max),
            identifications: Identifications::default(),
            reassembly: Reassembly::new(limits.reassembly, config.flow_key),
            waiting: Pool::new(limits.waiting_packets_max),
            ike_waiting: Pool::new(ike_max.min(limits.waiting_packets_max)),
            releases: Timers::new(limits.media_ports_max),
            expiries: Timers::new(limits.tunnels_max),
            path_expiries: Timers::new(limits.media_ports_max),
            due: Vec::with_capacity(limits.media_ports_max as usize),
            hello_tunnels: Vec::with_capacity(limits.tunnels_max as usize),
            trigger_packets: 0,
            replay_packets: 0,
            local: Local::default(),
            drops: [0; DropReason::COUNT],
            icmp_limit: IcmpLimit::new(limits.icmp_errors_per_second_max),
            stages: Stages::new(None),
            routes: RouteCache::default(),
            nat: Nat::new(
                NatLimits { tunnels_max: limits.tunnels_max, sessions_max: limits.nat_sessions_max },
                config.nat_seed,
            ),
            first_fragments: FirstFragments::new(config.flow_key),
            nat_page: None,
            inside_headers: [eth::IPV4, eth::IPV6].map(|ether_type| {
                let InsidePort { mac: source, next_hop: destination, .. } = config.inside;
                EthHeader { destination, source, ether_type }.to_bytes()
            }),
            sealing: SealBatch::new(),
            opening: OpenBatch::new(),
            outside_mtu_max: config.outside.mtu,
            place: Place::alone(),
            config,
        }
    }

    /// Measures the stages with this counter.
    #[must_use]
    pub fn with_cycles(mut self, counter: Box<dyn CycleCounter>) -> Self {
        self.stages = Stages::new(Some(counter));
        self
    }

    /// As one of several workers. Before the first transaction.
    #[must_use]
    pub fn as_worker(mut self, own: WorkerIndex, owners: Owners) -> Self {
        self.place = Place::new(own, owners);
        self
    }

    /// What the host owns has changed.
    pub fn set_local(&mut self, local: Local) {
        self.local = local;
        self.fib.changed();
    }

    /// Longest-prefix match; a local prefix wins unless a tunnel route is at least as long.
    #[inline]
    fn route(&mut self, address: &IpAddr) -> Answer {
        match self.routes.get(self.fib.generation(), address) {
            Some(answer) => answer,
            None => self.route_anew(*address),
        }
    }

    fn route_anew(&mut self, address: IpAddr) -> Answer {
        let own = self.local.prefixes.iter().filter(|p| p.contains(address));
        let answer = self.fib.lookup(address, own.map(IpPrefix::prefix_len).max().unwrap_or(0));
        self.routes.put(self.fib.generation(), address, answer);
        answer
    }

    /// A frame came in by the inside port.
    pub fn from_inside(&mut self, now: Instant, packet: P, out: &mut impl Sink<P>) {
        self.batch_from_inside(now, [packet], out);
    }

    /// Frames came in by the inside port, in this order.
    pub fn batch_from_inside(
        &mut self,
        now: Instant,
        packets: impl IntoIterator<Item = P>,
        out: &mut impl Sink<P>,
    ) {
        let mut packets = packets.into_iter();
        let mut sealing = core::mem::take(&mut self.sealing);
        loop {
            let arrived = sealing.places.arrive(&mut packets);
            if arrived == 0 {
                break;
            }
            self.stages.batch();
            self.look_ahead_inside(&mut sealing.places);
            for place in 0..arrived {
                self.stages.begin();
                sealing.places.work_on(place);
                let end = self.inside(now, &mut sealing, out);
                self.end(end, sealing.places.leave());
            }
            self.seal_all(&mut sealing, out);
        }
        self.sealing = sealing;
    }

    /// The packet worked on. It stays prepared, or is taken out, or leaves with an error.
    #[inline]
    fn inside(
        &mut self,
        now: Instant,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let known_route = sealing.places.route();
        let packet = sealing.places.current().ok_or(DropReason::MalformedFrame)?;
        let (ether_type, at) = eth::untagged(packet.data()).ok_or(DropReason::MalformedFrame)?;
        // In promiscuous mode a LAN device shows us what is for others; and what the link sent to all is not forwarded (RFC
        // 1812 §5.3.4). In host mode the only other station is this host's kernel.
        let mode = self.config.inside.mode;
        if mode == InsideMode::Router && !self.is_for_us(packet.data()) {
            return Err(DropReason::ForeignMac);
        }
        match ether_type {
            eth::IPV4 | eth::IPV6 => {}
            _ => return Err(DropReason::UnsupportedEtherType),
        }
        let by_device = self.by_device(packet.data());
        if !packet.pull_front(at) {
            return Err(DropReason::MalformedFrame);
        }
        let mut info = Info::default();
        info.read(packet.data())?;
        packet.truncate(info.len.into());
        self.stages.passed(Stage::Parse);
        if !info.forwardable {
            let tunnel = self.hello_tunnel(&info, by_device)?;
            if let Some(worker) = self.tunnels.get(tunnel).and_then(|t| t.elsewhere) {
                return self.hand_over_inside(worker, at, sealing, out);
            }
            self.hello_out(&mut info, tunnel)?;
            return self.forward(now, &info, tunnel, None, sealing, out);
        }
        if mode == InsideMode::Router && info.ttl <= 1 {
            // RFC 1812 §5.3.1. In host mode the kernel has forwarded the packet and decremented.
            if let Some(packet) = sealing.places.leave() {
                self.error(now, packet, &info, IcmpError::TimeExceeded, None, None, sealing, out);
            }
            return Err(DropReason::TtlExpired);
        }
        let tunnel = match by_device {
            Some(tunnel) => {
                if let Some(worker) = self.tunnels.get(tunnel).and_then(|t| t.elsewhere) {
                    return self.hand_over_inside(worker, at, sealing, out);
                }
                tunnel
            }
            None => {
                // Where it was looked up before, that was for the same address: both headers have it in one place.
                let answer = known_route.unwrap_or_else(|| self.route(&info.destination));
                if let Some(worker) = self.elsewhere(answer) {
                    return self.hand_over_inside(worker, at, sealing, out);
                }
                self.tunnel_of(answer)?
            }
        };
        if self.nat.is_active(tunnel) && self.nat.is_hairpin(tunnel, info.destination) {
            return self.hairpin(now, tunnel, sealing, out);
        }
        if mode == InsideMode::Router {
            inside::decrement_ttl(packet.data_mut(), &info);
        }
        self.forward(now, &info, tunnel, None, sealing, out)
    }

    /// Whether a frame from the LAN is for this gateway.
    fn is_for_us(&self, frame: &[u8]) -> bool {
        let destination = EthHeader::parse(frame).map(|h| h.destination);
        destination.is_some_and(|d| d == self.config.inside.mac || is_virtual_router(d))
    }

    /// The tunnel by whose own device the kernel has sent a frame. By that of a tunnel that has none any more, the routes decide.
    #[inline]
    fn by_device(&self, frame: &[u8]) -> Option<u32> {
        let source = EthHeader::parse(frame)?.source;
        // The sVTI's own address is random, and may be like that of a device.
        if self.config.inside.mode == InsideMode::Router || source == self.config.inside.next_hop {
            return None;
        }
        let index = self.tunnels.find(tunnel_device::tunnel(source)?)?;
        self.tunnels.get(index).is_some_and(|t| t.spec.own_device).then_some(index)
    }

    /// The tunnel for a packet that XDP, or the kernel, has handed to us.
    #[inline]
    fn tunnel_of(&self, answer: Answer) -> Result<u32, DropReason> {
        match answer {
            Answer::Tunnel(tunnel) | Answer::Elsewhere(tunnel) => Ok(tunnel),
            // It came before the kernel's tables had changed. A tunnel that is up carries it, so that it is not lost; one that
            // is not is not called for it.
            Answer::Outside(tunnel) => {
                let is_up = self.tunnels.get(tunnel).is_some_and(|t| t.outbound.is_some());
                if is_up { Ok(tunnel) } else { Err(DropReason::RoutedOutside) }
            }
            Answer::Discard(_) => Err(DropReason::RouteDiscards),
            Answer::Local => Err(DropReason::NoRoute),
        }
    }

    /// A frame came in by the outside port.
    pub fn from_outside(&mut self, now: Instant, packet: P, out: &mut impl Sink<P>) {
        self.batch_from_outside(now, [packet], out);
    }

    /// Frames came in by the outside port, in this order.
    pub fn batch_from_outside(
        &mut self,
        now: Instant,
        packets: impl IntoIterator<Item = P>,
        out: &mut impl Sink<P>,
    ) {
        let mut packets = packets.into_iter();
        let mut opening = core::mem::take(&mut self.opening);
        loop {
            let arrived = opening.places.arrive(&mut packets);
            if arrived == 0 {
                break;
            }
            self.stages.batch();
            self.look_ahead_outside(&opening.places);
            for place in 0..arrived {
                self.stages.begin();
                opening.places.work_on(place);
                let end = self.outside(now, &mut opening, out);
                self.end(end, opening.places.leave());
            }
            self.open_all(now, &mut opening, out);
        }
        self.opening = opening;
    }

    /// The packet worked on. It stays checked, or leaves, with an error or without.
    #[inline]
    fn outside(
        &mut self,
        now: Instant,
        opening: &mut OpenBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let packet = opening.places.current().ok_or(DropReason::MalformedFrame)?;
        let mut outer = Outer::default();
        if let Some(fragment) = outer.read(packet.data())? {
            return self.outside_fragment(now, &fragment, &outer, opening, out);
        }
        let port = MediaPort(outer.destination_port);
        let Some(media) = self.media.find(port) else { return self.hand_over_outside(port, opening, out) };
        let m = self.media.get_mut(media).ok_or(DropReason::MediaPortClosed)?;
        if outer.destination != m.binding.outside_local.ip() {
            return Err(DropReason::MediaPortClosed);
        }
        // Only the peer named in SDP gets as far as a parser.
        if outer.source != m.binding.remote.ip() || !m.admits(outer.source_port) {
            let quiet = |at: Instant| now.saturating_duration_since(at) < WRONG_SOURCE_EVERY;
            if !m.wrong_source_at.is_some_and(quiet) {
                m.wrong_source_at = Some(now);
                out.event(Event::WrongSource { media_port: port, from: outer.sender() });
            }
            return Err(DropReason::WrongSource);
        }
        let unproven = m.source == Some(PeerSource::Unproven);
        if !packet.pull_front(outer.payload) {
            return Err(DropReason::MalformedFrame);
        }
        packet.truncate(outer.len);
        self.stages.passed(Stage::OutsideParse);
        match udp_encap::classify(packet.data()) {
            UdpEncap::Ike(_) if !m.punts.take(now) => Err(DropReason::IkePuntFull),
            UdpEncap::Ike(message) => out.punt(port, outer.sender(), message).map_err(|r| match r {
                PuntRefused::Full => DropReason::IkePuntFull,
                PuntRefused::TooLong => DropReason::IkeTooLong,
            }),
            // RFC 3948 §2.3, §4: neither data nor a sign of life.
            UdpEncap::Keepalive => Err(DropReason::Keepalive),
            UdpEncap::Malformed => Err(DropReason::MalformedEncap),
            UdpEncap::Esp(_) => {
                let from = unproven.then_some(outer.source_port);
                self.check(now, port, media, outer.class, from, opening, out)
            }
        }
    }

    /// Counts the end of the packet worked on, if this is its end. It has left the batch if it was still there.
    #[inline]
    fn end(&mut self, end: Result<(), DropReason>, packet: Option<P>) {
        drop(packet);
        if let Err(reason) = end {
            self.drop(reason);
        }
    }

    /// A packet's end in this tunnel's outbound direction; the caller counts the reason.
    fn drop_out(&mut self, tunnel: u32, reason: DropReason) -> DropReason {
        if let Some(t) = self.tunnels.get_mut(tunnel) {
            t.activity.dropped_out();
        }
        reason
    }

    const fn drop(&mut self, reason: DropReason) {
        self.drops[reason.index()] += 1;
    }

    /// Indexed by [`DropReason::index`].
    #[must_use]
    pub const fn drops(&self) -> &[u64; DropReason::COUNT] {
        &self.drops
    }

    /// Indexed by [`Stage`].
    #[must_use]
    pub const fn stages(&self) -> &[StageStats; Stage::COUNT] {
        self.stages.stats()
    }
}

/// RFC 5798 §7.3: 00-00-5E-00-01-{VRID} of IPv4, 00-00-5E-00-02-{VRID} of IPv6. Which of them are this host's at the
/// moment is known to its VRRP daemon alone.
const fn is_virtual_router(mac: MacAddr) -> bool {
    matches!(mac.0, [0, 0, 0x5e, 0, 1 | 2, _])
}

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod tests;
