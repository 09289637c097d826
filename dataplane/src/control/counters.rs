//! Counters for the control plane: written to shared memory a few times a second.

use super::cells::WorkerNumbers;
use super::rings::{DownCounts, Session, UpCounts};
use sipsec_abi::counters::{STEERING_MAX, TUNNELS_MAX};
use sipsec_abi::{Count, Port, PortCounters, WorkerCounters};
use sipsec_net::dp::{Op, TunnelActivity};
use sipsec_net::{Instant, TunnelId};
use sipsec_pipeline::{Activities, Registry};
use sipsec_xsk::PortStats;
use std::collections::HashMap;
use std::time::Duration;

/// How old what is published may become.
const EVERY: Duration = Duration::from_millis(100);

/// Classes are published with every so many rounds of all else.
const QOS_ROUNDS: u32 = 5;

/// When to publish next, and what has been.
#[derive(Debug)]
pub struct Publisher {
    last: Option<Instant>,
    rounds: u32,
    pub ring_faults: u64,
    /// Slots of the activity table that hold something, and whose it was.
    published: Box<[Option<TunnelId>; TUNNELS_MAX]>,
    slots: HashMap<TunnelId, usize>,
    places: Vec<WorkerPlace>,
}

/// The parts that come from elsewhere.
#[derive(Debug)]
pub struct Numbers {
    pub steering: [u64; STEERING_MAX],
    pub up: UpCounts,
    pub down: DownCounts,
    /// Of each worker, with what its sockets count.
    pub workers: Vec<WorkerNumbers>,
    /// What they count together, and what the control thread counts.
    pub total: WorkerNumbers,
}

/// What a worker has, from its start to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerPlace {
    pub core: Option<u16>,
    /// Receive queues, outside and inside.
    pub queues: [u32; 2],
}

impl Publisher {
    /// For workers with these places.
    #[must_use]
    pub fn new(places: Vec<WorkerPlace>) -> Self {
        Self {
            places,
            last: None,
            rounds: 0,
            ring_faults: 0,
            published: Box::new([None; TUNNELS_MAX]),
            slots: HashMap::new(),
        }
    }

    /// A new control plane sees everything at once.
    pub fn restart(&mut self) {
        self.last = None;
        self.rounds = u32::MAX;
        // Its page is a fresh one.
        self.published.fill(None);
        self.slots.clear();
    }

    /// Whether it is time; the next time is counted from now.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY);
        if due {
            self.last = Some(now);
        }
        due
    }

    /// Everything but what belongs to single tunnels.
    pub fn publish(&self, session: &Session, n: &Numbers) {
        let to = &session.counters;
        let worker = &n.total;
        to.drops(&worker.drops);
        for (port, stats) in [Port::Outside, Port::Inside].into_iter().zip(&worker.ports) {
            to.port(port, &port_counters(stats));
        }
        to.steering(&n.steering);
        let counts = [
            (Count::Turns, worker.turns),
            (Count::TurnsIdle, worker.turns_idle),
            (Count::Sleeps, worker.sleeps),
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
            (Count::FramesFree, worker.frames_free),
            (Count::Tunnels, worker.live.tunnels.into()),
            (Count::Routes, worker.live.routes.into()),
            (Count::MediaPorts, worker.live.media_ports.into()),
            (Count::Sas, worker.live.sas.into()),
            (Count::TriggerWaiting, worker.live.trigger_waiting.into()),
            (Count::ShaperWaiting, worker.live.shaper_waiting.into()),
            (Count::EventsLost, n.up.events_lost + worker.events_lost),
            (Count::HandedOver, worker.handed_over),
        ];
        for (count, value) in counts {
            to.count(count, value);
        }
        for (index, stage) in worker.stages.iter().enumerate() {
            to.stage(index, stage.packets, stage.cycles);
        }
        for (index, (numbers, place)) in n.workers.iter().zip(&self.places).enumerate() {
            to.worker(index, &worker_counters(numbers, *place));
        }
    }

    /// What the classes of the tunnels count, now and then: `show` alone asks for it.
    pub fn publish_qos(&mut self, session: &Session, activities: &[Activities], registry: &Registry) {
        self.rounds = self.rounds.wrapping_add(1);
        if !self.rounds.is_multiple_of(QOS_ROUNDS) {
            return;
        }
        for slot in 0..places(activities) {
            let counters =
                active(activities, slot).and_then(|(t, _)| Some((t, registry.qos_counters(t)?.read()?)));
            if let Some((tunnel, counters)) = counters {
                session.counters.qos(slot, tunnel, &counters);
            }
        }
    }

    /// The activity of every tunnel in its slot, and nothing in the slots of those that went.
    pub fn publish_activity(&mut self, session: &Session, activities: &[Activities]) {
        let slots = self.published.iter_mut().enumerate().take(places(activities));
        for (slot, published) in slots {
            match active(activities, slot) {
                Some((tunnel, activity)) => {
                    session.counters.activity(slot, tunnel, &activity);
                    let before = published.replace(tunnel);
                    if before != Some(tunnel) {
                        forget(&mut self.slots, before, slot);
                        self.slots.insert(tunnel, slot);
                    }
                }
                None => {
                    let before = published.take();
                    if before.is_some() {
                        session.counters.clear_activity(slot);
                    }
                    forget(&mut self.slots, before, slot);
                }
            }
        }
    }

    /// The same at once for the tunnels that a transaction took their SA from: after its answer, what the control plane reads
    /// is final for their calls.
    pub fn publish_ended(&mut self, session: &Session, activities: &[Activities], ops: &[Op]) {
        for op in ops {
            let Op::TunnelUnbind(tunnel) = op else { continue };
            let of_tunnel = |slot: &usize| {
                activities.iter().find_map(|a| a.get(*slot).filter(|(found, _)| found == tunnel))
            };
            let known = self.slots.get(tunnel).copied().filter(|slot| of_tunnel(slot).is_some());
            // A tunnel that is younger than the last publication.
            let slot = known.or_else(|| (0..places(activities)).find(|slot| of_tunnel(slot).is_some()));
            if let Some((slot, (_, activity))) = slot.and_then(|slot| Some((slot, of_tunnel(&slot)?))) {
                session.counters.activity(slot, *tunnel, &activity);
            }
        }
    }
}

