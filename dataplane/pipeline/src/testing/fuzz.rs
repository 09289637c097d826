//! What the fuzzer of bench/fuzz runs and the tests of bench replay: two gateways in a call, and arbitrary frames. The
//! receiver exists twice: one gets frames one by one, the other in batches, and both must come to the same.

use super::{Gateway, Inner, Keys, Side, VecPacket, fragments};
use crate::config::{InsideMode, Limits};
use crate::packet::Packet;
use crate::reassembly::ReassemblyLimits;
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
    let (mut a, one, batch) = (gateway(Side::A, &keys), gateway(Side::B, &keys), gateway(Side::B, &keys));
    let mut b = Twins { one, batch };
    let mut now = Instant::ZERO + Duration::from_secs(1);
    for _ in 0..STEPS_MAX {
        let Some(([what, low, high], more)) = rest.split_first_chunk::<3>() else { break };
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(FRAME_MAX).min(more.len());
        let (body, more) = more.split_at(len);
        rest = more;
        step(&mut a, &mut b, &mut now, *what, body);
        b.compare();
        for g in [&mut a, &mut b.one, &mut b.batch] {
            // Frames go back, as the device gives them back.
            g.out.outside.clear();
            g.out.inside.clear();
            g.out.events.clear();
            g.out.punted.clear();
            g.out.frames.resize_with(64, || VecPacket::new(&[]));
        }
    }
}

/// In a call, with tables so small that an execution does not spend its time on making them.
fn gateway(side: Side, keys: &Keys) -> Gateway {
    const TUNNELS: u32 = 2;
    const FRAMES: u32 = 256;
    let mut config = Gateway::config(side, InsideMode::Host);
    config.limits = Limits {
        nat_sessions_max: 64,
        reassembly: ReassemblyLimits { datagrams_max: 32, per_peer_max: 8, ..ReassemblyLimits::DEFAULT },
        ..Limits::for_tunnels(TUNNELS, FRAMES)
    };
    let mut g = Gateway::with_config(side, config);
    g.call(RATE, keys);
    g
}

/// The same gateway twice.
struct Twins {
    one: Gateway,
    batch: Gateway,
}

impl Twins {
    /// Frames from the WAN, each of which comes to one end: the LAN, the control plane, or the counter of one reason. A fragment
    /// may wait for it.
    fn wan(&mut self, now: Instant, frames: Vec<VecPacket>) {
        let ends = |g: &Gateway| {
            g.pipeline.drops().iter().sum::<u64>()
                + u64::from(g.pipeline.fragments_held())
                + (g.out.inside.len() + g.out.punted.len()) as u64
        };
        for frame in &frames {
            let before = ends(&self.one);
            self.one.wan(now, frame.clone());
            assert!(ends(&self.one) <= before + 1, "one frame, one end");
        }
        self.batch.pipeline.batch_from_outside(now, frames, &mut self.batch.out);
    }

    fn both(&mut self, mut what: impl FnMut(&mut Gateway)) {
        what(&mut self.one);
        what(&mut self.batch);
    }

    fn compare(&self) {
        let bytes = |frames: &[VecPacket]| frames.iter().map(|f| f.data().to_vec()).collect::<Vec<_>>();
        let (one, batch) = (&self.one, &self.batch);
        assert_eq!(bytes(&one.out.inside), bytes(&batch.out.inside));
        assert_eq!(bytes(&one.out.outside), bytes(&batch.out.outside));
        assert_eq!(one.out.punted, batch.out.punted);
        assert_eq!(one.out.events.len(), batch.out.events.len());
        assert_eq!(one.pipeline.drops(), batch.pipeline.drops());
    }
}

fn step(a: &mut Gateway, b: &mut Twins, now: &mut Instant, what: u8, body: &[u8]) {
    match what % 9 {
        // An arbitrary frame, and one from the peer's address to the media port.
        0 => b.wan(*now, vec![VecPacket::new(body)]),
        1 => b.wan(*now, vec![from_peer(body)]),
        // The LAN: a frame, a packet.
        2 => b.both(|g| g.pipeline.from_inside(*now, VecPacket::new(body), &mut g.out)),
        3 => {
            // In pieces: first what is one packet, then several that meet in a batch, whole and cut.
            let (count, rest) = body.split_first().map_or((0, body), |(n, rest)| (usize::from(*n % 9), rest));
            let mut packets = vec![rest.to_vec()];
            packets.extend(rest.chunks(8).take(count).map(inner_of_b));
            if let Some(last) = packets.last_mut().filter(|_| count > 4) {
                last.truncate(rest.len() % 40);
            }
            packets.iter().for_each(|packet| b.one.lan(*now, packet));
            b.batch.lan_batch(*now, &packets);
        }
        // What the peer seals, with one byte changed, and cut; each twice, in one batch.
        4 | 5 => {
            for piece in body.chunks(8).take(8) {
                a.lan(*now, &inner(piece));
            }
            a.poll(*now);
            let mut frames = Vec::new();
            for mut frame in std::mem::take(&mut a.out.outside) {
                if what % 9 == 5 {
                    let (at, with) = (body.first().copied().unwrap_or(0), body.get(1).copied().unwrap_or(1));
                    let len = frame.data().len();
                    frame.data_mut()[usize::from(at) * 3 % len] ^= with;
                    frame.truncate(len - usize::from(body.get(2).copied().unwrap_or(0)).min(len));
                }
                frames.extend([frame.clone(), frame]);
            }
            if body.len() % 5 == 4 {
                let cut = |(n, frame)| fragments(frame, 8 * (body.len() % 16 + 1), n as u16);
                frames = frames.iter().enumerate().flat_map(cut).collect();
            }
            if body.len() % 2 == 1 {
                frames.reverse();
            }
            b.wan(*now, frames);
        }
        6 => {
            *now = *now + Duration::from_millis(u64::from(body.first().copied().unwrap_or(1)) * 10);
            b.both(|g| g.poll(*now));
        }
        // A sealed packet whose inside is anything at all.
        7 => {
            a.pipeline.from_inside(*now, ethernet(body), &mut a.out);
            a.poll(*now);
            b.wan(*now, std::mem::take(&mut a.out.outside));
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
                b.both(|g| {
                    let _ = g.pipeline.apply(*now, core::slice::from_ref(&op));
                });
            }
        }
    }
}

/// An IPv4 frame without addresses.
fn ethernet(ip: &[u8]) -> VecPacket {
    let mut frame = vec![0; 12];
    frame.extend([8, 0]);
    frame.extend_from_slice(ip);
    VecPacket::new(&frame)
}

fn inner(body: &[u8]) -> Vec<u8> {
    between(Side::A, body)
}

/// From the receiver's LAN to the sender's.
fn inner_of_b(body: &[u8]) -> Vec<u8> {
    between(Side::B, body)
}

fn between(from: Side, body: &[u8]) -> Vec<u8> {
    let (source, destination) = (from.host().into(), from.other().host().into());
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
