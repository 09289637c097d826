//! What is cut has valid headers, and what is cut and merged again is what it was. Checksums are judged by etherparse.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;
use sipsec_offload::virtio::{GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM};
use sipsec_offload::{Cut, Malformed, Merger, PARTS_MAX, VirtioHeader};

const FIN: u8 = 1;
const PSH: u8 = 8;
const ACK: u8 = 0x10;
const CWR: u8 = 0x80;

#[derive(Clone, Debug)]
struct Large {
    is_v6: bool,
    is_tcp: bool,
    id: u16,
    dont_fragment: bool,
    sequence: u32,
    flags: u8,
    options: Vec<u8>,
    size: usize,
    payload: Vec<u8>,
}

impl Large {
    fn upper(&self) -> usize {
        14 + if self.is_v6 { 40 } else { 20 }
    }

    fn headers(&self) -> usize {
        self.upper() + if self.is_tcp { 20 + self.options.len() } else { 8 }
    }

    /// As the kernel hands it over: the checksum field holds the sum of the pseudo-header.
    fn frame(&self) -> (VirtioHeader, Vec<u8>) {
        let upper_len = self.headers() - self.upper() + self.payload.len();
        let mut f = vec![0x11; 12];
        let addresses: Vec<u8> =
            if self.is_v6 { (0..32).map(|n| 0x20 + n).collect() } else { vec![10, 1, 0, 2, 10, 2, 0, 2] };
        if self.is_v6 {
            f.extend([0x86, 0xdd, 0x61, 0x23, 0x45, 0x67]);
            f.extend((upper_len as u16).to_be_bytes());
            f.extend([if self.is_tcp { 6 } else { 17 }, 61]);
        } else {
            f.extend([8, 0, 0x45, 0xb8]);
            f.extend((20 + upper_len as u16).to_be_bytes());
            f.extend(self.id.to_be_bytes());
            f.extend([
                if self.dont_fragment { 0x40 } else { 0 },
                0,
                63,
                if self.is_tcp { 6 } else { 17 },
                0,
                0,
            ]);
        }
        f.extend(&addresses);
        if !self.is_v6 {
            let check = !naive(&f[14..], 0);
            f[24..26].copy_from_slice(&check.to_be_bytes());
        }
        f.extend([0x9c, 0x40, 0x14, 0x51]);
        let pseudo = naive(&addresses, upper_len as u32 + if self.is_tcp { 6 } else { 17 });
        if self.is_tcp {
            f.extend(self.sequence.to_be_bytes());
            f.extend([0xde, 0xad, 0xbe, 0xef]);
            f.extend([(((20 + self.options.len()) / 4) << 4) as u8, self.flags, 0x01, 0xf5]);
            f.extend(pseudo.to_be_bytes());
            f.extend([0, 0]);
            f.extend(&self.options);
        } else {
            f.extend((upper_len as u16).to_be_bytes());
            f.extend(pseudo.to_be_bytes());
        }
        f.extend(&self.payload);
        let gso_type = match (self.is_tcp, self.is_v6) {
            (true, false) => GSO_TCPV4,
            (true, true) => GSO_TCPV6,
            (false, _) => GSO_UDP_L4,
        };
        let header = VirtioHeader {
            flags: NEEDS_CSUM,
            gso_type: gso_type | if self.is_tcp && self.flags & CWR != 0 { 0x80 } else { 0 },
            hdr_len: self.headers() as u16,
            gso_size: self.size as u16,
            csum_start: self.upper() as u16,
            csum_offset: if self.is_tcp { 16 } else { 6 },
        };
        (header, f)
    }
}

/// RFC 1071 by its definition; not inverted.
fn naive(bytes: &[u8], initial: u32) -> u16 {
    let mut sum = initial;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    ((sum & 0xffff) + (sum >> 16)) as u16
}

fn cut(header: VirtioHeader, frame: &mut [u8]) -> Vec<Vec<u8>> {
    let mut cut = Cut::new(header, frame).expect("well formed");
    let mut out = Vec::new();
    let left = cut.left();
    while let Some(len) = cut.next_len() {
        let mut to = vec![0xee; len];
        cut.write_next(frame, &mut to);
        out.push(to);
    }
    assert_eq!((out.len(), cut.left()), (left, 0));
    out
}

