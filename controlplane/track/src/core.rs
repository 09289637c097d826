//! The core: inputs change operations, devices and foreign routes; changes go through the track objects to the routes.

use crate::bfd;
use crate::check::{ConfigError, members, order};
use crate::config::{Config, Failback, NextHop, Route, Table, What};
use crate::event::{Cause, Event};
use crate::object::{Object, combine};
use crate::operation::{Operation, Outcome, Step};
use crate::places::{Dependents, Places};
use crate::rib::calls::Calls;
use crate::rib::{Drain, DrainEnd, Entry, KernelRoute, RouteChange, Traffic, World};
use crate::timer::{Owner, Timers};
use crate::view::{ForeignView, ObjectView, OperationView, RouteView, State};
use sipsec_net::{Entropy, Instant, IpPrefix};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

/// What the shell tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A probe has been answered, or has failed. Timeouts are the core's.
    ProbeEnded { operation: u32, probe: u64, outcome: Outcome },
    /// A BFD control packet that came with a TTL of 255 (RFC 5881 §5).
    Bfd { from: IpAddr, bytes: Vec<u8> },
    /// Whether a device exists and has a carrier, and the VRF device that it is in.
    Link { device: String, up: bool, vrf: Option<String> },
    /// All routes with this prefix that are not ours and forward, of the main table and of those that routes are in.
    Foreign { prefix: IpPrefix, routes: Vec<ForeignView> },
    /// A route of ours that the kernel has from an earlier run. Only before [`Input::Ready`].
    Adopt { prefix: IpPrefix, next: NextHop, device: Option<String>, metric: u32 },
    /// Devices, foreign routes and routes of an earlier run have been told. Nothing is routed before. The same after
    /// [`Core::reconfigure`].
    Ready,
    /// The kernel has refused a route.
    Refused { prefix: IpPrefix, route: KernelRoute, reason: String },
    /// The call of this tunnel has ended.
    CallEnded { tunnel: String },
    /// The answer to [`Output::QueryTraffic`]: when the tunnel last carried a packet. A tunnel of which that is not known is
    /// not quiet.
    Traffic { tunnel: String, last: Option<Instant> },
}

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a probe of this operation.
    Probe {
        operation: u32,
        probe: u64,
    },
    /// Send a BFD control packet of this operation.
    Bfd {
        operation: u32,
        bytes: Vec<u8>,
    },
    Route(RouteChange),
    /// The flows of this prefix that the tunnel carries stay in it from now on. In force before the change of the route that
    /// follows, which new flows take.
    Drain(Drain),
    /// They stay no longer.
    Drained {
        prefix: IpPrefix,
    },
    QueryTraffic {
        tunnel: String,
    },
    Event(Event),
}

/// Route policy of one gateway.
///
/// After each `handle_…` call, drain [`Core::poll_output`] until it is empty, then ask [`Core::poll_timeout`] when to call
/// [`Core::handle_timeout`].
pub struct Core {
    operations: Vec<Operation>,
    objects: Vec<Object>,
    entries: Vec<Entry>,
    places: Places,
    dependents: Dependents,
    failback: Failback,
    calls: Calls,
    links: HashMap<String, Link>,
    foreign: BTreeMap<IpPrefix, Vec<ForeignView>>,
    traffic: HashMap<String, Traffic>,
    /// When the call of each tunnel last ended.
    ended: HashMap<String, Instant>,
    ready: bool,
    /// The configuration is another one, and nothing is decided before the shell has told what it is about.
    held: bool,
    dirty: Dirty,
    timers: Timers,
    outputs: VecDeque<Output>,
    entropy: Box<dyn Entropy + Sync>,
    bfd_ignored: u64,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("objects", &self.objects)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default)]
struct Link {
    up: bool,
    vrf: Option<String>,
}

#[derive(Debug, Default)]
struct Dirty {
    /// By rank, so that each object is computed after all that it depends on.
    objects: BTreeSet<(usize, usize)>,
    prefixes: BTreeSet<usize>,
    /// Prefixes that wait for good probes, or for a tunnel to be quiet.
    waiting: BTreeSet<usize>,
}

