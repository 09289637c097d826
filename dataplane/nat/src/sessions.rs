//! Mappings and sessions come and go.

use crate::index::NONE;
use crate::nat::Nat;
use crate::ports::{BlockRange, Blocks, Taken};
use crate::table::{Host, Mapping, STATIC, Session};
use crate::tcp::{self, Way};
use core::net::{Ipv4Addr, SocketAddrV4};
use sipsec_net::DropReason;
use sipsec_net::nat::{NatBlock, NatProtocol};

/// What is known of a packet that meets a mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Met {
    pub second: u32,
    pub way: Way,
    pub tcp_flags: u8,
    pub remote: SocketAddrV4,
}

impl Nat {
    /// The second in which a session ends unless a packet comes: never earlier than its whole timeout after the last one.
    pub(crate) fn due(&self, row: u32) -> Option<u32> {
        let session = self.table.session(row)?;
        let protocol = self.table.mapping(session.mapping)?.protocol;
        let timeout = tcp::timeout(protocol, session.state, &self.policy.timeouts);
        Some(session.last_s.saturating_add(timeout).saturating_add(1))
    }

    /// A packet of a known session.
    #[inline]
    pub(crate) fn touch(&mut self, row: u32, met: &Met) {
        self.counts.hits += 1;
        let Some(session) = self.table.session_mut(row) else { return };
        let state = tcp::advance(session.state, met.way, met.tcp_flags);
        session.last_s = met.second;
        if state != session.state {
            session.state = state;
            // It may end earlier than it would have.
            if let Some(due) = self.due(row) {
                self.table.wheel.set(row, due);
            }
        }
    }

    /// A new session of a mapping. A mapping that has none, and is no port rule's, goes if there is no room.
    pub(crate) fn open_session(&mut self, mapping: u32, met: &Met) -> Result<(), DropReason> {
        let opened = self.try_session(mapping, met);
        let idle = self.table.mapping(mapping).is_some_and(|m| m.sessions == 0 && !m.is_static());
        if opened.is_err() && idle {
            self.end_mapping(mapping);
        }
        opened
    }

    fn try_session(&mut self, row: u32, met: &Met) -> Result<(), DropReason> {
        let mapping = *self.table.mapping(row).ok_or(DropReason::NatNoTranslation)?;
        let host = match mapping.host {
            NONE => self.static_host(&mapping)?,
            host => host,
        };
        let max = self.policy.sessions_per_host_max;
        self.table.host_mut(host).filter(|h| h.sessions < max).ok_or(DropReason::NatHostLimit)?;
        let session = Session {
            mapping: row,
            remote: met.remote,
            state: tcp::begin(mapping.protocol, met.way, met.tcp_flags),
            began_s: met.second,
            last_s: met.second,
        };
        let Some(added) = self.table.add_session(session) else {
            // The host of a new mapping goes with the mapping.
            if mapping.is_static() {
                self.leave_host(host, 0);
            }
            return Err(DropReason::NatTableFull);
        };
        if let Some(host) = self.table.host_mut(host) {
            host.sessions += 1;
        }
        if let Some(mapping) = self.table.mapping_mut(row) {
            mapping.sessions += 1;
            mapping.host = host;
        }
        if let Some(space) = self.spaces.get_mut(mapping.space) {
            space.sessions += 1;
        }
        if let Some(due) = self.due(added) {
            self.table.wheel.set(added, due);
        }
        self.counts.created += 1;
        self.counts.sessions_peak = self.counts.sessions_peak.max(self.table.sessions());
        Ok(())
    }

    fn static_host(&mut self, mapping: &Mapping) -> Result<u32, DropReason> {
        let (space, address) = (mapping.space, *mapping.local.ip());
        let host = Host { space, rule: STATIC, address, pool: u16::MAX, blocks: Blocks::NONE, sessions: 0 };
        let found = self.table.find_host(space, STATIC, address);
        found.or_else(|| self.table.add_host(host)).ok_or(DropReason::NatTableFull)
    }

