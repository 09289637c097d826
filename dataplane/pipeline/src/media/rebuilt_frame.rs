//! A datagram that came in fragments, with the outer headers that it had before it was cut, so that it takes the way of all that
//! arrives.

use crate::packet::Packet;
use crate::reassembly::{DatagramKey, Reassembled};
use core::net::IpAddr;
use sipsec_net::eth::{self, EthHeader};
use sipsec_net::ipv4::{self, Ipv4Header};
use sipsec_net::ipv6::Ipv6Header;
use sipsec_net::{DropReason, MacAddr, udp};

/// Nothing looks at it any more.
const TTL: u8 = 64;

/// In the frame of the fragment that came last.
pub(crate) fn build<P: Packet>(
    frame: &mut P,
    key: &DatagramKey,
    datagram: &Reassembled<'_>,
) -> Result<(), DropReason> {
    frame.truncate(0);
    if !frame.push_back(datagram.bytes.len()) {
        return Err(DropReason::OuterTooLong);
    }
    frame.data_mut().copy_from_slice(datagram.bytes);
    // What fits a frame fits the length fields.
    let len = datagram.bytes.len() as u16;
    let ether_type = match (key.source, key.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                header_len: ipv4::HEADER_LEN as u8,
                tos: datagram.class,
                total_len: len + ipv4::HEADER_LEN as u16,
                identification: 0,
                dont_fragment: false,
                more_fragments: false,
                fragment_offset: 0,
                ttl: TTL,
                protocol: udp::PROTOCOL,
                source,
                destination,
            };
            put(frame, &header.to_bytes())?;
            eth::IPV4
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                traffic_class: datagram.class,
                flow_label: 0,
                payload_len: len,
                next_header: udp::PROTOCOL,
                hop_limit: TTL,
                source,
                destination,
            };
            put(frame, &header.to_bytes())?;
            eth::IPV6
        }
        _ => return Err(DropReason::MalformedIp),
    };
    let none = MacAddr::default();
    put(frame, &EthHeader { destination: none, source: none, ether_type }.to_bytes())
}

fn put<P: Packet>(frame: &mut P, header: &[u8]) -> Result<(), DropReason> {
    if !frame.push_front(header.len()) {
        return Err(DropReason::OuterTooLong);
    }
    frame.data_mut()[..header.len()].copy_from_slice(header);
    Ok(())
}
