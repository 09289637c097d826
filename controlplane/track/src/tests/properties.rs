//! After any sequence of probe results, links and foreign routes exactly one best route is installed, and never none while a
//! usable one exists.

use super::*;
use proptest::prelude::*;

const DEVICES: [&str; 2] = ["wan1", "wan2"];
const HOP: &str = "192.0.2.254";
const LINK: &str = "192.0.2.0/24";
const DRAIN_MAX: Duration = Duration::from_secs(150);
const PREFIXES: [&str; 3] = ["10.2.0.0/16", "10.3.0.0/16", "2001:db8:2::/48"];

#[derive(Clone, Debug)]
enum Happening {
    Answer(u32, bool),
    Link(usize, bool),
    Connected(Option<usize>),
    Foreign(usize, bool),
    Refuse(usize),
    Busy(bool),
    CallEnded,
    Time(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (1..4_u32, any::<bool>()).prop_map(|(id, good)| Happening::Answer(id, good)),
        (0..2_usize, any::<bool>()).prop_map(|(device, up)| Happening::Link(device, up)),
        prop::option::of(0..2_usize).prop_map(Happening::Connected),
        (0..3_usize, any::<bool>()).prop_map(|(p, there)| Happening::Foreign(p, there)),
        (0..3_usize).prop_map(Happening::Refuse),
        any::<bool>().prop_map(Happening::Busy),
        Just(Happening::CallEnded),
        (1..200_000_u64).prop_map(Happening::Time),
    ]
}

fn next_hop() -> impl Strategy<Value = NextHop> {
    prop_oneof![
        (0..2_usize).prop_map(|d| NextHop::Device(DEVICES[d].into())),
        Just(NextHop::Via { hop: ip(HOP), device: None }),
        Just(tunnel("Tunnel1")),
        Just(tunnel("Tunnel2")),
        Just(NextHop::Discard),
    ]
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let one =
        (0..3_usize, next_hop(), prop::sample::select(vec![1_u8, 5, 5, 250]), prop::option::of(10..15_u32));
    prop::collection::vec(one, 1..8).prop_map(|list| {
        let mut routes: Vec<Route> = Vec::new();
        for (to, next, distance, track) in list {
            let next = match next {
                NextHop::Via { .. } if to == 2 => NextHop::Device("wan2".into()),
                next => next,
            };
            let twice = |r: &Route| r.prefix == prefix(PREFIXES[to]) && r.next == next;
            if !routes.iter().any(twice) {
                routes.push(route(PREFIXES[to], next, distance, track));
            }
        }
        routes
    })
}

fn failback() -> impl Strategy<Value = Failback> {
    let drain = |each| Flows::Drain { quiet: ms(25_000), wait: DRAIN_MAX, each };
    let flows = prop_oneof![Just(Flows::Move), any::<bool>().prop_map(drain)];
    (0..150_000_u64, 0..6_u32, flows, 0..3_u32).prop_map(|(hold, good_probes, flows, calls_per_hour)| {
        Failback { hold: ms(hold), good_probes, flows, calls_per_hour }
    })
}

/// A probe every 5 s, so that hours cost little.
fn slow(id: u32) -> Operation {
    Operation { frequency: ms(5000), timeout: ms(2500), ..echo(id) }
}

struct Model {
    links: [bool; 2],
    connected: Option<usize>,
    refused: BTreeMap<(IpPrefix, NextHop), Instant>,
}

impl Model {
    /// Whether a route can carry a packet if the kernel takes it. Several inputs forgive a refusal before its time is over.
    fn forwards(&self, bench: &Bench, route: &Route) -> bool {
        let device = |name: &str| DEVICES.iter().position(|d| *d == name).is_some_and(|d| self.links[d]);
        let hop = match &route.next {
            NextHop::Device(name) => device(name),
            NextHop::Via { .. } => self.connected.is_some_and(|d| self.links[d]),
            NextHop::Tunnel(_) | NextHop::Discard => true,
        };
        hop && route.track.is_none_or(|id| bench.state(id) != State::Down)
    }

