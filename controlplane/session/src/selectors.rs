//! Traffic selectors (RFC 7296 §2.9): what a tunnel asks for, and which of its routes the peer's answer leaves out.

use sipsec_net::IpPrefix;
use sipsec_net::dp::Selector;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Entries of a list that a message names; the number of the others follows.
const NAMED_MAX: usize = 6;

/// Everything of each address family that is routed into the tunnel. Routes decide which packets use the SA.
pub(crate) fn wanted(routes: &[IpPrefix]) -> Vec<Selector> {
    let v6 = routes.iter().any(|r| r.addr().is_ipv6());
    let v4 = !v6 || routes.iter().any(|r| r.addr().is_ipv4());
    [(v4, Selector::ANY_V4), (v6, Selector::ANY_V6)]
        .into_iter()
        .filter_map(|(on, s)| on.then_some(s))
        .collect()
}

/// The peer has narrowed the selectors to less than the tunnel's routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Narrowed {
    /// Routes that are admitted in part or not at all.
    routes: Vec<IpPrefix>,
    /// What the SA admits at the peer's side.
    admitted: Vec<Selector>,
    /// No address of any route is admitted: the SA can carry nothing.
    entirely: bool,
}

impl Narrowed {
    /// `admitted`: the remote selectors of an SA, merged. `None` if they cover every route.
    pub(crate) fn of(routes: &[IpPrefix], admitted: &[Selector]) -> Option<Self> {
        let missing: Vec<_> =
            routes.iter().copied().filter(|r| !admitted.iter().any(|s| covers(s, r))).collect();
        if missing.is_empty() {
            return None;
        }
        let entirely = !routes.iter().any(|r| admitted.iter().any(|s| overlaps(s, r)));
        Some(Self { routes: missing, admitted: admitted.to_vec(), entirely })
    }

    #[must_use]
    pub const fn is_entire(&self) -> bool {
        self.entirely
    }
}

impl fmt::Display for Narrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = named(self.routes.iter().map(ToString::to_string));
        let admitted = named(self.admitted.iter().map(shown));
        if self.entirely {
            write!(
                f,
                "the peer's traffic selectors admit none of this tunnel's routes ({routes}), but {admitted}"
            )
        } else {
            write!(
                f,
                "the peer's traffic selectors leave out routes of this tunnel, whole or in part: {routes}; they admit \
                 {admitted}; other packets are dropped (selector-mismatch-out)"
            )
        }
    }
}

fn named(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(NAMED_MAX);
    let mut text = items.take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

fn ends(prefix: &IpPrefix) -> (IpAddr, IpAddr) {
    let last = match prefix.addr() {
        IpAddr::V4(a) => {
            let host = u32::MAX.checked_shr(prefix.prefix_len().into()).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() | host))
        }
        IpAddr::V6(a) => {
            let host = u128::MAX.checked_shr(prefix.prefix_len().into()).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() | host))
        }
    };
    (prefix.addr(), last)
}

fn overlaps(s: &Selector, route: &IpPrefix) -> bool {
    let (first, last) = ends(route);
    s.addr_start.is_ipv4() == first.is_ipv4() && s.addr_start <= last && first <= s.addr_end
}

fn covers(s: &Selector, route: &IpPrefix) -> bool {
    let (first, last) = ends(route);
    let all = s.protocol == 0 && s.port_start == 0 && s.port_end == u16::MAX;
    all && s.addr_start.is_ipv4() == first.is_ipv4() && s.addr_start <= first && last <= s.addr_end
}

