//! DHCPv4 client (RFC 2131, RFC 2132, RFC 3361, RFC 3396, RFC 3442, RFC 3925, RFC 5227).

mod client;
mod lease;
mod message;
mod options;
mod retransmit;

pub use client::{Client, Output, Phase};
pub use lease::{Lease, LeaseHint, LostBecause, Route};
#[cfg(test)]
pub(crate) use options::Options;

use crate::sip_data::ENTERPRISE_NTT;
use std::net::Ipv4Addr;

/// Vendor class of option 124 (RFC 3925 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorClass {
    pub enterprise: u32,
    pub data: Vec<u8>,
}

impl VendorClass {
    /// What a terminal of NTT's line sends: enterprise 210 and its hardware address behind a length byte. A server of
    /// that line answers option 125 to such clients alone.
    #[must_use]
    pub fn ntt(mac: [u8; 6]) -> Self {
        let mut data = vec![6];
        data.extend_from_slice(&mac);
        Self { enterprise: ENTERPRISE_NTT, data }
    }
}

/// What the client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// An address with everything else.
    Address,
    /// The address comes from elsewhere; only the options are asked for (DHCPINFORM, RFC 2131 §3.4).
    OptionsFor(Ipv4Addr),
}

/// Configuration of one client.
#[derive(Clone, Debug)]
pub struct Config {
    pub mac: [u8; 6],
    pub wanted: Wanted,
    /// Option 61. `None` leaves it out; the server then knows the client by its hardware address.
    pub client_id: Option<Vec<u8>>,
    pub vendor_class: Option<VendorClass>,
    /// Option 12.
    pub host_name: Option<String>,
    /// The last lease, if it was written down: its address is asked for again (INIT-REBOOT, RFC 2131 §3.2).
    pub last: Option<LeaseHint>,
}
