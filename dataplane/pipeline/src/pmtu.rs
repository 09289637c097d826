//! Packets larger than the tunnel: told to the sender (RFC 1191, RFC 8201), or cut before they are sealed (RFC 4301 §8.2,
//! RFC 4459 §3.2: fragments of inner packets survive what fragments of ESP do not).

use crate::packet::Packet;
use sipsec_net::DropReason;
use sipsec_net::ipv4::{self, Ipv4Header};

/// Fragments of one packet: enough for the largest frame through the smallest tunnel.
pub(crate) const FRAGMENTS_MAX: usize = 8;
/// Longest IPv4 header.
const HEADER_MAX: usize = 60;

/// Cuts an IPv4 packet without DF to `mtu`, in order. The first fragment stays in its frame; the others are copied into
/// frames from `fresh`. All or none.
pub(crate) fn fragment<P: Packet>(
    mut packet: P,
    mtu: u16,
    mut fresh: impl FnMut() -> Option<P>,
) -> Result<[Option<P>; FRAGMENTS_MAX], DropReason> {
    let header = Ipv4Header::parse(packet.data()).map_err(|_| DropReason::FragmentFailed)?;
    let first_len = usize::from(header.header_len);
    let mut copied = [0; HEADER_MAX];
    let copied_len = copied_header(&packet.data()[..first_len], &mut copied);
    // RFC 791 §3.2: payloads in units of 8 bytes, but for the last.
    let room = |header: usize| usize::from(mtu).saturating_sub(header) / 8 * 8;
    let (first_room, later_room) = (room(first_len), room(copied_len));
    if first_room == 0 || later_room == 0 {
        return Err(DropReason::FragmentFailed);
    }
    let mut parts = [const { None }; FRAGMENTS_MAX];
    let (mut at, end) = (first_len + first_room, usize::from(header.total_len));
    let mut places = parts[1..].iter_mut();
    while at < end {
        let place = places.next().ok_or(DropReason::FragmentFailed)?;
        let take = later_room.min(end - at);
        let mut part = fresh().ok_or(DropReason::FrameExhausted)?;
        part.truncate(0);
        if !part.push_back(copied_len + take) {
            return Err(DropReason::FragmentFailed);
        }
        let data = part.data_mut();
        data[..copied_len].copy_from_slice(&copied[..copied_len]);
        data[copied_len..].copy_from_slice(&packet.data()[at..at + take]);
        let offset = header.fragment_offset + ((at - first_len) / 8) as u16;
        patch(data, copied_len, offset, header.more_fragments || at + take < end);
        at += take;
        *place = Some(part);
    }
    packet.truncate(first_len + first_room);
    patch(packet.data_mut(), first_len, header.fragment_offset, true);
    parts[0] = Some(packet);
    Ok(parts)
}

/// The header of the later fragments: only options with the copied flag (RFC 791 §3.1), padded to 4 bytes. Its length.
fn copied_header(header: &[u8], out: &mut [u8; HEADER_MAX]) -> usize {
    out[..ipv4::HEADER_LEN].copy_from_slice(&header[..ipv4::HEADER_LEN]);
    let (mut from, mut to) = (ipv4::HEADER_LEN, ipv4::HEADER_LEN);
    while let Some(&kind) = header.get(from) {
        let len = match kind {
            0 => break,
            1 => 1,
            _ => match header.get(from + 1) {
                Some(&len) if len >= 2 && from + usize::from(len) <= header.len() => usize::from(len),
                _ => break,
            },
        };
        if kind & 0x80 != 0 {
            out[to..to + len].copy_from_slice(&header[from..from + len]);
            to += len;
        }
        from += len;
    }
    // The rest is zero: end of the option list.
    let len = to.next_multiple_of(4);
    out[0] = 0x40 | (len / 4) as u8;
    len
}

/// Sets what differs between the fragments: total length, offset and the flag.
fn patch(packet: &mut [u8], header_len: usize, offset: u16, more: bool) {
    use sipsec_net::checksum;
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    let flags = (u16::from(more) << 13) | offset;
    packet[6..8].copy_from_slice(&flags.to_be_bytes());
    packet[ipv4::CHECKSUM_AT..ipv4::CHECKSUM_AT + 2].fill(0);
    let check = checksum::finish(checksum::sum(&packet[..header_len], 0));
    packet[ipv4::CHECKSUM_AT..ipv4::CHECKSUM_AT + 2].copy_from_slice(&check.to_be_bytes());
}
