//! What leaves by the inside port, and what the sender of a packet is told.

use super::Pipeline;
use crate::icmp_error;
use crate::packet::Packet;
use crate::parse::Info;
use crate::sink::Sink;
use sipsec_net::eth::{self, EthHeader};
use sipsec_net::icmp::IcmpError;
use sipsec_net::{DropReason, Instant, ipv4, ipv6};

impl<P: Packet> Pipeline<P> {
    pub(super) fn transmit_inside(
        &mut self,
        mut packet: P,
        v6: bool,
        out: &mut impl Sink<P>,
    ) -> Result<(), DropReason> {
        let ether_type = if v6 { eth::IPV6 } else { eth::IPV4 };
        let (destination, source) = (self.config.inside.next_hop, self.config.inside.mac);
        if !packet.push_front(eth::HEADER_LEN) {
            return Err(DropReason::MalformedFrame);
        }
        let header = EthHeader { destination, source, ether_type }.to_bytes();
        packet.data_mut()[..eth::HEADER_LEN].copy_from_slice(&header);
        out.transmit_inside(packet);
        Ok(())
    }

    /// Tells the sender on the inside. Whether it is told changes nothing about the packet's own end.
    pub(super) fn error_inside(
        &mut self,
        now: Instant,
        mut packet: P,
        info: &Info,
        error: IcmpError,
        out: &mut impl Sink<P>,
    ) {
        let inside = &self.config.inside;
        if icmp_error::convert(&mut packet, info, error, inside, &mut self.icmp_limit, now)
            && let Err(reason) = self.transmit_inside(packet, info.is_v6(), out)
        {
            self.drop(reason);
        }
    }

    /// Tells the sender behind a tunnel that its packet ran out of hops here.
    pub(super) fn error_tunnel(&mut self, now: Instant, mut packet: P, info: &Info, out: &mut impl Sink<P>) {
        let inside = &self.config.inside;
        let error = IcmpError::TimeExceeded;
        if !icmp_error::convert(&mut packet, info, error, inside, &mut self.icmp_limit, now) {
            return;
        }
        let Some(tunnel) = self.fib.lookup(info.source) else { return };
        if let Ok(info) = Info::parse(packet.data())
            && let Err(reason) = self.offer(now, packet, info, tunnel, out)
        {
            self.drop(reason);
        }
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
