//! From a frame to the one question each program asks. Reads only; every access is bounded by `data_end`, as the verifier
//! demands.

use crate::layout::{FragmentKey, MediaPeerKey, MediaPortKey};
use aya_ebpf::programs::XdpContext;

const ETH_LEN: usize = 14;
const IPV4_LEN_MIN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const PROTO_UDP: u8 = 17;
/// RFC 8200 §4.5.
const NEXT_FRAGMENT: u8 = 44;
const FRAGMENT_LEN: usize = 8;

/// Ends of parsing that are not for us.
pub enum Other {
    /// Not for the tunnel: another protocol, another VLAN, IPv6 with extension headers.
    Pass,
    Truncated,
}

pub enum Destination {
    V4([u8; 4]),
    V6([u8; 16]),
}

/// Not for a single byte at offset 0: `data >= data_end` proves nothing to the verifier.
#[inline(always)]
fn read<T: Copy>(ctx: &XdpContext, offset: usize) -> Result<T, Other> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() {
        return Err(Other::Truncated);
    }
    // SAFETY: the range was compared with data_end just above; T is made of bytes only, so any alignment is right.
    Ok(unsafe { core::ptr::read_unaligned(start as *const T) })
}

/// `at` is where the header begins.
enum Network {
    V4 { at: usize, header: [u8; IPV4_LEN_MIN] },
    V6 { at: usize, next_header: u8, destination: [u8; 16] },
}

const TAG_LEN: usize = 4;

/// TPIDs of IEEE 802.1Q: C-tag and S-tag.
#[inline(always)]
fn is_tag(ethertype: [u8; 2]) -> bool {
    matches!(ethertype, [0x81, 0x00] | [0x88, 0xa8])
}

/// The ethertype behind the tag at `at`. IEEE 802.1Q §6.9: VID 0 names no VLAN, only a priority; any other is another LAN.
#[inline(always)]
fn behind_priority_tag(ctx: &XdpContext, at: usize) -> Result<[u8; 2], Other> {
    let tag: [u8; TAG_LEN] = read(ctx, at)?;
    if tag[0] & 0x0f == 0 && tag[1] == 0 { Ok([tag[2], tag[3]]) } else { Err(Other::Pass) }
}

/// Skips priority tags: two at most, a C-tag behind an S-tag.
#[inline(always)]
fn network(ctx: &XdpContext) -> Result<Network, Other> {
    let ethertype: [u8; 2] = read(ctx, 12)?;
    if !is_tag(ethertype) {
        return packet(ctx, ethertype, ETH_LEN);
    }
    let ethertype = behind_priority_tag(ctx, ETH_LEN)?;
    if !is_tag(ethertype) {
        return packet(ctx, ethertype, ETH_LEN + TAG_LEN);
    }
    let ethertype = behind_priority_tag(ctx, ETH_LEN + TAG_LEN)?;
    packet(ctx, ethertype, ETH_LEN + 2 * TAG_LEN)
}

/// The packet of this ethertype that begins at `at`.
#[inline(always)]
fn packet(ctx: &XdpContext, ethertype: [u8; 2], at: usize) -> Result<Network, Other> {
    match ethertype {
        [0x08, 0x00] => {
            let header: [u8; IPV4_LEN_MIN] = read(ctx, at)?;
            // RFC 791 §3.1: IHL counts 32-bit words, five at least.
            if header[0] >> 4 != 4 || ipv4_len(&header) < IPV4_LEN_MIN {
                return Err(Other::Pass);
            }
            Ok(Network::V4 { at, header })
        }
        [0x86, 0xdd] => {
            let version: u8 = read(ctx, at)?;
            if version >> 4 != 6 {
                return Err(Other::Pass);
            }
            Ok(Network::V6 {
                at,
                next_header: read(ctx, at + 6)?,
                destination: read(ctx, at + 24)?,
            })
        }
        _ => Err(Other::Pass),
    }
}

