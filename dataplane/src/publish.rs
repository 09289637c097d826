//! Counters for the control plane's eyes: written to shared memory a few times a second, never on the packet's path.

use crate::peer::{DownCounts, Session, UpCounts};
use sipsec_abi::counters::{STEERING_MAX, TUNNELS_MAX};
use sipsec_abi::{Count, Port, PortCounters};
use sipsec_net::dp::TunnelActivity;
use sipsec_net::{DropReason, Instant, TunnelId};
use sipsec_pipeline::{Live, StageStats};
use sipsec_xsk::PortStats;
use std::time::Duration;

/// How old what is published may become.
const EVERY: Duration = Duration::from_millis(100);

/// Tunnels whose activity is written between two batches of packets.
const TUNNELS_PER_TURN: usize = 256;

/// When to publish next, and the loop's own numbers.
#[derive(Debug)]
pub struct Publisher {
    last: Instant,
    turns: u64,
    turns_idle: u64,
    pub sleeps: u64,
    pub ring_faults: u64,
    /// Slots of the activity table that hold something.
    published: Box<[bool; TUNNELS_MAX]>,
    /// Where the round through the tunnels goes on, if one is not finished.
    next_slot: Option<usize>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self {
            last: Instant::ZERO,
            turns: 0,
            turns_idle: 0,
            sleeps: 0,
            ring_faults: 0,
            published: Box::new([false; TUNNELS_MAX]),
            next_slot: None,
        }
    }
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
        self.published.fill(false);
    }

    /// Whether it is time; the next time is counted from now.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = now.saturating_duration_since(self.last) >= EVERY;
        if due {
            self.last = now;
            // A round that is not finished by now began late: it goes on.
            self.next_slot.get_or_insert(0);
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

    /// Goes on with the round through the tunnels: the activity of some in their slots, and nothing in the slots of those that
    /// went. `places` is how many slots there are, `activity` what is in one. Whether the round is finished.
    pub fn publish_activity(
        &mut self,
        session: &Session,
        places: usize,
        activity: impl Fn(usize) -> Option<(TunnelId, TunnelActivity)>,
    ) -> bool {
        let Some(next) = self.next_slot else { return true };
        let places = places.min(TUNNELS_MAX);
        let end = (next + TUNNELS_PER_TURN).min(places);
        for slot in next..end {
            match activity(slot) {
                Some((tunnel, activity)) => {
                    session.counters.activity(slot, tunnel, &activity);
                    self.published[slot] = true;
                }
                None if self.published[slot] => {
                    session.counters.clear_activity(slot);
                    self.published[slot] = false;
                }
                None => {}
            }
        }
        self.next_slot = (end < places).then_some(end);
        self.next_slot.is_none()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// What a round through `live` tunnels writes, and in how many steps.
    fn round(
        publisher: &mut Publisher,
        session: &Session,
        places: usize,
        live: impl Fn(usize) -> bool,
    ) -> usize {
        let activity = |place: usize| {
            let activity = TunnelActivity { packets_in: place as u64, ..TunnelActivity::default() };
            live(place).then_some((TunnelId(place as u32), activity))
        };
        let mut steps = 1;
        while !publisher.publish_activity(session, places, activity) {
            steps += 1;
        }
        steps
    }

    #[test]
    fn thousands_of_tunnels_are_published_in_steps_and_those_that_went_are_cleared() {
        let (_listener, control, link, _connection) = crate::peer::tests::connect("publish");
        let session = link.into_session();
        let mut reader = control.counters;
        let mut publisher = Publisher::default();
        let places = 3 * TUNNELS_PER_TURN + 1;
        assert!(publisher.due(at(1000)));
        assert_eq!(round(&mut publisher, &session, places, |_| true), 4);
        for place in [0, TUNNELS_PER_TURN, places - 1] {
            let activity = reader.activity(TunnelId(place as u32)).expect("published");
            assert_eq!(activity.packets_in, place as u64);
        }
        // Between two rounds nothing is written.
        assert!(!publisher.due(at(1050)));
        assert_eq!(round(&mut publisher, &session, places, |_| false), 1);
        assert!(reader.activity(TunnelId(0)).is_some());
        assert!(publisher.due(at(1100)));
        round(&mut publisher, &session, places, |place| place != 5);
        assert_eq!(reader.activity(TunnelId(5)), None);
        assert!(reader.activity(TunnelId(6)).is_some());
    }
}
