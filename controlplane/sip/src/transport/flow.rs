//! A flow: the way that a message takes between two addresses.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    #[default]
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    /// Whether the transport itself repeats what is lost (RFC 3261 §17).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// The token in Via (RFC 3261 §20.42).
    #[must_use]
    pub const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The value of a URI's `transport` parameter (RFC 3261 §19.1.1).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// RFC 3261 §19.1.2.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// What a URI says of it: nothing for UDP, which is the default.
    pub(crate) const fn uri_param(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Transport {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        [Self::Udp, Self::Tcp, Self::Tls].into_iter().find(|t| s.eq_ignore_ascii_case(t.name())).ok_or(())
    }
}

/// Names a connection. Those that the user agent opens have numbers from 1; those that a peer opened have
/// [`FlowId::accepted`] ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

impl FlowId {
    /// Datagrams need no connection.
    pub const DATAGRAM: Self = Self(0);
    const ACCEPTED: u64 = 1 << 63;

    /// The `n`th connection that a peer opened.
    #[must_use]
    pub const fn accepted(n: u64) -> Self {
        Self(n | Self::ACCEPTED)
    }

    #[must_use]
    pub const fn is_accepted(self) -> bool {
        self.0 & Self::ACCEPTED != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub transport: Transport,
    /// Where the peer reaches us: the WAN's address and the port of SIP, not the port of a connection that we opened.
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub id: FlowId,
}

impl Flow {
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, local, remote, id: FlowId::DATAGRAM }
    }
}

/// Our addresses for SIP, one of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locals {
    pub v4: Option<SocketAddr>,
    pub v6: Option<SocketAddr>,
}

impl Locals {
    /// One address, or none.
    #[must_use]
    pub fn of(addr: Option<SocketAddr>) -> Self {
        Self { v4: addr.filter(SocketAddr::is_ipv4), v6: addr.filter(SocketAddr::is_ipv6) }
    }

    /// Ours in the family of this remote address.
    #[must_use]
    pub const fn towards(&self, remote: SocketAddr) -> Option<SocketAddr> {
        if remote.is_ipv4() { self.v4 } else { self.v6 }
    }

    pub(crate) fn has(&self, addr: SocketAddr) -> bool {
        self.v4 == Some(addr) || self.v6 == Some(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_transports_are_read_in_any_case() {
        for t in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            assert_eq!(t.via().parse(), Ok(t));
            assert_eq!(t.to_string().parse(), Ok(t));
        }
        assert_eq!("sctp".parse::<Transport>(), Err(()));
        assert!(FlowId::accepted(1).is_accepted() && !FlowId(1).is_accepted());
    }

    #[test]
    fn each_family_has_its_own_address() {
        let (v4, v6) = ("192.0.2.1:5060".parse().expect("v4"), "[2001:db8::1]:5060".parse().expect("v6"));
        let both = Locals { v4: Some(v4), v6: Some(v6) };
        assert_eq!((both.towards(v4), both.towards(v6)), (Some(v4), Some(v6)));
        assert_eq!(Locals::of(Some(v6)).towards(v4), None);
    }
}
