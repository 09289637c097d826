//! Addresses and ports in packets, with the checksums that cover them (RFC 1624, RFC 3022 §4.2). IPv4, and the packets that
//! ICMP errors quote.

use core::net::Ipv4Addr;
use sipsec_net::nat::NatProtocol;
use sipsec_net::{DropReason, checksum, icmp, ipv4, tcp, udp};

const DCCP: u8 = 33;
const UDP_LITE: u8 = 136;
const TCP_FLAGS_AT: usize = 13;
const TCP_CHECKSUM_AT: usize = 16;

/// Which address of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Source,
    Destination,
}

impl End {
    const fn address_at(self) -> usize {
        match self {
            Self::Source => 12,
            Self::Destination => 16,
        }
    }

    const fn port_at(self) -> usize {
        match self {
            Self::Source => 0,
            Self::Destination => 2,
        }
    }
}

/// What has changed, as RFC 1624 equation 3 adds it: the sum of ~m + m' over all changed words.
#[derive(Clone, Copy, Debug, Default)]
struct Delta(u32);

impl Delta {
    const fn word(&mut self, old: u16, new: u16) {
        self.0 += (!old) as u32 + new as u32;
    }

    const fn add(&mut self, other: Self) {
        self.0 += other.0;
    }

    const fn apply(self, check: u16) -> u16 {
        checksum::finish((!check) as u32 + self.0)
    }
}

#[inline]
fn word(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk().map(|w| u16::from_be_bytes(*w))
}

/// What changed; nothing, if the word is not there.
#[inline]
fn put(data: &mut [u8], at: usize, new: u16) -> Delta {
    let mut delta = Delta::default();
    if let Some(place) = data.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        let old = u16::from_be_bytes(*place);
        // Adding ~m + m would turn one zero into the other.
        if old != new {
            delta.word(old, new);
            *place = new.to_be_bytes();
        }
    }
    delta
}

/// What of an ICMP message decides about its translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IcmpKind {
    /// Opens a translation (RFC 5508 §3.1).
    Request,
    Reply,
    /// Quotes a packet.
    Error,
    Other,
}

/// An IPv4 packet as translation sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: u8,
    /// Where the upper layer begins.
    pub upper: usize,
    pub identification: u16,
    /// The first of several fragments.
    pub first_fragment: bool,
    pub later_fragment: bool,
}

impl Header {
    /// Leniently: a quoted packet is cut off, and its checksum is the business of its sender.
    #[inline]
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let h = data.first_chunk::<{ ipv4::HEADER_LEN }>()?;
        let upper = usize::from(h[0] & 15) * 4;
        if h[0] >> 4 != 4 || upper < ipv4::HEADER_LEN || upper > data.len() {
            return None;
        }
        let flags = u16::from_be_bytes([h[6], h[7]]);
        Some(Self {
            source: Ipv4Addr::new(h[12], h[13], h[14], h[15]),
            destination: Ipv4Addr::new(h[16], h[17], h[18], h[19]),
            protocol: h[9],
            upper,
            identification: u16::from_be_bytes([h[4], h[5]]),
            first_fragment: flags & 0x3fff == 0x2000,
            later_fragment: flags & 0x1fff != 0,
        })
    }

    pub(crate) const fn address(&self, end: End) -> Ipv4Addr {
        match end {
            End::Source => self.source,
            End::Destination => self.destination,
        }
    }

    pub(crate) fn icmp_kind(&self, data: &[u8]) -> Option<IcmpKind> {
        Some(match *data.get(self.upper)? {
            8 | 13 | 15 | 17 => IcmpKind::Request,
            0 | 14 | 16 | 18 => IcmpKind::Reply,
            kind if icmp::is_error(icmp::PROTOCOL_V4, kind) => IcmpKind::Error,
            _ => IcmpKind::Other,
        })
    }

    /// As [`Self::icmp_kind`], of any packet.
    pub(crate) fn icmp_kind_of(&self, data: &[u8]) -> Option<IcmpKind> {
        let is_icmp = self.protocol == icmp::PROTOCOL_V4 && !self.later_fragment;
        if is_icmp { self.icmp_kind(data) } else { None }
    }

    /// Source and destination port; an ICMP query has its identifier at both ends.
    #[inline]
    pub(crate) fn endpoints(&self, data: &[u8]) -> Result<Endpoints, DropReason> {
        if self.later_fragment {
            return Err(DropReason::NatFragment);
        }
        let upper = data.get(self.upper..).ok_or(DropReason::NatMalformed)?;
        let two = |protocol, at: usize| {
            let (source, destination) = (word(upper, at)?, word(upper, at + 2)?);
            Some(Endpoints { protocol, source, destination })
        };
        match self.protocol {
            tcp::PROTOCOL => two(NatProtocol::Tcp, 0),
            udp::PROTOCOL => two(NatProtocol::Udp, 0),
            icmp::PROTOCOL_V4 => match self.icmp_kind(data) {
                Some(IcmpKind::Request | IcmpKind::Reply) => word(upper, 4).map(|id| Endpoints {
                    protocol: NatProtocol::Icmp,
                    source: id,
                    destination: id,
                }),
                Some(_) => return Err(DropReason::NatProtocol),
                None => None,
            },
            _ => return Err(DropReason::NatProtocol),
        }
        .ok_or(DropReason::NatMalformed)
    }

    /// The flags of TCP; none if the segment is shorter (RFC 1858 §3: its rest is in a fragment).
    #[inline]
    pub(crate) fn tcp_flags(&self, data: &[u8]) -> u8 {
        match self.protocol {
            tcp::PROTOCOL => data.get(self.upper + TCP_FLAGS_AT).copied().unwrap_or(0),
            _ => 0,
        }
    }
}

