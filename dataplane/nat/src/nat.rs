//! The verbs: rules, time, pages of the table. What packets do is in `translate.rs`.

use crate::fragments::Fragments;
use crate::hash::{HashKey, Random};
use crate::index::{NONE, Rows};
use crate::space::Space;
use crate::table::{Mapping, STATIC, Table};
use core::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use sipsec_net::nat::{NatBlock, NatEntry, NatPolicy, NatProtocol, NatRule, NatStatistics};
use sipsec_net::{Instant, TunnelId};
use std::collections::VecDeque;

/// Sessions ended by time in one [`Nat::poll`].
const EXPIRE_MAX: usize = 256;
/// Rows looked at in one [`Nat::poll`] while cleared sessions are taken away, and for one page.
const ROWS_MAX: u32 = 1024;
/// Records of blocks that wait to be fetched.
const LOG_MAX: usize = 1024;
/// Hosts whose sessions are being cleared; more at a time clear everything.
const CLEARED_HOSTS_MAX: usize = 16;

/// Sizes of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatLimits {
    pub tunnels_max: u32,
    /// Translations; each takes about 300 bytes.
    pub sessions_max: u32,
}

/// A walk through all sessions, a few rows at a time.
#[derive(Debug)]
struct Sweep {
    next: u32,
    hosts: Vec<Ipv4Addr>,
}

/// The translations of all tunnels. A tunnel is named by its place, a number below [`NatLimits::tunnels_max`].
///
/// Rules come with [`Nat::add_rule`] and go with [`Nat::clear_rules`]. [`Nat::outbound`] and [`Nat::inbound`] translate one
/// packet. [`Nat::poll`] ends what is due at [`Nat::deadline`]; [`Nat::take_block`] gives the records of port blocks.
#[derive(Debug)]
pub struct Nat {
    pub(crate) table: Table,
    pub(crate) fragments: Fragments,
    pub(crate) spaces: Rows<Space>,
    /// The space of each tunnel's place.
    by_tunnel: Vec<u32>,
    pub(crate) policy: NatPolicy,
    pub(crate) random: Random,
    log: VecDeque<NatBlock>,
    sweep: Option<Sweep>,
    pub(crate) counts: NatStatistics,
}

/// Seconds, the unit of all timeouts.
pub(crate) const fn second(now: Instant) -> u32 {
    (now.as_nanos() / 1_000_000_000) as u32
}

impl Nat {
    /// `seed` is secret and random: it keys the hashes and decides which ports hosts get.
    #[must_use]
    pub fn new(limits: NatLimits, seed: [u64; 3]) -> Self {
        let [k0, k1, ports] = seed;
        let key = HashKey::new([k0, k1]);
        let sessions_max = limits.sessions_max;
        Self {
            table: Table::new(sessions_max, key),
            fragments: Fragments::new(key),
            spaces: Rows::growing(),
            by_tunnel: vec![NONE; limits.tunnels_max as usize],
            policy: NatPolicy::default(),
            random: Random::new(ports),
            log: VecDeque::with_capacity(LOG_MAX),
            sweep: None,
            counts: NatStatistics { sessions_max, ..NatStatistics::default() },
        }
    }

    /// Whether the tunnel has rules.
    #[inline]
    #[must_use]
    pub fn is_active(&self, tunnel: u32) -> bool {
        self.space_of(tunnel).is_some()
    }

    #[inline]
    pub(crate) fn space_of(&self, tunnel: u32) -> Option<u32> {
        self.by_tunnel.get(tunnel as usize).copied().filter(|space| *space != NONE)
    }

    /// Whether a packet from inside to this address comes back to the inside (RFC 4787 §6).
    #[must_use]
    pub fn is_hairpin(&self, tunnel: u32, destination: IpAddr) -> bool {
        let space = self.space_of(tunnel).and_then(|row| self.spaces.get(row));
        space.is_some_and(|space| space.is_inside_global(destination))
    }

    /// Other values. If they concern the ports of pools, every translation ends.
    pub fn set_policy(&mut self, policy: NatPolicy) {
        let ports = |p: &NatPolicy| (p.port_first, p.port_last, p.block_ports);
        let others = ports(&policy) != ports(&self.policy);
        self.policy = policy;
        if others {
            self.clear(None);
        }
    }

    /// Appends a rule, which is valid ([`NatRule::is_valid`]).
    pub fn add_rule(&mut self, tunnel: u32, id: TunnelId, rule: &NatRule) {
        let Some(place) = self.by_tunnel.get_mut(tunnel as usize) else { return };
        if *place == NONE {
            *place = self.spaces.insert(Space::new(id)).unwrap_or(NONE);
        }
        let row = *place;
        let Some(space) = self.spaces.get_mut(row) else { return };
        if !space.add(rule, &self.policy, &mut self.random) {
            // A translation has the port of this port rule. In a new space the rule is first.
            self.renew(tunnel);
        } else if let NatRule::Port { protocol, local, global } = *rule {
            self.add_static(row, protocol, local, global);
        }
    }

    fn add_static(&mut self, space: u32, protocol: NatProtocol, local: SocketAddrV4, global: SocketAddrV4) {
        let (pool, block, host, sessions) = (u16::MAX, NONE, NONE, 0);
        let mapping = Mapping { space, rule: STATIC, protocol, pool, local, global, block, sessions, host };
        if let (Some(row), Some(space)) = (self.table.add_mapping(mapping), self.spaces.get_mut(space)) {
            space.mappings.push(row);
        }
    }

