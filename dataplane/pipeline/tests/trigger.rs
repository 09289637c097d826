//! A packet opens a call: what waits, how long, in which order it leaves and how fast.

use sipsec_net::dp::{Adjacency, EspCipher, Event, MediaBinding, Op, TunnelActivity, TunnelSpec};
use sipsec_net::filter::{FILTER_RULES_MAX, FilterRule, FilterUse, Span};
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps, TunnelId};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{InsideMode, Packet};
use std::time::Duration;

const START: Instant = Instant::from_nanos(10_000_000_000);
/// Outer bytes of 1 Mbit/s in a second.
const MBIT: usize = 125_000;

fn keys() -> Keys {
    Keys::new(EspCipher::Aes128Gcm16, false)
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

/// The identification says which packet it is.
fn numbered(n: u16, len: usize) -> Vec<u8> {
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), len - 28);
    inner.identification = n;
    // Many flows: the order must hold across them.
    inner.payload[0] = n as u8;
    inner.to_bytes()
}

fn acquires(g: &mut Gateway) -> usize {
    let n = g.out.events.iter().filter(|e| matches!(e, Event::Acquire { .. })).count();
    g.out.events.clear();
    n
}

fn activity(g: &Gateway) -> TunnelActivity {
    g.pipeline.activity(Gateway::TUNNEL).expect("configured")
}

/// Polls whenever something is due, until `end` or nothing is left; what left, and when.
fn run(g: &mut Gateway, end: Instant) -> Vec<(Instant, VecPacket)> {
    let mut sent = Vec::new();
    while g.pipeline.next_deadline() <= end {
        let now = g.pipeline.next_deadline();
        g.poll(now);
        sent.extend(g.out.outside.drain(..).map(|f| (now, f)));
    }
    sent
}

#[test]
fn the_first_packets_are_not_lost_and_leave_in_order_at_the_negotiated_rate() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let mut b = Gateway::new(Side::B, InsideMode::Host);
    b.call(Kbps(1000), &keys());
    for n in 0..40 {
        a.lan(START, &numbered(n, 1438));
    }
    // 45 times 1438 is within 65,536 bytes, 46 is not.
    for n in 40..64 {
        a.lan(START, &numbered(n, 1438));
    }
    assert_eq!(acquires(&mut a), 1, "one call, however many packets");
    assert_eq!(drops(&a, DropReason::TriggerQueueFull), 64 - 45);
    assert!(a.out.outside.is_empty());

    let up = START + Duration::from_millis(400);
    a.call(Kbps(1000), &keys());
    a.lan(up, &numbered(99, 200));
    let sent = run(&mut a, up + Duration::from_secs(10));
    let mut got = Vec::new();
    for (now, frame) in &sent {
        b.wan(*now, frame.clone());
        got.extend(b.out.inside.drain(..).map(|p| u16::from_be_bytes([p.data()[18], p.data()[19]])));
    }
    let expected: Vec<u16> = (0..45).chain([99]).collect();
    assert_eq!(got, expected);
    // 45 packets of 1500 bytes at 1 Mbit/s take half a second.
    let last = sent.last().expect("something").0.saturating_duration_since(sent[0].0);
    assert!((Duration::from_millis(530)..Duration::from_millis(560)).contains(&last), "{last:?}");
    let a = activity(&a);
    assert_eq!((a.trigger_queued, a.trigger_replayed, a.trigger_dropped, a.packets_out), (45, 45, 19, 46));
}

