//! Another profile while calls are up.
//!
//! ```text
//!  Reconfigure ─> plan ── parts, one after the other ──> dataplane
//!                   │  refused: the parts before are taken back, nothing has changed
//!                   └─ all applied ─> values swapped ─> calls of bounced and removed tunnels hung up
//! ```
//! A tunnel that is not concerned is not touched: its dialog, its SAs and its counters stay. A removed tunnel with a call
//! goes when the call has ended and nothing waits for its confirmation any more.

mod plan;

use crate::config::{CarrierConfig, IkeConfig, KeyEntry, TunnelConfig};
use crate::core::{Core, Dataplane, Pending};
use crate::dataplane::batches;
use crate::output::{EventKind, Output};
use crate::tunnel::Tunnel;
use plan::{Part, Present, plan};
use sipsec_ike::CloseCause;
use sipsec_net::dp::{Op, PacketSummary, RejectReason};
use sipsec_net::{Instant, IpPrefix, TunnelId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

/// The values that are to be in force.
#[derive(Clone, Debug)]
pub struct Reconfiguration {
    /// A tunnel that stays has the id that it has; a new one has an id that none had before.
    pub tunnels: Vec<TunnelConfig>,
    pub keyring: Vec<KeyEntry>,
    pub ike: IkeConfig,
    /// Of a carrier that stays, [`sipsec_sip::UserAgent::set_values`] takes the values that may change under its calls.
    pub carriers: Vec<CarrierConfig>,
    /// Carriers that stay and whose calls and registrations cannot.
    pub replaced: BTreeSet<String>,
    /// See [`crate::SessionConfig::outside`].
    pub outside: BTreeSet<IpPrefix>,
    /// Tunnels that stay and whose call cannot go on with the new values.
    pub bounced: BTreeSet<TunnelId>,
}

/// What a change did to tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconfigured {
    pub added: usize,
    pub removed: usize,
    pub changed: usize,
    /// Calls that were hung up because of it.
    pub hung_up: usize,
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigureError {
    #[error("another change waits for the dataplane")]
    Busy,
    #[error("the gateway is shutting down")]
    ShuttingDown,
    #[error("the dataplane is not ready, so it cannot say whether it takes the change")]
    NotReady,
    #[error("the dataplane ended before it had taken the change")]
    DataplaneLost,
    #[error("the dataplane refused {}: {}", tunnel.as_deref().unwrap_or("the change"), refused(*reason))]
    Refused { tunnel: Option<String>, reason: RejectReason },
}

impl ReconfigureError {
    /// What to do.
    #[must_use]
    pub const fn cure(&self) -> &'static str {
        match self {
            Self::Busy => "wait for it, then apply again",
            Self::ShuttingDown => "start the gateway with the new profile",
            Self::NotReady | Self::DataplaneLost => {
                "start the dataplane, wait for `show control` to say that it is connected, then apply again"
            }
            Self::Refused { reason: RejectReason::TableFull, .. } => {
                "raise dataplane.tunnels_max, which needs a restart, or remove tunnels or routes"
            }
            Self::Refused { reason: RejectReason::BadMtu, .. } => {
                "the MTU of the WAN is too small for this tunnel: see `show dataplane`"
            }
            Self::Refused { .. } => "the log of the dataplane says more",
        }
    }
}

const fn refused(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::TableFull => "a table is full, or the kernel does not take a route",
        RejectReason::BadMtu => "fewer than 576 bytes of a packet would fit",
        _ => "it does not know what the change is about",
    }
}

/// A change that the dataplane has not answered.
#[derive(Debug)]
pub(crate) struct Change {
    new: Reconfiguration,
    /// Tunnels that the new profile does not have: they begin no call any more. With each, whether it had a call when the
    /// parts were planned: then the dataplane keeps the tunnel, without its routes, until the call has ended.
    withdrawn: BTreeMap<usize, bool>,
    /// Tunnels that were leaving and that the new profile has again: the dataplane keeps them until the change is decided.
    returning: BTreeSet<usize>,
    waiting: VecDeque<Part>,
    /// The tunnels of the operations that are with the dataplane.
    asked: Vec<TunnelId>,
    /// Takes back what is applied, the last part first, and what is asked.
    undo: Vec<Vec<Op>>,
    /// Packets for tunnels that the dataplane has already and the core has not.
    early: BTreeMap<TunnelId, (Instant, PacketSummary)>,
}