/// The places of each worker's table; a tunnel has the same in all of them.
fn places(activities: &[Activities]) -> usize {
    activities.first().map_or(0, Activities::places)
}

/// The tunnel in this place, as its worker counts it.
fn active(activities: &[Activities], place: usize) -> Option<(TunnelId, TunnelActivity)> {
    activities.iter().find_map(|a| a.get(place))
}

/// The tunnel is not in this slot any more; it may have another.
fn forget(slots: &mut HashMap<TunnelId, usize>, tunnel: Option<TunnelId>, slot: usize) {
    if let Some(tunnel) = tunnel.filter(|tunnel| slots.get(tunnel) == Some(&slot)) {
        slots.remove(&tunnel);
    }
}

const fn worker_counters(n: &WorkerNumbers, WorkerPlace { core, queues }: WorkerPlace) -> WorkerCounters {
    let [outside, inside] = &n.ports;
    WorkerCounters {
        core,
        queues,
        turns: n.turns,
        turns_idle: n.turns_idle,
        sleeps: n.sleeps,
        frames_free: n.frames_free,
        received: [outside.received, inside.received],
        sent: [outside.sent, inside.sent],
        handed_over: n.handed_over,
        handed_in: n.handed_in,
        sas: n.live.sas as u64,
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
    use sipsec_pipeline::InsideMode;
    use sipsec_pipeline::testing::{Gateway, Side};

    #[test]
    fn tunnels_are_published_in_their_slots_and_those_that_went_are_cleared() {
        let (_listener, control, link, _connection) = crate::control::rings::tests::connect("publish");
        let session = link.into_session();
        let mut reader = control.counters;
        let mut gateway = Gateway::new(Side::A, InsideMode::Host);
        let mut publisher = Publisher::new(Vec::new());
        let activities = [gateway.pipeline.activities()];
        publisher.publish_activity(&session, &activities);
        assert!(reader.activity(Gateway::TUNNEL).is_some());
        let second = TunnelId(900);
        gateway.apply(&[
            Op::TunnelRemove(Gateway::TUNNEL),
            Op::TunnelAdd(sipsec_net::dp::TunnelSpec { tunnel: second, ..Gateway::tunnel() }),
        ]);
        publisher.publish_activity(&session, &activities);
        assert_eq!(reader.activity(Gateway::TUNNEL), None);
        assert!(reader.activity(second).is_some());
        gateway.apply(&[Op::TunnelRemove(second)]);
        publisher.publish_activity(&session, &activities);
        assert_eq!(reader.activity(second), None);
    }

    /// A tunnel that took the slot of another within one interval: the numbers of neither are taken for the other's.
    #[test]
    fn the_end_of_a_call_is_published_at_once() {
        let (_listener, control, link, _connection) = crate::control::rings::tests::connect("ended");
        let session = link.into_session();
        let mut reader = control.counters;
        let mut gateway = Gateway::new(Side::A, InsideMode::Host);
        let mut publisher = Publisher::new(Vec::new());
        let activities = [gateway.pipeline.activities()];
        let unbind = |tunnel| [Op::TunnelUnbind(tunnel)];
        publisher.publish_ended(&session, &activities, &unbind(Gateway::TUNNEL));
        assert!(reader.activity(Gateway::TUNNEL).is_some(), "before the first publication of all");
        publisher.publish_activity(&session, &activities);
        let second = TunnelId(900);
        gateway.apply(&[
            Op::TunnelRemove(Gateway::TUNNEL),
            Op::TunnelAdd(sipsec_net::dp::TunnelSpec { tunnel: second, ..Gateway::tunnel() }),
        ]);
        publisher.publish_ended(&session, &activities, &unbind(Gateway::TUNNEL));
        publisher.publish_ended(&session, &activities, &unbind(second));
        assert!(reader.activity(second).is_some());
        publisher.publish_activity(&session, &activities);
        assert_eq!((reader.activity(Gateway::TUNNEL), publisher.slots.len()), (None, 1));
    }

    #[test]
    fn a_new_control_plane_sees_the_counters_at_once() {
        let mut publisher = Publisher::new(Vec::new());
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        assert!(publisher.due(at(10)));
        assert!(!publisher.due(at(109)) && publisher.due(at(110)));
        publisher.restart();
        assert!(publisher.due(at(111)));
    }
}
