//! Where the headers of a TCP or UDP packet stand in an Ethernet frame.

use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::ipv6::Ipv6Header;
use sipsec_net::{checksum, eth, ipv4, ipv6};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const UDP_LEN: usize = 8;
const TCP_LEN_MIN: usize = 20;

pub(crate) mod flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const CWR: u8 = 0x80;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// Of the checksum field in the header.
    pub const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }

    /// A checksum as the header has it. RFC 768: zero says that there is none, so UDP has the other zero of one's complement.
    pub const fn written(self, check: u16) -> u16 {
        match self {
            Self::Udp if check == 0 => 0xffff,
            Self::Udp | Self::Tcp => check,
        }
    }

    pub const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }
}

/// All from the start of the frame. The packet is whole and no fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub transport: Transport,
    pub is_v6: bool,
    /// The IP header.
    pub network: usize,
    /// The TCP or UDP header.
    pub upper: usize,
    pub payload: usize,
    /// The end of the IP packet; what follows is padding of the link.
    pub end: usize,
}

impl Layout {
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (ether_type, network) = eth::untagged(frame)?;
        let packet = frame.get(network..)?;
        let (is_v6, protocol, upper, len) = match ether_type {
            eth::IPV4 => {
                let h = Ipv4Header::parse(packet).ok().filter(|h| !h.is_fragment())?;
                (false, h.protocol, usize::from(h.header_len), usize::from(h.total_len))
            }
            eth::IPV6 => {
                let h = Ipv6Header::parse(packet).ok()?;
                let u = h.upper_layer(packet).ok().filter(|u| !u.fragment)?;
                let len = ipv6::HEADER_LEN + usize::from(h.payload_len);
                (true, u.protocol, usize::from(u.offset), len)
            }
            _ => return None,
        };
        let header = packet.get(upper..len)?;
        let (transport, header_len) = match protocol {
            TCP => (Transport::Tcp, usize::from(*header.get(12)? >> 4) * 4),
            UDP if usize::from(u16::from_be_bytes([*header.get(4)?, *header.get(5)?])) == header.len() => {
                (Transport::Udp, UDP_LEN)
            }
            _ => return None,
        };
        let is_tcp = transport == Transport::Tcp;
        if header.len() < header_len || is_tcp && header_len < TCP_LEN_MIN {
            return None;
        }
        let upper = network + upper;
        Some(Self { transport, is_v6, network, upper, payload: upper + header_len, end: network + len })
    }

    pub const fn payload_len(&self) -> usize {
        self.end - self.payload
    }

    /// Where the checksum of the transport stands.
    pub const fn checksum_at(&self) -> usize {
        self.upper + self.transport.checksum_at()
    }

    pub fn addresses<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let (from, to) = if self.is_v6 { (8, 40) } else { (12, 20) };
        &frame[self.network + from..self.network + to]
    }

    /// Sum of the pseudo-header of a TCP or UDP packet of so many bytes.
    pub fn pseudo(&self, frame: &[u8], len: usize) -> u32 {
        checksum::sum(self.addresses(frame), u32::from(self.transport.protocol()) + len as u32)
    }

    /// Writes the length of the packet that ends at `end` into its IP header, and the header's checksum; into that of UDP, too.
    pub fn set_len(&self, frame: &mut [u8], end: usize) {
        let ip = &mut frame[self.network..];
        let len = end - self.network;
        if self.is_v6 {
            put(ip, 4, (len - ipv6::HEADER_LEN) as u16);
        } else {
            put(ip, 2, len as u16);
            put(ip, ipv4::CHECKSUM_AT, 0);
            let sum = checksum::finish(checksum::sum(&ip[..self.upper - self.network], 0));
            put(ip, ipv4::CHECKSUM_AT, sum);
        }
        if self.transport == Transport::Udp {
            put(frame, self.upper + 4, (end - self.upper) as u16);
        }
    }
}

pub(crate) fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn double(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
