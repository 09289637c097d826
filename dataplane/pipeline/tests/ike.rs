//! IKE through the dataplane: the marker, the programmed translation, and who may speak.

use sipsec_net::dp::{EspCipher, Event, Op, PeerSource};
use sipsec_net::{DropReason, Instant, Kbps, MacAddr};
use sipsec_pipeline::testing::{Gateway, Keys, Side, VecPacket};
use sipsec_pipeline::{InsideMode, Packet, PuntRefused};
use std::time::Duration;

const NOW: Instant = Instant::from_nanos(1_000_000_000);

fn keys() -> Keys {
    Keys::new(EspCipher::Aes128Gcm16, false)
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

fn called() -> (Gateway, Gateway) {
    Gateway::pair(InsideMode::Host, Kbps(1000), &keys())
}

fn send(g: &mut Gateway, message: &[u8]) {
    let (port, remote) = (g.side.media_port(), g.side.other().media());
    g.pipeline.send_ike(NOW, port, remote, message, Some(VecPacket::new(&[0; 9])));
    g.poll(NOW);
}

#[test]
fn a_message_crosses_with_its_marker_between_the_ports_of_sdp() {
    let (mut a, mut b) = called();
    let message: Vec<u8> = (0..200).collect();
    send(&mut a, &message);
    let frame = a.out.outside[0].data().to_vec();
    assert_eq!(frame[14 + 12..14 + 20], [192, 0, 2, 1, 198, 51, 100, 7]);
    assert_eq!(frame[34..38], [0xc3, 0x5c, 0x60, 0xf9], "50012 to 24825");
    assert_eq!(
        frame[40..42],
        [0; 2],
        "over IPv4 no UDP checksum: one that is wrong is dropped by the peer's kernel"
    );
    assert_eq!(frame[42..46], [0; 4]);
    assert_eq!(frame[46..], message);
    a.carry_to(NOW, &mut b);
    assert_eq!(b.out.punted, [(Side::B.media_port(), Side::A.media(), message)]);
}

/// RFC 3948 §2.3.
#[test]
fn an_empty_message_is_a_keepalive() {
    let (mut a, mut b) = called();
    send(&mut a, &[]);
    let frame = a.out.outside[0].data().to_vec();
    assert_eq!(frame[34..38], [0xc3, 0x5c, 0x60, 0xf9], "50012 to 24825");
    assert_eq!((&frame[38..40], &frame[42..]), (&[0, 9][..], &[0xff][..]), "UDP length, and the one byte");
    a.carry_to(NOW, &mut b);
    assert_eq!((b.out.punted.len(), drops(&b, DropReason::Keepalive)), (0, 1));
}

#[test]
fn a_flood_under_the_peers_address_is_bounded_for_each_port() {
    let (mut a, mut b) = called();
    send(&mut a, &[5; 40]);
    let frame = a.out.outside.pop().expect("sent");
    for _ in 0..100 {
        b.wan(NOW, frame.clone());
    }
    assert_eq!((b.out.punted.len(), drops(&b, DropReason::IkePuntFull)), (64, 36));
    for ms in 0..1000 {
        b.wan(NOW + Duration::from_millis(ms), frame.clone());
    }
    assert!((127..=128).contains(&b.out.punted.len()), "{}", b.out.punted.len());
}

#[test]
fn nobody_but_the_peer_of_sdp_is_heard_and_a_flood_is_one_report_a_second() {
    let (mut a, mut b) = called();
    send(&mut a, &[5; 40]);
    let good = a.out.outside.pop().expect("sent").data().to_vec();
    let mut other_addr = good.clone();
    sipsec_net::ipv4::set_byte(&mut other_addr[14..], 15, 99);
    let mut other_port = good.clone();
    other_port[35] ^= 1;
    for ms in 0..2500 {
        let now = NOW + Duration::from_millis(ms);
        b.wan(now, VecPacket::new(&other_addr));
        b.wan(now, VecPacket::new(&other_port));
    }
    assert_eq!(drops(&b, DropReason::WrongSource), 5000);
    let from = "192.0.2.99:50012".parse().expect("valid");
    let report = Event::WrongSource { media_port: Side::B.media_port(), from };
    assert_eq!(b.out.events, [report.clone(), report.clone(), report]);
    // To the same port at an address that is not the call's.
    let mut not_ours = good.clone();
    sipsec_net::ipv4::set_byte(&mut not_ours[14..], 19, 99);
    b.wan(NOW, VecPacket::new(&not_ours));
    assert_eq!(drops(&b, DropReason::MediaPortClosed), 1);
    assert!(b.out.punted.is_empty());
    b.wan(NOW, VecPacket::new(&good));
    assert_eq!(b.out.punted.len(), 1);
}

/// The peer's port is open until something proves itself; its address never is.
#[test]
fn a_relays_port_is_taken_until_one_is_proven_and_then_that_one_alone() {
    let (mut a, mut b) = called();
    let port = Side::B.media_port();
    b.apply(&[Op::PeerSource { media_port: port, source: PeerSource::Unproven }]);
    send(&mut a, &[5; 40]);
    let good = a.out.outside.pop().expect("sent").data().to_vec();
    let from_port = |low: u8| {
        let mut frame = good.clone();
        frame[35] = low;
        VecPacket::new(&frame)
    };
    let mut elsewhere = good.clone();
    sipsec_net::ipv4::set_byte(&mut elsewhere[14..], 15, 99);
    b.wan(NOW, from_port(1));
    b.wan(NOW, from_port(2));
    b.wan(NOW, VecPacket::new(&elsewhere));
    assert_eq!((b.out.punted.len(), drops(&b, DropReason::WrongSource)), (2, 1));
    let ports: Vec<_> = b.out.punted.iter().map(|(_, from, _)| from.port() & 0xff).collect();
    assert_eq!(ports, [1, 2], "the control plane sees where it came from");
    // It has heard what fits.
    let chosen = b.out.punted[1].1.port();
    b.apply(&[Op::PeerSource { media_port: port, source: PeerSource::Port(chosen) }]);
    for frame in [from_port(1), from_port(2), VecPacket::new(&good)] {
        b.wan(NOW, frame);
    }
    assert_eq!((b.out.punted.len(), drops(&b, DropReason::WrongSource)), (4, 2), "SDP's own port stays open");
    // The next call's port is strict again.
    b.apply(&[Op::MediaClose(port)]);
    b.apply(&[Op::MediaOpen(Gateway::binding(Side::B, Kbps(1000)))]);
    b.wan(NOW, from_port(2));
    assert_eq!(drops(&b, DropReason::WrongSource), 3);
}

#[test]
fn a_control_plane_that_does_not_keep_up_costs_counted_messages() {
    let (mut a, mut b) = called();
    for (refused, reason) in
        [(PuntRefused::Full, DropReason::IkePuntFull), (PuntRefused::TooLong, DropReason::IkeTooLong)]
    {
        send(&mut a, &[5; 40]);
        b.out.punt_refused = Some(refused);
        a.carry_to(NOW, &mut b);
        assert_eq!(drops(&b, reason), 1);
    }
}

#[test]
fn what_cannot_be_sent_is_counted() {
    let (mut a, _) = called();
    let (port, remote) = (Side::A.media_port(), Side::B.media());
    let frame = || Some(VecPacket::new(&[]));
    let p = &mut a.pipeline;
    p.send_ike(NOW, Side::B.media_port(), remote, &[1; 40], frame());
    p.send_ike(NOW, port, Side::A.media(), &[1; 40], frame());
    p.send_ike(NOW, port, remote, &[1; 40], None);
    // 1500 less IP, UDP and the marker.
    p.send_ike(NOW, port, remote, &[1; 1469], frame());
    for _ in 0..33 {
        p.send_ike(NOW, port, remote, &[1; 1468], frame());
    }
    a.apply(&[Op::NextHop { media_port: port, mac: MacAddr::default() }]);
    a.pipeline.send_ike(NOW, port, remote, &[1; 40], frame());
    assert_eq!(drops(&a, DropReason::IkeNoBinding), 2);
    assert_eq!(drops(&a, DropReason::FrameExhausted), 1);
    assert_eq!(drops(&a, DropReason::IkeTooLong), 1);
    // The last one finds the queue full before its next hop is looked at.
    assert_eq!(drops(&a, DropReason::ShaperIkeQueueFull), 2);
    a.apply(&[Op::MediaClose(port)]);
    assert_eq!(drops(&a, DropReason::IkeNoBinding), 2 + 32);
    assert_eq!(a.pipeline.live().shaper_waiting, 0);
}

#[test]
fn the_next_hop_may_become_known_later_and_change() {
    let mut a = Gateway::new(Side::A, InsideMode::Host);
    let mut binding = Gateway::binding(Side::A, Kbps(1000));
    binding.next_hop = MacAddr::default();
    a.apply(&[Op::MediaOpen(binding)]);
    send(&mut a, &[1; 40]);
    assert_eq!(drops(&a, DropReason::NoNextHop), 1);
    let mac = MacAddr([2, 9, 9, 9, 9, 9]);
    a.apply(&[Op::NextHop { media_port: Side::A.media_port(), mac }]);
    send(&mut a, &[1; 40]);
    assert_eq!(a.out.outside[0].data()[..6], mac.0);
}

#[test]
fn keepalives_and_noise_are_told_apart_and_prove_nothing() {
    let (mut a, mut b) = called();
    send(&mut a, &[5; 40]);
    let frame = a.out.outside.pop().expect("sent").data().to_vec();
    let mut with = |payload: &[u8]| {
        let mut f = frame[..42].to_vec();
        f.extend_from_slice(payload);
        let total = (f.len() - 14) as u16;
        f[16..18].copy_from_slice(&total.to_be_bytes());
        f[38..40].copy_from_slice(&(total - 20).to_be_bytes());
        f[24..26].fill(0);
        let check = sipsec_net::checksum::finish(sipsec_net::checksum::sum(&f[14..34], 0));
        f[24..26].copy_from_slice(&check.to_be_bytes());
        // Ethernet pads short frames; the padding is not the datagram's.
        f.resize(f.len().max(60), 0);
        b.wan(NOW, VecPacket::new(&f));
    };
    with(&[0xff]);
    with(&[0xfe]);
    with(&[0; 8]);
    with(&[1, 2, 3, 4, 5, 6, 7, 8]);
    with(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let mut fragment = frame.clone();
    fragment[20] = 0x20;
    fragment[24..26].fill(0);
    let check = sipsec_net::checksum::finish(sipsec_net::checksum::sum(&fragment[14..34], 0));
    fragment[24..26].copy_from_slice(&check.to_be_bytes());
    b.wan(NOW, VecPacket::new(&fragment));
    for (reason, n) in [
        (DropReason::Keepalive, 1),
        (DropReason::MalformedEncap, 3),
        (DropReason::UnknownSpi, 1),
        (DropReason::FragmentMalformed, 1),
    ] {
        assert_eq!(drops(&b, reason), n, "{reason:?}");
    }
    assert_eq!(b.pipeline.activity(Gateway::TUNNEL).expect("configured").last_data(), Instant::ZERO);
}