/// `10.2.1.0/24`, or `10.2.1.1-10.2.1.9`; with protocol and ports where it is for some alone.
fn shown(s: &Selector) -> String {
    let (bits, host) = match (s.addr_start, s.addr_end) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (32, u128::from(a.to_bits() ^ b.to_bits())),
        (IpAddr::V6(a), IpAddr::V6(b)) => (128, a.to_bits() ^ b.to_bits()),
        _ => (0, 0),
    };
    let len = host.count_ones();
    let prefix = (host == 0 || host == u128::MAX >> (128 - len))
        .then(|| IpPrefix::new(s.addr_start, u8::try_from(bits - len.min(bits)).unwrap_or(0)).ok())
        .flatten()
        .filter(|prefix| ends(prefix) == (s.addr_start, s.addr_end));
    let mut text = prefix.map_or_else(|| format!("{}-{}", s.addr_start, s.addr_end), |p| p.to_string());
    if s.protocol != 0 {
        text += &format!(" protocol {}", s.protocol);
    }
    if (s.port_start, s.port_end) != (0, u16::MAX) {
        text += &format!(" ports {}-{}", s.port_start, s.port_end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(list: &[&str]) -> Vec<IpPrefix> {
        list.iter().map(|r| r.parse().expect("a prefix")).collect()
    }

    fn range(first: &str, last: &str) -> Selector {
        let ip = |text: &str| text.parse().expect("an address");
        Selector { addr_start: ip(first), addr_end: ip(last), ..Selector::ANY_V4 }
    }

    #[test]
    fn routes_that_a_peer_leaves_out_are_named() {
        let both = routes(&["10.2.0.0/16", "2001:db8::/32"]);
        assert_eq!(Narrowed::of(&both, &[Selector::ANY_V4, Selector::ANY_V6]), None);
        let narrowed = |list: &[&str], admitted: &[Selector]| {
            Narrowed::of(&routes(list), admitted).map(|n| (n.is_entire(), n.to_string())).expect("narrowed")
        };
        let part = narrowed(
            &["10.2.0.0/16", "10.4.0.0/16"],
            &[range("10.2.1.0", "10.2.1.255"), range("10.4.0.0", "10.5.255.255")],
        );
        assert_eq!(
            part,
            (
                false,
                "the peer's traffic selectors leave out routes of this tunnel, whole or in part: 10.2.0.0/16; they admit \
                 10.2.1.0/24, 10.4.0.0/15; other packets are dropped (selector-mismatch-out)"
                    .to_owned()
            )
        );
        // Of one family alone, of some protocols alone, one host, and a range that is no prefix.
        assert!(!narrowed(&["10.2.0.0/16", "2001:db8::/32"], &[Selector::ANY_V4]).0);
        let tcp =
            Selector { protocol: 6, port_start: 443, port_end: 443, ..range("10.2.0.0", "10.2.255.255") };
        let (entirely, text) = narrowed(&["10.2.0.0/16"], &[tcp]);
        assert!(!entirely && text.contains("10.2.0.0/16 protocol 6 ports 443-443"), "{text}");
        let (entirely, text) = narrowed(&["10.2.0.0/16"], &[range("10.3.0.1", "10.3.0.9")]);
        assert!(entirely && text.ends_with("routes (10.2.0.0/16), but 10.3.0.1-10.3.0.9"), "{text}");
        let (entirely, text) = narrowed(&["10.2.0.0/16"], &[range("10.3.0.1", "10.3.0.1")]);
        assert!(entirely && text.ends_with("but 10.3.0.1/32"), "{text}");
        assert_eq!(shown(&Selector::ANY_V4), "0.0.0.0/0");
        assert_eq!(shown(&Selector::ANY_V6), "::/0");
    }

    #[test]
    fn a_tunnel_without_routes_misses_none_and_long_lists_are_cut() {
        assert_eq!(Narrowed::of(&[], &[range("10.2.0.0", "10.2.0.1")]), None);
        let many: Vec<_> = (0..200).map(|n| format!("10.{n}.0.0/16").parse().expect("a prefix")).collect();
        let text = Narrowed::of(&many, &[range("192.0.2.1", "192.0.2.1")]).expect("narrowed").to_string();
        assert!(text.contains("10.5.0.0/16 and 194 more") && text.len() < 300, "{text}");
    }
}