impl Core {
    pub(crate) fn reconfigure(&mut self, now: Instant, new: Reconfiguration) {
        let stays: BTreeSet<TunnelId> = new.tunnels.iter().map(TunnelConfig::id).collect();
        if self.change.is_none() {
            let known: BTreeSet<IpPrefix> = self.prefixes().collect();
            let prefixes = new.tunnels.iter().flat_map(|t| &t.routes).copied();
            self.routes.begin(prefixes.filter(|p| !known.contains(p)), &new.outside);
        }
        let mut parts: VecDeque<Part> = plan(&self.present(), &new.tunnels, &self.routes).into();
        let error = if self.change.is_some() {
            Some(ReconfigureError::Busy)
        } else if self.stopping() {
            Some(ReconfigureError::ShuttingDown)
        } else {
            match self.dataplane {
                Dataplane::Ready => None,
                // It has no calls and no use for parts: it is configured anew.
                Dataplane::Refused => {
                    parts.clear();
                    None
                }
                _ if parts.is_empty() => None,
                _ => Some(ReconfigureError::NotReady),
            }
        };
        if let Some(error) = error {
            self.out.push_back(Output::Reconfigured(Err(error)));
            return;
        }
        let gone = |(i, t): (usize, &Tunnel)| (!stays.contains(&t.id())).then(|| (i, !t.ready()));
        self.change = Some(Box::new(Change {
            new,
            withdrawn: self.tunnels.enumerated().filter_map(gone).collect(),
            returning: self.tunnels.leaving().filter(|i| stays.contains(&self.tunnels[*i].id())).collect(),
            waiting: parts,
            asked: Vec::new(),
            undo: Vec::new(),
            early: BTreeMap::new(),
        }));
        self.next_part(now);
    }

    /// What the dataplane has; one that is not ready, what it will be configured with.
    fn present(&self) -> BTreeMap<TunnelId, Present> {
        let ready = self.dataplane == Dataplane::Ready;
        let there =
            |i: usize, t: &Tunnel| if ready { t.is_configured() } else { !self.tunnels.is_leaving(i) };
        let all: Vec<_> = self.tunnels.enumerated().filter(|(i, t)| there(*i, t)).map(|(_, t)| t).collect();
        let mut owned = self.routes.owned(all.iter().map(|t| t.config()));
        let mut one = |t: &Tunnel| {
            let routes = owned.remove(&t.id()).unwrap_or_default();
            let (spec, filters, qos) = (t.config().spec, t.config().filters.clone(), t.config().qos.clone());
            let nat = t.config().nat.clone();
            (t.id(), Present { spec, qos, routes, filters, nat, busy: !t.ready() })
        };
        all.into_iter().map(&mut one).collect()
    }

