//! IP prefixes without host bits.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A network prefix whose host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpPrefix {
    addr: IpAddr,
    len: u8,
}

/// Why a prefix is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrefixError {
    /// Not `address/length`.
    Syntax,
    /// Length above 32 or 128.
    Length,
    /// Host bits are set; holds the prefix that was probably meant.
    HostBits(IpPrefix),
}

impl IpPrefix {
    pub const ANY_V4: Self = Self { addr: IpAddr::V4(Ipv4Addr::UNSPECIFIED), len: 0 };
    pub const ANY_V6: Self = Self { addr: IpAddr::V6(Ipv6Addr::UNSPECIFIED), len: 0 };

    pub fn new(addr: IpAddr, len: u8) -> Result<Self, PrefixError> {
        let masked = match addr {
            IpAddr::V4(a) if len <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) if len <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
            _ => return Err(PrefixError::Length),
        };
        let prefix = Self { addr: masked, len };
        if masked == addr { Ok(prefix) } else { Err(PrefixError::HostBits(prefix)) }
    }

    /// The prefix that holds exactly this address.
    #[must_use]
    pub const fn host(addr: IpAddr) -> Self {
        let len = if addr.is_ipv4() { 32 } else { 128 };
        Self { addr, len }
    }

    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.len
    }

    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        match Self::new(addr, self.len) {
            Ok(p) | Err(PrefixError::HostBits(p)) => p == *self,
            Err(_) => false,
        }
    }
}

impl FromStr for IpPrefix {
    type Err = PrefixError;
    fn from_str(s: &str) -> Result<Self, PrefixError> {
        let (addr, len) = s.split_once('/').ok_or(PrefixError::Syntax)?;
        let addr = addr.parse().map_err(|_| PrefixError::Syntax)?;
        Self::new(addr, len.parse().map_err(|_| PrefixError::Length)?)
    }
}

impl fmt::Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl fmt::Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_an_error_that_names_the_cure() {
        let err = "10.1.0.0/8".parse::<IpPrefix>().expect_err("host bits");
        assert_eq!(err, PrefixError::HostBits("10.0.0.0/8".parse().expect("valid")));
        assert_eq!("0.0.0.0/0".parse::<IpPrefix>(), Ok(IpPrefix::ANY_V4));
        assert_eq!("::/0".parse::<IpPrefix>(), Ok(IpPrefix::ANY_V6));
        assert_eq!("10.0.0.0/33".parse::<IpPrefix>(), Err(PrefixError::Length));
        assert_eq!("10.0.0.0".parse::<IpPrefix>(), Err(PrefixError::Syntax));
    }

    #[test]
    fn contains_respects_family_and_length() {
        let p: IpPrefix = "10.2.0.0/16".parse().expect("valid");
        assert!(p.contains("10.2.255.1".parse().expect("valid")));
        assert!(!p.contains("10.3.0.1".parse().expect("valid")));
        assert!(!p.contains("::1".parse().expect("valid")));
    }
}
