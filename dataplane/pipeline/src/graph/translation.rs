//! Where packets meet the translation of addresses: the last thing before they are sealed, the first after they are opened.
//! A packet that waits, is too large or has expired is still as its sender made it, and so is what an ICMP error quotes.

use super::Pipeline;
use crate::esp_encap::SealBatch;
use crate::first_fragments::{Held, Onward, PacketKey};
use crate::packet::Packet;
use crate::parse::Info;
use crate::sink::Sink;
use sipsec_nat::Nat;
use sipsec_net::dp::Event;
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::nat::NAT_PAGE_MAX;
use sipsec_net::{DropReason, Instant, TunnelId};

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

    /// What the packet waits for, if it is a fragment that has overtaken the first of its packet. IPv6 is translated without ports.
    pub(super) fn lacks_first(
        &mut self,
        now: Instant,
        packet: &[u8],
        info: &Info,
        tunnel: u32,
        is_out: bool,
    ) -> Option<PacketKey> {
        if !info.fragment {
            return None;
        }
        let Ipv4Header { source, destination, protocol, identification, .. } =
            Ipv4Header::parse(packet).ok()?;
        let key = PacketKey { tunnel, is_out, source, destination, protocol, identification };
        (!self.first_fragments.meet(now, &key, info.later_fragment)).then_some(key)
    }

    /// The packet worked on is a fragment for a tunnel that translates: it goes on, or waits for the first of its packet, or is
    /// that first, and those that waited follow it.
    #[cold]
    pub(super) fn forward_fragment(
        &mut self,
        now: Instant,
        info: &Info,
        tunnel: u32,
        origin: Option<TunnelId>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let packet = sealing.places.current().ok_or(DropReason::FragmentFailed)?;
        if let Some(key) = self.lacks_first(now, packet.data(), info, tunnel, true) {
            let packet = sealing.places.leave().ok_or(DropReason::FragmentFailed)?;
            let held = self.first_fragments.hold(now, packet, key, Onward::Out { origin });
            return held.map_err(|reason| self.drop_out(tunnel, reason));
        }
        self.forward_in_order(now, info, tunnel, origin, sealing, out)?;
        while let Some(Held { packet, key, onward: Onward::Out { origin }, .. }) =
            self.first_fragments.take_ready(now, true)
        {
            if let Err(reason) = self.forward_packet(now, packet, key.tunnel, origin, sealing, out) {
                self.drop(reason);
            }
        }
        Ok(())
    }

    /// Fragments out of tunnels whose first has come go on.
    pub(super) fn release_inbound(
        &mut self,
        now: Instant,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) {
        while let Some(Held { mut packet, key, onward: Onward::In { outer_class, mark }, .. }) =
            self.first_fragments.take_ready(now, false)
        {
            let way = Info::parse(packet.data()).and_then(|mut info| {
                self.deliver(now, &mut packet, &mut info, key.tunnel, (outer_class, mark))
            });
            let end = way
                .map_err(|reason| self.drop_in(key.tunnel, reason))
                .and_then(|way| self.go(now, packet, way, key.tunnel, sealing, out));
            if let Err(reason) = end {
                self.drop(reason);
            }
        }
    }

    /// The first fragments did not come.
    pub(super) fn expire_fragments(&mut self, now: Instant) {
        while let Some(Held { key, .. }) = self.first_fragments.take_expired(now) {
            let reason = if key.is_out {
                self.drop_out(key.tunnel, DropReason::NatFragment)
            } else {
                self.drop_in(key.tunnel, DropReason::NatFragment)
            };
            self.drop(reason);
        }
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
