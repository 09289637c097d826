//! Hosts, mappings and sessions. A host has blocks of ports. A mapping joins an inside endpoint with a global one for
//! every remote endpoint (RFC 4787 REQ-1). A session is one remote endpoint of a mapping: it has the state and the timeout, and it is
//! what a sender must have to be let in. Everything is found by a hash and a short chain: the same number of steps with one
//! session and with a million, each of which may wait for memory (see `ahead.rs`).

use crate::hash::HashKey;
use crate::index::{Index, NONE, Rows};
use crate::ports::Blocks;
use crate::wheel::Wheel;
use core::net::{Ipv4Addr, SocketAddrV4};
use sipsec_net::nat::{NAT_PORT_RULES_MAX, NatProtocol, NatState};

/// The rule of mappings that a port rule made.
pub(crate) const STATIC: u16 = u16::MAX;

/// An inside host under one rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host {
    pub space: u32,
    pub rule: u16,
    pub address: Ipv4Addr,
    /// Of the pool.
    pub pool: u16,
    pub blocks: Blocks,
    pub sessions: u32,
}

/// A cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Mapping {
    pub space: u32,
    pub rule: u16,
    pub protocol: NatProtocol,
    /// Of the pool; of no meaning for a port rule.
    pub pool: u16,
    pub local: SocketAddrV4,
    pub global: SocketAddrV4,
    /// [`NONE`] for a port outside of blocks.
    pub block: u32,
    pub sessions: u32,
    /// [`NONE`] for one of a port rule without sessions.
    pub host: u32,
}

impl Mapping {
    pub(crate) const fn is_static(&self) -> bool {
        self.rule == STATIC
    }
}

/// Half a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(crate) struct Session {
    pub mapping: u32,
    pub remote: SocketAddrV4,
    pub state: NatState,
    pub began_s: u32,
    pub last_s: u32,
}

#[derive(Debug)]
pub(crate) struct Table {
    key: HashKey,
    hosts: Rows<Host>,
    mappings: Rows<Mapping>,
    sessions: Rows<Session>,
    by_host: Index,
    by_local: Index,
    by_global: Index,
    by_remote: Index,
    by_address: Index,
    pub wheel: Wheel,
}

const fn endpoint(a: SocketAddrV4) -> u64 {
    (a.ip().to_bits() as u64) << 16 | a.port() as u64
}

impl Table {
    /// For so many sessions, and every port rule. Nothing is allocated afterwards.
    pub(crate) fn new(sessions: u32, key: HashKey) -> Self {
        // Twice: those of rules that are being replaced may still be there.
        let mappings = sessions.saturating_add(2 * NAT_PORT_RULES_MAX as u32);
        Self {
            key,
            hosts: Rows::new(sessions),
            mappings: Rows::new(mappings),
            sessions: Rows::new(sessions),
            by_host: Index::new(sessions),
            by_local: Index::new(mappings),
            by_global: Index::new(mappings),
            by_remote: Index::new(sessions),
            by_address: Index::new(sessions),
            wheel: Wheel::new(sessions),
        }
    }

    fn host_hash(&self, space: u32, rule: u16, address: Ipv4Addr) -> u64 {
        self.key.hash([u64::from(space) << 32 | u64::from(rule), address.to_bits().into()])
    }

    pub(crate) fn local_hash(
        &self,
        space: u32,
        rule: u16,
        protocol: NatProtocol,
        local: SocketAddrV4,
    ) -> u64 {
        let place = u64::from(space) << 32 | u64::from(rule) << 16 | protocol as u64;
        self.key.hash([place, endpoint(local)])
    }

    pub(crate) fn global_hash(&self, space: u32, protocol: NatProtocol, global: SocketAddrV4) -> u64 {
        self.key.hash([u64::from(space) << 8 | protocol as u64, endpoint(global)])
    }

    pub(crate) fn remote_hash(&self, mapping: u32, remote: SocketAddrV4) -> u64 {
        self.key.hash([mapping.into(), endpoint(remote)])
    }

    fn address_hash(&self, mapping: u32, address: Ipv4Addr) -> u64 {
        self.key.hash([u64::from(mapping) << 32 | u64::from(address.to_bits())])
    }

    pub(crate) fn find_host(&self, space: u32, rule: u16, address: Ipv4Addr) -> Option<u32> {
        self.by_host.find(self.host_hash(space, rule, address), |row| {
            self.hosts.get(row).is_some_and(|h| (h.space, h.rule, h.address) == (space, rule, address))
        })
    }

    #[inline]
    pub(crate) fn find_local(
        &self,
        space: u32,
        rule: u16,
        protocol: NatProtocol,
        local: SocketAddrV4,
    ) -> Option<u32> {
        self.local_of(self.local_hash(space, rule, protocol, local), space, rule, protocol, local)
    }

    /// With the hash of the rest.
    #[inline]
    pub(crate) fn local_of(
        &self,
        hash: u64,
        space: u32,
        rule: u16,
        protocol: NatProtocol,
        local: SocketAddrV4,
    ) -> Option<u32> {
        let is_it = |m: &Mapping| (m.space, m.rule, m.protocol, m.local) == (space, rule, protocol, local);
        self.by_local.find(hash, |row| self.mappings.get(row).is_some_and(is_it))
    }

