//! What a DHCPv4 server has given.

use crate::sip_data::SipData;
use sipsec_net::Instant;
use std::net::Ipv4Addr;
use std::time::Duration;

/// A route of option 121, or the default route of option 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: Ipv4Addr,
    pub prefix_len: u8,
    /// 0.0.0.0 says that the destination is on the link (RFC 3442).
    pub gateway: Ipv4Addr,
}

/// A lease, or the answer to DHCPINFORM (then `expires` is `None`, as for one without an end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub prefix_len: u8,
    pub server: Ipv4Addr,
    /// Routes of option 121; without that option the default route of option 3 (RFC 3442: 121 wins).
    pub routes: Vec<Route>,
    pub dns: Vec<Ipv4Addr>,
    pub mtu: Option<u16>,
    pub sip: SipData,
    pub obtained: Instant,
    pub renews: Option<Instant>,
    pub rebinds: Option<Instant>,
    pub expires: Option<Instant>,
}

impl Lease {
    /// What to keep for the next start.
    #[must_use]
    pub const fn hint(&self) -> LeaseHint {
        LeaseHint { address: self.address }
    }

    /// Time until the lease ends; `None` for one without an end.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.expires.map(|at| at.saturating_duration_since(now))
    }
}

/// What INIT-REBOOT needs of a former lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseHint {
    pub address: Ipv4Addr,
}

/// Why the address must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostBecause {
    #[error("the lease expired")]
    Expired,
    #[error("the server refused the address")]
    Refused,
    #[error("another host uses the address")]
    Conflict,
    #[error("the client released the address")]
    Released,
    #[error("the link went down")]
    LinkDown,
}
