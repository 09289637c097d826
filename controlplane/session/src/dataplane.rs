//! Events of the dataplane, and its configuration.

use crate::change::ReconfigureError;
use crate::core::{Core, Dataplane, Pending};
use crate::failure::SessionFailure;
use crate::output::{EventKind, Output};
use crate::state::{Draining, State};
use sipsec_ike::ChildId;
use sipsec_net::dp::{Event, OPS_MAX, Op, RejectReason, TunnelActivity};
use sipsec_net::{Instant, MediaPort, SaId, TunnelId, TxnId};
use std::collections::BTreeSet;

impl Core {
    pub(crate) fn dataplane_up(&mut self, now: Instant) {
        // It has no state of the one before.
        self.dataplane_down(now);
        self.dataplane = Dataplane::Snapshot { tunnels: BTreeSet::new(), sa_max: 0 };
        self.out.push_back(Output::SnapshotRequest);
    }

    /// Nothing can flow without it, and calls cost money.
    pub(crate) fn dataplane_down(&mut self, now: Instant) {
        if self.dataplane == Dataplane::Absent {
            return;
        }
        self.dataplane = Dataplane::Absent;
        self.count_no_longer(now);
        self.pending.clear();
        self.routes_unanswered();
        self.lost_ports_are_closed();
        self.event(None, EventKind::DataplaneLost);
        self.change_failed(ReconfigureError::DataplaneLost);
        for i in self.tunnels.indices() {
            self.tunnels[i].set_configured(false);
            if self.tunnels[i].state().leg().is_some() {
                self.fail(now, i, SessionFailure::DataplaneGone);
            }
            if let Some(media) = self.tunnels[i].draining().and_then(Draining::take_media) {
                self.release_port(now, media.port);
                self.stop_listening(now, i, media);
                self.drained(now, i);
            }
        }
    }

