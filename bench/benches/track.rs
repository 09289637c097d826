//! Route policy without I/O: 10,000 operations that probe once a second, each followed by a track object. One second of their
//! life is one iteration, so the time of an iteration in seconds is the share of one core.
//! `cargo bench -p sipsec-bench --bench track`

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sipsec_net::entropy::TestEntropy;
use sipsec_net::{Instant, IpPrefix};
use sipsec_track::config::{Config, Failback, NextHop, Object, Operation, Probe, Route, Start, Table, What};
use sipsec_track::{Core, Input, Output};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const OPERATIONS: u32 = 10_000;
const RTT: Duration = Duration::from_millis(5);
const SECOND: Duration = Duration::from_secs(1);

fn config() -> Config {
    let ids = 1..=OPERATIONS;
    let operation = |id: u32| Operation {
        id,
        name: None,
        probe: Probe::IcmpEcho { target: IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + id)) },
        source: None,
        device: None,
        frequency: SECOND,
        timeout: Duration::from_millis(500),
        threshold: Duration::from_millis(100),
        up_count: 3,
        down_count: 3,
        start: Start::Now,
        lifetime: None,
    };
    let object = |id: u32| Object {
        id,
        what: What::Reachability { operation: id },
        delay_up: Duration::ZERO,
        delay_down: Duration::ZERO,
        damping: None,
    };
    let route = |id: u32, next, distance, track| Route {
        prefix: IpPrefix::host(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + id))),
        table: Table::Main,
        next,
        distance,
        metric: None,
        track,
        name: None,
    };
    Config {
        operations: ids.clone().map(operation).collect(),
        objects: ids.clone().map(object).collect(),
        routes: ids
            .flat_map(|id| {
                [
                    route(id, NextHop::Device("wan1".into()), 1, Some(id)),
                    route(id, NextHop::Tunnel("Tunnel1".into()), 250, None),
                ]
            })
            .collect(),
        failback: Failback { hold: Duration::ZERO, good_probes: 0, ..Failback::default() },
    }
}

struct Running {
    core: Core,
    now: Instant,
}

impl Running {
    fn new() -> Self {
        let core =
            Core::new(config(), Instant::ZERO, Box::new(TestEntropy::new(1))).expect("a good configuration");
        let mut running = Self { core, now: Instant::ZERO };
        running.input(Input::Link { device: "wan1".into(), up: true, vrf: None });
        running.input(Input::Ready);
        running.live(SECOND * 2, true);
        running
    }

    fn input(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
        self.drain(true);
    }

    fn drain(&mut self, answered: bool) {
        while let Some(output) = self.core.poll_output() {
            if let Output::Probe { operation, probe } = output
                && answered
            {
                self.core.handle_input(self.now, Input::ProbeEnded { operation, probe, outcome: Ok(RTT) });
            }
        }
    }

    fn live(&mut self, time: Duration, answered: bool) {
        let until = self.now + time;
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.core.handle_timeout(at);
            self.drain(answered);
        }
        self.now = until;
    }
}

fn operations(c: &mut Criterion) {
    let mut group = c.benchmark_group("track");
    group.sample_size(20);
    let mut good = Running::new();
    group.bench_function("10000 operations, 1 s, all answered", |b| b.iter(|| good.live(SECOND, true)));
    let mut lost = Running::new();
    group.bench_function("10000 operations, 1 s, all lost", |b| b.iter(|| lost.live(SECOND, false)));
    group.bench_function("10000 routes fail over at once", |b| {
        b.iter_batched_ref(
            Running::new,
            |running| running.input(Input::Link { device: "wan1".into(), up: false, vrf: None }),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, operations);
criterion_main!(benches);
