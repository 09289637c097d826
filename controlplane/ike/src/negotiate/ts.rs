//! Traffic selectors (RFC 7296 §2.9). Lists of up to 255 come and go on the wire as they are; the dataplane gets their
//! union in as few ranges as possible, at most [`SELECTORS_MAX`] for each side.

use crate::config::EndpointConfig;
use crate::error::{IkeError, Party};
use core::net::IpAddr;
use sipsec_net::dp::{SELECTORS_MAX, Selector};
use std::sync::Arc;

/// What a CHILD_SA admits: the union of each list, in merged ranges.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrafficSelectors {
    pub local: Arc<[Selector]>,
    pub remote: Arc<[Selector]>,
}

/// Entries of one TS payload: the count is one byte (RFC 7296 §3.13).
const PAYLOAD_MAX: usize = u8::MAX as usize;
/// Intersections looked at in one narrowing: a full payload against four policies.
const NARROWED_MAX: usize = 4 * PAYLOAD_MAX;

fn intersect(a: &Selector, b: &Selector) -> Option<Selector> {
    if a.addr_start.is_ipv4() != b.addr_start.is_ipv4() {
        return None;
    }
    let protocol = match (a.protocol, b.protocol) {
        (x, y) if x == y => x,
        (0, y) => y,
        (x, 0) => x,
        _ => return None,
    };
    let out = Selector {
        addr_start: a.addr_start.max(b.addr_start),
        addr_end: a.addr_end.min(b.addr_end),
        protocol,
        port_start: a.port_start.max(b.port_start),
        port_end: a.port_end.min(b.port_end),
    };
    (out.addr_start <= out.addr_end && out.port_start <= out.port_end).then_some(out)
}

fn covers(a: &Selector, b: &Selector) -> bool {
    intersect(a, b) == Some(*b)
}

fn all_covered(inner: &[Selector], outer: &[Selector]) -> bool {
    let outer = merged(outer);
    inner.iter().all(|i| outer.iter().any(|o| covers(o, i)))
}

fn successor(addr: IpAddr) -> Option<IpAddr> {
    match addr {
        IpAddr::V4(a) => a.to_bits().checked_add(1).map(|bits| core::net::Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(a) => a.to_bits().checked_add(1).map(|bits| core::net::Ipv6Addr::from_bits(bits).into()),
    }
}

/// The same union with no range inside or beside another of the same protocol and ports.
pub(crate) fn merged(list: &[Selector]) -> Vec<Selector> {
    let mut sorted = list.to_vec();
    let class = |s: &Selector| (s.addr_start.is_ipv6(), s.protocol, s.port_start, s.port_end);
    sorted.sort_by_key(|s| (class(s), s.addr_start, s.addr_end));
    let mut out: Vec<Selector> = Vec::new();
    for s in sorted {
        match out.last_mut() {
            Some(last)
                if class(last) == class(&s)
                    && successor(last.addr_end).is_none_or(|next| s.addr_start <= next) =>
            {
                last.addr_end = last.addr_end.max(s.addr_end);
            }
            _ => out.push(s),
        }
    }
    let all = out.clone();
    out.retain(|s| !all.iter().any(|other| other != s && covers(other, s)));
    out
}

/// The largest subset of the peer's selectors that ours allow; empty if there is none. A selector that another one covers
/// is left out. The order is the peer's, whose first choice stays (RFC 7296 §2.9).
pub(crate) fn narrow(theirs: &[Selector], ours: &[Selector]) -> Vec<Selector> {
    let mut out: Vec<Selector> = Vec::new();
    for both in theirs.iter().flat_map(|t| ours.iter().filter_map(|o| intersect(t, o))) {
        if out.len() == NARROWED_MAX {
            break;
        }
        if out.iter().any(|x| covers(x, &both)) {
            continue;
        }
        let place = out.iter().position(|x| covers(&both, x)).unwrap_or(out.len());
        out.retain(|x| !covers(&both, x));
        out.insert(place, both);
    }
    out
}

/// As much of `all` as a payload and an SA can hold, and whether something was left out (then the answer says
/// ADDITIONAL_TS_POSSIBLE). `in_use`: the selectors of the SA that is rekeyed, which go first (RFC 7296 §2.9.2).
pub(crate) fn fit(mut all: Vec<Selector>, in_use: &[Selector]) -> (Vec<Selector>, bool) {
    if all.len() <= PAYLOAD_MAX && merged(&all).len() <= SELECTORS_MAX {
        return (all, false);
    }
    let used = |s: &Selector| in_use.iter().any(|u| intersect(s, u).is_some());
    let spare = SELECTORS_MAX.saturating_sub(all.iter().filter(|s| used(s)).count());
    let (mut kept, mut others) = (0, 0);
    all.retain(|s| {
        let (count, max) = if used(s) { (&mut kept, SELECTORS_MAX) } else { (&mut others, spare) };
        *count += 1;
        *count <= max
    });
    (all, true)
}

/// The answer to our offer must be a subset of it (RFC 7296 §2.9), and fit into an SA.
pub(crate) fn accept(answer: &[Selector], offered: &[Selector]) -> Result<(), IkeError> {
    if answer.is_empty() || !all_covered(answer, offered) {
        return Err(IkeError::TsUnacceptable { by: Party::Us });
    }
    match merged(answer).len() {
        got if got > SELECTORS_MAX => Err(IkeError::TooManySelectors { got }),
        _ => Ok(()),
    }
}

/// What we ask for. A peer that answers SINGLE_PAIR_REQUIRED gets the next narrower one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TsOffer {
    /// Everything that the profile says.
    All,
    /// One selector for each side: many peers that "require a single pair" mean a pair of networks.
    OnePair,
    /// RFC 7296 §2.9: "only the specific traffic", a pair of addresses.
    Traffic,
}

