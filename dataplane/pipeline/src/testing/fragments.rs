//! Cuts a frame as a router on its way would.

use super::VecPacket;
use crate::packet::Packet;
use sipsec_net::eth;
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::ipv6::{self, Ipv6Header};

/// The frame in fragments with so many bytes behind their IP headers, a multiple of 8; as it is if it is not IP, or needs no cut.
/// Packets of the same addresses that are under way at a time need identifications of their own (RFC 6864 §4).
#[must_use]
pub fn fragments(frame: &VecPacket, payload_max: usize, identification: u16) -> Vec<VecPacket> {
    let data = frame.data();
    let whole = || vec![frame.clone()];
    let Some((ethernet, ip)) = data.split_at_checked(eth::HEADER_LEN) else { return whole() };
    let (header_len, total, v6) = match (Ipv4Header::parse(ip), Ipv6Header::parse(ip)) {
        (Ok(h), _) => (usize::from(h.header_len), usize::from(h.total_len), None),
        (_, Ok(h)) => (ipv6::HEADER_LEN, ipv6::HEADER_LEN + usize::from(h.payload_len), Some(h)),
        _ => return whole(),
    };
    let payload = &ip[header_len..total];
    if payload.len() <= payload_max {
        return whole();
    }
    let cut = payload.chunks(payload_max).enumerate().map(|(n, part)| {
        let (offset, more) = ((n * payload_max) as u16, (n + 1) * payload_max < payload.len());
        let header = match v6 {
            None => {
                let h = Ipv4Header::parse(ip).expect("it was");
                let h = Ipv4Header {
                    total_len: (header_len + part.len()) as u16,
                    identification,
                    dont_fragment: false,
                    more_fragments: more,
                    fragment_offset: offset / 8,
                    ..h
                };
                h.to_bytes().to_vec()
            }
            Some(h) => {
                let [high, low] = (offset | u16::from(more)).to_be_bytes();
                let part_len = (ipv6::FRAGMENT_LEN + part.len()) as u16;
                let outer = Ipv6Header { next_header: ipv6::FRAGMENT, payload_len: part_len, ..h };
                let id = u32::from(identification).to_be_bytes();
                [&outer.to_bytes()[..], &[h.next_header, 0, high, low], &id].concat()
            }
        };
        VecPacket::new(&[ethernet, &header, part].concat())
    });
    cut.collect()
}
