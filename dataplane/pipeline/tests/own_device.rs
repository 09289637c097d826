//! Host mode: a tunnel with a kernel device of its own takes what comes by it, and its packets come back to it.

use sipsec_net::dp::{EspCipher, Op, TunnelSpec};
use sipsec_net::{DropReason, Instant, Kbps, MacAddr, TunnelId, tunnel_device};
use sipsec_pipeline::testing::{Gateway, Keys, Side, VecPacket, ipv4_udp};
use sipsec_pipeline::{InsideMode, Packet};
use std::net::Ipv4Addr;

const NOW: Instant = Instant::from_nanos(1_000_000_000);
/// No route of any tunnel has it.
const LEARNT: Ipv4Addr = Ipv4Addr::new(172, 16, 5, 9);

fn pair(mode: InsideMode) -> (Gateway, Gateway) {
    let keys = Keys::new(EspCipher::Aes128Gcm16, false);
    let (mut a, mut b) = Gateway::pair(mode, Kbps(10_000_000), &keys);
    for g in [&mut a, &mut b] {
        let spec = TunnelSpec { own_device: true, check_source: false, ..Gateway::tunnel() };
        g.apply(&[Op::TunnelSet(spec)]);
    }
    (a, b)
}

/// What the kernel sends by the device with this address.
fn by_device(g: &mut Gateway, source: MacAddr, ip: &[u8]) {
    let inside = Gateway::config(g.side, InsideMode::Host).inside;
    let mut frame = [inside.mac.0, source.0].concat();
    frame.extend(0x0800_u16.to_be_bytes());
    frame.extend_from_slice(ip);
    g.pipeline.from_inside(NOW, VecPacket::new(&frame), &mut g.out);
}

fn drops(g: &Gateway, reason: DropReason) -> u64 {
    g.pipeline.drops()[reason.index()]
}

#[test]
fn what_comes_by_the_device_goes_into_its_tunnel_and_comes_back_by_the_other_ends() {
    let (mut a, mut b) = pair(InsideMode::Host);
    let device = tunnel_device::mac(Gateway::TUNNEL);
    let ip = ipv4_udp(Side::A.host(), LEARNT, 100);
    by_device(&mut a, device, &ip);
    assert_eq!(a.carry_to(NOW, &mut b), 1, "no route leads there, and none is needed");
    let got = std::mem::take(&mut b.out.inside);
    assert_eq!((&got[0].data()[..6], &got[0].data()[14..]), (&device.0[..], &ip[..]));
    // By the sVTI the routes decide, as ever.
    let svti = Gateway::config(Side::A, InsideMode::Host).inside.next_hop;
    by_device(&mut a, svti, &ip);
    assert_eq!((a.out.outside.len(), drops(&a, DropReason::NoRoute)), (0, 1));
    by_device(&mut a, svti, &ipv4_udp(Side::A.host(), Side::B.host(), 100));
    assert_eq!(a.carry_to(NOW, &mut b), 1);
}

#[test]
fn errors_come_by_the_device() {
    let (mut a, _) = pair(InsideMode::Host);
    let mut ip = ipv4_udp(Side::A.host(), LEARNT, 1472);
    // DF (RFC 791 §3.1), with the checksum of the header as it was less 0x4000.
    ip[6] |= 0x40;
    let sum = u16::from_be_bytes([ip[10], ip[11]]);
    let (less, borrow) = sum.overflowing_sub(0x4000);
    ip[10..12].copy_from_slice(&less.wrapping_sub(u16::from(borrow)).to_be_bytes());
    by_device(&mut a, tunnel_device::mac(Gateway::TUNNEL), &ip);
    assert_eq!(drops(&a, DropReason::TooBigDf), 1);
    let told = &a.out.inside[0];
    assert_eq!(told.data()[..6], tunnel_device::mac(Gateway::TUNNEL).0);
}

#[test]
fn by_the_device_of_no_tunnel_the_routes_decide_and_a_host_of_the_lan_is_no_device() {
    let (mut a, mut b) = pair(InsideMode::Host);
    let ip = ipv4_udp(Side::A.host(), Side::B.host(), 100);
    let learnt = ipv4_udp(Side::A.host(), LEARNT, 100);
    a.apply(&[Op::TunnelSet(Gateway::tunnel())]);
    for id in [Gateway::TUNNEL, TunnelId(8)] {
        by_device(&mut a, tunnel_device::mac(id), &learnt);
        by_device(&mut a, tunnel_device::mac(id), &ip);
    }
    assert_eq!((a.carry_to(NOW, &mut b), drops(&a, DropReason::NoRoute)), (2, 2));
    // In router mode any address can be a LAN host's own.
    let (mut a, mut b) = pair(InsideMode::Router);
    by_device(&mut a, tunnel_device::mac(TunnelId(8)), &ip);
    assert_eq!(a.carry_to(NOW, &mut b), 1);
}
