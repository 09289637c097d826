//! Classes of a tunnel inside its negotiated rate, ECN marks through the tunnel, and the policer of what arrives.

use sipsec_net::dp::{EspCipher, Op, OuterDscp};
use sipsec_net::qos::{
    ClassSpec, FILTERS_PER_BLOCK, Filter, Police, PoliceAction, QosActivity, QosFilters, QosSpec, Share,
};
use sipsec_net::{DropReason, Instant, Kbps};
use sipsec_pipeline::testing::{Gateway, Inner, Keys, Side, VecPacket};
use sipsec_pipeline::{InsideMode, Packet};
use std::time::Duration;

const START: Instant = Instant::from_nanos(10_000_000_000);
const EF: u8 = 46;
const VOICE: u8 = 1;
const BULK: u8 = 2;
/// Where the IP header of a frame has its TOS.
const TOS_AT: usize = 14 + 1;

fn keys() -> Keys {
    Keys::new(EspCipher::Aes128Gcm16, false)
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

fn counted(g: &Gateway) -> QosActivity {
    let counters = g.pipeline.registry().qos_counters(Gateway::TUNNEL).expect("configured");
    counters.read().expect("a class")
}

/// With this TOS, of the flow with this number.
fn packet(class: u8, flow: u8, len: usize) -> Vec<u8> {
    let mut inner = Inner::udp(Side::A.host().into(), Side::B.host().into(), len - 28);
    inner.class = class;
    inner.payload[0] = flow;
    inner.to_bytes()
}

fn policy(classes: &[ClassSpec]) -> Op {
    Op::TunnelQos(QosSpec::new(Gateway::TUNNEL).with_classes(classes).expect("few"))
}

fn filters(of: &[Filter]) -> Op {
    let filters = core::array::from_fn::<_, FILTERS_PER_BLOCK, _>(|i| of.get(i).copied());
    Op::TunnelQosFilters(QosFilters { tunnel: Gateway::TUNNEL, filters })
}

fn dscp(class: u8, dscp: u8) -> Filter {
    Filter { dscp: 1 << dscp, ..Filter::any(class) }
}

fn voice() -> ClassSpec {
    ClassSpec { guarantee: Some(Share::Percent(30)), priority: true, ..ClassSpec::default() }
}

/// A call of 64 kbps with voice before everything else.
fn with_voice() -> Gateway {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.call(Kbps(64), &keys());
    a.apply(&[policy(&[ClassSpec::default(), voice()]), filters(&[dscp(VOICE, EF)])]);
    a
}

/// Polls whenever something is due, until `end`; what left, and when.
fn run(g: &mut Gateway, end: Instant) -> Vec<(Instant, VecPacket)> {
    let mut sent = Vec::new();
    while g.pipeline.next_deadline() <= end {
        let now = g.pipeline.next_deadline().max(START);
        g.poll(now);
        sent.extend(g.out.outside.drain(..).map(|f| (now, f)));
    }
    sent
}

#[test]
fn voice_waits_for_one_packet_of_a_bulk_upload_at_most() {
    let mut a = with_voice();
    let mut worst = Duration::ZERO;
    for n in 0..1500u32 {
        let mut now = START + Duration::from_millis(20) * n;
        // Ten times the rate of bulk, and a sixth of it of voice.
        for flow in 0..2 {
            a.lan(now, &packet(0, flow, 1400));
        }
        if n.is_multiple_of(5) {
            a.lan(now, &packet(EF << 2, 9, 100));
            let asked = now;
            let outer = |f: &VecPacket| f.data().len() < 300;
            while !a.out.outside.iter().any(outer) {
                let next = a.pipeline.next_deadline();
                a.poll(next);
                worst = worst.max(next.saturating_duration_since(asked));
                now = now.max(next);
            }
            a.out.outside.clear();
        }
        run(&mut a, now);
    }
    // 1464 bytes at 98.5 % of 64 kbit/s.
    assert!(worst <= Duration::from_millis(188), "{worst:?}");
    let of = counted(&a);
    assert_eq!((of.classes()[1].packets, of.classes()[1].drops_full, of.rate_kbps), (300, 0, 64));
    assert!(of.classes()[0].drops_full > 1000 && of.classes()[1].delay_p99_us <= 200_000 * 5 / 4, "{of:?}");
    let total = of.classes().iter().map(|c| c.drops_full).sum::<u64>();
    assert_eq!(drops(&a, DropReason::ShaperQueueFull), total);
}

#[test]
fn ike_goes_before_every_class_and_is_never_lost_to_them() {
    let mut a = with_voice();
    for n in 0..300u32 {
        let now = START + Duration::from_millis(10) * n;
        for flow in 0..4 {
            a.lan(now, &packet(EF << 2, flow, 200));
        }
        if n.is_multiple_of(50) {
            a.pipeline.send_ike(
                now,
                Side::A.media_port(),
                Side::B.media(),
                &[1; 80],
                Some(VecPacket::new(&[])),
            );
            let before = a.out.ike_frames;
            let due = a.pipeline.next_deadline().max(now);
            a.poll(due);
            assert_eq!(a.out.ike_frames, before + 1, "the next to leave");
        }
        run(&mut a, now);
    }
    assert_eq!(a.out.ike_frames, 6);
    assert!(drops(&a, DropReason::ShaperQueueFull) + drops(&a, DropReason::ShaperAqm) > 500);
}

#[test]
fn a_standing_queue_of_an_ecn_transport_is_marked_outside_and_inside() {
    const ECT_0: u8 = 2;
    for (ecn, marked) in [(ECT_0, true), (0, false)] {
        let mut a = Gateway::new(Side::A, InsideMode::Host);
        let mut b = Gateway::new(Side::B, InsideMode::Host);
        a.call(Kbps(1000), &keys());
        b.call(Kbps(1000), &keys());
        let (mut outside, mut inside) = (0, 0);
        for n in 0..4000u32 {
            let now = START + Duration::from_millis(1) * n;
            if n.is_multiple_of(4) {
                a.lan(now, &packet(ecn, 1, 600));
            }
            for (at, frame) in run(&mut a, now) {
                outside += u32::from(frame.data()[TOS_AT] & 3 == 3);
                b.wan(at, frame);
            }
            inside += b.out.inside.drain(..).filter(|p| p.data()[TOS_AT] & 3 == 3).count() as u32;
        }
        let of = counted(&a).classes()[0];
        assert_eq!((outside > 0, drops(&a, DropReason::ShaperAqm) > 0), (marked, !marked), "{of:?}");
        // RFC 6040 §4.2: what was ECT and arrives CE is forwarded CE.
        assert_eq!((outside, u64::from(outside)), (inside, of.marks));
        assert_eq!(of.drops_aqm, drops(&a, DropReason::ShaperAqm));
        assert_eq!(drops(&b, DropReason::EcnIllegal), 0);
    }
}

#[test]
fn the_outer_dscp_is_the_classs_own_a_copy_or_the_calls() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.call(Kbps(1000), &keys());
    let marked = |dscp| ClassSpec { outer_dscp: Some(dscp), ..ClassSpec::default() };
    a.apply(&[
        policy(&[ClassSpec::default(), marked(OuterDscp::Fixed(34)), marked(OuterDscp::CopyInner)]),
        filters(&[dscp(VOICE, EF), dscp(BULK, 10)]),
    ]);
    for (inner, outer) in [(EF, 34), (10, 10), (26, 0)] {
        a.lan(START, &packet(inner << 2, 1, 100));
        let now = a.pipeline.next_deadline().max(START);
        a.poll(now);
        let frame = a.out.outside.pop().expect("sent");
        assert_eq!(frame.data()[TOS_AT] >> 2, outer, "inner {inner}");
    }
}

