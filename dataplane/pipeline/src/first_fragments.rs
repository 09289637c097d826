//! Fragments of inner packets where addresses are translated: only a first fragment has the ports by which its packet is
//! translated, so others that overtake it wait for it (RFC 4787 §11, "Received Fragment Out of Order").
//!
//! A later fragment is only held while nothing is known of its first. What is held is bounded in all, for each sender and in time:
//! a flood of fragments without a first one costs those of its sender alone (REQ-14).

use core::net::Ipv4Addr;
use core::time::Duration;
use sipsec_net::{DropReason, Instant, TunnelId};

/// Packets held. They come out of the frames that receive rings also need.
const HELD_MAX: usize = 64;
/// Of one sender: a packet of 65,535 bytes in a tunnel of 1,438 is 46 fragments.
const PER_SENDER_MAX: usize = 48;
/// A first fragment that is so much later than the others is lost.
const HELD_FOR: Duration = Duration::from_secs(2);
const ROWS: usize = 64;
const PER_ROW: usize = 4;
/// RFC 1122 §3.3.2 gives a receiver 60 seconds.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// What all fragments of one packet have in common (RFC 791 §3.2), and the tunnel and the direction in which they pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketKey {
    pub tunnel: u32,
    pub is_out: bool,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: u8,
    pub identification: u16,
}

impl PacketKey {
    fn row(&self, key: u64) -> usize {
        let addresses = u64::from(self.source.to_bits()) << 32 | u64::from(self.destination.to_bits());
        let rest =
            u64::from(self.identification) << 16 | u64::from(self.protocol) << 8 | u64::from(self.is_out);
        crate::hash::keyed(key, [addresses, rest, self.tunnel.into()]) as usize % ROWS
    }
}

/// How a packet goes on when its first fragment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Onward {
    /// Into the tunnel; it came through another, if any.
    Out { origin: Option<TunnelId> },
    /// To the inside: the class of its outer header, and the DSCP that the policer has given it.
    In { outer_class: u8, mark: Option<u8> },
}

#[derive(Debug)]
pub(crate) struct Held<P> {
    pub packet: P,
    pub key: PacketKey,
    pub onward: Onward,
    since: Instant,
}

/// First fragments, and when each has come.
type Row = [Option<(PacketKey, Instant)>; PER_ROW];

#[derive(Debug)]
pub(crate) struct FirstFragments<P> {
    hash_key: u64,
    /// First fragments that have come, the oldest of a row makes room.
    known: Box<[Row; ROWS]>,
    /// In the order in which they came.
    held: Vec<Held<P>>,
    /// The first of something held has come.
    has_ready: bool,
}

impl<P> FirstFragments<P> {
    pub(crate) fn new(hash_key: u64) -> Self {
        let known = Box::new([[None; PER_ROW]; ROWS]);
        Self { hash_key, known, held: Vec::with_capacity(HELD_MAX), has_ready: false }
    }

    /// A fragment has come: whether it goes on at once.
    pub(crate) fn meet(&mut self, now: Instant, key: &PacketKey, is_later: bool) -> bool {
        if is_later {
            return self.is_known(now, key);
        }
        let row = &mut self.known[key.row(self.hash_key)];
        let same = row.iter().position(|e| e.is_some_and(|(known, _)| known == *key));
        let since = |i: &usize| row[*i].map_or(Instant::ZERO, |(_, since)| since);
        let place = same.or_else(|| (0..PER_ROW).min_by_key(since)).unwrap_or(0);
        row[place] = Some((*key, now));
        self.has_ready |= self.held.iter().any(|h| h.key == *key);
        true
    }

    fn is_known(&self, now: Instant, key: &PacketKey) -> bool {
        let row = &self.known[key.row(self.hash_key)];
        row.iter()
            .flatten()
            .any(|(known, since)| known == key && now.saturating_duration_since(*since) <= KNOWN_FOR)
    }

    /// A fragment that does not go on at once waits. It may be that its first has come since.
    pub(crate) fn hold(
        &mut self,
        now: Instant,
        packet: P,
        key: PacketKey,
        onward: Onward,
    ) -> Result<(), DropReason> {
        let of_sender = self.held.iter().filter(|h| h.key.source == key.source).count();
        if self.held.len() >= HELD_MAX || of_sender >= PER_SENDER_MAX {
            return Err(DropReason::NatFragment);
        }
        self.has_ready |= self.is_known(now, &key);
        self.held.push(Held { packet, key, onward, since: now });
        Ok(())
    }

