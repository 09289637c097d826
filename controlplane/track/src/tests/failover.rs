//! From a probe to a route and back.

use super::*;
use crate::config::Damping;
use crate::view::FailbackWait;

const TO: &str = "10.2.0.0/16";

#[test]
fn a_lost_line_moves_the_route_after_its_count_of_losses() {
    let mut bench = running(primary_and_backup(at_once()));
    assert_eq!((bench.state(10), bench.installed(TO)), (State::Up, Some(&NextHop::Device("wan1".into()))));
    let cut = bench.now;
    bench.answers.clear();
    bench.events.clear();
    while bench.installed(TO) != Some(&tunnel("Tunnel1")) {
        bench.run(ms(1));
    }
    let outage = bench.now.saturating_duration_since(cut);
    // Up to one period until the first lost probe, two more, and the timeout of the last.
    assert!((ms(250)..=ms(351)).contains(&outage), "{outage:?}");
    assert_eq!(bench.names(), ["sla-state", "track-state", "route-change"]);
    let texts: Vec<_> = bench.events.iter().map(ToString::to_string).collect();
    assert!(
        texts[0].contains("reachability Down, state Down: Timeout; the last probes: 5.0 ms, 5.0 ms, timeout"),
        "{texts:?}"
    );
    assert!(texts[1].starts_with("track 10: Up -> Down (ip sla 1: Timeout"), "{texts:?}");
    assert_eq!(texts[2], "10.2.0.0/16: device wan1 -> Tunnel1 (track 10 is Down)");
    assert!(bench.events[2].is_warning() && bench.events[2].tunnel() == Some("Tunnel1"));

    bench.answers.insert(1, Ok(ms(5)));
    bench.run(ms(300));
    assert_eq!(bench.installed(TO), Some(&NextHop::Device("wan1".into())));
}

#[test]
fn one_loss_and_two_losses_move_nothing() {
    let mut bench = running(primary_and_backup(at_once()));
    for lost in [100, 200] {
        bench.answers.clear();
        bench.run(ms(lost));
        bench.answers.insert(1, Ok(ms(5)));
        bench.run(ms(500));
    }
    assert_eq!(bench.view(TO).changes, 1);
    let view = &bench.core.operation_views()[0];
    assert_eq!((view.statistics.count(ReturnCode::Timeout), view.reachability), (3, State::Up));
}

#[test]
fn a_slow_line_is_reachable_and_its_state_is_down() {
    let mut config = primary_and_backup(at_once());
    config.objects.push(object(11, What::OperationState { operation: 1 }));
    let mut bench = running(config);
    bench.answers.insert(1, Ok(ms(30)));
    bench.run(ms(500));
    assert_eq!((bench.state(10), bench.state(11)), (State::Up, State::Down));
    let view = &bench.core.operation_views()[0];
    assert_eq!(
        (view.return_code, view.reachability, view.state),
        (ReturnCode::OverThreshold, State::Up, State::Down)
    );
    // An answer after the timeout is a loss, and counted as late if it is told.
    bench.answers.insert(1, Ok(ms(60)));
    bench.run(ms(500));
    assert_eq!(bench.state(10), State::Down);
}

#[test]
fn a_series_is_good_with_one_answer() {
    let mut config = primary_and_backup(at_once());
    config.operations[0].probe = Probe::IcmpJitter { target: ip("192.0.2.1"), packets: 4, interval: ms(10) };
    let mut bench = running(config);
    let sent = bench.core.operation_views()[0].statistics.sent;
    assert!((36..=40).contains(&sent), "four in each of ten periods: {sent}");
    let (operation, probe) = (1, sent);
    bench.answers.clear();
    while bench.core.operation_views()[0].statistics.sent == sent {
        bench.run(ms(1));
    }
    bench.run(ms(15));
    bench.input(Input::ProbeEnded { operation, probe, outcome: Ok(ms(15)) });
    bench.run(ms(80));
    let view = &bench.core.operation_views()[0];
    assert_eq!((view.return_code, view.statistics.count(ReturnCode::Timeout)), (ReturnCode::Ok, 3));
}

