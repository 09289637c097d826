//! The negotiated rate: outer IP bytes of one media port, IKE first, then what waited for the SA in its order, then the
//! flows by deficit round robin.
//!
//! The bucket is the virtual scheduling form of ITU-T I.371's GCRA: a packet may go when its theoretical time has come,
//! less a tolerance that makes up for late polling.

use crate::packet_queue::{Fifo, Pool, Waiting};
use core::time::Duration;
use sipsec_net::{Instant, Kbps};

/// Shaped to 98.5 % of what was negotiated: with packets of at most 1500 bytes at 1 Mbit/s, any window of one second then
/// carries −3 % to +0 %. Above it, the carrier's policer drops.
const SHARE_PER_MILLE: u64 = 985;
/// How late a packet may be sent without its time being lost: +0.2 % in a window of one second.
const TOLERANCE: Duration = Duration::from_millis(2);
/// Flows that share a rate fairly.
const FLOWS: usize = 16;
/// What a flow may send per round.
const QUANTUM: u32 = 1514;
/// A call with fewer packets than these may use the reserve of the pool.
const FEW: u32 = 4;
/// This much may wait at any rate: at the lowest ones a single large packet would not fit otherwise.
const QUEUE_BYTES_MIN: u64 = 16_384;

/// When the next packet may go.
#[derive(Debug)]
pub(crate) struct Shaper {
    /// Nanoseconds per byte, in 2⁻²⁰.
    cost: u64,
    /// The theoretical time of the next packet.
    next: Instant,
}

impl Shaper {
    pub(crate) const fn new(rate: Kbps) -> Self {
        // 8 bits at `rate` × 1000 × 0.985 bits per second.
        let cost = (8_000_000_000 << 20) / (rate.0 as u64 * SHARE_PER_MILLE);
        Self { cost, next: Instant::ZERO }
    }

    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        now >= self.ready_at()
    }

    pub(crate) fn ready_at(&self) -> Instant {
        self.next - TOLERANCE
    }

    /// A packet goes now.
    pub(crate) fn charge(&mut self, now: Instant, bytes: usize) {
        let nanos = (bytes as u64 * self.cost).div_ceil(1 << 20);
        self.next = Instant::from_nanos(self.next.max(now).as_nanos().saturating_add(nanos));
    }
}

/// What waits for one media port's rate.
#[derive(Debug)]
pub(crate) struct Queues {
    /// Packets in all queues together.
    waiting: u32,
    /// Apart: while nothing waits, packets need only the number above.
    lists: Box<Lists>,
}

#[derive(Debug)]
struct Lists {
    /// Whole frames, already built; strictly first.
    ike: Fifo,
    /// What waited for the SA: strictly in its order, before anything newer.
    replay: Fifo,
    /// Flows that share the rate, and what each may send before the next one's turn.
    flows: [Fifo; FLOWS],
    deficit: [u32; FLOWS],
    turn: usize,
    /// Packets of all flows.
    packets: u32,
    bytes: u64,
    packets_max: u32,
    bytes_max: u64,
    flow_key: u64,
}

impl Queues {
    pub(crate) fn new(packets_max: u16, delay_ms_max: u32, rate: Kbps) -> Self {
        let bytes = rate.bytes_per_second().saturating_mul(delay_ms_max.into()) / 1000;
        let lists = Lists {
            ike: Fifo::default(),
            replay: Fifo::default(),
            flows: Default::default(),
            deficit: [0; FLOWS],
            turn: 0,
            packets: 0,
            bytes: 0,
            packets_max: packets_max.into(),
            bytes_max: bytes.max(QUEUE_BYTES_MIN),
            flow_key: 0,
        };
        Self { waiting: 0, lists: Box::new(lists) }
    }

