//! What is live, for the counters and for a control plane that starts anew.

use crate::activity::Activities;
use crate::graph::Pipeline;
use crate::packet::Packet;
#[cfg(any(test, feature = "testing"))]
use crate::sad::SaRef;
use sipsec_net::TunnelId;
#[cfg(any(test, feature = "testing"))]
use sipsec_net::dp::Direction;
use sipsec_net::dp::{Event, TunnelActivity};
use sipsec_net::nat::NatStatistics;

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
    /// Everything live, as the registry has it.
    #[cfg(any(test, feature = "testing"))]
    pub fn snapshot(&self, event: &mut dyn FnMut(Event)) {
        for t in self.tunnels.iter() {
            let outbound = t.outbound.and_then(|i| self.sad.outbound(i)).map(|sa| sa.common.id);
            event(Event::SnapshotTunnel { tunnel: t.spec.tunnel, outbound });
        }
        for m in self.media.iter() {
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

    /// Outer fragments that wait for others.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub const fn fragments_held(&self) -> u32 {
        self.reassembly.held()
    }

    /// Asks again for the calls that packets of the tunnels in these positions wait for: for a control plane that has just
    /// connected. The first position after these, if there are more.
    pub fn reacquire(&self, positions: core::ops::Range<u32>, event: &mut dyn FnMut(Event)) -> Option<u32> {
        let (end, all) = (positions.end, self.tunnels.positions() as u32);
        for t in positions.filter_map(|position| self.tunnels.at(position as usize)) {
            if let (None, Some(first)) = (t.outbound, t.trigger.packets.peek(&self.waiting)) {
                event(Event::Acquire { tunnel: t.spec.tunnel, first: first.info.summary() });
            }
        }
        (end < all).then_some(end)
    }

    #[must_use]
    pub fn activity(&self, tunnel: TunnelId) -> Option<TunnelActivity> {
        let index = self.tunnels.find(tunnel)?;
        self.tunnels.get(index).map(|t| t.activity.read())
    }

    /// What every tunnel has carried, for other threads to read at any time.
    #[must_use]
    pub fn activities(&self) -> Activities {
        self.tunnels.activities().clone()
    }

    /// What the translations of this worker's tunnels count.
    #[must_use]
    pub const fn nat_statistics(&self) -> NatStatistics {
        self.nat.statistics()
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