impl Core {
    /// # Errors
    /// If the configuration is wrong.
    pub fn new(
        config: Config,
        now: Instant,
        mut entropy: Box<dyn Entropy + Sync>,
    ) -> Result<Self, ConfigError> {
        let places = Places::of(&config, order(&config)?);
        let Config { operations, objects, routes, failback } = config;
        let entries: Vec<_> = by_prefix(routes, &places)
            .into_iter()
            .map(|(prefix, routes)| Entry::with(prefix, routes, now))
            .collect();
        let operations = operations.into_iter().map(|o| Operation::new(o, now, &mut *entropy)).collect();
        let objects: Vec<_> = objects.into_iter().map(|o| Object::new(o, now)).collect();
        let mut core = Self {
            dependents: Dependents::of(&objects, &entries, &places),
            operations,
            objects,
            entries,
            places,
            failback,
            calls: Calls::new(failback.calls_per_hour),
            links: HashMap::new(),
            foreign: BTreeMap::new(),
            traffic: HashMap::new(),
            ended: HashMap::new(),
            ready: false,
            held: false,
            dirty: Dirty::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            entropy,
            bfd_ignored: 0,
        };
        for place in 0..core.operations.len() {
            core.rearm_operation(place);
        }
        for place in 0..core.objects.len() {
            core.touch_object(place);
        }
        core.settle(now);
        Ok(core)
    }

    /// Another configuration. What is in both keeps what was measured of it: the states, counters and penalties of operations
    /// and objects, and the routes that are installed. A route that is in the old one alone is withdrawn. Nothing else is
    /// decided before the next [`Input::Ready`], which the shell gives after it has told what the new one is about.
    ///
    /// # Errors
    /// If the configuration is wrong. The one before stays.
    pub fn reconfigure(&mut self, now: Instant, config: Config) -> Result<(), ConfigError> {
        let places = Places::of(&config, order(&config)?);
        let Config { operations, objects, routes, failback } = config;
        self.outputs.extend(
            self.entries
                .iter()
                .filter(|entry| !places.prefixes.contains_key(&entry.prefix()))
                .filter_map(Entry::withdrawn)
                .map(Output::Route),
        );
        for entry in self.entries.iter().filter(|entry| !places.prefixes.contains_key(&entry.prefix())) {
            if let Some(tunnel) = entry.withdrawn_drain() {
                let prefix = entry.prefix();
                self.outputs.push_back(Output::Drained { prefix });
                let because = DrainEnd::Route;
                self.outputs.push_back(Output::Event(Event::Drained { prefix, tunnel, because }));
            }
        }
        let mut before: HashMap<u32, _> =
            std::mem::take(&mut self.operations).into_iter().map(|o| (o.config().id, o)).collect();
        self.operations = operations
            .into_iter()
            .map(|config| match before.remove(&config.id) {
                Some(operation) => operation.reconfigured(config, now, &mut *self.entropy),
                None => Operation::new(config, now, &mut *self.entropy),
            })
            .collect();
        let mut before: HashMap<u32, _> =
            std::mem::take(&mut self.objects).into_iter().map(|o| (o.config().id, o)).collect();
        self.objects = objects
            .into_iter()
            .map(|config| match before.remove(&config.id) {
                Some(object) => object.reconfigured(config, now),
                None => Object::new(config, now),
            })
            .collect();
        let mut before: HashMap<IpPrefix, _> =
            std::mem::take(&mut self.entries).into_iter().map(|e| (e.prefix(), e)).collect();
        self.entries = by_prefix(routes, &places)
            .into_iter()
            .map(|(prefix, routes)| match before.remove(&prefix) {
                Some(entry) => entry.reconfigured(routes),
                None => Entry::with(prefix, routes, now),
            })
            .collect();
        self.dependents = Dependents::of(&self.objects, &self.entries, &places);
        self.places = places;
        self.failback = failback;
        self.calls.reconfigure(now, failback.calls_per_hour, self.entries.iter().filter_map(Entry::stand_in));
        let foreign = std::mem::take(&mut self.foreign);
        self.foreign = foreign.into_iter().filter(|(prefix, _)| self.concerns(*prefix)).collect();
        let tunnels: BTreeSet<&str> = self.entries.iter().flat_map(Entry::tunnels).collect();
        self.traffic.retain(|tunnel, _| tunnels.contains(tunnel.as_str()));
        self.ended.retain(|tunnel, _| tunnels.contains(tunnel.as_str()));
        self.timers = Timers::default();
        for place in 0..self.operations.len() {
            self.rearm_operation(place);
        }
        for place in 0..self.objects.len() {
            // What it publishes may be another state with another damping.
            self.timers.set(Owner::Object(place), Some(now));
        }
        self.dirty = Dirty::default();
        self.held = true;
        Ok(())
    }

