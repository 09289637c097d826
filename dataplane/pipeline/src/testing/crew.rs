//! The workers of one gateway, on one thread: the test says which of them does what next.

use super::{VecPacket, VecSink};
use crate::config::Config;
use crate::engine::AeadEngine;
use crate::graph::Pipeline;
use crate::owner::{HandOver, Owners};
use crate::registry::{Registry, Validated};
use sipsec_net::dp::Op;
use sipsec_net::{DropReason, Instant, MacAddr};
use std::collections::VecDeque;
use std::sync::Arc;

pub struct Crew {
    registry: Registry,
    engine: Box<dyn AeadEngine>,
    owners: Owners,
    members: Vec<Member>,
}

struct Member {
    pipeline: Pipeline<VecPacket>,
    out: VecSink,
    updates: VecDeque<(Arc<[Op]>, Validated)>,
    /// From each other worker.
    handed: Vec<VecDeque<(HandOver, VecPacket)>>,
}

impl core::fmt::Debug for Crew {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Crew").field("owners", &self.owners).finish_non_exhaustive()
    }
}

impl Crew {
    #[must_use]
    pub fn new(config: Config, engine: Box<dyn AeadEngine>, owners: Owners) -> Self {
        let member = |own| Member {
            pipeline: Pipeline::new(config).as_worker(own, owners),
            out: VecSink::with_frames(64),
            updates: VecDeque::new(),
            handed: owners.all().map(|_| VecDeque::new()).collect(),
        };
        Self { registry: Registry::new(&config), engine, owners, members: owners.all().map(member).collect() }
    }

    #[must_use]
    pub const fn workers(&self) -> usize {
        self.members.len()
    }

    /// Gives a transaction to every worker; each takes it when [`Self::take_update`] says so.
    ///
    /// # Panics
    /// If it is refused.
    pub fn begin(&mut self, ops: Vec<Op>) {
        let validated = self.registry.validate(&*self.engine, &ops).expect("valid operations");
        self.registry.commit(&ops, &validated);
        let parts = validated.split(&ops, self.owners);
        let ops: Arc<[Op]> = ops.into();
        for (member, part) in self.members.iter_mut().zip(parts) {
            member.updates.push_back((Arc::clone(&ops), part));
        }
    }

    /// The worker takes the next transaction, if there is one.
    pub fn take_update(&mut self, worker: usize, now: Instant) -> bool {
        let member = &mut self.members[worker];
        let Some((ops, validated)) = member.updates.pop_front() else { return false };
        member.pipeline.commit(now, &ops, validated);
        true
    }

    /// A transaction that every worker takes at once.
    pub fn apply(&mut self, now: Instant, ops: Vec<Op>) {
        self.begin(ops);
        for worker in 0..self.workers() {
            while self.take_update(worker, now) {}
        }
    }

    /// An IP packet from the LAN comes to the worker, in a frame for this station.
    pub fn lan(&mut self, worker: usize, now: Instant, station: MacAddr, ip: &[u8]) {
        let frame = super::gateway::lan_frame(station, ip);
        self.work(worker, |m| m.pipeline.from_inside(now, frame, &mut m.out));
    }

    /// A frame from the WAN comes to the worker.
    pub fn wan(&mut self, worker: usize, now: Instant, frame: VecPacket) {
        self.work(worker, |m| m.pipeline.from_outside(now, frame, &mut m.out));
    }

    pub fn poll(&mut self, worker: usize, now: Instant) {
        self.work(worker, |m| m.pipeline.poll(now, &mut m.out));
    }

    /// The worker takes one packet that `from` has handed over, if there is one.
    pub fn take_handed(&mut self, worker: usize, from: usize, now: Instant) -> bool {
        let Some((what, packet)) = self.members[worker].handed[from].pop_front() else { return false };
        self.work(worker, |m| {
            m.out.handed_as = Some(what);
            m.pipeline.handed(now, what, packet, &mut m.out);
            m.out.handed_as = None;
        });
        true
    }

    fn work(&mut self, worker: usize, work: impl FnOnce(&mut Member)) {
        work(&mut self.members[worker]);
        for (to, what, packet) in std::mem::take(&mut self.members[worker].out.handed) {
            self.members[usize::from(to.0)].handed[worker].push_back((what, packet));
        }
    }

    /// What the worker has sent since the last time, to the WAN and to the LAN.
    pub fn take_sent(&mut self, worker: usize) -> [Vec<VecPacket>; 2] {
        let out = &mut self.members[worker].out;
        [std::mem::take(&mut out.outside), std::mem::take(&mut out.inside)]
    }

    /// Of all workers.
    #[must_use]
    pub fn drops(&self) -> [u64; DropReason::COUNT] {
        let mut sum = [0; DropReason::COUNT];
        for member in &self.members {
            sum.iter_mut().zip(member.pipeline.drops()).for_each(|(sum, n)| *sum += n);
        }
        sum
    }

    /// Packets that wait in the pipelines, and between them.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let of = |m: &Member| {
            let live = m.pipeline.live();
            let between: usize = m.handed.iter().map(VecDeque::len).sum();
            u64::from(live.trigger_waiting + live.shaper_waiting) + between as u64
        };
        self.members.iter().map(of).sum()
    }
}
