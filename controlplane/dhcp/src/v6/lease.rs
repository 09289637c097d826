//! What a DHCPv6 server has given.

use crate::sip_data::SipData;
use sipsec_net::Instant;
use std::net::Ipv6Addr;

/// An address of the IA_NA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub address: Ipv6Addr,
    pub preferred_until: Instant,
    pub valid_until: Instant,
}

/// A prefix of the IA_PD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    pub prefix: Ipv6Addr,
    pub len: u8,
    pub preferred_until: Instant,
    pub valid_until: Instant,
}

impl Prefix {
    /// Whether the address is inside.
    #[must_use]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0);
        self.prefix.to_bits() & mask == address.to_bits() & mask
    }
}

/// A lease, or the answer to an Information-request (without addresses and prefixes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// DUID of the server.
    pub server: Vec<u8>,
    pub addresses: Vec<Address>,
    pub prefixes: Vec<Prefix>,
    pub dns: Vec<Ipv6Addr>,
    pub sip: SipData,
    pub obtained: Instant,
    pub renews: Instant,
    pub rebinds: Instant,
    /// When the first address or prefix ends; calls must not be tried with it afterwards.
    pub expires: Instant,
}

/// Why addresses and prefixes must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostBecause {
    #[error("the lease expired")]
    Expired,
    #[error("the server withdrew the lease")]
    Withdrawn,
    #[error("another host uses the address")]
    Conflict,
    #[error("the client released the lease")]
    Released,
    #[error("the link went down")]
    LinkDown,
}
