//! From the SPI to the inside port.

use super::Pipeline;
use super::inside::{decrement_ttl, set_class};
use crate::batch::BATCH_MAX;
use crate::config::InsideMode;
use crate::esp_decap::{Checked, OpenBatch};
use crate::esp_encap::SealBatch;
use crate::fib::Answer;
use crate::first_fragments::{Onward, PacketKey};
use crate::owner::HandOver;
use crate::packet::Packet;
use crate::parse::Info;
use crate::police::Policed;
use crate::sink::Sink;
use crate::stage_profiler::Stage;
use crate::{ecn, esp_decap, mss};
use arrayvec::ArrayVec;
use core::net::IpAddr;
use sipsec_net::dp::Event;
use sipsec_net::icmp::IcmpError;
use sipsec_net::{DropReason, Instant, MediaPort, esp};

/// Where a packet goes that came through a tunnel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// It is a frame for the inside port.
    Inside,
    /// A hub: into another tunnel.
    Tunnel(u32),
    /// Its sender is told that it has gone too far.
    Expired,
    /// It waits for the first fragment of its packet.
    Held { key: PacketKey, onward: Onward },
}

impl<P: Packet> Pipeline<P> {
    /// The packet worked on is ESP, from the SPI on. It stays checked, or leaves with an error. `from` is its source port if
    /// its ICV decides about that.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "what is known of a packet and its batch")]
    pub(super) fn check(
        &mut self,
        now: Instant,
        port: MediaPort,
        media: u32,
        outer_class: u8,
        from: Option<u16>,
        opening: &mut OpenBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let packet = opening.places.current().ok_or(DropReason::EspMalformed)?;
        let header = esp::EspHeader::parse(packet.data()).ok_or(DropReason::EspMalformed)?;
        let m = self.media.get_mut(media).ok_or(DropReason::MediaPortClosed)?;
        let index = self.sad.find_inbound(port, header.spi, m.inbound_hint).ok_or(DropReason::UnknownSpi)?;
        m.inbound_hint = index;
        let sa = self.sad.inbound_at(index).ok_or(DropReason::UnknownSpi)?;
        if !esp_decap::is_settled(packet, sa) {
            self.open_all(now, opening, out);
        }
        let sa = self.sad.inbound_at(index).ok_or(DropReason::UnknownSpi)?;
        opening.check(index, sa, outer_class, from);
        self.stages.passed(Stage::Check);
        Ok(())
    }

    /// Everything checked is opened and goes on, in order.
    pub(super) fn open_all(&mut self, now: Instant, opening: &mut OpenBatch<P>, out: &mut impl Sink<P>) {
        if opening.is_empty() {
            return;
        }
        self.stages.begin();
        opening.open(&mut self.sad);
        self.look_ahead_opened(opening);
        let mut ways: ArrayVec<Result<(Way, u32), DropReason>, BATCH_MAX> = ArrayVec::new();
        let mut opened = 0;
        for (packet, checked) in opening.opened() {
            opened += 1;
            ways.push(self.accept(now, packet, checked, out));
        }
        self.stages.passed_by(Stage::Open, opened);
        let mut sealing = core::mem::take(&mut self.sealing);
        for (packet, way) in opening.drain().zip(ways) {
            if let Ok((Way::Inside, _)) = way {
                out.transmit_inside(packet);
                continue;
            }
            let end = way.and_then(|(way, from)| self.go(now, packet, way, from, &mut sealing, out));
            if let Err(reason) = end {
                self.drop(reason);
            }
        }
        self.release_inbound(now, &mut sealing, out);
        self.seal_all(&mut sealing, out);
        self.sealing = sealing;
        self.stages.passed_by(Stage::Deliver, opened);
    }

    /// A packet that came through the tunnel `from` goes its way.
    pub(super) fn go(
        &mut self,
        now: Instant,
        packet: P,
        way: Way,
        from: u32,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        match way {
            Way::Inside => {
                out.transmit_inside(packet);
                Ok(())
            }
            Way::Tunnel(next) => self.hub(now, packet, from, next, sealing, out),
            Way::Expired => self.expired(now, packet, from, sealing, out),
            Way::Held { key, onward } => {
                let held = self.first_fragments.hold(now, packet, key, onward);
                held.map_err(|reason| self.drop_in(from, reason))
            }
        }
    }

    /// After the engine: the packet's way and the tunnel that it came through.
    #[inline]
    fn accept(
        &mut self,
        now: Instant,
        packet: &mut P,
        checked: &mut Checked,
        out: &mut impl Sink<P>,
    ) -> Result<(Way, u32), DropReason> {
        let sa = self.sad.inbound_at(checked.sa).ok_or(DropReason::UnknownSpi)?;
        let (tunnel, media, bytes) = (sa.common.tunnel, sa.common.media, packet.len());
        let (from, media_port) = (checked.from.take(), sa.common.media_port);
        let mut info = Info::default();
        let opened = esp_decap::accept(packet, checked, sa);
        let icv_held = opened.is_ok();
        let inner = opened.and_then(|opened| {
            // RFC 7296 §2.8: a valid packet on a new SA is the second sign, besides DELETE, that the peer uses it.
            if !sa.used {
                sa.used = true;
                out.event(Event::SaFirstInbound { sa: sa.common.id });
            }
            // What follows the integrity check is the peer's own doing and counts as its traffic.
            if let Some(expired) = sa.common.lifetime.count(bytes) {
                out.event(sa.common.expire_event(expired));
            }
            esp_decap::unpack(packet, opened)?;
            info.read(packet.data())?;
            packet.truncate(info.len.into());
            let allowed = sa.common.selectors.allow_in(&info);
            if allowed { Ok(()) } else { Err(DropReason::SelectorMismatchIn) }
        });
        let policed = if icv_held { self.police(now, media, bytes) } else { Ok(None) };
        if let (Some(port), true) = (from, icv_held)
            && self.media.get_mut(media).is_some_and(|m| m.prove(port))
        {
            out.event(Event::PeerPortProven { media_port, port });
        }
        let delivered = inner
            .and(policed)
            .and_then(|mark| self.deliver(now, packet, &mut info, tunnel, (checked.outer_class, mark)));
        delivered.map(|way| (way, tunnel)).map_err(|reason| self.drop_in(tunnel, reason))
    }