    /// A held fragment of this direction whose first has come, in the order in which they came.
    pub(crate) fn take_ready(&mut self, now: Instant, is_out: bool) -> Option<Held<P>> {
        if !self.has_ready {
            return None;
        }
        let ready = |h: &Held<P>| h.key.is_out == is_out && self.is_known(now, &h.key);
        match self.held.iter().position(ready) {
            Some(at) => Some(self.held.remove(at)),
            None => {
                self.has_ready = self.held.iter().any(|h| self.is_known(now, &h.key));
                None
            }
        }
    }

    /// When [`Self::take_expired`] has something to give.
    pub(crate) fn deadline(&self) -> Instant {
        self.held.first().map_or(Instant::MAX, |h| h.since + HELD_FOR)
    }

    /// A fragment whose first did not come in time.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<Held<P>> {
        (self.deadline() <= now).then(|| self.held.remove(0))
    }

    #[cfg(test)]
    pub(crate) const fn held(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: Onward = Onward::Out { origin: None };

    fn at(ms: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(ms)
    }

    fn key(sender: u32, identification: u16) -> PacketKey {
        let (source, destination) = (Ipv4Addr::from_bits(sender), Ipv4Addr::LOCALHOST);
        PacketKey { tunnel: 0, is_out: true, source, destination, protocol: 17, identification }
    }

    #[test]
    fn what_overtakes_its_first_waits_for_it_in_order() {
        let mut f = FirstFragments::new(3);
        for n in 0..3 {
            assert!(!f.meet(at(n), &key(1, 7), true));
            f.hold(at(n), n, key(1, 7), OUT).expect("room");
        }
        f.hold(at(3), 99, key(1, 8), OUT).expect("room");
        assert!(f.take_ready(at(4), true).is_none());
        assert!(f.meet(at(5), &key(1, 7), false));
        assert!(f.take_ready(at(5), false).is_none(), "not of this direction");
        let ready: Vec<_> = core::iter::from_fn(|| f.take_ready(at(5), true)).map(|h| h.packet).collect();
        assert_eq!((ready, f.held()), (vec![0, 1, 2], 1));
        assert!(f.meet(at(6), &key(1, 7), true), "its first has come");
        // A minute later the identification may be another packet's.
        assert!(!f.meet(at(60_006), &key(1, 7), true));
    }

    #[test]
    fn a_first_that_comes_while_others_are_on_their_way_to_wait_is_not_missed() {
        let mut f = FirstFragments::new(3);
        assert!(!f.meet(at(0), &key(1, 7), true));
        assert!(f.meet(at(0), &key(1, 7), false));
        f.hold(at(0), 1, key(1, 7), OUT).expect("room");
        assert_eq!(f.take_ready(at(0), true).map(|h| h.packet), Some(1));
    }

    #[test]
    fn a_flood_without_firsts_costs_its_sender_and_ends_in_time() {
        let mut f = FirstFragments::new(3);
        let held = (0..1000).filter(|n| f.hold(at(0), *n, key(1, *n), OUT).is_ok()).count();
        assert_eq!(held, PER_SENDER_MAX);
        assert!(f.hold(at(1), 0, key(2, 1), OUT).is_ok(), "another sender");
        let all = (0..1000u16).filter(|n| f.hold(at(2), 0, key(3 + u32::from(*n), 1), OUT).is_ok()).count();
        assert_eq!(held + 1 + all, HELD_MAX);
        assert_eq!(f.deadline(), at(2000));
        assert_eq!(core::iter::from_fn(|| f.take_expired(at(2000))).count(), PER_SENDER_MAX);
        assert_eq!((f.deadline(), f.held()), (at(2001), HELD_MAX - PER_SENDER_MAX));
    }

    #[test]
    fn a_flood_of_firsts_costs_the_oldest_alone() {
        let mut f = FirstFragments::<()>::new(3);
        for n in 0..50_000 {
            assert!(f.meet(at(n), &key(n as u32, 1), false));
            assert!(f.meet(at(n), &key(n as u32, 1), true));
        }
    }
}