#[test]
fn a_late_answer_is_no_answer() {
    let mut bench = running(primary_and_backup(at_once()));
    bench.answers.clear();
    bench.run(ms(100));
    let probe = bench.core.operation_views()[0].statistics.sent - 1;
    bench.run(ms(99));
    bench.input(Input::ProbeEnded { operation: 1, probe: probe.saturating_sub(0), outcome: Ok(ms(60)) });
    bench.input(Input::ProbeEnded { operation: 1, probe: 1 << 40, outcome: Ok(ms(1)) });
    bench.input(Input::ProbeEnded { operation: 99, probe: 0, outcome: Ok(ms(1)) });
    let view = &bench.core.operation_views()[0];
    assert_eq!((view.statistics.late, view.bad_in_row >= 1), (1, true), "{view:?}");
}

#[test]
fn traffic_returns_after_hold_and_good_probes() {
    let failback = Failback { hold: ms(2000), good_probes: 30, ..at_once() };
    let mut bench = running(primary_and_backup(failback));
    bench.answers.clear();
    bench.run(ms(500));
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
    bench.answers.insert(1, Ok(ms(5)));
    bench.events.clear();
    bench.run(ms(1000));
    let wait = |bench: &Bench| bench.view(TO).candidates[0].why_not.clone();
    assert!(matches!(wait(&bench), WhyNot::Failback(FailbackWait::Hold { .. })));
    // A loss in the hold time makes it begin again only if the track object goes down.
    bench.answers.clear();
    bench.run(ms(100));
    bench.answers.insert(1, Ok(ms(5)));
    bench.run(ms(1500));
    assert!(
        matches!(wait(&bench), WhyNot::Failback(FailbackWait::Probes { missing: 1.. })),
        "{:?}",
        wait(&bench)
    );
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
    bench.run(ms(1700));
    assert_eq!((bench.installed(TO), wait(&bench)), (Some(&NextHop::Device("wan1".into())), WhyNot::Best));
    let names: Vec<_> =
        bench.names().into_iter().filter(|n| n.contains("fail") || n.contains("route")).collect();
    assert_eq!(names, ["failback-waits", "failback-waits", "route-change"]);
}

#[test]
fn traffic_drains_before_it_returns_but_not_for_ever() {
    let flows = Flows::Drain { quiet: ms(5000), wait: ms(60_000), each: false };
    let mut bench = running(primary_and_backup(Failback { flows, ..at_once() }));
    let fail = |bench: &mut Bench| {
        bench.answers.clear();
        bench.run(ms(500));
        bench.busy.insert("Tunnel1".into());
        bench.answers.insert(1, Ok(ms(5)));
        bench.asked = 0;
    };
    fail(&mut bench);
    bench.run(ms(20_000));
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")), "it carries traffic");
    bench.busy.clear();
    bench.run(ms(5000));
    assert_eq!(bench.installed(TO), Some(&NextHop::Device("wan1".into())));
    assert!((2..=8).contains(&bench.asked), "{} questions", bench.asked);
    fail(&mut bench);
    bench.run(ms(59_000));
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
    bench.run(ms(3000));
    assert_eq!(
        bench.installed(TO),
        Some(&NextHop::Device("wan1".into())),
        "it is busy, and the wait is over"
    );
}

/// A line that is up and down in turn; returns how often traffic moved to the tunnel.
fn flap(bench: &mut Bench, period: Duration, time: Duration) -> usize {
    let until = bench.now + time;
    bench.events.clear();
    while bench.now < until {
        bench.answers.clear();
        bench.run(period / 2);
        bench.answers.insert(1, Ok(ms(5)));
        bench.run(period / 2);
    }
    let to_tunnel = |e: &&Event| matches!(e, Event::Route { to: Some(NextHop::Tunnel(_)), .. });
    bench.events.iter().filter(to_tunnel).count()
}

