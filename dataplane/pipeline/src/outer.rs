//! Outer headers of what arrives from the WAN: Ethernet, IP, UDP.

use core::net::{IpAddr, SocketAddr};
use sipsec_net::DropReason;
use sipsec_net::eth::{self, EthHeader};
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::ipv6::{self, Ipv6Header};
use sipsec_net::udp::{self, UdpHeader};

pub(crate) struct Outer {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// TOS or traffic class.
    pub class: u8,
    /// Where the UDP payload begins in the frame.
    pub payload: usize,
    pub len: usize,
}

/// The UDP checksum is not looked at: RFC 3948 §2.1 lets ESP have none, IKE and ESP authenticate every byte themselves,
/// and packets of a kernel on the same host come with a partial one.
pub(crate) fn parse(frame: &[u8]) -> Result<Outer, DropReason> {
    let header = EthHeader::parse(frame).ok_or(DropReason::MalformedFrame)?;
    let packet = &frame[eth::HEADER_LEN..];
    let (ip_len, total, protocol, class, source, destination): (_, _, _, _, IpAddr, IpAddr) =
        match header.ether_type {
            eth::IPV4 => {
                let h = Ipv4Header::parse(packet).map_err(|_| DropReason::MalformedIp)?;
                if h.is_fragment() {
                    return Err(DropReason::OuterFragment);
                }
                let (ip_len, total) = (usize::from(h.header_len), usize::from(h.total_len));
                (ip_len, total, h.protocol, h.tos, h.source.into(), h.destination.into())
            }
            eth::IPV6 => {
                let h = Ipv6Header::parse(packet).map_err(|_| DropReason::MalformedIp)?;
                let total = ipv6::HEADER_LEN + usize::from(h.payload_len);
                let upper = h.upper_layer(packet).map_err(|_| DropReason::MalformedIp)?;
                if upper.fragment {
                    return Err(DropReason::OuterFragment);
                }
                (
                    upper.offset.into(),
                    total,
                    upper.protocol,
                    h.traffic_class,
                    h.source.into(),
                    h.destination.into(),
                )
            }
            _ => return Err(DropReason::UnsupportedEtherType),
        };
    if protocol != udp::PROTOCOL {
        return Err(DropReason::MalformedUdp);
    }
    let udp = UdpHeader::parse(&packet[ip_len..total]).ok_or(DropReason::MalformedUdp)?;
    Ok(Outer {
        source: SocketAddr::new(source, udp.source_port),
        destination: SocketAddr::new(destination, udp.destination_port),
        class,
        payload: eth::HEADER_LEN + ip_len + udp::HEADER_LEN,
        len: usize::from(udp.len) - udp::HEADER_LEN,
    })
}
