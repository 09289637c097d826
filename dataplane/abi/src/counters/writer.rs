use super::{
    ACTIVITY, ACTIVITY_VALUES, ACTIVITY_WORDS, COUNTS, Count, DROPS, FACTS, Facts, PORT_WORDS, PORTS, Port,
    PortCounters, REGION_WORDS, STAGES, STAGES_MAX, STEERING, STEERING_MAX, TUNNELS_MAX, WORKERS,
    WORKERS_MAX, WorkerCounters, encode_activity, facts, qos, worker,
};
use crate::layout::offset;
use crate::segment::Segment;
use crate::seqcell;
use crate::sync::{AtomicU64, Ordering};
use sipsec_net::dp::TunnelActivity;
use sipsec_net::qos::QosActivity;
use sipsec_net::{DropReason, TunnelId};
use std::sync::Arc;

/// The dataplane's end. Values are absolute. Clones may write different parts from different threads: a part that is a
/// [`seqcell`] (facts, one tunnel's slot) has one writer at a time.
#[derive(Clone, Debug)]
pub struct CountersWriter(Arc<Segment>);

impl CountersWriter {
    pub(crate) fn new(segment: &Arc<Segment>) -> Self {
        Self(segment.clone())
    }

    pub fn drops(&self, drops: &[u64; DropReason::COUNT]) {
        self.put(DROPS, drops);
    }

    /// What a stage of the pipeline has seen and what it cost; `index` as in [`Facts::stages`]. Beyond [`STAGES_MAX`]
    /// nothing is written.
    pub fn stage(&self, index: usize, packets: u64, cycles: u64) {
        if index < STAGES_MAX {
            self.put(STAGES + index * 2, &[packets, cycles]);
        }
    }

    pub fn port(&self, port: Port, counters: &PortCounters) {
        self.put(PORTS + port as usize * PORT_WORDS, &counters.to_words());
    }

    /// Counters of the XDP programs, summed over CPUs, indexed by [`crate::bpf::Counter`].
    pub fn steering(&self, counters: &[u64]) {
        self.put(STEERING, &counters[..counters.len().min(STEERING_MAX)]);
    }

    pub fn count(&self, count: Count, value: u64) {
        self.put(COUNTS + count as usize, &[value]);
    }

    /// What one worker counts. One beyond [`super::WORKERS_MAX`] is not shown.
    pub fn worker(&self, worker: usize, counters: &WorkerCounters) {
        if worker < WORKERS_MAX {
            self.put(WORKERS + worker * worker::WORDS, &counters.to_words());
        }
    }

    pub fn facts(&self, facts: &Facts) {
        seqcell::write(&self.region()[FACTS..][..1 + facts::WORDS], &facts.to_words());
    }

    /// Publishes a tunnel's activity in its slot: any number below [`TUNNELS_MAX`] that is this tunnel's as long as it
    /// exists (the index of the dataplane's own table). `false` if the slot does not exist.
    pub fn activity(&self, slot: usize, tunnel: TunnelId, activity: &TunnelActivity) -> bool {
        self.put_activity(slot, &encode_activity(tunnel, activity))
    }

    /// Empties a slot whose tunnel is gone. The counts of its classes no longer belong to a tunnel.
    pub fn clear_activity(&self, slot: usize) -> bool {
        self.put_activity(slot, &[0; ACTIVITY_VALUES])
    }

    /// Publishes what a tunnel's classes count, in the slot of its activity. `false` if the slot does not exist.
    pub fn qos(&self, slot: usize, tunnel: TunnelId, activity: &QosActivity) -> bool {
        if slot >= TUNNELS_MAX {
            return false;
        }
        let cell = &self.region()[qos::AT + slot * qos::WORDS..][..qos::WORDS];
        seqcell::write(cell, &qos::encode(tunnel, activity));
        true
    }

    fn put_activity(&self, slot: usize, values: &[u64; ACTIVITY_VALUES]) -> bool {
        if slot >= TUNNELS_MAX {
            return false;
        }
        seqcell::write(&self.region()[ACTIVITY + slot * ACTIVITY_WORDS..][..ACTIVITY_WORDS], values);
        true
    }

    fn put(&self, at: usize, values: &[u64]) {
        for (word, value) in self.region()[at..].iter().zip(values) {
            word.store(*value, Ordering::Relaxed);
        }
    }

    fn region(&self) -> &[AtomicU64] {
        self.0.words(offset::COUNTERS, REGION_WORDS)
    }
}
