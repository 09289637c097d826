//! Where requests go: the addresses of a server in the order in which they are tried (RFC 3263 §4.3).

use crate::transport::Transport;
use serde::{Deserialize, Serialize};
use sipsec_net::Instant;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Addresses of one role that are kept; a name server may give any number.
pub const TARGETS_MAX: usize = 16;
/// A target that did not answer is tried after the others for this long; doubled with each further failure, up to the second.
const DOWN_FIRST: Duration = Duration::from_secs(30);
const DOWN_MAX: Duration = Duration::from_secs(300);

/// One address of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    pub transport: Transport,
    pub addr: SocketAddr,
    /// The name that led to this address: the one that a certificate must show (RFC 5922 §4).
    pub name: Option<String>,
}

impl Target {
    #[must_use]
    pub const fn udp(addr: SocketAddr) -> Self {
        Self { transport: Transport::Udp, addr, name: None }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transport, addr, name } = self;
        write!(f, "{addr}/{transport}")?;
        match name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    target: Target,
    failures: u32,
    down_until: Option<Instant>,
}

/// The targets of one role.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    entries: Vec<Entry>,
}

impl Targets {
    pub fn new(list: &[Target]) -> Self {
        let mut new = Self::default();
        new.set(list);
        new
    }

    /// Another list; what is known of targets that stay is kept. `true` if it differs.
    pub fn set(&mut self, list: &[Target]) -> bool {
        let mut entries: Vec<Entry> = Vec::new();
        for target in list {
            if entries.len() < TARGETS_MAX && entries.iter().all(|e| e.target != *target) {
                let known = self.entries.iter().find(|e| e.target == *target).cloned();
                let fresh = || Entry { target: target.clone(), failures: 0, down_until: None };
                entries.push(known.unwrap_or_else(fresh));
            }
        }
        let differs = !entries.iter().map(|e| &e.target).eq(self.entries.iter().map(|e| &e.target));
        self.entries = entries;
        differs
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.entries.iter().map(|e| &e.target)
    }

    pub fn contains(&self, target: &Target) -> bool {
        self.iter().any(|t| t == target)
    }

    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.iter().map(|t| t.addr.ip())
    }

    /// The first that is usable and not down; if all are down, the first that is usable: no answer is better than no try.
    pub fn pick(&self, now: Instant, usable: impl Fn(&Target) -> bool) -> Option<&Target> {
        let mut all = self.entries.iter().filter(|e| usable(&e.target));
        let up = all.clone().find(|e| e.down_until.is_none_or(|at| at <= now));
        up.or_else(|| all.next()).map(|e| &e.target)
    }

    /// The first that is usable and not down; none if all are down.
    pub fn up(&self, now: Instant, usable: impl Fn(&Target) -> bool) -> Option<&Target> {
        let up = |e: &&Entry| usable(&e.target) && e.down_until.is_none_or(|at| at <= now);
        self.entries.iter().find(up).map(|e| &e.target)
    }

    /// The target did not answer, or refused to serve: its turn comes after the others'.
    pub fn failed(
        &mut self,
        now: Instant,
        (transport, addr): (Transport, SocketAddr),
        retry_after: Option<Duration>,
    ) {
        let same = |e: &&mut Entry| (e.target.transport, e.target.addr) == (transport, addr);
        for e in self.entries.iter_mut().filter(same) {
            let pause = (DOWN_FIRST * 2u32.pow(e.failures.min(8))).min(DOWN_MAX);
            e.failures += 1;
            e.down_until = Some(now + pause.max(retry_after.unwrap_or_default().min(DOWN_MAX)));
        }
    }

    /// The target answered.
    pub fn answered(&mut self, (transport, addr): (Transport, SocketAddr)) {
        let same = |e: &&mut Entry| (e.target.transport, e.target.addr) == (transport, addr);
        for e in self.entries.iter_mut().filter(same) {
            (e.failures, e.down_until) = (0, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn target(n: u8) -> Target {
        Target::udp(SocketAddr::new([192, 0, 2, n].into(), 5060))
    }

    fn at(n: u8) -> (Transport, SocketAddr) {
        (Transport::Udp, target(n).addr)
    }

    fn picked(targets: &Targets, now: Instant) -> Option<Target> {
        targets.pick(now, |_| true).cloned()
    }

    #[test]
    fn the_first_that_is_not_down() {
        let mut t = Targets::new(&[target(1), target(2), target(1)]);
        let now = Instant::ZERO + S;
        assert_eq!(t.iter().count(), 2, "none twice");
        assert_eq!(picked(&t, now), Some(target(1)));
        t.failed(now, at(1), None);
        assert_eq!(picked(&t, now), Some(target(2)));
        t.failed(now, at(2), None);
        assert_eq!(picked(&t, now), Some(target(1)), "all are down: in order");
        assert_eq!(picked(&t, now + DOWN_FIRST), Some(target(1)), "back to the preferred one");
        t.failed(now + DOWN_FIRST, at(1), None);
        assert_eq!(picked(&t, now + DOWN_FIRST * 2), Some(target(2)), "twice as long");
        t.answered(at(1));
        assert_eq!(picked(&t, now + DOWN_FIRST * 2), Some(target(1)));
        assert_eq!(t.up(now, |_| true), Some(&target(1)));
        assert_eq!(t.up(now, |t| *t == target(2)), None, "it is down");
        assert_eq!(t.pick(now, |t| t.addr.is_ipv6()), None);
    }

    #[test]
    fn a_new_list_keeps_what_is_known_and_has_a_bound() {
        let mut t = Targets::new(&[target(1), target(2)]);
        let now = Instant::ZERO + S;
        t.failed(now, at(1), Some(S * 60));
        assert!(!t.set(&[target(1), target(2)]));
        assert!(t.set(&[target(3), target(1)]));
        t.failed(now, at(3), None);
        assert_eq!(picked(&t, now + DOWN_FIRST), Some(target(3)), "the other waits as long as it asked for");
        let many: Vec<_> = (0..=255).map(target).collect();
        t.set(&many);
        assert_eq!(t.iter().count(), TARGETS_MAX);
    }
}
