//! The WAN's addresses, one of each family.

use std::net::IpAddr;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WanAddresses {
    pub v4: Option<IpAddr>,
    pub v6: Option<IpAddr>,
}

impl WanAddresses {
    /// One address, or none.
    #[must_use]
    pub fn of(addr: Option<IpAddr>) -> Self {
        Self { v4: addr.filter(IpAddr::is_ipv4), v6: addr.filter(IpAddr::is_ipv6) }
    }

    #[must_use]
    pub fn any(&self) -> Option<IpAddr> {
        self.v4.or(self.v6)
    }

    /// Ours in the family of this address.
    #[must_use]
    pub const fn towards(&self, remote: IpAddr) -> Option<IpAddr> {
        if remote.is_ipv4() { self.v4 } else { self.v6 }
    }

    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        self.towards(ip) == Some(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_its_own() {
        let (v4, v6) = ("192.0.2.1".parse().expect("v4"), "2001:db8::1".parse().expect("v6"));
        let both = WanAddresses { v4: Some(v4), v6: Some(v6) };
        assert!(both.has(v4) && both.has(v6));
        let one = WanAddresses::of(Some(v6));
        assert_eq!((one.v4, one.any(), one.towards(v4), one.has(v4)), (None, Some(v6), None, false));
        assert_eq!(WanAddresses::of(None).any(), None);
    }
}
