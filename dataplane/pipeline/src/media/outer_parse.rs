//! Outer headers of what arrives from the WAN: Ethernet, IP, UDP.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use sipsec_net::DropReason;
use sipsec_net::eth;
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::ipv6::{self, Ipv6Header};
use sipsec_net::udp::{self, UdpHeader};

#[derive(Debug)]
pub(crate) struct Outer {
    pub source: IpAddr,
    pub source_port: u16,
    pub destination: IpAddr,
    pub destination_port: u16,
    /// TOS or traffic class.
    pub class: u8,
    /// Where the UDP payload begins in the frame.
    pub payload: usize,
    pub len: usize,
}

impl Default for Outer {
    fn default() -> Self {
        Self {
            source: Ipv4Addr::UNSPECIFIED.into(),
            source_port: 0,
            destination: Ipv4Addr::UNSPECIFIED.into(),
            destination_port: 0,
            class: 0,
            payload: 0,
            len: 0,
        }
    }
}

impl Outer {
    pub(crate) const fn sender(&self) -> SocketAddr {
        SocketAddr::new(self.source, self.source_port)
    }

    /// Into a place that the caller has, as [`crate::parse::Info::read`].
    ///
    /// The UDP checksum is not looked at: RFC 3948 §2.1 lets ESP have none, IKE and ESP authenticate every byte
    /// themselves, and packets of a kernel on the same host come with a partial one.
    #[inline]
    pub(crate) fn read(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        let (ether_type, at) = eth::untagged(frame).ok_or(DropReason::MalformedFrame)?;
        let packet = &frame[at..];
        let (ip_len, total, protocol) = match ether_type {
            eth::IPV4 => self.read_v4(packet)?,
            eth::IPV6 => self.read_v6(packet)?,
            _ => return Err(DropReason::UnsupportedEtherType),
        };
        if protocol != udp::PROTOCOL {
            return Err(DropReason::MalformedUdp);
        }
        let udp = UdpHeader::parse(&packet[ip_len..total]).ok_or(DropReason::MalformedUdp)?;
        self.source_port = udp.source_port;
        self.destination_port = udp.destination_port;
        self.payload = at + ip_len + udp::HEADER_LEN;
        self.len = usize::from(udp.len) - udp::HEADER_LEN;
        Ok(())
    }

    /// Lengths of the header and of the packet, and the upper protocol.
    #[inline]
    fn read_v4(&mut self, packet: &[u8]) -> Result<(usize, usize, u8), DropReason> {
        let h = Ipv4Header::parse(packet).map_err(|_| DropReason::MalformedIp)?;
        if h.is_fragment() {
            return Err(DropReason::OuterFragment);
        }
        self.source = h.source.into();
        self.destination = h.destination.into();
        self.class = h.tos;
        Ok((h.header_len.into(), h.total_len.into(), h.protocol))
    }

    fn read_v6(&mut self, packet: &[u8]) -> Result<(usize, usize, u8), DropReason> {
        let h = Ipv6Header::parse(packet).map_err(|_| DropReason::MalformedIp)?;
        let upper = h.upper_layer(packet).map_err(|_| DropReason::MalformedIp)?;
        if upper.fragment {
            return Err(DropReason::OuterFragment);
        }
        self.source = h.source.into();
        self.destination = h.destination.into();
        self.class = h.traffic_class;
        Ok((upper.offset.into(), ipv6::HEADER_LEN + usize::from(h.payload_len), upper.protocol))
    }
}