#[test]
fn a_flapping_line_causes_no_more_calls_than_are_allowed() {
    for period_s in [1, 2, 5, 10, 30] {
        let failback = Failback { calls_per_hour: 3, ..at_once() };
        let mut bench = running(primary_and_backup(failback));
        let moves = flap(&mut bench, Duration::from_secs(period_s), Duration::from_secs(3600));
        assert_eq!(moves, 3, "period {period_s} s");
        assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")), "it stays where traffic passes");
        assert!(matches!(
            bench.view(TO).candidates[0].why_not,
            WhyNot::Failback(FailbackWait::Calls { .. }) | WhyNot::Track { .. }
        ));
        let again = flap(&mut bench, Duration::from_secs(period_s), Duration::from_secs(3600));
        assert!((1..=3).contains(&again), "period {period_s} s, second hour: {again}");
    }
}

#[test]
fn damping_holds_a_flapping_object_down_and_shows_its_decay() {
    let mut config = primary_and_backup(at_once());
    config.objects[0].damping = Some(Damping {
        half_life: Duration::from_secs(60),
        suppress: 2000,
        reuse: 750,
        suppress_max: Duration::from_secs(300),
    });
    let mut bench = running(config);
    let moves = flap(&mut bench, Duration::from_secs(2), Duration::from_secs(600));
    assert!((2..=4).contains(&moves), "{moves}");
    assert!(bench.events.iter().any(|e| matches!(e, Event::Damped { id: 10, .. })));
    let damping = |bench: &Bench| bench.core.object_views(bench.now)[0].damping.expect("damped");
    let before = damping(&bench);
    assert!(before.suppressed && before.penalty > 2000 && bench.state(10) == State::Down);
    bench.run(Duration::from_secs(60));
    assert!(damping(&bench).penalty.abs_diff(before.penalty / 2) <= 1);
    bench.run(before.reuse_in.expect("suppressed"));
    assert_eq!(
        (damping(&bench).suppressed, bench.installed(TO)),
        (false, Some(&NextHop::Device("wan1".into())))
    );
}

#[test]
fn a_device_without_carrier_moves_the_route_at_once() {
    let mut bench = running(primary_and_backup(at_once()));
    bench.link("wan1", false);
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
    assert_eq!(bench.view(TO).candidates[0].why_not, WhyNot::DeviceDown { device: "wan1".into() });
    bench.link("wan1", true);
    assert_eq!(bench.installed(TO), Some(&NextHop::Device("wan1".into())));
}

fn connected(device: &str) -> ForeignView {
    ForeignView { protocol: 2, metric: 0, via: None, device: Some(device.into()), table: Table::Main }
}

#[test]
fn a_next_hop_needs_a_connected_route() {
    let mut config = primary_and_backup(at_once());
    config.routes[0].next = NextHop::Via { hop: ip("192.0.2.254"), device: None };
    let mut bench = running(config);
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
    assert_eq!(bench.view(TO).candidates[0].why_not, WhyNot::Unresolved { next_hop: ip("192.0.2.254") });
    let link = prefix("192.0.2.0/24");
    bench.input(Input::Foreign { prefix: link, routes: vec![connected("wan1")] });
    assert_eq!(bench.kernel[&prefix(TO)].device.as_deref(), Some("wan1"));
    // The network moves to another device: the route is made anew.
    bench.link("wan2", true);
    bench.input(Input::Foreign { prefix: link, routes: vec![connected("wan2")] });
    assert_eq!(bench.kernel[&prefix(TO)].device.as_deref(), Some("wan2"));
    bench.link("wan2", false);
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
}

fn red() -> Table {
    Table::Vrf("red".into())
}

