//! Another configuration for a running core.

use super::*;
use crate::config::Damping;
use proptest::prelude::*;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn sent(bench: &Bench, id: u32) -> u64 {
    let views = bench.core.operation_views();
    views.iter().find(|v| v.config.id == id).map_or(0, |v| v.statistics.sent)
}

#[test]
fn the_same_configuration_changes_nothing() {
    let config = primary_and_backup(at_once());
    let mut bench = running(config.clone());
    let (events, before) = (bench.events.len(), sent(&bench, 1));
    bench.reconfigure(config);
    assert_eq!((bench.events.len(), sent(&bench, 1)), (events, before), "{:?}", bench.events);
    assert_eq!((bench.state(10), bench.view("10.2.0.0/16").changes), (State::Up, 1));
    bench.run(seconds(1));
    assert!(sent(&bench, 1) >= before + 9, "probes go on in their rhythm");
}

#[test]
fn what_stays_keeps_its_state_and_what_is_new_begins() {
    let mut config = primary_and_backup(at_once());
    let mut bench = running(config.clone());
    let before = sent(&bench, 1);
    config.operations[0].down_count = 2;
    config.operations.push(Operation { probe: Probe::IcmpEcho { target: ip("192.0.2.9") }, ..echo(2) });
    config.objects[0].delay_down = ms(300);
    config.objects.push(object(20, What::Reachability { operation: 2 }));
    config.routes.push(route("10.3.0.0/16", NextHop::Device("wan1".into()), 1, Some(20)));
    config.routes.push(route("10.3.0.0/16", tunnel("Tunnel1"), 250, None));
    bench.answers.insert(2, Ok(ms(5)));
    bench.reconfigure(config);
    assert_eq!(
        (sent(&bench, 1) >= before, bench.state(10), bench.state(20)),
        (true, State::Up, State::Unknown)
    );
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&NextHop::Device("wan1".into())));
    // Its primary is not known to be down, so no call is worth it.
    assert_eq!(bench.installed("10.3.0.0/16"), Some(&NextHop::Device("wan1".into())));
    bench.run(seconds(1));
    assert_eq!(bench.state(20), State::Up);
    bench.answers.remove(&1);
    bench.run(ms(350));
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&NextHop::Device("wan1".into())), "the new delay counts");
    bench.run(ms(350));
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&tunnel("Tunnel1")));
}

#[test]
fn a_route_that_is_gone_is_withdrawn_and_one_that_changed_is_replaced() {
    let mut config = primary_and_backup(at_once());
    let mut bench = running(config.clone());
    config.routes[0].next = NextHop::Device("wan2".into());
    bench.link("wan2", true);
    bench.reconfigure(config.clone());
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&NextHop::Device("wan2".into())));
    // Twice without a decision between: what the kernel has is not forgotten.
    let mut metric = config.clone();
    metric.routes[0].metric = Some(77);
    bench.core.reconfigure(bench.now, metric).expect("good");
    bench.reconfigure(config.clone());
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&NextHop::Device("wan2".into())));
    config.routes.clear();
    bench.reconfigure(config.clone());
    assert!(bench.kernel.is_empty(), "{:?}", bench.kernel);
    config.routes.push(route("10.2.0.0/16", tunnel("Tunnel1"), 250, None));
    bench.reconfigure(config);
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&tunnel("Tunnel1")));
}

#[test]
fn traffic_in_the_tunnel_stays_until_a_new_probe_of_the_primary_is_good() {
    let mut config = primary_and_backup(at_once());
    let mut bench = running(config.clone());
    bench.answers.remove(&1);
    bench.run(seconds(1));
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&tunnel("Tunnel1")));
    config.operations[0].probe = Probe::IcmpEcho { target: ip("192.0.2.2") };
    let changes = bench.view("10.2.0.0/16").changes;
    bench.reconfigure(config);
    assert_eq!((bench.state(10), bench.installed("10.2.0.0/16")), (State::Unknown, Some(&tunnel("Tunnel1"))));
    bench.answers.insert(1, Ok(ms(5)));
    bench.run(seconds(1));
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&NextHop::Device("wan1".into())));
    assert_eq!(bench.view("10.2.0.0/16").changes, changes + 1);
}

