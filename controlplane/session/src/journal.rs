//! The call journal, as far as the core knows it: under which key a call is, and what an earlier life left.

use crate::core::Core;
use crate::output::{EventKind, Output};
use sipsec_net::Instant;
use sipsec_sip::{CallId, DialogRecord};
use std::collections::HashMap;

/// Keys of the journal: those of this life start above those of earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    base: u64,
    /// Records of an earlier life, until an address is there to hang them up from.
    waiting: Vec<(u64, DialogRecord)>,
    earlier: HashMap<CallId, u64>,
}

impl Core {
    pub(crate) fn key_of_call(&self, call: CallId) -> u64 {
        self.journal.earlier.get(&call).copied().unwrap_or(self.journal.base + call.0)
    }

    pub(crate) fn call_of_key(&self, key: u64) -> CallId {
        let earlier = self.journal.earlier.iter().find(|(_, k)| **k == key);
        earlier.map_or(CallId(key.wrapping_sub(self.journal.base)), |(call, _)| *call)
    }

    pub(crate) fn recovered(&mut self, now: Instant, records: Vec<(u64, Vec<u8>)>) {
        self.journal.base = records.iter().map(|(k, _)| *k).max().unwrap_or(0);
        let mut unreadable = 0;
        for (key, bytes) in records {
            match DialogRecord::from_bytes(&bytes) {
                Ok(record) => self.journal.waiting.push((key, record)),
                // Written by another release: nothing can be done with it, and it must not come back for ever.
                Err(_) => {
                    unreadable += 1;
                    self.out.push_back(Output::Persist { key, record: None });
                }
            }
        }
        if unreadable > 0 {
            self.event(None, EventKind::RecordsUnreadable { calls: unreadable });
        }
        self.hang_up_recovered(now);
    }

    pub(crate) fn hang_up_recovered(&mut self, now: Instant) {
        if self.wan.is_none() || self.journal.waiting.is_empty() {
            return;
        }
        let calls = self.journal.waiting.len();
        for (key, record) in std::mem::take(&mut self.journal.waiting) {
            let call = self.ua.recover(now, &record);
            self.journal.earlier.insert(call, key);
        }
        self.event(None, EventKind::Recovered { calls });
    }

    pub(crate) fn forget_recovered(&mut self, call: CallId) {
        self.journal.earlier.remove(&call);
    }
}
