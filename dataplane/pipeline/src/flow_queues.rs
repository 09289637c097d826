//! The flows of one class: fair queueing by deficit round robin, new flows first, with CoDel in each (RFC 8290).

use crate::codel::{Codel, CodelParameters};
use crate::packet_queue::{Fifo, Pool, Waiting};
use sipsec_net::{Instant, Kbps};

/// Flows are spread over so many queues. A power of two.
pub(crate) const QUEUES: usize = 64;
const NONE: u8 = u8::MAX;
const _: () = assert!(QUEUES < NONE as usize && QUEUES.is_power_of_two());

/// RFC 8290 §5.2.4: what a flow may send before the next one's turn. Small on slow links, so that a large packet waits for
/// several rounds of small ones.
const QUANTUM: i32 = 1514;
const QUANTUM_SLOW: i32 = 300;
const SLOW: Kbps = Kbps(8000);

/// What CoDel did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    /// Congestion Experienced: RFC 3168 §5, instead of a drop.
    Mark,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Turn {
    #[default]
    Idle,
    New,
    Old,
}

#[derive(Debug)]
struct Flow {
    fifo: Fifo,
    codel: Codel,
    deficit: i32,
    turn: Turn,
    /// The flow behind it in its list of turns.
    next: u8,
}

impl Default for Flow {
    fn default() -> Self {
        Self { fifo: Fifo::default(), codel: Codel::default(), deficit: 0, turn: Turn::Idle, next: NONE }
    }
}

/// Flows that take turns.
#[derive(Debug)]
struct Turns {
    head: u8,
    tail: u8,
}

impl Turns {
    const EMPTY: Self = Self { head: NONE, tail: NONE };

    fn push(&mut self, flows: &mut [Flow], flow: u8, turn: Turn) {
        let f = &mut flows[usize::from(flow)];
        (f.turn, f.next) = (turn, NONE);
        if self.tail == NONE {
            self.head = flow;
        } else {
            flows[usize::from(self.tail)].next = flow;
        }
        self.tail = flow;
    }

    fn pop(&mut self, flows: &mut [Flow]) -> Option<u8> {
        let flow = self.head;
        let f = flows.get_mut(usize::from(flow))?;
        self.head = core::mem::replace(&mut f.next, NONE);
        f.turn = Turn::Idle;
        if self.head == NONE {
            self.tail = NONE;
        }
        Some(flow)
    }
}

#[derive(Debug)]
pub(crate) struct FlowQueues {
    flows: Box<[Flow; QUEUES]>,
    /// Flows that have just begun to wait go first, once.
    new: Turns,
    old: Turns,
    packets: u32,
    bytes: u64,
    quantum: i32,
    codel: CodelParameters,
}

