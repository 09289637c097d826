//! Several workers do what one would: the same packets for each flow in the same order, each with one end, whichever of them works
//! next and however far the others are.

use proptest::prelude::*;
use sipsec_net::dp::{Adjacency, EspCipher, Op};
use sipsec_net::{DropReason, Instant, IpPrefix, Kbps, TunnelId};
use sipsec_pipeline::testing::{Crew, Gateway, Inner, Keys, Side, TestEngine, VecPacket};
use sipsec_pipeline::{InsideMode, Owners};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;

const TUNNELS: u16 = 5;
const FAST: Kbps = Kbps(10_000_000);
const START: Instant = Instant::from_nanos(1_000_000_000);

/// Where a flow comes from and goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Flow {
    /// From the LAN into a tunnel.
    Out(u16),
    /// Out of a tunnel to the LAN.
    In(u16),
    /// Out of one tunnel into the one before it.
    Hub(u16),
    /// From the LAN to an address without a route.
    Lost,
}

impl Flow {
    fn addresses(self) -> [Ipv4Addr; 2] {
        let lan = Ipv4Addr::new(10, 1, 0, 77);
        match self {
            Self::Out(n) => [lan, Side::B.host_of(n)],
            Self::In(n) => [Side::B.host_of(n), Side::A.host_of(n)],
            Self::Hub(n) => [Side::B.host_of(n), beyond((n + TUNNELS - 1) % TUNNELS)],
            Self::Lost => [lan, Ipv4Addr::new(10, 99, 0, 1)],
        }
    }
}

/// A host behind tunnel `n` that the peer of another tunnel reaches through the hub.
fn beyond(n: u16) -> Ipv4Addr {
    Ipv4Addr::new(10, 3, 0, n as u8)
}

fn route(address: Ipv4Addr, tunnel: u16) -> Op {
    let prefix = IpPrefix::new(address.into(), 32).expect("a host");
    Op::RouteAdd { prefix, tunnel: TunnelId(tunnel.into()), adjacency: Adjacency::Tunnel }
}

/// The hub, which routes, with so many workers.
fn hub(workers: u8, keys: &Keys) -> Crew {
    let owners = Owners::new(NonZeroU8::new(workers).expect("some"));
    let mut crew = Crew::new(Gateway::config(Side::A, InsideMode::Router), Box::new(TestEngine), owners);
    for n in 0..TUNNELS {
        let mut ops = Gateway::tunnel_of_many(Side::A, n, FAST, keys);
        ops.push(route(beyond(n), n));
        crew.apply(START, ops);
    }
    crew
}

/// All its peers in one.
fn peers(keys: &Keys) -> Gateway {
    let mut b = Gateway::with_tunnels(Side::B, TUNNELS, FAST, keys, Box::new(TestEngine));
    for n in 0..TUNNELS {
        let mut spec = Gateway::tunnel();
        (spec.tunnel, spec.check_source) = (TunnelId(n.into()), false);
        // What is for a host beyond leaves by the next tunnel, and the hub sends it on by that one.
        b.apply(&[Op::TunnelSet(spec), route(beyond(n), (n + 1) % TUNNELS)]);
    }
    b
}

#[derive(Clone, Debug)]
enum Step {
    /// A packet of this flow arrives.
    Arrive(Flow),
    /// The worker takes a packet that the other has handed over.
    Take(usize, usize),
    Poll(usize),
    /// The routes of the hosts beyond two tunnels are exchanged.
    Change,
    /// The worker takes the next transaction.
    Update(usize),
}

fn flow() -> impl Strategy<Value = Flow> {
    let tunnel = || 0..TUNNELS;
    prop_oneof![
        4 => tunnel().prop_map(Flow::Out),
        4 => tunnel().prop_map(Flow::In),
        3 => tunnel().prop_map(Flow::Hub),
        1 => Just(Flow::Lost),
    ]
}

fn step(changes: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => flow().prop_map(Step::Arrive),
        8 => (0usize..4, 0usize..4).prop_map(|(to, from)| Step::Take(to, from)),
        1 => (0usize..4).prop_map(Step::Poll),
        changes => Just(Step::Change),
        2 * changes => (0usize..4).prop_map(Step::Update),
    ]
}

/// The order of each flow's packets, as they came out.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    /// By source and destination: identifications.
    lan: BTreeMap<[IpAddr; 2], Vec<u16>>,
    peers: BTreeMap<[IpAddr; 2], Vec<u16>>,
    frames: u64,
}

fn note(to: &mut BTreeMap<[IpAddr; 2], Vec<u16>>, ip: &[u8]) {
    let address = |at: usize| IpAddr::from(*ip[at..].first_chunk::<4>().expect("a header"));
    to.entry([address(12), address(16)]).or_default().push(u16::from_be_bytes([ip[4], ip[5]]));
}

struct Run {
    crew: Crew,
    b: Gateway,
    now: Instant,
    /// Which queue of the device each flow comes by: the card decides.
    queue_of: fn(Flow) -> usize,
    next: BTreeMap<Flow, u16>,
    arrived: u64,
    is_swapped: bool,
    seen: Seen,
}

impl Run {
    fn new(workers: u8) -> Self {
        let keys = Keys::new(EspCipher::Aes128Gcm16, true);
        Self {
            crew: hub(workers, &keys),
            b: peers(&keys),
            now: START,
            queue_of: |flow| match flow {
                Flow::Out(n) => usize::from(n / 2),
                // All that comes out of a tunnel is one flow outside.
                Flow::In(n) | Flow::Hub(n) => usize::from(n * 7 / 3),
                Flow::Lost => 1,
            },
            next: BTreeMap::new(),
            arrived: 0,
            is_swapped: false,
            seen: Seen::default(),
        }
    }

