//! The workers, as the control thread commands them: each transaction goes to every one, and is applied when the last of them has
//! taken it. What concerns a call goes to the worker that owns its tunnel.

use super::cells::WorkerNumbers;
use super::worker_link::{ControlEnd, IkeMessage, Report, Update};
use sipsec_net::TunnelId;
use sipsec_net::dp::Op;
use sipsec_pipeline::{Owners, Validated, WorkerIndex};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use tracing::error;

#[derive(Debug)]
pub struct Workers {
    owners: Owners,
    ends: Vec<ControlEnd>,
    /// Workers that have not taken the transaction that is on its way.
    missing: usize,
}

impl Workers {
    /// # Panics
    /// If there is not one end for each worker.
    #[must_use]
    pub fn new(owners: Owners, ends: Vec<ControlEnd>) -> Self {
        assert_eq!(usize::from(owners.workers()), ends.len(), "one end for each worker");
        Self { owners, ends, missing: 0 }
    }

    /// The worker that has this tunnel. Any for none: it finds that there is no such call, and counts that.
    pub fn owner(&self, tunnel: Option<TunnelId>) -> &ControlEnd {
        let index = tunnel.map_or(WorkerIndex(0), |tunnel| self.owners.of(tunnel));
        &self.ends[usize::from(index.0)]
    }

    /// Whether every worker has room for another update.
    pub fn have_room(&self) -> bool {
        self.ends.iter().all(|end| end.updates.room() > 0)
    }

    /// Whether every worker has room for another IKE message.
    pub fn have_room_for_ike(&self) -> bool {
        self.ends.iter().all(|end| end.ike_down.room() > 0)
    }

    /// Gives a validated transaction to every worker. [`Self::taken`] says when all have applied it.
    pub fn transact(&mut self, ops: Vec<Op>, validated: Validated) {
        let parts = validated.split(&ops, self.owners);
        let ops = Arc::new(ops);
        self.missing = self.ends.len();
        for (end, validated) in self.ends.iter().zip(parts) {
            tell(end, Update::Transaction { ops: Arc::clone(&ops), validated });
        }
    }

    /// A worker has taken the transaction. `true` if that was the last.
    pub const fn taken(&mut self) -> bool {
        self.missing = self.missing.saturating_sub(1);
        self.missing == 0
    }

    pub fn tell_all(&self, update: impl Fn() -> Update) {
        self.ends.iter().for_each(|end| tell(end, update()));
    }

    /// Takes at most `max` IKE messages that came in of each worker; how many there were.
    pub fn take_ike(&self, max: usize, mut each: impl FnMut(IkeMessage)) -> usize {
        let of = |end: &ControlEnd| std::iter::from_fn(|| end.ike_up.pop()).take(max).map(&mut each).count();
        self.ends.iter().map(of).sum()
    }

    /// The next report of the worker.
    pub fn report(&self, worker: usize) -> Option<Report> {
        self.ends.get(worker)?.reports.pop()
    }

    pub const fn count(&self) -> usize {
        self.ends.len()
    }

    /// The numbers of each.
    pub fn numbers(&self) -> Vec<WorkerNumbers> {
        self.ends.iter().map(|end| end.cells.load()).collect()
    }

    /// Wakes those that have something to take.
    pub fn ring(&self) {
        for end in &self.ends {
            end.updates.ring();
            end.ike_down.ring();
        }
    }

    /// Tells each to stop, as far as it has room; the others are told again.
    pub fn stop(&mut self) -> bool {
        let is_told = |end: &ControlEnd| end.updates.push(Update::Stop).is_ok();
        self.ends.retain(|end| {
            let told = is_told(end);
            end.updates.ring();
            !told
        });
        self.ends.is_empty()
    }

    /// Whether nothing was reported: from here on a report ends the sleep.
    #[must_use]
    pub fn prepare_sleep(&self) -> bool {
        self.ends
            .iter()
            .fold(true, |idle, end| idle & end.reports.prepare_sleep() & end.ike_up.prepare_sleep())
    }

    /// The control thread is awake.
    pub fn woke(&self) {
        for end in &self.ends {
            end.reports.woke();
            end.ike_up.woke();
        }
    }

    /// What to sleep on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ends.iter().flat_map(|end| [end.reports.as_fd(), end.ike_up.as_fd()])
    }
}

fn tell(end: &ControlEnd, update: Update) {
    // The queue holds many times what comes between two turns.
    if end.updates.push(update).is_err() {
        error!("a worker does not answer: it goes on with what it knew of the devices");
    }
}
