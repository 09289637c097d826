//! All routes with one prefix, and which of them is installed.
//!
//! ```text
//!   track object, device, next hop ──> standing of each candidate ──> the least distance ──> installed
//!                                      └─ back from a worse one: hold, good probes, calls, drain
//! ```

pub(crate) mod calls;
mod drain;

pub use drain::{Drain, DrainEnd};

use crate::config::{Failback, Flows, NextHop, Route, Table};
use crate::view::{CandidateView, FailbackWait, ForeignView, RouteView, State, WhyNot};
use drain::Draining;
use sipsec_net::{Instant, IpPrefix};
use std::net::IpAddr;
use std::time::Duration;

/// A route that the kernel has refused is tried again after this time.
const REFUSED_RETRY: Duration = Duration::from_secs(5);

/// What a decision depends on outside of the entry.
pub(crate) trait World {
    fn track(&self, id: u32) -> State;
    fn device_up(&self, device: &str) -> bool;
    /// The device by which a connected route leads to this next hop: only this one if one is named, which may be in another VRF
    /// than the route of this table.
    fn connected(&self, next_hop: IpAddr, by: Option<&str>, table: &Table) -> Option<String>;
    /// Good probes that are missing behind this track object.
    fn probes_missing(&self, track: u32) -> u32;
    fn calls_exhausted(&self, tunnel: &str) -> Option<Instant>;
    fn traffic(&self, tunnel: &str) -> Option<Traffic>;
    /// When the call of this tunnel last ended, as far as it was told.
    fn ended(&self, tunnel: &str) -> Option<Instant>;
}

/// What is known of a tunnel's traffic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// When it last carried a packet,
    pub last: Instant,
    /// as was found out then.
    pub at: Instant,
}

/// A route as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRoute {
    pub next: NextHop,
    pub table: Table,
    /// The device that leads to a next hop.
    pub device: Option<String>,
    pub metric: u32,
}

/// What becomes of the route with this prefix. The new one must be there before the old one is removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    pub prefix: IpPrefix,
    pub from: Option<KernelRoute>,
    pub to: Option<KernelRoute>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    prefix: IpPrefix,
    /// By distance; those of one distance as configured.
    candidates: Vec<Candidate>,
    foreign: Vec<ForeignView>,
    installed: Option<(usize, KernelRoute)>,
    /// Installed, and no longer a candidate.
    leftover: Option<KernelRoute>,
    since: Instant,
    changes: u64,
    drain_since: Option<Instant>,
    draining: Option<Draining>,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Candidate {
    route: Route,
    usable_since: Option<Instant>,
    refused: Option<(String, Instant)>,
    why_not: WhyNot,
}

enum Standing {
    Usable(Option<String>),
    /// Its track object does not know yet.
    Likely(Option<String>),
    Not(WhyNot),
}

/// What a decision has changed.
#[derive(Debug, Default)]
pub(crate) struct Decision {
    pub change: Option<RouteChange>,
    pub because: Option<WhyNot>,
    /// The tunnel that traffic has moved to, or left, as a stand-in for a better route.
    pub enters: Option<String>,
    pub leaves: Option<String>,
    /// A wait that has begun.
    pub wait: Option<(NextHop, FailbackWait)>,
    /// Ask when this tunnel last carried a packet.
    pub ask: Option<String>,
    /// Flows stay in a tunnel from now on.
    pub drains: Option<Drain>,
    /// They do so no longer.
    pub drained: Option<(String, DrainEnd)>,
}

impl Entry {
    pub fn new(prefix: IpPrefix, now: Instant) -> Self {
        Self {
            prefix,
            candidates: Vec::new(),
            foreign: Vec::new(),
            installed: None,
            leftover: None,
            since: now,
            changes: 0,
            drain_since: None,
            draining: None,
            due: None,
        }
    }

    pub fn with(prefix: IpPrefix, mut routes: Vec<Route>, now: Instant) -> Self {
        routes.sort_by_key(|r| r.distance);
        let candidate = |route| Candidate {
            route,
            usable_since: None,
            refused: None,
            why_not: WhyNot::Distance { better: 0 },
        };
        Self { candidates: routes.into_iter().map(candidate).collect(), ..Self::new(prefix, now) }
    }

