//! What waits for one media port's rate: IKE first, then what waited for the SA in its order, then the classes of the
//! tunnel's policy, each with its flows ([`crate::flow_queues`]).
//!
//! Among the classes, those with priority go first while they keep to their guarantee. The others share what is left by
//! start-time fair queueing: a class's clock runs slower the larger its guarantee is, and the class whose clock is behind is
//! served. So each has its guarantee while it needs it, and what one leaves over goes to the others in the same proportion.

use crate::flow_queues::{FlowQueues, Verdict};
use crate::packet_queue::{Fifo, Pool, Waiting};
use crate::parse::Info;
use crate::qos_counters::QosCounters;
use crate::shaper::{Meter, Shaper};
use core::time::Duration;
use sipsec_net::dp::OuterDscp;
use sipsec_net::qos::{ClassSpec, DEFAULT_CLASS, Filter, QosSpec};
use sipsec_net::{Instant, Kbps};
use std::sync::Arc;

/// A call with fewer packets than these may use the reserve of the pool.
const FEW: u32 = 4;
/// So much may wait at any rate; with less, a single large packet could not wait.
const QUEUE_BYTES_MIN: u64 = 16_384;
/// What a class with priority may send at once beyond its guarantee.
const PRIORITY_BURST: Duration = Duration::from_millis(200);
/// Weights are thousandths of the rate.
const WHOLE: u64 = 1000;
/// Of a class that has none left by the guarantees of the others.
const WEIGHT_MIN: u64 = 10;
/// Of the virtual clocks.
const UNIT: u64 = 1 << 20;
/// A clock is set back before it could overflow.
const CLOCK_MAX: u64 = 1 << 62;

/// The policy of a tunnel as its worker has it.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub spec: QosSpec,
    pub filters: Arc<[Filter]>,
    pub counters: QosCounters,
}

/// The bounds of a port's queues.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub packets_max: u16,
    pub delay_ms_max: u32,
    pub rate: Kbps,
    /// Largest outer packet.
    pub mtu: u16,
    /// Which packets share a queue is decided under this key.
    pub flow_key: u64,
}

/// A packet whose turn has come.
#[derive(Debug)]
pub(crate) struct Due<P> {
    pub waiting: Waiting<P>,
    /// It is to be marked Congestion Experienced.
    pub mark: bool,
    /// Of the class, instead of the call's.
    pub outer_dscp: Option<OuterDscp>,
}

/// What waits for one media port's rate.
#[derive(Debug)]
pub(crate) struct Queues {
    /// Packets in all queues together.
    waiting: u32,
    /// Without classes a packet need not pass a queue while nothing waits.
    direct: bool,
    /// Apart: while nothing waits, packets need only what is above.
    lists: Box<Lists>,
}

#[derive(Debug)]
struct Lists {
    /// Whole frames, already built; strictly first.
    ike: Fifo,
    /// What waited for the SA: strictly in its order, before anything newer.
    replay: Fifo,
    classes: Box<[Class]>,
    policy: Policy,
    /// The virtual clock of the packet that was served last.
    clock: u64,
    /// Of the classes.
    packets: u32,
    bytes: u64,
    packets_max: u32,
    bytes_max: u64,
    flow_key: u64,
}

#[derive(Debug)]
struct Class {
    flows: FlowQueues,
    /// Where its virtual clock stands.
    clock: u64,
    /// By how much a byte moves it.
    pace: u64,
    ceiling: Option<Shaper>,
    /// Of a class with priority.
    priority: Option<Meter>,
    outer_dscp: Option<OuterDscp>,
}

impl Class {
    fn new(spec: &ClassSpec, weight: u64, bounds: &Bounds) -> Self {
        let rate = |share: sipsec_net::qos::Share| Kbps(share.of(bounds.rate.0));
        // Without a guarantee it has priority up to the whole rate.
        let guarantee = spec.guarantee.map_or(bounds.rate, rate);
        Self {
            flows: FlowQueues::new(bounds.rate, bounds.mtu),
            clock: 0,
            pace: UNIT / weight,
            ceiling: spec.ceiling.map(|share| Shaper::new(rate(share))),
            priority: spec.priority.then(|| Meter::new(guarantee, PRIORITY_BURST)),
            outer_dscp: spec.outer_dscp,
        }
    }

    fn may_send(&self, now: Instant) -> bool {
        !self.flows.is_empty() && self.ceiling.as_ref().is_none_or(|c| c.is_ready(now))
    }
}

