//! A batch is the same as its packets one by one: bytes, drops, events and counters, for any mix and any cut.

use super::*;
use crate::sad::SaRef;
use crate::testing::{Gateway, Inner, Keys, Side, VecPacket};
use proptest::prelude::*;
use sipsec_net::dp::{Adjacency, Direction, EspCipher, Op};
use sipsec_net::{IpPrefix, Kbps, SaId, Spi, TunnelId, checksum};

const NOW: Instant = Instant::from_nanos(1_000_000_000);
const FAST: Kbps = Kbps(10_000_000);
/// A second peer of the receiver, for what a hub forwards.
const NEXT: TunnelId = TunnelId(8);

/// One frame from the WAN.
#[derive(Clone, Debug)]
enum Frame {
    /// A fresh packet of the peer, which skips so many sequence numbers before it.
    Fresh {
        skip: u64,
        inner: Packet1,
    },
    /// A copy of one that was sealed before.
    Again(prop::sample::Index),
    /// The same with one byte changed.
    Damaged(prop::sample::Index, prop::sample::Index, u8),
    /// The same cut.
    Cut(prop::sample::Index, u16),
    /// IKE, and a keepalive.
    Ike,
    Keepalive,
}

/// What a host sends.
#[derive(Clone, Debug)]
struct Packet1 {
    len: usize,
    ttl: u8,
    /// 0: the peer's LAN; 1: the next tunnel's; 2: no route.
    to: u8,
    /// From the LAN that the tunnel's routes lead to.
    source_ok: bool,
    dont_fragment: bool,
    class: u8,
    v6: bool,
}

impl Packet1 {
    fn bytes(&self, from: Side) -> Vec<u8> {
        let n = if self.source_ok { from.host().octets()[1] } else { 77 };
        let m = match self.to {
            0 => from.other().host().octets()[1],
            1 => 3,
            _ => 99,
        };
        let mut p = if self.v6 {
            let addr = |n: u8| format!("2001:db8:{n}::9").parse().expect("valid");
            Inner::udp(addr(n), addr(m), self.len)
        } else {
            Inner::udp([10, n, 0, 9].into(), [10, m, 0, 9].into(), self.len)
        };
        (p.ttl, p.class, p.dont_fragment) = (self.ttl, self.class, self.dont_fragment);
        p.to_bytes()
    }
}

fn packet() -> impl Strategy<Value = Packet1> {
    (
        prop_oneof![0usize..200, 1300usize..1500, 2000usize..3000],
        prop_oneof![9 => Just(64u8), 1 => 0u8..3],
        prop_oneof![7 => Just(0u8), 2 => Just(1), 1 => Just(2)],
        prop::bool::weighted(0.95),
        any::<bool>(),
        any::<u8>(),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(len, ttl, to, source_ok, dont_fragment, class, v6)| Packet1 {
            len,
            ttl,
            to,
            source_ok,
            dont_fragment,
            class,
            v6,
        })
}

fn frame() -> impl Strategy<Value = Frame> {
    let skip = prop_oneof![
        20 => Just(0u64), 4 => 1u64..100, 1 => Just(1 << 31), 1 => Just((1 << 32) - 70), 1 => Just((1 << 32) - 2)
    ];
    let index = any::<prop::sample::Index>;
    prop_oneof![
        10 => (skip, packet()).prop_map(|(skip, inner)| Frame::Fresh { skip, inner }),
        4 => index().prop_map(Frame::Again),
        2 => (index(), index(), 1u8..).prop_map(|(i, at, with)| Frame::Damaged(i, at, with)),
        1 => (index(), 1u16..40).prop_map(|(i, n)| Frame::Cut(i, n)),
        1 => Just(Frame::Ike),
        1 => Just(Frame::Keepalive),
    ]
}

