//! The worker's numbers for the control thread to read: words that one thread stores a few times a second, without a lock and
//! without a system call.

use sipsec_net::DropReason;
use sipsec_net::nat::NatStatistics;
use sipsec_pipeline::{Live, Stage, StageStats};
use sipsec_xsk::PortStats;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's numbers at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerNumbers {
    /// Turns of its loop; while it lives they never stop for long.
    pub turns: u64,
    pub turns_idle: u64,
    pub sleeps: u64,
    /// Events for which the control thread had no room.
    pub events_lost: u64,
    pub frames_free: u64,
    /// Packets handed to other workers, and taken from them.
    pub handed_over: u64,
    pub handed_in: u64,
    pub live: Live,
    pub nat: NatStatistics,
    pub drops: [u64; DropReason::COUNT],
    pub ports: [PortStats; 2],
    pub stages: [StageStats; Stage::COUNT],
}

impl Default for WorkerNumbers {
    fn default() -> Self {
        Self {
            turns: 0,
            turns_idle: 0,
            sleeps: 0,
            events_lost: 0,
            frames_free: 0,
            handed_over: 0,
            handed_in: 0,
            live: Live::default(),
            nat: NatStatistics::default(),
            drops: [0; DropReason::COUNT],
            ports: [PortStats::default(); 2],
            stages: [StageStats::default(); Stage::COUNT],
        }
    }
}

const PORT_WORDS: usize = 10;
const WORDS: usize = 7 + 6 + 11 + DropReason::COUNT + 2 * PORT_WORDS + 2 * Stage::COUNT;

impl WorkerNumbers {
    /// Every number, in an order that both directions share.
    fn each(&mut self, mut number: impl FnMut(&mut u64)) {
        let Self {
            turns,
            turns_idle,
            sleeps,
            events_lost,
            frames_free,
            handed_over,
            handed_in,
            live,
            nat,
            drops,
            ports,
            stages,
        } = self;
        let own = [turns, turns_idle, sleeps, events_lost, frames_free, handed_over, handed_in];
        own.into_iter().for_each(&mut number);
        let Live { tunnels, routes, media_ports, sas, trigger_waiting, shaper_waiting } = live;
        let NatStatistics { sessions, sessions_peak, sessions_max, mappings, hosts, blocks, .. } = nat;
        let narrow = [tunnels, routes, media_ports, sas, trigger_waiting, shaper_waiting];
        for n in narrow.into_iter().chain([sessions, sessions_peak, sessions_max, mappings, hosts, blocks]) {
            let mut wide = u64::from(*n);
            number(&mut wide);
            *n = wide as u32;
        }
        let NatStatistics { hits, created, expired, cleared, log_lost, .. } = nat;
        [hits, created, expired, cleared, log_lost].into_iter().for_each(&mut number);
        drops.iter_mut().for_each(&mut number);
        for port in ports {
            let PortStats {
                received,
                received_bytes,
                sent,
                sent_bytes,
                kicks,
                rx_ring_full,
                rx_fill_empty,
                rx_dropped,
                rx_invalid,
                tx_invalid,
            } = port;
            [received, received_bytes, sent, sent_bytes, kicks].into_iter().for_each(&mut number);
            [rx_ring_full, rx_fill_empty, rx_dropped, rx_invalid, tx_invalid]
                .into_iter()
                .for_each(&mut number);
        }
        for StageStats { packets, cycles } in stages {
            [packets, cycles].into_iter().for_each(&mut number);
        }
    }
}

impl WorkerNumbers {
    /// The numbers of all workers together.
    #[must_use]
    pub fn total(workers: &[Self]) -> Self {
        let mut total = Self::default();
        for worker in workers {
            let mut numbers = Vec::with_capacity(WORDS);
            worker.clone().each(|n| numbers.push(*n));
            let mut numbers = numbers.into_iter();
            total.each(|sum| *sum += numbers.next().unwrap_or(0));
        }
        // Each knows all of these.
        if let Some(first) = workers.first() {
            (total.live.tunnels, total.live.routes) = (first.live.tunnels, first.live.routes);
        }
        total
    }
}

#[derive(Clone, Debug)]
pub struct WorkerCells(Arc<[AtomicU64]>);

impl Default for WorkerCells {
    fn default() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl WorkerCells {
    /// By the worker.
    pub fn store(&self, mut numbers: WorkerNumbers) {
        let mut cells = self.0.iter();
        numbers.each(|n| {
            if let Some(cell) = cells.next() {
                cell.store(*n, Ordering::Relaxed);
            }
        });
    }

    /// By any thread. Each number is true; they need not be of one moment.
    #[must_use]
    pub fn load(&self) -> WorkerNumbers {
        let mut numbers = WorkerNumbers::default();
        let mut cells = self.0.iter();
        numbers.each(|n| *n = cells.next().map_or(0, |cell| cell.load(Ordering::Relaxed)));
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_word_of_its_own() {
        let mut numbers = WorkerNumbers::default();
        let mut count = 0;
        numbers.each(|n| {
            count += 1;
            *n = count;
        });
        assert_eq!(count, WORDS as u64);
        let cells = WorkerCells::default();
        cells.store(numbers.clone());
        assert_eq!(cells.load(), numbers);
        let twice = WorkerNumbers::total(&[numbers.clone(), numbers.clone()]);
        assert_eq!((twice.turns, twice.handed_in, twice.nat.hits), (2, 14, 2 * numbers.nat.hits));
        assert_eq!(twice.live.tunnels, numbers.live.tunnels, "the same tunnels");
        assert_eq!(twice.stages[Stage::COUNT - 1].cycles, 2 * count);
    }
}
