//! Longest-prefix match from inner destinations to adjacencies of tunnels: one hash table per family, asked once per prefix length in use,
//! longest first. Tunnels are reached by a handful of lengths, so that is one to three probes.

use crate::slab::{Map, Set, map};
use core::net::IpAddr;
use sipsec_net::IpPrefix;
use sipsec_net::dp::Adjacency;

/// Where packets to an address go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Tunnel(u32),
    /// Into this tunnel, which is another worker's.
    Elsewhere(u32),
    /// The host has a better route than this tunnel's.
    Outside(u32),
    /// Nowhere; the prefix is this tunnel's.
    Discard(u32),
    /// To the host, or by a route that is none of ours.
    Local,
}

impl Answer {
    const fn new(tunnel: u32, adjacency: Adjacency) -> Self {
        match adjacency {
            Adjacency::Tunnel => Self::Tunnel(tunnel),
            Adjacency::Outside => Self::Outside(tunnel),
            Adjacency::Discard => Self::Discard(tunnel),
        }
    }

    /// The tunnel whose prefix covers the address, even if packets do not go there.
    pub(crate) const fn owner(self) -> Option<u32> {
        match self {
            Self::Tunnel(tunnel)
            | Self::Elsewhere(tunnel)
            | Self::Outside(tunnel)
            | Self::Discard(tunnel) => Some(tunnel),
            Self::Local => None,
        }
    }