/// The primary is in a VRF: its next hop is looked up there, and a route of the VRF follows the VRF's device.
#[test]
fn a_next_hop_is_looked_up_in_the_vrf_of_its_device() {
    const BACK: &str = "10.1.0.0/16";
    let hop =
        |device: Option<&str>| NextHop::Via { hop: ip("192.0.2.254"), device: device.map(str::to_owned) };
    let mut config = primary_and_backup(at_once());
    config.routes[0].next = hop(Some("wan1"));
    config.routes.push(Route { table: red(), ..route(BACK, NextHop::Device("lan0".into()), 1, None) });
    config.routes.push(Route { table: red(), ..route("10.9.0.0/16", hop(None), 1, None) });
    let mut bench = running(config);
    let link = prefix("192.0.2.0/24");
    let of = |device: &str, table: Table| ForeignView { table, ..connected(device) };
    // The main table has the network as well, by another device.
    bench.link("wan2", true);
    bench.link("lan0", true);
    bench.input(Input::Link { device: "wan1".into(), up: true, vrf: Some("red".into()) });
    bench.input(Input::Foreign { prefix: link, routes: vec![of("wan2", Table::Main)] });
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
    bench.input(Input::Foreign { prefix: link, routes: vec![of("wan2", Table::Main), of("wan1", red())] });
    let there = &bench.kernel[&prefix(TO)];
    assert_eq!(
        (there.device.as_deref(), &there.table),
        (Some("wan1"), &Table::Main),
        "a route of the main table"
    );
    assert_eq!(bench.installed(BACK), None);
    assert_eq!(bench.view(BACK).candidates[0].why_not, WhyNot::DeviceDown { device: "red".into() });
    bench.link("red", true);
    assert_eq!(bench.kernel[&prefix(BACK)].table, red());
    assert_eq!(
        bench.kernel[&prefix("10.9.0.0/16")].device.as_deref(),
        Some("wan1"),
        "without a device, in its own VRF"
    );
    // Another program's route of the main table is no rival of one of the VRF.
    bench.input(Input::Foreign { prefix: prefix(BACK), routes: vec![of("wan2", Table::Main)] });
    assert!(bench.view(BACK).foreign.is_empty());
    // The device leaves the VRF, and its connected route with it.
    bench.input(Input::Link { device: "wan1".into(), up: true, vrf: None });
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")), "the main table has no route by it");
    bench.link("red", false);
    assert_eq!(bench.installed(BACK), None);
}

#[test]
fn routes_of_one_prefix_are_in_one_table_and_those_of_tunnels_in_the_main_one() {
    let refused = |change: fn(&mut Config)| {
        let mut config = primary_and_backup(at_once());
        change(&mut config);
        config.check().expect_err("wrong").to_string()
    };
    assert!(refused(|c| c.routes[0].table = red()).contains("several tables"));
    assert!(
        refused(|c| {
            c.routes.remove(0);
            c.routes[0].table = red();
        })
        .contains("the main table")
    );
}

#[test]
fn a_refused_route_is_not_counted_on_and_tried_again() {
    let mut bench = running(primary_and_backup(at_once()));
    let route = bench.kernel.remove(&prefix(TO)).expect("installed");
    // The shell has left the table as it was.
    bench.kernel.insert(prefix(TO), route.clone());
    bench.input(Input::Refused { prefix: prefix(TO), route, reason: "no such device".into() });
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
    assert!(bench.names().contains(&"route-refused"));
    bench.run(ms(5001));
    assert_eq!(bench.installed(TO), Some(&NextHop::Device("wan1".into())));
}

#[test]
fn nothing_is_routed_before_the_kernel_is_known_and_its_routes_are_adopted() {
    // After a crash during a failover: the tunnel's route is there, and the line is down.
    let mut bench = Bench::new(primary_and_backup(at_once()));
    bench.run(ms(2000));
    bench.link("wan1", true);
    bench.kernel.insert(
        prefix(TO),
        KernelRoute { next: tunnel("Tunnel1"), table: Table::Main, device: None, metric: 250 },
    );
    bench.input(Input::Adopt { prefix: prefix(TO), next: tunnel("Tunnel1"), device: None, metric: 250 });
    bench.input(Input::Ready);
    bench.run(ms(1000));
    assert_eq!((bench.view(TO).changes, bench.installed(TO)), (0, Some(&tunnel("Tunnel1"))));

    // Without one, the primary is used until its operation has judged.
    let mut bench = Bench::new(primary_and_backup(at_once()));
    bench.link("wan1", true);
    assert!(bench.kernel.is_empty());
    bench.input(Input::Ready);
    assert_eq!(
        (bench.state(10), bench.installed(TO)),
        (State::Unknown, Some(&NextHop::Device("wan1".into())))
    );
    bench.run(ms(500));
    assert_eq!(bench.installed(TO), Some(&tunnel("Tunnel1")));
}

