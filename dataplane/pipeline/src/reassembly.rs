//! Outer datagrams that came in fragments: Linux and IOS cut ESP after encryption, and so does a router with a narrow link. The
//! fragments are copied into one of a fixed number of places; the last of a datagram goes on as the whole.
//!
//! Nothing here is authenticated yet, so everything has a bound: the bytes of a datagram, its fragments, the datagrams of one peer
//! and of all together, and the time that a datagram takes. Where there is no room the oldest ends, of the same peer first: what
//! is sent in order is complete at once, so the oldest is the one that lacks a fragment. Fragments that overlap end their
//! datagram (RFC 5722 §3, RFC 8200 §4.5), and those that still come are dropped with it; a copy of a fragment is dropped alone.

use crate::hash::{halves, keyed};
use arrayvec::ArrayVec;
use core::net::IpAddr;
use core::time::Duration;
use sipsec_net::{DropReason, Instant};

/// Longest datagram, with its UDP header: with its other headers it fits a frame.
pub const REASSEMBLED_MAX: usize = 1708;
/// Most fragments of one datagram.
pub const REASSEMBLY_FRAGMENTS_MAX: u8 = 32;
const NONE: u32 = u32::MAX;

/// Bounds, which the profile gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReassemblyLimits {
    /// Datagrams under way, of all peers.
    pub datagrams_max: u32,
    /// Of one pair of addresses; 0 drops every fragment.
    pub per_peer_max: u16,
    /// Of one datagram, [`REASSEMBLY_FRAGMENTS_MAX`] at most.
    pub fragments_max: u8,
    /// From the first fragment that came on.
    pub timeout: Duration,
}

impl ReassemblyLimits {
    pub const DEFAULT: Self = Self {
        datagrams_max: 512,
        per_peer_max: 64,
        fragments_max: REASSEMBLY_FRAGMENTS_MAX,
        timeout: Duration::from_secs(3),
    };
}

/// What the fragments of one datagram have in common (RFC 791 §3.2, RFC 8200 §4.5). All are UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DatagramKey {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub identification: u32,
}

impl DatagramKey {
    fn is_between_same(&self, other: &Self) -> bool {
        self.source == other.source && self.destination == other.destination
    }

    /// Of the addresses. With key 0 every thread finds the same.
    pub(crate) fn hash(&self, key: u64) -> u32 {
        let ([a, b], [c, d]) = (halves(self.source), halves(self.destination));
        keyed(key, [a, b, c, d])
    }
}

/// The headers of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentHeader {
    pub key: DatagramKey,
    /// In bytes, a multiple of 8.
    pub offset: u16,
    pub more: bool,
    /// TOS or traffic class.
    pub class: u8,
}

/// A datagram that is complete: UDP header and payload.
#[derive(Debug)]
pub(crate) struct Reassembled<'a> {
    pub bytes: &'a [u8],
    /// RFC 3168 §5.3: with CE if one of its fragments had that.
    pub class: u8,
}

#[derive(Debug)]
struct Datagram {
    key: DatagramKey,
    due: Instant,
    /// The one that began before it in the same bucket.
    older: u32,
    /// Those that began just before it and just after it, of all.
    before: u32,
    after: u32,
    /// Where each fragment begins and ends.
    parts: ArrayVec<[u16; 2], { REASSEMBLY_FRAGMENTS_MAX as usize }>,
    /// Where the last fragment ends.
    end: Option<u16>,
    received: u16,
    /// Of the first fragment.
    class: u8,
    /// A bit for each ECN field.
    ecn: u8,
    /// Fragments overlapped.
    is_broken: bool,
}

#[derive(Debug)]
pub(crate) struct Reassembly {
    limits: ReassemblyLimits,
    hash_key: u64,
    places: Box<[Option<Datagram>]>,
    free: Vec<u32>,
    /// All take the same time, so the one that began first is due first.
    first: u32,
    last: u32,
    /// The newest datagram of each bucket; all of one peer are in one.
    buckets: Box<[u32]>,
    /// By the place of the datagram.
    bytes: Box<[u8]>,
    /// Fragments that wait for others.
    held: u32,
}

