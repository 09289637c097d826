//! IKE messages of the control plane, and NAT keepalives, on their way out: marker, outer headers, their own kind of frame.

use crate::media::{Identifications, OuterHeader};
use crate::packet::Packet;
use core::time::Duration;
use sipsec_net::udp_encap::{NAT_KEEPALIVE, NON_ESP_MARKER};
use sipsec_net::{DropReason, Instant};

/// A whole Ethernet frame that holds an IKE message or a NAT keepalive.
#[derive(Debug)]
pub struct IkeFrame<P>(P);

impl<P> IkeFrame<P> {
    pub(crate) fn into_packet(self) -> P {
        self.0
    }
}

/// CS6: RFC 4594 §3.2 puts what keeps the network itself alive above all data.
const DSCP: u8 = 48;

/// IKE messages of one peer that the control plane gets at once: a whole exchange in fragments (RFC 7383), several times
/// over. Whoever takes the peer's address can make no more of it.
const PUNT_BURST: u32 = 64;
/// And from then on.
const PUNTS_PER_SECOND_MAX: u32 = 64;
const PUNT_COST: Duration = Duration::from_nanos(1_000_000_000 / PUNTS_PER_SECOND_MAX as u64);

/// A bucket of one media port, in the virtual scheduling form of [`crate::shaper`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PuntLimit {
    next: Instant,
}

impl PuntLimit {
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let next = self.next.max(now) + PUNT_COST;
        let ok = next <= now + PUNT_COST * PUNT_BURST;
        if ok {
            self.next = next;
        }
        ok
    }
}

/// RFC 7296 §2.23, RFC 3948 §2.2: four zero bytes where ESP has its SPI, then the message. Without one, RFC 3948 §2.3.
const fn payload(message: &[u8]) -> (&[u8], &[u8]) {
    if message.is_empty() { (&NAT_KEEPALIVE, message) } else { (&NON_ESP_MARKER, message) }
}

pub(crate) const fn payload_len(message: &[u8]) -> usize {
    let (marker, message) = payload(message);
    marker.len() + message.len()
}

/// An empty `message` is a NAT keepalive. `frame` is fresh and empty. The outer IP packet may have `mtu` bytes: larger
/// messages are IKE's to fragment (RFC 7383).
pub(crate) fn build<P: Packet>(
    mut frame: P,
    message: &[u8],
    outer: &OuterHeader,
    ids: &mut Identifications,
    mtu: u16,
) -> Result<IkeFrame<P>, DropReason> {
    let len = payload_len(message);
    if outer.outer_ip_len(len) > usize::from(mtu) {
        return Err(DropReason::IkeTooLong);
    }
    if !outer.has_next_hop() {
        return Err(DropReason::NoNextHop);
    }
    frame.truncate(0);
    if !frame.push_back(len) || !frame.push_front(outer.len()) {
        return Err(DropReason::IkeTooLong);
    }
    let (head, body) = frame.data_mut().split_at_mut(outer.len());
    let (marker, message) = payload(message);
    body[..marker.len()].copy_from_slice(marker);
    body[marker.len()..].copy_from_slice(message);
    // A message that is lost for its size would cost the call.
    outer.write(head, len, DSCP << 2, false, ids);
    outer.write_checksum(frame.data_mut());
    Ok(IkeFrame(frame))
}
