//! A frame of the kernel, cut into frames of the size that its virtio header names: what a network card with TCP and UDP
//! segmentation does (Linux `Documentation/networking/segmentation-offloads.rst`).

use crate::layout::{Layout, Transport, double, flags, put, word};
use crate::virtio::{GSO_ECN, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4, NEEDS_CSUM, VirtioHeader};
use sipsec_net::checksum;

/// The virtio header and the frame do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// What is left of a frame. The frame itself is the caller's, and stays as it was handed to [`Cut::new`].
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// `None` for a frame that goes as it is.
    gso: Option<Gso>,
    /// Bytes of the frame.
    len: usize,
    done: bool,
}

#[derive(Clone, Copy, Debug)]
struct Gso {
    layout: Layout,
    /// Payload of each segment but the last.
    size: usize,
    /// Payload that earlier segments have taken.
    taken: usize,
    /// Segments so far.
    segments: u16,
    /// Sum of the pseudo-header without the length.
    pseudo: u32,
}

impl Cut {
    /// Begins; computes the checksum of a frame that goes as it is.
    pub fn new(header: VirtioHeader, frame: &mut [u8]) -> Result<Self, Malformed> {
        let len = frame.len();
        if header.gso_type == GSO_NONE {
            if header.flags & NEEDS_CSUM != 0 {
                complete(frame, header.csum_start.into(), header.csum_offset.into())?;
            }
            return Ok(Self { gso: None, len, done: false });
        }
        let layout = Layout::read(frame).ok_or(Malformed)?;
        let matches = match header.gso_type & !GSO_ECN {
            GSO_TCPV4 => layout.transport == Transport::Tcp && !layout.is_v6,
            GSO_TCPV6 => layout.transport == Transport::Tcp && layout.is_v6,
            GSO_UDP_L4 => layout.transport == Transport::Udp,
            _ => false,
        };
        let by_checksum = header.flags & NEEDS_CSUM != 0
            && usize::from(header.csum_start) == layout.upper
            && usize::from(header.csum_offset) == layout.transport.checksum_at();
        if !matches || !by_checksum || header.gso_size == 0 || layout.payload_len() == 0 {
            return Err(Malformed);
        }
        // The kernel has put the sum of the pseudo-header there, which is that of the last destination behind a routing header.
        let with_len = u32::from(word(frame, layout.checksum_at()));
        let upper_len = (layout.end - layout.upper) as u16;
        let gso = Gso {
            layout,
            size: header.gso_size.into(),
            taken: 0,
            segments: 0,
            pseudo: with_len + u32::from(!upper_len),
        };
        Ok(Self { gso: Some(gso), len, done: false })
    }

    /// Bytes of the next frame; `None` after the last.
    #[must_use]
    pub fn next_len(&self) -> Option<usize> {
        if self.done {
            return None;
        }
        Some(self.gso.as_ref().map_or(self.len, |gso| gso.layout.payload + gso.next_payload()))
    }

    /// Frames that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        match &self.gso {
            _ if self.done => 0,
            None => 1,
            Some(gso) => (gso.layout.payload_len() - gso.taken).div_ceil(gso.size),
        }
    }

    /// Writes the next frame of `frame` to `to`, which has [`Self::next_len`] bytes.
    pub fn write_next(&mut self, frame: &[u8], to: &mut [u8]) {
        let Some(gso) = &mut self.gso else {
            to.copy_from_slice(&frame[..self.len]);
            self.done = true;
            return;
        };
        gso.write_next(frame, to);
        self.done = gso.taken == gso.layout.payload_len();
    }
}

impl Gso {
    fn next_payload(&self) -> usize {
        self.size.min(self.layout.payload_len() - self.taken)
    }

    fn write_next(&mut self, frame: &[u8], to: &mut [u8]) {
        let Layout { transport, is_v6, network, upper, payload, .. } = self.layout;
        let len = self.next_payload();
        let (headers, data) = to.split_at_mut(payload);
        headers.copy_from_slice(&frame[..payload]);
        data.copy_from_slice(&frame[payload + self.taken..][..len]);
        if !is_v6 {
            // Each segment is a datagram of its own (RFC 6864).
            let id = word(headers, network + 4).wrapping_add(self.segments);
            put(headers, network + 4, id);
        }
        self.layout.set_len(headers, payload + len);
        if transport == Transport::Tcp {
            let sequence = double(headers, upper + 4).wrapping_add(self.taken as u32);
            headers[upper + 4..upper + 8].copy_from_slice(&sequence.to_be_bytes());
            let flags = &mut headers[upper + 13];
            if self.taken > 0 {
                // RFC 3168 §6.1.2: the reduction is told once.
                *flags &= !flags::CWR;
            }
            if self.taken + len < self.layout.payload_len() {
                *flags &= !(flags::FIN | flags::PSH);
            }
        }
        let at = self.layout.checksum_at();
        put(headers, at, 0);
        let sum = self.pseudo + (payload - upper + len) as u32;
        let sum = checksum::sum(data, checksum::sum(&headers[upper..], sum));
        put(headers, at, transport.written(checksum::finish(sum)));
        self.taken += len;
        self.segments = self.segments.wrapping_add(1);
    }
}

/// Computes a checksum that was left to the device.
fn complete(frame: &mut [u8], start: usize, offset: usize) -> Result<(), Malformed> {
    let covered = frame.get_mut(start..).filter(|c| c.len() >= offset + 2).ok_or(Malformed)?;
    // The field holds the sum of the pseudo-header.
    let check = checksum::finish(checksum::sum(covered, 0));
    let is_udp = offset == Transport::Udp.checksum_at();
    put(covered, offset, if is_udp { Transport::Udp.written(check) } else { check });
    Ok(())
}
