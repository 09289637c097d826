//! Traffic selectors (RFC 7296 §2.9).

use crate::error::{IkeError, Party};
use sipsec_net::dp::{SELECTORS_MAX, Selector, Selectors};

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

/// The largest subset of the peer's selectors that ours allow, at most as many as an SA can hold; empty if there is
/// none. What another one covers is left out. The order is the peer's, whose first choice stays (RFC 7296 §2.9).
pub(crate) fn narrow(theirs: &[Selector], ours: &[Selector]) -> Vec<Selector> {
    let mut out: Vec<Selector> = Vec::new();
    for t in theirs {
        for o in ours {
            let Some(both) = intersect(t, o) else { continue };
            if out.iter().any(|x| covers(x, &both)) {
                continue;
            }
            let place = out.iter().position(|x| covers(&both, x)).unwrap_or(out.len());
            out.retain(|x| !covers(&both, x));
            out.insert(place, both);
        }
    }
    out.truncate(SELECTORS_MAX);
    out
}

/// The answer to our offer must be a subset of it, and fit into an SA.
pub(crate) fn accept(answer: &[Selector], offered: &[Selector]) -> Result<(), IkeError> {
    if answer.is_empty() || !answer.iter().all(|a| offered.iter().any(|o| covers(o, a))) {
        return Err(IkeError::TsUnacceptable { by: Party::Us });
    }
    if answer.len() > SELECTORS_MAX {
        return Err(IkeError::TooManySelectors { got: answer.len() });
    }
    Ok(())
}

/// RFC 7296 §2.9.2: a rekey must not narrow what is in use.
pub(crate) fn keeps(new: &Selectors, old: &Selectors) -> bool {
    let kept = |new: &[Option<Selector>], old: &[Option<Selector>]| {
        old.iter().flatten().all(|o| new.iter().flatten().any(|n| covers(n, o)))
    };
    kept(&new.local, &old.local) && kept(&new.remote, &old.remote)
}

pub(crate) fn pack(local: &[Selector], remote: &[Selector]) -> Selectors {
    let array = |list: &[Selector]| {
        let mut out = [None; SELECTORS_MAX];
        for (slot, s) in out.iter_mut().zip(list) {
            *slot = Some(*s);
        }
        out
    };
    Selectors { local: array(local), remote: array(remote) }
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

    #[test]
    fn the_first_choice_of_the_initiator_stays_first() {
        let one = |n: u8| Selector {
            addr_start: [10, 0, 0, n].into(),
            addr_end: [10, 0, 0, n].into(),
            ..Selector::ANY_V4
        };
        let wide = Selector { addr_start: [10, 0, 0, 0].into(), addr_end: [10, 0, 0, 9].into(), ..one(0) };
        // The packet that the SA is made for comes first, and then what covers it.
        let theirs = [one(1), one(20), one(30), one(40), one(50), wide];
        assert_eq!(narrow(&theirs, &[Selector::ANY_V4]), [wide, one(20), one(30), one(40)]);
    }

    #[test]
    fn an_answer_that_is_too_long_is_not_called_unacceptable() {
        let any = [Selector::ANY_V4];
        assert_eq!(accept(&[Selector::ANY_V4; SELECTORS_MAX], &any), Ok(()));
        let got = SELECTORS_MAX + 1;
        let error = accept(&vec![Selector::ANY_V4; got], &any);
        assert_eq!(error, Err(IkeError::TooManySelectors { got }));
        assert_eq!(accept(&[Selector::ANY_V6], &any), Err(IkeError::TsUnacceptable { by: Party::Us }));
    }

    proptest! {
        /// Narrowing admits exactly the packets that both sides admit, unless the bound cut it off, and never more.
        #[test]
        fn narrowing_is_the_intersection(
            theirs in prop::collection::vec(selector(), 1..4),
            ours in prop::collection::vec(selector(), 1..4),
        ) {
            let both = narrow(&theirs, &ours);
            prop_assert!(both.len() <= SELECTORS_MAX);
            prop_assert!(both.is_empty() || (accept(&both, &theirs).is_ok() && accept(&both, &ours).is_ok()));
            for addr in 0..16 {
                for protocol in 1..3 {
                    for port in 0..8 {
                        let want = admits(&theirs, addr, protocol, port) && admits(&ours, addr, protocol, port);
                        let got = admits(&both, addr, protocol, port);
                        prop_assert!(got == want || (!got && both.len() == SELECTORS_MAX));
                    }
                }
            }
        }
    }
}
