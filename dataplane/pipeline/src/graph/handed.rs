//! Between workers: what is for a tunnel of another, and what the others hand over. A frame is handed over as it came, so its
//! owner does with it what it does with its own; a packet that came out of one tunnel goes on from there.

use super::Pipeline;
use crate::esp_decap::OpenBatch;
use crate::esp_encap::SealBatch;
use crate::fib::Answer;
use crate::owner::{HandOver, WorkerIndex};
use crate::packet::Packet;
use crate::sink::Sink;
use sipsec_net::{DropReason, Instant, MediaPort, TunnelId};

impl<P: Packet> Pipeline<P> {
    /// The worker to which a packet with this answer of the FIB goes, if it is another.
    #[inline]
    pub(super) fn elsewhere(&self, answer: Answer) -> Option<WorkerIndex> {
        match answer {
            Answer::Tunnel(_) | Answer::Discard(_) | Answer::Local => None,
            Answer::Elsewhere(tunnel) | Answer::Outside(tunnel) => self.tunnels.get(tunnel)?.elsewhere,
        }
    }

    /// The packet worked on, whose Ethernet header was pulled, goes as the frame that it was.
    #[cold]
    pub(super) fn hand_over_inside(
        &self,
        worker: WorkerIndex,
        header: usize,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let mut packet = sealing.places.leave().ok_or(DropReason::MalformedFrame)?;
        if !packet.push_front(header) {
            return Err(DropReason::MalformedFrame);
        }
        out.hand_over(worker, HandOver::Inside, packet)
    }

    /// The packet worked on came to a media port that is not this worker's.
    #[cold]
    pub(super) fn hand_over_outside(
        &self,
        port: MediaPort,
        opening: &mut OpenBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let tunnel = self.place.tunnel_of(port).ok_or(DropReason::MediaPortClosed)?;
        let worker = self.place.elsewhere(tunnel).ok_or(DropReason::MediaPortClosed)?;
        let packet = opening.places.leave().ok_or(DropReason::MalformedFrame)?;
        out.hand_over(worker, HandOver::Outside, packet)
    }

    /// What another worker has handed over. Frames are quicker in batches, by [`Self::batch_from_outside`] and
    /// [`Self::batch_from_inside`].
    pub fn handed(&mut self, now: Instant, what: HandOver, packet: P, out: &mut impl Sink<P>) {
        match what {
            HandOver::Fragment | HandOver::Outside => self.from_outside(now, packet, out),
            HandOver::Inside => self.from_inside(now, packet, out),
            HandOver::Hub { tunnel, from } => self.handed_packet(packet, out, |p, packet, sealing, out| {
                let index = p.own(tunnel)?;
                p.forward_packet(now, packet, index, Some(from), sealing, out)
            }),
            HandOver::Error { tunnel } => self.handed_packet(packet, out, |p, packet, sealing, out| {
                p.own(tunnel)?;
                p.error_tunnel(now, packet, tunnel, sealing, out)
            }),
        }
    }

    /// The number of a tunnel that is still this worker's.
    fn own(&self, tunnel: TunnelId) -> Result<u32, DropReason> {
        let index = self.tunnels.find(tunnel).ok_or(DropReason::HandOffStale)?;
        let is_own = self.tunnels.get(index).is_some_and(|t| t.elsewhere.is_none());
        if is_own { Ok(index) } else { Err(DropReason::HandOffStale) }
    }

    fn handed_packet<S: Sink<P>>(
        &mut self,
        packet: P,
        out: &mut S,
        go_on: impl FnOnce(&mut Self, P, &mut SealBatch<P>, &mut S) -> Result<(), DropReason>,
    ) {
        let mut sealing = core::mem::take(&mut self.sealing);
        let end = go_on(self, packet, &mut sealing, out);
        self.end(end, None);
        self.seal_all(&mut sealing, out);
        self.sealing = sealing;
    }
}
