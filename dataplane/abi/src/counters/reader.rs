use super::{
    ACTIVITY, ACTIVITY_VALUES, ACTIVITY_WORDS, COUNTS, Count, DROPS, FACTS, Facts, PORT_WORDS, PORTS, Port,
    PortCounters, REGION_WORDS, STAGES, STAGES_MAX, STEERING, STEERING_MAX, TUNNELS_MAX, WORKERS,
    WORKERS_MAX, WorkerCounters, decode_activity, facts, qos, worker,
};
use crate::layout::offset;
use crate::segment::Segment;
use crate::seqcell;
use crate::sync::{AtomicU64, Ordering};
use crate::text::Text;
use sipsec_net::dp::TunnelActivity;
use sipsec_net::qos::QosActivity;
use sipsec_net::{DropReason, TunnelId};
use std::collections::HashMap;
use std::sync::Arc;

/// A stage of the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageView {
    pub name: Text<24>,
    pub packets: u64,
    pub cycles: u64,
}

/// The control plane's end.
#[derive(Debug)]
pub struct CountersReader {
    segment: Arc<Segment>,
    /// Where each tunnel was found last; checked at every use. At most [`TUNNELS_MAX`].
    slots: HashMap<TunnelId, usize>,
}

impl CountersReader {
    pub(crate) fn new(segment: &Arc<Segment>) -> Self {
        Self { segment: segment.clone(), slots: HashMap::new() }
    }

    /// Indexed by [`DropReason::index`].
    #[must_use]
    pub fn drops(&self) -> [u64; DropReason::COUNT] {
        self.get(DROPS)
    }

    /// The stages that have a name.
    #[must_use]
    pub fn stages(&self) -> Vec<StageView> {
        let Some(facts) = self.facts() else { return Vec::new() };
        let named = facts.stages.into_iter().enumerate().filter(|(_, name)| !name.as_str().is_empty());
        named
            .map(|(index, name)| {
                let [packets, cycles] = self.get(STAGES + index * 2);
                StageView { name, packets, cycles }
            })
            .take(STAGES_MAX)
            .collect()
    }

    #[must_use]
    pub fn port(&self, port: Port) -> PortCounters {
        PortCounters::from_words(self.get(PORTS + port as usize * PORT_WORDS))
    }

    /// Counters of the XDP programs, indexed by [`crate::bpf::Counter`].
    #[must_use]
    pub fn steering(&self) -> [u64; STEERING_MAX] {
        self.get(STEERING)
    }

    #[must_use]
    pub fn count(&self, count: Count) -> u64 {
        let [value] = self.get(COUNTS + count as usize);
        value
    }

    /// What each worker counts; each number is true, and they need not be of one moment.
    #[must_use]
    pub fn workers(&self) -> Vec<WorkerCounters> {
        let workers = self.facts().map_or(0, |facts| facts.workers as usize).min(WORKERS_MAX);
        (0..workers).map(|at| WorkerCounters::from_words(self.get(WORKERS + at * worker::WORDS))).collect()
    }

    /// `None` if the dataplane died while it wrote them.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        let mut words = [0; facts::WORDS];
        let cell = &self.region()[FACTS..][..1 + facts::WORDS];
        seqcell::read(cell, &mut words).then(|| Facts::from_words(&words))
    }

    /// A tunnel's activity, if the dataplane has published any.
    pub fn activity(&mut self, tunnel: TunnelId) -> Option<TunnelActivity> {
        let known = self.slots.get(&tunnel).copied();
        if let Some(activity) = known.and_then(|slot| self.slot_of(slot, tunnel)) {
            return Some(activity);
        }
        // New, or moved: look through all of them once.
        let found = (0..TUNNELS_MAX).find_map(|slot| Some((slot, self.slot_of(slot, tunnel)?)));
        match found {
            Some((slot, activity)) => {
                self.slots.insert(tunnel, slot);
                Some(activity)
            }
            None => {
                self.slots.remove(&tunnel);
                None
            }
        }
    }

    /// What a tunnel's classes count, if the dataplane has published it.
    pub fn qos(&mut self, tunnel: TunnelId) -> Option<QosActivity> {
        self.activity(tunnel)?;
        let slot = *self.slots.get(&tunnel)?;
        let mut words = [0; qos::VALUES];
        let cell = &self.region()[qos::AT + slot * qos::WORDS..][..qos::WORDS];
        if seqcell::read(cell, &mut words) { qos::decode(tunnel, &words) } else { None }
    }

    /// Every tunnel's activity.
    pub fn activities(&self) -> impl Iterator<Item = (TunnelId, TunnelActivity)> + '_ {
        (0..TUNNELS_MAX).filter_map(|slot| self.slot(slot))
    }

    fn slot_of(&self, slot: usize, tunnel: TunnelId) -> Option<TunnelActivity> {
        self.slot(slot).filter(|(found, _)| *found == tunnel).map(|(_, activity)| activity)
    }

    fn slot(&self, slot: usize) -> Option<(TunnelId, TunnelActivity)> {
        let mut words = [0; ACTIVITY_VALUES];
        let cell = &self.region()[ACTIVITY + slot * ACTIVITY_WORDS..][..ACTIVITY_WORDS];
        if seqcell::read(cell, &mut words) { decode_activity(words) } else { None }
    }

    fn get<const N: usize>(&self, at: usize) -> [u64; N] {
        let words = &self.region()[at..][..N];
        core::array::from_fn(|i| words[i].load(Ordering::Relaxed))
    }

    fn region(&self) -> &[AtomicU64] {
        self.segment.words(offset::COUNTERS, REGION_WORDS)
    }
}
