//! From the FIB's answer to the outside port.

use super::Pipeline;
use crate::packet::Packet;
use crate::parse::Info;
use crate::sink::{OutsideFrame, Sink};
use crate::stage::Stage;
use crate::waiting::Waiting;
use crate::{esp_encap, mss, pmtu, trigger};
use sipsec_net::icmp::IcmpError;
use sipsec_net::{DropReason, Instant, esp};

impl<P: Packet> Pipeline<P> {
    /// An IP packet into a tunnel.
    pub(super) fn forward(
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
    pub(super) fn offer(
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
}
