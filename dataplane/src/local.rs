//! Router mode: what is this host's own although a tunnel's prefix covers it (10.0.0.0/8, the default route): its
//! addresses, and the LAN. The kernel's addresses come and go, so it is looked at again now and then.

use crate::netlink::Address;
use sipsec_abi::bpf;
use sipsec_net::IpPrefix;
use sipsec_pipeline::Local;
use std::net::IpAddr;

/// Prefixes that are heeded; a router has a handful.
pub const LOCAL_MAX: usize = 64;

const _: () = assert!(LOCAL_MAX < bpf::PREFIXES_MAX as usize);

/// `lan` is the index of the LAN device.
#[must_use]
pub fn local(addresses: &[Address], lan: u32) -> Local {
    let on_lan = || addresses.iter().filter(|a| a.index == lan);
    let own = addresses.iter().filter(|a| !a.local.is_loopback()).map(|a| IpPrefix::host(a.local));
    let mut prefixes: Vec<IpPrefix> = Vec::new();
    // The LAN first: it holds most of the addresses.
    for prefix in on_lan().map(|a| a.connected).chain(own) {
        if prefixes.len() == LOCAL_MAX {
            tracing::warn!(
                LOCAL_MAX,
                "more addresses than are heeded: a tunnel may take what is for the last of them"
            );
            break;
        }
        if !prefixes.contains(&prefix) {
            prefixes.push(prefix);
        }
    }
    let icmp_source_v4 = on_lan().find_map(|a| match a.local {
        IpAddr::V4(a) => Some(a),
        IpAddr::V6(_) => None,
    });
    let icmp_source_v6 = on_lan().find_map(|a| match a.local {
        // A link-local source says nothing beyond the link.
        IpAddr::V6(a) if !a.is_unicast_link_local() => Some(a),
        _ => None,
    });
    Local { prefixes, icmp_source_v4, icmp_source_v6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: u32, text: &str) -> Address {
        let (local, len) = text.split_once('/').expect("an address and a length");
        let local: IpAddr = local.parse().expect("valid");
        let connected = match IpPrefix::new(local, len.parse().expect("a number")) {
            Ok(p) | Err(sipsec_net::prefix::PrefixError::HostBits(p)) => p,
            Err(e) => panic!("{text}: {e:?}"),
        };
        Address { index, local, connected }
    }

    #[test]
    fn the_lan_and_every_address_of_the_host() {
        let addresses = [
            address(1, "127.0.0.1/8"),
            address(2, "203.0.113.5/24"),
            address(3, "10.1.0.1/16"),
            address(3, "fe80::1/64"),
            address(3, "2001:db8:1::1/64"),
        ];
        let local = local(&addresses, 3);
        let shown: Vec<String> = local.prefixes.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "10.1.0.0/16",
                "fe80::/64",
                "2001:db8:1::/64",
                "203.0.113.5/32",
                "10.1.0.1/32",
                "fe80::1/128",
                "2001:db8:1::1/128"
            ]
        );
        assert_eq!(local.icmp_source_v4, Some([10, 1, 0, 1].into()));
        assert_eq!(local.icmp_source_v6, Some("2001:db8:1::1".parse().expect("valid")));
    }
}
