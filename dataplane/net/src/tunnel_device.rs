//! Host mode: kernel devices of single tunnels. Each is a macvlan above the sVTI, so that a tunnel's packets have the device's
//! Ethernet address in both directions: by it the dataplane knows the tunnel of what the kernel sends, and the kernel the device
//! of what comes back. Both processes of a gateway know the addresses: one makes the devices, the other reads the frames.

use crate::{MacAddr, TunnelId};

/// Locally administered (IEEE 802 §8.4.1).
const FIRST: [u8; 2] = [0x02, 0x53];

/// The address of a tunnel's device.
#[must_use]
pub const fn mac(tunnel: TunnelId) -> MacAddr {
    let [a, b, c, d] = tunnel.0.to_be_bytes();
    MacAddr([FIRST[0], FIRST[1], a, b, c, d])
}

/// The tunnel whose device has this address, unless it is the sVTI's own, which is random.
#[must_use]
pub const fn tunnel(mac: MacAddr) -> Option<TunnelId> {
    let [first, second, a, b, c, d] = mac.0;
    if first != FIRST[0] || second != FIRST[1] {
        return None;
    }
    Some(TunnelId(u32::from_be_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_tunnel() {
        for id in [1, 7, 0x0102_0304, u32::MAX] {
            assert_eq!(tunnel(mac(TunnelId(id))), Some(TunnelId(id)));
        }
        assert_eq!(mac(TunnelId(7)), MacAddr([2, 0x53, 0, 0, 0, 7]));
        assert_eq!(tunnel(MacAddr([2, 0, 0, 0, 0, 7])), None);
    }
}
