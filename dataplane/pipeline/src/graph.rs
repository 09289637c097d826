//! The page: which stage follows which.
//!
//! From inside: Ethernet → [`parse`](crate::parse) → TTL → [`fib`](crate::fib) → [`mss`] → [`pmtu`] → SA? no:
//! [`trigger`]. Yes: [`shaper`](crate::shaper) → [`selector`](crate::selector) → [`esp_encap`] with the outside half of
//! [`nat`](crate::nat) → outside.
//!
//! From outside: [`outer`] → media port → source → IKE: punt. ESP: [`sad`](crate::sad) → replay → open → commit
//! ([`esp_decap`]) → parse → selector → [`ecn`] → mss → TTL → inside (router mode: another tunnel, if the FIB says so).
//!
//! Every early end is exactly one [`DropReason`].

use crate::config::{Config, InsideMode};
use crate::engine::AeadEngine;
use crate::fib::Fib;
use crate::icmp_error::{self, IcmpLimit};
use crate::ike::{self, IkeFrame};
use crate::nat::MediaTable;
use crate::outer::{self, Outer};
use crate::packet::Packet;
use crate::parse::Info;
use crate::sad::Sad;
use crate::sink::{OutsideFrame, PuntRefused, Sink};
use crate::stage::{CycleCounter, Stage, StageStats, Stages};
use crate::tunnel::Tunnels;
use crate::waiting::{Pool, Waiting};
use crate::{arp, ecn, esp_decap, esp_encap, mss, pmtu, selector, trigger};
use core::net::SocketAddr;
use core::time::Duration;
use sipsec_net::dp::Event;
use sipsec_net::eth::{self, EthHeader};
use sipsec_net::icmp::IcmpError;
use sipsec_net::udp_encap::{self, UdpEncap};
use sipsec_net::{DropReason, Instant, MediaPort, esp, ipv4, ipv6};

/// Packets sent for one media port per poll: a fast call does not hold up the ports.
const RELEASE_MAX: usize = 64;
/// Wrong sources are reported at most so often for each port.
const WRONG_SOURCE_EVERY: Duration = Duration::from_secs(1);

/// One worker's pipeline.
pub struct Pipeline<P> {
    pub(crate) config: Config,
    pub(crate) engine: Box<dyn AeadEngine>,
    pub(crate) fib: Fib,
    pub(crate) tunnels: Tunnels,
    pub(crate) media: MediaTable,
    pub(crate) sad: Sad,
    /// Packets in clear that wait, for an SA or for their rate.
    pub(crate) waiting: Pool<P>,
    pub(crate) ike_waiting: Pool<IkeFrame<P>>,
    /// Media ports with something to send.
    pub(crate) active: Vec<u32>,
    /// Tunnels with packets that wait for an SA.
    pub(crate) triggers: Vec<u32>,
    /// Nothing is due before.
    pub(crate) deadline: Instant,
    pub(crate) drops: [u64; DropReason::COUNT],
    icmp_limit: IcmpLimit,
    stages: Stages,
}

impl<P> core::fmt::Debug for Pipeline<P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pipeline").field("engine", &self.engine.name()).finish_non_exhaustive()
    }
}

impl<P: Packet> Pipeline<P> {
    #[must_use]
    pub fn new(config: Config, engine: Box<dyn AeadEngine>) -> Self {
        let limits = &config.limits;
        let ike_max = limits.media_ports_max.saturating_mul(limits.ike_packets_max.into());
        Self {
            fib: Fib::new(limits.routes_max),
            tunnels: Tunnels::new(limits.tunnels_max),
            media: MediaTable::new(limits.media_ports_max),
            sad: Sad::new(limits.sas_max),
            waiting: Pool::new(limits.waiting_packets_max),
            ike_waiting: Pool::new(ike_max.min(limits.waiting_packets_max)),
            active: Vec::with_capacity(limits.media_ports_max as usize),
            triggers: Vec::with_capacity(limits.tunnels_max as usize),
            deadline: Instant::MAX,
            drops: [0; DropReason::COUNT],
            icmp_limit: IcmpLimit::new(limits.icmp_errors_per_second_max),
            stages: Stages::new(None),
            engine,
            config,
        }
    }