    fn step(&mut self, step: &Step) {
        let workers = self.crew.workers();
        match *step {
            Step::Arrive(flow) => self.arrive(flow),
            Step::Take(to, from) => drop(self.crew.take_handed(to % workers, from % workers, self.now)),
            Step::Poll(worker) => self.crew.poll(worker % workers, self.now),
            Step::Update(worker) => drop(self.crew.take_update(worker % workers, self.now)),
            Step::Change => {
                self.is_swapped = !self.is_swapped;
                let [a, b] = if self.is_swapped { [1, 0] } else { [0, 1] };
                self.crew.begin(vec![route(beyond(0), a), route(beyond(1), b)]);
            }
        }
        self.collect();
    }

    fn arrive(&mut self, flow: Flow) {
        let worker = (self.queue_of)(flow) % self.crew.workers();
        let number = self.next.entry(flow).or_default();
        *number += 1;
        let [source, destination] = flow.addresses();
        let mut inner = Inner::udp(source.into(), destination.into(), 40);
        inner.identification = *number;
        self.arrived += 1;
        match flow {
            Flow::Out(_) | Flow::Lost => {
                let station = Gateway::config(Side::A, InsideMode::Router).inside.mac;
                self.crew.lan(worker, self.now, station, &inner.to_bytes());
            }
            Flow::In(_) | Flow::Hub(_) => {
                self.b.lan(self.now, &inner.to_bytes());
                let frames = std::mem::take(&mut self.b.out.outside);
                assert_eq!(frames.len(), 1, "{flow:?} leaves the peer at once");
                frames.into_iter().for_each(|frame| self.crew.wan(worker, self.now, frame));
            }
        }
    }

    /// What the hub has sent reaches the LAN and its peers.
    fn collect(&mut self) {
        for worker in 0..self.crew.workers() {
            let [outside, inside] = self.crew.take_sent(worker);
            self.seen.frames += (outside.len() + inside.len()) as u64;
            inside.iter().for_each(|frame: &VecPacket| note(&mut self.seen.lan, &data(frame)[14..]));
            outside.into_iter().for_each(|frame| self.b.wan(self.now, frame));
            let opened = std::mem::take(&mut self.b.out.inside);
            opened.iter().for_each(|frame| note(&mut self.seen.peers, &data(frame)[14..]));
        }
    }

    /// Everything that is under way arrives.
    fn finish(mut self) -> (Seen, u64, [u64; DropReason::COUNT]) {
        for _ in 0..1000 {
            let workers = self.crew.workers();
            for worker in 0..workers {
                self.step(&Step::Update(worker));
                (0..workers).for_each(|from| self.step(&Step::Take(worker, from)));
                self.step(&Step::Poll(worker));
            }
            self.now = self.now + std::time::Duration::from_millis(1);
            if self.crew.waiting() == 0 {
                return (self.seen, self.arrived, self.crew.drops());
            }
        }
        panic!("packets stay under way: {:?}", self.crew.waiting());
    }
}

fn data(frame: &VecPacket) -> &[u8] {
    sipsec_pipeline::Packet::data(frame)
}

fn run(workers: u8, steps: &[Step]) -> (Seen, u64, [u64; DropReason::COUNT]) {
    let mut run = Run::new(workers);
    steps.iter().for_each(|step| run.step(step));
    run.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_work_gives_each_flow_what_one_worker_gives(
        steps in prop::collection::vec(step(0), 1..120),
        workers in 2u8..=4,
    ) {
        let (alone, arrived, drops_alone) = run(1, &steps);
        let (shared, _, drops) = run(workers, &steps);
        prop_assert_eq!(&shared.lan, &alone.lan);
        prop_assert_eq!(&shared.peers, &alone.peers);
        prop_assert_eq!(drops, drops_alone);
        prop_assert_eq!(shared.frames + drops.iter().sum::<u64>(), arrived, "each packet has one end");
    }

    /// While workers know of a change and others not yet, a packet may be lost to it, counted once; none goes round or comes twice.
    #[test]
    fn a_change_that_not_all_workers_have_taken_costs_no_packet_its_one_end(
        steps in prop::collection::vec(step(2), 1..160),
        workers in 2u8..=4,
    ) {
        let (seen, arrived, drops) = run(workers, &steps);
        let ended = seen.frames + drops.iter().sum::<u64>();
        prop_assert_eq!(ended, arrived, "each packet has one end: {:?}", drops);
        for (flow, numbers) in seen.lan.iter().chain(&seen.peers) {
            // What was on its way by the old tunnel may be passed by what goes by the new one; nothing comes twice.
            let mut once = numbers.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), numbers.len(), "{:?}", flow);
        }
    }
}

#[test]
fn one_worker_hands_nothing_over_and_several_do() {
    let steps: Vec<_> =
        (0..TUNNELS).flat_map(|n| [Flow::Out(n), Flow::In(n), Flow::Hub(n)]).map(Step::Arrive).collect();
    for workers in 1..=3 {
        let mut run = Run::new(workers);
        steps.iter().for_each(|step| run.step(step));
        assert_eq!(run.crew.waiting() > 0, workers > 1, "{workers}");
        assert_eq!(run.finish().0.frames, 15);
    }
}
