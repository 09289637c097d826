//! Keys, values and sizes of the BPF maps between the XDP programs (`ebpf/prog`) and their loader (`sipsec-ebpf`).
//!
//! The BPF program includes this very file by path, so it names nothing outside `core`, and every struct here is bytes
//! alone: no padding, no alignment, network byte order.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names of maps and programs inside the object.
pub const MAP_MEDIA_PORTS: &str = "MEDIA_PORTS";
pub const MAP_MEDIA_PEERS: &str = "MEDIA_PEERS";
pub const MAP_PREFIXES_V4: &str = "PREFIXES_V4";
pub const MAP_PREFIXES_V6: &str = "PREFIXES_V6";
pub const MAP_XSKS_OUTSIDE: &str = "XSKS_OUTSIDE";
pub const MAP_XSKS_INSIDE: &str = "XSKS_INSIDE";
pub const MAP_COUNTERS: &str = "COUNTERS";
pub const PROG_OUTSIDE: &str = "outside";
pub const PROG_INSIDE_ALL: &str = "inside_all";
pub const PROG_INSIDE_LPM: &str = "inside_lpm";

/// Most live media ports (one per call); the table is allocated as it fills.
pub const MEDIA_PORTS_MAX: u32 = 65_536;
/// Datagrams in fragments that are known to be the kernel's; the oldest make room.
pub const KERNEL_FRAGMENTS_MAX: u32 = 1024;
/// Most tunnel prefixes per address family.
pub const PREFIXES_MAX: u32 = 65_536;
/// Most receive queues of one device with a socket each.
pub const QUEUES_MAX: u32 = 64;

/// Key of `MEDIA_PORTS`: the address and port that our SDP named. IPv4 is held as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2).
///
/// The address is part of the key, so that a datagram that is only routed *through* this machine is left to the kernel
/// even when it happens to be for the same port number.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaPortKey {
    pub addr: [u8; 16],
    /// Network byte order.
    pub port: [u8; 2],
    pub zero: [u8; 2],
}

impl MediaPortKey {
    pub const LEN: usize = 20;

    #[must_use]
    pub const fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr: mapped(addr), port: port.to_be_bytes(), zero: [0; 2] }
    }

    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..16].copy_from_slice(&self.addr);
        out[16..18].copy_from_slice(&self.port);
        out
    }

    #[must_use]
    pub const fn address(&self) -> IpAddr {
        Ipv6Addr::from_octets(self.addr).to_canonical()
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }
}

/// Key of `MEDIA_PEERS`: both addresses of a live call. Fragments between them go to the dataplane: only the first of a
/// datagram shows ports.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaPeerKey {
    pub local: [u8; 16],
    pub remote: [u8; 16],
}

impl MediaPeerKey {
    pub const LEN: usize = 32;

    #[must_use]
    pub const fn new(local: IpAddr, remote: IpAddr) -> Self {
        Self { local: mapped(local), remote: mapped(remote) }
    }

    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..16].copy_from_slice(&self.local);
        out[16..].copy_from_slice(&self.remote);
        out
    }
}

/// Key of `KERNEL_FRAGMENTS`: a datagram from a media peer whose first fragment was for a port of the kernel (SIP, say). The
/// fragments that follow it are the kernel's, too.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentKey {
    pub between: MediaPeerKey,
    pub identification: [u8; 4],
}

/// RFC 4291 §2.5.5.2: IPv4 as ::ffff:a.b.c.d.
const fn mapped(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Value of `MEDIA_PORTS` and of the prefix maps: whose it is (a tunnel's number).
pub type Owner = u32;

/// Owner of a prefix that belongs to the host although a tunnel's prefix covers it: the kernel. Tunnels are numbered
/// from 1.
pub const OWNER_KERNEL: Owner = 0;

/// Data of an LPM key as the kernel compares it: network byte order from the most significant bit.
#[must_use]
pub const fn lpm_v4(addr: Ipv4Addr) -> [u8; 4] {
    addr.octets()
}

#[must_use]
pub const fn lpm_v6(addr: Ipv6Addr) -> [u8; 16] {
    addr.octets()
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// Index into the per-CPU array `COUNTERS`: what became of each frame that a program saw.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Counter { $($(#[$doc])* $name = $value,)* }

        impl Counter {
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Stable name, as shown by `show dataplane` and by the metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

counters! {
    /// To the socket of the receive queue.
    OutsideRedirect = 0, "outside_redirect";
    /// Left to the kernel: ARP, SIP, DHCP, ICMP, a closed port …
    OutsidePass = 1, "outside_pass";
    /// A fragment left to the kernel: its sender is no live call's peer, or its first fragment was for another port.
    OutsideFragment = 2, "outside_fragment";
    /// Shorter than its headers say; the kernel counts it as malformed.
    OutsideTruncated = 3, "outside_truncated";
    /// For a live media port, but no socket is bound to this receive queue: dropped, since the kernel would answer the
    /// peer with ICMP port unreachable.
    OutsideNoSocket = 4, "outside_no_socket";
    InsideRedirect = 5, "inside_redirect";
    InsidePass = 6, "inside_pass";
    InsideTruncated = 7, "inside_truncated";
    /// Tunnel traffic without a socket on this receive queue: dropped, never passed, since the kernel might route it in
    /// clear.
    InsideNoSocket = 8, "inside_no_socket";
    /// A fragment from a live call's peer, to the socket of the receive queue.
    OutsideFragmentRedirect = 9, "outside_fragment_redirect";
}

/// Length of the `COUNTERS` array.
pub const COUNTERS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_keys_are_golden() {
        let v4 = MediaPortKey::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 6)), 50_001);
        assert_eq!(
            v4.to_bytes(),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, 6, 0xc3, 0x51, 0, 0]
        );
        assert_eq!(size_of::<MediaPortKey>(), MediaPortKey::LEN);
        assert_eq!(align_of::<MediaPortKey>(), 1);
        assert_eq!(v4.address(), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 6)));
        assert_eq!(v4.port(), 50_001);
        let v6 = MediaPortKey::new("2001:db8::1".parse().expect("valid"), 1);
        assert_eq!(v6.to_bytes()[..4], [0x20, 1, 0x0d, 0xb8]);
        assert_eq!(v6.to_bytes()[16..], [0, 1, 0, 0]);
        let peer = MediaPeerKey::new(v4.address(), Ipv4Addr::new(203, 0, 113, 9).into());
        assert_eq!(peer.to_bytes()[10..16], [0xff, 0xff, 198, 51, 100, 6]);
        assert_eq!(peer.to_bytes()[26..], [0xff, 0xff, 203, 0, 113, 9]);
        assert_eq!((size_of::<MediaPeerKey>(), size_of::<FragmentKey>()), (MediaPeerKey::LEN, 36));
        assert_eq!(align_of::<FragmentKey>(), 1);
    }

    #[test]
    fn counters_are_dense() {
        assert_eq!(Counter::ALL.len(), COUNTERS as usize);
        for (i, c) in Counter::ALL.iter().enumerate() {
            assert_eq!(*c as usize, i, "{}", c.name());
        }
    }
}
