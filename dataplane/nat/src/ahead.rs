//! What the packets of a batch will need of the table is read before the first of them is translated. With a million
//! translations each step of a search waits for memory; the same step of many packets waits about once, because none depends
//! on another. Nothing is decided here: a wrong guess costs time alone.

use crate::nat::Nat;
use crate::rewrite::{End, Endpoints, Header};
use crate::space::Choice;
use crate::table::STATIC;
use arrayvec::ArrayVec;
use core::hint::black_box;
use core::net::SocketAddrV4;
use sipsec_net::nat::NatProtocol;

/// Packets that are looked ahead at together.
pub const AHEAD_MAX: usize = 64;
/// With fewer the table lies in the cache.
const SESSIONS_MIN: u32 = 4096;

/// One packet's way through the table.
struct Search {
    key: Key,
    hash: u64,
    remote: SocketAddrV4,
}

/// What finds the mapping: from inside, or from outside.
#[derive(Clone, Copy)]
enum Key {
    Local { space: u32, rule: u16, protocol: NatProtocol, local: SocketAddrV4 },
    Global { space: u32, protocol: NatProtocol, global: SocketAddrV4 },
}

impl Nat {
    /// Whether there are so many translations that looking ahead gains time.
    #[inline]
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.table.sessions() >= SESSIONS_MIN
    }

    /// The same for the packets of a tunnel.
    #[inline]
    #[must_use]
    pub fn looks_ahead(&self, tunnel: u32) -> bool {
        self.is_large() && self.is_active(tunnel)
    }

    /// IP packets that will go out, each with its tunnel's place; the first [`AHEAD_MAX`] of them.
    pub fn look_ahead_out<'a>(&self, packets: impl Iterator<Item = (u32, &'a [u8])>) {
        self.look_ahead(packets.filter_map(|(tunnel, data)| self.search_out(tunnel, data)));
    }

    /// The same for packets that came in.
    pub fn look_ahead_in<'a>(&self, packets: impl Iterator<Item = (u32, &'a [u8])>) {
        self.look_ahead(packets.filter_map(|(tunnel, data)| self.search_in(tunnel, data)));
    }

    fn look_ahead(&self, searches: impl Iterator<Item = Search>) {
        let searches: ArrayVec<Search, AHEAD_MAX> = searches.take(AHEAD_MAX).collect();
        let first = |s: &Search| match s.key {
            Key::Local { .. } => self.table.first_local(s.hash),
            Key::Global { .. } => self.table.first_global(s.hash),
        };
        let rows: ArrayVec<u32, AHEAD_MAX> = searches.iter().map(first).collect();
        let read = rows.iter().filter_map(|row| self.table.mapping(*row)).map(|m| m.sessions);
        black_box(read.fold(0, u32::wrapping_add));
        let remote = |s: &Search| {
            let mapping = match s.key {
                Key::Local { space, rule, protocol, local } => {
                    self.table.local_of(s.hash, space, rule, protocol, local)
                }
                Key::Global { space, protocol, global } => {
                    self.table.global_of(s.hash, space, protocol, global)
                }
            }?;
            Some(self.table.remote_hash(mapping, s.remote))
        };
        let hashes: ArrayVec<u64, AHEAD_MAX> = searches.iter().filter_map(remote).collect();
        let rows: ArrayVec<u32, AHEAD_MAX> = hashes.iter().map(|h| self.table.first_remote(*h)).collect();
        let read = rows.iter().filter_map(|row| self.table.session(*row)).map(|s| s.last_s);
        black_box(read.fold(0, u32::wrapping_add));
    }

    fn search_out(&self, tunnel: u32, data: &[u8]) -> Option<Search> {
        let row = self.space_of(tunnel)?;
        let space = self.spaces.get(row)?;
        let header = Header::read(data)?;
        let destination = space.outside(header.destination).unwrap_or(header.destination);
        let Choice::Overload { rule, .. } = space.choose(header.source, destination) else { return None };
        let e = header.endpoints(data).ok()?;
        let local = SocketAddrV4::new(header.source, e.source);
        // A port rule decides first, but most packets are of none.
        debug_assert_ne!(rule, STATIC);
        Some(Search {
            key: Key::Local { space: row, rule, protocol: e.protocol, local },
            hash: self.table.local_hash(row, rule, e.protocol, local),
            remote: SocketAddrV4::new(destination, port(&e, End::Destination)),
        })
    }

    fn search_in(&self, tunnel: u32, data: &[u8]) -> Option<Search> {
        let row = self.space_of(tunnel)?;
        let header = Header::read(data)?;
        self.spaces.get(row)?.shared(header.destination)?;
        let e = header.endpoints(data).ok()?;
        let global = SocketAddrV4::new(header.destination, e.destination);
        Some(Search {
            key: Key::Global { space: row, protocol: e.protocol, global },
            hash: self.table.global_hash(row, e.protocol, global),
            remote: SocketAddrV4::new(header.source, port(&e, End::Source)),
        })
    }
}

/// Of the remote end of a session.
fn port(e: &Endpoints, end: End) -> u16 {
    if e.protocol == NatProtocol::Icmp { 0 } else { e.port(end) }
}