    /// Measures the stages with this counter.
    #[must_use]
    pub fn with_cycles(mut self, counter: Box<dyn CycleCounter>) -> Self {
        self.stages = Stages::new(Some(counter));
        self
    }

    /// A frame came in by the inside port.
    pub fn from_inside(&mut self, now: Instant, packet: P, out: &mut impl Sink<P>) {
        self.stages.begin();
        if let Err(reason) = self.inside(now, packet, out) {
            self.drop(reason);
        }
    }

    fn inside(&mut self, now: Instant, mut packet: P, out: &mut impl Sink<P>) -> Result<(), DropReason> {
        let header = EthHeader::parse(packet.data()).ok_or(DropReason::MalformedFrame)?;
        match header.ether_type {
            eth::IPV4 | eth::IPV6 => {}
            eth::ARP if arp::answer(&mut packet, &self.fib, self.config.inside.mac) => {
                out.transmit_inside(packet);
                return Ok(());
            }
            _ => return Err(DropReason::UnsupportedEtherType),
        }
        if !packet.pull_front(eth::HEADER_LEN) {
            return Err(DropReason::MalformedFrame);
        }
        let info = Info::parse(packet.data())?;
        packet.truncate(info.len.into());
        self.stages.passed(Stage::Parse);
        if !info.is_forwardable() {
            return Err(DropReason::NotUnicast);
        }
        if self.config.inside.mode == InsideMode::Router && info.ttl <= 1 {
            // RFC 1812 §5.3.1. In host mode the kernel has forwarded the packet and decremented.
            self.error_inside(now, packet, &info, IcmpError::TimeExceeded, out);
            return Err(DropReason::TtlExpired);
        }
        let tunnel = self.fib.lookup(info.destination).ok_or(DropReason::NoRoute)?;
        if self.config.inside.mode == InsideMode::Router {
            decrement_ttl(packet.data_mut(), &info);
        }
        self.forward(now, packet, info, tunnel, out)
    }

    /// An IP packet into a tunnel.
    fn forward(
        &mut self,
        now: Instant,
        mut packet: P,
        info: Info,
        tunnel: u32,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        let outbound = t.outbound.and_then(|i| self.sad.outbound(i));
        let media = outbound.and_then(|sa| self.media.get(sa.common.media));
        let mtu = media.map_or(t.spec.inner_mtu, |m| t.spec.inner_mtu.min(m.inner_max));
        if t.spec.mss_clamp {
            mss::clamp(packet.data_mut(), &info, mtu);
        }
        if info.len <= mtu {
            return self.offer(now, packet, info, tunnel, out);
        }
        if info.dont_fragment {
            self.error_inside(now, packet, &info, IcmpError::TooBig { mtu }, out);
            return Err(self.drop_out(tunnel, DropReason::TooBigDf));
        }
        let parts = pmtu::fragment(packet, mtu, || out.frame()).map_err(|r| self.drop_out(tunnel, r))?;
        for part in parts.into_iter().flatten() {
            let info = Info::parse(part.data())?;
            // Each fragment is a packet of its own from here on, and is counted as one if it ends here.
            if let Err(reason) = self.offer(now, part, info, tunnel, out) {
                self.drop(reason);
            }
        }
        Ok(())
    }

