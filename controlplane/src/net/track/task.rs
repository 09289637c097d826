//! The task that owns the core of route policy.

use super::parts::Parts;
use super::probes::Probes;
use super::view;
use super::watch::{KernelWatch, Report};
use super::{Change, Command, List, Policy, Setup, StartError};
use crate::api::Reply;
use crate::api::policy::PrefixRoutes;
use crate::clock;
use crate::entropy::KernelEntropy;
use crate::net::drain::{self, Drains};
use crate::net::netlink::{RouteSink, Target, Wanted, message};
use sipsec_net::{Instant, IpPrefix};
use sipsec_track::config::{NextHop, Route, Table};
use sipsec_track::{Config, Core, Drain, Input, KernelRoute, Output, RouteChange};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

/// Results of probes that may wait.
const RESULTS: usize = 16 * 1024;
/// Inputs taken before the others have their turn.
const BATCH: usize = 256;
/// After lost reports, or a change of a device, the kernel is looked at again, but not more often than this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After a failure of netlink.
const RETRY: Duration = Duration::from_secs(1);

/// The ends of the loop's channels.
#[derive(Debug)]
pub struct Ends {
    pub commands: mpsc::Receiver<Command>,
    pub policy: watch::Receiver<Policy>,
    pub changes: mpsc::Sender<Change>,
}

#[derive(Debug)]
pub struct Task {
    core: Core,
    svti: Option<String>,
    /// Devices of single tunnels.
    devices: BTreeMap<String, String>,
    /// Host mode: flows that stay in tunnels.
    drains: Option<Drains>,
    /// The gateway stops, and no flow stays any more.
    stopped: bool,
    routes: HashMap<IpPrefix, Vec<Route>>,
    probes: Probes,
    watch: KernelWatch,
    parts: Parts,
    sink: RouteSink,
    ends: Ends,
    results: mpsc::Receiver<Input>,
    stage: Stage,
    look_at: Option<Instant>,
    looked_at: Instant,
}

/// What the core waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Devices, and all routes, with those of an earlier run.
    Start,
    /// Those that its new configuration is about.
    Changed,
    Ready,
}

fn by_prefix(config: &Config) -> HashMap<IpPrefix, Vec<Route>> {
    let mut routes: HashMap<IpPrefix, Vec<Route>> = HashMap::new();
    for route in &config.routes {
        routes.entry(route.prefix).or_default().push(route.clone());
    }
    routes
}

impl Task {
    pub fn new(setup: Setup, sink: RouteSink, ends: Ends) -> Result<Self, StartError> {
        let (sender, results) = mpsc::channel(RESULTS);
        let Policy { config, devices, taken, drain } = setup.policy;
        let routes = by_prefix(&config);
        let now = clock::now();
        let keeps =
            |svti: &String| drain::Setup { svti: svti.clone(), table: setup.drain_table, rules: drain };
        let drains = setup.svti.as_ref().map(keeps);
        Ok(Self {
            probes: Probes::new(&config.operations, sender),
            core: Core::new(config, now, Box::new(KernelEntropy::new()))?,
            svti: setup.svti,
            devices,
            drains: drains.map(Drains::start),
            stopped: false,
            routes,
            watch: KernelWatch::open()?,
            parts: Parts::new(taken.0, taken.1),
            sink,
            ends,
            results,
            stage: Stage::Start,
            look_at: Some(now),
            looked_at: now,
        })
    }

