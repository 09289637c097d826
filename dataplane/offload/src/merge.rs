//! Frames of one batch, merged where they are consecutive segments of one flow: what a network card with large receive offload
//! does. A merged frame can be cut again into the frames that it was made of, up to the identification of datagrams that are not
//! to be fragmented, which means nothing (RFC 6864 §4.1).

use crate::layout::{Layout, Transport, double, flags, put, word};
use crate::virtio::{GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VirtioHeader};
use arrayvec::ArrayVec;
use sipsec_net::{checksum, eth, ipv4, ipv6};

/// Frames of a batch.
pub const PACKETS_MAX: usize = 256;
/// Parts of a merged frame: its headers with the payload of the first, and the payload of each other.
pub const PARTS_MAX: usize = 64;
/// Flows that can grow at the same time. A further one ends the oldest.
const FLOWS_MAX: usize = 16;
const IP_LEN_MAX: usize = u16::MAX as usize;

/// Takes frames and gives merged ones, in an order that keeps that of each flow.
#[derive(Debug)]
pub struct Merger<P> {
    packets: Vec<P>,
    /// The next packet of the same group.
    next: Vec<u16>,
    /// In the order in which they leave.
    groups: Vec<Group>,
    /// Groups that may grow, at most one of a flow.
    open: ArrayVec<u16, FLOWS_MAX>,
    /// Whether UDP is merged, too.
    udp: bool,
}

/// What leaves as one frame.
#[derive(Clone, Copy, Debug)]
struct Group {
    first: u16,
    last: u16,
    count: u16,
    /// `None` of a frame that stays alone.
    segment: Option<Segment>,
    /// Bytes of payload so far.
    bytes: usize,
    /// FIN and PSH of the last segment.
    flags: u8,
}

/// A TCP or UDP packet whose checksums hold, with payload.
#[derive(Clone, Copy, Debug)]
struct Segment {
    layout: Layout,
    flags: u8,
}

/// A frame that leaves.
#[derive(Debug)]
pub struct Merged<'a> {
    pub header: VirtioHeader,
    pub parts: ArrayVec<&'a [u8], PARTS_MAX>,
}

impl Merged<'_> {
    /// Frames that it was made of.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.parts.len()
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

