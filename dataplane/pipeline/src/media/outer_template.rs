//! The headers outside ESP and IKE: Ethernet, IP and UDP of a call, made once and copied in front of every frame.

use crate::config::OutsidePort;
use core::net::IpAddr;
use sipsec_net::MacAddr;
use sipsec_net::checksum;
use sipsec_net::dp::{MediaBinding, OuterDscp};
use sipsec_net::eth::{self, EthHeader};
use sipsec_net::ipv4::{self, Ipv4Header};
use sipsec_net::ipv6::{self, Ipv6Header};
use sipsec_net::udp::{self, UdpHeader};

/// RFC 4301 §5.1.2.1: the outer TTL is the encapsulator's own.
const OUTER_TTL: u8 = 64;
const HEADER_MAX: usize = eth::HEADER_LEN + ipv6::HEADER_LEN + udp::HEADER_LEN;
const LEN_V4: usize = eth::HEADER_LEN + ipv4::HEADER_LEN + udp::HEADER_LEN;

/// RFC 6864 §4.3: what may be cut on its way has an identification that no other datagram between the same addresses has.
/// One counter shared by all bindings: two calls to one relay have the same addresses.
#[derive(Debug, Default)]
pub(crate) struct Identifications(u16);

impl Identifications {
    const fn next(&mut self) -> u16 {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
}

/// Ethernet, IP and UDP of everything sent for one binding.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct OuterHeader {
    /// Over the IPv4 header as it stands in `bytes`, whose variable fields are zero.
    header_sum: u32,
    /// IPv6: over the pseudo-header's addresses and the ports.
    udp_sum: u32,
    /// Used length of `bytes`.
    len: u16,
    v6: bool,
    dscp: OuterDscp,
    bytes: [u8; HEADER_MAX],
}