impl TsOffer {
    /// Selectors for TSi and TSr, as we are the initiator.
    pub fn lists(self, config: &EndpointConfig) -> (Vec<Selector>, Vec<Selector>) {
        let all = || (config.ts_local.clone(), config.ts_remote.clone());
        let wanted =
            config.traffic.map_or_else(|| config.ts_local[0].addr_start.is_ipv4(), |t| t.0.is_ipv4());
        let first = |list: &[Selector]| {
            list.iter()
                .find(|s| s.addr_start.is_ipv4() == wanted)
                .or(list.first())
                .copied()
                .into_iter()
                .collect()
        };
        let host = |addr: IpAddr, list: &[Selector]| {
            let exact = Selector { addr_start: addr, addr_end: addr, ..Selector::ANY_V4 };
            list.iter().find_map(|s| intersect(s, &exact)).into_iter().collect()
        };
        match (self, config.traffic) {
            (Self::OnePair, _) => (first(&config.ts_local), first(&config.ts_remote)),
            (Self::Traffic, Some((source, destination))) => {
                (host(source, &config.ts_local), host(destination, &config.ts_remote))
            }
            (Self::All | Self::Traffic, _) => all(),
        }
    }

    /// The next one that asks for less, if there is one.
    pub fn narrower(self, config: &EndpointConfig) -> Option<Self> {
        let rest: &[Self] = match self {
            Self::All => &[Self::OnePair, Self::Traffic],
            Self::OnePair => &[Self::Traffic],
            Self::Traffic => &[],
        };
        let asked = self.lists(config);
        let less = |offer: &&Self| {
            let (local, remote) = offer.lists(config);
            !local.is_empty() && !remote.is_empty() && (local, remote) != asked
        };
        rest.iter().find(less).copied()
    }
}

impl TrafficSelectors {
    pub(crate) fn of(local: &[Selector], remote: &[Selector]) -> Self {
        Self { local: merged(local).into(), remote: merged(remote).into() }
    }