#[test]
fn what_waits_too_long_is_dropped_and_the_next_packet_asks_again() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    for n in 0..3 {
        a.lan(START + Duration::from_secs(n.into()), &numbered(n, 100));
    }
    assert_eq!(acquires(&mut a), 1);
    assert_eq!(a.pipeline.next_deadline(), START + Duration::from_secs(5));
    a.poll(START + Duration::from_millis(4999));
    assert_eq!(drops(&a, DropReason::TriggerExpired), 0);
    a.poll(START + Duration::from_secs(6));
    assert_eq!(drops(&a, DropReason::TriggerExpired), 2);
    a.lan(START + Duration::from_secs(6), &numbered(3, 100));
    assert_eq!(acquires(&mut a), 0, "one call is still wanted");
    a.poll(START + Duration::from_secs(20));
    assert_eq!((drops(&a, DropReason::TriggerExpired), a.pipeline.live().trigger_waiting), (4, 0));
    assert_eq!(a.pipeline.next_deadline(), Instant::MAX);
    a.lan(START + Duration::from_secs(21), &numbered(4, 100));
    assert_eq!(acquires(&mut a), 1);
}

#[test]
fn a_failed_call_flushes_and_a_new_control_plane_is_asked_again() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.lan(START, &numbered(1, 100));
    assert_eq!(acquires(&mut a), 1);
    let mut asked = Vec::new();
    a.pipeline.reacquire(0..16, &mut |e| asked.push(e));
    assert!(matches!(&asked[..], [Event::Acquire { tunnel: Gateway::TUNNEL, first }] if first.len == 100));
    a.apply(&[Op::FlushTrigger(Gateway::TUNNEL)]);
    assert_eq!(drops(&a, DropReason::TriggerFlushed), 1);
    a.lan(START, &numbered(2, 100));
    assert_eq!(acquires(&mut a), 1);
    // While it waits the tunnel goes, and with it the packet.
    a.apply(&[Op::TunnelRemove(Gateway::TUNNEL)]);
    assert_eq!((drops(&a, DropReason::TriggerFlushed), a.pipeline.live().trigger_waiting), (2, 0));
    a.lan(START, &numbered(3, 100));
    assert_eq!(drops(&a, DropReason::NoRoute), 1);
    asked.clear();
    a.pipeline.reacquire(0..16, &mut |e| asked.push(e));
    assert!(asked.is_empty());
}

#[test]
fn after_the_call_the_next_packet_opens_another() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.call(Kbps(64), &keys());
    for n in 0..5 {
        a.lan(START, &numbered(n, 1000));
    }
    assert_eq!(a.out.outside.len(), 1, "the others wait for their rate");
    assert_eq!(a.pipeline.live().shaper_waiting, 4);
    a.apply(&[Op::TunnelUnbind(Gateway::TUNNEL), Op::MediaClose(Side::A.media_port())]);
    assert_eq!(drops(&a, DropReason::TriggerFlushed), 4);
    assert_eq!(a.pipeline.live().shaper_waiting, 0);
    assert_eq!(acquires(&mut a), 0);
    a.lan(START, &numbered(5, 100));
    assert_eq!(acquires(&mut a), 1);
    a.call(Kbps(64), &keys());
    a.poll(START);
    assert_eq!(a.out.outside.len(), 2);
}

#[test]
fn overload_leaves_at_the_rate_within_three_per_cent_and_ike_goes_first() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.call(Kbps(1000), &keys());
    let mut per_second = [0usize; 6];
    let mut ike_delay = Duration::ZERO;
    let step = Duration::from_micros(500);
    let mut now = START;
    let mut asked: Option<Instant> = None;
    for i in 0u32..12_000 {
        // Twelve times what may leave.
        a.lan(now, &ipv4_udp(Side::A.host(), Side::B.host(), 700));
        if i % 700 == 0 {
            let frame = Some(VecPacket::new(&[]));
            a.pipeline.send_ike(now, Side::A.media_port(), Side::B.media(), &[1; 80], frame);
            asked = Some(now);
        }
        let ike_before = a.out.ike_frames;
        a.poll(now);
        if a.out.ike_frames > ike_before {
            ike_delay = ike_delay.max(now.saturating_duration_since(asked.take().expect("one at a time")));
        }
        let second = now.saturating_duration_since(START).as_secs() as usize;
        per_second[second] += a.out.outside.drain(..).map(|f| f.data().len() - 14).sum::<usize>();
        now = now + step;
    }
    for bytes in per_second {
        assert!((MBIT * 97 / 100..=MBIT).contains(&bytes), "{per_second:?}");
    }
    assert!(asked.is_none() && a.out.ike_frames == 18, "{} sent", a.out.ike_frames);
    // No longer than one packet's time and two polls, with any queue of data.
    assert!(ike_delay <= Duration::from_millis(8), "{ike_delay:?}");
    assert!(drops(&a, DropReason::ShaperQueueFull) > 10_000);
    assert_eq!(drops(&a, DropReason::ShaperIkeQueueFull), 0);
}

