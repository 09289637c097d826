//! What route policy has decided of the tunnels' prefixes, and the dataplane that follows it.
//!
//! ```text
//!  Input::Routes ─> chosen ─┬─ a change of the profile is under way: after it
//!                           └─> RouteAdd, RouteRemove … ─> dataplane ─ Applied ─> Output::RoutesTaken
//! ```
//! Without a decision packets go into the tunnel that has the prefix. A route inside a tunnel's prefix (a "part") belongs to that
//! tunnel in the dataplane: the host has a better route for it.

use crate::config::TunnelConfig;
use crate::core::{Core, Dataplane, Pending};
use crate::output::Output;
use sipsec_net::dp::{Adjacency, OPS_MAX, Op};
use sipsec_net::prefix::PrefixError;
use sipsec_net::{IpPrefix, TunnelId};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// What is to become of packets to a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// They go into this tunnel.
    Tunnel(TunnelId),
    /// Router mode: the host forwards them by a better route.
    Outside,
    Discard,
    /// No route has this prefix. Inside a tunnel's prefix the shorter route decides; a tunnel's own prefix is discarded.
    Gone,
}

#[derive(Debug, Default)]
pub(crate) struct Routes {
    chosen: BTreeMap<IpPrefix, Chosen>,
    /// Decided while a change of the profile was under way.
    deferred: BTreeSet<IpPrefix>,
    /// With the dataplane, in the order in which it answers.
    asked: VecDeque<Vec<IpPrefix>>,
    /// Parts of tunnels' prefixes that the dataplane has.
    parts: BTreeSet<IpPrefix>,
}

impl Routes {
    pub fn new(outside: &BTreeSet<IpPrefix>) -> Self {
        let chosen = outside.iter().map(|prefix| (*prefix, Chosen::Outside)).collect();
        Self { chosen, ..Self::default() }
    }

    pub fn adjacency(&self, prefix: IpPrefix) -> Adjacency {
        match self.chosen.get(&prefix) {
            None | Some(Chosen::Tunnel(_)) => Adjacency::Tunnel,
            Some(Chosen::Outside) => Adjacency::Outside,
            Some(Chosen::Discard | Chosen::Gone) => Adjacency::Discard,
        }
    }

    /// The tunnels with the prefixes that the dataplane is to know as theirs: that of the profile, or the chosen one.
    pub fn owned<'a>(
        &self,
        tunnels: impl Iterator<Item = &'a TunnelConfig>,
    ) -> BTreeMap<TunnelId, Vec<IpPrefix>> {
        let configured: Vec<_> = tunnels.map(|t| (t.id(), &t.routes)).collect();
        let mut owned: BTreeMap<TunnelId, Vec<IpPrefix>> =
            configured.iter().map(|(id, _)| (*id, Vec::new())).collect();
        for (id, prefixes) in configured {
            for prefix in prefixes {
                let chosen = match self.chosen.get(prefix) {
                    Some(Chosen::Tunnel(chosen)) if owned.contains_key(chosen) => *chosen,
                    _ => id,
                };
                owned.entry(chosen).or_default().push(*prefix);
            }
        }
        let owners: HashMap<IpPrefix, TunnelId> =
            owned.iter().flat_map(|(id, list)| list.iter().map(|prefix| (*prefix, *id))).collect();
        for (prefix, chosen) in &self.chosen {
            if matches!(chosen, Chosen::Outside | Chosen::Discard)
                && !owners.contains_key(prefix)
                && let Some(id) = covering(*prefix).find_map(|shorter| owners.get(&shorter))
            {
                owned.entry(*id).or_default().push(*prefix);
            }
        }
        owned
    }

    /// Nothing more is to be said of those that have no route and are no tunnel's own.
    fn forget_gone(&mut self, prefixes: &[IpPrefix]) {
        for prefix in prefixes {
            if self.chosen.get(prefix) == Some(&Chosen::Gone) {
                self.chosen.remove(prefix);
            }
        }
    }

    /// The dataplane has these prefixes, `tunnels` of which are tunnels' own.
    pub fn given(&mut self, prefixes: impl IntoIterator<Item = IpPrefix>, tunnels: &BTreeSet<IpPrefix>) {
        self.parts = prefixes.into_iter().filter(|prefix| !tunnels.contains(prefix)).collect();
    }

    /// Prefixes that a new profile brings: `outside` are those that have a better route than a tunnel's.
    pub fn begin(&mut self, prefixes: impl Iterator<Item = IpPrefix>, outside: &BTreeSet<IpPrefix>) {
        for prefix in prefixes.filter(|p| outside.contains(p)) {
            self.chosen.entry(prefix).or_insert(Chosen::Outside);
        }
    }

    /// Keeps the tunnels' prefixes and their parts; drops the rest.
    pub fn keep(&mut self, tunnels: &BTreeSet<IpPrefix>) {
        let inside = |prefix: &IpPrefix| covering(*prefix).any(|shorter| tunnels.contains(&shorter));
        self.chosen.retain(|prefix, _| tunnels.contains(prefix) || inside(prefix));
        self.parts.retain(|prefix| !tunnels.contains(prefix) && inside(prefix));
        let is_part = |(prefix, chosen): (&IpPrefix, &Chosen)| {
            let is = matches!(chosen, Chosen::Outside | Chosen::Discard) && !tunnels.contains(prefix);
            is.then_some(*prefix)
        };
        self.parts.extend(self.chosen.iter().filter_map(is_part));
    }
}

