//! What the fuzzer of bench/fuzz runs and the tests of bench replay: two gateways in a call, and frames of anybody.

use super::{Gateway, Inner, Keys, Side, VecPacket};
use crate::config::InsideMode;
use crate::packet::Packet;
use core::time::Duration;
use sipsec_net::dp::{EspCipher, Op};
use sipsec_net::udp::{self, UdpHeader};
use sipsec_net::{Instant, Kbps};

const RATE: Kbps = Kbps(10_000);
const STEPS_MAX: usize = 64;
/// What a frame may have at most; more is another frame.
const FRAME_MAX: usize = 2000;

/// The input is a list of steps: what, how many bytes, the bytes.
pub fn fuzz(bytes: &[u8]) {
    let Some((choice, mut rest)) = bytes.split_first() else { return };
    let keys = Keys::new(EspCipher::Aes128Gcm16, choice & 1 != 0);
    let (mut a, mut b) = Gateway::pair(InsideMode::Host, RATE, &keys);
    let mut now = Instant::ZERO + Duration::from_secs(1);
    for _ in 0..STEPS_MAX {
        let Some(([what, low, high], more)) = rest.split_first_chunk::<3>() else { break };
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(FRAME_MAX).min(more.len());
        let (body, more) = more.split_at(len);
        rest = more;
        step(&mut a, &mut b, &mut now, *what, body);
        for g in [&mut a, &mut b] {
            // Frames go back, as the device gives them back.
            g.out.inside.clear();
            g.out.events.clear();
            g.out.punted.clear();
            g.out.frames.resize_with(64, || VecPacket::new(&[]));
        }
    }
}

/// A frame from the WAN, which comes to one end: the LAN, the control plane, or the counter of one reason.
fn wan(b: &mut Gateway, now: Instant, frame: VecPacket) {
    let ends = |b: &Gateway| {
        b.pipeline.drops().iter().sum::<u64>() + (b.out.inside.len() + b.out.punted.len()) as u64
    };
    let before = ends(b);
    b.wan(now, frame);
    assert!(ends(b) <= before + 1, "one frame, one end");
}

fn step(a: &mut Gateway, b: &mut Gateway, now: &mut Instant, what: u8, body: &[u8]) {
    match what % 9 {
        // Anybody's frame, and one from the peer's address to the media port.
        0 => wan(b, *now, VecPacket::new(body)),
        1 => wan(b, *now, from_peer(body)),
        // The LAN: a frame, a packet.
        2 => b.pipeline.from_inside(*now, VecPacket::new(body), &mut b.out),
        3 => b.lan(*now, body),
        // What the peer seals, with one byte changed, and cut.
        4 | 5 => {
            a.lan(*now, &inner(body));
            a.poll(*now);
            for mut frame in std::mem::take(&mut a.out.outside) {
                if what % 9 == 5 {
                    let (at, with) = (body.first().copied().unwrap_or(0), body.get(1).copied().unwrap_or(1));
                    let len = frame.data().len();
                    frame.data_mut()[usize::from(at) * 3 % len] ^= with;
                    frame.truncate(len - usize::from(body.get(2).copied().unwrap_or(0)).min(len));
                }
                wan(b, *now, frame.clone());
                wan(b, *now, frame);
            }
        }
        6 => {
            *now = *now + Duration::from_millis(u64::from(body.first().copied().unwrap_or(1)) * 10);
            b.poll(*now);
        }
        // A sealed packet whose inside is anything at all.
        7 => {
            a.pipeline.from_inside(*now, ethernet(body), &mut a.out);
            a.poll(*now);
            a.carry_to(*now, b);
        }
        _ => {
            let ops = [
                Op::TunnelUnbind(Gateway::TUNNEL),
                Op::SaRemove(Gateway::SA_OUT),
                Op::SaRemove(Gateway::SA_IN),
                Op::FlushTrigger(Gateway::TUNNEL),
                Op::ReplayTrigger(Gateway::TUNNEL),
                Op::MediaClose(Side::B.media_port()),
                Op::MediaOpen(Gateway::binding(Side::B, RATE)),
            ];
            for at in body.iter().take(ops.len()) {
                let op = ops[usize::from(*at) % ops.len()].clone();
                // What does not suit the state is refused whole.
                let _ = b.pipeline.apply(*now, &[op]);
            }
        }
    }
}

/// From nobody to nobody, IPv4.
fn ethernet(ip: &[u8]) -> VecPacket {
    let mut frame = vec![0; 12];
    frame.extend([8, 0]);
    frame.extend_from_slice(ip);
    VecPacket::new(&frame)
}

fn inner(body: &[u8]) -> Vec<u8> {
    let (source, destination) = (Side::A.host().into(), Side::B.host().into());
    let mut packet = Inner::udp(source, destination, 0);
    packet.class = body.first().copied().unwrap_or_default();
    packet.payload.extend_from_slice(body);
    packet.to_bytes()
}

/// In Ethernet, IPv4 and UDP, from the peer that SDP named to the media port of the call.
fn from_peer(body: &[u8]) -> VecPacket {
    let (from, to) = (Side::A.media(), Side::B.media());
    let mut outer = Inner::udp(from.ip(), to.ip(), 0);
    let len = u16::try_from(udp::HEADER_LEN + body.len()).expect("frames are short");
    let header = UdpHeader { source_port: from.port(), destination_port: to.port(), len, checksum: 0 };
    outer.payload = [&header.to_bytes()[..], body].concat();
    ethernet(&outer.to_bytes())
}