    /// Takes all rules of the tunnel away; its translations are found no more from now on.
    pub fn clear_rules(&mut self, tunnel: u32) {
        let Some(row) = self.space_of(tunnel) else { return };
        self.by_tunnel[tunnel as usize] = NONE;
        if let Some(space) = self.spaces.get_mut(row) {
            space.is_dead = true;
        }
        if !self.free_space(row) {
            self.start_sweep();
        }
    }

    /// Ends every translation of a host, or of all. Rules stay.
    pub fn clear(&mut self, host: Option<Ipv4Addr>) {
        let pending = self.sweep.as_ref().map_or(0, |sweep| sweep.hosts.len());
        if let Some(host) = host.filter(|_| pending < CLEARED_HOSTS_MAX) {
            self.start_sweep().push(host);
            return;
        }
        for tunnel in 0..self.by_tunnel.len() as u32 {
            self.renew(tunnel);
        }
    }

    /// The same rules, port rules first, without translations.
    fn renew(&mut self, tunnel: u32) {
        let Some(space) = self.space_of(tunnel).and_then(|row| self.spaces.get_mut(row)) else { return };
        let (id, mut rules) = (space.tunnel, space.take_rules());
        self.clear_rules(tunnel);
        rules.sort_by_key(|rule| !matches!(rule, NatRule::Port { .. }));
        rules.iter().for_each(|rule| self.add_rule(tunnel, id, rule));
    }

    /// From the first row on; the hosts that are cleared.
    fn start_sweep(&mut self) -> &mut Vec<Ipv4Addr> {
        let sweep = self.sweep.get_or_insert_with(|| Sweep { next: 0, hosts: Vec::new() });
        sweep.next = 0;
        &mut sweep.hosts
    }

    /// Whether it was dead and nothing needed it.
    pub(crate) fn free_space(&mut self, row: u32) -> bool {
        let Some(space) = self.spaces.get(row).filter(|s| s.is_dead && s.sessions == 0) else { return false };
        for mapping in &space.mappings {
            self.table.remove_mapping(*mapping);
        }
        self.spaces.remove(row);
        // Its number may be another's soon.
        self.fragments.clear();
        true
    }

    /// Ends what is due, and goes on taking cleared sessions away.
    pub fn poll(&mut self, now: Instant) {
        let second = second(now);
        for _ in 0..EXPIRE_MAX {
            let Some(row) = self.table.wheel.pop_due(second) else { break };
            let Some(due) = self.due(row) else { continue };
            if due <= second {
                self.counts.expired += 1;
                self.end_session(row);
            } else {
                self.table.wheel.set(row, due);
            }
        }
        self.go_on_sweeping();
    }

    fn go_on_sweeping(&mut self) {
        let Some(mut sweep) = self.sweep.take() else { return };
        let end = (sweep.next + ROWS_MAX).min(self.table.session_rows());
        for row in sweep.next..end {
            let Some(mapping) = self.table.session(row).and_then(|s| self.table.mapping(s.mapping)) else {
                continue;
            };
            let is_dead = self.spaces.get(mapping.space).is_none_or(|space| space.is_dead);
            if is_dead || sweep.hosts.contains(mapping.local.ip()) {
                self.counts.cleared += 1;
                self.end_session(row);
            }
        }
        sweep.next = end;
        self.sweep = (end < self.table.session_rows()).then_some(sweep);
    }

    /// When [`Self::poll`] has something to do; [`Instant::MAX`] for never.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if self.sweep.is_some() || !self.log.is_empty() {
            Instant::ZERO
        } else if self.table.sessions() == 0 {
            Instant::MAX
        } else {
            Instant::from_nanos(u64::from(self.table.wheel.now()) * 1_000_000_000)
        }
    }

    pub(crate) fn record(&mut self, block: NatBlock) {
        if self.log.len() < LOG_MAX {
            self.log.push_back(block);
        } else {
            self.counts.log_lost += 1;
        }
    }

    /// The oldest record of a block of ports that has changed hands.
    pub fn take_block(&mut self) -> Option<NatBlock> {
        self.log.pop_front()
    }

    /// At most so many translations from a row on; the row where the next page begins, if there is one.
    pub fn page(&self, now: Instant, from: u32, max: usize, mut entry: impl FnMut(NatEntry)) -> Option<u32> {
        let (second, end) = (second(now), self.table.session_rows());
        let mut found = 0;
        for row in from..end.min(from.saturating_add(ROWS_MAX)) {
            if found == max {
                return Some(row);
            }
            if let Some(e) = self.entry(row, second) {
                found += 1;
                entry(e);
            }
        }
        Some(from.saturating_add(ROWS_MAX)).filter(|next| *next < end)
    }

    fn entry(&self, row: u32, second: u32) -> Option<NatEntry> {
        let session = self.table.session(row)?;
        let mapping = self.table.mapping(session.mapping)?;
        let space = self.spaces.get(mapping.space).filter(|space| !space.is_dead)?;
        let (remote, port) = (*session.remote.ip(), session.remote.port());
        let local = space.outside_back(remote).unwrap_or(remote);
        Some(NatEntry {
            tunnel: space.tunnel,
            protocol: mapping.protocol,
            inside_global: mapping.global,
            inside_local: mapping.local,
            outside_local: SocketAddrV4::new(local, port),
            outside_global: session.remote,
            state: session.state,
            is_static: mapping.is_static(),
            age_s: second.saturating_sub(session.began_s),
            idle_s: second.saturating_sub(session.last_s),
            left_s: self.due(row)?.saturating_sub(second),
        })
    }

    #[must_use]
    pub const fn statistics(&self) -> NatStatistics {
        NatStatistics {
            sessions: self.table.sessions(),
            mappings: self.table.mappings(),
            hosts: self.table.hosts(),
            ..self.counts
        }
    }
}
