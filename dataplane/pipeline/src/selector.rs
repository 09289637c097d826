//! Traffic selectors, both ways (RFC 4301 §5.1 and §5.2).

use crate::parse::Info;
use core::mem::offset_of;
use core::net::{IpAddr, Ipv6Addr};
use sipsec_net::dp::{Selector, Selectors};

/// The selectors of one SA. Most are "everything", which costs no comparison.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SaSelectors {
    all_v4: bool,
    all_v6: bool,
    /// One block for most SAs. Most packets do not need it.
    blocks: Vec<Selectors>,
}

const ALL_V6: Selector = Selector {
    addr_start: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    addr_end: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
    ..Selector::ANY_V4
};

impl SaSelectors {
    /// Where what most packets do not need begins.
    pub(crate) const COLD_AT: usize = offset_of!(Self, blocks);

    pub(crate) fn new(selectors: Selectors) -> Self {
        let mut this = Self { blocks: vec![selectors], all_v4: false, all_v6: false };
        this.note_everything();
        this
    }

    pub(crate) fn add(&mut self, more: Selectors) {
        self.blocks.push(more);
        self.note_everything();
    }

    fn note_everything(&mut self) {
        let all = |everything| {
            let wanted = |s: &Selector| *s == everything;
            self.local().any(wanted) && self.remote().any(wanted)
        };
        (self.all_v4, self.all_v6) = (all(Selector::ANY_V4), all(ALL_V6));
    }

    fn local(&self) -> impl Iterator<Item = &Selector> {
        self.blocks.iter().flat_map(|block| &block.local).flatten()
    }

    fn remote(&self) -> impl Iterator<Item = &Selector> {
        self.blocks.iter().flat_map(|block| &block.remote).flatten()
    }

    /// Out: the source is local.
    pub(crate) fn allow_out(&self, info: &Info) -> bool {
        self.allow_all(info) || pair(self.local(), self.remote(), info)
    }

    /// In: the source is remote. RFC 4301 §5.2 step 4: the inner packet must be what this very SA was negotiated for.
    /// Selectors of everything leave it to the routes whose network a peer speaks for (`graph/inbound.rs`).
    pub(crate) fn allow_in(&self, info: &Info) -> bool {
        self.allow_all(info) || pair(self.remote(), self.local(), info)
    }

    const fn allow_all(&self, info: &Info) -> bool {
        if info.is_v6() { self.all_v6 } else { self.all_v4 }
    }
}

/// One selector of the source's side and one of the destination's.
fn pair<'a>(
    mut sources: impl Iterator<Item = &'a Selector>,
    mut destinations: impl Iterator<Item = &'a Selector>,
    info: &Info,
) -> bool {
    let (source, destination) = match info.ports {
        Some((source, destination)) => (Some(source), Some(destination)),
        None => (None, None),
    };
    sources.any(|s| s.matches(info.source, info.protocol, source))
        && destinations.any(|s| s.matches(info.destination, info.protocol, destination))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector() -> impl Strategy<Value = Option<Selector>> {
        prop_oneof![
            Just(None),
            Just(Some(Selector::ANY_V4)),
            Just(Some(ALL_V6)),
            (any::<[u8; 4]>(), any::<[u8; 4]>(), 0u8..18, any::<(u16, u16)>()).prop_map(
                |(a, b, protocol, (p, q))| {
                    Some(Selector {
                        addr_start: a.min(b).into(),
                        addr_end: a.max(b).into(),
                        protocol,
                        port_start: p.min(q),
                        port_end: p.max(q),
                    })
                }
            ),
        ]
    }

    fn side() -> impl Strategy<Value = [Option<Selector>; 4]> {
        [selector(), selector(), selector(), selector()]
    }

    proptest! {
        #[test]
        fn the_short_way_says_what_the_long_way_says(
            local in side(),
            remote in side(),
            later in prop::collection::vec((side(), side()), 0..3),
            v6: bool,
            protocol in 0u8..18,
            ports in any::<Option<(u16, u16)>>(),
            addrs in any::<([u8; 4], [u8; 4])>(),
        ) {
            let (source, destination): (IpAddr, IpAddr) = if v6 {
                (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into())
            } else {
                (addrs.0.into(), addrs.1.into())
            };
            let info = Info { source, destination, protocol, ports, ..Info::default() };
            let mut sa = SaSelectors::new(Selectors { local, remote });
            let (mut locals, mut remotes) = (local.to_vec(), remote.to_vec());
            for (local, remote) in later {
                sa.add(Selectors { local, remote });
                locals.extend(local);
                remotes.extend(remote);
            }
            let (local, remote) = (|| locals.iter().flatten(), || remotes.iter().flatten());
            prop_assert_eq!(sa.allow_out(&info), pair(local(), remote(), &info));
            prop_assert_eq!(sa.allow_in(&info), pair(remote(), local(), &info));
        }
    }
}
