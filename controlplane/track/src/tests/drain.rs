//! Flows that stay in the tunnel when traffic returns.

use super::*;

const TO: &str = "10.2.0.0/16";

fn each() -> Failback {
    let flows = Flows::Drain { quiet: ms(5000), wait: ms(60_000), each: true };
    Failback { flows, calls_per_hour: 2, ..at_once() }
}

fn wan1() -> NextHop {
    NextHop::Device("wan1".into())
}

/// The primary fails, and returns while the tunnel carries traffic.
fn returned(config: Config) -> Bench {
    let mut bench = running(config);
    fail(&mut bench);
    bench
}

fn fail(bench: &mut Bench) {
    bench.answers.clear();
    bench.run(ms(500));
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
    bench.busy.insert("Tunnel1".into());
    bench.answers.insert(1, Ok(ms(5)));
    bench.run(ms(500));
}

fn ends(bench: &Bench) -> Vec<DrainEnd> {
    let end = |event: &Event| match event {
        Event::Drained { because, .. } => Some(*because),
        _ => None,
    };
    bench.events.iter().filter_map(end).collect()
}

#[test]
fn new_flows_return_at_once_and_the_others_stay_until_they_are_quiet() {
    let mut bench = returned(primary_and_backup(each()));
    assert_eq!(bench.installed(TO), Some(&wan1()), "new flows do not wait");
    assert_eq!(bench.view(TO).draining.map(|drain| drain.tunnel).as_deref(), Some("Tunnel1"));
    bench.run(ms(20_000));
    assert_eq!(bench.drains.len(), 1);
    bench.busy.clear();
    bench.run(ms(6000));
    assert!(bench.drains.is_empty());
    assert_eq!((ends(&bench), bench.view(TO).draining), (vec![DrainEnd::Quiet], None));
    assert!((2..=8).contains(&bench.asked), "{} questions", bench.asked);
}

#[test]
fn flows_stay_no_longer_than_their_time_and_than_the_call() {
    let mut bench = returned(primary_and_backup(Failback { calls_per_hour: 0, ..each() }));
    bench.run(ms(58_000));
    assert_eq!(bench.drains.len(), 1);
    bench.run(ms(3000));
    assert_eq!((bench.drains.len(), ends(&bench)), (0, vec![DrainEnd::Time]));
    fail(&mut bench);
    bench.input(Input::CallEnded { tunnel: "Tunnel1".into() });
    assert_eq!((bench.drains.len(), ends(&bench).last()), (0, Some(&DrainEnd::Call)));
}

#[test]
fn a_primary_that_fails_again_meanwhile_needs_no_further_call() {
    let mut bench = returned(primary_and_backup(each()));
    for _ in 0..5 {
        fail(&mut bench);
    }
    assert_eq!(bench.installed(TO), Some(&wan1()), "one call of two: it may return");
    assert_eq!(ends(&bench), [DrainEnd::Route; 5]);
    bench.busy.clear();
    bench.run(ms(6000));
    assert_eq!(ends(&bench).last(), Some(&DrainEnd::Quiet));
    fail(&mut bench);
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")), "the second of two: it stays");
}

#[test]
fn between_two_tunnels_all_traffic_waits() {
    let mut config = primary_and_backup(each());
    config.routes[0].next = tunnel("Tunnel2");
    let mut bench = returned(config);
    assert_eq!((bench.installed(TO), bench.drains.len()), (Some(&tunnel("Tunnel1")), 0));
    bench.busy.clear();
    bench.run(ms(6000));
    assert_eq!((bench.installed(TO), bench.drains.len()), (Some(&tunnel("Tunnel2")), 0));
}

#[test]
fn another_configuration_ends_it_if_it_has_no_place_there() {
    let without = |bench: &mut Bench, config: Config| {
        bench.reconfigure(config);
        bench.drains.is_empty()
    };
    let config = primary_and_backup(each());
    assert!(!without(&mut returned(config.clone()), config.clone()), "the same");
    let moved = Config { failback: at_once(), ..config.clone() };
    assert!(without(&mut returned(config.clone()), moved));
    let mut alone = config.clone();
    alone.routes.pop();
    assert!(without(&mut returned(config.clone()), alone));
    let none = Config { routes: Vec::new(), ..config.clone() };
    assert!(without(&mut returned(config), none));
}
