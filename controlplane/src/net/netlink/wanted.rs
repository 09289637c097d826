//! Which routes the kernel should have: what route policy has decided, by prefix. The netlink task executes it, and finds it
//! again after a restart of its own.

use sipsec_net::IpPrefix;
use sipsec_track::config::Table;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A route of ours in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub target: Target,
    pub table: Table,
    pub metric: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into the tunnel of this name: by its own device, or by the sVTI.
    Tunnel(String),
    Device(String),
    Via {
        hop: IpAddr,
        device: String,
    },
    Discard,
}

/// A prefix of which nothing is decided yet keeps what the kernel has.
#[derive(Debug, Default)]
pub struct WantedRoutes {
    routes: BTreeMap<IpPrefix, Option<Wanted>>,
    /// Those that the task has not taken over.
    changed: BTreeSet<IpPrefix>,
}

impl WantedRoutes {
    pub fn set(&mut self, prefix: IpPrefix, wanted: Option<Wanted>) {
        self.routes.insert(prefix, wanted);
        self.changed.insert(prefix);
    }

    pub fn take_changes(&mut self) -> Vec<(IpPrefix, Option<Wanted>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|p| (p, self.routes.get(&p).cloned().flatten())).collect()
    }

    /// Prefixes without a route that this says no of need not be remembered.
    pub fn forget_absent(&mut self, keep: impl Fn(&IpPrefix) -> bool) {
        let changed = &self.changed;
        self.routes.retain(|prefix, wanted| wanted.is_some() || keep(prefix) || changed.contains(prefix));
    }

    /// A task that starts compares everything; there is no single change.
    pub fn all(&mut self) -> BTreeMap<IpPrefix, Option<Wanted>> {
        self.routes.clone()
    }
}
