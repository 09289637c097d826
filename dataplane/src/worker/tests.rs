//! Two whole workers joined by wires in memory: everything but the kernel is real.

use super::*;
use crate::control::worker_link::{ControlEnd, IkeMessage, Report, worker_link};
use crate::engines;
use crate::neighbours::neighbours;
use sipsec_net::dp::{Adjacency, Direction, EspCipher, Event, Op};
use sipsec_net::{DropReason, Kbps, MediaPort};
use sipsec_pipeline::testing::{Gateway, Keys, Side, ipv4_udp};
use sipsec_pipeline::{AeadEngine, InsideMode, Owners, Registry};
use sipsec_xsk::Pool;
use sipsec_xsk::memory::{MemoryPort, Wire};
use std::num::NonZeroU8;
use std::rc::Rc;
use std::sync::Arc;

const RATE: Kbps = Kbps(1_000_000);
const FRAMES: u32 = 512;

struct Station {
    side: Side,
    workers: Vec<Worker<MemoryPort>>,
    control: Vec<ControlEnd>,
    registry: Registry,
    engine: Box<dyn AeadEngine>,
    pools: Vec<Rc<Pool>>,
    /// From the LAN, and to it.
    lan_in: Wire,
    lan_out: Wire,
}

impl Station {
    fn new(side: Side, wan_in: &Wire, wan_out: &Wire, depth: usize) -> Self {
        Self::of(1, side, wan_in, wan_out, depth)
    }

