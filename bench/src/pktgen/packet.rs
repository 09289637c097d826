//! The packets of a stream: UDP with a stamp of flow, number and time of departure.

use sipsec_net::eth::{self, EthHeader};
use sipsec_net::ipv4::Ipv4Header;
use sipsec_net::ipv6::Ipv6Header;
use sipsec_net::udp::{self, UdpHeader};
use sipsec_net::{Instant, MacAddr, checksum};
use std::fmt;
use std::net::IpAddr;

/// The largest IP packet of a stream: a chunk of 4096 bytes holds it with its headers and the headroom.
pub const LEN_MAX: u16 = 3_700;
/// The port of every packet's destination: discard (RFC 863).
const PORT: u16 = 9;
/// The source port of flow 0; flow n adds n.
const FIRST_PORT: u16 = 1_024;
/// Flows of one stream: each has a source port.
pub const FLOWS_MAX: u16 = 32_768;
const MAGIC: u16 = 0x5a9d;
const TTL: u8 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    const fn header_len(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// The shortest IP packet that holds headers and stamp.
    #[must_use]
    pub const fn len_min(self) -> u16 {
        (self.header_len() + udp::HEADER_LEN + Stamp::LEN) as u16
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The first bytes of each payload. Its 18 bytes fit the shortest Ethernet frame of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub flow: u16,
    /// The packet's number within its flow, 48 bits.
    pub number: u64,
    pub departed: Instant,
}

impl Stamp {
    pub const LEN: usize = 18;

    fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..2].copy_from_slice(&MAGIC.to_be_bytes());
        out[2..4].copy_from_slice(&self.flow.to_be_bytes());
        out[4..10].copy_from_slice(&self.number.to_be_bytes()[2..]);
        out[10..].copy_from_slice(&self.departed.as_nanos().to_be_bytes());
        out
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let [m0, m1, f0, f1, n @ .., t0, t1, t2, t3, t4, t5, t6, t7] = *bytes;
        if u16::from_be_bytes([m0, m1]) != MAGIC {
            return None;
        }
        let [n0, n1, n2, n3, n4, n5]: [u8; 6] = n;
        Some(Self {
            flow: u16::from_be_bytes([f0, f1]),
            number: u64::from_be_bytes([0, 0, n0, n1, n2, n3, n4, n5]),
            departed: Instant::from_nanos(u64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7])),
        })
    }

    /// The stamp of a received frame, or `None` if the frame is not of a stream.
    #[must_use]
    pub fn of_frame(frame: &[u8]) -> Option<Self> {
        let (ether_type, at) = eth::untagged(frame)?;
        let family = match ether_type {
            eth::IPV4 => Family::V4,
            eth::IPV6 => Family::V6,
            _ => return None,
        };
        let at = at + family.header_len() + udp::HEADER_LEN;
        Self::from_bytes(frame.get(at..)?.first_chunk()?)
    }
}

/// Addresses of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub source_mac: MacAddr,
    pub destination_mac: MacAddr,
    pub source: IpAddr,
    pub destination: IpAddr,
}

/// A frame of one length, ready but for its flow and stamp.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    family: Family,
    /// Sum of pseudo-header, UDP header and zero payload; source port 0.
    sum: u32,
}