    #[inline]
    pub(crate) fn find_global(&self, space: u32, protocol: NatProtocol, global: SocketAddrV4) -> Option<u32> {
        self.global_of(self.global_hash(space, protocol, global), space, protocol, global)
    }

    /// With the hash of the rest.
    #[inline]
    pub(crate) fn global_of(
        &self,
        hash: u64,
        space: u32,
        protocol: NatProtocol,
        global: SocketAddrV4,
    ) -> Option<u32> {
        let is_it = |m: &Mapping| (m.space, m.protocol, m.global) == (space, protocol, global);
        self.by_global.find(hash, |row| self.mappings.get(row).is_some_and(is_it))
    }

    /// The first row that a search by this hash looks at, or [`NONE`].
    #[inline]
    pub(crate) fn first_local(&self, hash: u64) -> u32 {
        self.by_local.first(hash)
    }

    #[inline]
    pub(crate) fn first_global(&self, hash: u64) -> u32 {
        self.by_global.first(hash)
    }

    #[inline]
    pub(crate) fn first_remote(&self, hash: u64) -> u32 {
        self.by_remote.first(hash)
    }

    #[inline]
    pub(crate) fn find_session(&self, mapping: u32, remote: SocketAddrV4) -> Option<u32> {
        self.by_remote.find(self.remote_hash(mapping, remote), |row| {
            self.sessions.get(row).is_some_and(|s| s.mapping == mapping && s.remote == remote)
        })
    }

    /// Whether the mapping has a session with this address.
    pub(crate) fn knows_address(&self, mapping: u32, address: Ipv4Addr) -> bool {
        let is_it = |s: &Session| s.mapping == mapping && *s.remote.ip() == address;
        let hash = self.address_hash(mapping, address);
        self.by_address.find(hash, |row| self.sessions.get(row).is_some_and(is_it)).is_some()
    }

    pub(crate) fn add_host(&mut self, host: Host) -> Option<u32> {
        let row = self.hosts.insert(host)?;
        self.by_host.insert(self.host_hash(host.space, host.rule, host.address), row);
        Some(row)
    }

    pub(crate) fn remove_host(&mut self, row: u32) {
        if let Some(h) = self.hosts.remove(row) {
            self.by_host.remove(self.host_hash(h.space, h.rule, h.address), row);
        }
    }

    pub(crate) fn add_mapping(&mut self, m: Mapping) -> Option<u32> {
        let row = self.mappings.insert(m)?;
        self.by_local.insert(self.local_hash(m.space, m.rule, m.protocol, m.local), row);
        self.by_global.insert(self.global_hash(m.space, m.protocol, m.global), row);
        Some(row)
    }

    pub(crate) fn remove_mapping(&mut self, row: u32) -> Option<Mapping> {
        let m = self.mappings.remove(row)?;
        self.by_local.remove(self.local_hash(m.space, m.rule, m.protocol, m.local), row);
        self.by_global.remove(self.global_hash(m.space, m.protocol, m.global), row);
        Some(m)
    }

    /// It is due in the wheel when its owner says so.
    pub(crate) fn add_session(&mut self, s: Session) -> Option<u32> {
        let row = self.sessions.insert(s)?;
        self.by_remote.insert(self.remote_hash(s.mapping, s.remote), row);
        self.by_address.insert(self.address_hash(s.mapping, *s.remote.ip()), row);
        Some(row)
    }

    pub(crate) fn remove_session(&mut self, row: u32) -> Option<Session> {
        let s = self.sessions.remove(row)?;
        self.by_remote.remove(self.remote_hash(s.mapping, s.remote), row);
        self.by_address.remove(self.address_hash(s.mapping, *s.remote.ip()), row);
        self.wheel.remove(row);
        Some(s)
    }

    #[inline]
    pub(crate) fn host_mut(&mut self, row: u32) -> Option<&mut Host> {
        self.hosts.get_mut(row)
    }

    #[inline]
    pub(crate) fn mapping(&self, row: u32) -> Option<&Mapping> {
        self.mappings.get(row)
    }

    pub(crate) fn mapping_mut(&mut self, row: u32) -> Option<&mut Mapping> {
        self.mappings.get_mut(row)
    }

    #[inline]
    pub(crate) fn session(&self, row: u32) -> Option<&Session> {
        self.sessions.get(row)
    }

    #[inline]
    pub(crate) fn session_mut(&mut self, row: u32) -> Option<&mut Session> {
        self.sessions.get_mut(row)
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.sessions.has_room() && self.mappings.has_room() && self.hosts.has_room()
    }

    pub(crate) const fn sessions(&self) -> u32 {
        self.sessions.len()
    }

    /// Rows of sessions that have ever been used.
    pub(crate) const fn session_rows(&self) -> u32 {
        self.sessions.used()
    }

    pub(crate) const fn mappings(&self) -> u32 {
        self.mappings.len()
    }

    pub(crate) const fn hosts(&self) -> u32 {
        self.hosts.len()
    }
}

const _: () = assert!(NONE == u32::MAX && STATIC as usize > sipsec_net::nat::NAT_RULES_MAX);
