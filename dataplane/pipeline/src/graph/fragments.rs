//! Outer fragments: their datagram goes on when the last of them has come.

use super::Pipeline;
use crate::esp_decap::OpenBatch;
use crate::media::{Outer, rebuilt_frame};
use crate::owner::HandOver;
use crate::packet::Packet;
use crate::reassembly::FragmentHeader;
use crate::sink::Sink;
use sipsec_net::{DropReason, Instant};

impl<P: Packet> Pipeline<P> {
    /// The packet worked on is a fragment. XDP hands over those between the addresses of live calls.
    #[cold]
    pub(super) fn outside_fragment(
        &mut self,
        now: Instant,
        fragment: &FragmentHeader,
        outer: &Outer,
        opening: &mut OpenBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        if let Some(worker) = self.place.reassembles_elsewhere(fragment.key.hash(0)) {
            let packet = opening.places.leave().ok_or(DropReason::MalformedFrame)?;
            return out.hand_over(worker, HandOver::Fragment, packet);
        }
        let packet = opening.places.current().ok_or(DropReason::MalformedFrame)?;
        let payload = outer.payload..outer.payload + outer.len;
        let payload = packet.data().get(payload).ok_or(DropReason::MalformedFrame)?;
        let Some(whole) = self.reassembly.take(now, fragment, payload, &mut self.drops)? else {
            return Ok(());
        };
        rebuilt_frame::build(packet, &fragment.key, &whole)?;
        self.outside(now, opening, out)
    }
}
