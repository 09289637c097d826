//! What is refused.

use super::*;
use crate::ConfigError;
use crate::config::Damping;

fn refused(change: impl FnOnce(&mut Config)) -> ConfigError {
    let mut config = primary_and_backup(at_once());
    change(&mut config);
    config.check().expect_err("wrong")
}

#[test]
fn what_cannot_work_is_refused_with_its_reason() {
    assert_eq!(primary_and_backup(at_once()).check(), Ok(()));
    let texts: Vec<String> = [
        refused(|c| c.operations.push(echo(1))),
        refused(|c| c.operations[0].up_count = 0),
        refused(|c| c.operations[0].timeout = ms(101)),
        refused(|c| c.operations[0].source = Some(ip("2001:db8::1"))),
        refused(|c| {
            c.operations[0].probe =
                Probe::IcmpJitter { target: ip("192.0.2.1"), packets: 6, interval: ms(11) }
        }),
        refused(|c| c.objects.push(object(10, What::Not(10)))),
        refused(|c| c.objects.push(object(11, What::Not(11)))),
        refused(|c| c.objects.push(object(11, What::Not(99)))),
        refused(|c| c.objects.push(object(11, What::And(vec![])))),
        refused(|c| c.objects.push(object(11, What::Or(vec![10, 10])))),
        refused(|c| c.objects.push(object(11, What::Reachability { operation: 9 }))),
        refused(|c| c.objects.push(object(11, What::Weight { members: vec![(10, 1)], up: 1, down: 1 }))),
        refused(|c| c.objects.push(object(11, What::Percentage { members: vec![10], up: 101, down: 1 }))),
        refused(|c| c.objects[0].damping = Some(Damping { reuse: 2000, ..Damping::default() })),
        refused(|c| {
            c.objects[0].damping =
                Some(Damping { suppress_max: Duration::from_secs(900), ..Damping::default() });
        }),
        refused(|c| c.routes[0].track = Some(77)),
        refused(|c| c.routes[0].distance = 0),
        refused(|c| c.routes[0].next = NextHop::Via { hop: ip("2001:db8::1"), device: None }),
        refused(|c| {
            let probe =
                Probe::Bfd { target: ip("192.0.2.1"), transmit: ms(50), receive: ms(50), multiplier: 3 };
            c.operations[0].probe = probe;
            c.operations.push(Operation { id: 2, ..c.operations[0].clone() });
        }),
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    assert_eq!(
        texts,
        [
            "operation 1 is there twice",
            "operation 1: a count is 0",
            "operation 1: timeout and series together are longer than the frequency",
            "operation 1: source and target are of different address families",
            "operation 1: timeout and series together are longer than the frequency",
            "track object 10 is there twice",
            "track object 11 depends on itself",
            "track object 11 has the member 99, which does not exist",
            "track object 11: the list is empty",
            "track object 11: a member is there twice",
            "track object 11 follows operation 9, which does not exist",
            "track object 11: the threshold up is not above that of down",
            "track object 11: the threshold up is above 100 %, or not above that of down",
            "track object 10: suppress is not above reuse, or reuse is 0",
            "track object 10: the longest suppression is so short that no penalty reaches suppress",
            "the route 10.2.0.0/16 follows track object 77, which does not exist",
            "the route 10.2.0.0/16: the distance is 0",
            "the route 10.2.0.0/16: its next hop is of the other address family",
            "operations 1 and 2 have the same BFD neighbour",
        ]
    );
}

#[test]
fn cycles_are_found_also_through_routes_and_diamonds_are_none() {
    let chain = |c: &mut Config, last: What| {
        c.objects.push(object(20, What::Not(21)));
        c.objects.push(object(21, What::And(vec![22, 10])));
        c.objects.push(object(22, last));
    };
    assert!(matches!(refused(|c| chain(c, What::Or(vec![10, 20]))), ConfigError::Cycle(20..=22)));
    let by_route = refused(|c| {
        chain(c, What::RoutePresent { prefix: prefix("10.2.0.0/16") });
        c.routes[1].track = Some(20);
    });
    assert!(matches!(by_route, ConfigError::Cycle(20..=22)));
    let mut config = primary_and_backup(at_once());
    chain(&mut config, What::Or(vec![10]));
    config.objects.push(object(23, What::And(vec![20, 21, 22, 10])));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn long_chains_need_no_stack() {
    let mut config = primary_and_backup(at_once());
    config.objects.extend((11..15_000).map(|id| object(id, What::Not(id - 1))));
    let mut bench = running(config);
    assert_eq!(bench.state(14_999), State::Down);
    bench.answers.clear();
    bench.run(ms(500));
    assert_eq!((bench.state(10), bench.state(14_999)), (State::Down, State::Up));
}