    /// Whether changes of foreign routes with this prefix are of interest.
    #[must_use]
    pub fn concerns(&self, prefix: IpPrefix) -> bool {
        self.places.prefixes.contains_key(&prefix)
            || self.dependents.of_prefix.contains_key(&prefix)
            || self.dependents.next_hops.iter().any(|hop| prefix.contains(*hop))
    }

    /// The devices whose state is of interest. That of every other device may be told as well.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        let watched = self.dependents.of_device.keys().chain(self.dependents.routes_of_device.keys());
        watched.map(String::as_str)
    }

    fn entry(&self, prefix: &IpPrefix) -> Option<&Entry> {
        self.places.prefixes.get(prefix).and_then(|place| self.entries.get(*place))
    }

    /// The route with this prefix that the kernel was told to have.
    #[must_use]
    pub fn installed(&self, prefix: &IpPrefix) -> Option<&KernelRoute> {
        self.entry(prefix)?.installed()
    }

    /// Whether the kernel would prefer a route that is not ours, by its metric.
    #[must_use]
    pub fn foreign_used(&self, prefix: &IpPrefix) -> bool {
        self.entry(prefix).is_some_and(Entry::foreign_used)
    }

    /// The numbered tables in which routes are.
    pub fn tables(&self) -> impl Iterator<Item = u32> {
        self.entries.iter().filter_map(|entry| match entry.table() {
            Table::Number(number) => Some(*number),
            Table::Main | Table::Vrf(_) => None,
        })
    }

    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::ProbeEnded { operation, probe, outcome } => {
                if let Some(place) = self.places.operations.get(&operation).copied() {
                    let step = self.operations[place].ended(now, probe, outcome);
                    self.stepped(place, step);
                }
            }
            Input::Bfd { from, bytes } => self.bfd(now, from, &bytes),
            Input::Link { device, up, vrf } => self.link(device, Link { up, vrf }),
            Input::Foreign { prefix, routes } => self.foreign(prefix, routes),
            Input::Adopt { prefix, next, device, metric } => {
                let entry = self.places.prefixes.get(&prefix).and_then(|place| self.entries.get_mut(*place));
                if let Some(tunnel) = entry.and_then(|e| e.adopt(&next, device, metric)) {
                    self.calls.enter(&tunnel, now);
                }
            }
            Input::Ready => {
                (self.ready, self.held) = (true, false);
                self.dirty.prefixes.extend(0..self.entries.len());
                for place in 0..self.objects.len() {
                    self.touch_object(place);
                }
            }
            Input::Refused { prefix, route, reason } => {
                if let Some(place) = self.places.prefixes.get(&prefix).copied()
                    && self.entries[place].refused(&route, &reason, now)
                {
                    self.dirty.prefixes.insert(place);
                    self.event(Event::Refused { prefix, next: route.next, reason });
                }
            }
            Input::CallEnded { tunnel } => {
                // Tunnels without a route are not remembered.
                if self.entries.iter().any(|entry| entry.tunnels().any(|name| name == tunnel)) {
                    self.ended.insert(tunnel, now);
                    self.dirty.prefixes.extend(&self.dirty.waiting);
                }
            }
            Input::Traffic { tunnel, last } => {
                self.traffic.insert(tunnel, Traffic { last: last.unwrap_or(now), at: now });
                self.dirty.prefixes.extend(&self.dirty.waiting);
            }
        }
        self.settle(now);
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(owner) = self.timers.take(now) {
            match owner {
                Owner::Operation(place) => {
                    let step = self.operations[place].timeout(now, &mut *self.entropy);
                    self.stepped(place, step);
                }
                Owner::Object(place) => {
                    let from = self.objects[place].timeout(now);
                    self.object_changed(now, place, from, None);
                }
                Owner::Prefix(place) => {
                    self.dirty.prefixes.insert(place);
                }
            }
            self.settle(now);
        }
    }

    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn rearm_operation(&mut self, place: usize) {
        self.timers.set(Owner::Operation(place), self.operations[place].due());
    }

    fn touch_object(&mut self, place: usize) {
        self.dirty.objects.insert((self.places.ranks[place], place));
    }

    fn touch_all(&mut self, places: Option<Vec<usize>>) {
        for place in places.into_iter().flatten() {
            self.touch_object(place);
        }
    }

    /// Does what a step of an operation asks for.
    fn stepped(&mut self, place: usize, step: Step) {
        let id = self.operations[place].config().id;
        self.outputs.extend(step.send.into_iter().map(|probe| Output::Probe { operation: id, probe }));
        self.outputs.extend(step.bfd.into_iter().map(|bytes| Output::Bfd { operation: id, bytes }));
        self.rearm_operation(place);
        if step.changed {
            let operation = &self.operations[place];
            let event = Event::Operation {
                id,
                reachability: operation.reachability(),
                state: operation.state(),
                code: operation.last().0,
                evidence: operation.evidence(),
            };
            self.event(event);
            for at in 0..self.dependents.of_operation[place].len() {
                self.touch_object(self.dependents.of_operation[place][at]);
            }
        }
        if step.changed || step.good_in_row == Some(self.failback.good_probes) {
            self.dirty.prefixes.extend(&self.dirty.waiting);
        }
    }

    fn bfd(&mut self, now: Instant, from: IpAddr, bytes: &[u8]) {
        // RFC 5880 §6.8.6: by Your Discriminator, and without one by the source (RFC 5881 §3). Both must agree here: the
        // session has one neighbour.
        let place = self.places.neighbours.get(&from).copied();
        let Some(place) = place else {
            self.bfd_ignored += 1;
            return;
        };
        let Some(session) = &mut self.operations[place].bfd else { return };
        match bfd::Packet::read(bytes) {
            Ok(packet)
                if packet.your_discriminator == 0 || packet.your_discriminator == session.discriminator() =>
            {
                let step = self.operations[place].bfd_packet(now, &packet, &mut *self.entropy);
                self.stepped(place, step);
            }
            Ok(_) | Err(_) => session.packets_bad += 1,
        }
    }

    /// BFD packets of no neighbour.
    #[must_use]
    pub const fn bfd_ignored(&self) -> u64 {
        self.bfd_ignored
    }

    fn link(&mut self, device: String, link: Link) {
        self.touch_all(self.dependents.of_device.get(&device).cloned());
        let mut touched = self.dependents.routes_of_device.get(&device).cloned().unwrap_or_default();
        touched.extend(&self.dependents.with_next_hop);
        for place in touched {
            self.entries[place].forget_refusals();
            self.dirty.prefixes.insert(place);
        }
        self.links.insert(device, link);
    }

    fn foreign(&mut self, prefix: IpPrefix, routes: Vec<ForeignView>) {
        if !self.concerns(prefix) {
            return;
        }
        if let Some(place) = self.places.prefixes.get(&prefix).copied() {
            self.entries[place].set_foreign(routes.clone());
            self.entries[place].forget_refusals();
            self.dirty.prefixes.insert(place);
        }
        self.touch_all(self.dependents.of_prefix.get(&prefix).cloned());
        if self.dependents.next_hops.iter().any(|hop| prefix.contains(*hop)) {
            for place in &self.dependents.with_next_hop {
                self.entries[*place].forget_refusals();
                self.dirty.prefixes.insert(*place);
            }
        }
        if routes.is_empty() {
            self.foreign.remove(&prefix);
        } else {
            self.foreign.insert(prefix, routes);
        }
    }

    /// Computes everything that is dirty. It ends because no object depends on itself.
    fn settle(&mut self, now: Instant) {
        while !self.held {
            if let Some((_, place)) = self.dirty.objects.pop_first() {
                self.compute(now, place);
            } else if let Some(place) = self.dirty.prefixes.pop_first().filter(|_| self.ready) {
                self.route(now, place);
            } else {
                return;
            }
        }
    }

    fn compute(&mut self, now: Instant, place: usize) {
        let object = &self.objects[place];
        let (raw, cause) = match &object.config().what {
            What::Reachability { operation } => self.judged(*operation, Operation::reachability),
            What::OperationState { operation } => self.judged(*operation, Operation::state),
            What::LineProtocol { device } => {
                let state = match self.links.get(device).map(|link| link.up) {
                    Some(true) => State::Up,
                    Some(false) => State::Down,
                    None if self.ready => State::Down,
                    None => State::Unknown,
                };
                (state, Cause::Device { name: device.clone() })
            }
            What::RoutePresent { prefix } => {
                let ours = self.places.prefixes.get(prefix).map(|place| self.entries[*place].forwards());
                let foreign = self.foreign.get(prefix).into_iter().flatten();
                let present = ours.unwrap_or(false) || foreign.into_iter().any(|r| r.table == Table::Main);
                let state = match (present, self.ready) {
                    (true, _) => State::Up,
                    (false, true) => State::Down,
                    (false, false) => State::Unknown,
                };
                (state, Cause::Route { prefix: *prefix })
            }
            list => {
                let state = |id| self.object_state(id);
                let cause = Cause::Members {
                    up: members(list).filter(|m| state(*m) == State::Up).count(),
                    of: members(list).count(),
                };
                (combine(list, object.raw(), state), cause)
            }
        };
        let damped = object.suppressed();
        let from = self.objects[place].observe(now, raw);
        if !damped && self.objects[place].suppressed() {
            let view = self.objects[place].damping().map(|d| d.view(now));
            if let Some(view) = view {
                let for_s = view.reuse_in.map_or(0, |d| d.as_secs());
                self.event(Event::Damped {
                    id: self.objects[place].config().id,
                    penalty: view.penalty,
                    for_s,
                });
            }
        }
        self.object_changed(now, place, from, Some(cause));
    }

    fn judged(&self, id: u32, state: impl Fn(&Operation) -> State) -> (State, Cause) {
        let operation = self.places.operations.get(&id).map(|place| &self.operations[*place]);
        let (code, evidence) = operation.map(|o| (o.last().0, o.evidence())).unwrap_or_default();
        (operation.map_or(State::Down, state), Cause::Operation { id, code, evidence })
    }

    fn object_state(&self, id: u32) -> State {
        self.places.objects.get(&id).map_or(State::Unknown, |place| self.objects[*place].state())
    }

    fn object_changed(&mut self, now: Instant, place: usize, from: Option<State>, cause: Option<Cause>) {
        self.timers.set(Owner::Object(place), self.objects[place].due());
        let Some(from) = from else { return };
        let object = &self.objects[place];
        // After a delay, the cause is what the object still watches.
        let cause = cause.unwrap_or_else(|| match &object.config().what {
            What::Reachability { operation } | What::OperationState { operation } => {
                self.judged(*operation, Operation::state).1
            }
            What::LineProtocol { device } => Cause::Device { name: device.clone() },
            What::RoutePresent { prefix } => Cause::Route { prefix: *prefix },
            list => Cause::Members {
                up: members(list).filter(|m| self.object_state(*m) == State::Up).count(),
                of: members(list).count(),
            },
        });
        let _ = now;
        self.outputs.push_back(Output::Event(Event::Object {
            id: object.config().id,
            from,
            to: object.state(),
            cause,
        }));
        for at in 0..self.dependents.of_object[place].len() {
            self.touch_object(self.dependents.of_object[place][at]);
        }
        self.dirty.prefixes.extend(&self.dependents.routes_of_object[place]);
    }

    fn route(&mut self, now: Instant, place: usize) {
        let failback = self.failback;
        let mut entry = std::mem::replace(&mut self.entries[place], Entry::new(IpPrefix::ANY_V4, now));
        let forwarded = entry.forwards();
        let decision = entry.decide(now, &failback, &Surroundings { core: self, now });
        let prefix = entry.prefix();
        let forwards = entry.forwards();
        self.timers.set(Owner::Prefix(place), entry.due());
        if entry.waits_for_news() {
            self.dirty.waiting.insert(place);
        } else {
            self.dirty.waiting.remove(&place);
        }
        self.entries[place] = entry;
        if let Some(tunnel) = decision.leaves {
            self.calls.leave(&tunnel);
        }
        if let Some(tunnel) = decision.enters {
            self.calls.enter(&tunnel, now);
        }
        if let Some(drain) = decision.drains {
            let Drain { tunnel, until, .. } = drain.clone();
            self.outputs.push_back(Output::Drain(drain));
            self.event(Event::Drain { prefix, tunnel, at_most: until.saturating_duration_since(now) });
        }
        if let Some((to, wait)) = decision.wait {
            self.event(Event::Failback { prefix, to, wait });
        }
        if let Some(change) = decision.change {
            let next = |route: &Option<KernelRoute>| route.as_ref().map(|r| r.next.clone());
            let (from, to) = (next(&change.from), next(&change.to));
            self.outputs.push_back(Output::Route(change));
            if from != to {
                self.event(Event::Route { prefix, from, to, because: decision.because });
            }
        }
        if let Some((tunnel, because)) = decision.drained {
            self.outputs.push_back(Output::Drained { prefix });
            self.event(Event::Drained { prefix, tunnel, because });
        }
        if let Some(tunnel) = decision.ask {
            self.outputs.push_back(Output::QueryTraffic { tunnel });
        }
        if forwards != forwarded {
            self.touch_all(self.dependents.of_prefix.get(&prefix).cloned());
        }
    }

    #[must_use]
    pub fn operation_views(&self) -> Vec<OperationView> {
        let mut views: Vec<_> = self.operations.iter().map(Operation::view).collect();
        views.sort_by_key(|v| v.config.id);
        views
    }

    #[must_use]
    pub fn object_views(&self, now: Instant) -> Vec<ObjectView> {
        let mut views: Vec<_> = (0..self.objects.len()).map(|place| self.object_view(place, now)).collect();
        views.sort_by_key(|v| v.id);
        views
    }

    fn object_view(&self, place: usize, now: Instant) -> ObjectView {
        let object = &self.objects[place];
        let config = object.config();
        let last = match config.what {
            What::Reachability { operation } | What::OperationState { operation } => {
                self.places.operations.get(&operation).map(|place| self.operations[*place].last())
            }
            _ => None,
        };
        let routes = self.dependents.routes_of_object[place].iter();
        let lists = self.dependents.of_object[place].iter();
        ObjectView {
            id: config.id,
            what: config.what.clone(),
            state: object.state(),
            since: object.since(),
            changes: object.changes(),
            raw: object.raw(),
            delay_up: config.delay_up,
            delay_down: config.delay_down,
            delayed: object.pending(),
            damping: object.damping().map(|d| d.view(now)),
            return_code: last.map(|(code, _)| code),
            rtt: last.and_then(|(_, rtt)| rtt),
            routes: routes.map(|place| self.entries[*place].prefix()).collect(),
            members_of: lists.map(|place| self.objects[*place].config().id).collect(),
        }
    }

    #[must_use]
    pub fn route_views(&self) -> Vec<RouteView> {
        let mut views: Vec<_> = self.entries.iter().map(Entry::view).collect();
        views.sort_by_key(|v| v.prefix);
        views
    }
}