    /// The tunnel that packets go into.
    pub(crate) const fn tunnel(self) -> Option<u32> {
        match self {
            Self::Tunnel(tunnel) | Self::Elsewhere(tunnel) => Some(tunnel),
            Self::Outside(_) | Self::Discard(_) | Self::Local => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Fib {
    v4: Family<u32>,
    v6: Family<u128>,
    /// The routes of each tunnel, so that removing it looks at no other's.
    of: Map<u32, Set<IpPrefix>>,
    generation: u64,
}

#[derive(Debug)]
struct Family<A: Address> {
    routes: Map<A::Key, Answer>,
    /// How many routes of each length there are.
    counts: [u32; 129],
    /// Lengths in use, longest first.
    lengths: Vec<u8>,
}

trait Address: Copy {
    /// A prefix, as the table has it.
    type Key: Copy + Eq + core::hash::Hash + core::fmt::Debug;
    fn key(self, len: u8) -> Self::Key;
    fn masked(self, len: u8) -> Self;
}

impl Address for u32 {
    /// One word, so that hashing is one round.
    type Key = u64;

    #[inline]
    fn key(self, len: u8) -> u64 {
        u64::from(self) << 8 | u64::from(len)
    }

    #[inline]
    fn masked(self, len: u8) -> Self {
        self & Self::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0)
    }
}

impl Address for u128 {
    type Key = (u128, u8);

    fn key(self, len: u8) -> (u128, u8) {
        (self, len)
    }

    fn masked(self, len: u8) -> Self {
        self & Self::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
    }
}

impl<A: Address> Family<A> {
    fn new(max: u32) -> Self {
        Self { routes: map(max), counts: [0; 129], lengths: Vec::with_capacity(129) }
    }

    fn lookup(&self, addr: A, len_min: u8) -> Option<Answer> {
        let mut lengths = self.lengths.iter().take_while(|&&len| len >= len_min);
        lengths.find_map(|&len| self.routes.get(&addr.masked(len).key(len)).copied())
    }

    /// The value that was there.
    fn insert(&mut self, addr: A, len: u8, value: Answer) -> Option<Answer> {
        let before = self.routes.insert(addr.key(len), value);
        if before.is_none() {
            self.counts[usize::from(len)] += 1;
            if self.counts[usize::from(len)] == 1 {
                let at = self.lengths.partition_point(|&l| l > len);
                self.lengths.insert(at, len);
            }
        }
        before
    }

    fn remove(&mut self, addr: A, len: u8) -> Option<Answer> {
        let before = self.routes.remove(&addr.key(len))?;
        self.counts[usize::from(len)] -= 1;
        if self.counts[usize::from(len)] == 0 {
            self.lengths.retain(|&l| l != len);
        }
        Some(before)
    }
}

impl Fib {
    pub(crate) fn new(max: u32) -> Self {
        Self { v4: Family::new(max), v6: Family::new(max), of: map(max), generation: 0 }
    }

    /// The answer of the longest prefix, of those that have `len_min` bits at least.
    pub(crate) fn lookup(&self, addr: IpAddr, len_min: u8) -> Answer {
        let found = match addr {
            IpAddr::V4(a) => self.v4.lookup(a.to_bits(), len_min),
            IpAddr::V6(a) => self.v6.lookup(a.to_bits(), len_min),
        };
        found.unwrap_or(Answer::Local)
    }

    /// Another after each change.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// What was looked up before is not to be relied on.
    pub(crate) const fn changed(&mut self) {
        self.generation += 1;
    }

    /// How many routes lead to this tunnel.
    #[cfg(test)]
    pub(crate) fn len_of(&self, tunnel: u32) -> u32 {
        self.of.get(&tunnel).map_or(0, |routes| routes.len() as u32)
    }

    /// The route with exactly this prefix.
    #[cfg(test)]
    pub(crate) fn get(&self, prefix: IpPrefix) -> Option<Answer> {
        match prefix.addr() {
            IpAddr::V4(a) => self.v4.routes.get(&a.to_bits().key(prefix.prefix_len())).copied(),
            IpAddr::V6(a) => self.v6.routes.get(&a.to_bits().key(prefix.prefix_len())).copied(),
        }
    }

    /// Adds or replaces. The number of routes was validated.
    pub(crate) fn insert(&mut self, prefix: IpPrefix, tunnel: u32, adjacency: Adjacency) {
        self.put(prefix, tunnel, Answer::new(tunnel, adjacency));
    }

    /// The same for a tunnel of another worker.
    pub(crate) fn insert_elsewhere(&mut self, prefix: IpPrefix, tunnel: u32, adjacency: Adjacency) {
        let answer = match Answer::new(tunnel, adjacency) {
            Answer::Tunnel(tunnel) => Answer::Elsewhere(tunnel),
            other => other,
        };
        self.put(prefix, tunnel, answer);
    }

    fn put(&mut self, prefix: IpPrefix, tunnel: u32, answer: Answer) {
        self.changed();
        let before = match prefix.addr() {
            IpAddr::V4(a) => self.v4.insert(a.to_bits(), prefix.prefix_len(), answer),
            IpAddr::V6(a) => self.v6.insert(a.to_bits(), prefix.prefix_len(), answer),
        };
        self.forget(before, prefix);
        self.of.entry(tunnel).or_default().insert(prefix);
    }

    pub(crate) fn remove(&mut self, prefix: IpPrefix) {
        let before = self.take(prefix);
        self.forget(before, prefix);
    }

    fn take(&mut self, prefix: IpPrefix) -> Option<Answer> {
        self.changed();
        match prefix.addr() {
            IpAddr::V4(a) => self.v4.remove(a.to_bits(), prefix.prefix_len()),
            IpAddr::V6(a) => self.v6.remove(a.to_bits(), prefix.prefix_len()),
        }
    }

    fn forget(&mut self, before: Option<Answer>, prefix: IpPrefix) {
        if let Some(routes) = before.and_then(Answer::owner).and_then(|t| self.of.get_mut(&t)) {
            routes.remove(&prefix);
        }
    }

    pub(crate) fn remove_tunnel(&mut self, tunnel: u32) {
        for prefix in self.of.remove(&tunnel).into_iter().flatten() {
            self.take(prefix);
        }
    }

    pub(crate) fn len(&self) -> u32 {
        (self.v4.routes.len() + self.v6.routes.len()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn prefix() -> impl Strategy<Value = IpPrefix> {
        // Few distinct bits, so that prefixes nest and collide.
        let v4 = (0u32..16, 0u8..=32).prop_map(|(bits, len)| {
            let addr = Ipv4Addr::from_bits((bits << 28 | bits << 4).masked(len));
            IpPrefix::new(addr.into(), len).expect("masked")
        });
        let v6 = (0u128..16, 0u8..=128).prop_map(|(bits, len)| {
            let addr = Ipv6Addr::from_bits((bits << 124 | bits << 60 | bits).masked(len));
            IpPrefix::new(addr.into(), len).expect("masked")
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn agrees_with_a_scan_of_all_routes(
            steps in prop::collection::vec((prefix(), 0u32..4, 0u8..8, 0u8..3), 1..80),
            asked in prop::collection::vec(prefix(), 1..40),
        ) {
            let mut fib = Fib::new(100);
            let mut all: Vec<(IpPrefix, Answer)> = Vec::new();
            for (prefix, tunnel, what, adjacency) in steps {
                let adjacency = [Adjacency::Tunnel, Adjacency::Outside, Adjacency::Discard][usize::from(adjacency)];
                match what {
                    0 => {
                        fib.remove_tunnel(tunnel);
                        all.retain(|(_, a)| a.owner() != Some(tunnel));
                    }
                    1 | 2 => {
                        fib.remove(prefix);
                        all.retain(|(p, _)| *p != prefix);
                    }
                    _ => {
                        all.retain(|(p, _)| *p != prefix);
                        all.push((prefix, Answer::new(tunnel, adjacency)));
                        fib.insert(prefix, tunnel, adjacency);
                    }
                }
                prop_assert_eq!(fib.len() as usize, all.len());
                for t in 0..4 {
                    prop_assert_eq!(fib.len_of(t) as usize, all.iter().filter(|(_, a)| a.owner() == Some(t)).count());
                }
                prop_assert_eq!(fib.get(prefix), all.iter().find(|(p, _)| *p == prefix).map(|(_, a)| *a));
                for ask in &asked {
                    for len_min in [0, ask.prefix_len()] {
                        let fits = |p: &IpPrefix| p.contains(ask.addr()) && p.prefix_len() >= len_min;
                        let best = all.iter().filter(|(p, _)| fits(p)).max_by_key(|(p, _)| p.prefix_len());
                        prop_assert_eq!(fib.lookup(ask.addr(), len_min), best.map_or(Answer::Local, |(_, a)| *a));
                    }
                }
            }
        }
    }
}