#[inline(always)]
fn ipv4_len(header: &[u8; IPV4_LEN_MIN]) -> usize {
    usize::from(header[0] & 0x0f) * 4
}

/// RFC 4291 §2.5.5.2: the IPv4-mapped form, of the address at `at` in the header.
#[inline(always)]
fn mapped(header: &[u8; IPV4_LEN_MIN], at: usize) -> [u8; 16] {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, header[at], header[at + 1], header[at + 2], header[at + 3]]
}

/// UDP from outside.
pub enum Udp {
    Whole(MediaPortKey),
    /// Of the first fragment, which shows it, the destination port.
    Fragment(FragmentKey, Option<[u8; 2]>),
}

#[inline(always)]
fn destination_port(ctx: &XdpContext, at: usize) -> Result<[u8; 2], Other> {
    let udp: [u8; UDP_LEN] = read(ctx, at)?;
    Ok([udp[2], udp[3]])
}

#[inline(always)]
pub fn udp(ctx: &XdpContext) -> Result<Udp, Other> {
    match network(ctx)? {
        Network::V4 { header, .. } if header[9] != PROTO_UDP => Err(Other::Pass),
        Network::V4 { at, header } => {
            let addr = mapped(&header, 16);
            // RFC 791 §3.1: more-fragments, and an offset in units of 8 bytes.
            let is_later = header[6] & 0x1f != 0 || header[7] != 0;
            let port = if is_later { None } else { Some(destination_port(ctx, at + ipv4_len(&header))?) };
            match port {
                Some(port) if header[6] & 0x20 == 0 => {
                    Ok(Udp::Whole(MediaPortKey { addr, port, zero: [0; 2] }))
                }
                port => {
                    let between = MediaPeerKey { local: addr, remote: mapped(&header, 12) };
                    let identification = [0, 0, header[4], header[5]];
                    Ok(Udp::Fragment(FragmentKey { between, identification }, port))
                }
            }
        }
        Network::V6 { at, next_header: PROTO_UDP, destination: addr } => {
            let port = destination_port(ctx, at + IPV6_LEN)?;
            Ok(Udp::Whole(MediaPortKey { addr, port, zero: [0; 2] }))
        }
        Network::V6 { at, next_header: NEXT_FRAGMENT, destination: addr } => {
            let header: [u8; FRAGMENT_LEN] = read(ctx, at + IPV6_LEN)?;
            if header[0] != PROTO_UDP {
                return Err(Other::Pass);
            }
            let is_later = header[2] != 0 || header[3] & 0xf8 != 0;
            let port =
                if is_later { None } else { Some(destination_port(ctx, at + IPV6_LEN + FRAGMENT_LEN)?) };
            match port {
                // RFC 6946 §4: an atomic fragment is a whole datagram.
                Some(port) if header[3] & 1 == 0 => Ok(Udp::Whole(MediaPortKey { addr, port, zero: [0; 2] })),
                port => {
                    let between = MediaPeerKey { local: addr, remote: read(ctx, at + 8)? };
                    let identification = [header[4], header[5], header[6], header[7]];
                    Ok(Udp::Fragment(FragmentKey { between, identification }, port))
                }
            }
        }
        // Other extension headers are the kernel's: no peer of a call sends them.
        Network::V6 { .. } => Err(Other::Pass),
    }
}

/// Destination of a packet that may be forwarded. RFC 1812 §5.3.4: a packet that came as a link-layer broadcast or
/// multicast is not forwarded.
#[inline(always)]
pub fn forward_destination(ctx: &XdpContext) -> Result<Destination, Other> {
    let destination_mac: [u8; 6] = read(ctx, 0)?;
    if destination_mac[0] & 1 != 0 {
        return Err(Other::Pass);
    }
    Ok(match network(ctx)? {
        Network::V4 { header, .. } => Destination::V4([header[16], header[17], header[18], header[19]]),
        Network::V6 { destination, .. } => Destination::V6(destination),
    })
}