    pub(crate) fn dataplane_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Applied(txn) => self.applied(now, txn),
            Event::Rejected { txn, op, reason } => self.rejected(now, txn, op, reason),
            Event::Acquire { tunnel, first } => match self.tunnels.with_id(tunnel) {
                Some(i) => self.trigger(now, i, first),
                None => self.early_trigger(now, tunnel, first),
            },
            Event::WrongSource { media_port, from } => {
                if let Some(i) = self.tunnels.with_port(media_port)
                    && let Some(n) = self.tunnels[i].negotiating()
                {
                    n.heard_from_elsewhere(from);
                }
            }
            Event::PeerPortProven { media_port, port } => {
                if let Some(i) = self.tunnels.with_port(media_port) {
                    self.peer_port_proven(i, port);
                }
            }
            // RFC 7296 §2.8: the peer sends on this SA.
            Event::SaFirstInbound { sa } => {
                if let Some((i, child)) = self.child_of(sa) {
                    self.drive(i, |e| e.inbound_used(now, child));
                }
            }
            Event::SaExpire { sa, hard, .. } => {
                if let Some((i, child)) = self.child_of(sa) {
                    self.drive(
                        i,
                        |e| if hard { e.expire_child(now, child) } else { e.rekey_child(now, child) },
                    );
                }
            }
            Event::SnapshotTunnel { tunnel, .. } => {
                if let Dataplane::Snapshot { tunnels, .. } = &mut self.dataplane {
                    tunnels.insert(tunnel);
                }
            }
            Event::SnapshotSa { sa, .. } => {
                if let Dataplane::Snapshot { sa_max, .. } = &mut self.dataplane {
                    *sa_max = (*sa_max).max(sa.0);
                }
            }
            // A media port goes with its tunnel.
            Event::SnapshotMedia(_) => {}
            Event::SnapshotEnd => self.configure(),
            // For those who asked; the caller has taken them out.
            Event::NatEntry(_) | Event::NatPage { .. } | Event::NatBlock(_) => {}
        }
    }

    /// Removes what an earlier control plane left (its calls are being hung up), then applies the profile.
    fn configure(&mut self) {
        let Dataplane::Snapshot { tunnels, sa_max } = &self.dataplane else { return };
        let (mut stale, sa_max) = (tunnels.clone(), *sa_max);
        self.lost_ports_are_closed();
        self.raise_sa(sa_max);
        let there = self.tunnels.enumerated().filter(|(i, _)| !self.tunnels.is_leaving(*i));
        let mut owned = self.routes.owned(there.map(|(_, t)| t.config()));
        let configured = self.prefixes().collect();
        self.routes.given(owned.values().flatten().copied(), &configured);
        let mut groups = Vec::with_capacity(self.tunnels.len());
        for i in self.tunnels.indices() {
            if self.tunnels.is_leaving(i) {
                continue;
            }
            let t = &mut self.tunnels[i];
            // The dataplane asks again, after its snapshot, for what still waits.
            t.forget_waiting();
            let tunnel = t.config().id();
            let mut ops: Vec<Op> = stale.take(&tunnel).map(Op::TunnelRemove).into_iter().collect();
            ops.push(Op::TunnelAdd(t.config().spec));
            ops.extend(t.config().filters.ops(tunnel));
            let prefixes = owned.remove(&tunnel).unwrap_or_default().into_iter();
            let adjacency = |prefix| self.routes.adjacency(prefix);
            if !t.config().qos.is_initial() {
                ops.extend(t.config().qos.ops());
            }
            ops.extend(prefixes.map(|prefix| Op::RouteAdd { prefix, tunnel, adjacency: adjacency(prefix) }));
            ops.extend(t.config().nat.ops(tunnel));
            groups.push(ops);
        }
        // Last, so that a prefix that now belongs to another tunnel has changed its owner before.
        groups.extend(stale.into_iter().map(|tunnel| vec![Op::TunnelRemove(tunnel)]));
        let batches = batches(groups);
        self.dataplane = match batches.len() {
            0 => Dataplane::Ready,
            n => Dataplane::Configuring(n),
        };
        let last = batches.len().saturating_sub(1);
        for (i, ops) in batches.into_iter().enumerate() {
            self.transact_part(ops, Pending::Configure, i < last);
        }
    }

    fn applied(&mut self, now: Instant, txn: TxnId) {
        let Some(pending) = self.pending.remove(&txn) else { return };
        match pending {
            Pending::Configure => {
                if let Dataplane::Configuring(left) = &mut self.dataplane {
                    *left -= 1;
                    if *left == 0 {
                        self.dataplane = Dataplane::Ready;
                        for i in self.tunnels.indices() {
                            let kept = !self.tunnels.is_leaving(i);
                            self.tunnels[i].set_configured(kept);
                        }
                        let tunnels = self.tunnels.len();
                        self.event(None, EventKind::Configured { tunnels });
                        self.open_all_lost();
                        // Packets may have asked for calls since the tunnels are there.
                        self.release_triggers(now);
                    }
                }
            }
            Pending::Change => self.part_applied(now),
            Pending::Counted { tunnel, call } => self.counted(now, tunnel, call),
            Pending::MediaOpen { tunnel, port } if self.is_live(tunnel, port) => {
                self.media_opened(now, tunnel)
            }
            Pending::Install { tunnel, port, child } if self.is_live(tunnel, port) => {
                self.child_installed(now, tunnel, child);
                self.out.push_back(Output::QueryActivity(self.tunnels[tunnel].config().id()));
            }
            Pending::Replace { tunnel, port, child } | Pending::Bind { tunnel, port, child }
                if self.is_live(tunnel, port) =>
            {
                // From what its SAs count (`ChildSas::began`).
                self.out.push_back(Output::QueryActivity(self.tunnels[tunnel].config().id()));
                self.drive(tunnel, |e| e.handle_child_installed(now, child));
            }
            Pending::MediaOpen { .. }
            | Pending::Install { .. }
            | Pending::Replace { .. }
            | Pending::Bind { .. }
            | Pending::LostOpen { .. }
            | Pending::Undo
            | Pending::Cleanup => {}
            Pending::Routes => self.routes_answered(),
        }
    }

    fn rejected(&mut self, now: Instant, txn: TxnId, op: u16, reason: RejectReason) {
        let Some(pending) = self.pending.remove(&txn) else { return };
        match pending {
            Pending::Configure => {
                self.dataplane = Dataplane::Refused;
                self.event(None, EventKind::ConfigureRejected { op, reason });
            }
            Pending::Change => self.part_rejected(op, reason),
            Pending::Routes => {
                self.event(None, EventKind::ConfigureRejected { op, reason });
                self.routes_answered();
            }
            Pending::Counted { tunnel, call } => self.counted(now, tunnel, call),
            Pending::LostOpen { port } => self.lost_refused(now, port),
            Pending::Undo => self.event(None, EventKind::ConfigureRejected { op, reason }),
            Pending::MediaOpen { tunnel, port } if self.is_live(tunnel, port) => {
                if let Some(media) = self.tunnels[tunnel].media() {
                    media.not_opened();
                }
                self.fail(now, tunnel, SessionFailure::DataplaneRejected { reason });
            }
            Pending::MediaOpen { tunnel, port } => {
                // Its session has ended meanwhile, perhaps with its tunnel.
                if self.tunnels.get(tunnel).is_some()
                    && let Some(media) = self.tunnels[tunnel].draining().and_then(|d| d.take_port(port))
                {
                    self.release_port(now, port);
                    self.stop_listening(now, tunnel, media);
                    self.drained(now, tunnel);
                }
            }
            Pending::Install { tunnel, port, child } | Pending::Replace { tunnel, port, child }
                if self.is_live(tunnel, port) =>
            {
                let t = &mut self.tunnels[tunnel];
                if let Some(n) = t.negotiating() {
                    n.not_installed();
                } else if let Some(u) = t.up() {
                    u.refuse(child);
                }
                self.drive(tunnel, |e| e.handle_child_rejected(now, child));
                if matches!(self.tunnels[tunnel].state(), State::Negotiating(_)) {
                    self.fail(now, tunnel, SessionFailure::DataplaneRejected { reason });
                }
            }
            // Both of its SAs are installed; IKE decides what becomes of them.
            Pending::Bind { tunnel, port, child } if self.is_live(tunnel, port) => {
                self.drive(tunnel, |e| e.handle_child_rejected(now, child));
            }
            Pending::Install { .. } | Pending::Replace { .. } | Pending::Bind { .. } | Pending::Cleanup => {}
        }
    }

    /// The session that is up with an SA, and the CHILD_SA that it is a half of.
    fn child_of(&self, sa: SaId) -> Option<(usize, ChildId)> {
        self.tunnels.enumerated().find_map(|(i, t)| {
            let State::Up(u) = t.state() else { return None };
            u.child_of(sa).map(|child| (i, child))
        })
    }

    /// The call that a transaction was for is still the tunnel's.
    fn is_live(&self, tunnel: usize, port: MediaPort) -> bool {
        self.tunnels.get(tunnel).and_then(|t| t.state().leg()).is_some_and(|l| l.media_port == port)
    }

    pub(crate) fn activity(
        &mut self,
        now: Instant,
        tunnel: TunnelId,
        activity: TunnelActivity,
        path_ceiling: u16,
    ) {
        let Some(i) = self.tunnels.with_id(tunnel) else { return };
        let (idle, one_way) = (self.tunnels[i].config().idle, self.tunnels[i].config().one_way);
        let Some(up) = self.tunnels[i].up() else { return };
        if up.looked_at(now, activity, idle) {
            let after = now.saturating_duration_since(up.last_data());
            self.event(Some(i), EventKind::Idle { after });
            self.hang_up(now, i, sipsec_ike::CloseCause::Idle);
        } else if let Some(lasted) = up.one_way(one_way) {
            self.fail(now, i, SessionFailure::OneWay { lasted });
        } else if path_ceiling > 0 {
            self.drive(i, |endpoint| endpoint.path_ceiling(now, path_ceiling));
        }
    }
}

