//! DHCPv6 client (RFC 8415, RFC 3319, RFC 3646), with prefix delegation and vendor options.

mod client;
mod lease;
mod message;
mod retransmit;

pub use client::{Client, Output, Phase};
pub use lease::{Address, Lease, LostBecause, Prefix};

/// DHCP unique identifier of the client (RFC 8415 §11). Keep it for the life of the line: home gateways bind the
/// line's extension to it, and a new one takes another extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duid(Vec<u8>);

impl Duid {
    /// Longest identifier (§11.1: two octets of type and 128 of value).
    pub const LEN_MAX: usize = 130;

    /// DUID-LL (§11.4): made of a hardware address, so that it is the same after a lost disk.
    #[must_use]
    pub fn link_layer(mac: [u8; 6]) -> Self {
        let mut bytes = vec![0, 3, 0, 1];
        bytes.extend_from_slice(&mac);
        Self(bytes)
    }

    /// One that was kept; `None` if it has no legal length.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        (3..=Self::LEN_MAX).contains(&bytes.len()).then_some(Self(bytes))
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Vendor class of option 16 (RFC 8415 §21.16): one item of opaque data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorClass {
    pub enterprise: u32,
    pub data: Vec<u8>,
}

/// What the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Addresses and prefixes, as told.
    Lease { address: bool, prefix: bool },
    /// Options alone (Information-request, §18.2.6): the address comes by router advertisement or by hand.
    Options,
}

/// Configuration of one client.
#[derive(Clone, Debug)]
pub struct Config {
    pub duid: Duid,
    /// Identifies the interface's IA_NA and IA_PD at the server; the same after a restart.
    pub iaid: u32,
    pub wanted: Wanted,
    /// A home gateway of NTT's line gives number and domain to clients alone that send a class.
    pub vendor_class: Option<VendorClass>,
}
