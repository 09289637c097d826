//! From a frame to the one question each program asks. Reads only; every access is bounded by `data_end`, as the verifier
//! demands.

use aya_ebpf::programs::XdpContext;

const ETH_LEN: usize = 14;
const IPV4_LEN_MIN: usize = 20;
const IPV6_LEN: usize = 40;
const UDP_LEN: usize = 8;
const PROTO_UDP: u8 = 17;

/// Ends of parsing that are not for us.
pub enum Other {
    /// Not for the tunnel: another protocol, 802.1Q, IPv6 with extension headers.
    Pass,
    Fragment,
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

enum Network {
    V4 { header_len: usize, protocol: u8, fragment: bool, destination: [u8; 4] },
    V6 { next_header: u8, destination: [u8; 16] },
}

#[inline(always)]
fn network(ctx: &XdpContext) -> Result<Network, Other> {
    let ethertype: [u8; 2] = read(ctx, 12)?;
    match ethertype {
        [0x08, 0x00] => {
            let header: [u8; IPV4_LEN_MIN] = read(ctx, ETH_LEN)?;
            // RFC 791 §3.1: IHL counts 32-bit words, five at least.
            let header_len = usize::from(header[0] & 0x0f) * 4;
            if header[0] >> 4 != 4 || header_len < IPV4_LEN_MIN {
                return Err(Other::Pass);
            }
            Ok(Network::V4 {
                header_len,
                protocol: header[9],
                // More-fragments or an offset.
                fragment: header[6] & 0x3f != 0 || header[7] != 0,
                destination: [header[16], header[17], header[18], header[19]],
            })
        }
        [0x86, 0xdd] => {
            let version: u8 = read(ctx, ETH_LEN)?;
            if version >> 4 != 6 {
                return Err(Other::Pass);
            }
            Ok(Network::V6 {
                next_header: read(ctx, ETH_LEN + 6)?,
                destination: read(ctx, ETH_LEN + 24)?,
            })
        }
        _ => Err(Other::Pass),
    }
}

/// Destination address and port of an unfragmented UDP datagram.
#[inline(always)]
pub fn udp_destination(ctx: &XdpContext) -> Result<(Destination, [u8; 2]), Other> {
    match network(ctx)? {
        Network::V4 { protocol, .. } if protocol != PROTO_UDP => Err(Other::Pass),
        Network::V4 { fragment: true, .. } => Err(Other::Fragment),
        Network::V4 { header_len, destination, .. } => {
            let udp: [u8; UDP_LEN] = read(ctx, ETH_LEN + header_len)?;
            Ok((Destination::V4(destination), [udp[2], udp[3]]))
        }
        // Extension headers, fragments among them, are the kernel's: no peer of a call sends them.
        Network::V6 { next_header, .. } if next_header != PROTO_UDP => Err(Other::Pass),
        Network::V6 { destination, .. } => {
            let udp: [u8; UDP_LEN] = read(ctx, ETH_LEN + IPV6_LEN)?;
            Ok((Destination::V6(destination), [udp[2], udp[3]]))
        }
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
        Network::V4 { destination, .. } => Destination::V4(destination),
        Network::V6 { destination, .. } => Destination::V6(destination),
    })
}
