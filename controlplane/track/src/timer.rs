//! One timer for each owner, ordered by time. Setting one replaces it, so no entry is ever stale.

use sipsec_net::Instant;
use std::collections::{BTreeSet, HashMap};

/// Whose timer it is; the number is an index into the core's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    Operation(usize),
    Object(usize),
    Prefix(usize),
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Instant, Owner)>,
    due: HashMap<Owner, Instant>,
}

impl Timers {
    pub fn set(&mut self, owner: Owner, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.due.insert(owner, at),
            None => self.due.remove(&owner),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.queue.remove(&(before, owner));
        }
        if let Some(at) = at {
            self.queue.insert((at, owner));
        }
    }

    pub fn next(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub fn take(&mut self, now: Instant) -> Option<Owner> {
        let (at, owner) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.set(owner, None);
        Some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_has_one_timer() {
        let mut timers = Timers::default();
        let at = Instant::from_nanos;
        timers.set(Owner::Object(1), Some(at(5)));
        timers.set(Owner::Object(1), Some(at(9)));
        timers.set(Owner::Operation(1), Some(at(7)));
        timers.set(Owner::Prefix(0), Some(at(3)));
        timers.set(Owner::Prefix(0), None);
        assert_eq!(timers.next(), Some(at(7)));
        assert_eq!((timers.take(at(6)), timers.take(at(9))), (None, Some(Owner::Operation(1))));
        assert_eq!((timers.take(at(9)), timers.take(at(9))), (Some(Owner::Object(1)), None));
        assert!(timers.due.is_empty() && timers.next().is_none());
    }
}