    /// Which packets share a queue is decided under this key.
    pub(crate) fn keyed(mut self, flow_key: u64) -> Self {
        self.lists.flow_key = flow_key;
        self
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// IKE messages that wait.
    pub(crate) const fn ike_len(&self) -> u32 {
        self.lists.ike.len()
    }

    /// Packets that waited for the SA and wait for the rate now.
    pub(crate) const fn replay_len(&self) -> u32 {
        self.lists.replay.len()
    }

    /// Queues an IKE message. Gives it back if the pool is full.
    pub(crate) fn push_ike<P>(&mut self, pool: &mut Pool<P>, waiting: Waiting<P>) -> Result<(), Waiting<P>> {
        self.lists.ike.push(pool, waiting)?;
        self.waiting += 1;
        Ok(())
    }

    pub(crate) fn pop_ike<P>(&mut self, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        let w = self.lists.ike.pop(pool)?;
        self.waiting -= 1;
        Some(w)
    }

    /// Queues a packet that waited for the SA. Gives it back if the pool is full.
    pub(crate) fn push_replay<P>(
        &mut self,
        pool: &mut Pool<P>,
        waiting: Waiting<P>,
    ) -> Result<(), Waiting<P>> {
        self.lists.replay.push(pool, waiting)?;
        self.waiting += 1;
        Ok(())
    }

    /// Queues a packet of data. How many had to go for it (possibly itself): heads of the flow that has most.
    ///
    /// The last `reserved` places of the pool are for calls with little in their queues: others make room in their own.
    pub(crate) fn push<P>(&mut self, pool: &mut Pool<P>, reserved: u32, waiting: Waiting<P>) -> u32 {
        let before = self.lists.packets;
        let dropped = self.lists.push(pool, reserved, waiting);
        self.waiting = self.waiting - before + self.lists.packets;
        dropped
    }

    /// The next packet of data.
    pub(crate) fn pop<P>(&mut self, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        let w = self.lists.pop(pool)?;
        self.waiting -= 1;
        Some(w)
    }
}

impl Lists {
    fn push<P>(&mut self, pool: &mut Pool<P>, reserved: u32, waiting: Waiting<P>) -> u32 {
        let flow = waiting.info.flow(self.flow_key) as usize % FLOWS;
        let cost = u64::from(waiting.cost);
        let mut dropped = 0;
        let mut crowded = self.packets >= FEW && pool.free() <= reserved;
        while crowded || self.packets >= self.packets_max || self.bytes + cost > self.bytes_max {
            crowded = false;
            let longest = (0..FLOWS).max_by_key(|&f| self.flows[f].bytes()).expect("there are flows");
            dropped += 1;
            // The head goes, not the newest: the sender learns sooner.
            if self.take(longest, pool).is_none() {
                return dropped;
            }
        }
        if self.flows[flow].push(pool, waiting).is_err() {
            return dropped + 1;
        }
        self.packets += 1;
        self.bytes += cost;
        dropped
    }

    fn pop<P>(&mut self, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        if let Some(w) = self.replay.pop(pool) {
            return Some(w);
        }
        if self.packets == 0 {
            return None;
        }
        // Every round adds a quantum to each flow that waits, so the largest packet goes after a few.
        loop {
            let turn = self.turn;
            match self.flows[turn].peek(pool) {
                None => self.deficit[turn] = 0,
                Some(w) if u32::from(w.cost) <= self.deficit[turn] => {
                    self.deficit[turn] -= u32::from(w.cost);
                    return self.take(turn, pool);
                }
                Some(_) => {}
            }
            self.turn = (turn + 1) % FLOWS;
            if !self.flows[self.turn].is_empty() {
                self.deficit[self.turn] += QUANTUM;
            }
        }
    }