    fn usable(&self, bench: &Bench, route: &Route) -> bool {
        let refused = self.refused.get(&(route.prefix, route.next.clone()));
        refused.is_none_or(|until| *until <= bench.now) && self.forwards(bench, route)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn the_best_usable_route_is_installed(
        routes in routes(),
        failback in failback(),
        happenings in prop::collection::vec(happening(), 1..60),
    ) {
        let config = Config {
            operations: vec![slow(1), slow(2), Operation { up_count: 1, down_count: 1, ..slow(3) }],
            objects: vec![
                object(10, What::Reachability { operation: 1 }),
                Object { delay_up: ms(15_000), delay_down: ms(10_000), ..object(11, What::OperationState { operation: 2 }) },
                object(12, What::Or(vec![10, 11])),
                object(13, What::And(vec![10, 14])),
                object(14, What::LineProtocol { device: "wan2".into() }),
                object(15, What::Reachability { operation: 3 }),
            ],
            routes: routes.clone(),
            failback,
        };
        let mut bench = Bench::new(config);
        let mut model = Model { links: [true, false], connected: None, refused: BTreeMap::new() };
        bench.link("wan1", true);
        bench.input(Input::Ready);
        for happening in happenings {
            match happening {
                Happening::Answer(id, true) => drop(bench.answers.insert(id, Ok(ms(3)))),
                Happening::Answer(id, false) => drop(bench.answers.remove(&id)),
                Happening::Link(device, up) => {
                    model.links[device] = up;
                    bench.link(DEVICES[device], up);
                }
                Happening::Connected(device) => {
                    model.connected = device;
                    let view = |d: usize| ForeignView { protocol: 2, metric: 0, via: None, device: Some(DEVICES[d].into()), table: Table::Main };
                    bench.input(Input::Foreign { prefix: prefix(LINK), routes: device.map(view).into_iter().collect() });
                }
                Happening::Foreign(p, there) => {
                    let route = ForeignView { protocol: 186, metric: 20, via: None, device: Some("wan1".into()), table: Table::Main };
                    bench.input(Input::Foreign {
                        prefix: prefix(PREFIXES[p]),
                        routes: there.then_some(route).into_iter().collect(),
                    });
                }
                Happening::Refuse(p) => {
                    let to = prefix(PREFIXES[p]);
                    if let Some(route) = bench.kernel.get(&to).cloned() {
                        model.refused.insert((to, route.next.clone()), bench.now + Duration::from_secs(5));
                        bench.input(Input::Refused { prefix: to, route, reason: "no".into() });
                    }
                }
                Happening::Busy(true) => drop(bench.busy.insert("Tunnel1".into())),
                Happening::Busy(false) => bench.busy.clear(),
                Happening::CallEnded => {
                    bench.input(Input::CallEnded { tunnel: "Tunnel1".into() });
                    let left = bench.drains.values().any(|drain| drain.tunnel == "Tunnel1");
                    prop_assert!(!left, "flows stay in a tunnel without a call");
                }
                Happening::Time(t) => bench.run(ms(t)),
            }
            for to in PREFIXES.map(prefix) {
                let ours: Vec<&Route> = routes.iter().filter(|r| r.prefix == to).collect();
                let usable: Vec<&&Route> = ours.iter().filter(|r| model.usable(&bench, r)).collect();
                let installed = bench.kernel.get(&to);
                if let Some(installed) = installed {
                    let route = ours.iter().find(|r| r.next == installed.next).expect("one of ours");
                    prop_assert!(model.forwards(&bench, route), "{:?} is installed and cannot be used", installed);
                }
                prop_assert!(usable.is_empty() || installed.is_some(), "nothing is installed for {}", to);
                let drain = bench.drains.get(&to);
                if let Some(drain) = drain {
                    let is_tunnel = ours.iter().any(|r| r.next == tunnel(&drain.tunnel));
                    let apart = matches!(installed.map(|i| &i.next), Some(NextHop::Via { .. } | NextHop::Device(_)));
                    let in_time = drain.until > bench.now && drain.until <= bench.now + DRAIN_MAX;
                    prop_assert!(is_tunnel && apart && in_time, "{:?} while {:?} is installed", drain, installed);
                }
                let views = bench.core.route_views();
                let shown = views.iter().find(|v| v.prefix == to).and_then(|v| v.draining.clone());
                prop_assert_eq!(shown.as_ref(), drain);
                if let Some(view) = views.iter().find(|v| v.prefix == to) {
                    let best = view.candidates.iter().filter(|c| c.why_not == WhyNot::Best);
                    prop_assert_eq!(best.count(), usize::from(installed.is_some()));
                }
            }
        }
        // When nothing changes any more, the least distance wins, also after a wait.
        bench.busy.clear();
        bench.answers = (1..4).map(|id| (id, Ok(ms(3)))).collect();
        bench.run(Duration::from_secs(2 * 3600));
        prop_assert!(bench.drains.is_empty(), "flows stay for ever: {:?}", bench.drains);
        model.refused.clear();
        for to in PREFIXES.map(prefix) {
            let least = routes.iter().filter(|r| r.prefix == to && model.usable(&bench, r)).map(|r| r.distance).min();
            let installed = bench.kernel.get(&to);
            let distance = installed.and_then(|i| routes.iter().find(|r| r.prefix == to && r.next == i.next));
            prop_assert_eq!(distance.map(|r| r.distance), least);
        }
    }
}
