//! Outer headers of what arrives from the WAN: Ethernet, IP, UDP; of a fragment Ethernet and IP.

use crate::reassembly::{DatagramKey, FragmentHeader};
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

    /// Into a place that the caller has: of a fragment, which is returned, the payload of the IP packet, else that of UDP; as [`crate::parse::Info::read`].
    ///
    /// The UDP checksum is not looked at: RFC 3948 §2.1 lets ESP have none, IKE and ESP authenticate every byte
    /// themselves, and packets of a kernel on the same host come with a partial one.
    #[inline]
    pub(crate) fn read(&mut self, frame: &[u8]) -> Result<Option<FragmentHeader>, DropReason> {
        let (ether_type, at) = eth::untagged(frame).ok_or(DropReason::MalformedFrame)?;
        let packet = &frame[at..];
        let (ip_len, total, protocol, fragment) = match ether_type {
            eth::IPV4 => self.read_v4(packet)?,
            eth::IPV6 => self.read_v6(packet)?,
            _ => return Err(DropReason::UnsupportedEtherType),
        };
        if protocol != udp::PROTOCOL {
            return Err(DropReason::MalformedUdp);
        }
        if fragment.is_some() {
            self.payload = at + ip_len;
            self.len = total - ip_len;
            return Ok(fragment);
        }
        let udp = UdpHeader::parse(&packet[ip_len..total]).ok_or(DropReason::MalformedUdp)?;
        self.source_port = udp.source_port;
        self.destination_port = udp.destination_port;
        self.payload = at + ip_len + udp::HEADER_LEN;
        self.len = usize::from(udp.len) - udp::HEADER_LEN;
        Ok(None)
    }

    fn fragment(&self, identification: u32, offset: u16, more: bool) -> FragmentHeader {
        let key = DatagramKey { source: self.source, destination: self.destination, identification };
        FragmentHeader { key, offset, more, class: self.class }
    }

    /// Lengths of the headers and of the packet, the upper protocol, and of which datagram it is a part, if it is one.
    #[inline]
    fn read_v4(&mut self, packet: &[u8]) -> Result<(usize, usize, u8, Option<FragmentHeader>), DropReason> {
        let h = Ipv4Header::parse(packet).map_err(|_| DropReason::MalformedIp)?;
        self.source = h.source.into();
        self.destination = h.destination.into();
        self.class = h.tos;
        let part = h
            .is_fragment()
            .then(|| self.fragment(h.identification.into(), h.fragment_offset << 3, h.more_fragments));
        Ok((h.header_len.into(), h.total_len.into(), h.protocol, part))
    }

    fn read_v6(&mut self, packet: &[u8]) -> Result<(usize, usize, u8, Option<FragmentHeader>), DropReason> {
        let h = Ipv6Header::parse(packet).map_err(|_| DropReason::MalformedIp)?;
        self.source = h.source.into();
        self.destination = h.destination.into();
        self.class = h.traffic_class;
        let total = ipv6::HEADER_LEN + usize::from(h.payload_len);
        if h.next_header != ipv6::FRAGMENT {
            let upper = h.upper_layer(packet).map_err(|_| DropReason::MalformedIp)?;
            // XDP leaves chains of extension headers to the kernel.
            let is_fragment = upper.fragment.then_some(DropReason::FragmentMalformed);
            return is_fragment.map_or(Ok((upper.offset.into(), total, upper.protocol, None)), Err);
        }
        let header = ipv6::FragmentHeader::parse(&packet[ipv6::HEADER_LEN..total]);
        let header = header.ok_or(DropReason::MalformedIp)?;
        // RFC 6946 §4: an atomic fragment is whole by itself.
        let part =
            (!header.is_atomic()).then(|| self.fragment(header.identification, header.offset, header.more));
        Ok((ipv6::HEADER_LEN + ipv6::FRAGMENT_LEN, total, header.next_header, part))
    }
}
