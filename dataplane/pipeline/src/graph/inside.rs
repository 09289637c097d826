//! What leaves by the inside port, and what the sender of a packet is told.

use super::Pipeline;
use crate::config::{InsideMode, InsidePort};
use crate::esp_encap::SealBatch;
use crate::icmp_error;
use crate::owner::HandOver;
use crate::packet::Packet;
use crate::parse::Info;
use crate::sink::Sink;
use sipsec_net::eth;
use sipsec_net::icmp::IcmpError;
use sipsec_net::{DropReason, Instant, TunnelId, ipv4, ipv6, tunnel_device};

impl<P: Packet> Pipeline<P> {
    /// Puts the inside's Ethernet header in front of an IP packet: to the device of this tunnel, if it has its own.
    #[inline]
    pub(super) fn frame_inside(
        &self,
        packet: &mut P,
        info: &Info,
        tunnel: Option<u32>,
    ) -> Result<(), DropReason> {
        if !packet.push_front(eth::HEADER_LEN) {
            return Err(DropReason::MalformedFrame);
        }
        let header = packet.data_mut().first_chunk_mut().ok_or(DropReason::MalformedFrame)?;
        *header = self.inside_headers[usize::from(info.is_v6())];
        let InsidePort { routers, mode, .. } = &self.config.inside;
        if *mode == InsideMode::Router {
            if !routers.is_empty()
                && let Some(mac) = routers.towards(info.destination, info.flow(self.config.flow_key))
            {
                header[..eth::MAC_LEN].copy_from_slice(&mac.0);
            }
            return Ok(());
        }
        if let Some(t) = tunnel.and_then(|tunnel| self.tunnels.get(tunnel)).filter(|t| t.spec.own_device) {
            header[..eth::MAC_LEN].copy_from_slice(&tunnel_device::mac(t.spec.tunnel).0);
        }
        Ok(())
    }

    /// Tells the sender, behind the tunnel `origin` that the packet came from or else on the inside, by the device of `tunnel` if
    /// it has its own. Whether it is told changes nothing about the packet's own end.
    #[expect(clippy::too_many_arguments, reason = "a packet's way so far, and what it needs to go on")]
    pub(super) fn error(
        &mut self,
        now: Instant,
        mut packet: P,
        info: &Info,
        error: IcmpError,
        origin: Option<TunnelId>,
        tunnel: Option<u32>,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) {
        if !icmp_error::convert(&mut packet, info, error, &self.local, &mut self.icmp_limit, now) {
            return;
        }
        let told = match origin {
            None => {
                // The error goes where the packet came from.
                let back = Info { source: info.destination, destination: info.source, ..*info };
                self.frame_inside(&mut packet, &back, tunnel).map(|()| out.transmit_inside(packet))
            }
            Some(tunnel) => self.error_tunnel(now, packet, tunnel, sealing, out),
        };
        if let Err(reason) = told {
            self.drop(reason);
        }
    }

    pub(super) fn error_tunnel(
        &mut self,
        now: Instant,
        packet: P,
        tunnel: TunnelId,
        sealing: &mut SealBatch<P>,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let index = self.tunnels.find(tunnel).ok_or(DropReason::TunnelUnknown)?;
        if let Some(worker) = self.tunnels.get(index).and_then(|t| t.elsewhere) {
            return out.hand_over(worker, HandOver::Error { tunnel }, packet);
        }
        // An error is not worth a call.
        if self.tunnels.get(index).is_none_or(|t| t.outbound.is_none()) {
            return Ok(());
        }
        let info = Info::parse(packet.data())?;
        self.offer_packet(now, packet, &info, index, None, sealing, out)
    }
}

/// RFC 1812 §5.3.1, RFC 8200 §3. The caller has seen that it is more than 1.
pub(super) fn decrement_ttl(packet: &mut [u8], info: &Info) {
    if info.is_v6() {
        packet[ipv6::HOP_LIMIT_AT] = info.ttl - 1;
    } else {
        ipv4::set_byte(packet, ipv4::TTL_AT, info.ttl - 1);
    }
}

/// Gives a packet another TOS or traffic class.
pub(super) fn set_class(packet: &mut [u8], info: &mut Info, class: u8) {
    if info.is_v6() {
        ipv6::set_traffic_class(packet, class);
    } else {
        ipv4::set_byte(packet, 1, class);
    }
    info.class = class;
}