    /// The same prefix with other candidates. Those that stay keep what is known of them, and what is installed stays so until
    /// the next decision.
    pub fn reconfigured(self, routes: Vec<Route>) -> Self {
        let mut out = Self::with(self.prefix, routes, self.since);
        for candidate in &mut out.candidates {
            let same = |c: &&Candidate| {
                (&c.route.next, c.route.track) == (&candidate.route.next, candidate.route.track)
            };
            if let Some(known) = self.candidates.iter().find(same) {
                (candidate.usable_since, candidate.refused) = (known.usable_since, known.refused.clone());
            }
        }
        if let Some(route) = self.installed.map(|(_, route)| route).or(self.leftover) {
            let fits = |c: &Candidate| {
                (&c.route.next, &c.route.table) == (&route.next, &route.table)
                    && metric_of(&c.route) == route.metric
            };
            match out.candidates.iter().position(fits) {
                Some(place) => (out.installed, out.drain_since) = (Some((place, route)), self.drain_since),
                None => out.leftover = Some(route),
            }
        }
        Self { foreign: self.foreign, changes: self.changes, draining: self.draining, ..out }
    }

    /// What becomes of the kernel's route when the prefix is no longer configured.
    pub fn withdrawn(&self) -> Option<RouteChange> {
        let installed = self.installed.as_ref().map(|(_, route)| route);
        let from = installed.or(self.leftover.as_ref()).cloned()?;
        Some(RouteChange { prefix: self.prefix, from: Some(from), to: None })
    }

    /// The tunnel that stands in for a better route now, or that flows have stayed in.
    pub fn stand_in(&self) -> Option<String> {
        let installed = self.installed.as_ref().and_then(|(place, _)| self.stands_in(*place));
        installed.or_else(|| self.draining.as_ref().map(|draining| draining.tunnel().to_owned()))
    }

    /// Flows that have stayed in a tunnel, and until when at most.
    pub fn draining(&self) -> Option<Drain> {
        self.draining.as_ref().map(|draining| draining.of(self.prefix))
    }

    pub fn tunnels(&self) -> impl Iterator<Item = &str> {
        self.candidates.iter().filter_map(|c| match &c.route.next {
            NextHop::Tunnel(name) => Some(name.as_str()),
            NextHop::Via { .. } | NextHop::Device(_) | NextHop::Discard => None,
        })
    }

    pub const fn prefix(&self) -> IpPrefix {
        self.prefix
    }

