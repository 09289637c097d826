//! All calls, found by id and by Call-ID.

use crate::call::CallId;
use crate::config::{CALLS_MAX, OVER_MAX};
use crate::state::{CallState, Phase};
use crate::target::Target;
use sipsec_net::Instant;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub struct Calls {
    map: BTreeMap<CallId, CallState>,
    by_call_id: BTreeMap<String, Vec<CallId>>,
    next: u64,
    over: usize,
    /// Calls whose timers may have changed.
    touched: BTreeSet<CallId>,
}

impl Calls {
    pub fn new(space: u16) -> Self {
        Self {
            map: BTreeMap::new(),
            by_call_id: BTreeMap::new(),
            next: CallId::before(space).0 + 1,
            over: 0,
            touched: BTreeSet::new(),
        }
    }

    pub fn insert(&mut self, call: CallState) -> CallId {
        let id = CallId(self.next);
        self.next += 1;
        self.by_call_id.entry(call.dialog.call_id.clone()).or_default().push(id);
        self.map.insert(id, call);
        self.touched.insert(id);
        id
    }

    pub fn get(&self, id: CallId) -> Option<&CallState> {
        self.map.get(&id)
    }

    pub fn get_mut(&mut self, id: CallId) -> Option<&mut CallState> {
        self.touched.insert(id);
        self.map.get_mut(&id)
    }

    pub fn remove(&mut self, id: CallId) -> Option<CallState> {
        self.touched.insert(id);
        let call = self.map.remove(&id)?;
        if matches!(call.phase, Phase::Over { .. }) {
            self.over -= 1;
        }
        if let Some(ids) = self.by_call_id.get_mut(&call.dialog.call_id) {
            ids.retain(|i| *i != id);
            if ids.is_empty() {
                self.by_call_id.remove(&call.dialog.call_id);
            }
        }
        Some(call)
    }

    /// Keeps an ended call for a late 2xx. `false` if there are too many of these.
    pub fn over(&mut self, id: CallId, until: Instant) -> bool {
        let room = self.over < OVER_MAX;
        if let Some(call) = self.get_mut(id).filter(|_| room) {
            call.phase = Phase::Over { until };
            self.over += 1;
        }
        room
    }

    pub fn with_call_id<'a>(
        &'a self,
        call_id: &str,
    ) -> impl Iterator<Item = (CallId, &'a CallState)> + use<'a> {
        let ids = self.by_call_id.get(call_id).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| Some((*id, self.map.get(id)?)))
    }

    /// Calls for which something is left to do.
    pub fn live(&self) -> usize {
        self.map.len() - self.over
    }

    /// Those that have their turn to be hung up, or are hung up.
    pub fn being_left(&self) -> usize {
        let left =
            |c: &&CallState| matches!(c.phase, Phase::Leaving | Phase::Queued { .. } | Phase::Owed { .. });
        self.map.values().filter(left).count()
    }

    /// The servers through which calls that are not over were made.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        let live = self.map.values().filter(|c| !matches!(c.phase, Phase::Over { .. }));
        live.map(|c| &c.dialog.target)
    }

    pub fn full(&self) -> bool {
        self.live() >= CALLS_MAX
    }

    pub fn ids(&self) -> Vec<CallId> {
        self.map.keys().copied().collect()
    }

    pub fn pop_touched(&mut self) -> Option<CallId> {
        self.touched.pop_first()
    }
}