/// The tunnels 101, 102, … with a prefix each.
fn dead_tunnels(a: &mut Gateway, n: u8) {
    for i in 1..=n {
        let tunnel = TunnelId(100 + u32::from(i));
        let prefix = IpPrefix::new([10, 100 + i, 0, 0].into(), 16).expect("valid");
        let spec = TunnelSpec { tunnel, ..Gateway::tunnel() };
        a.apply(&[Op::TunnelAdd(spec), Op::RouteAdd { prefix, tunnel, adjacency: Adjacency::Tunnel }]);
    }
}

#[test]
fn tunnels_that_nobody_answers_leave_room_for_live_calls_and_still_ask() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.call(Kbps(64), &keys());
    let limits = Gateway::config(Side::A, InsideMode::Host).limits;
    let max = limits.trigger_packets_max();
    assert_eq!(max, limits.waiting_packets_max / 2);
    let dead = (max / 64) as u8;
    dead_tunnels(&mut a, dead + 1);
    for i in 1..=dead {
        for _ in 0..64 {
            a.lan(START, &ipv4_udp(Side::A.host(), [10, 100 + i, 0, 1].into(), 100));
        }
    }
    assert_eq!((a.pipeline.live().trigger_waiting, acquires(&mut a)), (max, dead.into()));
    // The next tunnel's packet is lost, its call is asked for nevertheless, once, and again when that came to nothing.
    let last = TunnelId(101 + u32::from(dead));
    let late =
        |a: &mut Gateway, now| a.lan(now, &ipv4_udp(Side::A.host(), [10, 101 + dead, 0, 1].into(), 100));
    late(&mut a, START);
    late(&mut a, START);
    assert!(matches!(a.out.events[..], [Event::Acquire { tunnel, .. }] if tunnel == last));
    assert_eq!((drops(&a, DropReason::TriggerQueueFull), acquires(&mut a)), (2, 1));
    // A live call's packets wait for their rate.
    for n in 0..20 {
        a.lan(START, &numbered(n, 100));
    }
    assert_eq!((a.pipeline.live().shaper_waiting, drops(&a, DropReason::ShaperQueueFull)), (19, 0));
    let later = START + Duration::from_secs(5);
    a.poll(later);
    assert_eq!(a.pipeline.live().trigger_waiting, 0);
    late(&mut a, later);
    assert_eq!((acquires(&mut a), a.pipeline.live().trigger_waiting), (1, 1));
}

