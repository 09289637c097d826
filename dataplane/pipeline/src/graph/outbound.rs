//! From the FIB's answer to the outside port.

use super::{Pipeline, translation};
use crate::config::DontFragment;
use crate::esp_encap::{self, Carrier, SealBatch};
use crate::media::{Identifications, Media, MediaTable};
use crate::packet::Packet;
use crate::packet_queue::Waiting;
use crate::parse::Info;
use crate::sad::{OutboundSa, Sad};
use crate::sink::{OutsideFrame, Sink};
use crate::stage_profiler::Stage;
use crate::tunnel::Tunnel;
use crate::{mss, pmtu, trigger};
use sipsec_nat::Nat;
use sipsec_net::dp::OuterDscp;
use sipsec_net::icmp::IcmpError;
use sipsec_net::{DropReason, Instant, TunnelId};

impl<P: Packet> Pipeline<P> {
    /// The packet worked on, an IP packet, into a tunnel. It stays prepared, or is taken out to wait or to be cut, or
    /// leaves with an error.
    #[inline]
    pub(super) fn forward(
        &mut self,
        now: Instant,
        info: &Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        if info.fragment && self.nat.is_active(tunnel) {
            return self.forward_fragment(now, info, tunnel, origin, sealing, out);
        }
        self.forward_in_order(now, info, tunnel, origin, sealing, out)
    }

    /// The same, when no fragment has to wait for another.
    #[inline]
    pub(super) fn forward_in_order(
        &mut self,
        now: Instant,
        info: &Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        let (clamp, tunnel_mtu) = (t.spec.mss_clamp, t.inner_mtu);
        let bound = bind(t, tunnel, &mut self.sad, &mut self.media);
        let mtu = bound.as_ref().map_or(tunnel_mtu, |b| tunnel_mtu.min(b.sa.common.inner_max));
        if clamp
            && mss::concerns(info)
            && let Some(packet) = sealing.places.current()
        {
            mss::clamp(packet.data_mut(), info, mtu);
        }
        if info.len > mtu {
            return self.too_large(now, info, tunnel, origin, mtu, sealing, out);
        }
        match bound {
            Some(mut bound) if bound.may_send(now) => {
                self.stages.passed(Stage::Route);
                let way = (&mut self.identifications, self.config.outside.dont_fragment, &mut self.nat);
                let end = bound.prepare(now, info, None, way, sealing, out);
                t.count_out(now, info, &end);
                self.stages.passed(Stage::Prepare);
                end
            }
            _ => self.wait(now, info, tunnel, origin, sealing, out),
        }
    }

    /// The same for a packet from elsewhere than the inside port.
    pub(super) fn forward_packet(
        &mut self,
        now: Instant,
        packet: P,
        tunnel: u32,
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let info = Info::parse(packet.data())?;
        self.make_room(sealing, out);
        sealing.places.add(packet);
        let end = self.forward(now, &info, tunnel, origin, sealing, out);
        drop(sealing.places.leave());
        end
    }

    /// Its sender is told, or it is cut.
    #[expect(clippy::too_many_arguments, reason = "a packet's way so far, and what it needs to go on")]
    fn too_large(
        &mut self,
        now: Instant,
        info: &Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        mtu: u16,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let packet = sealing.places.leave().ok_or(DropReason::FragmentFailed)?;
        if info.dont_fragment {
            self.error(now, packet, info, IcmpError::TooBig { mtu }, origin, Some(tunnel), sealing, out);
            return Err(self.drop_out(tunnel, DropReason::TooBigDf));
        }
        let parts = pmtu::fragment(packet, mtu, || out.frame()).map_err(|r| self.drop_out(tunnel, r))?;
        for part in parts.into_iter().flatten() {
            let info = Info { hello: info.hello, ..Info::parse(part.data())? };
            // Each fragment is a packet of its own from here on, and is counted as one if it ends here.
            if let Err(reason) = self.offer_packet(now, part, &info, tunnel, origin, sealing, out) {
                self.drop(reason);
            }
        }
        Ok(())
    }

    /// Largest packet through the tunnel as it is now: an outer IPv6 packet leaves less room, and so does AES-CBC.
    pub(crate) fn effective_mtu(&self, tunnel: u32) -> Option<u16> {
        let t = self.tunnels.get(tunnel)?;
        let outbound = t.outbound.and_then(|i| self.sad.outbound(i));
        Some(outbound.map_or(t.inner_mtu, |sa| t.inner_mtu.min(sa.common.inner_max)))
    }