    /// Runs until the loop has ended.
    pub async fn run(mut self) {
        while !self.ends.changes.is_closed() {
            self.look_if_due().await;
            self.drain().await;
            let timeout = self.core.poll_timeout().into_iter().chain(self.look_at).min();
            let sleep = async {
                match timeout {
                    Some(at) => sleep_until(clock::wake_at(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                report = self.watch.next() => match report {
                    Ok(Report::Messages(messages)) => {
                        for message in messages {
                            let inputs = self.watch.take(&message, &self.core, &self.parts);
                            if inputs.iter().any(|i| matches!(i, Input::Link { .. })) {
                                self.look_soon(LOOK_AGAIN);
                            }
                            self.inputs(inputs).await;
                        }
                    }
                    Ok(Report::Overrun) => self.look_soon(LOOK_AGAIN),
                    Err(error) => {
                        tracing::warn!(%error, "the kernel's reports have ended and are asked for again");
                        self.reopen().await;
                    }
                },
                Some(result) = self.results.recv() => {
                    self.inputs(vec![result]).await;
                    for _ in 0..BATCH {
                        match self.results.try_recv() {
                            Ok(result) => self.inputs(vec![result]).await,
                            Err(_) => break,
                        }
                    }
                }
                Ok(()) = self.ends.policy.changed() => self.reconfigure(),
                command = self.ends.commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => return,
                },
                () = sleep => self.core.handle_timeout(clock::now()),
            }
        }
    }

    fn reconfigure(&mut self) {
        let Policy { config, devices, taken, drain } = self.ends.policy.borrow_and_update().clone();
        let (operations, routes) = (config.operations.clone(), by_prefix(&config));
        if let Err(error) = self.core.reconfigure(clock::now(), config) {
            // It was checked before it was sent.
            tracing::error!(%error, "route policy stays as it was");
            return;
        }
        self.probes.reconfigure(&operations);
        (self.routes, self.devices) = (routes, devices);
        self.parts.set(taken.0, taken.1);
        if let Some(drains) = self.drains.as_ref().filter(|_| !self.stopped) {
            drains.set_rules(drain);
        }
        if self.stage == Stage::Ready {
            self.stage = Stage::Changed;
        }
        self.look_at = Some(clock::now());
    }

    fn look_soon(&mut self, after: Duration) {
        let at = (self.looked_at + after).max(clock::now() + Duration::from_millis(50));
        self.look_at = Some(self.look_at.map_or(at, |planned| planned.min(at)));
    }

    async fn reopen(&mut self) {
        tokio::time::sleep(RETRY).await;
        match KernelWatch::open() {
            Ok(watch) => {
                self.watch = watch;
                self.look_soon(Duration::ZERO);
            }
            Err(error) => tracing::warn!(%error, "no netlink socket"),
        }
    }

    async fn look_if_due(&mut self) {
        let now = clock::now();
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.look_at = None;
        self.looked_at = now;
        let looked = self.watch.look(&self.core, &self.parts).await;
        let starts = self.stage == Stage::Start;
        let adopted = if starts { self.watch.ours().await } else { Ok(Vec::new()) };
        match (looked, adopted) {
            (Ok(inputs), Ok(ours)) => {
                self.inputs(inputs).await;
                let adopt: Vec<_> =
                    ours.into_iter().filter_map(|(route, dev)| self.adopt(&route, dev)).collect();
                self.keep(&adopt);
                self.inputs(adopt).await;
                if self.stage != Stage::Ready {
                    self.stage = Stage::Ready;
                    self.inputs(vec![Input::Ready]).await;
                }
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "the kernel's routing cannot be read and is asked again");
                if error.is_fatal() {
                    self.reopen().await;
                } else {
                    self.look_soon(RETRY);
                }
            }
        }
    }

    /// The configured route that a route of an earlier run is.
    fn adopt(&self, present: &message::Present, device: Option<String>) -> Option<Input> {
        let v6 = present.prefix.addr().is_ipv6();
        let table = self.watch.table(present.table)?;
        let fits = |route: &&Route| {
            let metric = route.metric.unwrap_or_else(|| route.distance.into());
            let next = match &route.next {
                NextHop::Tunnel(name) => {
                    device.is_some() && device.as_ref() == self.devices.get(name).or(self.svti.as_ref())
                }
                NextHop::Device(name) => device.as_ref() == Some(name) && present.via.is_none(),
                NextHop::Via { hop, .. } => present.via == Some(*hop),
                NextHop::Discard => present.discards,
            };
            next && route.table == table && message::kernel_metric(v6, metric) == present.metric
        };
        let route = self.routes.get(&present.prefix)?.iter().find(fits)?;
        let metric = route.metric.unwrap_or_else(|| route.distance.into());
        Some(Input::Adopt { prefix: route.prefix, next: route.next.clone(), device, metric })
    }

    /// Routes of an earlier run stay wanted until they are decided otherwise: what takes them out of the kernel (a device that is
    /// made anew) does not change the decision, which is not told a second time.
    fn keep(&self, adopted: &[Input]) {
        for input in adopted {
            let Input::Adopt { prefix, next, device, metric } = input else { continue };
            let table = self.table(prefix);
            let route = KernelRoute { next: next.clone(), table, device: device.clone(), metric: *metric };
            let ours = |wanted: &Wanted| self.svti.is_some() || wanted.table != Table::Main;
            if let Some(wanted) = self.wanted(&route).filter(ours) {
                self.sink.route(*prefix, Some(wanted));
            }
        }
    }

    async fn inputs(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            if let Input::Foreign { prefix, routes } = &input
                && !self.routes.contains_key(prefix)
                && let Some(change) = self.parts.foreign(*prefix, routes)
            {
                let _ = self.ends.changes.send(change).await;
            }
            let foreign = match &input {
                Input::Foreign { prefix, .. } => Some((*prefix, self.core.foreign_used(prefix))),
                _ => None,
            };
            self.core.handle_input(clock::now(), input);
            self.drain().await;
            let changed = foreign.filter(|(prefix, before)| self.core.foreign_used(prefix) != *before);
            // At the start everything is decided once all is known.
            if let Some((prefix, _)) = changed.filter(|_| self.svti.is_none() && self.stage != Stage::Start) {
                self.route(prefix, self.core.installed(&prefix).cloned()).await;
            }
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Traffic { tunnel, last } => self.inputs(vec![Input::Traffic { tunnel, last }]).await,
            Command::Refused { prefix, wanted, reason } => {
                let candidates = self.routes.get(&prefix).into_iter().flatten();
                let next = candidates.map(|r| &r.next).find(|next| match (next, &wanted.target) {
                    (NextHop::Device(a), Target::Device(b)) => a == b,
                    (NextHop::Via { hop: a, .. }, Target::Via { hop: b, .. }) => a == b,
                    (NextHop::Discard, Target::Discard) => true,
                    _ => false,
                });
                if let Some(next) = next.cloned() {
                    let route =
                        KernelRoute { next, table: wanted.table, device: None, metric: wanted.metric };
                    self.inputs(vec![Input::Refused { prefix, route, reason }]).await;
                }
            }
            Command::CallEnded { tunnel } => self.inputs(vec![Input::CallEnded { tunnel }]).await,
            Command::Stop => {
                self.stopped = true;
                if let Some(drains) = &self.drains {
                    drains.set_rules(None);
                }
            }
            Command::Show { list, kernel, reply } => {
                let now = clock::now();
                let answer = match list {
                    List::Operations => Reply::Sla(view::operations(&self.core.operation_views(), now)),
                    List::Objects => Reply::Track(view::objects(&self.core.object_views(now), now)),
                    List::Routes => {
                        let mut views = view::routes(&self.core.route_views(), &kernel, now);
                        views.extend(self.parts.there().map(|p| view::part(p, self.watch.routes(&p))));
                        return self.show_routes(views, reply);
                    }
                };
                // The client may have gone.
                let _ = reply.send(answer);
            }
        }
    }

