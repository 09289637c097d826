//! IKE messages of the control plane, and NAT keepalives, on their way out: marker, outer headers, their own kind of frame.

use super::{Identifications, OuterHeader};
use crate::packet::Packet;
use sipsec_net::DropReason;
use sipsec_net::udp_encap::{NAT_KEEPALIVE, NON_ESP_MARKER};

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

/// RFC 7296 §2.23, RFC 3948 §2.2: four zero bytes where ESP has its SPI, then the message. Without one, RFC 3948 §2.3.
const fn payload(message: &[u8]) -> (&[u8], &[u8]) {
    if message.is_empty() { (&NAT_KEEPALIVE, message) } else { (&NON_ESP_MARKER, message) }
}

pub(crate) const fn payload_len(message: &[u8]) -> usize {
    let (marker, message) = payload(message);
    marker.len() + message.len()
}

/// An empty `message` is a NAT keepalive. `frame` is fresh and empty. The outer IP packet may have `mtu` bytes: larger
/// messages are IKE's to fragment (RFC 7383). `probe`: no router may fragment it (IPv4).
pub(crate) fn build<P: Packet>(
    mut frame: P,
    message: &[u8],
    probe: bool,
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
    // A message that is lost for its size would cost the call, unless the size is what it asks about.
    outer.write(head, len, DSCP << 2, probe, ids);
    outer.write_checksum(frame.data_mut());
    Ok(IkeFrame(frame))
}