/// Cuts one change into transactions. A tunnel that fits one transaction is taken away and put back in one, so that its
/// packets are not dropped in between; a larger one begins a transaction of its own.
pub(crate) fn batches(groups: Vec<Vec<Op>>) -> Vec<Vec<Op>> {
    let mut batches: Vec<Vec<Op>> = Vec::new();
    for mut group in groups {
        match batches.last_mut() {
            Some(last) if last.len() + group.len() <= OPS_MAX => last.append(&mut group),
            _ => {
                while group.len() > OPS_MAX {
                    let rest = group.split_off(OPS_MAX);
                    batches.push(std::mem::replace(&mut group, rest));
                }
                batches.push(group);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many operations of one tunnel, all of them removals: which tunnel is what counts here.
    fn group(tunnel: u32, ops: usize) -> Vec<Op> {
        vec![Op::TunnelRemove(TunnelId(tunnel)); ops]
    }

    /// Tunnel and number of operations, in runs.
    fn runs(batch: &[Op]) -> Vec<(u32, usize)> {
        let mut runs: Vec<(u32, usize)> = Vec::new();
        for op in batch {
            let Op::TunnelRemove(TunnelId(t)) = op else { panic!("none other was put in") };
            match runs.last_mut() {
                Some((last, n)) if last == t => *n += 1,
                _ => runs.push((*t, 1)),
            }
        }
        runs
    }

    #[test]
    fn a_tunnel_is_in_one_transaction_or_fills_its_own() {
        let groups = vec![group(1, 30), group(2, 30), group(3, 5), group(4, 150), group(5, 40), group(6, 64)];
        let cut: Vec<_> = batches(groups).iter().map(|b| runs(b)).collect();
        assert_eq!(
            cut,
            [
                vec![(1, 30), (2, 30)],
                vec![(3, 5)],
                vec![(4, 64)],
                vec![(4, 64)],
                vec![(4, 22), (5, 40)],
                vec![(6, 64)]
            ]
        );
        assert!(batches(Vec::new()).is_empty());
    }
}