    /// Of all tunnels.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = IpPrefix> {
        self.tunnels.enumerated().flat_map(|(_, t)| t.config().routes.iter().copied())
    }

    /// The tunnel begins no call: the profile has it no more, or will not in a moment.
    pub(crate) fn is_withdrawn(&self, i: usize) -> bool {
        self.tunnels.is_leaving(i) || self.change.as_ref().is_some_and(|c| c.withdrawn.contains_key(&i))
    }

    /// A packet asks for a call of a tunnel that a change is about to bring.
    pub(crate) fn early_trigger(&mut self, now: Instant, tunnel: TunnelId, first: PacketSummary) {
        if let Some(change) = &mut self.change
            && change.new.tunnels.iter().any(|t| t.id() == tunnel)
        {
            change.early.insert(tunnel, (now, first));
        }
    }

    pub(crate) fn part_applied(&mut self, now: Instant) {
        if self.change.is_some() {
            self.next_part(now);
        }
    }

    pub(crate) fn part_rejected(&mut self, op: u16, reason: RejectReason) {
        let Some(change) = &mut self.change else { return };
        change.undo.pop(); // of the part that was not applied
        let id = change.asked.get(usize::from(op)).copied();
        let new = change.new.tunnels.iter().find(|t| Some(t.id()) == id).map(|t| t.name.clone());
        let old = id.and_then(|id| self.tunnels.with_id(id)).map(|i| self.tunnels[i].config().name.clone());
        self.change_failed(ReconfigureError::Refused { tunnel: new.or(old), reason });
    }

    /// Nothing has changed; what the dataplane has taken is taken back.
    pub(crate) fn change_failed(&mut self, error: ReconfigureError) {
        let Some(change) = self.change.take() else { return };
        for ops in batches(change.undo.into_iter().rev().collect()) {
            self.transact(ops, Pending::Undo);
        }
        self.send_deferred_routes();
        self.out.push_back(Output::Reconfigured(Err(error)));
    }

    fn next_part(&mut self, now: Instant) {
        let Some(change) = &mut self.change else { return };
        match change.waiting.pop_front() {
            Some(part) => {
                change.asked = part.tunnels;
                change.undo.push(part.undo);
                self.transact(part.ops, Pending::Change);
            }
            None => self.commit(now),
        }
    }

    fn commit(&mut self, now: Instant) {
        let Some(change) = self.change.take() else { return };
        let Change { new, withdrawn, early, .. } = *change;
        self.config.keyring = new.keyring;
        self.config.ike = new.ike;
        let own = &mut self.entropy;
        let added = self.carriers.reconfigure(now, new.carriers, &new.replaced, || {
            Box::new(crate::entropy::Stream::of(&mut **own))
        });
        self.out.extend(added.into_iter().map(|(carrier, name)| Output::CarrierAdded { carrier, name }));
        let mut done = Reconfigured::default();
        for (i, kept) in withdrawn {
            if !self.tunnels.is_leaving(i) {
                done.removed += 1;
                done.hung_up += self.withdraw(now, i, kept);
            }
        }
        for config in new.tunnels {
            match self.tunnels.with_id(config.id()) {
                Some(i) => {
                    let bounced = new.bounced.contains(&config.id());
                    done.changed += usize::from(*self.tunnels[i].config() != config || bounced);
                    done.hung_up += self.give_values(now, i, config, bounced);
                }
                None => {
                    done.added += 1;
                    let configured = self.dataplane == Dataplane::Ready;
                    let mut tunnel = Tunnel::new(config);
                    tunnel.set_configured(configured);
                    self.tunnels.insert(tunnel);
                }
            }
        }
        // Calls over a carrier that leaves, of tunnels that are not bounced for a reason of their own.
        for i in self.tunnels.indices() {
            let leg = self.tunnels[i].state().leg();
            if leg.is_some_and(|leg| self.carriers.leaves(leg.call.id())) {
                self.hang_up(now, i, CloseCause::Admin);
                done.hung_up += 1;
            }
        }
        let known: BTreeSet<IpPrefix> = self.prefixes().collect();
        self.routes.keep(&known);
        self.forget_lost_of_leaving(now);
        self.send_deferred_routes();
        for (tunnel, (at, first)) in early {
            if let Some(i) = self.tunnels.with_id(tunnel) {
                self.trigger(at, i, first);
            }
        }
        if self.dataplane == Dataplane::Refused {
            self.dataplane = Dataplane::Snapshot { tunnels: BTreeSet::new(), sa_max: 0 };
            self.out.push_back(Output::SnapshotRequest);
        }
        self.event(None, EventKind::Reconfigured(done));
        self.out.push_back(Output::Reconfigured(Ok(done)));
        self.release_triggers(now);
    }

    /// The number of calls hung up. `kept` says that the dataplane still has the tunnel: its call may have ended since.
    fn withdraw(&mut self, now: Instant, i: usize, kept: bool) -> usize {
        let t = &mut self.tunnels[i];
        t.withdraw(kept);
        let calls = usize::from(t.state().leg().is_some());
        self.tunnels.leave(i);
        self.hang_up(now, i, CloseCause::Admin);
        calls
    }

    fn give_values(&mut self, now: Instant, i: usize, config: TunnelConfig, bounced: bool) -> usize {
        let calls = usize::from(bounced && self.tunnels[i].state().leg().is_some());
        if bounced {
            self.hang_up(now, i, CloseCause::Admin);
        }
        let t = &mut self.tunnels[i];
        let other_peer = (t.config().local_number, t.config().remote_number)
            != (config.local_number, config.remote_number);
        if other_peer {
            // Failures with another number say nothing about this one.
            let key = format!("{} {}", t.config().local_number, t.config().remote_number);
            t.forget_failures();
            self.out.push_back(Output::PersistBrake { key, record: None });
        }
        let t = &mut self.tunnels[i];
        t.set_configured(self.dataplane == Dataplane::Ready);
        if let Some(up) = t.up() {
            up.set_call_max(config.call_max);
        }
        self.tunnels.set_config(i, config);
        calls
    }

    /// Removes the tunnels that have nothing left to end.
    pub(crate) fn remove_left(&mut self) {
        let returns = |i: &usize| self.change.as_ref().is_some_and(|c| c.returning.contains(i));
        let left: Vec<usize> =
            self.tunnels.leaving().filter(|i| self.tunnels[*i].ready() && !returns(i)).collect();
        for i in left {
            if self.tunnels[i].is_configured() {
                self.tunnels[i].set_configured(false);
                let tunnel = self.tunnels[i].id();
                self.transact(vec![Op::TunnelRemove(tunnel)], Pending::Cleanup);
            }
            // A call whose end is not confirmed may be charged: the tunnel stays for it, in case it comes back.
            if self.tunnels[i].held_until().is_some() {
                continue;
            }
            let config = self.tunnels[i].config();
            let key = format!("{} {}", config.local_number, config.remote_number);
            if self.tunnels.with_numbers(config.local_number, config.remote_number).is_none() {
                self.out.push_back(Output::PersistBrake { key, record: None });
            }
            for ledger in self.calls.values_mut().filter(|l| l.tunnel == Some(i)) {
                (ledger.tunnel, ledger.holds) = (None, false);
            }
            self.braked.remove(&i);
            self.unpumped.remove(&i);
            self.tunnels.remove(i);
        }
    }
}

impl fmt::Display for Reconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, removed, changed, hung_up } = self;
        write!(f, "tunnels: {added} added, {removed} removed, {changed} changed; calls hung up: {hung_up}")
    }
}
