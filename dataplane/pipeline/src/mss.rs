//! TCP's segments are made to fit the tunnel at the handshake, in both directions, so that neither side depends on ICMP.

use crate::parse::Info;
use sipsec_net::{ipv4, ipv6, tcp};

const TCP_HEADER_LEN: usize = 20;

/// Whether this packet may be a handshake's.
pub(crate) const fn concerns(info: &Info) -> bool {
    info.protocol == tcp::PROTOCOL && !info.later_fragment
}

/// `packet` is the whole IP packet that `info` describes.
pub(crate) fn clamp(packet: &mut [u8], info: &Info, mtu: u16) {
    if !concerns(info) {
        return;
    }
    let ip = if info.is_v6() { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
    let mss = usize::from(mtu).saturating_sub(ip + TCP_HEADER_LEN) as u16;
    tcp::clamp_mss(&mut packet[usize::from(info.upper)..], mss);
}