/// Of each class, in thousandths of the rate; those without a guarantee share what the others leave.
fn weights(classes: &[ClassSpec], rate: Kbps) -> impl Iterator<Item = u64> {
    let given = move |c: &ClassSpec| c.guarantee.map(|s| u64::from(s.of(rate.0)) * WHOLE / u64::from(rate.0));
    let taken: u64 = classes.iter().filter_map(given).sum();
    let others = classes.iter().filter(|c| c.guarantee.is_none() && !c.priority).count() as u64;
    let rest = WHOLE.saturating_sub(taken) / others.max(1);
    classes.iter().map(move |c| given(c).unwrap_or(rest).max(WEIGHT_MIN))
}

impl Queues {
    pub(crate) fn new(policy: Policy, bounds: &Bounds) -> Self {
        let bytes = bounds.rate.bytes_per_second().saturating_mul(bounds.delay_ms_max.into()) / 1000;
        let specs = policy.spec.classes();
        let classes = specs.iter().zip(weights(specs, bounds.rate));
        let lists = Lists {
            ike: Fifo::default(),
            replay: Fifo::default(),
            classes: classes.map(|(spec, weight)| Class::new(spec, weight, bounds)).collect(),
            clock: 0,
            packets: 0,
            bytes: 0,
            packets_max: bounds.packets_max.into(),
            bytes_max: bytes.max(QUEUE_BYTES_MIN),
            flow_key: bounds.flow_key,
            policy,
        };
        lists.policy.counters.set_rate(bounds.rate.0);
        Self { waiting: 0, direct: lists.policy.spec.is_plain(), lists: Box::new(lists) }
    }