    fn take<P>(&mut self, flow: usize, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        let w = self.flows[flow].pop(pool)?;
        self.packets -= 1;
        self.bytes -= u64::from(w.cost);
        Some(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::Info;

    /// Sends packets of `len` whenever allowed, polling every `poll_us` with an unlucky offset, for ten seconds.
    fn sent_per_second(rate: Kbps, len: usize, poll_us: u64) -> Vec<u64> {
        let mut shaper = Shaper::new(rate);
        let mut seconds = vec![0; 10];
        let mut now = Instant::from_nanos(5_000_000_000);
        let end = now + Duration::from_secs(10);
        while now < end {
            while shaper.is_ready(now) {
                shaper.charge(now, len);
                let second = (now.as_nanos() - 5_000_000_000) / 1_000_000_000;
                seconds[second as usize] += len as u64;
            }
            now = now + Duration::from_micros(poll_us);
        }
        seconds
    }

    #[test]
    fn every_second_carries_between_minus_3_and_plus_0_per_cent() {
        for (rate, len, poll_us) in [
            (1000, 1500, 50),
            (1000, 1500, 1900),
            (1000, 200, 700),
            (512, 300, 997),
            (64, 100, 1000),
            (100_000, 1500, 1500),
            (10_000_000, 9000, 100),
        ] {
            let max = Kbps(rate).bytes_per_second();
            for bytes in sent_per_second(Kbps(rate), len, poll_us) {
                assert!(
                    bytes <= max && bytes >= max * 97 / 100,
                    "{bytes} of {max} at {rate} kbps, {len} bytes"
                );
            }
        }
    }

    #[test]
    fn an_idle_port_saves_nothing_up() {
        let mut shaper = Shaper::new(Kbps(1000));
        let now = Instant::from_nanos(3_600_000_000_000);
        let mut burst = 0;
        while shaper.is_ready(now) {
            shaper.charge(now, 100);
            burst += 100;
        }
        assert!(burst <= 400, "{burst} bytes at once");
    }

    fn waiting(flow: u16, id: u32, cost: u16) -> Waiting<u32> {
        let info = Info { ports: Some((flow, 80)), ..Info::default() };
        Waiting { packet: id, info, since: Instant::ZERO, origin: None, cost }
    }

    /// Two port numbers in different flow queues.
    fn two_flows() -> (u16, u16) {
        let slot = |p: u16| waiting(p, 0, 0).info.flow(0) as usize % FLOWS;
        (1, (2..).find(|p| slot(*p) != slot(1)).expect("more than one queue"))
    }

    #[test]
    fn a_thin_flow_passes_a_fat_one_and_the_fat_one_pays_for_the_overflow() {
        let (fat, thin) = two_flows();
        let (mut pool, mut q) = (Pool::new(100), Queues::new(20, 0, Kbps(1)));
        let dropped: u32 = (0..30).map(|id| q.push(&mut pool, 0, waiting(fat, id, 1000))).sum();
        // 16 KiB is the bound here: 16 packets stay.
        assert_eq!(dropped, 14);
        assert!((100..103).map(|id| q.push(&mut pool, 0, waiting(thin, id, 60))).sum::<u32>() <= 1);
        let order: Vec<u32> = std::iter::from_fn(|| q.pop(&mut pool)).map(|w| w.packet).collect();
        let last_thin = order.iter().position(|id| *id == 102).expect("not dropped");
        assert!(last_thin <= 4, "{order:?}");
        let fat_order: Vec<u32> = order.into_iter().filter(|id| *id < 100).collect();
        assert!(fat_order.is_sorted() && fat_order.len() >= 13, "{fat_order:?}");
        assert_eq!(fat_order.last(), Some(&29), "the oldest have gone");
        assert!(q.is_empty() && pool.used() == 0);
    }

    #[test]
    fn a_large_packet_makes_as_much_room_as_it_needs() {
        let (a, b) = two_flows();
        let (mut pool, mut q) = (Pool::new(1000), Queues::new(1000, 0, Kbps(1)));
        for id in 0..163 {
            assert_eq!(q.push(&mut pool, 0, waiting(a, id, 100)), 0);
        }
        assert_eq!(q.push(&mut pool, 0, waiting(b, 200, 1500)), 15);
        assert!(q.lists.bytes <= QUEUE_BYTES_MIN && pool.used() == 149);
    }

    #[test]
    fn a_call_with_little_to_send_finds_a_place_when_others_have_taken_the_pool() {
        let (mut pool, mut busy, mut quiet) =
            (Pool::new(32), Queues::new(1000, 0, Kbps(1)), Queues::new(1000, 0, Kbps(1)));
        let dropped: u32 = (0..100).map(|id| busy.push(&mut pool, 4, waiting(1, id, 100))).sum();
        assert_eq!((dropped, pool.free()), (72, 4));
        for id in 0..FEW {
            assert_eq!(quiet.push(&mut pool, 4, waiting(1, id, 100)), 0);
        }
        assert_eq!(pool.free(), 0);
        // Each makes room in its own queue, and keeps its newest.
        assert_eq!(
            (busy.push(&mut pool, 4, waiting(1, 100, 100)), quiet.push(&mut pool, 4, waiting(1, 4, 100))),
            (1, 1)
        );
        assert_eq!(quiet.pop(&mut pool).map(|w| w.packet), Some(1));
    }

    #[test]
    fn what_waited_for_the_sa_goes_first_and_in_order() {
        let (a, b) = two_flows();
        let (mut pool, mut q) = (Pool::new(100), Queues::new(20, 0, Kbps(1)));
        assert_eq!(q.push(&mut pool, 0, waiting(a, 9, 100)), 0);
        for (id, flow) in [(1, a), (2, b), (3, a), (4, b)] {
            q.push_replay(&mut pool, waiting(flow, id, 100)).expect("room");
        }
        let order: Vec<u32> = std::iter::from_fn(|| q.pop(&mut pool)).map(|w| w.packet).collect();
        assert_eq!(order, [1, 2, 3, 4, 9]);
    }
}