/// The routes of each prefix, in the order of the places.
fn by_prefix(routes: Vec<Route>, places: &Places) -> Vec<(IpPrefix, Vec<Route>)> {
    let mut out: Vec<(IpPrefix, Vec<Route>)> = Vec::with_capacity(places.prefixes.len());
    for route in routes {
        let place = places.prefixes[&route.prefix];
        if place == out.len() {
            out.push((route.prefix, Vec::new()));
        }
        out[place].1.push(route);
    }
    out
}

/// The core as the routes see it.
struct Surroundings<'a> {
    core: &'a Core,
    now: Instant,
}

impl World for Surroundings<'_> {
    fn track(&self, id: u32) -> State {
        self.core.object_state(id)
    }

    fn device_up(&self, device: &str) -> bool {
        self.core.links.get(device).is_some_and(|link| link.up)
    }

    fn connected(&self, next_hop: IpAddr, by: Option<&str>, table: &Table) -> Option<String> {
        let longest = if next_hop.is_ipv4() { 32 } else { 128 };
        // Connected routes are in the table of their device. A table that rules lead to has none.
        let vrf = match (by, table) {
            (Some(by), _) => self.core.links.get(by).and_then(|link| link.vrf.as_deref()),
            (None, Table::Vrf(vrf)) => Some(vrf.as_str()),
            (None, Table::Main | Table::Number(_)) => None,
        };
        let table = vrf.map_or(Table::Main, |vrf| Table::Vrf(vrf.to_owned()));
        let routes = (0..=longest).rev().find_map(|len| {
            let prefix = match IpPrefix::new(next_hop, len) {
                Ok(prefix) | Err(sipsec_net::prefix::PrefixError::HostBits(prefix)) => prefix,
                Err(_) => return None,
            };
            let here = self.core.foreign.get(&prefix)?.iter().filter(|r| r.table == table);
            let here: Vec<&ForeignView> = here.collect();
            (!here.is_empty()).then_some(here)
        })?;
        // A next hop behind another next hop is not on the link.
        let usable = |r: &&&ForeignView| {
            let fits = |device: &str| self.device_up(device) && by.is_none_or(|by| by == device);
            r.via.is_none() && r.device.as_deref().is_some_and(fits)
        };
        routes.iter().filter(usable).min_by_key(|r| r.metric).and_then(|r| r.device.clone())
    }

    /// Of operations that are up; one that is down says nothing in favour, and the object is up without it.
    fn probes_missing(&self, track: u32) -> u32 {
        let mut seen = BTreeSet::new();
        let mut stack = vec![track];
        let mut missing = 0;
        while let Some(place) = stack.pop().and_then(|id| self.core.places.objects.get(&id)) {
            if !seen.insert(*place) {
                continue;
            }
            match &self.core.objects[*place].config().what {
                What::Reachability { operation } | What::OperationState { operation } => {
                    let operation = self.core.places.operations.get(operation);
                    let operation = operation.map(|place| &self.core.operations[*place]);
                    if let Some(up) = operation.filter(|o| o.reachability() == State::Up) {
                        missing =
                            missing.max(self.core.failback.good_probes.saturating_sub(up.good_in_row()));
                    }
                }
                list => stack.extend(members(list)),
            }
        }
        missing
    }

    fn calls_exhausted(&self, tunnel: &str) -> Option<Instant> {
        self.core.calls.exhausted_until(tunnel, self.now)
    }

    fn traffic(&self, tunnel: &str) -> Option<Traffic> {
        self.core.traffic.get(tunnel).copied()
    }

    fn ended(&self, tunnel: &str) -> Option<Instant> {
        self.core.ended.get(tunnel).copied()
    }
}