    pub const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.candidates.iter().map(|c| &c.route)
    }

    /// The table of its routes.
    pub fn table(&self) -> &Table {
        self.candidates.first().map_or(&Table::Main, |c| &c.route.table)
    }

    /// Routes of all tables; only those of its own table are kept.
    pub fn set_foreign(&mut self, mut routes: Vec<ForeignView>) {
        routes.retain(|route| route.table == *self.table());
        self.foreign = routes;
    }

    /// Whether a wait ends with a probe or with the word of a tunnel's traffic.
    pub fn waits_for_news(&self) -> bool {
        let waits = |c: &Candidate| {
            matches!(c.why_not, WhyNot::Failback(FailbackWait::Probes { .. } | FailbackWait::Drain { .. }))
        };
        self.draining.is_some() || self.candidates.iter().any(waits)
    }

    /// What the kernel was told to have.
    pub fn installed(&self) -> Option<&KernelRoute> {
        self.installed.as_ref().map(|(_, route)| route)
    }

    /// Whether the kernel prefers a foreign route, because its metric is less.
    pub fn foreign_used(&self) -> bool {
        // IPv6 has no metric 0: the kernel takes 1024 for it.
        let ours = self.installed().map(|r| match r.metric {
            0 if self.prefix.addr().is_ipv6() => 1024,
            metric => metric,
        });
        self.foreign.iter().any(|f| ours.is_none_or(|metric| f.metric < metric))
    }

    /// Whether a packet for the prefix is forwarded.
    pub fn forwards(&self) -> bool {
        !self.foreign.is_empty() || self.installed.as_ref().is_some_and(|(_, r)| r.next != NextHop::Discard)
    }

    /// The kernel has this route of an earlier run.
    pub fn adopt(&mut self, next: &NextHop, device: Option<String>, metric: u32) -> Option<String> {
        if self.installed.is_some() {
            return None;
        }
        let fits = |c: &Candidate| c.route.next == *next && metric_of(&c.route) == metric;
        let place = self.candidates.iter().position(fits)?;
        let device = device.filter(|_| matches!(next, NextHop::Via { .. }));
        let table = self.candidates[place].route.table.clone();
        self.installed = Some((place, KernelRoute { next: next.clone(), table, device, metric }));
        self.stands_in(place)
    }

    /// Returns whether a candidate is meant.
    pub fn refused(&mut self, route: &KernelRoute, reason: &str, now: Instant) -> bool {
        let fits = |c: &Candidate| c.route.next == route.next && metric_of(&c.route) == route.metric;
        let Some(place) = self.candidates.iter().position(fits) else { return false };
        self.candidates[place].refused = Some((reason.to_owned(), now + REFUSED_RETRY));
        true
    }

    /// Something has changed that may have been the reason of refusals.
    pub fn forget_refusals(&mut self) {
        for candidate in &mut self.candidates {
            candidate.refused = None;
        }
    }

    /// The tunnel of a candidate that stands in for a better one.
    fn stands_in(&self, place: usize) -> Option<String> {
        let route = &self.candidates.get(place)?.route;
        match &route.next {
            NextHop::Tunnel(name) if self.candidates[0].route.distance < route.distance => Some(name.clone()),
            _ => None,
        }
    }

    /// Chooses, and says what has changed.
    pub fn decide(&mut self, now: Instant, failback: &Failback, world: &impl World) -> Decision {
        self.due = None;
        let standings: Vec<Standing> = self.candidates.iter().map(|c| standing(c, now, world)).collect();
        for (candidate, standing) in self.candidates.iter_mut().zip(&standings) {
            match &candidate.refused {
                Some((_, retry)) if *retry > now => {
                    self.due = Some(self.due.map_or(*retry, |due| due.min(*retry)));
                }
                _ => candidate.refused = None,
            }
            candidate.usable_since = match standing {
                Standing::Usable(_) => candidate.usable_since.or(Some(now)),
                Standing::Likely(_) | Standing::Not(_) => None,
            };
        }
        let possible = |place: &usize| !matches!(standings.get(*place), None | Some(Standing::Not(_)));
        let current = self.installed.as_ref().map(|(place, _)| *place).filter(possible);
        let mut decision = Decision::default();
        let mut waits = None;
        let chosen = match current {
            None => (0..standings.len()).find(possible),
            Some(current) => {
                let distance = self.candidates[current].route.distance;
                let better = (0..current).find(|place| {
                    matches!(standings[*place], Standing::Usable(_))
                        && self.candidates[*place].route.distance < distance
                });
                match better {
                    None => Some(current),
                    Some(better) => match self.wait(better, current, now, failback, world, &mut decision) {
                        None => Some(better),
                        Some(wait) => {
                            waits = Some((better, wait));
                            Some(current)
                        }
                    },
                }
            }
        };
        if waits.is_none() {
            self.drain_since = None;
        }
        self.explain(&standings, chosen, waits, &mut decision);
        self.install(&standings, chosen, now, &mut decision);
        self.drain(now, failback, world, current.is_some(), &mut decision);
        decision
    }

    /// What a return to a better route waits for.
    fn wait(
        &mut self,
        better: usize,
        current: usize,
        now: Instant,
        failback: &Failback,
        world: &impl World,
        decision: &mut Decision,
    ) -> Option<FailbackWait> {
        let candidate = &self.candidates[better];
        let until = candidate.usable_since.unwrap_or(now) + failback.hold;
        if until > now {
            return Some(self.wake(until, FailbackWait::Hold { until }));
        }
        let missing = candidate.route.track.map_or(0, |track| world.probes_missing(track));
        if missing > 0 {
            return Some(FailbackWait::Probes { missing });
        }
        let NextHop::Tunnel(tunnel) = self.candidates[current].route.next.clone() else { return None };
        if let Some(until) = world.calls_exhausted(&tunnel) {
            return Some(self.wake(until, FailbackWait::Calls { until }));
        }
        let Flows::Drain { quiet, wait, each } = failback.flows else { return None };
        if each && drain::is_apart(&self.candidates[better].route.next) {
            return None;
        }
        let since = *self.drain_since.get_or_insert(now);
        let until = since + wait;
        if until <= now {
            return None;
        }
        let ask_at = drain::ask_again(&tunnel, since, quiet, now, world, decision)?;
        Some(self.wake(ask_at.min(until), FailbackWait::Drain { until }))
    }

    fn wake(&mut self, at: Instant, wait: FailbackWait) -> FailbackWait {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        wait
    }

    fn explain(
        &mut self,
        standings: &[Standing],
        chosen: Option<usize>,
        waits: Option<(usize, FailbackWait)>,
        decision: &mut Decision,
    ) {
        let better = chosen.map_or(0, |place| self.candidates[place].route.distance);
        for (place, (candidate, standing)) in self.candidates.iter_mut().zip(standings).enumerate() {
            let why_not = match standing {
                Standing::Not(why) => why.clone(),
                _ if chosen == Some(place) => WhyNot::Best,
                _ => match (&waits, candidate.route.track) {
                    (Some((waiting, wait)), _) if *waiting == place => WhyNot::Failback(*wait),
                    (_, Some(id)) if matches!(standing, Standing::Likely(_)) => {
                        WhyNot::Track { id, state: State::Unknown }
                    }
                    _ => WhyNot::Distance { better },
                },
            };
            if let WhyNot::Failback(wait) = why_not
                && !matches!(&candidate.why_not, WhyNot::Failback(before) if same_kind(before, &wait))
            {
                decision.wait = Some((candidate.route.next.clone(), wait));
            }
            candidate.why_not = why_not;
        }
    }

    fn install(
        &mut self,
        standings: &[Standing],
        chosen: Option<usize>,
        now: Instant,
        decision: &mut Decision,
    ) {
        let wanted = chosen.map(|place| {
            let route = &self.candidates[place].route;
            let device = match &standings[place] {
                Standing::Usable(device) | Standing::Likely(device) => device.clone(),
                Standing::Not(_) => None,
            };
            let (next, table) = (route.next.clone(), route.table.clone());
            (place, KernelRoute { next, table, device, metric: metric_of(route) })
        });
        if wanted == self.installed && self.leftover.is_none() {
            return;
        }
        let from = std::mem::replace(&mut self.installed, wanted);
        let (was, is) = (from.as_ref().map(|(p, _)| *p), chosen);
        let from = from.map(|(_, route)| route).or(self.leftover.take());
        if was != is {
            (self.since, self.changes) = (now, self.changes + 1);
            decision.because = was.map(|place| self.candidates[place].why_not.clone());
            decision.leaves = was.and_then(|place| self.stands_in(place));
            decision.enters = is.and_then(|place| self.stands_in(place));
        }
        let to = self.installed.as_ref().map(|(_, route)| route.clone());
        decision.change = Some(RouteChange { prefix: self.prefix, from, to });
    }

    pub fn view(&self) -> RouteView {
        let candidate = |c: &Candidate| CandidateView {
            next: c.route.next.clone(),
            distance: c.route.distance,
            metric: metric_of(&c.route),
            track: c.route.track,
            name: c.route.name.clone(),
            why_not: c.why_not.clone(),
        };
        RouteView {
            prefix: self.prefix,
            table: self.table().clone(),
            candidates: self.candidates.iter().map(candidate).collect(),
            foreign_used: self.foreign_used(),
            foreign: self.foreign.clone(),
            draining: self.draining(),
            since: self.since,
            changes: self.changes,
        }
    }
}

