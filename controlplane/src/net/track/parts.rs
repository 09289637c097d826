//! Router mode: routes of other programs inside the tunnels' prefixes. XDP takes packets off the LAN before the kernel looks for
//! their longest prefix, so the dataplane must know of each longer one.

use super::Change;
use sipsec_net::IpPrefix;
use sipsec_net::prefix::PrefixError;
use sipsec_track::config::Table;
use sipsec_track::view::ForeignView;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Parts that are left to the kernel. Beyond them a tunnel takes its whole prefix, as a full table of BGP inside a default route
/// would have it.
pub const PARTS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub struct Parts {
    /// What tunnels take; nothing in host mode, where the kernel routes.
    tunnels: BTreeSet<IpPrefix>,
    /// The LAN device. What is behind it is no way out.
    lan: String,
    there: BTreeSet<IpPrefix>,
    is_full: bool,
}

impl Parts {
    pub fn new(tunnels: BTreeSet<IpPrefix>, lan: String) -> Self {
        Self { tunnels, lan, ..Self::default() }
    }

    /// Another profile. The session forgets the parts of prefixes that no tunnel has any more.
    pub fn set(&mut self, tunnels: BTreeSet<IpPrefix>, lan: String) {
        (self.tunnels, self.lan) = (tunnels, lan);
        let there = std::mem::take(&mut self.there);
        self.there = there.into_iter().filter(|prefix| self.concerns(*prefix)).collect();
        self.is_full = false;
    }

    /// Whether a route with this prefix takes a part of what a tunnel has.
    pub fn concerns(&self, prefix: IpPrefix) -> bool {
        if self.tunnels.is_empty() || self.tunnels.contains(&prefix) || is_link_only(prefix.addr()) {
            return false;
        }
        (0..prefix.prefix_len()).rev().any(|len| match IpPrefix::new(prefix.addr(), len) {
            Ok(shorter) | Err(PrefixError::HostBits(shorter)) => self.tunnels.contains(&shorter),
            Err(_) => false,
        })
    }

    /// Whether a route by this device is no way out.
    pub fn is_lan(&self, device: &str) -> bool {
        self.lan == device
    }

    /// All routes of other programs with this prefix; what the dataplane is to be told.
    pub fn foreign(&mut self, prefix: IpPrefix, routes: &[ForeignView]) -> Option<Change> {
        if !self.concerns(prefix) {
            return None;
        }
        let leads_out = |r: &ForeignView| {
            r.table == Table::Main && !r.device.as_deref().is_some_and(|device| self.is_lan(device))
        };
        if !routes.iter().any(leads_out) {
            return self.there.remove(&prefix).then_some(Change::ForeignGone(prefix));
        }
        if self.there.len() >= PARTS_MAX && !self.there.contains(&prefix) {
            if !std::mem::replace(&mut self.is_full, true) {
                tracing::warn!(
                    %prefix,
                    "more than {PARTS_MAX} routes inside tunnels' prefixes: tunnels take the packets of further ones"
                );
            }
            return None;
        }
        self.there.insert(prefix).then_some(Change::Foreign(prefix))
    }

    /// Those that are left to the kernel.
    pub fn there(&self) -> impl Iterator<Item = IpPrefix> {
        self.there.iter().copied()
    }
}

/// RFC 4291 §2.5.6, §2.7, RFC 5771: no router forwards by these.
const fn is_link_only(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(a) => a.is_multicast() || a.is_link_local(),
        IpAddr::V6(a) => a.is_multicast() || a.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> IpPrefix {
        text.parse().expect("a prefix")
    }

    fn by(device: &str) -> Vec<ForeignView> {
        vec![ForeignView {
            protocol: 186,
            metric: 20,
            via: None,
            device: Some(device.into()),
            table: Table::Main,
        }]
    }

    fn parts() -> Parts {
        let tunnels = ["10.0.0.0/8", "10.2.0.0/16", "::/0"].map(prefix);
        Parts::new(tunnels.into(), "lan0".into())
    }

    #[test]
    fn a_longer_prefix_is_the_kernels_until_it_has_gone() {
        let (mut parts, part) = (parts(), prefix("10.2.3.0/24"));
        assert_eq!(parts.foreign(part, &by("wan1")), Some(Change::Foreign(part)));
        assert_eq!(parts.foreign(part, &by("wan2")), None, "told once");
        assert_eq!(parts.there().collect::<Vec<_>>(), [part]);
        assert_eq!(parts.foreign(part, &[]), Some(Change::ForeignGone(part)));
        assert_eq!(parts.foreign(part, &[]), None);
    }

    #[test]
    fn what_is_no_part_or_leads_back_to_the_lan_is_not_told() {
        let mut parts = parts();
        for (to, device) in [
            ("10.2.0.0/16", "wan1"),
            ("192.0.2.0/24", "wan1"),
            ("0.0.0.0/0", "wan1"),
            ("10.1.0.0/16", "lan0"),
            ("fe80::/64", "wan1"),
            ("ff00::/8", "wan1"),
        ] {
            assert_eq!(parts.foreign(prefix(to), &by(device)), None, "{to}");
        }
        assert!(parts.is_lan("lan0") && !parts.is_lan("wan1"));
        let other = |table| vec![ForeignView { table, ..by("wan1").remove(0) }];
        assert_eq!(parts.foreign(prefix("10.9.0.0/16"), &other(Table::Number(100))), None);
        assert!(parts.foreign(prefix("2001:db8::/32"), &by("wan1")).is_some());
        parts.set([prefix("10.2.0.0/16")].into(), "lan0".into());
        assert_eq!(parts.there().count(), 0);
        assert!(!Parts::default().concerns(prefix("10.2.3.0/24")), "host mode");
    }

    #[test]
    fn they_are_bounded() {
        let mut parts = Parts::new([prefix("0.0.0.0/0")].into(), "lan0".into());
        let at = |n: u32| {
            IpPrefix::new(IpAddr::from((0x0b00_0000 + (n << 8)).to_be_bytes()), 24).expect("a prefix")
        };
        let told = (0..PARTS_MAX as u32 + 9).filter(|n| parts.foreign(at(*n), &by("wan1")).is_some()).count();
        assert_eq!((told, parts.there().count()), (PARTS_MAX, PARTS_MAX));
        assert!(parts.foreign(at(0), &[]).is_some());
        assert!(parts.foreign(at(PARTS_MAX as u32), &by("wan1")).is_some(), "there is room again");
    }
}
