//! Where packets meet the translation of addresses: the last thing before they are sealed, the first after they are opened.
//! A packet that waits, is too large or has expired is still as its sender made it, and so is what an ICMP error quotes.

use super::Pipeline;
use crate::esp_encap::SealBatch;
use crate::packet::Packet;
use crate::parse::Info;
use crate::sink::Sink;
use sipsec_nat::Nat;
use sipsec_net::dp::Event;
use sipsec_net::nat::NAT_PAGE_MAX;
use sipsec_net::{DropReason, Instant};

/// What the packet says after translation, if that changes it. The tunnel's addresses are translated.
#[cold]
pub(super) fn outbound<P: Packet>(
    nat: &mut Nat,
    now: Instant,
    info: &Info,
    tunnel: u32,
    packet: &mut P,
) -> Result<Option<Info>, DropReason> {
    if info.hello {
        return Ok(None);
    }
    nat.outbound(now, tunnel, packet.data_mut())?.then(|| Info::parse(packet.data())).transpose()
}

impl<P: Packet> Pipeline<P> {
    /// A packet that came through the tunnel, before anything looks at its addresses, which are translated.
    #[cold]
    pub(super) fn translate_in(
        &mut self,
        now: Instant,
        packet: &mut P,
        info: &mut Info,
        tunnel: u32,
    ) -> Result<(), DropReason> {
        // Nothing outside has an address that stands for something inside.
        if self.nat.is_hairpin(tunnel, info.source) {
            return Err(DropReason::SourceNotRouted);
        }
        if self.nat.inbound(now, tunnel, packet.data_mut())? {
            info.read(packet.data())?;
        }
        Ok(())
    }

    /// RFC 4787 §6: the packet worked on is for a host inside by the address that outside knows it by. It comes from the
    /// sender's own such address.
    #[cold]
    pub(super) fn hairpin(
        &mut self,
        now: Instant,
        tunnel: u32,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let mut packet = sealing.places.leave().ok_or(DropReason::MalformedFrame)?;
        self.nat.outbound(now, tunnel, packet.data_mut())?;
        if !self.nat.inbound(now, tunnel, packet.data_mut())? {
            return Err(DropReason::NatNoTranslation);
        }
        let info = Info::parse(packet.data())?;
        self.frame_inside(&mut packet, &info, Some(tunnel))?;
        out.transmit_inside(packet);
        Ok(())
    }

    /// Ends translations that are due, and tells of those that were asked for.
    pub(super) fn poll_nat(&mut self, now: Instant, out: &mut impl Sink<P>) {
        self.nat.poll(now);
        while let Some(block) = self.nat.take_block() {
            out.event(Event::NatBlock(block));
        }
        if let Some(from) = self.nat_page.take() {
            let own = self.place.own_nat_row(from).unwrap_or(from);
            let next =
                self.nat.page(now, own, NAT_PAGE_MAX.into(), |entry| out.event(Event::NatEntry(entry)));
            let next = self.place.nat_row(next);
            out.event(Event::NatPage { from, next, statistics: self.nat.statistics() });
        }
    }

    /// When [`Self::poll_nat`] has something to do.
    pub(super) fn nat_deadline(&self) -> Instant {
        if self.nat_page.is_some() { Instant::ZERO } else { self.nat.deadline() }
    }
}