    /// The packet worked on fits: to where it waits or is sealed.
    fn offer(
        &mut self,
        now: Instant,
        info: &Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        match bind(t, tunnel, &mut self.sad, &mut self.media) {
            Some(mut bound) if bound.may_send(now) => {
                let way = (&mut self.identifications, self.config.outside.dont_fragment, &mut self.nat);
                let end = bound.prepare(now, info, None, way, sealing, out);
                t.count_out(now, info, &end);
                self.stages.passed(Stage::Prepare);
                end
            }
            _ => self.wait(now, info, tunnel, origin, sealing, out),
        }
    }

    /// The packet worked on waits, for its tunnel's SA or for its rate.
    #[cold]
    fn wait(
        &mut self,
        now: Instant,
        info: &Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        let Some(sa) = t.outbound else {
            return self.wait_for_sa(now, info, tunnel, origin, sealing, out);
        };
        let sa = self.sad.outbound(sa).map(|sa| &sa.common).ok_or(DropReason::TunnelUnknown)?;
        let (media, bytes) = (sa.media, sa.layout.packet_len(info.len.into()));
        self.wait_for_rate(now, info, bytes, (tunnel, media), origin, sealing)
    }

    /// The same for a packet from elsewhere than the inside port.
    #[expect(clippy::too_many_arguments, reason = "a packet's way so far, and what it needs to go on")]
    pub(super) fn offer_packet(
        &mut self,
        now: Instant,
        packet: P,
        info: &Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        self.make_room(sealing, out);
        sealing.places.add(packet);
        let end = self.offer(now, info, tunnel, origin, sealing, out);
        drop(sealing.places.leave());
        end
    }

    /// The packet worked on has no SA.
    fn wait_for_sa(
        &mut self,
        now: Instant,
        info: &Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let t = self.tunnels.get_mut(tunnel).ok_or(DropReason::TunnelUnknown)?;
        if info.hello {
            return Err(self.drop_out(tunnel, DropReason::HelloWithoutSa));
        }
        if !t.filters.triggers(info) {
            return Err(self.drop_out(tunnel, DropReason::TriggerFiltered));
        }
        let packet = sealing.places.leave().ok_or(DropReason::TriggerQueueFull)?;
        let limits = &self.config.limits;
        let has_room = self.trigger_packets + self.replay_packets < limits.trigger_packets_max()
            && self.waiting.free() > limits.reserved_packets();
        let waiting = Waiting { packet, cost: info.len, info: *info, since: now, origin };
        let (queued, event) = trigger::push(t, &mut self.waiting, has_room, waiting);
        self.trigger_packets += u32::from(queued.is_ok());
        self.watch_trigger(tunnel);
        if let Some(event) = event {
            out.event(event);
        }
        queued.map_err(|reason| self.drop_out(tunnel, reason))
    }

    /// The packet worked on, which becomes ESP of so many bytes, is not yet due at its media port's rate.
    fn wait_for_rate(
        &mut self,
        now: Instant,
        info: &Info,
        bytes: usize,
        (tunnel, media): (u32, u32),
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
    ) -> Result<(), DropReason> {
        let m = self.media.get_mut(media).ok_or(DropReason::MediaPortClosed)?;
        let packet = sealing.places.leave().ok_or(DropReason::ShaperQueueFull)?;
        let cost = m.outer.outer_ip_len(bytes) as u16;
        let waiting = Waiting { packet, info: *info, since: now, origin, cost };
        let dropped = m.queues.push(&mut self.waiting, self.config.limits.reserved_packets(), waiting);
        self.activate(media);
        for _ in 0..dropped {
            let reason = self.drop_out(tunnel, DropReason::ShaperQueueFull);
            self.drop(reason);
        }
        Ok(())
    }

    /// Something of this tunnel expires, unless nothing waits.
    pub(crate) fn watch_trigger(&mut self, tunnel: u32) {
        let Some(t) = self.tunnels.get_mut(tunnel) else { return };
        let Some(at) = trigger::expires_at(t, &self.waiting) else { return };
        self.expiries.set(tunnel, at);
    }