#[test]
fn an_answer_to_a_probe_of_the_former_target_says_nothing_of_the_new_one() {
    let mut config = primary_and_backup(at_once());
    let mut bench = running(config.clone());
    config.operations[0].probe = Probe::IcmpEcho { target: ip("192.0.2.2") };
    bench.answers.remove(&1);
    let before = sent(&bench, 1);
    bench.reconfigure(config);
    bench.run(ms(50));
    for probe in 0..before {
        bench.input(Input::ProbeEnded { operation: 1, probe, outcome: Ok(ms(1)) });
    }
    assert_eq!(bench.state(10), State::Unknown);
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let mut config = primary_and_backup(at_once());
    let mut bench = running(config.clone());
    config.routes[0].track = Some(99);
    assert!(bench.core.reconfigure(bench.now, config).is_err());
    bench.answers.remove(&1);
    bench.run(seconds(1));
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&tunnel("Tunnel1")), "the one before is in force");
}

#[test]
fn the_calls_of_the_hour_and_the_penalty_are_remembered() {
    let failback = Failback { calls_per_hour: 2, ..at_once() };
    let mut config = primary_and_backup(failback);
    config.objects[0].damping = Some(Damping::default());
    let mut bench = running(config.clone());
    for _ in 0..2 {
        bench.answers.remove(&1);
        bench.run(seconds(1));
        bench.answers.insert(1, Ok(ms(5)));
        bench.run(seconds(1));
        bench.reconfigure(config.clone());
    }
    let penalty = bench.core.object_views(bench.now)[0].damping.map(|d| (d.penalty, d.suppressed));
    assert!(penalty.is_some_and(|(p, _)| p > 1900), "{penalty:?}");
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&tunnel("Tunnel1")), "the hour has its two calls");
    config.failback.calls_per_hour = 0;
    config.objects[0].damping = None;
    bench.reconfigure(config);
    bench.run(seconds(1));
    assert_eq!(bench.installed("10.2.0.0/16"), Some(&NextHop::Device("wan1".into())));
}

fn any_config() -> impl Strategy<Value = Config> {
    let next = prop_oneof![
        Just(NextHop::Device("wan1".into())),
        Just(NextHop::Device("wan2".into())),
        Just(tunnel("A")),
        Just(tunnel("B")),
        Just(NextHop::Discard),
    ];
    let one = (0..3u8, next, 1..4u8, prop::option::of(0..3u32)).prop_map(|(third, next, distance, track)| {
        route(&format!("10.{third}.0.0/16"), next, distance, track.map(|n| 10 + n))
    });
    (prop::collection::vec(one, 0..6), 0..2u32).prop_map(|(mut routes, other)| {
        let mut seen = BTreeSet::new();
        routes.retain(|r| seen.insert((r.prefix, r.next.clone(), r.distance)));
        let of = |n: u32| object(10 + n, What::Reachability { operation: 1 + (n + other) % 2 });
        let second = Operation { probe: Probe::IcmpEcho { target: ip("192.0.2.9") }, ..echo(2) };
        Config {
            operations: vec![echo(1), second],
            objects: (0..3).map(of).collect(),
            routes,
            failback: at_once(),
        }
    })
}

proptest! {
    /// The bench asserts that each change begins with what the kernel has.
    #[test]
    fn after_any_changes_the_kernel_has_what_a_fresh_core_would_install(
        steps in prop::collection::vec((any_config(), any::<[bool; 2]>(), any::<[bool; 2]>()), 1..8),
    ) {
        let mut bench = running(Config::default());
        let mut last = None;
        for (config, up, good) in steps {
            bench.link("wan1", up[0]);
            bench.link("wan2", up[1]);
            for (id, good) in [1, 2].into_iter().zip(good) {
                if good { bench.answers.insert(id, Ok(ms(5))) } else { bench.answers.remove(&id) };
            }
            bench.reconfigure(config.clone());
            last = Some((config, up, good));
        }
        bench.run(seconds(2));
        let Some((config, up, good)) = last else { return Ok(()) };
        let mut fresh = Bench::new(config);
        fresh.answers = [1, 2].into_iter().zip(good).filter(|(_, g)| *g).map(|(id, _)| (id, Ok(ms(5)))).collect();
        fresh.link("wan1", up[0]);
        fresh.link("wan2", up[1]);
        fresh.input(Input::Ready);
        fresh.run(seconds(2));
        let distance = |b: &Bench| -> BTreeMap<IpPrefix, u32> {
            b.kernel.iter().map(|(p, r)| (*p, r.metric)).collect()
        };
        prop_assert_eq!(distance(&bench), distance(&fresh));
    }
}