    /// A packet that fits, to where it waits or is sealed.
    fn offer(
        &mut self,
        now: Instant,
        packet: P,
        info: Info,
        tunnel: u32,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        self.stages.passed(Stage::Route);
        let t = self.tunnels.get_mut(tunnel).ok_or(DropReason::TunnelUnknown)?;
        let Some(sa) = t.outbound else {
            let event = trigger::push(t, &mut self.waiting, now, packet, info);
            if !t.is_waiting && !t.trigger.is_empty() {
                t.is_waiting = true;
                self.triggers.push(tunnel);
            }
            if let Some(at) = trigger::expires_at(t, &self.waiting) {
                self.deadline = self.deadline.min(at);
            }
            match event {
                Ok(Some(event)) => out.event(event),
                Ok(None) => {}
                Err(reason) => return Err(self.drop_out(tunnel, reason)),
            }
            return Ok(());
        };
        let media = self.sad.outbound(sa).map(|sa| sa.common.media).ok_or(DropReason::TunnelUnknown)?;
        let m = self.media.get_mut(media).ok_or(DropReason::MediaPortClosed)?;
        if m.queues.is_empty() && m.shaper.is_ready(now) {
            return self.seal(now, packet, &info, tunnel, sa, media, out);
        }
        let cost = m.outer.outer_len(info.len.into()) as u16;
        let waiting = Waiting { packet, info, since: now, cost };
        let dropped = m.queues.push(&mut self.waiting, waiting).is_some();
        self.activate(media);
        if dropped { Err(self.drop_out(tunnel, DropReason::ShaperQueueFull)) } else { Ok(()) }
    }