fn merge(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<(VirtioHeader, Vec<u8>, usize)> {
    let mut merger = Merger::new(true);
    for frame in frames {
        merger.add(frame).expect("room");
    }
    let mut out = Vec::new();
    merger.drain(|m| out.push((m.header, m.parts.concat(), m.count())));
    assert!(merger.is_empty());
    out
}

/// Every header of a frame that leaves for the network, by another implementation.
fn is_valid(frame: &[u8]) -> bool {
    let Ok(sliced) = SlicedPacket::from_ethernet(frame) else { return false };
    match (&sliced.net, &sliced.transport) {
        (Some(NetSlice::Ipv4(ip)), Some(transport)) => {
            let h = ip.header().to_header();
            let sum = match transport {
                TransportSlice::Tcp(tcp) => {
                    tcp.calc_checksum_ipv4(h.source, h.destination).is_ok_and(|c| c == tcp.checksum())
                }
                TransportSlice::Udp(udp) => udp
                    .to_header()
                    .calc_checksum_ipv4_raw(h.source, h.destination, udp.payload())
                    .is_ok_and(|c| c == udp.checksum()),
                _ => false,
            };
            sum && h.calc_header_checksum() == h.header_checksum
                && usize::from(h.total_len) + 14 == frame.len()
        }
        (Some(NetSlice::Ipv6(ip)), Some(transport)) => {
            let h = ip.header().to_header();
            match transport {
                TransportSlice::Tcp(tcp) => {
                    tcp.calc_checksum_ipv6(h.source, h.destination).is_ok_and(|c| c == tcp.checksum())
                }
                TransportSlice::Udp(udp) => udp
                    .to_header()
                    .calc_checksum_ipv6_raw(h.source, h.destination, udp.payload())
                    .is_ok_and(|c| c == udp.checksum()),
                _ => false,
            }
        }
        _ => false,
    }
}

prop_compose! {
    fn large()(
        (is_v6, is_tcp, dont_fragment) in any::<(bool, bool, bool)>(),
        id: u16,
        sequence: u32,
        flags in prop::sample::select(vec![ACK, ACK | PSH, ACK | FIN, ACK | PSH | FIN, ACK | CWR, ACK | CWR | PSH]),
        options in (0..=10usize).prop_map(|words| vec![1; words * 4]),
        size in 1..1500usize,
        segments in 2..=PARTS_MAX,
        last in 1..1500usize,
        seed: u8,
    ) -> Large {
        let segments = segments.min(65_000 / size).max(2);
        let len = size * (segments - 1) + last.min(size);
        let payload = (0..len).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)).collect();
        Large { is_v6, is_tcp, id, dont_fragment, sequence, flags, options, size, payload }
    }
}

