//! Inner packets.

use core::net::{IpAddr, Ipv4Addr};
use sipsec_net::ipv4::{self, Ipv4Header};
use sipsec_net::ipv6::{self, Ipv6Header};
use sipsec_net::udp::{self, UdpHeader};

/// An IP packet to be made.
#[derive(Clone, Debug)]
pub struct Inner {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// TOS or traffic class.
    pub class: u8,
    pub ttl: u8,
    pub identification: u16,
    pub dont_fragment: bool,
    pub payload: Vec<u8>,
}

impl Inner {
    /// UDP between two hosts, with `len` bytes of data that count up.
    #[must_use]
    pub fn udp(source: IpAddr, destination: IpAddr, len: usize) -> Self {
        let len = len + udp::HEADER_LEN;
        let header = UdpHeader { source_port: 5004, destination_port: 5006, len: len as u16, checksum: 0 };
        let mut payload = header.to_bytes().to_vec();
        payload.extend((0..len - udp::HEADER_LEN).map(|i| i as u8));
        Self {
            source,
            destination,
            protocol: udp::PROTOCOL,
            class: 0,
            ttl: 63,
            identification: 0x1234,
            dont_fragment: false,
            payload,
        }
    }

    /// # Panics
    /// If the addresses are of two families.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Ipv4Header {
                header_len: ipv4::HEADER_LEN as u8,
                tos: self.class,
                total_len: (ipv4::HEADER_LEN + self.payload.len()) as u16,
                identification: self.identification,
                dont_fragment: self.dont_fragment,
                more_fragments: false,
                fragment_offset: 0,
                ttl: self.ttl,
                protocol: self.protocol,
                source,
                destination,
            }
            .to_bytes()
            .to_vec(),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Ipv6Header {
                traffic_class: self.class,
                flow_label: 0,
                payload_len: self.payload.len() as u16,
                next_header: self.protocol,
                hop_limit: self.ttl,
                source,
                destination,
            }
            .to_bytes()
            .to_vec(),
            (source, destination) => panic!("{source} and {destination} are of two families"),
        };
        debug_assert!(out.len() == ipv4::HEADER_LEN || out.len() == ipv6::HEADER_LEN);
        out.extend_from_slice(&self.payload);
        out
    }
}

/// An IPv4 packet of UDP, `len` bytes in all (at least 28).
#[must_use]
pub fn ipv4_udp(source: Ipv4Addr, destination: Ipv4Addr, len: usize) -> Vec<u8> {
    Inner::udp(source.into(), destination.into(), len.saturating_sub(28)).to_bytes()
}
