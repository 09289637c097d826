//! Outer fragments of ESP are put together and opened: in any order, by any worker, and beside other traffic.

use proptest::prelude::*;
use sipsec_net::dp::{Direction, EspCipher, Op};
use sipsec_net::udp_encap::NON_ESP_MARKER;
use sipsec_net::{DropReason, Instant, Kbps, SecretBox};
use sipsec_pipeline::testing::{Crew, Gateway, Keys, Side, TestEngine, VecPacket, fragments, ipv4_udp};
use sipsec_pipeline::{InsideMode, Owners, Packet};
use std::num::NonZeroU8;
use std::time::Duration;

const NOW: Instant = Instant::from_nanos(10_000_000_000);
const FAST: Kbps = Kbps(1_000_000);

fn keys() -> Keys {
    Keys::new(EspCipher::Aes128Gcm16, false)
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

fn hex(s: &str) -> Vec<u8> {
    (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).expect("hex")).collect()
}

/// Fragments made by scapy (tests/golden/fragments.py) of frames sealed by OpenSSL.
#[test]
fn what_others_have_cut_is_opened() {
    let mut seen = [0, 0];
    for block in include_str!("golden/fragments.txt").split("\n\n").skip(1) {
        let value = |key: &str| block.lines().find_map(|l| l.strip_prefix(key)).expect(key);
        let cut: Vec<_> = block
            .lines()
            .filter_map(|l| l.strip_prefix("fragment "))
            .map(|f| VecPacket::new(&hex(f)))
            .collect();
        assert!(cut.len() > 2, "{block}");
        let mut binding = Gateway::binding(Side::A, FAST);
        let v6 = value("outer ") == "6";
        if v6 {
            binding.outside_local = "[2001:db8:a::1]:50012".parse().expect("valid");
            binding.remote = "[2001:db8:b::7]:24825".parse().expect("valid");
        }
        for reversed in [false, true] {
            let mut sa = Gateway::sa(Side::A, Direction::In, &Keys::new(EspCipher::Aes128Gcm16, false));
            sa.keymat = SecretBox::new(&hex(value("keymat "))).expect("fits");
            let mut a = Gateway::new(Side::A, InsideMode::Host);
            a.apply(&[Op::MediaOpen(binding), Op::SaAdd(sa)]);
            let mut cut = cut.clone();
            if reversed {
                cut.reverse();
            }
            let parts = cut.len() as u64;
            a.pipeline.batch_from_outside(NOW, cut, &mut a.out);
            let mut expected = hex(value("expect "));
            sipsec_net::ipv4::set_byte(&mut expected, 1, 0x03);
            assert_eq!(a.out.inside.pop().expect("delivered").data()[14..], expected, "{block}");
            assert_eq!(drops(&a, DropReason::FragmentTaken), parts - 1);
            seen[usize::from(v6)] += 1;
        }
    }
    assert_eq!(seen, [6, 6]);
}

/// RFC 6946 §4: an atomic fragment is whole, also while others with its identification wait.
#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let (mut a, mut b) = up_v6();
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 200));
    let frame = a.out.outside.pop().expect("sent");
    let mut atomic = frame.data()[..54].to_vec();
    let len = u16::from_be_bytes([atomic[18], atomic[19]]) + 8;
    atomic[18..20].copy_from_slice(&len.to_be_bytes());
    atomic[20] = 44;
    atomic.extend([17, 0, 0, 0, 0, 0, 0, 9]);
    atomic.extend(&frame.data()[54..]);
    b.wan(NOW, VecPacket::new(&atomic));
    assert_eq!((b.out.inside.len(), b.pipeline.drops().iter().sum::<u64>()), (1, 0));
}

fn up() -> (Gateway, Gateway) {
    Gateway::pair(InsideMode::Host, FAST, &keys())
}

fn up_v6() -> (Gateway, Gateway) {
    let of = |side: Side| {
        let address = |side| match side {
            Side::A => "[2001:db8::1]:50012".parse().expect("valid"),
            Side::B => "[2001:db8::2]:24825".parse().expect("valid"),
        };
        let mut g = Gateway::new(side, InsideMode::Host);
        let mut binding = Gateway::binding(side, FAST);
        (binding.outside_local, binding.remote) = (address(side), address(side.other()));
        g.apply(&[Op::MediaOpen(binding)]);
        g.apply(&Gateway::session(side, &keys()));
        g
    };
    (of(Side::A), of(Side::B))
}

#[test]
fn a_packet_that_came_in_fragments_takes_the_way_of_all_that_arrives() {
    for (mut a, mut b) in [up(), up_v6()] {
        a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 1400));
        let frame = a.out.outside.pop().expect("sent");
        let cut = fragments(&frame, 800, 1);
        assert_eq!(cut.len(), 2);
        for part in &cut {
            b.wan(NOW, part.clone());
        }
        assert_eq!(
            b.out.inside.pop().expect("opened").data()[14..],
            ipv4_udp(Side::A.host(), Side::B.host(), 1400)
        );
        // Again: the whole is a replay. A fragment of another sender makes a whole of another sender.
        for part in &cut {
            b.wan(NOW, part.clone());
        }
        assert_eq!(drops(&b, DropReason::ReplayDuplicate), 1);
        let at = if frame.data()[12] == 8 { 26 } else { 14 + 8 };
        for part in &cut {
            let mut part = part.clone();
            part.data_mut()[at] ^= 1;
            if at == 26 {
                // RFC 1071: the difference of one word.
                let sum = u16::from_be_bytes([part.data()[24], part.data()[25]]);
                let delta = if part.data()[26] & 1 == 1 { 0x0100 } else { 0xfeff };
                let (sum, carry) = (!sum).overflowing_add(delta);
                part.data_mut()[24..26].copy_from_slice(&(!(sum + u16::from(carry))).to_be_bytes());
            }
            b.wan(NOW, part);
        }
        assert_eq!(drops(&b, DropReason::WrongSource), 1);
        // IKE comes so, too.
        let ike = [&NON_ESP_MARKER[..], &[1; 900]].concat();
        let mut message = frame.data()[..frame.data().len()].to_vec();
        let header = if at == 26 { 42 } else { 62 };
        message[header..header + ike.len()].copy_from_slice(&ike);
        for part in fragments(&VecPacket::new(&message), 800, 2) {
            b.wan(NOW, part);
        }
        assert_eq!(b.out.punted.len(), 1);
        assert_eq!(drops(&b, DropReason::FragmentTaken), 4);
        assert_eq!(b.pipeline.fragments_held(), 0);
    }
}