/// Ports of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub protocol: NatProtocol,
    pub source: u16,
    pub destination: u16,
}

impl Endpoints {
    pub(crate) const fn port(&self, end: End) -> u16 {
        match end {
            End::Source => self.source,
            End::Destination => self.destination,
        }
    }
}

/// Gives one end of the packet another address and, if it has one, another port. Every checksum that covers them stays as
/// right or as wrong as it was.
#[inline]
pub(crate) fn set(data: &mut [u8], header: &Header, end: End, address: Ipv4Addr, port: Option<u16>) {
    rewrite(data, header, end, address, port);
}

/// The same, and the sum of all that changed: for the checksum of an ICMP error that quotes the packet.
fn rewrite(data: &mut [u8], header: &Header, end: End, address: Ipv4Addr, port: Option<u16>) -> Delta {
    let mut changed = Delta::default();
    let [high, low] = [(address.to_bits() >> 16) as u16, address.to_bits() as u16];
    changed.add(put(data, end.address_at(), high));
    changed.add(put(data, end.address_at() + 2, low));
    let pseudo = changed;
    if let Some(check) = word(data, ipv4::CHECKSUM_AT) {
        changed.add(put(data, ipv4::CHECKSUM_AT, pseudo.apply(check)));
    }
    if header.later_fragment {
        return changed;
    }
    let upper = data.get_mut(header.upper..).unwrap_or_default();
    let is_icmp = header.protocol == icmp::PROTOCOL_V4;
    let port_at = if is_icmp { 4 } else { end.port_at() };
    let moved = port.map_or(Delta::default(), |port| put(upper, port_at, port));
    changed.add(moved);
    // RFC 792: the checksum of ICMP covers no pseudo-header.
    let mut covered = if is_icmp { Delta::default() } else { pseudo };
    covered.add(moved);
    let at = match header.protocol {
        tcp::PROTOCOL => TCP_CHECKSUM_AT,
        udp::PROTOCOL | DCCP | UDP_LITE => udp::CHECKSUM_AT,
        icmp::PROTOCOL_V4 => 2,
        _ => return changed,
    };
    let is_udp = header.protocol == udp::PROTOCOL;
    let Some(check) = word(upper, at) else { return changed };
    if is_udp && check == 0 {
        // RFC 768: none was computed, and none is.
        return changed;
    }
    let mut new = covered.apply(check);
    // RFC 768: a UDP checksum of zero is sent as all ones. RFC 1624 §4: so is that of a message of zeros.
    let blank = |upper: &[u8]| upper.iter().enumerate().all(|(i, b)| *b == 0 || i == at || i == at + 1);
    if new == 0 && (is_udp || is_icmp && blank(upper)) {
        new = u16::MAX;
    }
    changed.add(put(upper, at, new));
    changed
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quoted {
    pub header: Header,
    at: usize,
}

impl Quoted {
    /// `None` if too little of it is quoted.
    pub(crate) fn read(data: &[u8], outer: &Header) -> Option<Self> {
        let at = outer.upper + icmp::HEADER_LEN;
        Some(Self { header: Header::read(data.get(at..)?)?, at })
    }

    pub(crate) fn endpoints(&self, data: &[u8]) -> Result<Endpoints, DropReason> {
        self.header.endpoints(data.get(self.at..).ok_or(DropReason::NatMalformed)?)
    }

    /// As [`set`], for the quoted packet; the error's own checksum follows (RFC 5508 §4).
    pub(crate) fn set(
        &self,
        data: &mut [u8],
        outer: &Header,
        end: End,
        address: Ipv4Addr,
        port: Option<u16>,
    ) {
        let Some(quoted) = data.get_mut(self.at..) else { return };
        let changed = rewrite(quoted, &self.header, end, address, port);
        let at = outer.upper + 2;
        if let Some(check) = word(data, at) {
            put(data, at, changed.apply(check));
        }
    }
}