impl<P: AsRef<[u8]> + AsMut<[u8]>> Merger<P> {
    /// The kernel takes merged UDP since Linux 6.2.
    #[must_use]
    pub fn new(udp: bool) -> Self {
        Self {
            udp,
            packets: Vec::with_capacity(PACKETS_MAX),
            next: Vec::with_capacity(PACKETS_MAX),
            groups: Vec::with_capacity(PACKETS_MAX),
            open: ArrayVec::new(),
        }
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// The next frame; gives it back if the batch is full.
    pub fn add(&mut self, packet: P) -> Result<(), P> {
        if self.packets.len() == PACKETS_MAX {
            return Err(packet);
        }
        let place = self.packets.len() as u16;
        self.packets.push(packet);
        self.next.push(place);
        let frame = self.packets[usize::from(place)].as_ref();
        let Some(layout) = Layout::read(frame) else {
            // It may be of any flow (a fragment, for example), and none may pass it.
            self.open.clear();
            self.start(place, None);
            return Ok(());
        };
        let is_merged = self.udp || layout.transport == Transport::Tcp;
        let segment = is_merged.then(|| Segment::read(frame, layout)).flatten();
        if let Some((at, index)) = self.find(frame, &layout) {
            let group = &self.groups[index];
            if let Some(segment) = segment.filter(|s| self.continues(group, s, frame)) {
                self.next[usize::from(group.last)] = place;
                let group = &mut self.groups[index];
                group.grow(place, &segment);
                if group.is_full() {
                    self.open.remove(at);
                }
                return Ok(());
            }
            self.open.remove(at);
        }
        self.start(place, segment);
        Ok(())
    }

    fn start(&mut self, place: u16, segment: Option<Segment>) {
        let bytes = segment.map_or(0, |s| s.layout.payload_len());
        let flags = segment.map_or(0, |s| s.flags);
        let group = Group { first: place, last: place, count: 1, segment, bytes, flags };
        if segment.is_some_and(|s| !s.ends()) {
            if self.open.is_full() {
                self.open.remove(0);
            }
            self.open.push(self.groups.len() as u16);
        }
        self.groups.push(group);
    }

    /// The open group of this packet's flow: its place among the open ones, and its index.
    fn find(&self, frame: &[u8], layout: &Layout) -> Option<(usize, usize)> {
        self.open.iter().enumerate().find_map(|(at, index)| {
            let index = usize::from(*index);
            let group = &self.groups[index];
            let of_flow = group.segment.is_some_and(|s| {
                let other = self.packets[usize::from(group.first)].as_ref();
                s.layout.is_v6 == layout.is_v6
                    && s.layout.transport == layout.transport
                    && double(other, s.layout.upper) == double(frame, layout.upper)
                    && s.layout.addresses(other) == layout.addresses(frame)
            });
            of_flow.then_some((at, index))
        })
    }

    /// Whether a packet of the flow is what comes next in the group.
    fn continues(&self, group: &Group, segment: &Segment, frame: &[u8]) -> bool {
        let Some(head) = group.segment else { return false };
        let first = self.packets[usize::from(group.first)].as_ref();
        let (a, b) = (&head.layout, &segment.layout);
        let same = |from: usize, to: usize| first[from..to] == frame[from..to];
        let same_headers = (a.network, a.upper, a.payload) == (b.network, b.upper, b.payload)
            && same(0, a.network)
            && b.payload_len() <= a.payload_len()
            && a.payload + group.bytes + b.payload_len() - a.network <= IP_LEN_MAX;
        if !same_headers {
            return false;
        }
        let ip = a.network;
        let same_ip = if a.is_v6 {
            // Version, class and flow label; hop limit.
            same(ip, ip + 4) && same(ip + ipv6::HOP_LIMIT_AT, ip + ipv6::HOP_LIMIT_AT + 1)
        } else {
            let dont_fragment = frame[ip + 6] & 0x40 != 0;
            let consecutive = word(frame, ip + 4) == word(first, ip + 4).wrapping_add(group.count);
            same(ip + 1, ip + 2) && same(ip + 6, ip + ipv4::TTL_AT + 1) && (dont_fragment || consecutive)
        };
        let same_transport = match a.transport {
            Transport::Udp => true,
            Transport::Tcp => {
                let (tcp, options) = (a.upper, a.upper + 20);
                let expected = double(first, tcp + 4).wrapping_add(group.bytes as u32);
                let same_flags = (head.flags ^ segment.flags) & !(flags::FIN | flags::PSH | flags::CWR) == 0;
                // Acknowledgement; data offset and reserved bits; window; options.
                double(frame, tcp + 4) == expected
                    && same(tcp + 8, tcp + 13)
                    && same_flags
                    && segment.flags & flags::CWR == 0
                    && same(tcp + 14, tcp + 16)
                    && same(options, a.payload)
            }
        };
        same_ip && same_transport
    }

    /// Gives every frame and is empty then.
    pub fn drain(&mut self, mut each: impl FnMut(Merged<'_>)) {
        for group in &self.groups {
            let header = match &group.segment {
                Some(segment) if group.count > 1 => {
                    group.finish(segment, self.packets[usize::from(group.first)].as_mut())
                }
                _ => VirtioHeader::default(),
            };
            let mut parts = ArrayVec::new();
            let first = self.packets[usize::from(group.first)].as_ref();
            // Padding of the link would stand before the payload of the second.
            let end = group.segment.filter(|_| group.count > 1).map_or(first.len(), |s| s.layout.end);
            parts.push(&first[..end]);
            let mut place = usize::from(group.first);
            for _ in 1..group.count {
                place = usize::from(self.next[place]);
                let packet = self.packets[place].as_ref();
                if let Some(layout) = group.segment.map(|s| s.layout) {
                    let len = group.payload_of(&layout, packet);
                    parts.push(&packet[layout.payload..layout.payload + len]);
                }
            }
            each(Merged { header, parts });
        }
        self.groups.clear();
        self.open.clear();
        self.next.clear();
        self.packets.clear();
    }
}

impl Segment {
    /// What may be merged: no options of IPv4 nor extension headers of IPv6, whose meaning is not known here; payload; checksums that
    /// hold, because the kernel takes those of a merged frame for checked.
    fn read(frame: &[u8], layout: Layout) -> Option<Self> {
        let ip_len = if layout.is_v6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
        let is_plain = layout.network == eth::HEADER_LEN
            && layout.upper == layout.network + ip_len
            && layout.payload_len() > 0;
        let flags = match layout.transport {
            Transport::Tcp => frame[layout.upper + 13],
            Transport::Udp => 0,
        };
        const UNUSUAL: u8 = flags::SYN | flags::RST | flags::URG;
        let is_data = layout.transport == Transport::Udp || flags & flags::ACK != 0 && flags & UNUSUAL == 0;
        // RFC 768: a datagram without a checksum stays without.
        let has_checksum = layout.transport == Transport::Tcp || word(frame, layout.checksum_at()) != 0;
        if !is_plain || !is_data || !has_checksum {
            return None;
        }
        let upper = &frame[layout.upper..layout.end];
        let sum = checksum::sum(upper, layout.pseudo(frame, upper.len()));
        (checksum::finish(sum) == 0).then_some(Self { layout, flags })
    }

    /// Nothing may follow it.
    const fn ends(&self) -> bool {
        self.flags & (flags::FIN | flags::PSH) != 0
    }
}

impl Group {
    fn grow(&mut self, place: u16, segment: &Segment) {
        let len = segment.layout.payload_len();
        self.last = place;
        self.count += 1;
        self.bytes += len;
        self.flags |= segment.flags & (flags::FIN | flags::PSH);
    }

    /// The last segment may be shorter than the others, and alone may be pushed.
    fn is_full(&self) -> bool {
        let size = self.segment.map_or(0, |s| s.layout.payload_len());
        usize::from(self.count) == PARTS_MAX
            || self.bytes < size * usize::from(self.count)
            || self.flags & (flags::FIN | flags::PSH) != 0
    }

    /// Of a packet of the group, whose headers are as long as those of the first.
    fn payload_of(&self, layout: &Layout, packet: &[u8]) -> usize {
        let ip = layout.network;
        let len = if layout.is_v6 {
            ipv6::HEADER_LEN + usize::from(word(packet, ip + 4))
        } else {
            usize::from(word(packet, ip + 2))
        };
        ip + len - layout.payload
    }

    /// Makes the headers of the first packet those of the whole.
    fn finish(&self, segment: &Segment, frame: &mut [u8]) -> VirtioHeader {
        let layout = segment.layout;
        let size = layout.payload_len() as u16;
        let end = layout.payload + self.bytes;
        layout.set_len(frame, end);
        let is_tcp = layout.transport == Transport::Tcp;
        if is_tcp {
            frame[layout.upper + 13] |= self.flags & (flags::FIN | flags::PSH);
        }
        // Of the pseudo-header; the kernel, or a card, adds the rest.
        let sum = !checksum::finish(layout.pseudo(frame, end - layout.upper));
        put(frame, layout.checksum_at(), sum);
        let gso_type = match (layout.transport, layout.is_v6) {
            (Transport::Udp, _) => GSO_UDP_L4,
            (Transport::Tcp, false) => GSO_TCPV4,
            (Transport::Tcp, true) => GSO_TCPV6,
        };
        let ecn = if segment.flags & flags::CWR != 0 { GSO_ECN } else { 0 };
        VirtioHeader {
            flags: NEEDS_CSUM,
            gso_type: gso_type | ecn,
            hdr_len: layout.payload as u16,
            gso_size: size,
            csum_start: layout.upper as u16,
            csum_offset: layout.transport.checksum_at() as u16,
        }
    }
}