    /// Its rate allows the packet: it leaves.
    #[expect(
        clippy::too_many_arguments,
        reason = "a packet and the three places that its path has already found"
    )]
    fn seal(
        &mut self,
        now: Instant,
        packet: P,
        info: &Info,
        tunnel: u32,
        sa: u32,
        media: u32,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let outbound = self.sad.outbound_mut(sa).ok_or(DropReason::TunnelUnknown)?;
        let m = self.media.get_mut(media).ok_or(DropReason::MediaPortClosed)?;
        if info.len > m.inner_max {
            // It came before the call and its outer addresses were known.
            return Err(self.drop_out(tunnel, DropReason::TooBigDf));
        }
        let sealed = esp_encap::seal(packet, info, outbound, &mut m.outer, m.binding.outer_dscp);
        let bytes = esp::packet_len(info.len.into());
        let lifetime = &mut outbound.common.lifetime;
        let expired = match &sealed {
            Err(DropReason::SequenceExhausted) => lifetime.sequence(true),
            Err(_) => None,
            Ok(_) => lifetime.count(bytes),
        };
        let near_end = if outbound.sequence.is_near_end() { lifetime.sequence(false) } else { None };
        for what in [near_end, expired].into_iter().flatten() {
            out.event(outbound.common.expire_event(what));
        }
        let frame = match sealed {
            Ok(frame) => frame,
            Err(reason) => return Err(self.drop_out(tunnel, reason)),
        };
        m.shaper.charge(now, m.outer.outer_ip_len(bytes));
        out.transmit_outside(OutsideFrame::Esp(frame));
        self.stages.passed(Stage::Seal);
        if let Some(t) = self.tunnels.get_mut(tunnel) {
            let a = &mut t.activity;
            a.packets_out += 1;
            a.bytes_out += u64::from(info.len);
            a.last_data = now;
        }
        Ok(())
    }

    /// A frame came in by the outside port.
    pub fn from_outside(&mut self, now: Instant, packet: P, out: &mut impl Sink<P>) {
        self.stages.begin();
        if let Err(reason) = self.outside(now, packet, out) {
            self.drop(reason);
        }
    }

    fn outside(&mut self, now: Instant, mut packet: P, out: &mut impl Sink<P>) -> Result<(), DropReason> {
        let Outer { source, destination, class, payload, len } = outer::parse(packet.data())?;
        let port = MediaPort(destination.port());
        let media = self.media.find(port).ok_or(DropReason::MediaPortClosed)?;
        let m = self.media.get_mut(media).ok_or(DropReason::MediaPortClosed)?;
        if destination.ip() != m.binding.outside_local.ip() {
            return Err(DropReason::MediaPortClosed);
        }
        // The peer is who SDP said, and nobody else gets as far as a parser.
        if source.ip() != m.binding.remote.ip() || source.port() != m.binding.remote.port() {
            let quiet = |at: Instant| now.saturating_duration_since(at) < WRONG_SOURCE_EVERY;
            if !m.wrong_source_at.is_some_and(quiet) {
                m.wrong_source_at = Some(now);
                out.event(Event::WrongSource { media_port: port, from: source });
            }
            return Err(DropReason::WrongSource);
        }
        if !packet.pull_front(payload) {
            return Err(DropReason::MalformedFrame);
        }
        packet.truncate(len);
        self.stages.passed(Stage::OutsideParse);
        match udp_encap::classify(packet.data()) {
            UdpEncap::Ike(message) => out.punt(port, source, message).map_err(|refused| match refused {
                PuntRefused::Full => DropReason::IkePuntFull,
                PuntRefused::TooLong => DropReason::IkeTooLong,
            }),
            // RFC 3948 §2.3, §4: neither data nor a sign of life.
            UdpEncap::Keepalive => Err(DropReason::Keepalive),
            UdpEncap::Malformed => Err(DropReason::MalformedEncap),
            UdpEncap::Esp(_) => self.open(now, packet, port, class, out),
        }
    }

    fn open(
        &mut self,
        now: Instant,
        mut packet: P,
        port: MediaPort,
        outer_class: u8,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let header = esp::EspHeader::parse(packet.data()).ok_or(DropReason::EspMalformed)?;
        let sa = self.sad.inbound(port, header.spi).ok_or(DropReason::UnknownSpi)?;
        let (tunnel, bytes) = (sa.common.tunnel, packet.len());
        let opened = esp_decap::open(&mut packet, sa);
        // What follows the integrity check is the peer's own doing and counts as its traffic.
        let authentic = matches!(
            opened,
            Ok(()) | Err(DropReason::DummyPacket | DropReason::EspMalformed | DropReason::InnerNotIp)
        );
        if authentic && let Some(expired) = sa.common.lifetime.count(bytes) {
            out.event(sa.common.expire_event(expired));
        }
        let inner = opened.and_then(|()| {
            let info = Info::parse(packet.data())?;
            packet.truncate(info.len.into());
            let allowed = selector::allows_in(&sa.common.selectors, &info);
            if allowed { Ok(info) } else { Err(DropReason::SelectorMismatchIn) }
        });
        self.stages.passed(Stage::Open);
        let delivered = inner.and_then(|info| self.deliver(now, packet, info, tunnel, outer_class, out));
        if delivered.is_err()
            && let Some(t) = self.tunnels.get_mut(tunnel)
        {
            t.activity.drops_in += 1;
        }
        delivered
    }

    /// A packet that came through a tunnel.
    fn deliver(
        &mut self,
        now: Instant,
        mut packet: P,
        info: Info,
        tunnel: u32,
        outer_class: u8,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        if !info.is_forwardable() {
            return Err(DropReason::NotUnicast);
        }
        let class = ecn::forwarded_class(info.class, outer_class).ok_or(DropReason::EcnIllegal)?;
        if class != info.class {
            if info.is_v6() {
                ipv6::set_traffic_class(packet.data_mut(), class);
            } else {
                ipv4::set_byte(packet.data_mut(), 1, class);
            }
        }
        let t = self.tunnels.get_mut(tunnel).ok_or(DropReason::TunnelUnknown)?;
        t.activity.packets_in += 1;
        t.activity.bytes_in += u64::from(info.len);
        t.activity.last_data = now;
        t.activity.last_in = now;
        if t.spec.mss_clamp {
            mss::clamp(packet.data_mut(), &info, t.spec.inner_mtu);
        }
        if self.config.inside.mode == InsideMode::Router {
            if info.ttl <= 1 {
                self.error_tunnel(now, packet, &info, out);
                return Err(DropReason::TtlExpired);
            }
            decrement_ttl(packet.data_mut(), &info);
            // From tunnel to tunnel (a hub between branches): nobody else would bring it back.
            if let Some(next) = self.fib.lookup(info.destination) {
                return self.forward(now, packet, info, next, out);
            }
        }
        self.transmit_inside(packet, info.is_v6(), out)?;
        self.stages.passed(Stage::Deliver);
        Ok(())
    }

    fn transmit_inside(&mut self, mut packet: P, v6: bool, out: &mut impl Sink<P>) -> Result<(), DropReason> {
        let ether_type = if v6 { eth::IPV6 } else { eth::IPV4 };
        let (destination, source) = (self.config.inside.next_hop, self.config.inside.mac);
        if !packet.push_front(eth::HEADER_LEN) {
            return Err(DropReason::MalformedFrame);
        }
        let header = EthHeader { destination, source, ether_type }.to_bytes();
        packet.data_mut()[..eth::HEADER_LEN].copy_from_slice(&header);
        out.transmit_inside(packet);
        Ok(())
    }

    /// Tells the sender on the inside. Whether it is told changes nothing about the packet's own end.
    fn error_inside(
        &mut self,
        now: Instant,
        mut packet: P,
        info: &Info,
        error: IcmpError,
        out: &mut impl Sink<P>,
    ) {
        let inside = &self.config.inside;
        if icmp_error::convert(&mut packet, info, error, inside, &mut self.icmp_limit, now)
            && let Err(reason) = self.transmit_inside(packet, info.is_v6(), out)
        {
            self.drop(reason);
        }
    }

    /// Tells the sender behind a tunnel that its packet ran out of hops here.
    fn error_tunnel(&mut self, now: Instant, mut packet: P, info: &Info, out: &mut impl Sink<P>) {
        let inside = &self.config.inside;
        let error = IcmpError::TimeExceeded;
        if !icmp_error::convert(&mut packet, info, error, inside, &mut self.icmp_limit, now) {
            return;
        }
        let Some(tunnel) = self.fib.lookup(info.source) else { return };
        if let Ok(info) = Info::parse(packet.data())
            && let Err(reason) = self.offer(now, packet, info, tunnel, out)
        {
            self.drop(reason);
        }
    }

    /// Queues an IKE message ahead of all data of its port; [`Self::poll`] sends it. `frame` is an empty frame with
    /// headroom, or `None` if there was none.
    pub fn send_ike(
        &mut self,
        now: Instant,
        port: MediaPort,
        remote: SocketAddr,
        message: &[u8],
        frame: Option<P>,
    ) {
        if let Err(reason) = self.queue_ike(now, port, remote, message, frame) {
            self.drop(reason);
        }
    }

    fn queue_ike(
        &mut self,
        now: Instant,
        port: MediaPort,
        remote: SocketAddr,
        message: &[u8],
        frame: Option<P>,
    ) -> Result<(), DropReason> {
        let media = self.media.find(port).ok_or(DropReason::IkeNoBinding)?;
        let m = self.media.get_mut(media).ok_or(DropReason::IkeNoBinding)?;
        // A message for the peer of an earlier call on this port goes to nobody.
        if m.binding.remote != remote {
            return Err(DropReason::IkeNoBinding);
        }
        if m.queues.ike.len() >= self.config.limits.ike_packets_max.into() {
            return Err(DropReason::ShaperIkeQueueFull);
        }
        let frame = frame.ok_or(DropReason::FrameExhausted)?;
        let packet = ike::build(frame, message, &mut m.outer, self.config.outside.mtu)?;
        let cost = m.outer.outer_ip_len(message.len() + udp_encap::NON_ESP_MARKER.len()) as u16;
        let waiting = Waiting { packet, info: Info::default(), since: now, cost };
        m.queues.ike.push(&mut self.ike_waiting, waiting).map_err(|_| DropReason::ShaperIkeQueueFull)?;
        self.activate(media);
        Ok(())
    }

    /// The media port has something to send.
    pub(crate) fn activate(&mut self, media: u32) {
        let Some(m) = self.media.get_mut(media) else { return };
        self.deadline = self.deadline.min(m.shaper.ready_at());
        if !m.queues.is_active {
            m.queues.is_active = true;
            self.active.push(media);
        }
    }

    /// Sends what its rate allows now and ends what has waited too long. Cheap when nothing is due.
    pub fn poll(&mut self, now: Instant, out: &mut impl Sink<P>) {
        if now < self.deadline {
            return;
        }
        self.deadline = Instant::MAX;
        let mut at = 0;
        while let Some(&media) = self.active.get(at) {
            self.release(now, media, out);
            match self.media.get_mut(media) {
                Some(m) if !m.queues.is_empty() => {
                    self.deadline = self.deadline.min(m.shaper.ready_at());
                    at += 1;
                }
                Some(m) => {
                    m.queues.is_active = false;
                    self.active.swap_remove(at);
                }
                None => drop(self.active.swap_remove(at)),
            }
        }
        self.expire_triggers(now);
    }

    fn release(&mut self, now: Instant, media: u32, out: &mut impl Sink<P>) {
        for _ in 0..RELEASE_MAX {
            let Some(m) = self.media.get_mut(media) else { return };
            if !m.shaper.is_ready(now) {
                return;
            }
            if let Some(w) = m.queues.ike.pop(&mut self.ike_waiting) {
                m.shaper.charge(now, w.cost.into());
                out.transmit_outside(OutsideFrame::Ike(w.packet));
                continue;
            }
            let tunnel = m.tunnel;
            let Some(w) = m.queues.pop(&mut self.waiting) else { return };
            self.stages.begin();
            let sa = self.tunnels.get(tunnel).and_then(|t| t.outbound);
            let carrier = sa.and_then(|sa| Some((sa, self.sad.outbound(sa)?.common.media)));
            let sent = match carrier {
                Some((sa, on)) if on == media => self.seal(now, w.packet, &w.info, tunnel, sa, media, out),
                // The tunnel has moved to another call since.
                Some(_) => self.offer(now, w.packet, w.info, tunnel, out),
                None => Err(self.drop_out(tunnel, DropReason::TriggerFlushed)),
            };
            if let Err(reason) = sent {
                self.drop(reason);
            }
        }
    }

    fn expire_triggers(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(&index) = self.triggers.get(at) {
            let Some(t) = self.tunnels.get_mut(index) else {
                self.triggers.swap_remove(at);
                continue;
            };
            let expired = trigger::expire(t, &mut self.waiting, now);
            self.drops[DropReason::TriggerExpired.index()] += expired;
            match trigger::expires_at(t, &self.waiting) {
                Some(due) => {
                    self.deadline = self.deadline.min(due);
                    at += 1;
                }
                None => {
                    t.is_waiting = false;
                    self.triggers.swap_remove(at);
                }
            }
        }
    }

    /// When [`Self::poll`] will have something to do; [`Instant::MAX`] for never.
    #[must_use]
    pub const fn next_deadline(&self) -> Instant {
        self.deadline
    }

    /// A packet's end in this tunnel's outbound direction; the caller counts the reason.
    fn drop_out(&mut self, tunnel: u32, reason: DropReason) -> DropReason {
        if let Some(t) = self.tunnels.get_mut(tunnel) {
            t.activity.drops_out += 1;
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

    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.engine.name()
    }
}

/// RFC 1812 §5.3.1, RFC 8200 §3. The caller has seen that it is more than 1.
fn decrement_ttl(packet: &mut [u8], info: &Info) {
    if info.is_v6() {
        packet[ipv6::HOP_LIMIT_AT] = info.ttl - 1;
    } else {
        ipv4::set_byte(packet, ipv4::TTL_AT, info.ttl - 1);
    }
}

#[cfg(test)]
mod tests;