    /// RFC 7296 §2.9.2: a rekey MUST NOT narrow the selectors in use.
    pub(crate) fn keep(&self, old: &Self) -> bool {
        all_covered(&old.local, &self.local) && all_covered(&old.remote, &self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector() -> impl Strategy<Value = Selector> {
        (0u8..16, 0u8..16, 0u8..3, 0u16..8, 0u16..8).prop_map(|(a, b, protocol, p, q)| Selector {
            addr_start: [10, 0, 0, a.min(b)].into(),
            addr_end: [10, 0, 0, a.max(b)].into(),
            protocol,
            port_start: p.min(q),
            port_end: p.max(q),
        })
    }

    /// Whether a packet to `addr`:`port` with `protocol` is in the list.
    fn admits(list: &[Selector], addr: u8, protocol: u8, port: u16) -> bool {
        list.iter().any(|s| s.matches([10, 0, 0, addr].into(), protocol, Some(port)))
    }

    fn range(first: [u8; 4], last: [u8; 4]) -> Selector {
        Selector { addr_start: first.into(), addr_end: last.into(), ..Selector::ANY_V4 }
    }

    fn host(n: u8) -> Selector {
        range([10, 0, 0, n], [10, 0, 0, n])
    }

    /// Networks that do not touch.
    fn apart(n: u8) -> Selector {
        range([10, n, 0, 0], [10, n, 0, 255])
    }

    #[test]
    fn the_first_choice_of_the_initiator_stays_first() {
        let wide = range([10, 0, 0, 0], [10, 0, 0, 9]);
        // The packet that the SA is made for comes first, and then what covers it.
        let theirs = [host(1), host(20), host(30), host(40), host(50), wide];
        let want = [wide, host(20), host(30), host(40), host(50)];
        assert_eq!(narrow(&theirs, &[Selector::ANY_V4]), want);
    }

    #[test]
    fn ranges_side_by_side_become_one() {
        let nets: Vec<_> = (1..=5).rev().map(|n| range([10, 1, n, 0], [10, 1, n, 255])).collect();
        assert_eq!(merged(&nets), [range([10, 1, 1, 0], [10, 1, 5, 255])]);
        let last = range([255, 255, 255, 0], [255, 255, 255, 255]);
        assert_eq!(merged(&[last, last]), [last]);
        let tcp = Selector { protocol: 6, ..host(1) };
        assert_eq!(merged(&[tcp, host(1), host(3)]), [host(1), host(3)], "any protocol covers TCP");
    }

    #[test]
    fn as_much_is_kept_as_fits_and_what_is_in_use_first() {
        let many: Vec<_> = (0..200).map(apart).collect();
        let (kept, left_out) = fit(many.clone(), &[]);
        assert_eq!((kept.as_slice(), left_out), (&many[..SELECTORS_MAX], true));
        let in_use = [apart(150), apart(3)];
        let (kept, left_out) = fit(many, &in_use);
        assert!(left_out && kept.len() == SELECTORS_MAX && all_covered(&in_use, &kept));
        let touching: Vec<_> = (0..200).map(host).collect();
        assert_eq!(fit(touching.clone(), &[]), (touching, false), "one range in the dataplane");
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_called_unacceptable() {
        let any = [Selector::ANY_V4];
        let answer = |n: usize| (0..n as u8).map(apart).collect::<Vec<_>>();
        assert_eq!(accept(&answer(SELECTORS_MAX), &any), Ok(()));
        let got = SELECTORS_MAX + 1;
        assert_eq!(accept(&answer(got), &any), Err(IkeError::TooManySelectors { got }));
        assert_eq!(accept(&[Selector::ANY_V6], &any), Err(IkeError::TsUnacceptable { by: Party::Us }));
        // RFC 7296 §2.9: a subset of the union is enough.
        let halves = [range([10, 0, 0, 0], [10, 0, 0, 127]), range([10, 0, 0, 128], [10, 0, 0, 255])];
        assert_eq!(accept(&[range([10, 0, 0, 100], [10, 0, 0, 200])], &halves), Ok(()));
    }

    proptest! {
        /// Narrowing admits exactly the packets that both sides admit, and merging changes nothing of that.
        #[test]
        fn narrowing_is_the_intersection(
            theirs in prop::collection::vec(selector(), 1..4),
            ours in prop::collection::vec(selector(), 1..4),
        ) {
            let both = narrow(&theirs, &ours);
            let merged = merged(&both);
            prop_assert!(both.is_empty() || (accept(&both, &theirs).is_ok() && accept(&both, &ours).is_ok()));
            for addr in 0..16 {
                for protocol in 1..3 {
                    for port in 0..8 {
                        let want = admits(&theirs, addr, protocol, port) && admits(&ours, addr, protocol, port);
                        prop_assert_eq!(admits(&both, addr, protocol, port), want);
                        prop_assert_eq!(admits(&merged, addr, protocol, port), want);
                    }
                }
            }
        }
    }
}