    /// A global endpoint for an inside one. `is_own`: the inside one is the gateway, whose port stays if it can.
    pub(crate) fn open_mapping(
        &mut self,
        space: u32,
        rule: u16,
        protocol: NatProtocol,
        local: SocketAddrV4,
        is_own: bool,
    ) -> Result<u32, DropReason> {
        if !self.table.has_room() {
            return Err(DropReason::NatTableFull);
        }
        let host = match self.table.find_host(space, rule, *local.ip()) {
            Some(host) => host,
            None => self.add_host(space, rule, *local.ip(), is_own)?,
        };
        let max = self.policy.sessions_per_host_max;
        let Host { pool, mut blocks, sessions, .. } =
            *self.table.host_mut(host).ok_or(DropReason::NatTableFull)?;
        if sessions >= max {
            return Err(DropReason::NatHostLimit);
        }
        let ports = self.spaces.get_mut(space).and_then(|s| s.address_mut(pool));
        let ports = ports.ok_or(DropReason::NatPortsExhausted)?;
        let (like, global) = (local.port(), ports.address);
        let taken = if is_own && ports.reserve(protocol, like) {
            Some(Taken { port: like, block: NONE, got: None })
        } else {
            let blocks_max = self.policy.blocks_per_host_max;
            ports.take(&mut blocks, blocks_max, protocol, like, &mut self.random)
        };
        if let Some(h) = self.table.host_mut(host) {
            h.blocks = blocks;
        }
        let Some(taken) = taken else {
            self.leave_host(host, 0);
            return Err(DropReason::NatPortsExhausted);
        };
        self.record_block(space, *local.ip(), global, taken.got, true);
        let global = SocketAddrV4::new(global, taken.port);
        let (block, sessions) = (taken.block, 0);
        let mapping = Mapping { space, rule, protocol, pool, local, global, block, sessions, host };
        // There is room: that was the first question.
        self.table.add_mapping(mapping).ok_or(DropReason::NatTableFull)
    }

    fn add_host(
        &mut self,
        space: u32,
        rule: u16,
        address: Ipv4Addr,
        is_own: bool,
    ) -> Result<u32, DropReason> {
        let choice = self.random.next();
        let rules = self.spaces.get(space).ok_or(DropReason::NatNoTranslation)?;
        let pool = if is_own { rules.place_of(rule, address) } else { rules.pick(rule, choice) };
        let pool = pool.ok_or(DropReason::NatPortsExhausted)?;
        let host = Host { space, rule, address, pool, blocks: Blocks::NONE, sessions: 0 };
        self.table.add_host(host).ok_or(DropReason::NatTableFull)
    }

    pub(crate) fn end_session(&mut self, row: u32) {
        let Some(session) = self.table.remove_session(row) else { return };
        let Some(mapping) = self.table.mapping_mut(session.mapping) else { return };
        mapping.sessions -= 1;
        let Mapping { space, host, sessions, .. } = *mapping;
        let is_static = mapping.is_static();
        if is_static && sessions == 0 {
            mapping.host = NONE;
        }
        if sessions == 0 && !is_static {
            self.table.host_mut(host).into_iter().for_each(|h| h.sessions -= 1);
            self.end_mapping(session.mapping);
        } else {
            self.leave_host(host, 1);
        }
        if let Some(s) = self.spaces.get_mut(space) {
            s.sessions -= 1;
        }
        self.free_space(space);
    }

    /// The mapping has no session; its port goes back.
    fn end_mapping(&mut self, row: u32) {
        let Some(m) = self.table.remove_mapping(row) else { return };
        let mut blocks = self.table.host_mut(m.host).map_or(Blocks::NONE, |h| h.blocks);
        let ports = self.spaces.get_mut(m.space).and_then(|s| s.address_mut(m.pool));
        let back = ports.and_then(|p| p.give(&mut blocks, m.protocol, m.global.port(), m.block));
        if let Some(h) = self.table.host_mut(m.host) {
            h.blocks = blocks;
        }
        self.record_block(m.space, *m.local.ip(), *m.global.ip(), back, false);
        self.leave_host(m.host, 0);
    }

    /// So many of its sessions are gone. A host without any is forgotten.
    fn leave_host(&mut self, host: u32, gone: u32) {
        let Some(h) = self.table.host_mut(host) else { return };
        h.sessions -= gone;
        if h.sessions == 0 {
            self.table.remove_host(host);
        }
    }

    fn record_block(
        &mut self,
        space: u32,
        host: Ipv4Addr,
        global: Ipv4Addr,
        range: Option<BlockRange>,
        is_allocated: bool,
    ) {
        let (Some(range), Some(space)) = (range, self.spaces.get(space)) else { return };
        let tunnel = space.tunnel;
        if is_allocated {
            self.counts.blocks += 1;
        } else {
            self.counts.blocks -= 1;
        }
        let (port_first, port_last) = (range.first, range.last);
        self.record(NatBlock { tunnel, host, global, port_first, port_last, is_allocated });
    }
}
