//! The WAN's MTU, which may change while calls are up.

use crate::graph::Pipeline;
use crate::packet::Packet;
use crate::registry::inner_mtu;
use crate::slab::Occupant;

impl<P: Packet> Pipeline<P> {
    /// From now on outer packets are no larger than this, nor than at build, when frames were sized. Larger packets that wait
    /// already are cut, or their senders told, when their turn comes.
    pub fn set_outside_mtu(&mut self, mtu: u16) {
        self.config.outside.mtu = mtu.min(self.outside_mtu_max);
        let outside = self.config.outside;
        for tunnel in self.tunnels.iter_mut() {
            tunnel.inner_mtu = inner_mtu(&outside, &tunnel.spec);
        }
        for sa in self.sad.iter_outbound_mut() {
            if let Some(media) = self.media.get(sa.common.media) {
                sa.common.inner_max = media.inner_max(&outside, sa.common.layout);
            }
        }
        for position in 0..self.tunnels.positions() {
            if let Some(number) = self.tunnels.at(position).map(Occupant::number) {
                self.publish_mtu(number);
            }
        }
    }
}
