//! What has its time: packets at their rate, IKE before them, triggers that waited too long.

use super::Pipeline;
use super::inside::set_class;
use crate::class_queues::Due;
use crate::ecn;
use crate::esp_encap::SealBatch;
use crate::media::ike_frame;
use crate::packet::Packet;
use crate::packet_queue::Waiting;
use crate::parse::Info;
use crate::sink::{OutsideFrame, Sink};
use crate::trigger;
use core::net::SocketAddr;
use sipsec_net::{DropReason, Instant, MediaPort};

/// Packets sent for one media port per poll: a fast call does not hold up the ports.
const RELEASE_MAX: usize = 64;

impl<P: Packet> Pipeline<P> {
    /// Queues an IKE message, or a NAT keepalive if it is empty, ahead of all data of its port; [`Self::poll`] sends it.
    /// `frame` is an empty frame with headroom, or `None` if there was none.
    pub fn send_ike(
        &mut self,
        now: Instant,
        port: MediaPort,
        remote: SocketAddr,
        message: &[u8],
        frame: Option<P>,
    ) {
        if let Err(reason) = self.queue_ike(now, port, remote, (message, false), frame) {
            self.drop(reason);
        }
    }

    /// The same for a probe of the path: over IPv4 with DF, so that it arrives whole or not at all (RFC 8899 §3).
    pub fn send_probe(
        &mut self,
        now: Instant,
        port: MediaPort,
        remote: SocketAddr,
        message: &[u8],
        frame: Option<P>,
    ) {
        if let Err(reason) = self.queue_ike(now, port, remote, (message, true), frame) {
            self.drop(reason);
        }
    }

    fn queue_ike(
        &mut self,
        now: Instant,
        port: MediaPort,
        remote: SocketAddr,
        (message, probe): (&[u8], bool),
        frame: Option<P>,
    ) -> Result<(), DropReason> {
        let media = self.media.find(port).ok_or(DropReason::IkeNoBinding)?;
        let m = self.media.get_mut(media).ok_or(DropReason::IkeNoBinding)?;
        // A message for the peer of an earlier call on this port is dropped.
        if m.binding.remote != remote {
            return Err(DropReason::IkeNoBinding);
        }
        if m.queues.ike_len() >= self.config.limits.ike_packets_max.into() {
            return Err(DropReason::ShaperIkeQueueFull);
        }
        let frame = frame.ok_or(DropReason::FrameExhausted)?;
        let packet = ike_frame::build(
            frame,
            message,
            probe,
            &m.outer,
            &mut self.identifications,
            self.config.outside.mtu,
        )?;
        let cost = m.outer.outer_ip_len(ike_frame::payload_len(message)) as u16;
        let waiting = Waiting { packet, info: Info::default(), since: now, origin: None, cost };
        m.queues.push_ike(&mut self.ike_waiting, waiting).map_err(|_| DropReason::ShaperIkeQueueFull)?;
        self.activate(media);
        Ok(())
    }

    /// The media port has something to send.
    pub(crate) fn activate(&mut self, media: u32) {
        if let Some(m) = self.media.get(media) {
            self.releases.set(media, m.shaper.ready_at().max(m.queues.ready_at()));
        }
    }

    /// Sends what its rate allows now and ends what has waited too long. Looks at nothing that is not due.
    pub fn poll(&mut self, now: Instant, out: &mut impl Sink<P>) {
        if now < self.next_deadline() {
            return;
        }
        self.stages.batch();
        let mut sealing = core::mem::take(&mut self.sealing);
        // Each port once: what is due again at once has its turn in the next poll.
        let mut due = core::mem::take(&mut self.due);
        due.extend(core::iter::from_fn(|| self.releases.pop_due(now)));
        for media in due.drain(..) {
            self.release(now, media, &mut sealing, out);
            if self.media.get(media).is_some_and(|m| !m.queues.is_empty()) {
                self.activate(media);
            }
        }
        self.due = due;
        self.seal_all(&mut sealing, out);
        self.sealing = sealing;
        while let Some(tunnel) = self.expiries.pop_due(now) {
            self.expire_trigger(now, tunnel);
        }
        if self.nat_deadline() <= now {
            self.poll_nat(now, out);
        }
        self.forget_path_mtus(now);
        self.reassembly.expire(now, &mut self.drops);
        self.expire_fragments(now);
    }

    fn release(&mut self, now: Instant, media: u32, sealing: &mut SealBatch<P>, out: &mut impl Sink<P>) {
        for _ in 0..RELEASE_MAX {
            let Some(m) = self.media.get_mut(media) else { return };
            if !m.shaper.is_ready(now) {
                return;
            }
            if let Some(w) = m.queues.pop_ike(&mut self.ike_waiting) {
                m.shaper.charge(now, w.cost.into());
                out.transmit_outside(OutsideFrame::Ike(w.packet));
                continue;
            }
            let tunnel = m.tunnel;
            self.replay_packets -= u32::from(m.queues.replay_len() > 0);
            let (due, dropped) = m.queues.pop(now, &mut self.waiting);
            for _ in 0..dropped {
                let reason = self.drop_out(tunnel, DropReason::ShaperAqm);
                self.drop(reason);
            }
            let Some(Due { waiting: mut w, mark, outer_dscp }) = due else { return };
            if mark {
                let class = ecn::congested(w.info.class);
                set_class(w.packet.data_mut(), &mut w.info, class);
            }
            self.stages.begin();
            let sa = self.tunnels.get(tunnel).and_then(|t| t.outbound);
            let carrier =
                sa.and_then(|sa| self.sad.outbound(sa)).map(|sa| (sa.common.media, sa.common.inner_max));
            let sent = match carrier {
                Some((on, inner_max)) if on == media && w.info.len <= inner_max => {
                    self.make_room(sealing, out);
                    sealing.places.add(w.packet);
                    let sent = self.release_packet(now, &w.info, outer_dscp, tunnel, sealing, out);
                    drop(sealing.places.leave());
                    sent
                }
                // The tunnel has moved to another call since, or the packet came before the call's addresses and cipher were
                // known and does not fit.
                Some(_) => self.forward_packet(now, w.packet, tunnel, w.origin, sealing, out),
                None => Err(self.drop_out(tunnel, DropReason::TriggerFlushed)),
            };
            if let Err(reason) = sent {
                self.drop(reason);
            }
        }
    }

    fn expire_trigger(&mut self, now: Instant, tunnel: u32) {
        let Some(t) = self.tunnels.get_mut(tunnel) else { return };
        let expired = trigger::expire(t, &mut self.waiting, now);
        self.trigger_packets -= expired;
        self.drops[DropReason::TriggerExpired.index()] += u64::from(expired);
        self.watch_trigger(tunnel);
    }

    /// When [`Self::poll`] will have something to do; [`Instant::MAX`] for never.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        let paths = self.path_expiries.next();
        self.releases
            .next()
            .min(self.expiries.next())
            .min(self.nat_deadline())
            .min(paths)
            .min(self.reassembly.deadline())
            .min(self.first_fragments.deadline())
    }
}