#[test]
fn what_has_got_its_call_takes_the_places_of_triggers_until_it_is_sent() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let max = Gateway::config(Side::A, InsideMode::Host).limits.trigger_packets_max();
    let dead = (max / 64) as u8;
    dead_tunnels(&mut a, dead);
    let flood = |a: &mut Gateway| {
        for i in 1..=dead {
            for _ in 0..64 {
                a.lan(START, &ipv4_udp(Side::A.host(), [10, 100 + i, 0, 1].into(), 100));
            }
        }
    };
    for n in 0..64 {
        a.lan(START, &numbered(n, 100));
    }
    a.call(Kbps(64), &keys());
    assert_eq!((a.pipeline.live().trigger_waiting, a.pipeline.live().shaper_waiting), (0, 64));
    flood(&mut a);
    assert_eq!((a.pipeline.live().trigger_waiting, drops(&a, DropReason::TriggerQueueFull)), (max - 64, 64));
    // Sent, and given up: either way their places are free again.
    a.poll(START);
    let sent = run(&mut a, START + Duration::from_secs(1)).len() as u32;
    assert!((1..64).contains(&sent), "{sent} of 64");
    flood(&mut a);
    assert_eq!(a.pipeline.live().trigger_waiting, max - 64 + sent);
    a.apply(&[Op::MediaClose(Side::A.media_port())]);
    flood(&mut a);
    assert_eq!((a.pipeline.live().trigger_waiting, a.pipeline.live().shaper_waiting), (max, 0));
}

#[test]
fn what_waits_stays_while_a_new_control_plane_puts_the_tunnel_back() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.lan(START, &numbered(1, 100));
    a.lan(START, &ipv4_udp(Side::A.host(), [10, 2, 7, 7].into(), 100));
    assert_eq!(acquires(&mut a), 1);
    let narrower = IpPrefix::new([10, 2, 0, 0].into(), 24).expect("valid");
    a.apply(&[
        Op::TunnelRemove(Gateway::TUNNEL),
        Op::TunnelAdd(Gateway::tunnel()),
        Op::RouteAdd { prefix: narrower, tunnel: Gateway::TUNNEL, adjacency: Adjacency::Tunnel },
    ]);
    // What the tunnel no longer leads to is gone: the number may be another peer's now.
    assert_eq!((a.pipeline.live().trigger_waiting, drops(&a, DropReason::TriggerFlushed)), (1, 1));
    a.lan(START, &numbered(2, 100));
    assert_eq!(acquires(&mut a), 0, "its call is asked for already");
    a.call(Kbps(1000), &keys());
    assert_eq!(run(&mut a, START + Duration::from_secs(1)).len(), 2);
    assert_eq!(a.pipeline.live().trigger_waiting, 0);
}

#[test]
fn what_waited_and_is_too_large_for_the_call_is_cut_or_its_sender_told() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.lan(START, &numbered(1, 1430));
    let mut whole = Inner::udp(Side::A.host().into(), Side::B.host().into(), 1402);
    whole.dont_fragment = true;
    a.lan(START, &whole.to_bytes());
    // Between IPv6 addresses 1418 bytes fit.
    let binding = MediaBinding {
        outside_local: "[2001:db8::1]:50012".parse().expect("valid"),
        remote: "[2001:db8::2]:24825".parse().expect("valid"),
        ..Gateway::binding(Side::A, Kbps(1000))
    };
    a.apply(&[Op::MediaOpen(binding)]);
    a.apply(&Gateway::session(Side::A, &keys()));
    let sent = run(&mut a, START + Duration::from_secs(1));
    assert_eq!(sent.len(), 2, "two fragments of the first");
    assert!(sent.iter().all(|(_, f)| f.data().len() <= 14 + 1500));
    assert_eq!((drops(&a, DropReason::TooBigDf), a.out.inside.len()), (1, 1));
    assert_eq!(a.out.inside[0].data()[34..36], [3, 4]);
    assert_eq!(a.out.inside[0].data()[40..42], u16::to_be_bytes(1418));
}

fn add(used: FilterUse, rule: FilterRule) -> Op {
    Op::FilterAdd { tunnel: Gateway::TUNNEL, used, rule }
}

/// What a filter of UDP port 9 and of packets of 1000 bytes and more denies, and what it permits.
fn small_but_not_discard() -> [FilterRule; 3] {
    let deny = FilterRule { permit: false, ..FilterRule::ANY };
    let span = |first, last| Span { first, last };
    [
        FilterRule { protocol: Some(17), destination_ports: span(9, 9), ..deny },
        FilterRule { length: span(1000, u16::MAX), ..deny },
        FilterRule::ANY,
    ]
}