/// A gateway with a call to its peer, and one to a third.
fn gateway(side: Side, mode: InsideMode, rate: Kbps, esn: bool, limits: [u64; 2], window: u32) -> Gateway {
    let keys = Keys::new(EspCipher::Aes128Gcm16, esn);
    let mut g = Gateway::new(side, mode);
    g.out.frames = vec![VecPacket::new(&[]); 400];
    let v6 = |n: u8| -> IpPrefix { format!("2001:db8:{n}::/48").parse().expect("valid") };
    g.apply(&[
        Op::RouteAdd {
            prefix: v6(side.other().host().octets()[1]),
            tunnel: Gateway::TUNNEL,
            adjacency: Adjacency::Tunnel,
        },
        Op::MediaOpen(Gateway::binding(side, rate)),
    ]);
    let mut session = Gateway::session(side, &keys);
    for op in &mut session {
        if let Op::SaAdd(sa) = op {
            [sa.soft_bytes_max, sa.hard_bytes_max] = limits;
            sa.replay_window = window;
        }
    }
    g.apply(&session);
    let mut tunnel = Gateway::tunnel();
    tunnel.tunnel = NEXT;
    let mut binding = Gateway::binding(side, rate);
    binding.tunnel = NEXT;
    binding.outside_local.set_port(30_000);
    binding.remote.set_port(30_000);
    let mut sa = Gateway::sa(side, Direction::Out, &keys);
    (sa.tunnel, sa.sa, sa.media_port) = (NEXT, SaId(20), MediaPort(30_000));
    sa.spi = Spi::new(0x300).expect("not reserved");
    g.apply(&[
        Op::TunnelAdd(tunnel),
        Op::RouteAdd {
            prefix: "10.3.0.0/16".parse().expect("valid"),
            tunnel: NEXT,
            adjacency: Adjacency::Tunnel,
        },
        Op::RouteAdd { prefix: v6(3), tunnel: NEXT, adjacency: Adjacency::Tunnel },
        Op::MediaOpen(binding),
        Op::SaAdd(sa),
        Op::TunnelBind { tunnel: NEXT, outbound: SaId(20) },
    ]);
    g
}

/// What the sender makes of the list, in the order in which it arrives.
fn frames(sender: &mut Gateway, list: &[Frame]) -> Vec<VecPacket> {
    let mut sealed: Vec<VecPacket> = Vec::new();
    let mut arriving = Vec::new();
    for item in list {
        match item {
            Frame::Fresh { skip, inner } => {
                let Some(SaRef::Out(index)) = sender.pipeline.sad.find(Gateway::SA_OUT) else { continue };
                sender.pipeline.sad.outbound_mut(index).expect("bound").sequence.skip(*skip);
                let mut inner = inner.clone();
                // The peer's own tunnel: the receiver alone is a hub. Selectors and routes are its business.
                inner.len = inner.len.min(1300);
                let ip = inner.bytes(Side::A);
                let everything: IpPrefix = "10.0.0.0/8".parse().expect("valid");
                sender.apply(&[Op::RouteAdd {
                    prefix: everything,
                    tunnel: Gateway::TUNNEL,
                    adjacency: Adjacency::Tunnel,
                }]);
                sender.lan(NOW, &ip);
                let fresh = std::mem::take(&mut sender.out.outside);
                sealed.extend(fresh.iter().filter(|f| f.data()[37] == Side::B.media().port() as u8).cloned());
                arriving.extend(sealed.last().cloned());
            }
            _ if sealed.is_empty() => {}
            Frame::Again(i) => arriving.push(i.get(&sealed).clone()),
            Frame::Damaged(i, at, with) => {
                let mut f = i.get(&sealed).clone();
                // From the ESP header on, so that it comes as far.
                let at = 42 + at.index(f.data().len() - 42);
                f.data_mut()[at] ^= with;
                arriving.push(f);
            }
            Frame::Cut(i, n) => {
                let mut bytes = i.get(&sealed).data().to_vec();
                bytes.truncate(bytes.len().saturating_sub(usize::from(*n)).max(43));
                let total = (bytes.len() - 14) as u16;
                bytes[16..18].copy_from_slice(&total.to_be_bytes());
                bytes[38..40].copy_from_slice(&(total - 20).to_be_bytes());
                bytes[24..26].fill(0);
                let check = checksum::finish(checksum::sum(&bytes[14..34], 0));
                bytes[24..26].copy_from_slice(&check.to_be_bytes());
                arriving.push(VecPacket::new(&bytes));
            }
            Frame::Ike | Frame::Keepalive => {
                let message: &[u8] = if matches!(item, Frame::Ike) { &[7; 60] } else { &[] };
                let frame = Some(VecPacket::new(&[]));
                sender.pipeline.send_ike(NOW, Side::A.media_port(), Side::B.media(), message, frame);
                sender.poll(NOW);
                arriving.append(&mut sender.out.outside);
            }
        }
    }
    arriving
}