/// The shorter prefixes that cover this one, longest first.
fn covering(prefix: IpPrefix) -> impl Iterator<Item = IpPrefix> {
    (0..prefix.prefix_len()).rev().filter_map(move |len| match IpPrefix::new(prefix.addr(), len) {
        Ok(shorter) | Err(PrefixError::HostBits(shorter)) => Some(shorter),
        Err(_) => None,
    })
}

impl Core {
    pub(crate) fn routes_chosen(&mut self, decided: Vec<(IpPrefix, Chosen)>) {
        let prefixes: Vec<IpPrefix> = decided.iter().map(|(prefix, _)| *prefix).collect();
        self.routes.chosen.extend(decided);
        if self.change.is_some() {
            self.routes.deferred.extend(prefixes);
        } else {
            self.send_routes(prefixes);
        }
    }

    /// The change of the profile is over.
    pub(crate) fn send_deferred_routes(&mut self) {
        let deferred = std::mem::take(&mut self.routes.deferred);
        if !deferred.is_empty() {
            self.send_routes(deferred.into_iter().collect());
        }
    }

    fn send_routes(&mut self, prefixes: Vec<IpPrefix>) {
        // What is configured later is configured with what was chosen.
        if !matches!(self.dataplane, Dataplane::Ready | Dataplane::Configuring(_)) {
            let configured: BTreeSet<IpPrefix> = self.prefixes().collect();
            let foreign: Vec<IpPrefix> =
                prefixes.iter().filter(|p| !configured.contains(p)).copied().collect();
            self.routes.forget_gone(&foreign);
            self.out.push_back(Output::RoutesTaken(prefixes));
            return;
        }
        let wanted: BTreeSet<IpPrefix> = prefixes.iter().copied().collect();
        let there = self.tunnels.enumerated().filter(|(i, _)| !self.tunnels.is_leaving(*i));
        let owned = self.routes.owned(there.map(|(_, t)| t.config()));
        let owners: HashMap<IpPrefix, TunnelId> = owned
            .into_iter()
            .flat_map(|(id, list)| list.into_iter().map(move |prefix| (prefix, id)))
            .filter(|(prefix, _)| wanted.contains(prefix))
            .collect();
        let (known, unknown): (Vec<_>, Vec<_>) = prefixes.into_iter().partition(|p| owners.contains_key(p));
        self.routes.forget_gone(&unknown);
        let (removed, unknown): (Vec<_>, Vec<_>) =
            unknown.into_iter().partition(|p| self.routes.parts.remove(p));
        for part in removed.chunks(OPS_MAX) {
            let ops = part.iter().map(|prefix| Op::RouteRemove { prefix: *prefix }).collect();
            self.routes.asked.push_back(part.to_vec());
            self.transact(ops, Pending::Routes);
        }
        if !unknown.is_empty() {
            self.out.push_back(Output::RoutesTaken(unknown));
        }
        let configured: BTreeSet<IpPrefix> = self.prefixes().collect();
        self.routes.parts.extend(known.iter().filter(|prefix| !configured.contains(prefix)));
        for part in known.chunks(OPS_MAX) {
            let op = |prefix: &IpPrefix| Op::RouteAdd {
                prefix: *prefix,
                tunnel: owners[prefix],
                adjacency: self.routes.adjacency(*prefix),
            };
            let ops = part.iter().map(op).collect();
            self.routes.asked.push_back(part.to_vec());
            self.transact(ops, Pending::Routes);
        }
    }

    /// The dataplane has answered, or is gone: either way there is nothing to wait for.
    pub(crate) fn routes_answered(&mut self) {
        if let Some(prefixes) = self.routes.asked.pop_front() {
            self.out.push_back(Output::RoutesTaken(prefixes));
        }
    }

    pub(crate) fn routes_unanswered(&mut self) {
        while !self.routes.asked.is_empty() {
            self.routes_answered();
        }
    }
}