    /// Nothing waits, and the next packet need not wait for others of its tunnel.
    #[inline]
    pub(crate) const fn lets_pass(&self) -> bool {
        self.direct && self.waiting == 0
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(crate) fn counters(&self) -> &QosCounters {
        &self.lists.policy.counters
    }

    /// IKE messages that wait.
    pub(crate) const fn ike_len(&self) -> u32 {
        self.lists.ike.len()
    }

    /// Packets that waited for the SA and wait for the rate now.
    pub(crate) const fn replay_len(&self) -> u32 {
        self.lists.replay.len()
    }

    /// When the ceilings of the classes let something go, as far as they alone decide.
    pub(crate) fn ready_at(&self) -> Instant {
        let lists = &self.lists;
        if self.waiting > lists.packets {
            return Instant::ZERO;
        }
        let waiting = lists.classes.iter().filter(|c| !c.flows.is_empty());
        waiting
            .map(|c| c.ceiling.as_ref().map_or(Instant::ZERO, Shaper::ready_at))
            .min()
            .unwrap_or(Instant::ZERO)
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

    /// The next packet of data that may go, and how many CoDel dropped on the way to it.
    pub(crate) fn pop<P>(&mut self, now: Instant, pool: &mut Pool<P>) -> (Option<Due<P>>, u32) {
        if let Some(waiting) = self.lists.replay.pop(pool) {
            self.waiting -= 1;
            return (Some(Due { waiting, mark: false, outer_dscp: None }), 0);
        }
        let before = self.lists.packets;
        let mut dropped = 0;
        let due = self.lists.pop(now, pool, &mut dropped);
        self.waiting = self.waiting - before + self.lists.packets;
        (due, dropped)
    }

    /// Takes out the next packet before its turn, but no IKE message. Used when a call ends or its policy changes.
    pub(crate) fn drain<P>(&mut self, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        let w = self.lists.replay.pop(pool).or_else(|| self.lists.drain(pool))?;
        self.waiting -= 1;
        Some(w)
    }

    /// Under another policy: what waits finds its place there, and IKE stays first. How many found none.
    pub(crate) fn replace<P>(&mut self, pool: &mut Pool<P>, policy: Policy, bounds: &Bounds) -> u32 {
        let mut new = Self::new(policy, bounds);
        core::mem::swap(&mut new.lists.ike, &mut self.lists.ike);
        core::mem::swap(&mut new.lists.replay, &mut self.lists.replay);
        new.waiting = self.waiting - self.lists.packets;
        let mut dropped = 0;
        while let Some(w) = self.lists.drain(pool) {
            dropped += new.push(pool, 0, w);
        }
        *self = new;
        dropped
    }
}

impl Lists {
    fn classify(&self, info: &Info) -> usize {
        let of_filters = || {
            let headers = info.qos_headers();
            self.policy.filters.iter().find(|f| f.matches(&headers)).map(|f| usize::from(f.class))
        };
        let class = if self.classes.len() > 1 { of_filters() } else { None };
        class.filter(|c| *c < self.classes.len()).unwrap_or(usize::from(DEFAULT_CLASS))
    }

    fn push<P>(&mut self, pool: &mut Pool<P>, reserved: u32, waiting: Waiting<P>) -> u32 {
        let class = self.classify(&waiting.info);
        let hash = waiting.info.flow(self.flow_key);
        let cost = u64::from(waiting.cost);
        let mut dropped = 0;
        let mut crowded = self.packets >= FEW && pool.free() <= reserved;
        while crowded || self.packets >= self.packets_max || self.bytes + cost > self.bytes_max {
            crowded = false;
            let fattest = (0..self.classes.len()).max_by_key(|c| self.classes[*c].flows.fattest());
            let Some((at, _)) = fattest.and_then(|c| Some((c, self.classes[c].flows.pop_fattest(pool)?)))
            else {
                self.policy.counters.dropped_full(class);
                return dropped + 1;
            };
            self.policy.counters.dropped_full(at);
            self.count();
            self.note(at);
            dropped += 1;
        }
        let c = &mut self.classes[class];
        if c.flows.is_empty() {
            // What it has not used it does not get later.
            c.clock = c.clock.max(self.clock);
        }
        if c.flows.push(pool, hash, waiting).is_err() {
            self.policy.counters.dropped_full(class);
            return dropped + 1;
        }
        self.count();
        self.note(class);
        dropped
    }

    fn pop<P>(&mut self, now: Instant, pool: &mut Pool<P>, dropped: &mut u32) -> Option<Due<P>> {
        loop {
            let at = self.pick(now)?;
            let class = &mut self.classes[at];
            let counters = &self.policy.counters;
            let popped = class.flows.pop(now, pool, |_| {
                *dropped += 1;
                counters.dropped_aqm(at);
            });
            if let Some((w, _)) = &popped {
                if class.priority.is_none() {
                    self.clock = class.clock;
                }
                class.clock += u64::from(w.cost) * class.pace;
                let bytes = usize::from(w.cost);
                class.ceiling.iter_mut().for_each(|c| c.charge(now, bytes));
                class.priority.iter_mut().for_each(|m| m.charge(now, bytes));
            }
            let outer_dscp = class.outer_dscp;
            self.count();
            self.note(at);
            let Some((waiting, verdict)) = popped else { continue };
            let mark = verdict == Verdict::Mark;
            self.policy.counters.sent(at, waiting.cost, now.saturating_duration_since(waiting.since));
            if mark {
                self.policy.counters.marked(at);
            }
            return Some(Due { waiting, mark, outer_dscp });
        }
    }

    /// The class whose turn it is.
    fn pick(&self, now: Instant) -> Option<usize> {
        let ready = || self.classes.iter().enumerate().filter(|(_, c)| c.may_send(now));
        let first = ready().find(|(_, c)| c.priority.as_ref().is_some_and(|m| m.conforms(now)));
        let shared = || ready().filter(|(_, c)| c.priority.is_none()).min_by_key(|(_, c)| c.clock);
        // What has priority and is above its guarantee gets what the others leave.
        first.or_else(shared).or_else(|| ready().next()).map(|(at, _)| at)
    }

    fn drain<P>(&mut self, pool: &mut Pool<P>) -> Option<Waiting<P>> {
        let at = self.classes.iter().position(|c| !c.flows.is_empty())?;
        let w = self.classes[at].flows.pop_fattest(pool);
        self.count();
        self.note(at);
        w
    }

    /// After a change of a class's queues.
    fn count(&mut self) {
        (self.packets, self.bytes) =
            self.classes.iter().fold((0, 0), |(p, b), c| (p + c.flows.packets(), b + c.flows.bytes()));
        if self.packets == 0 || self.clock > CLOCK_MAX {
            let back = if self.packets == 0 { u64::MAX } else { self.clock };
            self.clock = self.clock.saturating_sub(back);
            self.classes.iter_mut().for_each(|c| c.clock = c.clock.saturating_sub(back));
        }
    }

    fn note(&self, class: usize) {
        let flows = &self.classes[class].flows;
        self.policy.counters.queued(class, flows.packets(), flows.bytes());
    }
}

#[cfg(test)]
mod tests;
