//! ICMP errors to the sender of a packet, made in that packet's own frame.

use crate::config::Local;
use crate::packet::Packet;
use crate::parse::Info;
use core::net::IpAddr;
use core::time::Duration;
use sipsec_net::icmp::{self, IcmpError};
use sipsec_net::ipv4::{self, Ipv4Header};
use sipsec_net::ipv6::{self, Ipv6Header};
use sipsec_net::{Instant, checksum};

const TTL: u8 = 64;
/// RFC 1812 §4.3.2.3: as much of the packet as fits without the error exceeding 576 bytes.
const LEN_MAX_V4: usize = 576;
/// RFC 4443 §2.4 (c): without exceeding the minimum IPv6 MTU.
const LEN_MAX_V6: usize = 1280;

/// RFC 1812 §4.3.2.8: so many in any second.
#[derive(Debug)]
pub(crate) struct IcmpLimit {
    max: u32,
    left: u32,
    since: Instant,
}

impl IcmpLimit {
    pub(crate) const fn new(max: u32) -> Self {
        Self { max, left: max, since: Instant::ZERO }
    }

    fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.left = self.max;
        }
        let ok = self.left > 0;
        self.left -= u32::from(ok);
        ok
    }
}

/// Turns an IP packet into the error about it, addressed to its source; `false` if there must be none. The packet is between
/// unicast addresses, or a hello.
pub(crate) fn convert<P: Packet>(
    packet: &mut P,
    info: &Info,
    error: IcmpError,
    local: &Local,
    limit: &mut IcmpLimit,
    now: Instant,
) -> bool {
    // RFC 1812 §4.3.2.7: not about an ICMP error, not about a fragment but the first.
    let kind = info.ports.map(|(p, _)| (p >> 8) as u8);
    let is_icmp = matches!(info.protocol, icmp::PROTOCOL_V4 | icmp::PROTOCOL_V6);
    // RFC 4443 §2.4 (e): what cannot be told from an ICMP error is taken for one; and nothing is said about multicast.
    let unknown = info.is_v6() && info.protocol == ipv6::OPAQUE;
    if info.later_fragment
        || info.hello
        || unknown
        || (is_icmp && kind.is_none_or(|k| icmp::is_error(info.protocol, k)))
    {
        return false;
    }
    if !limit.take(now) {
        return false;
    }
    let (ip_len, max) = match info.destination {
        IpAddr::V4(_) => (ipv4::HEADER_LEN, LEN_MAX_V4),
        IpAddr::V6(_) => (ipv6::HEADER_LEN, LEN_MAX_V6),
    };
    packet.truncate(max - ip_len - icmp::HEADER_LEN);
    if !packet.push_front(ip_len + icmp::HEADER_LEN) {
        return false;
    }
    let data = packet.data_mut();
    let total = data.len() as u16;
    let body = total - ip_len as u16;
    data[ip_len..ip_len + icmp::HEADER_LEN].copy_from_slice(&error.header(info.is_v6()));
    let initial = match (info.source, info.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header {
                header_len: ipv4::HEADER_LEN as u8,
                // RFC 1812 §4.3.2.5: precedence 6 or 7.
                tos: 0xc0,
                total_len: total,
                identification: 0,
                // RFC 6864 §4.1: atomic, so the identification means nothing.
                dont_fragment: true,
                more_fragments: false,
                fragment_offset: 0,
                ttl: TTL,
                protocol: icmp::PROTOCOL_V4,
                source: local.icmp_source_v4.unwrap_or(destination),
                destination: source,
            };
            data[..ip_len].copy_from_slice(&header.to_bytes());
            0
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let own = local.icmp_source_v6.unwrap_or(destination);
            let header = Ipv6Header {
                traffic_class: 0xc0,
                flow_label: 0,
                payload_len: body,
                next_header: icmp::PROTOCOL_V6,
                hop_limit: TTL,
                source: own,
                destination: source,
            };
            data[..ip_len].copy_from_slice(&header.to_bytes());
            checksum::pseudo(own.into(), source.into(), icmp::PROTOCOL_V6, body)
        }
        _ => return false,
    };
    let check = checksum::finish(checksum::sum(&data[ip_len..], initial));
    data[ip_len + 2..ip_len + 4].copy_from_slice(&check.to_be_bytes());
    true
}
