//! Two whole workers joined by wires in memory: everything but the kernel is real.

use super::*;
use crate::control::worker_link::{ControlEnd, Report, worker_link};
use crate::engines;
use sipsec_net::dp::{Adjacency, Direction, EspCipher, Event, Op};
use sipsec_net::{DropReason, Kbps};
use sipsec_pipeline::testing::{Gateway, Keys, Side, ipv4_udp};
use sipsec_pipeline::{AeadEngine, InsideMode, Registry};
use sipsec_xsk::Pool;
use sipsec_xsk::memory::{MemoryPort, Wire};
use std::rc::Rc;

const RATE: Kbps = Kbps(1_000_000);
const FRAMES: u32 = 512;

struct Station {
    side: Side,
    worker: Worker<MemoryPort>,
    control: ControlEnd,
    registry: Registry,
    engine: Box<dyn AeadEngine>,
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
        let (control, end) = worker_link().expect("eventfds");
        let io = Io::new(ports, Rc::clone(&pool), end);
        let engine = engines::select(profile::Engine::Auto).expect("both pass").engine;
        let worker = Worker::new(Pipeline::new(config), io, &profile::Worker::default());
        let registry = Registry::new(&config);
        let mut station = Self { side, worker, control, registry, engine, pool, lan_in, lan_out };
        let route = Op::RouteAdd {
            prefix: side.other().lan(),
            tunnel: Gateway::TUNNEL,
            adjacency: Adjacency::Tunnel,
        };
        station.apply(&[Op::TunnelAdd(Gateway::tunnel()), route]);
        station
    }

    fn apply(&mut self, ops: &[Op]) {
        let validated = self.registry.validate(&*self.engine, ops).expect("valid operations");
        self.registry.commit(ops, &validated);
        let update = Update::Transaction { ops: ops.to_vec(), validated };
        self.control.updates.push(update).expect("room");
        self.worker.turn(Instant::from_nanos(1));
        let applied = std::iter::from_fn(|| self.control.reports.pop());
        assert_eq!(applied.filter(|r| matches!(r, Report::Applied(_))).count(), 1);
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
        while self.worker.turn(now) != Turn::Did(0) {}
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
    let acquires = |a: &Station| {
        let events = std::iter::from_fn(|| a.control.reports.pop());
        events.filter(|r| matches!(r, Report::Event(Event::Acquire { .. }))).count()
    };
    assert_eq!((ab.take(), acquires(&a)), (None, 1));
    // A control plane that has just connected hears of it again.
    a.control.updates.push(Update::Reacquire).expect("room");
    a.run(1);
    assert_eq!(acquires(&a), 1);

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

#[test]
fn numbers_reach_the_control_thread_without_a_look_at_the_worker() {
    let (ab, ba) = (Wire::new(8), Wire::new(8));
    let mut a = Station::new(Side::A, &ba, &ab, 8);
    assert!(a.lan_in.put(&lan_frame(Side::A, 1)));
    a.run(1);
    a.worker.store(Instant::from_nanos(2));
    let numbers = a.control.cells.load();
    assert_eq!((numbers.live.tunnels, numbers.live.trigger_waiting), (1, 1));
    assert_eq!((numbers.ports[INSIDE].received, numbers.turns), (1, a.worker.numbers.turns));
    a.control.updates.push(Update::Stop).expect("room");
    assert_eq!(a.worker.turn(Instant::from_nanos(3)), Turn::Stop);
}