#[test]
fn a_policy_that_changes_during_a_call_keeps_what_waits() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.call(Kbps(64), &keys());
    for n in 0..5 {
        a.lan(START, &packet(0, n, 1000));
    }
    a.lan(START, &packet(EF << 2, 9, 100));
    assert_eq!(a.pipeline.live().shaper_waiting, 5);
    a.apply(&[policy(&[ClassSpec::default(), voice()]), filters(&[dscp(VOICE, EF)])]);
    assert_eq!(a.pipeline.live().shaper_waiting, 5);
    a.out.outside.clear();
    let sent = run(&mut a, START + Duration::from_secs(3));
    let lens: Vec<bool> = sent.iter().map(|(_, f)| f.data().len() < 300).collect();
    assert_eq!(lens, [true, false, false, false, false], "voice first");
    // And when the policy goes, packets need not wait for anything but the rate.
    a.apply(&[policy(&[ClassSpec::default()])]);
    a.lan(START + Duration::from_secs(9), &packet(EF << 2, 9, 100));
    assert_eq!(a.out.outside.len(), 1);
}

#[test]
fn a_class_above_its_ceiling_waits_while_the_line_is_idle() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    a.call(Kbps(1000), &keys());
    let slow = ClassSpec { ceiling: Some(Share::Kbps(100)), ..ClassSpec::default() };
    a.apply(&[policy(&[ClassSpec::default(), slow]), filters(&[dscp(1, 8)])]);
    for n in 0..12 {
        a.lan(START, &packet(8 << 2, n, 1000));
    }
    let sent = run(&mut a, START + Duration::from_secs(1));
    let bytes: usize = sent.iter().map(|(_, f)| f.data().len() - 14).sum();
    assert!((11_000..=12_500 + 1064).contains(&bytes), "{bytes} of 12500");
    let last = sent.last().expect("some").0.saturating_duration_since(START);
    assert!(last > Duration::from_millis(900), "{last:?}");
}

