//! Two whole workers joined by wires in memory: everything but the kernel is real.

use super::*;
use crate::control::tests::AtOnce;
use crate::engines;
use sipsec_net::dp::{Direction, EspCipher};
use sipsec_net::{DropReason, Kbps};
use sipsec_pipeline::InsideMode;
use sipsec_pipeline::testing::{Gateway, Keys, Side, ipv4_udp};
use sipsec_xsk::Pool;
use sipsec_xsk::memory::{MemoryPort, Wire};
use std::rc::Rc;

const RATE: Kbps = Kbps(1_000_000);
const FRAMES: u32 = 512;

struct Station {
    side: Side,
    worker: Worker<MemoryPort, AtOnce>,
    pool: Rc<Pool>,
    /// From the LAN, and to it.
    lan_in: Wire,
    lan_out: Wire,
}

impl Station {
    fn new(side: Side, wan_in: &Wire, wan_out: &Wire, depth: usize) -> Self {
        let pool = Pool::heap(FRAMES, 2048);
        let (lan_in, lan_out) = (Wire::new(FRAMES as usize), Wire::new(depth));
        let port = |rx: &Wire, tx: &Wire| MemoryPort::new(Rc::clone(&pool), rx.clone(), tx.clone());
        let config = Gateway::config(side, InsideMode::Host);
        let ports = [port(wan_in, wan_out), port(&lan_in, &lan_out)];
        let io = Io::new(ports, Rc::clone(&pool), &config.limits);
        let engine = engines::select(profile::Engine::Auto).expect("both pass").engine;
        let pipeline = Pipeline::new(config, engine);
        let mailbox = || Mailbox::new().expect("eventfd");
        let (inbox, outbox) = (mailbox(), Mailbox::new().expect("eventfd"));
        let control = Downlink::new(AtOnce::default());
        let worker = Worker::new(pipeline, io, control, &profile::Worker::default(), inbox, outbox);
        let mut station = Self { side, worker, pool, lan_in, lan_out };
        let route = Op::RouteAdd { prefix: side.other().lan(), tunnel: Gateway::TUNNEL };
        station.apply(&[Op::TunnelAdd(Gateway::tunnel()), route]);
        station
    }

    fn apply(&mut self, ops: &[Op]) {
        self.worker.pipeline.apply(Instant::from_nanos(1), ops).expect("valid operations");
    }

    fn call(&mut self) {
        let keys = Keys::new(EspCipher::Aes256Gcm16, true);
        let (side, sa) = (self.side, |d| Op::SaAdd(Gateway::sa(self.side, d, &keys)));
        self.apply(&[
            Op::MediaOpen(Gateway::binding(side, RATE)),
            sa(Direction::In),
            sa(Direction::Out),
            Op::TunnelBind { tunnel: Gateway::TUNNEL, outbound: Gateway::SA_OUT },
            Op::ReplayTrigger(Gateway::TUNNEL),
        ]);
    }

    /// Turns until a turn finds nothing; the packets that came out at the LAN.
    fn run(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let now = Instant::from_nanos(ms * 1_000_000);
        while self.worker.turn(now) > 0 {}
        std::iter::from_fn(|| self.lan_out.take()).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        let mut drops = *self.worker.pipeline.drops();
        self.worker.io.add_drops(&mut drops);
        drops[reason.index()]
    }
}

fn lan_frame(from: Side, number: usize) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 2, 1, 8, 0];
    frame.extend(ipv4_udp(from.host(), from.other().host(), number));
    frame
}

#[test]
fn packets_wait_for_the_call_and_cross_in_order() {
    let (ab, ba) = (Wire::new(256), Wire::new(256));
    let (mut a, mut b) = (Station::new(Side::A, &ba, &ab, 256), Station::new(Side::B, &ab, &ba, 256));
    // Their lengths number them.
    let sent: Vec<_> = (1..=40).map(|n| lan_frame(Side::A, n)).collect();
    for frame in &sent {
        assert!(a.lan_in.put(frame));
    }
    assert_eq!(a.run(1), Vec::<Vec<u8>>::new());
    assert_eq!((ab.take(), a.worker.io.up.counts().acquires), (None, 1));

    b.call();
    a.call();
    a.run(2);
    // 40 small packets in the time the rate gives them.
    let mut got = Vec::new();
    for ms in 3..20 {
        a.run(ms);
        got.extend(b.run(ms));
    }
    let payloads = |frames: &[Vec<u8>]| frames.iter().map(|f| f[14..].to_vec()).collect::<Vec<_>>();
    assert_eq!(payloads(&got), payloads(&sent));
    assert!(got.iter().all(|f| f[..6] == Gateway::config(Side::B, InsideMode::Host).inside.next_hop.0));
    for station in [&a, &b] {
        assert_eq!(station.pool.free_count(), FRAMES as usize, "every frame came back");
    }
}

#[test]
fn a_wan_that_is_too_small_for_ipv6_is_told_of_once_a_tunnel_carries_it() {
    let (ab, ba) = (Wire::new(1), Wire::new(1));
    let mut a = Station::new(Side::A, &ba, &ab, 1);
    let mut config = Gateway::config(Side::A, InsideMode::Host);
    config.outside.mtu = 1300;
    a.worker.pipeline = Pipeline::new(config, engines::select(profile::Engine::Auto).expect("passes").engine);
    let prefix = "2001:db8:2::/48".parse().expect("valid");
    for (op, told) in [
        (Op::TunnelAdd(Gateway::tunnel()), false),
        (Op::RouteAdd { prefix: Side::B.lan(), tunnel: Gateway::TUNNEL }, false),
        (Op::RouteAdd { prefix, tunnel: Gateway::TUNNEL }, true),
    ] {
        let Worker { pipeline, io, told: log, .. } = &mut a.worker;
        let mut target = Forwarding { pipeline, io, told: log };
        let validated = target.validate(std::slice::from_ref(&op)).expect("valid");
        target.commit(Instant::from_nanos(1), &[op], validated);
        assert_eq!(log.too_small_for_v6, told);
    }
}

#[test]
fn a_device_that_takes_no_more_costs_packets_and_never_frames() {
    let (ab, ba) = (Wire::new(256), Wire::new(256));
    let (mut a, mut b) = (Station::new(Side::A, &ba, &ab, 256), Station::new(Side::B, &ab, &ba, 10));
    a.call();
    b.call();
    for n in 1..=30 {
        assert!(a.lan_in.put(&lan_frame(Side::A, n)));
    }
    for ms in 1..20 {
        a.run(ms);
    }
    let now = Instant::from_nanos(30_000_000);
    // One turn, nothing taken off the LAN meanwhile: ten fit.
    b.worker.turn(now);
    assert_eq!(b.dropped(DropReason::TxRingFull), 20);
    assert_eq!(b.run(31).len(), 10);
    assert_eq!(b.pool.free_count(), FRAMES as usize);
}
