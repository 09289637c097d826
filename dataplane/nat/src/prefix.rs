//! One prefix for another: IPv4 with unchanged host bits (RFC 3022 §2.1 for a whole network), IPv6 by RFC 6296, so that no
//! checksum above IP changes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use sipsec_net::{DropReason, IpPrefix};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    local: IpPrefix,
    global: IpPrefix,
    /// RFC 6296 §3.1: what the words of `local` sum up to, less those of `global`.
    adjustment: u16,
}

/// Ones' complement.
const fn plus(a: u16, b: u16) -> u16 {
    let sum = a as u32 + b as u32;
    ((sum & 0xffff) + (sum >> 16)) as u16
}

fn sum(prefix: &IpPrefix) -> u16 {
    match prefix.addr() {
        IpAddr::V6(a) => a.segments().into_iter().fold(0, plus),
        IpAddr::V4(_) => 0,
    }
}

impl Network {
    pub(crate) fn new(local: IpPrefix, global: IpPrefix) -> Self {
        Self { local, global, adjustment: plus(sum(&local), !sum(&global)) }
    }

    pub(crate) fn has_local(&self, address: IpAddr) -> bool {
        self.local.contains(address)
    }

    pub(crate) fn has_global(&self, address: IpAddr) -> bool {
        self.global.contains(address)
    }

    pub(crate) fn v4_to_global(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        self.has_local(address.into()).then(|| moved_v4(address, &self.global))
    }

    pub(crate) fn v4_to_local(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        self.has_global(address.into()).then(|| moved_v4(address, &self.local))
    }

    pub(crate) fn v6_to_global(&self, address: Ipv6Addr) -> Option<Result<Ipv6Addr, DropReason>> {
        self.has_local(address.into()).then(|| moved_v6(address, &self.global, self.adjustment))
    }

    pub(crate) fn v6_to_local(&self, address: Ipv6Addr) -> Option<Result<Ipv6Addr, DropReason>> {
        self.has_global(address.into()).then(|| moved_v6(address, &self.local, !self.adjustment))
    }
}

fn moved_v4(address: Ipv4Addr, to: &IpPrefix) -> Ipv4Addr {
    let host = u32::MAX.checked_shr(to.prefix_len().into()).unwrap_or(0);
    match to.addr() {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() | address.to_bits() & host),
        IpAddr::V6(_) => address,
    }
}

fn moved_v6(address: Ipv6Addr, to: &IpPrefix, adjustment: u16) -> Result<Ipv6Addr, DropReason> {
    let IpAddr::V6(network) = to.addr() else { return Ok(address) };
    let host = u128::MAX.checked_shr(to.prefix_len().into()).unwrap_or(0);
    let mut words = Ipv6Addr::from_bits(network.to_bits() | address.to_bits() & host).segments();
    // RFC 6296 §3.4 and §3.5: bits 48 to 63 of a /48 or shorter; of a longer prefix the first word of the interface
    // identifier that is not 0xFFFF.
    let at = match to.prefix_len() {
        0..=48 => Some(3).filter(|at| words[*at] != 0xffff),
        _ => (4..8).find(|at| words[*at] != 0xffff),
    };
    let word = at.and_then(|at| words.get_mut(at)).ok_or(DropReason::NatNoTranslation)?;
    *word = match plus(*word, adjustment) {
        // RFC 6296 §3.4: 0xFFFF is another zero.
        0xffff => 0,
        other => other,
    };
    Ok(words.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sipsec_net::checksum;

    fn p(text: &str) -> IpPrefix {
        text.parse().expect("prefix")
    }

    fn a(text: &str) -> Ipv6Addr {
        text.parse().expect("address")
    }

    /// RFC 6296 §2.1 and appendix B: fd01:0203:0405::/48 to 2001:db8:1::/48.
    #[test]
    fn the_example_of_the_rfc() {
        let n = Network::new(p("fd01:203:405::/48"), p("2001:db8:1::/48"));
        assert_eq!(n.v6_to_global(a("fd01:203:405:1::1234")), Some(Ok(a("2001:db8:1:d550::1234"))));
        assert_eq!(n.v6_to_local(a("2001:db8:1:d550::1234")), Some(Ok(a("fd01:203:405:1::1234"))));
        assert_eq!(n.v6_to_global(a("fd01:203:406:1::1234")), None);
        assert_eq!(n.v6_to_global(a("fd01:203:405:ffff::1")), Some(Err(DropReason::NatNoTranslation)));
    }

    proptest! {
        /// There and back is where it was, and no checksum above IP notices.
        #[test]
        fn addresses_come_back(host: u128, len in 1u8..=64) {
            let mask = u128::MAX << (128 - len);
            let prefix = |bits: u128| IpPrefix::new(Ipv6Addr::from_bits(bits & mask).into(), len).expect("masked");
            let n = Network::new(prefix(0xfd01_0203_0405_0607 << 64), prefix(0x2001_0db8_0001_abcd << 64));
            let IpAddr::V6(base) = n.local.addr() else { unreachable!() };
            let address = Ipv6Addr::from_bits(base.to_bits() | host & !mask);
            if let Some(Ok(global)) = n.v6_to_global(address) {
                prop_assert!(n.has_global(global.into()));
                prop_assert_eq!(n.v6_to_local(global), Some(Ok(address)));
                let sum = |a: Ipv6Addr| checksum::finish(checksum::sum(&a.octets(), 0));
                prop_assert_eq!(sum(address) % 0xffff, sum(global) % 0xffff);
            } else {
                prop_assert!(address.segments().contains(&0xffff));
            }
        }

        #[test]
        fn hosts_of_a_network_keep_their_number(host: u32, len in 0u8..=32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            let prefix = |bits: u32| IpPrefix::new(Ipv4Addr::from_bits(bits & mask).into(), len).expect("masked");
            let n = Network::new(prefix(0x0a01_0203), prefix(0xc0a8_6501));
            let address = Ipv4Addr::from_bits(0x0a01_0203 & mask | host & !mask);
            let global = n.v4_to_global(address).expect("its own");
            prop_assert_eq!((global.to_bits() & mask, global.to_bits() & !mask), (0xc0a8_6501 & mask, host & !mask));
            prop_assert_eq!(n.v4_to_local(global), Some(address));
        }
    }
}