    /// With the flows that stay in tunnels, which the kernel is asked for meanwhile.
    fn show_routes(&self, mut views: Vec<PrefixRoutes>, reply: oneshot::Sender<Reply>) {
        let failure = self.drains.as_ref().and_then(Drains::failure);
        let counted = self.drains.as_ref().map(Drains::count);
        tokio::spawn(async move {
            let counts = match (counted, failure) {
                (Some(_), Some(failure)) => Err(failure),
                // They stay, but how many is not known now.
                (Some(counted), None) => Ok(counted.await.unwrap_or_else(|error| {
                    tracing::debug!(%error, "the flows that stay in tunnels are not counted");
                    BTreeMap::new()
                })),
                (None, _) => Ok(BTreeMap::new()),
            };
            for routes in &mut views {
                let Some(draining) = &mut routes.draining else { continue };
                match &counts {
                    Ok(counts) => {
                        let prefix = routes.prefix.parse::<IpPrefix>().ok();
                        draining.flows = prefix.and_then(|prefix| counts.get(&prefix).copied());
                    }
                    Err(failure) => draining.failure = Some(failure.clone()),
                }
            }
            let _ = reply.send(Reply::Routes(views));
        });
    }

    /// Many prefixes fail back at once: the kernel is asked once for all, before the first of their routes changes.
    async fn keep_flows(&self, drains: Vec<Drain>) {
        let Some(kept) = &self.drains else { return };
        let device =
            |d: &Drain| self.devices.get(&d.tunnel).or(self.svti.as_ref()).cloned().unwrap_or_default();
        let list = drains.iter().map(|d| (d.prefix, device(d), d.until)).collect();
        if let Err(reason) = kept.keep(list).await {
            for Drain { prefix, tunnel, .. } in drains {
                tracing::warn!(%prefix, tunnel, reason, "all flows move to the primary");
            }
        }
    }