    /// The DSCP that an authenticated packet of so many bytes of ESP gets if it is above the negotiated rate and marked.
    #[inline]
    fn police(&mut self, now: Instant, media: u32, bytes: usize) -> Result<Option<u8>, DropReason> {
        let Some(m) = self.media.get_mut(media) else { return Ok(None) };
        match m.policer.judge(now, m.outer.outer_ip_len(bytes), m.queues.counters()) {
            Policed::Conforms => Ok(None),
            Policed::Remarked(dscp) => Ok(Some(dscp)),
            Policed::Dropped => Err(DropReason::PolicedIn),
        }
    }

    /// A packet's end in this tunnel's inbound direction; the caller counts the reason.
    pub(super) fn drop_in(&mut self, tunnel: u32, reason: DropReason) -> DropReason {
        if let Some(t) = self.tunnels.get_mut(tunnel) {
            t.activity.dropped_in();
        }
        reason
    }

    /// Reverse-path check: a decrypted packet whose source is not in the tunnel's routes is dropped. A route counts even while
    /// a better one is used (RFC 3704 §2.3, feasible path): the two ends need not fail over at the same time.
    /// RFC 4301 §5.2: selectors are as wide as the peers made them ("everything", as a rule), so it is the routes that say
    /// which networks are this peer's.
    #[inline(never)]
    fn check_source(&mut self, source: &IpAddr, tunnel: u32) -> Result<(), DropReason> {
        if self.route_anew(*source).owner() != Some(tunnel) {
            return Err(DropReason::SourceNotRouted);
        }
        if let Some(t) = self.tunnels.get_mut(tunnel) {
            t.known_source = Some((self.fib.generation(), *source));
        }
        Ok(())
    }

    /// A packet that came through a tunnel, in its place.
    #[inline]
    pub(super) fn deliver(
        &mut self,
        now: Instant,
        packet: &mut P,
        info: &mut Info,
        tunnel: u32,
        (outer_class, mark): (u8, Option<u8>),
    ) -> Result<Way, DropReason> {
        if info.forwardable {
            if self.nat.is_active(tunnel) {
                if let Some(key) = self.lacks_first(now, packet.data(), info, tunnel, false) {
                    return Ok(Way::Held { key, onward: Onward::In { outer_class, mark } });
                }
                self.translate_in(now, packet, info, tunnel)?;
            }
            let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
            if t.must_check_source(self.fib.generation(), &info.source) {
                self.check_source(&info.source, tunnel)?;
            }
        } else {
            self.hello_in(info, tunnel)?;
        }
        let class = ecn::forwarded_class(info.class, outer_class).ok_or(DropReason::EcnIllegal)?;
        let class = mark.map_or(class, |dscp| ecn::outer_class(class, dscp));
        if class != info.class {
            // RFC 6040 §4.1: a hub's next outer header copies what the packet says now.
            set_class(packet.data_mut(), info, class);
        }
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        t.activity.received(info.len, t.filters.counts_in(info).then_some(now));
        if t.spec.mss_clamp
            && mss::concerns(info)
            && let Some(mtu) = self.effective_mtu(tunnel)
        {
            mss::clamp(packet.data_mut(), info, mtu);
        }
        if self.config.inside.mode == InsideMode::Router {
            if info.ttl <= 1 {
                return Ok(Way::Expired);
            }
            decrement_ttl(packet.data_mut(), info);
            // From tunnel to tunnel (a hub between branches), because no other way leads there; never back into the tunnel
            // that it came from, even if its prefixes cover the destination.
            match self.route(&info.destination) {
                Answer::Tunnel(next) if next != tunnel => return Ok(Way::Tunnel(next)),
                Answer::Elsewhere(next) => return Ok(Way::Tunnel(next)),
                Answer::Discard(_) => return Err(DropReason::RouteDiscards),
                Answer::Tunnel(_) | Answer::Outside(_) | Answer::Local => {}
            }
        }
        self.frame_inside(packet, info, Some(tunnel))?;
        Ok(Way::Inside)
    }

    /// From one tunnel into another.
    fn hub(
        &mut self,
        now: Instant,
        packet: P,
        from: u32,
        next: u32,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let origin = self.tunnels.get(from).map(|t| t.spec.tunnel);
        let elsewhere = self.tunnels.get(next).and_then(|t| Some((t.elsewhere?, t.spec.tunnel)));
        let end = match (elsewhere, origin) {
            (Some((worker, tunnel)), Some(from)) => {
                out.hand_over(worker, HandOver::Hub { tunnel, from }, packet)
            }
            _ => self.forward_packet(now, packet, next, origin, sealing, out),
        };
        end.map_err(|reason| self.drop_in(from, reason))
    }

    /// The sender behind the tunnel is told.
    fn expired(
        &mut self,
        now: Instant,
        packet: P,
        from: u32,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let origin = self.tunnels.get(from).map(|t| t.spec.tunnel);
        if let Ok(info) = Info::parse(packet.data()) {
            self.error(now, packet, &info, IcmpError::TimeExceeded, origin, None, sealing, out);
        }
        Err(self.drop_in(from, DropReason::TtlExpired))
    }
}
