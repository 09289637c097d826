//! From the SPI to the inside port.

use super::Pipeline;
use super::inside::decrement_ttl;
use crate::config::InsideMode;
use crate::packet::Packet;
use crate::parse::Info;
use crate::sink::Sink;
use crate::stage::Stage;
use crate::{ecn, esp_decap, mss};
use core::net::IpAddr;
use sipsec_net::dp::Event;
use sipsec_net::icmp::IcmpError;
use sipsec_net::{DropReason, Instant, MediaPort, esp, ipv4, ipv6};

impl<P: Packet> Pipeline<P> {
    pub(super) fn open(
        &mut self,
        now: Instant,
        mut packet: P,
        port: MediaPort,
        outer_class: u8,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let header = esp::EspHeader::parse(packet.data()).ok_or(DropReason::EspMalformed)?;
        let sa = self.sad.inbound(port, header.spi).ok_or(DropReason::UnknownSpi)?;
        let (tunnel, bytes) = (sa.common.tunnel, packet.len());
        let inner = esp_decap::open(&mut packet, sa).and_then(|opened| {
            // RFC 7296 §2.8: a valid packet on a new SA is the second sign, besides DELETE, that the peer uses it.
            if !sa.used {
                sa.used = true;
                out.event(Event::SaFirstInbound { sa: sa.common.id });
            }
            // What follows the integrity check is the peer's own doing and counts as its traffic.
            if let Some(expired) = sa.common.lifetime.count(bytes) {
                out.event(sa.common.expire_event(expired));
            }
            esp_decap::unpack(&mut packet, opened)?;
            let info = Info::parse(packet.data())?;
            packet.truncate(info.len.into());
            let allowed = sa.common.selectors.allow_in(&info);
            if allowed { Ok(info) } else { Err(DropReason::SelectorMismatchIn) }
        });
        self.stages.passed(Stage::Open);
        let delivered = inner.and_then(|info| self.deliver(now, packet, info, tunnel, outer_class, out));
        if delivered.is_err()
            && let Some(t) = self.tunnels.get_mut(tunnel)
        {
            t.activity.drops_in += 1;
        }
        delivered
    }

    /// RFC 4301 §5.2: selectors are as wide as the peers made them ("everything", as a rule), so it is the routes that say
    /// which networks are this peer's. RFC 3704 §2.2: by the way back, strictly; the host's own are nobody's.
    fn check_source(&mut self, source: IpAddr, tunnel: u32) -> Result<(), DropReason> {
        let t = self.tunnels.get(tunnel).ok_or(DropReason::TunnelUnknown)?;
        let known = Some((self.fib.generation(), source));
        if !t.spec.check_source || t.known_source == known {
            return Ok(());
        }
        if self.route(source) != Some(tunnel) {
            return Err(DropReason::SourceNotRouted);
        }
        if let Some(t) = self.tunnels.get_mut(tunnel) {
            t.known_source = known;
        }
        Ok(())
    }

    /// A packet that came through a tunnel.
    fn deliver(
        &mut self,
        now: Instant,
        mut packet: P,
        mut info: Info,
        tunnel: u32,
        outer_class: u8,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        if !info.is_forwardable() {
            return Err(DropReason::NotUnicast);
        }
        self.check_source(info.source, tunnel)?;
        let class = ecn::forwarded_class(info.class, outer_class).ok_or(DropReason::EcnIllegal)?;
        if class != info.class {
            if info.is_v6() {
                ipv6::set_traffic_class(packet.data_mut(), class);
            } else {
                ipv4::set_byte(packet.data_mut(), 1, class);
            }
            // RFC 6040 §4.1: a hub's next outer header copies what the packet says now.
            info.class = class;
        }
        let t = self.tunnels.get_mut(tunnel).ok_or(DropReason::TunnelUnknown)?;
        t.activity.packets_in += 1;
        t.activity.bytes_in += u64::from(info.len);
        t.activity.last_in = now;
        let (origin, mss_clamp) = (Some(t.spec.tunnel), t.spec.mss_clamp);
        if mss_clamp && let Some(mtu) = self.effective_mtu(tunnel) {
            mss::clamp(packet.data_mut(), &info, mtu);
        }
        if self.config.inside.mode == InsideMode::Router {
            if info.ttl <= 1 {
                self.error(now, packet, &info, IcmpError::TimeExceeded, origin, out);
                return Err(DropReason::TtlExpired);
            }
            decrement_ttl(packet.data_mut(), &info);
            // From tunnel to tunnel (a hub between branches): nobody else would bring it back. Never into the one it came
            // from: that has said whose it is, whatever its prefixes cover.
            if let Some(next) = self.route(info.destination).filter(|next| *next != tunnel) {
                return self.forward(now, packet, info, next, origin, out);
            }
        }
        self.transmit_inside(packet, info.is_v6(), out)?;
        self.stages.passed(Stage::Deliver);
        Ok(())
    }
}
