//! A datagram from the kernel, with the outer headers that it had, so that it takes the way of all that arrives.

use crate::packet::Packet;
use core::net::{IpAddr, SocketAddr};
use sipsec_net::eth::{self, EthHeader};
use sipsec_net::ipv4::{self, Ipv4Header};
use sipsec_net::ipv6::Ipv6Header;
use sipsec_net::udp::{self, UdpHeader};
use sipsec_net::{DropReason, MacAddr};

/// The kernel has looked at TTL and checksum.
const TTL: u8 = 64;

/// `frame` is fresh and empty.
pub(crate) fn build<P: Packet>(
    mut frame: P,
    from: SocketAddr,
    to: SocketAddr,
    class: u8,
    payload: &[u8],
) -> Result<P, DropReason> {
    let udp_len = udp::HEADER_LEN + payload.len();
    let Ok(len) = u16::try_from(udp_len) else { return Err(DropReason::OuterTooLong) };
    let udp = UdpHeader { source_port: from.port(), destination_port: to.port(), len, checksum: 0 };
    frame.truncate(0);
    if !frame.push_back(udp_len) {
        return Err(DropReason::OuterTooLong);
    }
    frame.data_mut()[..udp::HEADER_LEN].copy_from_slice(&udp.to_bytes());
    frame.data_mut()[udp::HEADER_LEN..].copy_from_slice(payload);
    let ether_type = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                header_len: ipv4::HEADER_LEN as u8,
                tos: class,
                total_len: len.checked_add(ipv4::HEADER_LEN as u16).ok_or(DropReason::OuterTooLong)?,
                identification: 0,
                dont_fragment: false,
                more_fragments: false,
                fragment_offset: 0,
                ttl: TTL,
                protocol: udp::PROTOCOL,
                source,
                destination,
            };
            put(&mut frame, &header.to_bytes())?;
            eth::IPV4
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                traffic_class: class,
                flow_label: 0,
                payload_len: len,
                next_header: udp::PROTOCOL,
                hop_limit: TTL,
                source,
                destination,
            };
            put(&mut frame, &header.to_bytes())?;
            eth::IPV6
        }
        _ => return Err(DropReason::MalformedIp),
    };
    let none = MacAddr::default();
    put(&mut frame, &EthHeader { destination: none, source: none, ether_type }.to_bytes())?;
    Ok(frame)
}

fn put<P: Packet>(frame: &mut P, header: &[u8]) -> Result<(), DropReason> {
    if !frame.push_front(header.len()) {
        return Err(DropReason::OuterTooLong);
    }
    frame.data_mut()[..header.len()].copy_from_slice(header);
    Ok(())
}