    /// Does everything that the core wants.
    async fn drain(&mut self) {
        loop {
            let mut outputs = Vec::new();
            let mut drains = Vec::new();
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::Drain(drain) => drains.push(drain),
                    // What ends may begin again behind it.
                    Output::Drained { .. } => {
                        outputs.push(output);
                        break;
                    }
                    _ => outputs.push(output),
                }
            }
            if outputs.is_empty() && drains.is_empty() {
                return;
            }
            if !drains.is_empty() {
                self.keep_flows(drains).await;
            }
            for output in outputs {
                self.does(output).await;
            }
        }
    }

    async fn does(&mut self, output: Output) {
        match output {
            Output::Probe { operation, probe } => {
                if let Some(outcome) = self.probes.send(operation, probe) {
                    let ended = Input::ProbeEnded { operation, probe, outcome };
                    self.core.handle_input(clock::now(), ended);
                }
            }
            Output::Bfd { operation, bytes } => self.probes.send_bfd(operation, &bytes),
            Output::Route(RouteChange { prefix, to, .. }) => self.route(prefix, to).await,
            Output::Drain(drain) => self.keep_flows(vec![drain]).await,
            Output::Drained { prefix } => {
                if let Some(drains) = &self.drains {
                    drains.release(&[prefix]);
                }
            }
            // The loop takes changes at once, or has ended.
            Output::QueryTraffic { tunnel } => {
                let _ = self.ends.changes.send(Change::QueryTraffic(tunnel)).await;
            }
            Output::Event(event) => {
                let _ = self.ends.changes.send(Change::Event(event)).await;
            }
        }
    }

    async fn route(&self, prefix: IpPrefix, to: Option<KernelRoute>) {
        let wanted = to.as_ref().and_then(|to| self.wanted(to));
        let next = to.map(|to| to.next);
        let is_host = self.svti.is_some();
        let is_elsewhere = self.table(&prefix) != Table::Main;
        if is_host || is_elsewhere {
            self.sink.route(prefix, wanted.clone());
        }
        if is_elsewhere {
            // The dataplane knows the main table's routes alone.
            return;
        }
        let leads_elsewhere = matches!(next, Some(NextHop::Via { .. } | NextHop::Device(_)));
        if !is_host && !leads_elsewhere && self.core.foreign_used(&prefix) {
            let _ = self.ends.changes.send(Change::Foreign(prefix)).await;
            return;
        }
        // The kernel sends all tunnels' packets into one device; which tunnel takes them is the dataplane's to know.
        let tunnels = self.routes.get(&prefix).into_iter().flatten();
        let several = tunnels.filter(|r| matches!(r.next, NextHop::Tunnel(_))).count() > 1;
        if !is_host || several && matches!(next, Some(NextHop::Tunnel(_))) {
            let _ = self.ends.changes.send(Change::Route { prefix, next, wanted }).await;
        }
    }

    /// The table of the routes of a prefix.
    fn table(&self, prefix: &IpPrefix) -> Table {
        let first = self.routes.get(prefix).and_then(|list| list.first());
        first.map(|route| route.table.clone()).unwrap_or_default()
    }

    /// In router mode tunnels are no routes of the kernel.
    fn wanted(&self, route: &KernelRoute) -> Option<Wanted> {
        let target = match &route.next {
            NextHop::Tunnel(name) => self.svti.as_ref().map(|_| Target::Tunnel(name.clone()))?,
            NextHop::Device(name) => Target::Device(name.clone()),
            NextHop::Via { hop, .. } => Target::Via { hop: *hop, device: route.device.clone()? },
            NextHop::Discard => Target::Discard,
        };
        Some(Wanted { target, table: route.table.clone(), metric: route.metric })
    }
}