fn udp(port: u16, len: usize) -> Vec<u8> {
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), len - 28).to_bytes();
    inner[22..24].copy_from_slice(&port.to_be_bytes());
    inner
}

#[test]
fn what_the_filter_denies_places_no_call_and_passes_a_tunnel_that_is_up() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.apply(&small_but_not_discard().map(|rule| add(FilterUse::Trigger, rule)));
    for denied in [udp(9, 100), udp(7, 1200)] {
        a.lan(START, &denied);
    }
    assert_eq!((acquires(&mut a), drops(&a, DropReason::TriggerFiltered)), (0, 2));
    assert_eq!((activity(&a).trigger_queued, activity(&a).drops_out), (0, 2));
    a.lan(START, &udp(7, 100));
    assert_eq!((acquires(&mut a), activity(&a).trigger_queued), (1, 1));
    // While the call is being made, too.
    a.lan(START, &udp(9, 100));
    assert_eq!((activity(&a).trigger_queued, drops(&a, DropReason::TriggerFiltered)), (1, 3));
    a.call(Kbps(10_000_000), &keys());
    a.lan(START + Duration::from_secs(1), &udp(9, 100));
    assert_eq!(run(&mut a, START + Duration::from_secs(9)).len() + a.out.outside.len(), 2, "both leave");
    a.apply(&[
        Op::TunnelUnbind(Gateway::TUNNEL),
        Op::FilterClear { tunnel: Gateway::TUNNEL, used: FilterUse::Trigger },
    ]);
    a.lan(START + Duration::from_secs(10), &udp(9, 100));
    assert_eq!(acquires(&mut a), 1, "without a filter every packet is worth a call");
}

#[test]
fn what_the_idle_filter_denies_is_counted_and_is_no_sign_of_use_in_either_direction() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let mut b = Gateway::new(Side::B, InsideMode::Host);
    for g in [&mut a, &mut b] {
        g.call(Kbps(10_000_000), &keys());
    }
    // Of the other end's packets, the port is that of their source as this end sees it.
    let mut rule = small_but_not_discard()[0];
    a.apply(&[add(FilterUse::Idle, rule), add(FilterUse::Idle, FilterRule::ANY)]);
    (rule.source_ports, rule.destination_ports) = (rule.destination_ports, rule.source_ports);
    b.apply(&[add(FilterUse::Idle, rule), add(FilterUse::Idle, FilterRule::ANY)]);
    let second = |n: u64| START + Duration::from_secs(n);
    let mut pass = |at: Instant, packet: &[u8]| {
        a.lan(at, packet);
        let frame = a.out.outside.pop().expect("sealed");
        b.wan(at, frame);
        (activity(&a), activity(&b))
    };
    let (out, into) = pass(second(1), &udp(7, 100));
    assert_eq!((out.last_out, into.last_in), (second(1), second(1)));
    let (out, into) = pass(second(2), &udp(9, 100));
    assert_eq!((out.last_out, into.last_in), (second(1), second(1)), "as it was");
    assert_eq!((out.packets_out, into.packets_in), (2, 2));
}

#[test]
fn a_filter_has_a_bound() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let rules = vec![add(FilterUse::Idle, FilterRule::ANY); FILTER_RULES_MAX];
    a.apply(&rules);
    let refused = a.pipeline.apply(START, &rules[..1]);
    assert_eq!(refused, Err((0, sipsec_net::dp::RejectReason::TableFull)));
    let clear = Op::FilterClear { tunnel: Gateway::TUNNEL, used: FilterUse::Idle };
    a.apply(&[vec![clear], rules].concat());
    let other = Op::FilterClear { tunnel: TunnelId(99), used: FilterUse::Idle };
    assert_eq!(a.pipeline.apply(START, &[other]), Err((0, sipsec_net::dp::RejectReason::UnknownTunnel)));
}