impl FlowQueues {
    /// For the rate of a port and its largest outer packet.
    pub(crate) fn new(rate: Kbps, mtu: u16) -> Self {
        Self {
            flows: Box::new(core::array::from_fn(|_| Flow::default())),
            new: Turns::EMPTY,
            old: Turns::EMPTY,
            packets: 0,
            bytes: 0,
            quantum: if rate < SLOW { QUANTUM_SLOW } else { QUANTUM },
            codel: CodelParameters::new(rate, mtu),
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    pub(crate) const fn packets(&self) -> u32 {
        self.packets
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Queues a packet of the flow with this hash. Gives it back if the pool is full.
    pub(crate) fn push<P>(&mut self, pool: &mut Pool<P>, hash: u32, w: Waiting<P>) -> Result<(), Waiting<P>> {
        let flow = hash as usize % QUEUES;
        let cost = u64::from(w.cost);
        self.flows[flow].fifo.push(pool, w)?;
        self.packets += 1;
        self.bytes += cost;
        if self.flows[flow].turn == Turn::Idle {
            self.flows[flow].deficit = self.quantum;
            self.new.push(&mut self.flows[..], flow as u8, Turn::New);
        }
        Ok(())
    }

    /// Bytes of the flow that has most.
    pub(crate) fn fattest(&self) -> u64 {
        self.flows.iter().map(|f| f.fifo.bytes()).max().unwrap_or(0)
    }

    /// Takes the oldest packet of the flow that has most: its sender learns sooner than by the newest.
    pub(crate) fn pop_fattest<P>(&mut self, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        let flow = (0..QUEUES).max_by_key(|f| self.flows[*f].fifo.bytes())?;
        self.take(flow, pool)
    }

    /// The next packet. What CoDel drops before it goes to `dropped`.
    pub(crate) fn pop<P>(
        &mut self,
        now: Instant,
        pool: &mut Pool<P>,
        mut dropped: impl FnMut(Waiting<P>),
    ) -> Option<(Waiting<P>, Verdict)> {
        loop {
            let from_new = self.new.head != NONE;
            let turns = if from_new { &mut self.new } else { &mut self.old };
            let flow = usize::from(turns.head);
            let f = self.flows.get_mut(flow)?;
            if f.deficit <= 0 {
                f.deficit += self.quantum;
                turns.pop(&mut self.flows[..]);
                self.old.push(&mut self.flows[..], flow as u8, Turn::Old);
                continue;
            }
            if let Some((w, verdict)) = self.pop_flow(now, flow, pool, &mut dropped) {
                self.flows[flow].deficit -= i32::from(w.cost);
                return Some((w, verdict));
            }
            let turns = if from_new { &mut self.new } else { &mut self.old };
            turns.pop(&mut self.flows[..]);
            // RFC 8290 §4.2: a new flow that is empty waits one round among the old ones, so that it cannot be new with every packet.
            if from_new && self.old.head != NONE {
                self.old.push(&mut self.flows[..], flow as u8, Turn::Old);
            }
        }
    }

    fn pop_flow<P>(
        &mut self,
        now: Instant,
        flow: usize,
        pool: &mut Pool<P>,
        dropped: &mut impl FnMut(Waiting<P>),
    ) -> Option<(Waiting<P>, Verdict)> {
        while let Some(w) = self.take(flow, pool) {
            let f = &mut self.flows[flow];
            if !f.codel.decide(now, w.since, f.fifo.bytes(), &self.codel) {
                return Some((w, Verdict::Send));
            }
            if w.info.is_ect() {
                return Some((w, Verdict::Mark));
            }
            dropped(w);
        }
        self.flows[flow].codel.emptied();
        None
    }

    fn take<P>(&mut self, flow: usize, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        let w = self.flows[flow].fifo.pop(pool)?;
        self.packets -= 1;
        self.bytes -= u64::from(w.cost);
        Some(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Info;
    use core::time::Duration;
    use proptest::prelude::*;

    const START: Instant = Instant::from_nanos(1_000_000_000_000);

    fn waiting(id: u32, cost: u16, class: u8, since: Instant) -> Waiting<u32> {
        Waiting { packet: id, info: Info { class, ..Info::default() }, since, origin: None, cost }
    }

    #[test]
    fn every_flow_gets_its_share_and_a_new_one_goes_first() {
        let (mut pool, mut q) = (Pool::new(1000), FlowQueues::new(Kbps(64), 1500));
        for n in 0..60 {
            for flow in 0..3 {
                q.push(&mut pool, flow, waiting(flow, if flow == 0 { 1400 } else { 200 }, 0, START))
                    .expect("room");
            }
            // What was sent before the fourth flow begins.
            if n == 50 {
                for _ in 0..20 {
                    q.pop(START, &mut pool, |_| panic!("nothing stands")).expect("full");
                }
                q.push(&mut pool, 3, waiting(3, 60, 0, START)).expect("room");
                let (w, verdict) = q.pop(START, &mut pool, |_| panic!("nothing stands")).expect("full");
                assert_eq!((w.packet, verdict), (3, Verdict::Send));
            }
        }
        let mut bytes = [0u64; 3];
        for _ in 0..60 {
            let (w, _) = q.pop(START, &mut pool, |_| panic!("nothing stands")).expect("full");
            bytes[w.packet as usize] += u64::from(w.cost);
        }
        let (most, least) = (bytes.iter().max().expect("three"), bytes.iter().min().expect("three"));
        assert!(most - least <= 1400 + 300, "{bytes:?}");
    }

    #[test]
    fn a_standing_queue_loses_packets_or_is_marked_if_its_transport_knows_ecn() {
        for (class, marks) in [(0u8, false), (1, true), (2, true), (3, true)] {
            let (mut pool, mut q) = (Pool::new(1000), FlowQueues::new(Kbps(1000), 1500));
            let (mut dropped, mut marked, mut sent) = (0, 0, 0);
            for n in 0..2000u32 {
                let now = START + Duration::from_millis(n.into());
                for _ in 0..2 {
                    if pool.used() < 100 {
                        q.push(&mut pool, 7, waiting(n, 1000, class, now)).expect("room");
                    }
                }
                if let Some((_, verdict)) = q.pop(now, &mut pool, |_| dropped += 1) {
                    sent += 1;
                    marked += u32::from(verdict == Verdict::Mark);
                }
            }
            assert_eq!((dropped > 0, marked > 0), (!marks, marks), "{class}: {dropped} {marked} of {sent}");
        }
    }

    proptest! {
        /// Every packet comes out once, by one way or the other, those of one flow in order; and the sums are right.
        #[test]
        fn nothing_is_lost_and_flows_keep_their_order(
            steps in prop::collection::vec((0u8..5, 0u32..80, 40u16..1500, 0u64..200), 1..300),
        ) {
            let (mut pool, mut q) = (Pool::new(40), FlowQueues::new(Kbps(64), 1500));
            let (mut now, mut inside, mut last) = (START, std::collections::BTreeMap::new(), [0u32; QUEUES]);
            for ((what, flow, cost, ms), id) in steps.into_iter().zip(1u32..) {
                now = now + Duration::from_millis(ms);
                if what < 3 {
                    let w = Waiting { origin: Some(sipsec_net::TunnelId(flow)), ..waiting(id, cost, flow as u8, now) };
                    let full = inside.len() == 40;
                    prop_assert_eq!(q.push(&mut pool, flow, w).is_err(), full);
                    if !full {
                        inside.insert(id, (flow, cost));
                    }
                    continue;
                }
                let mut out = Vec::new();
                if what == 3 {
                    out.extend(q.pop_fattest(&mut pool));
                } else {
                    let popped = q.pop(now, &mut pool, |w| out.push(w));
                    prop_assert_eq!(popped.is_none(), inside.len() == out.len());
                    out.extend(popped.map(|(w, _)| w));
                }
                for w in out {
                    let (flow, cost) = inside.remove(&w.packet).expect("once");
                    prop_assert_eq!(cost, w.cost);
                    let last = &mut last[flow as usize % QUEUES];
                    prop_assert!(*last < w.packet);
                    *last = w.packet;
                }
                prop_assert_eq!(q.packets() as usize, inside.len());
                prop_assert_eq!(q.bytes(), inside.values().map(|(_, c)| u64::from(*c)).sum::<u64>());
                prop_assert_eq!(pool.used() as usize, inside.len());
            }
        }
    }
}
