//! What the stages need of an IP packet, found once.

use crate::hash::{halves, keyed};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sipsec_net::dp::PacketSummary;
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::ipv6::Ipv6Header;
use sipsec_net::qos::Headers;
use sipsec_net::{DropReason, icmp, tcp, udp};

const SCTP: u8 = 132;

/// A parsed IP packet, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Info {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    /// Where the upper layer begins.
    pub upper: u16,
    pub len: u16,
    /// TOS or traffic class: DSCP and ECN.
    pub class: u8,
    pub ttl: u8,
    pub dont_fragment: bool,
    /// A part of a packet, the first included.
    pub fragment: bool,
    pub later_fragment: bool,
    /// Source and destination; `None` where they cannot be seen (RFC 4301 §4.4.1.1: OPAQUE). ICMP: type and code in
    /// both, as RFC 7296 §3.13.1 puts them into a selector.
    pub ports: Option<(u16, u16)>,
    /// Whether a router may forward it between these addresses: RFC 1812 §4.2.2.11 and §5.3.7, RFC 4291 §2.5.2, §2.5.3,
    /// §2.5.6 and §2.7. (169.254/16 may: tunnels are numbered from it.)
    pub forwardable: bool,
    /// A routing protocol's hello in a tunnel that lets it pass: no sign that the tunnel is in use.
    pub hello: bool,
}

impl Default for Info {
    fn default() -> Self {
        Self {
            source: Ipv4Addr::UNSPECIFIED.into(),
            destination: Ipv4Addr::UNSPECIFIED.into(),
            protocol: 0,
            upper: 0,
            len: 0,
            class: 0,
            ttl: 0,
            dont_fragment: false,
            fragment: false,
            later_fragment: false,
            ports: None,
            forwardable: false,
            hello: false,
        }
    }
}

impl Info {
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, DropReason> {
        let mut info = Self::default();
        info.read(packet)?;
        Ok(info)
    }

    /// Into a place that the caller has: what was just written byte by byte is slow to move.
    #[inline(always)]
    pub(crate) fn read(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        match packet.first() {
            Some(first) if first >> 4 == 4 => self.read_v4(packet),
            Some(first) if first >> 4 == 6 => self.read_v6(packet),
            _ => Err(DropReason::MalformedIp),
        }
    }

    #[inline(always)]
    fn read_v4(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let h = Ipv4Header::parse(packet).map_err(|_| DropReason::MalformedIp)?;
        self.source = h.source.into();
        self.destination = h.destination.into();
        self.protocol = h.protocol;
        self.upper = h.header_len.into();
        self.len = h.total_len;
        self.class = h.tos;
        self.ttl = h.ttl;
        self.dont_fragment = h.dont_fragment;
        self.fragment = h.is_fragment();
        self.later_fragment = h.fragment_offset != 0;
        self.forwardable = is_unicast_v4(h.source) & is_unicast_v4(h.destination);
        let upper = &packet[usize::from(h.header_len)..usize::from(h.total_len)];
        self.ports = ports(h.protocol, upper, self.later_fragment);
        Ok(())
    }

    #[inline(never)]
    fn read_v6(&mut self, packet: &[u8]) -> Result<(), DropReason> {
        let h = Ipv6Header::parse(packet).map_err(|_| DropReason::MalformedIp)?;
        let u = h.upper_layer(packet).map_err(|_| DropReason::MalformedIp)?;
        let len = 40 + h.payload_len;
        self.source = h.source.into();
        self.destination = h.destination.into();
        self.protocol = u.protocol;
        self.upper = u.offset;
        self.len = len;
        self.class = h.traffic_class;
        self.ttl = h.hop_limit;
        // RFC 8200 §5: routers never fragment.
        self.dont_fragment = true;
        self.fragment = u.fragment;
        self.later_fragment = u.later_fragment;
        self.forwardable = is_unicast_v6(h.source) && is_unicast_v6(h.destination);
        self.ports = ports(u.protocol, &packet[usize::from(u.offset)..usize::from(len)], u.later_fragment);
        Ok(())
    }

    /// RFC 3168 §5: the transport understands marks.
    pub(crate) const fn is_ect(&self) -> bool {
        self.class & 3 != 0
    }

