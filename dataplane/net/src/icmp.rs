//! ICMP errors a router sends (RFC 792, RFC 1191, RFC 4443) and the rule when it must not.

pub const PROTOCOL_V4: u8 = 1;
pub const PROTOCOL_V6: u8 = 58;
pub const HEADER_LEN: usize = 8;

/// The error that an ICMP message reports about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Fragmentation Needed (RFC 1191 §4) or Packet Too Big (RFC 4443 §3.2), with the next hop's MTU.
    TooBig { mtu: u16 },
    /// In transit.
    TimeExceeded,
}

impl IcmpError {
    /// The 8 bytes before the quoted packet, checksum zero.
    #[must_use]
    pub const fn header(self, v6: bool) -> [u8; HEADER_LEN] {
        match self {
            // RFC 1191 §4: the low-order 16 bits of the second word.
            Self::TooBig { mtu } if !v6 => [3, 4, 0, 0, 0, 0, (mtu >> 8) as u8, mtu as u8],
            // RFC 4443 §3.2: all 32 bits.
            Self::TooBig { mtu } => [2, 0, 0, 0, 0, 0, (mtu >> 8) as u8, mtu as u8],
            Self::TimeExceeded if !v6 => [11, 0, 0, 0, 0, 0, 0, 0],
            Self::TimeExceeded => [3, 0, 0, 0, 0, 0, 0, 0],
        }
    }
}

/// RFC 1122 §3.2.2, RFC 4443 §2.4 (e.1): no error about an error.
#[must_use]
pub const fn is_error(protocol: u8, kind: u8) -> bool {
    match protocol {
        PROTOCOL_V4 => matches!(kind, 3 | 4 | 5 | 11 | 12),
        PROTOCOL_V6 => kind < 128,
        _ => false,
    }
}
