//! The core with a network, a kernel and a clock that a test controls.

mod configuration;
mod drain;
mod failover;
mod properties;
mod reconfigure;

use crate::config::{Config, Failback, Flows, NextHop, Object, Operation, Probe, Route, Start, Table, What};
use crate::view::{ForeignView, ReturnCode, RouteView, State, WhyNot};
use crate::{Core, Drain, DrainEnd, Event, Input, KernelRoute, Output};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Instant, IpPrefix};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn prefix(text: &str) -> IpPrefix {
    text.parse().expect("a prefix")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// An echo every 100 ms, lost after 50 ms; two good or three bad ones count.
fn echo(id: u32) -> Operation {
    Operation {
        id,
        name: None,
        probe: Probe::IcmpEcho { target: ip("192.0.2.1") },
        source: None,
        device: None,
        frequency: ms(100),
        timeout: ms(50),
        threshold: ms(20),
        up_count: 2,
        down_count: 3,
        start: Start::Now,
        lifetime: None,
    }
}

fn object(id: u32, what: What) -> Object {
    Object { id, what, delay_up: Duration::ZERO, delay_down: Duration::ZERO, damping: None }
}

fn route(to: &str, next: NextHop, distance: u8, track: Option<u32>) -> Route {
    Route { prefix: prefix(to), table: Table::Main, next, distance, metric: None, track, name: None }
}

fn tunnel(name: &str) -> NextHop {
    NextHop::Tunnel(name.into())
}

fn at_once() -> Failback {
    Failback { hold: Duration::ZERO, good_probes: 0, flows: Flows::Move, calls_per_hour: 0 }
}

/// The usual pair: a primary by a device, followed by a track object, and a tunnel behind it.
fn primary_and_backup(failback: Failback) -> Config {
    Config {
        operations: vec![echo(1)],
        objects: vec![object(10, What::Reachability { operation: 1 })],
        routes: vec![
            route("10.2.0.0/16", NextHop::Device("wan1".into()), 1, Some(10)),
            route("10.2.0.0/16", tunnel("Tunnel1"), 250, None),
        ],
        failback,
    }
}

struct Bench {
    core: Core,
    now: Instant,
    /// How each operation's probes end; without an entry they are lost.
    answers: BTreeMap<u32, Result<Duration, ReturnCode>>,
    kernel: BTreeMap<IpPrefix, KernelRoute>,
    events: Vec<Event>,
    probes: u64,
    /// Tunnels that flows stay in.
    drains: BTreeMap<IpPrefix, Drain>,
    /// Tunnels that carry traffic; the others have been quiet since the beginning.
    busy: BTreeSet<String>,
    asked: u32,
}

impl Bench {
    fn new(config: Config) -> Self {
        let core =
            Core::new(config, Instant::ZERO, Box::new(TestEntropy::new(3))).expect("a good configuration");
        Self {
            core,
            now: Instant::ZERO,
            answers: BTreeMap::new(),
            kernel: BTreeMap::new(),
            events: Vec::new(),
            probes: 0,
            drains: BTreeMap::new(),
            busy: BTreeSet::new(),
            asked: 0,
        }
    }

    fn input(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
        self.drain();
    }

    fn link(&mut self, device: &str, up: bool) {
        self.input(Input::Link { device: device.into(), up, vrf: None });
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Probe { operation, probe } => {
                    self.probes += 1;
                    if let Some(outcome) = self.answers.get(&operation) {
                        let outcome = *outcome;
                        self.core.handle_input(self.now, Input::ProbeEnded { operation, probe, outcome });
                    }
                }
                Output::Bfd { .. } => {}
                Output::Route(change) => {
                    let before = self.kernel.get(&change.prefix).cloned();
                    assert_eq!(before, change.from, "the change begins with what is installed");
                    match change.to {
                        Some(to) => self.kernel.insert(change.prefix, to),
                        None => self.kernel.remove(&change.prefix),
                    };
                }
                Output::Drain(drain) => {
                    let carries = self.kernel.get(&drain.prefix).map(|route| &route.next);
                    assert_eq!(carries, Some(&tunnel(&drain.tunnel)), "it begins before the route changes");
                    assert!(self.drains.insert(drain.prefix, drain).is_none(), "it begins once");
                }
                Output::Drained { prefix } => {
                    assert!(self.drains.remove(&prefix).is_some(), "it has begun");
                }
                Output::QueryTraffic { tunnel } => {
                    self.asked += 1;
                    let last = if self.busy.contains(&tunnel) { self.now } else { Instant::ZERO };
                    self.core.handle_input(self.now, Input::Traffic { tunnel, last: Some(last) });
                }
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn installed(&self, to: &str) -> Option<&NextHop> {
        self.kernel.get(&prefix(to)).map(|r| &r.next)
    }

    fn state(&self, id: u32) -> State {
        let views = self.core.object_views(self.now);
        views.iter().find(|v| v.id == id).map(|v| v.state).expect("an object")
    }

    fn view(&self, to: &str) -> RouteView {
        self.core.route_views().into_iter().find(|v| v.prefix == prefix(to)).expect("a route")
    }

    /// Another configuration, with devices and foreign routes as they are.
    fn reconfigure(&mut self, config: Config) {
        self.core.reconfigure(self.now, config).expect("a good configuration");
        self.drain();
        self.input(Input::Ready);
    }

    fn names(&self) -> Vec<&'static str> {
        self.events.iter().map(Event::name).collect()
    }
}

/// Ready, with the primary's device and line good.
fn running(config: Config) -> Bench {
    let mut bench = Bench::new(config);
    bench.answers.insert(1, Ok(ms(5)));
    bench.link("wan1", true);
    bench.input(Input::Ready);
    bench.run(ms(1000));
    bench
}
