//! Timers in one ordered set: thousands of transactions cost a look-up instead of a search.

use crate::call::CallId;
use sipsec_net::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The owner of a timer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    Client(Arc<str>),
    Server(Arc<str>),
    Call(CallId),
    Registration(usize),
    Prove(usize),
}

#[derive(Debug, Default)]
pub struct Schedule {
    by_time: BTreeSet<(Instant, Due)>,
    at: BTreeMap<Due, Instant>,
}

impl Schedule {
    pub fn set(&mut self, due: Due, at: Option<Instant>) {
        if let Some(old) = self.at.remove(&due) {
            self.by_time.remove(&(old, due.clone()));
        }
        if let Some(at) = at {
            self.at.insert(due.clone(), at);
            self.by_time.insert((at, due));
        }
    }

    /// Sets it to an earlier time, or leaves it.
    pub fn advance(&mut self, due: Due, at: Instant) {
        if self.at.get(&due).is_none_or(|known| at < *known) {
            self.set(due, Some(at));
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the first that is due; its owner sets it again.
    pub fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        let (_, due) = self.by_time.pop_first()?;
        self.at.remove(&due);
        Some(due)
    }
}