#[test]
fn what_arrives_above_the_rate_is_counted_marked_or_dropped() {
    for (action, passed, remarked) in [
        (PoliceAction::Off, 200, 0),
        (PoliceAction::Count, 200, 0),
        (PoliceAction::Mark(8), 200, 148),
        (PoliceAction::Drop, 52, 0),
    ] {
        let mut a = Gateway::new(Side::A, InsideMode::Host);
        let mut b = Gateway::new(Side::B, InsideMode::Host);
        a.call(Kbps(1_000_000), &keys());
        let mut spec = QosSpec::new(Gateway::TUNNEL);
        spec.police = Police { action, burst_ms: 500 };
        b.apply(&[Op::TunnelQos(spec)]);
        b.call(Kbps(1000), &keys());
        // 200 packets of 1200 outer bytes at once; 62,500 bytes are half a second of 1 Mbit/s.
        for n in 0..200u32 {
            let now = START + Duration::from_micros(30) * n;
            a.lan(now, &packet(EF << 2, 1, 1138));
            a.poll(now);
            for frame in std::mem::take(&mut a.out.outside) {
                assert_eq!(frame.data().len(), 14 + 1200);
                b.wan(START, frame);
            }
        }
        let got: Vec<u8> = b.out.inside.drain(..).map(|p| p.data()[TOS_AT] >> 2).collect();
        assert_eq!(got.len(), passed, "{action:?}");
        assert_eq!(got.iter().filter(|d| **d == 8).count(), remarked, "{action:?}");
        let exceeded = if action == PoliceAction::Off { 0 } else { 148 };
        assert_eq!(counted(&b).exceeded, exceeded, "{action:?}");
        assert_eq!(counted(&b).exceeded_bytes, exceeded * 1200);
        assert_eq!(drops(&b, DropReason::PolicedIn), 200 - passed as u64);
        // A second later the bucket has filled again.
        a.lan(START + Duration::from_secs(2), &packet(0, 1, 1138));
        a.poll(START + Duration::from_secs(2));
        let frame = a.out.outside.pop().expect("sent");
        b.wan(START + Duration::from_secs(2), frame);
        assert_eq!((b.out.inside.len(), counted(&b).exceeded), (1, exceeded));
    }
}

#[test]
fn forged_packets_take_nothing_from_the_peers_rate() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let mut b = Gateway::new(Side::B, InsideMode::Host);
    a.call(Kbps(1_000_000), &keys());
    let mut spec = QosSpec::new(Gateway::TUNNEL);
    spec.police = Police { action: PoliceAction::Drop, burst_ms: 100 };
    b.apply(&[Op::TunnelQos(spec)]);
    b.call(Kbps(64), &keys());
    a.lan(START, &packet(0, 1, 500));
    let frame = a.out.outside.pop().expect("sent");
    for _ in 0..100 {
        let mut forged = frame.clone();
        let last = forged.data().len() - 1;
        forged.data_mut()[last] ^= 1;
        b.wan(START, forged);
    }
    b.wan(START, frame);
    assert_eq!((b.out.inside.len(), drops(&b, DropReason::IcvFailed)), (1, 100));
    assert_eq!((counted(&b).exceeded, drops(&b, DropReason::PolicedIn)), (0, 0));
}
