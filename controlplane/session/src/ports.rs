//! The pool of media ports.

use sipsec_net::{Instant, MediaPort};
use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

/// A port rests this long after a call, so that late ESP of the former call meets a closed port and not the next call.
const QUARANTINE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct MediaPorts {
    range: RangeInclusive<u16>,
    even_only: bool,
    free: VecDeque<MediaPort>,
    resting: VecDeque<(Instant, MediaPort)>,
    used: BTreeSet<MediaPort>,
}

impl MediaPorts {
    /// With `even_only`, odd ports are left out: some carriers refuse them.
    pub fn new(first: u16, last: u16, even_only: bool) -> Self {
        let mut ports = Self {
            range: first..=last,
            even_only,
            free: VecDeque::new(),
            resting: VecDeque::new(),
            used: BTreeSet::new(),
        };
        ports.free = (first..=last).map(MediaPort).filter(|port| ports.is_usable(*port)).collect();
        ports
    }

    fn is_usable(&self, port: MediaPort) -> bool {
        self.range.contains(&port.0) && (!self.even_only || port.0.is_multiple_of(2))
    }

    /// A port that no call has, and had not lately.
    pub fn take(&mut self, now: Instant) -> Option<MediaPort> {
        while let Some(&(at, port)) = self.resting.front()
            && at <= now
        {
            self.resting.pop_front();
            self.free.push_back(port);
        }
        let port = self.free.pop_front()?;
        self.used.insert(port);
        Some(port)
    }

    /// Takes this port, also one that rests or is outside the range; `false` if a call has it.
    pub fn reserve(&mut self, port: MediaPort) -> bool {
        self.free.retain(|free| *free != port);
        self.resting.retain(|(_, resting)| *resting != port);
        self.used.insert(port)
    }

    /// Gives back a port that no message has named.
    pub fn put_back(&mut self, port: MediaPort) {
        if self.used.remove(&port) {
            self.free.push_front(port);
        }
    }

    pub fn give(&mut self, now: Instant, port: MediaPort) {
        if self.used.remove(&port) && self.is_usable(port) {
            self.resting.push_back((now + QUARANTINE, port));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_rests_before_it_is_used_again() {
        let mut ports = MediaPorts::new(50_000, 50_001, false);
        let now = Instant::from_nanos(1);
        let a = ports.take(now).expect("free");
        let b = ports.take(now).expect("free");
        assert_ne!(a, b);
        assert_eq!(ports.take(now), None);
        ports.give(now, a);
        ports.give(now, a);
        assert_eq!(ports.take(now), None);
        assert_eq!(ports.take(now + QUARANTINE), Some(a));
        assert_eq!(ports.take(now + QUARANTINE), None);
    }

    #[test]
    fn a_reserved_port_is_no_calls() {
        let mut ports = MediaPorts::new(50_000, 50_001, false);
        let now = Instant::from_nanos(1);
        assert!(ports.reserve(MediaPort(50_000)) && ports.reserve(MediaPort(40_000)));
        assert_eq!((ports.take(now), ports.take(now)), (Some(MediaPort(50_001)), None));
        for port in [50_000, 50_001, 40_000] {
            assert!(!ports.reserve(MediaPort(port)), "{port}");
        }
        for port in [50_000, 40_000] {
            ports.give(now, MediaPort(port));
        }
        assert_eq!(
            (ports.take(now + QUARANTINE), ports.take(now + QUARANTINE)),
            (Some(MediaPort(50_000)), None)
        );
        // At rest.
        ports.give(now, MediaPort(50_000));
        assert!(ports.reserve(MediaPort(50_000)) && ports.reserve(MediaPort(40_000)));
        assert_eq!(ports.take(now + QUARANTINE * 2), None);
    }

    #[test]
    fn odd_ports_are_left_out_on_demand() {
        let mut ports = MediaPorts::new(50_001, 50_005, true);
        let taken: Vec<_> = std::iter::from_fn(|| ports.take(Instant::from_nanos(1))).collect();
        assert_eq!(taken, [MediaPort(50_002), MediaPort(50_004)]);
    }
}