    /// The packet worked on waited for its rate, and may go by this call, with the outer DSCP of its class.
    pub(super) fn release_packet(
        &mut self,
        now: Instant,
        info: &Info,
        outer_dscp: Option<OuterDscp>,
        tunnel: u32,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        let mut bound = bind(t, tunnel, &mut self.sad, &mut self.media).ok_or(DropReason::MediaPortClosed)?;
        let way = (&mut self.identifications, self.config.outside.dont_fragment, &mut self.nat);
        let end = bound.prepare(now, info, outer_dscp, way, sealing, out);
        t.count_out(now, info, &end);
        self.stages.passed(Stage::Prepare);
        end
    }

    /// Before another packet is added.
    #[inline]
    pub(super) fn make_room(&mut self, sealing: &mut SealBatch<P>, out: &mut impl Sink<P>) {
        if !sealing.places.has_room() {
            self.seal_all(sealing, out);
        }
    }

    /// Everything prepared leaves.
    pub(super) fn seal_all(&mut self, sealing: &mut SealBatch<P>, out: &mut impl Sink<P>) {
        if sealing.is_empty() {
            return;
        }
        self.stages.begin();
        let (tunnels, drops, mut sealed) = (&self.tunnels, &mut self.drops, 0);
        sealing.seal(&mut self.sad, &self.media, |prepared, end| match end {
            Ok(frame) => {
                sealed += 1;
                out.transmit_outside(OutsideFrame::Esp(frame));
            }
            Err(reason) => {
                drops[reason.index()] += 1;
                if let Some(t) = tunnels.get(prepared.tunnel) {
                    t.activity.not_sent(prepared.inner_len);
                }
            }
        });
        self.stages.passed_by(Stage::Seal, sealed);
    }
}

/// A tunnel's SA and the call that carries it.
struct Bound<'a> {
    carrier: Carrier,
    sa: &'a mut OutboundSa,
    media: &'a mut Media,
}

#[inline]
fn bind<'a>(t: &Tunnel, tunnel: u32, sad: &'a mut Sad, media: &'a mut MediaTable) -> Option<Bound<'a>> {
    let index = t.outbound?;
    let sa = sad.outbound_mut(index)?;
    let carrier = Carrier { tunnel, media: sa.common.media, sa: index };
    Some(Bound { media: media.get_mut(carrier.media)?, carrier, sa })
}

impl OutboundSa {
    /// Tells that its numbers are nearly, or quite, used up; each once.
    #[cold]
    fn report_sequence<P, T>(&mut self, numbered: &Result<T, DropReason>, out: &mut impl Sink<P>) {
        let is_exhausted = matches!(numbered, Err(DropReason::SequenceExhausted));
        for hard in [false].into_iter().chain(is_exhausted.then_some(true)) {
            if let Some(expired) = self.common.lifetime.sequence(hard) {
                out.event(self.common.expire_event(expired));
            }
        }
    }
}

impl Bound<'_> {
    /// Nothing waits before the packet, and its time has come.
    #[inline]
    fn may_send(&self, now: Instant) -> bool {
        self.media.queues.lets_pass() && self.media.shaper.is_ready(now)
    }

    /// The packet worked on leaves at its rate: it stays prepared, and what its SA has to report is reported.
    #[inline(always)]
    fn prepare<P: Packet>(
        &mut self,
        now: Instant,
        info: &Info,
        outer_dscp: Option<OuterDscp>,
        (ids, dont_fragment, nat): (&mut Identifications, DontFragment, &mut Nat),
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let Bound { carrier, sa, media } = self;
        if info.len > sa.common.inner_max {
            // What is too large is cut, or its sender told, before it comes here.
            return Err(DropReason::TooBigDf);
        }
        let packet = sealing.places.current().ok_or(DropReason::SealFailed)?;
        let translated;
        let mut info = info;
        if nat.is_active(carrier.tunnel) {
            translated = translation::outbound(nat, now, info, carrier.tunnel, packet)?;
            info = translated.as_ref().unwrap_or(info);
        }
        let numbered = esp_encap::prepare(packet, info, sa, media, outer_dscp, ids, dont_fragment);
        if sa.sequence.is_near_end() {
            sa.report_sequence(&numbered, out);
        }
        let numbered = numbered?;
        let bytes = numbered.bytes;
        if let Some(expired) = sa.common.lifetime.count(bytes) {
            out.event(sa.common.expire_event(expired));
        }
        sealing.stay(numbered, carrier, &sa.common, &media.outer, info.len);
        media.shaper.charge(now, media.outer.outer_ip_len(bytes));
        Ok(())
    }
}
