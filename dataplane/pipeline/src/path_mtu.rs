//! The path between the two gateways of a call: its MTU, as ICMP errors (RFC 4301 §8.2) and probes of the control plane
//! (RFC 8899) tell it. The smaller of both holds.
//!
//! The errors are not authenticated. So one counts only if it quotes a packet of a live call, its SPI included where the quote
//! is long enough; it only lowers the MTU, not below a floor, and what it said is forgotten after ten minutes (RFC 1191 §6.3).
//! Larger inner packets are told to their sender, or cut, from then on.

use crate::config::OutsidePort;
use crate::graph::Pipeline;
use crate::media::Media;
use crate::packet::Packet;
use crate::qos_counters::OuterMtu;
use core::net::SocketAddr;
use core::time::Duration;
use sipsec_net::{DropReason, Instant, MediaPort, ipv6};

/// RFC 1191 §6.3: "a suggested value is 10 minutes".
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// RFC 791 §3.2: what every host takes. A forged error does no more harm than this.
pub(crate) const FLOOR_V4: u16 = 576;

/// What an ICMP error says of the path from a media port to its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    pub media_port: MediaPort,
    /// To whom the quoted packet went.
    pub remote: SocketAddr,
    pub mtu: u32,
    /// Of the quoted packet, if the quote reaches so far: RFC 792 asks for no more than its UDP header.
    pub spi: Option<u32>,
}

impl<P: Packet> Pipeline<P> {
    /// An ICMP error has come. RFC 4301 §8.2.1.
    pub fn path_mtu(&mut self, now: Instant, report: &PathMtu) {
        if self.learn_path_mtu(now, report).is_none() {
            self.drops[DropReason::PathMtuIgnored.index()] += 1;
        }
    }

    fn learn_path_mtu(&mut self, now: Instant, report: &PathMtu) -> Option<()> {
        let index = self.media.find(report.media_port)?;
        let media = self.media.get_mut(index)?;
        if media.binding.remote != report.remote {
            return None;
        }
        if let Some(spi) = report.spi {
            let sent = |sa: &_| self.sad.common_of(*sa).is_some_and(|c| c.spi.get() == spi);
            media.sas.iter().any(sent).then_some(())?;
        }
        let floor = if report.remote.is_ipv6() { ipv6::MTU_MIN } else { FLOOR_V4 };
        let mtu = u16::try_from(report.mtu).ok()?.max(floor);
        let now_in_force = media.path_mtu.unwrap_or(self.config.outside.mtu);
        if mtu >= now_in_force {
            return None;
        }
        media.path_mtu = Some(mtu);
        self.path_expiries.set(index, now + FORGOTTEN_AFTER);
        self.apply_path_mtu(index);
        Some(())
    }

    /// What was said of these paths is too old.
    pub(crate) fn forget_path_mtus(&mut self, now: Instant) {
        while let Some(index) = self.path_expiries.pop_due(now) {
            if let Some(media) = self.media.get_mut(index) {
                media.path_mtu = None;
            }
            self.apply_path_mtu(index);
        }
    }

    /// What probes have found.
    pub(crate) fn set_probed_mtu(&mut self, port: MediaPort, mtu: Option<u16>) {
        let Some(index) = self.media.find(port) else { return };
        if let Some(media) = self.media.get_mut(index) {
            media.probed_mtu = mtu;
        }
        self.apply_path_mtu(index);
    }

    /// The largest inner packet of each SA of a call follows its path.
    fn apply_path_mtu(&mut self, index: u32) {
        let outside = self.config.outside;
        let Some(media) = self.media.get(index) else { return };
        for sa in self.sad.iter_outbound_mut().filter(|sa| sa.common.media == index) {
            sa.common.inner_max = media.inner_max(&outside, sa.common.layout);
        }
        self.publish_mtu(media.tunnel);
    }

    /// What `show` says of a tunnel's MTU follows its SA and its path.
    pub(crate) fn publish_mtu(&self, tunnel: u32) {
        // Its owner publishes.
        let Some(t) = self.tunnels.get(tunnel).filter(|t| t.elsewhere.is_none()) else { return };
        let media =
            t.outbound.and_then(|sa| self.sad.outbound(sa)).and_then(|sa| self.media.get(sa.common.media));
        let port = &self.config.outside;
        let outer = media.map_or_else(OuterMtu::default, |m| OuterMtu {
            max: m.outer_max(port),
            of_path: m.path_mtu.is_some() || m.probed_mtu.is_some(),
            ceiling: m.probe_ceiling(port),
        });
        let inner = self.effective_mtu(tunnel).unwrap_or(t.inner_mtu);
        t.policy.counters.set_mtu(inner, outer);
    }
}

impl Media {
    /// Largest outer packet: of the WAN, or of the path behind it.
    pub(crate) fn outer_max(&self, port: &OutsidePort) -> u16 {
        self.probed_mtu.map_or(u16::MAX, |probed| probed).min(self.probe_ceiling(port))
    }

    /// The same without what probes have found.
    pub(crate) fn probe_ceiling(&self, port: &OutsidePort) -> u16 {
        self.path_mtu.map_or(port.mtu, |path| path.min(port.mtu))
    }
}
