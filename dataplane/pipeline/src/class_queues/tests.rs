use super::*;
use crate::flow_queues::QUEUES;
use sipsec_net::TunnelId;
use sipsec_net::qos::{PortRange, Share};

const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn bounds(packets_max: u16, rate: Kbps) -> Bounds {
    Bounds { packets_max, delay_ms_max: 0, rate, mtu: 1500, flow_key: 0 }
}

fn policy(classes: &[ClassSpec], filters: &[Filter]) -> Policy {
    let spec = QosSpec::new(TunnelId(1)).with_classes(classes).expect("few");
    Policy { spec, filters: filters.into(), counters: QosCounters::new(classes.len()) }
}

fn plain(packets_max: u16) -> Queues {
    Queues::new(policy(&[ClassSpec::default()], &[]), &bounds(packets_max, Kbps(1)))
}

fn waiting(flow: u16, id: u32, cost: u16) -> Waiting<u32> {
    let info = Info { ports: Some((flow, 80)), protocol: 17, ..Info::default() };
    Waiting { packet: id, info, since: START, origin: None, cost }
}

fn all(q: &mut Queues, pool: &mut Pool<u32>) -> Vec<u32> {
    std::iter::from_fn(|| q.pop(START, pool).0).map(|due| due.waiting.packet).collect()
}

/// Two port numbers in different flow queues.
fn two_flows() -> (u16, u16) {
    let slot = |p: u16| waiting(p, 0, 0).info.flow(0) as usize % QUEUES;
    (1, (2..).find(|p| slot(*p) != slot(1)).expect("more than one queue"))
}

#[test]
fn a_thin_flow_passes_a_fat_one_and_the_fat_one_pays_for_the_overflow() {
    let (fat, thin) = two_flows();
    let (mut pool, mut q) = (Pool::new(100), plain(20));
    let dropped: u32 = (0..30).map(|id| q.push(&mut pool, 0, waiting(fat, id, 1000))).sum();
    // 16 KiB is the bound here: 16 packets stay.
    assert_eq!(dropped, 14);
    assert!((100..103).map(|id| q.push(&mut pool, 0, waiting(thin, id, 60))).sum::<u32>() <= 1);
    let order = all(&mut q, &mut pool);
    let last_thin = order.iter().position(|id| *id == 102).expect("not dropped");
    assert!(last_thin <= 4, "{order:?}");
    let fat_order: Vec<u32> = order.into_iter().filter(|id| *id < 100).collect();
    assert!(fat_order.is_sorted() && fat_order.len() >= 13, "{fat_order:?}");
    assert_eq!(fat_order.last(), Some(&29), "the oldest have gone");
    assert!(q.is_empty() && pool.used() == 0);
}

#[test]
fn a_large_packet_makes_as_much_room_as_it_needs() {
    let (a, b) = two_flows();
    let (mut pool, mut q) = (Pool::new(1000), plain(1000));
    for id in 0..163 {
        assert_eq!(q.push(&mut pool, 0, waiting(a, id, 100)), 0);
    }
    assert_eq!(q.push(&mut pool, 0, waiting(b, 200, 1500)), 15);
    assert!(q.lists.bytes <= QUEUE_BYTES_MIN && pool.used() == 149);
    let counted = q.counters().read().expect("a class").classes()[0];
    assert_eq!((counted.drops_full, counted.queued_packets), (15, 149));
}

#[test]
fn a_call_with_little_to_send_finds_a_place_when_others_have_taken_the_pool() {
    let (mut pool, mut busy, mut quiet) = (Pool::new(32), plain(1000), plain(1000));
    let dropped: u32 = (0..100).map(|id| busy.push(&mut pool, 4, waiting(1, id, 100))).sum();
    assert_eq!((dropped, pool.free()), (72, 4));
    for id in 0..FEW {
        assert_eq!(quiet.push(&mut pool, 4, waiting(1, id, 100)), 0);
    }
    assert_eq!(pool.free(), 0);
    // Each makes room in its own queue, and keeps its newest.
    assert_eq!(
        (busy.push(&mut pool, 4, waiting(1, 100, 100)), quiet.push(&mut pool, 4, waiting(1, 4, 100))),
        (1, 1)
    );
    assert_eq!(quiet.pop(START, &mut pool).0.map(|due| due.waiting.packet), Some(1));
}

#[test]
fn what_waited_for_the_sa_goes_first_and_in_order() {
    let (a, b) = two_flows();
    let (mut pool, mut q) = (Pool::new(100), plain(20));
    assert_eq!(q.push(&mut pool, 0, waiting(a, 9, 100)), 0);
    for (id, flow) in [(1, a), (2, b), (3, a), (4, b)] {
        q.push_replay(&mut pool, waiting(flow, id, 100)).expect("room");
    }
    assert_eq!(all(&mut q, &mut pool), [1, 2, 3, 4, 9]);
}

/// Voice (UDP port 1) has priority, port 2 is guaranteed a half, port 3 is limited, everything else is the default.
const VOICE: u16 = 1;
const BUSINESS: u16 = 2;
const LIMITED: u16 = 3;

fn classes() -> Policy {
    let filter = |class: u8, port: u16| Filter {
        source_ports: PortRange { first: port, last: port },
        ..Filter::any(class)
    };
    let voice = ClassSpec { guarantee: Some(Share::Percent(25)), priority: true, ..ClassSpec::default() };
    let business = ClassSpec { guarantee: Some(Share::Kbps(500)), ..ClassSpec::default() };
    let limited = ClassSpec { ceiling: Some(Share::Percent(10)), ..ClassSpec::default() };
    policy(
        &[ClassSpec::default(), voice, business, limited],
        &[filter(1, VOICE), filter(2, BUSINESS), filter(3, LIMITED)],
    )
}