/// RFC 9293 §3.1 has no exception for zero, as RFC 768 has.
#[test]
fn a_checksum_of_zero_is_written_as_such_for_tcp_alone() {
    for is_tcp in [true, false] {
        let mut large = Large {
            is_v6: true,
            is_tcp,
            id: 0,
            dont_fragment: true,
            sequence: 7,
            flags: 0x10,
            options: Vec::new(),
            size: 600,
            payload: vec![0; 1200],
        };
        let at = large.headers() - if is_tcp { 4 } else { 2 };
        let checksum = |large: &Large| {
            let (header, mut frame) = large.frame();
            let segment = cut(header, &mut frame).remove(0);
            assert!(is_valid(&segment));
            [segment[at], segment[at + 1]]
        };
        let word = checksum(&large);
        large.payload[..2].copy_from_slice(&word);
        assert_eq!(checksum(&large), if is_tcp { [0, 0] } else { [0xff, 0xff] });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_cut_is_valid_and_what_is_merged_again_is_the_same(large in large()) {
        let (header, original) = large.frame();
        let mut frame = original.clone();
        let segments = cut(header, &mut frame);
        prop_assert_eq!(&frame, &original, "the frame stays");
        prop_assert_eq!(segments.len(), large.payload.len().div_ceil(large.size));
        let at = large.headers();
        for (n, segment) in segments.iter().enumerate() {
            prop_assert!(is_valid(segment), "segment {n}: {:02x?}", &segment[14..at]);
            if !large.is_v6 {
                let id = u16::from_be_bytes([segment[18], segment[19]]);
                prop_assert_eq!(id, large.id.wrapping_add(n as u16));
            }
            if large.is_tcp {
                let tcp = &segment[large.upper()..];
                let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
                prop_assert_eq!(sequence, large.sequence.wrapping_add((n * large.size) as u32));
                let mut expected = large.flags;
                if n > 0 {
                    expected &= !CWR;
                }
                if n + 1 < segments.len() {
                    expected &= !(FIN | PSH);
                }
                prop_assert_eq!(tcp[13], expected);
            }
        }
        prop_assert_eq!(segments.iter().flat_map(|s| s[at..].to_vec()).collect::<Vec<_>>(), large.payload.clone());

        let merged = merge(segments.clone());
        prop_assert_eq!(merged.len(), 1);
        let (again, bytes, count) = &merged[0];
        prop_assert_eq!((*again, bytes, *count), (header, &original, segments.len()));
    }

    /// Several flows at once: each keeps its order, nothing is lost or added, and every merged frame cuts into what came.
    #[test]
    fn flows_keep_their_order(
        order in prop::collection::vec((0..4u8, 0..8u8), 1..200),
    ) {
        let mut next = [0u32; 4];
        let frames: Vec<Vec<u8>> = order.iter().map(|(flow, kind)| {
            let flow = usize::from(*flow);
            // Some come twice, some after a gap, some are pushed or short.
            let sequence = next[flow] + if *kind == 1 { 7 } else { 0 };
            let len = if *kind == 2 { 60 } else { 100 };
            let one = Large {
                is_v6: flow == 3,
                is_tcp: flow != 2,
                id: 7,
                dont_fragment: true,
                sequence,
                flags: if *kind == 3 { ACK | PSH } else { ACK },
                options: vec![],
                size: len,
                payload: vec![flow as u8; len],
            };
            if *kind != 4 {
                next[flow] = sequence + len as u32;
            }
            let (header, mut frame) = one.frame();
            let mut frame = cut(header, &mut frame).remove(0);
            // The port names the flow.
            let upper = one.upper();
            frame[upper + 1] = frame[upper + 1].wrapping_add(flow as u8);
            let at = upper + if one.is_tcp { 16 } else { 6 };
            let check = u16::from_be_bytes([frame[at], frame[at + 1]]);
            let check = !naive(&(flow as u16).to_be_bytes(), u32::from(!check));
            frame[at..at + 2].copy_from_slice(&check.to_be_bytes());
            frame
        }).collect();
        let mut again = Vec::new();
        for (header, mut frame, _) in merge(frames.clone()) {
            again.extend(cut(header, &mut frame));
        }
        let flow = |frame: &[u8]| if frame[12] == 0x86 { frame[54..56].to_vec() } else { frame[34..36].to_vec() };
        // Of datagrams that are not to be fragmented the identification means nothing.
        let plain = |frame: &Vec<u8>| {
            let mut frame = frame.clone();
            if frame[12] == 8 {
                frame[18..20].fill(0);
                frame[24..26].fill(0);
            }
            frame
        };
        prop_assert_eq!(again.len(), frames.len());
        for name in frames.iter().map(|f| flow(f)) {
            let of = |all: &[Vec<u8>]| all.iter().filter(|f| flow(f) == name).map(plain).collect::<Vec<_>>();
            prop_assert_eq!(of(&again), of(&frames));
        }
    }

    /// No header that the kernel could hand over makes it read or write out of bounds.
    #[test]
    fn nonsense_is_refused_or_cut_within_its_bounds(
        bytes in any::<[u8; 10]>(),
        large in large(),
        keep in 0..2000usize,
        noise in prop::collection::vec((0..120usize, any::<u8>()), 0..4),
        is_own in any::<bool>(),
    ) {
        let (own, mut frame) = large.frame();
        let header = if is_own { own } else { VirtioHeader::from_bytes(bytes) };
        for (at, byte) in noise {
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame.truncate(keep);
        if let Ok(mut cut) = Cut::new(header, &mut frame) {
            while let Some(len) = cut.next_len() {
                prop_assert!(len <= frame.len());
                cut.write_next(&frame, &mut vec![0; len]);
            }
        }
        let mut merger = Merger::new(true);
        merger.add(frame.clone()).expect("room");
        merger.add(frame).expect("room");
        merger.drain(|m| assert!(m.count() <= 2));
    }
}

fn tcp(payload: usize) -> Large {
    Large {
        is_v6: false,
        is_tcp: true,
        id: 1,
        dont_fragment: false,
        sequence: u32::MAX - 100,
        flags: ACK,
        options: vec![],
        size: 1000,
        payload: vec![5; payload],
    }
}

#[test]
fn a_checksum_left_to_the_device_is_computed() {
    for large in [tcp(1), Large { is_tcp: false, ..tcp(999) }, Large { is_v6: true, ..tcp(0) }] {
        let (header, mut frame) = large.frame();
        let alone = VirtioHeader { gso_type: 0, gso_size: 0, ..header };
        let out = cut(alone, &mut frame);
        assert!(out.len() == 1 && is_valid(&out[0]), "{:02x?}", out[0]);
        // What needs nothing goes as it is.
        assert_eq!(cut(VirtioHeader::default(), &mut out[0].clone()), out);
    }
}

#[test]
fn headers_that_contradict_the_frame_are_refused() {
    let (good, frame) = tcp(5000).frame();
    let refused = |header: VirtioHeader| Cut::new(header, &mut frame.clone()).map(|_| ()) == Err(Malformed);
    assert!(!refused(good));
    for bad in [
        VirtioHeader { gso_size: 0, ..good },
        VirtioHeader { gso_type: GSO_TCPV6, ..good },
        VirtioHeader { gso_type: GSO_UDP_L4, ..good },
        // Fragments of one datagram, which no offload that was asked for makes.
        VirtioHeader { gso_type: 3, ..good },
        VirtioHeader { flags: 0, ..good },
        VirtioHeader { csum_start: 33, ..good },
        VirtioHeader { csum_offset: 6, ..good },
        VirtioHeader { gso_type: 0, csum_start: u16::MAX, ..good },
        VirtioHeader { gso_type: 0, csum_offset: u16::MAX, ..good },
    ] {
        assert!(refused(bad), "{bad:?}");
    }
}

#[test]
fn only_what_the_kernel_could_have_cut_is_merged() {
    let (header, mut frame) = tcp(3000).frame();
    let segments = cut(header, &mut frame);
    let count = |frames: Vec<Vec<u8>>| merge(frames).iter().map(|(.., n)| *n).collect::<Vec<_>>();
    assert_eq!(count(segments.clone()), [3]);
    // A byte of the payload or of a header is wrong: the checksum does not hold, and what the kernel gets says so itself.
    for at in [20, 40, 100] {
        let mut broken = segments.clone();
        broken[1][at] ^= 1;
        assert_eq!(count(broken.clone()), [1, 1, 1], "byte {at}");
        assert_eq!(merge(broken.clone())[1].1, broken[1]);
    }
    assert_eq!(count(vec![segments[0].clone(), segments[2].clone(), segments[1].clone()]), [1, 1, 1]);
    // Another device above the sVTI.
    let mut other = segments.clone();
    other[1][5] ^= 1;
    assert_eq!(count(other), [1, 1, 1]);
    // Padding of the link is no payload.
    let mut padded = segments.clone();
    padded[0].extend([0; 9]);
    padded[1].extend([0; 9]);
    assert_eq!(merge(padded)[0].1, frame);
    // A whole batch, and not one more.
    let mut merger = Merger::new(true);
    let added = std::iter::from_fn(|| merger.add(segments[0].clone()).ok()).take(1000).count();
    assert_eq!(added, sipsec_offload::PACKETS_MAX);
}
