//! Packets by their fields, with checksums computed from scratch: a second way to the bytes that translation makes by
//! differences.

use core::net::SocketAddrV4;
use sipsec_net::checksum;
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::nat::NatProtocol;

pub const SYN: u8 = 2;
pub const ACK: u8 = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub protocol: NatProtocol,
    /// ICMP: the identifier is the port of the end that translation changes.
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    pub tcp_flags: u8,
    pub icmp_type: u8,
    /// UDP: the sender computes none.
    pub no_checksum: bool,
    pub payload: Vec<u8>,
    pub identification: u16,
    /// IP options, of a length that is a multiple of 4.
    pub options: Vec<u8>,
}

const fn number(protocol: NatProtocol) -> u8 {
    match protocol {
        NatProtocol::Tcp => 6,
        NatProtocol::Udp => 17,
        NatProtocol::Icmp => 1,
    }
}

pub fn put_check(bytes: &mut [u8], at: usize, initial: u32) {
    bytes[at..at + 2].fill(0);
    let check = checksum::finish(checksum::sum(bytes, initial));
    bytes[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

impl Packet {
    pub fn new(protocol: NatProtocol, source: SocketAddrV4, destination: SocketAddrV4) -> Self {
        Self {
            protocol,
            source,
            destination,
            tcp_flags: SYN,
            icmp_type: 8,
            no_checksum: false,
            payload: b"payload".to_vec(),
            identification: 0x1234,
            options: Vec::new(),
        }
    }

    /// What the receiver sends back.
    pub fn answer(&self) -> Self {
        let mut answer = Self { source: self.destination, destination: self.source, ..self.clone() };
        match self.protocol {
            NatProtocol::Tcp => answer.tcp_flags = SYN | ACK,
            NatProtocol::Udp => {}
            NatProtocol::Icmp => answer.icmp_type = if self.icmp_type == 8 { 0 } else { 8 },
        }
        answer
    }

    /// The identifier of a query.
    fn id(&self) -> u16 {
        if self.icmp_type == 8 { self.source.port() } else { self.destination.port() }
    }

    fn upper(&self) -> Vec<u8> {
        let ports = |p: &Self| [p.source.port().to_be_bytes(), p.destination.port().to_be_bytes()].concat();
        let mut upper = match self.protocol {
            NatProtocol::Tcp => {
                [&ports(self)[..], &[0, 0, 0, 1, 0, 0, 0, 2, 0x50, self.tcp_flags, 1, 0, 0, 0, 0, 0]].concat()
            }
            NatProtocol::Udp => {
                let len = (8 + self.payload.len()) as u16;
                [&ports(self)[..], &len.to_be_bytes(), &[0, 0]].concat()
            }
            NatProtocol::Icmp => [&[self.icmp_type, 0, 0, 0][..], &self.id().to_be_bytes(), &[0, 9]].concat(),
        };
        upper.extend(&self.payload);
        let (s, d) = ((*self.source.ip()).into(), (*self.destination.ip()).into());
        let pseudo = checksum::pseudo(s, d, number(self.protocol), upper.len() as u16);
        match self.protocol {
            NatProtocol::Tcp => put_check(&mut upper, 16, pseudo),
            NatProtocol::Udp if self.no_checksum => {}
            NatProtocol::Udp => {
                put_check(&mut upper, 6, pseudo);
                if upper[6..8] == [0, 0] {
                    upper[6..8].fill(0xff);
                }
            }
            NatProtocol::Icmp => put_check(&mut upper, 2, 0),
        }
        upper
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.with_header(&self.upper(), false, 0)
    }

    fn with_header(&self, upper: &[u8], more: bool, offset: u16) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let header = Ipv4Header {
            header_len: 20,
            tos: 0,
            total_len: (header_len + upper.len()) as u16,
            identification: self.identification,
            dont_fragment: false,
            more_fragments: more,
            fragment_offset: offset,
            ttl: 63,
            protocol: number(self.protocol),
            source: *self.source.ip(),
            destination: *self.destination.ip(),
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes[0] = 0x40 | (header_len / 4) as u8;
        bytes.extend(&self.options);
        put_check(&mut bytes, 10, 0);
        bytes.extend_from_slice(upper);
        bytes
    }

    /// Two fragments, the first with so many bytes (a multiple of 8).
    pub fn fragments(&self, first: usize) -> [Vec<u8>; 2] {
        let upper = self.upper();
        let (a, b) = upper.split_at(first);
        [self.with_header(a, true, 0), self.with_header(b, false, (first / 8) as u16)]
    }

    /// The fields of bytes that [`Self::bytes`] would make; anything else is a failure.
    pub fn read(bytes: &[u8]) -> Self {
        let h = Ipv4Header::parse(bytes).expect("a right header");
        let upper_at = usize::from(h.header_len);
        let upper = &bytes[upper_at..];
        let word = |at: usize| u16::from_be_bytes([upper[at], upper[at + 1]]);
        let (protocol, ports, payload_at) = match h.protocol {
            6 => (NatProtocol::Tcp, (word(0), word(2)), 20),
            17 => (NatProtocol::Udp, (word(0), word(2)), 8),
            1 if upper[0] == 8 => (NatProtocol::Icmp, (word(4), 0), 8),
            1 => (NatProtocol::Icmp, (0, word(4)), 8),
            other => panic!("protocol {other}"),
        };
        let packet = Self {
            protocol,
            source: SocketAddrV4::new(h.source, ports.0),
            destination: SocketAddrV4::new(h.destination, ports.1),
            tcp_flags: if h.protocol == 6 { upper[13] } else { SYN },
            icmp_type: if h.protocol == 1 { upper[0] } else { 8 },
            no_checksum: h.protocol == 17 && word(6) == 0,
            payload: upper[payload_at..].to_vec(),
            identification: h.identification,
            options: bytes[20..upper_at].to_vec(),
        };
        assert_eq!(packet.bytes(), bytes, "every checksum is that of the packet: {packet:?}");
        packet
    }
}

/// An ICMP error about the first `len` bytes of a packet.
pub fn error(
    from: core::net::Ipv4Addr,
    to: core::net::Ipv4Addr,
    kind: [u8; 2],
    about: &[u8],
    len: usize,
) -> Vec<u8> {
    let mut upper = vec![kind[0], kind[1], 0, 0, 0, 0, 0x05, 0x00];
    upper.extend(&about[..len.min(about.len())]);
    put_check(&mut upper, 2, 0);
    let carrier = Packet {
        protocol: NatProtocol::Icmp,
        payload: Vec::new(),
        ..Packet::new(NatProtocol::Icmp, SocketAddrV4::new(from, 0), SocketAddrV4::new(to, 0))
    };
    carrier.with_header(&upper, false, 0)
}
