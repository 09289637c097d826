//! Router mode: the LAN's routers beside the usual next hop, each with the prefixes behind it. Several routers of one prefix
//! share its flows.

use core::net::IpAddr;
use sipsec_net::{IpPrefix, MacAddr};

/// Most entries: they are compared one by one.
pub const LAN_ROUTERS_MAX: usize = 16;

/// By falling length of their prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LanRouters {
    entries: [Option<(IpPrefix, MacAddr)>; LAN_ROUTERS_MAX],
}

impl LanRouters {
    pub const NONE: Self = Self { entries: [None; LAN_ROUTERS_MAX] };

    /// `None` for more than [`LAN_ROUTERS_MAX`].
    #[must_use]
    pub fn new(routers: &[(IpPrefix, MacAddr)]) -> Option<Self> {
        let mut out = Self::default();
        for (place, router) in out.entries.get_mut(..routers.len())?.iter_mut().zip(routers) {
            *place = Some(*router);
        }
        let rank = |entry: &Option<(IpPrefix, MacAddr)>| {
            entry.map(|(prefix, mac)| (core::cmp::Reverse(prefix.prefix_len()), prefix, mac.0))
        };
        out.entries[..routers.len()].sort_unstable_by_key(rank);
        Some(out)
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries[0].is_none()
    }

    /// The router of the longest prefix with this address; of several, that of the flow.
    #[must_use]
    pub fn towards(&self, destination: IpAddr, flow: u32) -> Option<MacAddr> {
        let mut all = self.entries.iter().map_while(|entry| *entry);
        let (prefix, first) = all.find(|(prefix, _)| prefix.contains(destination))?;
        let same = || all.clone().take_while(|(other, _)| *other == prefix).map(|(_, mac)| mac);
        let place = flow as usize % (1 + same().count());
        place.checked_sub(1).map_or(Some(first), |place| same().nth(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 9, n])
    }

    fn routers(list: &[(&str, u8)]) -> LanRouters {
        let list: Vec<_> = list.iter().map(|(p, n)| (p.parse().expect("a prefix"), mac(*n))).collect();
        LanRouters::new(&list).expect("few")
    }

    fn towards(routers: &LanRouters, address: &str, flow: u32) -> Option<MacAddr> {
        routers.towards(address.parse().expect("an address"), flow)
    }

    #[test]
    fn the_longest_prefix_counts_and_flows_are_shared() {
        let all = routers(&[
            ("10.1.0.0/16", 1),
            ("10.1.8.0/24", 2),
            ("10.1.8.0/24", 3),
            ("2001:db8::/32", 4),
            ("10.1.8.0/24", 5),
        ]);
        assert_eq!(towards(&all, "10.1.9.1", 7), Some(mac(1)));
        assert_eq!(towards(&all, "2001:db8::1", 0), Some(mac(4)));
        assert_eq!(towards(&all, "10.2.0.1", 0), None);
        let shared: Vec<_> = (0..6).map(|flow| towards(&all, "10.1.8.9", flow)).collect();
        let each = [2, 3, 5, 2, 3, 5].map(|n| Some(mac(n)));
        assert_eq!(shared, each);
    }

    #[test]
    fn the_table_is_bounded() {
        let one = ("10.0.0.0/8".parse().expect("a prefix"), mac(1));
        assert!(LanRouters::new(&[one; LAN_ROUTERS_MAX]).is_some());
        assert!(LanRouters::new(&[one; LAN_ROUTERS_MAX + 1]).is_none());
        assert!(LanRouters::new(&[]).expect("none").is_empty());
    }
}