    /// With so many workers, of which the first alone has queues.
    fn of(workers: u8, side: Side, wan_in: &Wire, wan_out: &Wire, depth: usize) -> Self {
        let (lan_in, lan_out) = (Wire::new(FRAMES as usize), Wire::new(depth));
        let config = Gateway::config(side, InsideMode::Host);
        let owners = Owners::new(NonZeroU8::new(workers).expect("some"));
        let (mut all, mut control, mut pools) = (Vec::new(), Vec::new(), Vec::new());
        for neighbours in neighbours(owners, 2048).expect("eventfds") {
            let own = neighbours.own();
            let is_first = own == WorkerIndex(0);
            let pool = Pool::heap(FRAMES, 2048);
            let port = |rx: &Wire, tx: &Wire| {
                let wire = |wire: &Wire| if is_first { wire.clone() } else { Wire::new(0) };
                MemoryPort::new(Rc::clone(&pool), wire(rx), wire(tx))
            };
            let ports = [port(wan_in, wan_out), port(&lan_in, &lan_out)];
            let (control_end, end) = worker_link().expect("eventfds");
            let carriers = if is_first { [None; 2] } else { [Some(WorkerIndex(0)); 2] };
            let io = Io::new(ports, Rc::clone(&pool), end, neighbours, carriers);
            let pipeline = Pipeline::new(config).as_worker(own, owners);
            all.push(Worker::new(pipeline, io, &profile::Worker::default()));
            control.push(control_end);
            pools.push(pool);
        }
        let engine = engines::select(profile::Engine::Auto).expect("both pass").engine;
        let registry = Registry::new(&config);
        let mut station = Self { side, workers: all, control, registry, engine, pools, lan_in, lan_out };
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
        let owners = self.workers[0].io.neighbours.owners();
        let shared = Arc::new(ops.to_vec());
        let parts = validated.split(ops, owners);
        for ((worker, control), validated) in self.workers.iter_mut().zip(&self.control).zip(parts) {
            let update = Update::Transaction { ops: Arc::clone(&shared), validated };
            control.updates.push(update).expect("room");
            worker.turn(Instant::from_nanos(1));
            let applied = std::iter::from_fn(|| control.reports.pop());
            assert_eq!(applied.filter(|r| matches!(r, Report::Applied(_))).count(), 1);
        }
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

    /// Turns until no worker finds anything; the packets that came out at the LAN.
    fn run(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let now = Instant::from_nanos(ms * 1_000_000);
        while self.workers.iter_mut().fold(false, |did, worker| did | (worker.turn(now) != Turn::Did(0))) {}
        std::iter::from_fn(|| self.lan_out.take()).collect()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        let of = |worker: &Worker<MemoryPort>| {
            let mut drops = *worker.pipeline.drops();
            worker.io.add_drops(&mut drops);
            drops[reason.index()]
        };
        self.workers.iter().map(of).sum()
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
        let events = std::iter::from_fn(|| a.control[0].reports.pop());
        events.filter(|r| matches!(r, Report::Event(Event::Acquire { .. }))).count()
    };
    assert_eq!((ab.take(), acquires(&a)), (None, 1));
    // A control plane that has just connected hears of it again.
    a.control[0].updates.push(Update::Reacquire).expect("room");
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
        assert_eq!(station.pools[0].free_count(), FRAMES as usize, "every frame came back");
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
    b.workers[0].turn(now);
    assert_eq!(b.dropped(DropReason::TxRingFull), 20);
    assert_eq!(b.run(31).len(), 10);
    assert_eq!(b.pools[0].free_count(), FRAMES as usize);
}

#[test]
fn numbers_reach_the_control_thread_without_a_look_at_the_worker() {
    let (ab, ba) = (Wire::new(8), Wire::new(8));
    let mut a = Station::new(Side::A, &ba, &ab, 8);
    assert!(a.lan_in.put(&lan_frame(Side::A, 1)));
    a.run(1);
    a.workers[0].store(Instant::from_nanos(2));
    let numbers = a.control[0].cells.load();
    assert_eq!((numbers.live.tunnels, numbers.live.trigger_waiting), (1, 1));
    assert_eq!((numbers.ports[INSIDE].received, numbers.turns), (1, a.workers[0].numbers.turns));
    a.control[0].updates.push(Update::Stop).expect("room");
    assert_eq!(a.workers[0].turn(Instant::from_nanos(3)), Turn::Stop);
}

/// A device with one queue: the worker that owns the tunnel has none, gets every packet from the other and sends by it.
#[test]
fn a_worker_without_a_queue_forwards_what_others_hand_over() {
    let (ab, ba) = (Wire::new(256), Wire::new(256));
    let (mut a, mut b) = (Station::of(2, Side::A, &ba, &ab, 256), Station::of(3, Side::B, &ab, &ba, 256));
    let owner = a.workers[0].io.neighbours.owners().of(Gateway::TUNNEL);
    assert_eq!(owner, WorkerIndex(1), "it is not the one with the queues");
    a.call();
    b.call();
    let sent: Vec<_> = (1..=40).map(|n| lan_frame(Side::A, n)).collect();
    for frame in &sent {
        assert!(a.lan_in.put(frame));
    }
    let mut got = Vec::new();
    for ms in 2..20 {
        a.run(ms);
        got.extend(b.run(ms));
    }
    let payloads = |frames: &[Vec<u8>]| frames.iter().map(|f| f[14..].to_vec()).collect::<Vec<_>>();
    assert_eq!(payloads(&got), payloads(&sent));
    for (station, owner) in [(&mut a, 1), (&mut b, 1)] {
        station.workers.iter_mut().for_each(|worker| worker.store(Instant::from_nanos(20_000_001)));
        let numbers: Vec<_> = station.control.iter().map(|end| end.cells.load()).collect();
        assert_eq!([numbers[0].handed_over, numbers[owner].handed_in], [40, 40]);
        assert_eq!([numbers[owner].handed_over, numbers[0].handed_in], [40, 40], "on its way out again");
        assert_eq!((numbers[0].live.sas, numbers[owner].live.sas), (0, 2), "one owner");
        assert_eq!(
            station.pools.iter().map(|p| p.free_count()).sum::<usize>(),
            FRAMES as usize * numbers.len()
        );
    }
    // What the owner cannot take is counted where it came in.
    for n in 1..=3 {
        (0..512).for_each(|_| assert!(a.lan_in.put(&lan_frame(Side::A, n))));
        while a.workers[0].turn(Instant::from_nanos(30_000_000)) != Turn::Did(0) {}
    }
    assert_eq!(a.dropped(DropReason::HandOffFull), 3 * 512 - 1024);
}

/// A flood from one side delays the other by one batch: packets that fail authentication at the WAN, and packets for a
/// tunnel without a call at the LAN.
#[test]
fn a_flood_on_one_side_delays_the_other_by_one_batch() {
    const FLOOD: usize = 16 * BATCH_MAX;
    let (ab, ba) = (Wire::new(256), Wire::new(FLOOD + 1));
    let (mut a, mut b) = (Station::new(Side::A, &ba, &ab, 256), Station::new(Side::B, &ab, &ba, 256));
    a.call();
    b.call();
    // One packet of the call, and as many like it as there is room for, whose ICV is wrong.
    assert!(b.lan_in.put(&lan_frame(Side::B, 1)));
    b.run(1);
    let good = ba.take().expect("one packet is sealed");
    let mut bad = good.clone();
    *bad.last_mut().expect("an ICV") ^= 1;
    for _ in 0..FLOOD {
        assert!(ba.put(&bad));
    }
    assert!(ba.put(&good));
    assert!(a.lan_in.put(&lan_frame(Side::A, 1)));
    let opened = |a: &Station| a.dropped(DropReason::IcvFailed);
    let now = Instant::from_nanos(2_000_000);
    a.workers[0].turn(now);
    assert!(ab.take().is_some(), "the packet from the LAN leaves in the turn in which it came");
    assert_eq!(opened(&a), BATCH_MAX as u64, "behind one batch of the flood");
    // In the flood's own direction each turn takes a batch, and what is behind it arrives.
    let turns = (0..).take_while(|_| {
        a.workers[0].turn(now);
        a.lan_out.take().is_none()
    });
    assert_eq!(turns.count(), FLOOD / BATCH_MAX - 1);
    assert_eq!(opened(&a), FLOOD as u64);

    // Packets for a tunnel without an SA, and IKE that would give it one.
    let (ab, ba) = (Wire::new(256), Wire::new(256));
    let mut a = Station::new(Side::A, &ba, &ab, 256);
    a.apply(&[Op::MediaOpen(Gateway::binding(Side::A, RATE))]);
    for _ in 0..FRAMES as usize {
        assert!(a.lan_in.put(&lan_frame(Side::A, 1)));
    }
    let binding = Gateway::binding(Side::A, RATE);
    let port = MediaPort(binding.outside_local.port());
    let ike = IkeMessage::new(port, binding.remote, &[0; 64]).expect("short enough");
    a.control[0].ike_down.push(ike).expect("room");
    a.workers[0].turn(now);
    assert!(ab.take().is_some(), "IKE leaves in the turn in which it came");
    assert_eq!(a.workers[0].io.ports[INSIDE].stats().received, BATCH_MAX as u64);
}
