//! What is live, for a control plane that starts anew and for the counters.

use crate::graph::Pipeline;
use crate::packet::Packet;
use crate::sad::SaRef;
use sipsec_net::dp::{Direction, Event, TunnelActivity};
use sipsec_net::{TunnelId, ipv6};

/// How much of everything there is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    pub tunnels: u32,
    pub routes: u32,
    pub media_ports: u32,
    pub sas: u32,
    /// Packets that wait for an SA.
    pub trigger_waiting: u32,
    /// Packets that wait for their rate, IKE included.
    pub shaper_waiting: u32,
}

impl<P: Packet> Pipeline<P> {
    /// Everything live, in the order in which a control plane needs it; without the end mark.
    pub fn snapshot(&self, event: &mut dyn FnMut(Event)) {
        for (_, t) in self.tunnels.iter() {
            let outbound = t.outbound.and_then(|i| self.sad.outbound(i)).map(|sa| sa.common.id);
            event(Event::SnapshotTunnel { tunnel: t.spec.tunnel, outbound });
        }
        for (_, m) in self.media.iter() {
            event(Event::SnapshotMedia(m.binding));
        }
        for (reference, sa) in self.sad.iter() {
            let Some(tunnel) = self.tunnels.get(sa.tunnel) else { continue };
            let direction = match reference {
                SaRef::In(_) => Direction::In,
                SaRef::Out(_) => Direction::Out,
            };
            event(Event::SnapshotSa {
                sa: sa.id,
                tunnel: tunnel.spec.tunnel,
                direction,
                spi: sa.spi,
                media_port: sa.media_port,
            });
        }
    }

    /// Asks again for the calls that packets wait for: for a control plane that has just connected.
    pub fn reacquire(&self, event: &mut dyn FnMut(Event)) {
        for index in self.expiries.owners() {
            let Some(t) = self.tunnels.get(index) else { continue };
            if let (None, Some(first)) = (t.outbound, t.trigger.packets.peek(&self.waiting)) {
                event(Event::Acquire { tunnel: t.spec.tunnel, first: first.info.summary() });
            }
        }
    }

    /// The tunnel's MTU as it is now, if the tunnel has IPv6 routes and that is too small for them (RFC 8200 §5).
    #[must_use]
    pub fn too_small_for_v6(&self, tunnel: TunnelId) -> Option<u16> {
        let index = self.tunnels.find(tunnel)?;
        let mtu = self.effective_mtu(index)?;
        (mtu < ipv6::MTU_MIN && self.fib.has_v6(index)).then_some(mtu)
    }

    #[must_use]
    pub fn activity(&self, tunnel: TunnelId) -> Option<TunnelActivity> {
        let index = self.tunnels.find(tunnel)?;
        self.tunnels.get(index).map(|t| t.activity)
    }

    /// Every tunnel with a number below [`crate::Limits::tunnels_max`] that is its own while it exists, for slots in
    /// shared memory.
    pub fn activities(&self) -> impl Iterator<Item = (usize, TunnelId, TunnelActivity)> {
        self.tunnels.iter().map(|(i, t)| (i as usize, t.spec.tunnel, t.activity))
    }

    /// How many numbers [`Self::activities`] may give; it never falls.
    #[must_use]
    pub fn activity_places(&self) -> usize {
        self.tunnels.places()
    }

    /// The tunnel with this number, if there is one at the moment.
    #[must_use]
    pub fn activity_at(&self, place: usize) -> Option<(TunnelId, TunnelActivity)> {
        let tunnel = self.tunnels.get(u32::try_from(place).ok()?)?;
        Some((tunnel.spec.tunnel, tunnel.activity))
    }

    #[must_use]
    pub fn live(&self) -> Live {
        Live {
            tunnels: self.tunnels.len(),
            routes: self.fib.len(),
            media_ports: self.media.len(),
            sas: self.sad.len(),
            trigger_waiting: self.trigger_packets,
            shaper_waiting: self.waiting.used() - self.trigger_packets + self.ike_waiting.used(),
        }
    }
}
