//! IKE messages of the control plane on their way out: marker, outer headers, their own kind of frame.

use crate::nat::OuterHeader;
use crate::packet::Packet;
use sipsec_net::DropReason;
use sipsec_net::udp_encap::NON_ESP_MARKER;

/// A whole Ethernet frame that holds an IKE message.
#[derive(Debug)]
pub struct IkeFrame<P>(P);

impl<P> IkeFrame<P> {
    pub(crate) fn into_packet(self) -> P {
        self.0
    }
}

/// CS6: RFC 4594 §3.2 puts what keeps the network itself alive above all data.
const DSCP: u8 = 48;

/// `frame` is fresh and empty. The outer IP packet may have `mtu` bytes: larger messages are IKE's to fragment (RFC 7383).
pub(crate) fn build<P: Packet>(
    mut frame: P,
    message: &[u8],
    outer: &mut OuterHeader,
    mtu: u16,
) -> Result<IkeFrame<P>, DropReason> {
    let payload = NON_ESP_MARKER.len() + message.len();
    if outer.outer_ip_len(payload) > usize::from(mtu) {
        return Err(DropReason::IkeTooLong);
    }
    if !outer.has_next_hop() {
        return Err(DropReason::NoNextHop);
    }
    frame.truncate(0);
    if !frame.push_back(payload) || !frame.push_front(outer.len()) {
        return Err(DropReason::IkeTooLong);
    }
    let (head, body) = frame.data_mut().split_at_mut(outer.len());
    // RFC 7296 §2.23, RFC 3948 §2.2: four zero bytes where ESP has its SPI.
    body[..4].copy_from_slice(&NON_ESP_MARKER);
    body[4..].copy_from_slice(message);
    outer.write(head, body, DSCP << 2);
    Ok(IkeFrame(frame))
}