type Drops = [u64; DropReason::COUNT];

impl Reassembly {
    pub(crate) fn new(limits: ReassemblyLimits, hash_key: u64) -> Self {
        let max = limits.datagrams_max as usize;
        Self {
            limits,
            hash_key,
            places: (0..max).map(|_| None).collect(),
            free: (0..limits.datagrams_max).rev().collect(),
            first: NONE,
            last: NONE,
            buckets: vec![NONE; max.next_power_of_two()].into(),
            bytes: vec![0; max * REASSEMBLED_MAX].into(),
            held: 0,
        }
    }

    /// Fragments that wait for others.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) const fn held(&self) -> u32 {
        self.held
    }

    /// When [`Self::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        self.at(self.first).map_or(Instant::MAX, |d| d.due)
    }

    fn at(&self, place: u32) -> Option<&Datagram> {
        self.places.get(place as usize)?.as_ref()
    }

    fn at_mut(&mut self, place: u32) -> Option<&mut Datagram> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// A fragment has come. `None` if it waits for others; the caller counts its own end, `drops` gets those that end with it.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        fragment: &FragmentHeader,
        payload: &[u8],
        drops: &mut Drops,
    ) -> Result<Option<Reassembled<'_>>, DropReason> {
        let (start, len) = (usize::from(fragment.offset), payload.len());
        let end = start + len;
        // RFC 791 §3.2, RFC 8200 §4.5: all but the last have a multiple of 8, and none goes beyond the longest datagram.
        if len == 0 || fragment.more && !len.is_multiple_of(8) || end > usize::from(u16::MAX) {
            return Err(DropReason::FragmentMalformed);
        }
        let place = self.find_or_open(now, &fragment.key, drops)?;
        let Some(datagram) = self.places.get_mut(place as usize).and_then(Option::as_mut) else {
            return Err(DropReason::FragmentLimit);
        };
        if datagram.is_broken {
            return Err(DropReason::FragmentOverlap);
        }
        if end > REASSEMBLED_MAX {
            self.end(place, DropReason::OuterTooLong, drops);
            return Err(DropReason::OuterTooLong);
        }
        let at = place as usize * REASSEMBLED_MAX;
        let bytes = &mut self.bytes[at..at + REASSEMBLED_MAX];
        let part = [start as u16, end as u16]; // both are within the longest
        let same_end = fragment.more != (datagram.end == Some(part[1]));
        if datagram.parts.contains(&part) && same_end && bytes[start..end] == *payload {
            return Err(DropReason::FragmentDuplicate);
        }
        let overlaps = datagram.parts.iter().any(|[s, e]| *s < part[1] && part[0] < *e);
        let beyond = match (datagram.end, fragment.more) {
            (Some(known), true) => part[1] >= known,
            (Some(known), false) => part[1] != known,
            (None, true) => false,
            (None, false) => datagram.parts.iter().any(|[_, e]| *e > part[1]),
        };
        if overlaps || beyond {
            datagram.is_broken = true;
            drops[DropReason::FragmentOverlap.index()] += datagram.parts.len() as u64;
            self.held -= datagram.parts.len() as u32;
            datagram.parts.clear();
            return Err(DropReason::FragmentOverlap);
        }
        if datagram.parts.len() >= self.limits.fragments_max.into() || datagram.parts.try_push(part).is_err()
        {
            self.end(place, DropReason::FragmentLimit, drops);
            return Err(DropReason::FragmentLimit);
        }
        self.held += 1;
        bytes[start..end].copy_from_slice(payload);
        datagram.received += len as u16; // no more than the longest
        if !fragment.more {
            datagram.end = Some(part[1]);
        }
        if start == 0 {
            datagram.class = fragment.class;
        }
        datagram.ecn |= 1 << (fragment.class & 3);
        // Without an overlap as many bytes as there are in all are all of them.
        if datagram.end != Some(datagram.received) {
            return Ok(None);
        }
        let class = class(datagram);
        let len = usize::from(datagram.received);
        match class {
            Ok(class) => {
                // The one at hand goes on as the datagram.
                drops[DropReason::FragmentTaken.index()] += datagram.parts.len() as u64 - 1;
                self.remove(place);
                Ok(Some(Reassembled { bytes: &self.bytes[at..at + len], class }))
            }
            Err(reason) => {
                self.end(place, reason, drops);
                // The one at hand was among them.
                drops[reason.index()] -= 1;
                Err(reason)
            }
        }
    }

    /// Ends what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant, drops: &mut Drops) {
        while self.at(self.first).is_some_and(|d| d.due <= now) {
            self.end(self.first, DropReason::FragmentTimeout, drops);
        }
    }

    fn bucket(&self, key: &DatagramKey) -> usize {
        key.hash(self.hash_key) as usize & (self.buckets.len() - 1)
    }

    fn find_or_open(
        &mut self,
        now: Instant,
        key: &DatagramKey,
        drops: &mut Drops,
    ) -> Result<u32, DropReason> {
        let bucket = self.bucket(key);
        let (mut at, mut of_peer, mut oldest) = (self.buckets[bucket], 0, NONE);
        while let Some(datagram) = self.at(at) {
            if datagram.key == *key {
                return Ok(at);
            }
            if datagram.key.is_between_same(key) {
                of_peer += 1;
                oldest = at;
            }
            at = datagram.older;
        }
        if self.limits.per_peer_max == 0 {
            return Err(DropReason::FragmentLimit);
        }
        if of_peer >= self.limits.per_peer_max {
            self.end(oldest, DropReason::FragmentLimit, drops);
        } else if self.free.is_empty() {
            self.end(self.first, DropReason::FragmentLimit, drops);
        }
        let place = self.free.pop().ok_or(DropReason::FragmentLimit)?;
        self.places[place as usize] = Some(Datagram {
            key: *key,
            due: now + self.limits.timeout,
            older: core::mem::replace(&mut self.buckets[bucket], place),
            before: self.last,
            after: NONE,
            parts: ArrayVec::new(),
            end: None,
            received: 0,
            class: 0,
            ecn: 0,
            is_broken: false,
        });
        match self.at_mut(self.last) {
            Some(last) => last.after = place,
            None => self.first = place,
        }
        self.last = place;
        Ok(place)
    }

    /// Ends a datagram and its fragments.
    fn end(&mut self, place: u32, reason: DropReason, drops: &mut Drops) {
        let parts = self.at(place).map_or(0, |d| d.parts.len());
        drops[reason.index()] += parts as u64;
        self.remove(place);
    }

    fn remove(&mut self, place: u32) {
        let Some(gone) = self.places.get_mut(place as usize).and_then(Option::take) else { return };
        self.held -= gone.parts.len() as u32;
        self.free.push(place);
        match self.at_mut(gone.before) {
            Some(before) => before.after = gone.after,
            None => self.first = gone.after,
        }
        match self.at_mut(gone.after) {
            Some(after) => after.before = gone.before,
            None => self.last = gone.before,
        }
        let bucket = self.bucket(&gone.key);
        if self.buckets[bucket] == place {
            self.buckets[bucket] = gone.older;
            return;
        }
        let mut at = self.buckets[bucket];
        while let Some(datagram) = self.at_mut(at) {
            if datagram.older == place {
                datagram.older = gone.older;
                return;
            }
            at = datagram.older;
        }
    }
}

/// RFC 3168 §5.3: CE if one fragment has it; not beside one that no ECN transport sent.
fn class(datagram: &Datagram) -> Result<u8, DropReason> {
    const NOT_ECT: u8 = 1;
    const CE: u8 = 1 << 3;
    match datagram.ecn {
        seen if seen & CE == 0 => Ok(datagram.class),
        seen if seen & NOT_ECT == 0 => Ok(datagram.class | 3),
        _ => Err(DropReason::EcnIllegal),
    }
}

#[cfg(test)]
mod tests;