/// Bytes by port that a port of 1 Mbit/s sends in ten seconds while these ports always have packets, of so many bytes each.
fn shares(offered: &[(u16, u16)]) -> Vec<u64> {
    let rate = Kbps(1000);
    let (mut pool, mut q) = (Pool::new(4000), Queues::new(classes(), &bounds(4000, rate)));
    q.lists.bytes_max = u64::MAX;
    let (mut shaper, mut now) = (Shaper::new(rate), START);
    let mut sent = vec![0; offered.len()];
    while now < START + Duration::from_secs(10) {
        for (index, (port, cost)) in offered.iter().enumerate() {
            let queued = q.lists.classes.iter().map(|c| c.flows.packets()).sum::<u32>();
            if queued < 400
                || q.lists.classes[q.lists.classify(&waiting(*port, 0, 0).info)].flows.packets() < 10
            {
                let w = Waiting { since: now, ..waiting(*port, index as u32, *cost) };
                assert_eq!(q.push(&mut pool, 0, w), 0);
            }
        }
        while shaper.is_ready(now) {
            let Some(due) = q.pop(now, &mut pool).0 else { break };
            shaper.charge(now, due.waiting.cost.into());
            sent[due.waiting.packet as usize] += u64::from(due.waiting.cost);
        }
        now = now + Duration::from_millis(1);
    }
    sent
}

/// Of what 1 Mbit/s carries in ten seconds.
fn percent(bytes: u64) -> u64 {
    bytes * 100 / 1_231_250
}

#[test]
fn classes_get_their_guarantees_and_what_one_leaves_goes_to_the_others() {
    // Everybody wants everything: priority 25 %, guarantee 50 %, the rest shared by the others.
    let sent = shares(&[(9, 1400), (VOICE, 200), (BUSINESS, 700)]);
    assert!(percent(sent[1]).abs_diff(25) <= 2 && percent(sent[2]).abs_diff(62) <= 4, "{sent:?}");
    assert!(percent(sent[0]).abs_diff(12) <= 3, "{sent:?}");
    // Alone, each gets all of it, or its ceiling.
    for (port, expected) in [(9, 100), (VOICE, 100), (BUSINESS, 100), (LIMITED, 10)] {
        let sent = shares(&[(port, 500)]);
        assert!(percent(sent[0]).abs_diff(expected) <= 1, "{port}: {sent:?}");
    }
}

#[test]
fn priority_within_its_guarantee_waits_for_one_packet_at_most() {
    let (mut pool, mut q) = (Pool::new(100), Queues::new(classes(), &bounds(100, Kbps(64))));
    for id in 0..5 {
        q.push(&mut pool, 0, waiting(9, id, 1500));
        q.push(&mut pool, 0, waiting(BUSINESS, 10 + id, 1500));
    }
    let first = q.pop(START, &mut pool).0.expect("full").waiting.packet;
    assert!(first != 20);
    q.push(&mut pool, 0, waiting(VOICE, 20, 100));
    assert_eq!(q.pop(START, &mut pool).0.expect("full").waiting.packet, 20);
    // A burst beyond 200 ms of 16 kbps goes behind the others, and is not lost.
    for id in 21..40 {
        q.push(&mut pool, 0, waiting(VOICE, id, 100));
    }
    let order = all(&mut q, &mut pool);
    let voice_at = |id: u32| order.iter().position(|x| *x == id).expect("sent");
    assert!(voice_at(22) < 4 && voice_at(39) == order.len() - 1, "{order:?}");
}

#[test]
fn a_class_at_its_ceiling_says_when_it_may_go_on() {
    let (mut pool, mut q) = (Pool::new(100), Queues::new(classes(), &bounds(100, Kbps(1000))));
    assert!(!q.lets_pass(), "a packet of a policy passes its class");
    for id in 0..3 {
        q.push(&mut pool, 0, waiting(LIMITED, id, 1000));
    }
    assert!(q.pop(START, &mut pool).0.is_some() && q.pop(START, &mut pool).0.is_none() && !q.is_empty());
    let at = q.ready_at();
    // 1000 bytes at 98.5 kbps, less the tolerance.
    let wait = at.saturating_duration_since(START).as_millis();
    assert!((78..=80).contains(&wait), "{wait}");
    assert!(q.pop(at, &mut pool).0.is_some());
    q.push(&mut pool, 0, waiting(9, 9, 1000));
    assert_eq!(q.ready_at(), Instant::ZERO);
}

#[test]
fn another_policy_loses_nothing_that_waits() {
    let (mut pool, mut q) = (Pool::new(100), plain(100));
    q.push_ike(&mut pool, waiting(0, 50, 100)).expect("room");
    q.push_replay(&mut pool, waiting(0, 51, 100)).expect("room");
    for id in 0..9 {
        q.push(&mut pool, 0, waiting(id as u16 % 3, id, 100));
    }
    assert_eq!(q.replace(&mut pool, classes(), &bounds(100, Kbps(1000))), 0);
    assert_eq!(q.pop_ike(&mut pool).map(|w| w.packet), Some(50));
    let mut order = all(&mut q, &mut pool);
    assert_eq!(order.remove(0), 51);
    order.sort_unstable();
    assert_eq!((order, q.is_empty(), pool.used()), ((0..9).collect(), true, 0));
}