#[test]
fn a_route_object_follows_foreign_and_own_routes() {
    let mut config = primary_and_backup(at_once());
    config.objects.push(object(20, What::RoutePresent { prefix: prefix("203.0.113.0/24") }));
    config.objects.push(object(21, What::RoutePresent { prefix: prefix(TO) }));
    config.objects.push(object(22, What::And(vec![20, 21])));
    config.objects.push(object(23, What::Not(22)));
    config.routes.remove(1);
    let mut bench = running(config);
    assert_eq!([20, 21, 22, 23].map(|id| bench.state(id)), [State::Down, State::Up, State::Down, State::Up]);
    let bgp = ForeignView { protocol: 186, via: Some(ip("192.0.2.9")), metric: 20, ..connected("wan1") };
    bench.input(Input::Foreign { prefix: prefix("203.0.113.0/24"), routes: vec![bgp] });
    assert_eq!([20, 22, 23].map(|id| bench.state(id)), [State::Up, State::Up, State::Down]);
    bench.answers.clear();
    bench.run(ms(500));
    assert_eq!([21, 22, 23].map(|id| bench.state(id)), [State::Down, State::Down, State::Up]);
    // A prefix that is of no interest is not kept.
    assert!(!bench.core.concerns(prefix("198.51.100.0/24")) && bench.core.concerns(prefix(TO)));
}

#[test]
fn pending_and_expired_operations_are_down() {
    let mut config = primary_and_backup(at_once());
    config.operations[0].lifetime = Some(ms(3000));
    config.operations.push(Operation { start: Start::Pending, ..echo(2) });
    config.objects.push(object(12, What::Reachability { operation: 2 }));
    let mut bench = running(config);
    assert_eq!((bench.state(10), bench.state(12)), (State::Up, State::Down));
    bench.run(ms(3000));
    assert_eq!(bench.state(10), State::Down);
    let probes = bench.probes;
    bench.run(ms(1000));
    assert_eq!(bench.probes, probes);
}

#[test]
fn a_long_stop_of_the_process_sends_one_probe_and_not_thousands() {
    let mut bench = running(primary_and_backup(at_once()));
    let probes = bench.probes;
    bench.now = bench.now + Duration::from_secs(3600);
    bench.core.handle_timeout(bench.now);
    bench.drain();
    assert!(bench.probes - probes <= 1);
    bench.run(ms(1000));
    assert!(bench.probes - probes <= 12);
}

#[test]
fn bfd_moves_the_route_within_its_detection_time() {
    use crate::bfd::{Packet, SessionState};
    let mut config = primary_and_backup(at_once());
    let target = ip("192.0.2.1");
    config.operations[0].probe = Probe::Bfd { target, transmit: ms(50), receive: ms(50), multiplier: 3 };
    let mut bench = running(config);
    assert_eq!(bench.state(10), State::Unknown);
    let say = |bench: &mut Bench, state, from: IpAddr| {
        let mine = bench.core.operation_views()[0].bfd.as_ref().expect("BFD").local_discriminator;
        let packet = Packet {
            diagnostic: crate::bfd::Diagnostic::NONE,
            state,
            poll: false,
            final_: false,
            demand: false,
            multiplier: 3,
            my_discriminator: 9,
            your_discriminator: mine,
            desired_min_tx: ms(50),
            required_min_rx: ms(50),
        };
        bench.input(Input::Bfd { from, bytes: packet.write() });
    };
    say(&mut bench, SessionState::Init, ip("192.0.2.7"));
    assert_eq!((bench.state(10), bench.core.bfd_ignored()), (State::Unknown, 1));
    bench.input(Input::Bfd { from: target, bytes: vec![0x20; 10] });
    say(&mut bench, SessionState::Init, target);
    say(&mut bench, SessionState::Up, target);
    let view = bench.core.operation_views()[0].bfd.clone().expect("BFD");
    assert_eq!((bench.state(10), view.packets_bad, view.state), (State::Up, 1, "Up"));
    let cut = bench.now;
    while bench.installed(TO) != Some(&tunnel("Tunnel1")) {
        bench.run(ms(1));
    }
    assert_eq!(bench.now.saturating_duration_since(cut), ms(150));
}