    /// What the filters of a policy look at.
    pub(crate) const fn qos_headers(&self) -> Headers {
        Headers {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            dscp: self.class >> 2,
            ports: self.ports,
        }
    }

    pub(crate) const fn is_v6(&self) -> bool {
        self.destination.is_ipv6()
    }

    /// Whether it is between stations of one link, as routing protocols greet each other: to all of a group of RFC 5771 §4
    /// (224.0.0.0/24) or RFC 4291 §2.7 (ff02::/16), or between link-local addresses (RFC 4291 §2.5.6).
    pub(crate) const fn is_link_scope(&self) -> bool {
        match (self.source, self.destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => is_unicast_v4(s) && matches!(d.octets(), [224, 0, 0, _]),
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                let link = matches!(d.octets(), [0xff, scope, ..] if scope & 0x0f == 2);
                (s.is_unicast_link_local() || is_unicast_v6(s)) && (link || d.is_unicast_link_local())
            }
            _ => false,
        }
    }

    pub(crate) fn summary(&self) -> PacketSummary {
        let (source_port, destination_port) = self.ports.unwrap_or_default();
        PacketSummary {
            source: self.source,
            destination: self.destination,
            protocol: self.protocol,
            source_port,
            destination_port,
            len: self.len,
        }
    }

    /// Equal for the packets of one flow. Fragments have no ports, so all of one packet share a flow. Without the key no host can
    /// tell which other flow has the same value, so a host cannot choose whose queue it fills.
    pub(crate) fn flow(&self, key: u64) -> u32 {
        let (s, d) = if self.fragment { (0, 0) } else { self.ports.unwrap_or_default() };
        let ports = u64::from(s) << 32 | u64::from(d) << 8 | u64::from(self.protocol);
        let ([a, b], [c, d]) = (halves(self.source), halves(self.destination));
        keyed(key, [a, b, c, d, ports])
    }
}

#[inline(always)]
fn ports(protocol: u8, upper: &[u8], later_fragment: bool) -> Option<(u16, u16)> {
    if later_fragment {
        return None;
    }
    match protocol {
        tcp::PROTOCOL | udp::PROTOCOL | SCTP => {
            let p = upper.first_chunk::<4>()?;
            Some((u16::from_be_bytes([p[0], p[1]]), u16::from_be_bytes([p[2], p[3]])))
        }
        icmp::PROTOCOL_V4 | icmp::PROTOCOL_V6 => {
            let p = u16::from_be_bytes(*upper.first_chunk::<2>()?);
            Some((p, p))
        }
        _ => None,
    }
}

const fn is_unicast_v4(a: Ipv4Addr) -> bool {
    let [first, ..] = a.octets();
    // 0/8, 127/8, multicast, reserved and broadcast.
    (first.wrapping_sub(1) < 223) & (first != 127)
}

const fn is_unicast_v6(a: Ipv6Addr) -> bool {
    !a.is_unspecified() && !a.is_loopback() && !a.is_multicast() && !a.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(source: u128, port: u16) -> Info {
        Info {
            source: Ipv6Addr::from_bits(source).into(),
            destination: Ipv6Addr::LOCALHOST.into(),
            ports: Some((port, 443)),
            ..Info::default()
        }
    }

    /// What shares a queue under one key does not under others, also where the halves of an address only change places.
    #[test]
    fn the_key_decides_which_flows_share_a_queue() {
        const QUEUES: u32 = 16;
        let victim = info(0x2001_0db8 << 96 | 7, 1000);
        let shares = |other: &Info, key: u64| other.flow(key) % QUEUES == victim.flow(key) % QUEUES;
        let chosen: Vec<Info> =
            (1001..).map(|port| info(9, port)).filter(|i| shares(i, 1)).take(100).collect();
        let swapped = info(7 << 64 | 0x2001_0db8 << 32, 1000);
        let keys = 2..102;
        for key in keys.clone() {
            let hit = chosen.iter().filter(|i| shares(i, key)).count();
            assert!(hit < 40, "{hit} of 100 under key {key}");
        }
        let hit = keys.filter(|key| shares(&swapped, *key)).count();
        assert!(hit < 40, "{hit} of 100");
        assert_eq!(victim.flow(5), victim.flow(5));
    }
}