impl OuterHeader {
    pub(super) fn new(port: &OutsidePort, binding: &MediaBinding) -> Self {
        let (local, remote) = (binding.outside_local, binding.remote);
        let v6 = local.is_ipv6();
        let dscp = binding.outer_dscp;
        let mut h = Self { header_sum: 0, udp_sum: 0, len: 0, v6, dscp, bytes: [0; HEADER_MAX] };
        let ether_type = if v6 { eth::IPV6 } else { eth::IPV4 };
        h.append(&EthHeader { destination: binding.next_hop, source: port.mac, ether_type }.to_bytes());
        match (local.ip(), remote.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let ip = Ipv4Header {
                    header_len: ipv4::HEADER_LEN as u8,
                    tos: 0,
                    total_len: 0,
                    identification: 0,
                    dont_fragment: false,
                    more_fragments: false,
                    fragment_offset: 0,
                    ttl: OUTER_TTL,
                    protocol: udp::PROTOCOL,
                    source,
                    destination,
                };
                let mut bytes = ip.to_bytes();
                bytes[ipv4::CHECKSUM_AT..ipv4::CHECKSUM_AT + 2].fill(0);
                h.header_sum = checksum::sum(&bytes, 0);
                h.append(&bytes);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let ip = Ipv6Header {
                    traffic_class: 0,
                    flow_label: 0,
                    payload_len: 0,
                    next_header: udp::PROTOCOL,
                    hop_limit: OUTER_TTL,
                    source,
                    destination,
                };
                h.append(&ip.to_bytes());
                h.udp_sum = checksum::pseudo(local.ip(), remote.ip(), udp::PROTOCOL, 0);
            }
            _ => unreachable!("a binding of two families was refused"),
        }
        let udp =
            UdpHeader { source_port: local.port(), destination_port: remote.port(), len: 0, checksum: 0 };
        h.udp_sum = checksum::sum(&udp.to_bytes(), h.udp_sum);
        h.append(&udp.to_bytes());
        h
    }

    fn append(&mut self, bytes: &[u8]) {
        let at = self.len();
        self.bytes[at..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u16;
    }

    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// What the DSCP of the outer header is.
    pub(crate) const fn dscp(&self) -> OuterDscp {
        self.dscp
    }

    pub(crate) fn set_next_hop(&mut self, mac: MacAddr) {
        self.bytes[..6].copy_from_slice(&mac.0);
    }

    /// The control plane sets it as soon as it knows it.
    pub(crate) fn has_next_hop(&self) -> bool {
        self.bytes[..6] != [0; 6]
    }

    /// Writes the header of a UDP payload of `payload_len` bytes into `head`, which has exactly [`Self::len`] bytes. Over
    /// IPv6 [`Self::write_checksum`] completes it when the payload is final.
    ///
    /// The tunnel's MTU keeps outer packets within the WAN's. Should a link further on be narrower, one without
    /// `dont_fragment` (IPv4) still gets to a peer that reassembles, as we do.
    #[inline(always)]
    pub(crate) fn write(
        &self,
        head: &mut [u8],
        payload_len: usize,
        class: u8,
        dont_fragment: bool,
        ids: &mut Identifications,
    ) {
        let udp_len = (udp::HEADER_LEN + payload_len) as u16;
        match head.first_chunk_mut::<LEN_V4>() {
            Some(head) if !self.v6 => self.write_v4(head, udp_len, class, dont_fragment, ids),
            _ => self.write_v6(head, udp_len, class),
        }
    }

    #[inline(always)]
    fn write_v4(
        &self,
        head: &mut [u8; LEN_V4],
        udp_len: u16,
        class: u8,
        dont_fragment: bool,
        ids: &mut Identifications,
    ) {
        const IP: usize = eth::HEADER_LEN;
        const UDP: usize = IP + ipv4::HEADER_LEN;
        let template: &[u8; LEN_V4] = self.bytes.first_chunk().expect("IPv6's is longer");
        *head = *template;
        // RFC 3948 §2.1: the UDP checksum of ESP over IPv4 SHOULD be zero. RFC 768 lets IKE do the same.
        let identification = ids.next();
        let total = ipv4::HEADER_LEN as u16 + udp_len;
        let flags = u16::from(dont_fragment) << 14;
        let sum = self.header_sum
            + u32::from(class)
            + u32::from(total)
            + u32::from(identification)
            + u32::from(flags);
        head[IP + 1] = class;
        head[IP + 2..IP + 4].copy_from_slice(&total.to_be_bytes());
        head[IP + 4..IP + 6].copy_from_slice(&identification.to_be_bytes());
        head[IP + 6..IP + 8].copy_from_slice(&flags.to_be_bytes());
        head[IP + ipv4::CHECKSUM_AT..IP + ipv4::CHECKSUM_AT + 2]
            .copy_from_slice(&checksum::finish(sum).to_be_bytes());
        head[UDP + 4..UDP + 6].copy_from_slice(&udp_len.to_be_bytes());
    }

    #[inline(never)]
    fn write_v6(&self, head: &mut [u8], udp_len: u16, class: u8) {
        head.copy_from_slice(&self.bytes[..self.len()]);
        let (ip, udp) = head[eth::HEADER_LEN..].split_at_mut(ipv6::HEADER_LEN);
        ipv6::set_traffic_class(ip, class);
        ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
        udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
    }

    /// RFC 8200 §8.1, RFC 6935 §5: over IPv6 a zero UDP checksum is not ours to choose.
    pub(crate) const fn is_summed(&self) -> bool {
        self.v6
    }

    /// Completes a header that [is summed](Self::is_summed), and leaves others alone. `frame` is final but for that.
    pub(crate) fn write_checksum(&self, frame: &mut [u8]) {
        if !self.is_summed() {
            return;
        }
        let (head, payload) = frame.split_at_mut(self.len());
        // The length counts twice: in the pseudo-header and in the UDP header.
        let udp_len = (udp::HEADER_LEN + payload.len()) as u32;
        let check = match checksum::finish(checksum::sum(payload, self.udp_sum + 2 * udp_len)) {
            0 => 0xffff,
            check => check,
        };
        head[self.len() - 2..].copy_from_slice(&check.to_be_bytes());
    }

    /// Length of the outer IP packet: what `b=AS` counts (RFC 8866 §5.8).
    pub(crate) const fn outer_ip_len(&self, udp_payload: usize) -> usize {
        self.len() - eth::HEADER_LEN + udp_payload
    }
}