impl Template {
    /// `len` is the length of the IP packet; source and destination are of one family.
    pub fn new(path: &Path, len: u16) -> Result<Self, String> {
        let family = Family::of(path.source);
        if len < family.len_min() || len > LEN_MAX {
            return Err(format!("{len} bytes: {family} packets have {} to {LEN_MAX}", family.len_min()));
        }
        let udp_len = len - family.header_len() as u16;
        let (ether_type, ip) = match (path.source, path.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let header = Ipv4Header {
                    header_len: 20,
                    tos: 0,
                    total_len: len,
                    identification: 0,
                    dont_fragment: true,
                    more_fragments: false,
                    fragment_offset: 0,
                    ttl: TTL,
                    protocol: udp::PROTOCOL,
                    source,
                    destination,
                };
                (eth::IPV4, header.to_bytes().to_vec())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    traffic_class: 0,
                    flow_label: 0,
                    payload_len: udp_len,
                    next_header: udp::PROTOCOL,
                    hop_limit: TTL,
                    source,
                    destination,
                };
                (eth::IPV6, header.to_bytes().to_vec())
            }
            _ => return Err("source and destination are of different families".to_owned()),
        };
        let header =
            UdpHeader { source_port: 0, destination_port: PORT, len: udp_len, checksum: 0 }.to_bytes();
        let pseudo = checksum::pseudo(path.source, path.destination, udp::PROTOCOL, udp_len);
        let sum = checksum::sum(&header, pseudo);
        let (destination, source) = (path.destination_mac, path.source_mac);
        let mut bytes = EthHeader { destination, source, ether_type }.to_bytes().to_vec();
        bytes.extend_from_slice(&ip);
        bytes.extend_from_slice(&header);
        bytes.resize(eth::HEADER_LEN + usize::from(len), 0);
        Ok(Self { bytes, family, sum })
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes flow and stamp into a frame that holds [`Self::bytes`], with the UDP checksum.
    pub fn stamp(&self, frame: &mut [u8], stamp: Stamp) {
        let at = eth::HEADER_LEN + self.family.header_len();
        let port = FIRST_PORT.wrapping_add(stamp.flow);
        let payload = stamp.to_bytes();
        let sum = checksum::sum(&payload, self.sum + u32::from(port));
        // RFC 768: zero means that there is no checksum.
        let check = match checksum::finish(sum) {
            0 => 0xffff,
            check => check,
        };
        frame[at..at + 2].copy_from_slice(&port.to_be_bytes());
        frame[at + udp::CHECKSUM_AT..at + udp::CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
        frame[at + udp::HEADER_LEN..at + udp::HEADER_LEN + Stamp::LEN].copy_from_slice(&payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(source: &str, destination: &str) -> Path {
        Path {
            source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
        }
    }

    #[test]
    fn a_stamped_packet_is_well_formed_and_gives_its_stamp_back() {
        let v4 = path("10.1.0.2", "10.2.0.2");
        let v6 = path("2001:db8:1::2", "2001:db8:2::2");
        for (path, lens) in [(v4, [46, 47, 512, 1420]), (v6, [66, 67, 512, 1420])] {
            for len in lens {
                let template = Template::new(&path, len).expect("long enough");
                for (flow, number) in [(0, 0), (7, 1), (FLOWS_MAX - 1, (1 << 48) - 1)] {
                    let stamp = Stamp { flow, number, departed: Instant::from_nanos(0x0102_0304_0506_0708) };
                    let mut frame = template.bytes().to_vec();
                    template.stamp(&mut frame, stamp);
                    assert_eq!(frame.len(), 14 + usize::from(len));
                    assert_eq!(Stamp::of_frame(&frame), Some(stamp));
                    let segment = match path.source {
                        IpAddr::V4(_) => {
                            let ip = Ipv4Header::parse(&frame[14..]).expect("a valid header");
                            assert_eq!(ip.total_len, len);
                            &frame[34..]
                        }
                        IpAddr::V6(_) => {
                            Ipv6Header::parse(&frame[14..]).expect("a valid header");
                            &frame[54..]
                        }
                    };
                    let udp = UdpHeader::parse(segment).expect("a valid length");
                    assert_eq!((udp.source_port, udp.destination_port), (1024 + flow, 9));
                    let pseudo = checksum::pseudo(path.source, path.destination, 17, udp.len);
                    assert_eq!(checksum::finish(checksum::sum(segment, pseudo)), 0, "{len} bytes");
                }
            }
        }
    }

    #[test]
    fn other_frames_have_no_stamp() {
        assert_eq!(Stamp::of_frame(&[0; 13]), None);
        assert_eq!(Stamp::of_frame(&[0; 64]), None);
        let mut frame =
            Template::new(&path("10.1.0.2", "10.2.0.2"), 46).expect("long enough").bytes().to_vec();
        assert_eq!(Stamp::of_frame(&frame), None, "not stamped yet");
        frame.truncate(50);
        assert_eq!(Stamp::of_frame(&frame), None);
    }

    #[test]
    fn mixed_families_and_short_packets_are_refused() {
        assert!(Template::new(&path("10.1.0.2", "2001:db8::1"), 512).is_err());
        assert!(Template::new(&path("10.1.0.2", "10.2.0.2"), 45).is_err());
        assert!(Template::new(&path("2001:db8::2", "2001:db8::1"), 65).is_err());
        assert!(Template::new(&path("10.1.0.2", "10.2.0.2"), 3701).is_err());
    }
}
