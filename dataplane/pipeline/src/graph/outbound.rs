//! From the FIB's answer to the outside port.

use super::Pipeline;
use crate::packet::Packet;
use crate::parse::Info;
use crate::sink::{OutsideFrame, Sink};
use crate::stage::Stage;
use crate::waiting::Waiting;
use crate::{esp_encap, mss, pmtu, trigger};
use sipsec_net::icmp::IcmpError;
use sipsec_net::{DropReason, Instant, TunnelId, esp};

impl<P: Packet> Pipeline<P> {
    /// An IP packet into a tunnel.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        mut packet: P,
        info: Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let mtu = self.effective_mtu(tunnel).ok_or(DropReason::TunnelUnknown)?;
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        if t.spec.mss_clamp {
            mss::clamp(packet.data_mut(), &info, mtu);
        }
        if info.len <= mtu {
            return self.offer(now, packet, info, tunnel, origin, out);
        }
        if info.dont_fragment {
            self.error(now, packet, &info, IcmpError::TooBig { mtu }, origin, out);
            return Err(self.drop_out(tunnel, DropReason::TooBigDf));
        }
        let parts = pmtu::fragment(packet, mtu, || out.frame()).map_err(|r| self.drop_out(tunnel, r))?;
        for part in parts.into_iter().flatten() {
            let info = Info::parse(part.data())?;
            // Each fragment is a packet of its own from here on, and is counted as one if it ends here.
            if let Err(reason) = self.offer(now, part, info, tunnel, origin, out) {
                self.drop(reason);
            }
        }
        Ok(())
    }

    /// Largest packet through the tunnel as it is now: an outer IPv6 packet leaves less room.
    pub(crate) fn effective_mtu(&self, tunnel: u32) -> Option<u16> {
        let t = self.tunnels.get(tunnel)?;
        let outbound = t.outbound.and_then(|i| self.sad.outbound(i));
        let media = outbound.and_then(|sa| self.media.get(sa.common.media));
        Some(media.map_or(t.inner_mtu, |m| t.inner_mtu.min(m.inner_max)))
    }

    /// A packet that fits, to where it waits or is sealed.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        packet: P,
        info: Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        self.stages.passed(Stage::Route);
        let t = self.tunnels.get_mut(tunnel).ok_or(DropReason::TunnelUnknown)?;
        let Some(sa) = t.outbound else {
            let limits = &self.config.limits;
            let has_room = self.trigger_packets + self.replay_packets < limits.trigger_packets_max()
                && self.waiting.free() > limits.reserved_packets();
            let waiting = Waiting { packet, cost: info.len, info, since: now, origin };
            let (queued, event) = trigger::push(t, &mut self.waiting, has_room, waiting);
            self.trigger_packets += u32::from(queued.is_ok());
            self.watch_trigger(tunnel);
            if let Some(event) = event {
                out.event(event);
            }
            return queued.map_err(|reason| self.drop_out(tunnel, reason));
        };
        let media = self.sad.outbound(sa).map(|sa| sa.common.media).ok_or(DropReason::TunnelUnknown)?;
        let m = self.media.get_mut(media).ok_or(DropReason::MediaPortClosed)?;
        if m.queues.is_empty() && m.shaper.is_ready(now) {
            return self.seal(now, packet, &info, tunnel, sa, media, out);
        }
        let cost = m.outer.outer_len(info.len.into()) as u16;
        let waiting = Waiting { packet, info, since: now, origin, cost };
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
        self.deadline = self.deadline.min(at);
        if !t.trigger.is_watched {
            t.trigger.is_watched = true;
            self.triggers.push(tunnel);
        }
    }

    /// Its rate allows the packet: it leaves.
    #[expect(
        clippy::too_many_arguments,
        reason = "a packet and the three places that its path has already found"
    )]
    pub(super) fn seal(
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
            // What is too large is cut, or its sender told, before it comes here.
            return Err(self.drop_out(tunnel, DropReason::TooBigDf));
        }
        let (ids, df) = (&mut self.identifications, self.config.outside.dont_fragment);
        let sealed = esp_encap::seal(packet, info, outbound, &m.outer, ids, m.binding.outer_dscp, df);
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
            a.last_out = now;
        }
        Ok(())
    }
}