#[test]
fn a_fragment_that_is_missing_costs_its_datagram_and_no_other() {
    let (mut a, mut b) = up();
    let mut lost = Vec::new();
    for n in 0..3u16 {
        a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 1000 + usize::from(n)));
        let mut cut = fragments(&a.out.outside.pop().expect("sent"), 600, n);
        if n == 1 {
            lost.push(cut.remove(0));
        }
        cut.into_iter().for_each(|part| b.wan(NOW, part));
    }
    assert_eq!((b.out.inside.len(), b.pipeline.fragments_held()), (2, 1));
    b.poll(NOW);
    let end = NOW + Duration::from_secs(3);
    assert_eq!(b.pipeline.next_deadline(), end);
    b.poll(end);
    assert_eq!((drops(&b, DropReason::FragmentTimeout), b.pipeline.next_deadline()), (1, Instant::MAX));
    // It comes at last, and waits in vain.
    b.wan(end, lost.remove(0));
    b.poll(end + Duration::from_secs(3));
    assert_eq!((drops(&b, DropReason::FragmentTimeout), b.out.inside.len()), (2, 2));
}

#[test]
fn a_profile_may_drop_every_fragment() {
    let mut config = Gateway::config(Side::B, InsideMode::Host);
    config.limits.reassembly.per_peer_max = 0;
    let mut b = Gateway::with_config(Side::B, config);
    b.call(FAST, &keys());
    let (mut a, _) = up();
    a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), 1000));
    fragments(&a.out.outside.pop().expect("sent"), 600, 1).into_iter().for_each(|part| b.wan(NOW, part));
    assert_eq!((drops(&b, DropReason::FragmentLimit), b.pipeline.fragments_held()), (2, 0));
}

/// The fragments of a datagram need not come by one queue.
#[test]
fn workers_bring_fragments_together() {
    const TUNNELS: u16 = 4;
    for workers in 1..=4u8 {
        let owners = Owners::new(NonZeroU8::new(workers).expect("some"));
        let mut crew = Crew::new(Gateway::config(Side::A, InsideMode::Host), Box::new(TestEngine), owners);
        for n in 0..TUNNELS {
            crew.apply(NOW, Gateway::tunnel_of_many(Side::A, n, FAST, &keys()));
        }
        let mut b = Gateway::with_tunnels(Side::B, TUNNELS, FAST, &keys(), Box::new(TestEngine));
        let mut arrived = 0;
        for n in 0..TUNNELS {
            b.lan(NOW, &ipv4_udp(Side::B.host_of(n), Side::A.host_of(n), 1000));
            for part in fragments(&b.out.outside.pop().expect("sent"), 304, n) {
                crew.wan(arrived % usize::from(workers), NOW, part);
                arrived += 1;
            }
        }
        let mut inside = 0;
        for _ in 0..4 {
            for worker in 0..usize::from(workers) {
                for from in 0..usize::from(workers) {
                    while crew.take_handed(worker, from, NOW) {}
                }
                inside += crew.take_sent(worker)[1].len();
            }
        }
        assert_eq!(inside, usize::from(TUNNELS), "{workers}");
        assert_eq!(crew.drops().iter().sum::<u64>(), arrived as u64 - u64::from(TUNNELS));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Fragments of several packets in any order, some of them twice, some cut smaller: each packet arrives once.
    #[test]
    fn any_mixture_of_fragments_delivers_each_packet_once(
        sizes in prop::collection::vec((200usize..1438, 3usize..100), 1..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        copies in prop::collection::vec(any::<bool>(), 0..200),
        v6 in any::<bool>(),
    ) {
        let (mut a, mut b) = if v6 { up_v6() } else { up() };
        let mut wire = Vec::new();
        for (n, (size, cut)) in (0..).zip(&sizes) {
            a.lan(NOW, &ipv4_udp(Side::A.host(), Side::B.host(), *size));
            let frame = a.out.outside.pop().expect("sent");
            // No more than 32 of a packet.
            let cut = (8 * cut).max(56);
            wire.extend(fragments(&frame, cut, n));
        }
        for (i, other) in order.iter().enumerate().take(wire.len()) {
            let other = other.index(wire.len());
            wire.swap(i, other);
        }
        let mut given = 0;
        for (i, part) in wire.iter().enumerate() {
            b.wan(NOW, part.clone());
            given += 1;
            // A copy of what still waits.
            if copies.get(i) == Some(&true) {
                let held = b.pipeline.fragments_held();
                b.wan(NOW, part.clone());
                given += 1;
                prop_assert!(b.pipeline.fragments_held() <= held + 1);
            }
        }
        prop_assert_eq!(b.out.inside.len(), sizes.len());
        let ended = b.pipeline.drops().iter().sum::<u64>();
        prop_assert_eq!(ended + u64::from(b.pipeline.fragments_held()) + sizes.len() as u64, given);
    }
}