/// Everything that can be seen of a gateway from outside.
fn seen(g: &Gateway) -> impl PartialEq + std::fmt::Debug + use<> {
    let bytes = |list: &[VecPacket]| list.iter().map(|p| p.data().to_vec()).collect::<Vec<_>>();
    let mut events: Vec<String> = g.out.events.iter().map(|e| format!("{e:?}")).collect();
    events.sort();
    (
        (bytes(&g.out.outside), bytes(&g.out.inside), g.out.punted.clone(), events),
        (*g.pipeline.drops(), activities(g)),
        (g.pipeline.live(), g.pipeline.next_deadline()),
    )
}

/// Batches of these lengths, over and over.
fn cut<T: Clone>(all: &[T], lengths: &[usize]) -> Vec<Vec<T>> {
    let mut rest = all;
    let mut lengths = lengths.iter().cycle();
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let (batch, more) = rest.split_at((*lengths.next().expect("cycled")).min(rest.len()));
        batches.push(batch.to_vec());
        rest = more;
    }
    batches
}

proptest! {
    #[test]
    fn what_comes_in_by_the_outside_port(
        list in prop::collection::vec(frame(), 1..120),
        lengths in prop::collection::vec(1usize..100, 1..6),
        esn: bool,
        router: bool,
        limits in prop_oneof![Just([0, 0]), (0u64..3000, 0u64..6000).prop_map(|(s, h)| [s, h])],
        window in prop_oneof![Just(64u32), Just(1024)],
        rate in prop_oneof![Just(FAST), Just(Kbps(500))],
    ) {
        let mode = if router { InsideMode::Router } else { InsideMode::Host };
        let mut sender = gateway(Side::A, InsideMode::Host, FAST, esn, [0, 0], window);
        let arriving = frames(&mut sender, &list);
        let [mut one, mut batch] = [(); 2].map(|()| gateway(Side::B, mode, rate, esn, limits, window));
        for frames in cut(&arriving, &lengths) {
            for frame in &frames {
                one.wan(NOW, frame.clone());
            }
            batch.pipeline.batch_from_outside(NOW, frames, &mut batch.out);
        }
        prop_assert_eq!(seen(&one), seen(&batch));
    }

    #[test]
    fn what_comes_in_by_the_inside_port(
        list in prop::collection::vec(packet(), 1..120),
        lengths in prop::collection::vec(1usize..100, 1..6),
        esn: bool,
        router: bool,
        limits in prop_oneof![Just([0, 0]), (0u64..3000, 0u64..6000).prop_map(|(s, h)| [s, h])],
        rate in prop_oneof![Just(FAST), Just(Kbps(500))],
        left in prop::option::of(0u64..20),
    ) {
        let mode = if router { InsideMode::Router } else { InsideMode::Host };
        let [mut one, mut batch] = [(); 2].map(|()| {
            let mut g = gateway(Side::A, mode, rate, esn, limits, 64);
            if let (Some(left), Some(SaRef::Out(index))) = (left, g.pipeline.sad.find(Gateway::SA_OUT)) {
                let max = if esn { u64::MAX } else { u64::from(u32::MAX) };
                g.pipeline.sad.outbound_mut(index).expect("bound").sequence.skip_to(max - left);
            }
            g
        });
        let packets: Vec<Vec<u8>> = list.iter().map(|p| p.bytes(Side::A)).collect();
        let mut now = NOW;
        for packets in cut(&packets, &lengths) {
            for ip in &packets {
                one.lan(now, ip);
            }
            batch.lan_batch(now, &packets);
            now = now + Duration::from_micros(700);
            one.poll(now);
            batch.poll(now);
        }
        prop_assert_eq!(seen(&one), seen(&batch));
    }
}

fn activities(g: &Gateway) -> Vec<String> {
    let all = g.pipeline.activities();
    (0..all.places()).filter_map(|place| Some(format!("{:?}", all.get(place)?))).collect()
}