pub(crate) fn metric_of(route: &Route) -> u32 {
    route.metric.unwrap_or_else(|| route.distance.into())
}

const fn same_kind(a: &FailbackWait, b: &FailbackWait) -> bool {
    matches!(
        (a, b),
        (FailbackWait::Hold { .. }, FailbackWait::Hold { .. })
            | (FailbackWait::Probes { .. }, FailbackWait::Probes { .. })
            | (FailbackWait::Drain { .. }, FailbackWait::Drain { .. })
            | (FailbackWait::Calls { .. }, FailbackWait::Calls { .. })
    )
}

fn standing(candidate: &Candidate, now: Instant, world: &impl World) -> Standing {
    if let Some((reason, retry)) = &candidate.refused
        && *retry > now
    {
        return Standing::Not(WhyNot::Refused { reason: reason.clone() });
    }
    let table = &candidate.route.table;
    if let Table::Vrf(vrf) = table
        && !world.device_up(vrf)
    {
        return Standing::Not(WhyNot::DeviceDown { device: vrf.clone() });
    }
    let device = match &candidate.route.next {
        NextHop::Device(device) if !world.device_up(device) => {
            return Standing::Not(WhyNot::DeviceDown { device: device.clone() });
        }
        NextHop::Via { hop, device } => match world.connected(*hop, device.as_deref(), table) {
            None => return Standing::Not(WhyNot::Unresolved { next_hop: *hop }),
            device => device,
        },
        NextHop::Device(_) | NextHop::Tunnel(_) | NextHop::Discard => None,
    };
    let Some(id) = candidate.route.track else { return Standing::Usable(device) };
    match world.track(id) {
        State::Up => Standing::Usable(device),
        State::Unknown => Standing::Likely(device),
        state => Standing::Not(WhyNot::Track { id, state }),
    }
}
