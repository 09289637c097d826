//! `show dataplane`: what the dataplane publishes, in the words of the API.

use super::{DataplaneLink, State};
use crate::api::model;
use crate::clock;
use sipsec_abi::bpf::Counter;
use sipsec_abi::{Count, Facts, Port, PortCounters, WorkerCounters};
use sipsec_net::{DropReason, Instant};

impl DataplaneLink {
    /// For `show dataplane`.
    #[must_use]
    pub fn view(&self) -> model::Dataplane {
        let State::Up(connected) = &self.state else {
            return model::Dataplane { reason: Some(self.reason.clone()), ..model::Dataplane::default() };
        };
        let (side, counters) = (&connected.side, &connected.side.counters);
        let facts = counters.facts().unwrap_or_default();
        let beat = side.pulse.peer_beat();
        let ago = clock::now().saturating_duration_since(beat);
        let named = |pairs: &mut dyn Iterator<Item = (&'static str, u64)>| {
            pairs.filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n)).collect()
        };
        let drops = counters.drops();
        let steering = counters.steering();
        model::Dataplane {
            connected: true,
            reason: None,
            software: side.software.to_string(),
            epoch: side.epoch,
            engine: facts.engine.to_string(),
            workers: facts.workers,
            frames: facts.frames,
            frame_bytes: facts.chunk,
            huge_pages: facts.huge_pages,
            ring: facts.ring,
            need_wakeup: facts.need_wakeup,
            pid: facts.pid,
            heartbeat_ms_ago: (beat != Instant::ZERO)
                .then(|| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
            ports: [(Port::Outside, "outside"), (Port::Inside, "inside")]
                .map(|(port, name)| port_view(name, &facts, port, counters.port(port)))
                .into(),
            by_worker: counters.workers().iter().enumerate().map(worker_view).collect(),
            drops: named(&mut DropReason::ALL.iter().map(|r| (r.name(), drops[r.index()]))),
            stages: counters
                .stages()
                .into_iter()
                .map(|s| model::Stage { name: s.name.to_string(), packets: s.packets, cycles: s.cycles })
                .collect(),
            counters: Count::ALL.iter().map(|c| (c.name().to_owned(), counters.count(*c))).collect(),
            steering: named(
                &mut Counter::ALL.iter().map(|c| (c.name(), steering.get(*c as usize).copied().unwrap_or(0))),
            ),
        }
    }
}

fn worker_view((index, c): (usize, &WorkerCounters)) -> model::WorkerCounts {
    let ([queues_outside, queues_inside], [rx_outside, rx_inside]) = (c.queues, c.received);
    let [tx_outside, tx_inside] = c.sent;
    model::WorkerCounts {
        name: format!("worker-{index}"),
        core: c.core,
        queues_outside,
        queues_inside,
        rx_outside,
        tx_outside,
        rx_inside,
        tx_inside,
        handed_over: c.handed_over,
        handed_in: c.handed_in,
        sas: c.sas,
        frames_free: c.frames_free,
        turns: c.turns,
        turns_idle: c.turns_idle,
        sleeps: c.sleeps,
    }
}

fn port_view(side: &str, facts: &Facts, port: Port, c: PortCounters) -> model::Port {
    let f = &facts.ports[port as usize];
    let reason = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    model::Port {
        side: side.to_owned(),
        device: f.device.to_string(),
        xdp_mode: f.xdp_mode.to_string(),
        bind_mode: f.bind_mode.to_string(),
        mac: f.mac.to_string(),
        mtu: f.mtu,
        queues: f.queues,
        fill: f.fill,
        busy_poll_us: f.busy_poll_us,
        driver_refused: reason(f.driver_refused.as_str()),
        zero_copy_refused: reason(f.zero_copy_refused.as_str()),
        rx_packets: c.rx_packets,
        rx_bytes: c.rx_bytes,
        tx_packets: c.tx_packets,
        tx_bytes: c.tx_bytes,
        rx_dropped: c.rx_dropped,
        rx_ring_full: c.rx_ring_full,
        rx_fill_empty: c.rx_fill_empty,
        tx_invalid: c.tx_invalid,
    }
}
