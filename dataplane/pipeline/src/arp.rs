//! ARP on the inside port (RFC 826): the far ends of the tunnels have no neighbours to answer for them, so the dataplane
//! answers for every address that a tunnel reaches.

use crate::fib::Fib;
use crate::packet::Packet;
use core::net::{IpAddr, Ipv4Addr};
use sipsec_net::MacAddr;
use sipsec_net::eth::{self, EthHeader};

const LEN: usize = 28;
/// Ethernet, IPv4, 6 and 4 bytes of address, request.
const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];

/// Turns a request for an address behind a tunnel into the answer; `false` if it is none.
pub(crate) fn answer<P: Packet>(frame: &mut P, fib: &Fib, own: MacAddr) -> bool {
    let data = frame.data_mut();
    let Some((_, arp)) = data.split_at_mut_checked(eth::HEADER_LEN) else { return false };
    let Some(arp) = arp.first_chunk_mut::<LEN>() else { return false };
    let sender = Ipv4Addr::new(arp[14], arp[15], arp[16], arp[17]);
    let target = Ipv4Addr::new(arp[24], arp[25], arp[26], arp[27]);
    // Never for the asker's own address: that is its duplicate address detection (RFC 5227 §2.1).
    if arp[..8] != REQUEST
        || sender == target
        || sender.is_unspecified()
        || fib.lookup(IpAddr::V4(target)).is_none()
    {
        return false;
    }
    let asker: [u8; 6] = arp[8..14].try_into().expect("six bytes");
    arp[7] = 2;
    arp.copy_within(8..18, 18);
    arp[8..14].copy_from_slice(&own.0);
    arp[14..18].copy_from_slice(&target.octets());
    let header = EthHeader { destination: MacAddr(asker), source: own, ether_type: eth::ARP };
    data[..eth::HEADER_LEN].copy_from_slice(&header.to_bytes());
    true
}
