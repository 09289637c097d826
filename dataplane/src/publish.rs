//! Counters for the control plane's eyes: written to shared memory a few times a second, never on the packet's path.

use crate::peer::{DownCounts, Session, UpCounts};
use sipsec_abi::counters::STEERING_MAX;
use sipsec_abi::{Count, Port, PortCounters};
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{DropReason, Instant, TunnelId};
use sipsec_pipeline::{Live, StageStats};
use sipsec_xsk::PortStats;
use std::time::Duration;

/// How old what is published may become.
const EVERY: Duration = Duration::from_millis(100);

/// When to publish next, and the loop's own numbers.
#[derive(Debug, Default)]
pub struct Publisher {
    last: Instant,
    turns: u64,
    turns_idle: u64,
    pub sleeps: u64,
    pub ring_faults: u64,
    /// Slots of the activity table in use, rising.
    slots: Vec<usize>,
}

/// The parts that come from elsewhere.
#[derive(Debug)]
pub struct Numbers {
    pub drops: [u64; DropReason::COUNT],
    pub ports: [PortStats; 2],
    pub steering: [u64; STEERING_MAX],
    pub up: UpCounts,
    pub down: DownCounts,
    pub frames_free: usize,
    pub live: Live,
}

impl Publisher {
    /// The loop has turned.
    pub const fn turned(&mut self, work: usize) {
        self.turns += 1;
        self.turns_idle += (work == 0) as u64;
    }

    /// A new control plane sees everything at once.
    pub fn restart(&mut self) {
        self.last = Instant::ZERO;
        // Its page is a fresh one.
        self.slots.clear();
    }

    /// Whether it is time; the next time is counted from now.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.last) >= EVERY;
        if due {
            self.last = now;
        }
        due
    }

    /// Everything but what belongs to single tunnels.
    pub fn publish(&self, session: &Session, n: &Numbers) {
        let to = &session.counters;
        to.drops(&n.drops);
        for (port, stats) in [Port::Outside, Port::Inside].into_iter().zip(&n.ports) {
            to.port(port, &port_counters(stats));
        }
        to.steering(&n.steering);
        let counts = [
            (Count::Turns, self.turns),
            (Count::TurnsIdle, self.turns_idle),
            (Count::Sleeps, self.sleeps),
            (Count::TransactionsApplied, n.down.applied),
            (Count::TransactionsRejected, n.down.rejected),
            (Count::TransactionsRepeated, n.down.repeated),
            (Count::SlotsDiscarded, n.down.discarded),
            (Count::RingFaults, self.ring_faults),
            (Count::Connections, session.epoch),
            (Count::ConnectionsRefused, session.refused),
            (Count::Acquires, n.up.acquires),
            (Count::IkeUp, n.up.ike),
            (Count::IkeDown, n.down.ike),
            (Count::FramesFree, n.frames_free as u64),
            (Count::Tunnels, n.live.tunnels.into()),
            (Count::Routes, n.live.routes.into()),
            (Count::MediaPorts, n.live.media_ports.into()),
            (Count::Sas, n.live.sas.into()),
            (Count::TriggerWaiting, n.live.trigger_waiting.into()),
            (Count::ShaperWaiting, n.live.shaper_waiting.into()),
            (Count::EventsLost, n.up.events_lost),
        ];
        for (count, value) in counts {
            to.count(count, value);
        }
    }

    pub fn publish_stages(&self, session: &Session, stages: &[StageStats]) {
        for (index, stage) in stages.iter().enumerate() {
            session.counters.stage(index, stage.packets, stage.cycles);
        }
    }

    /// Every tunnel's activity in its slot, and nothing in the slots of those that went.
    pub fn publish_activity(
        &mut self,
        session: &Session,
        activities: impl Iterator<Item = (usize, TunnelId, TunnelActivity)>,
    ) {
        let before = std::mem::take(&mut self.slots);
        for (slot, tunnel, activity) in activities {
            session.counters.activity(slot, tunnel, &activity);
            self.slots.push(slot);
        }
        // Both rise.
        for gone in before.iter().filter(|s| self.slots.binary_search(s).is_err()) {
            session.counters.clear_activity(*gone);
        }
    }
}

const fn port_counters(stats: &PortStats) -> PortCounters {
    PortCounters {
        rx_packets: stats.received,
        rx_bytes: stats.received_bytes,
        tx_packets: stats.sent,
        tx_bytes: stats.sent_bytes,
        rx_dropped: stats.rx_dropped + stats.rx_invalid,
        rx_ring_full: stats.rx_ring_full,
        rx_fill_empty: stats.rx_fill_empty,
        tx_invalid: stats.tx_invalid,
    }
}
