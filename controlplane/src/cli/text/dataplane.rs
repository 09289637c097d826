//! `show dataplane` and `show control`

use super::clock;
use crate::api::model::{Control, Dataplane, Known, WorkerCounts};
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

/// Routes in the same state that are shown one by one.
const ROUTES_SHOWN: usize = 8;

#[must_use]
pub fn dataplane(d: &Dataplane) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, d);
    out
}

fn write(out: &mut String, d: &Dataplane) -> std::fmt::Result {
    if !d.connected {
        writeln!(out, "Dataplane: not connected: {}", d.reason.as_deref().unwrap_or("unknown"))?;
        return Ok(());
    }
    let beat =
        d.heartbeat_ms_ago.map_or("no heartbeat yet".to_owned(), |ms| format!("heartbeat {ms} ms ago"));
    writeln!(out, "Dataplane: {}, connection {}, {beat}", d.software, d.epoch)?;
    writeln!(out, "AEAD engine: {}   workers: {}   frames: {}", d.engine, d.workers, d.frames)?;
    for p in &d.ports {
        writeln!(out)?;
        writeln!(out, "Port {}: {}", p.side, p.device)?;
        let attached = match p.bind_mode.as_str() {
            "virtio" => "TUN with virtio headers".to_owned(),
            bind_mode => format!("XDP {}, sockets {bind_mode}", p.xdp_mode),
        };
        writeln!(out, "   {attached}, {} queue(s), MAC {}, MTU {}", p.queues, p.mac, p.mtu)?;
        writeln!(out, "   received {} packets, {} bytes", p.rx_packets, p.rx_bytes)?;
        writeln!(out, "   sent     {} packets, {} bytes", p.tx_packets, p.tx_bytes)?;
        let lost = [
            ("dropped", p.rx_dropped),
            ("ring full", p.rx_ring_full),
            ("fill ring empty", p.rx_fill_empty),
            ("invalid tx", p.tx_invalid),
        ];
        let lost: Vec<_> = lost.iter().map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(out, "   sockets: {}", lost.join(", "))?;
    }
    workers(out, &d.by_worker)?;
    section(out, "Drops by reason", &d.drops)?;
    if !d.stages.is_empty() {
        writeln!(out, "\nStage                       sampled         cycles   cycles/packet")?;
        for s in &d.stages {
            let each = s.cycles.checked_div(s.packets).map_or("--".to_owned(), |c| c.to_string());
            writeln!(out, "   {:<18} {:>13} {:>14} {:>15}", s.name, s.packets, s.cycles, each)?;
        }
    }
    section(out, "Counters", &d.counters)?;
    section(out, "XDP programs", &d.steering)
}

fn workers(out: &mut String, workers: &[WorkerCounts]) -> std::fmt::Result {
    for w in workers {
        let core = w.core.map_or_else(|| "any core".to_owned(), |core| format!("core {core}"));
        writeln!(
            out,
            "\nWorker {}: {core}, queues outside {}, inside {}, SAs {}, frames free {}",
            w.name, w.queues_outside, w.queues_inside, w.sas, w.frames_free
        )?;
        writeln!(
            out,
            "   received outside {}, inside {}; sent outside {}, inside {}",
            w.rx_outside, w.rx_inside, w.tx_outside, w.tx_inside
        )?;
        if workers.len() > 1 {
            writeln!(out, "   handed to other workers {}, taken from them {}", w.handed_over, w.handed_in)?;
        }
        if w.queues_outside == 0 || w.queues_inside == 0 {
            writeln!(out, "   without a queue of a device: takes there what other workers hand over alone")?;
        }
        writeln!(out, "   turns {}, of them idle {}, sleeps {}", w.turns, w.turns_idle, w.sleeps)?;
    }
    Ok(())
}

fn section(out: &mut String, title: &str, entries: &BTreeMap<String, u64>) -> std::fmt::Result {
    writeln!(out, "\n{title}:{}", if entries.is_empty() { " none" } else { "" })?;
    for (name, value) in entries {
        writeln!(out, "   {name:<26} {value:>14}")?;
    }
    Ok(())
}

#[must_use]
pub fn control(c: &Control) -> String {
    fn state<T: Display>(known: &Known<T>) -> String {
        match &known.value {
            Some(value) => value.to_string(),
            None => format!("none: {}", known.reason.as_deref().unwrap_or("unknown")),
        }
    }
    let mut out = format!(
        "Control plane: {}, up {}\nWAN address: {}\nSIP socket: {}\nDataplane: {}\nKernel routing: {}\nCall journal: {}\nLog filter: {}\n",
        c.version,
        clock(c.uptime_s),
        state(&c.wan),
        state(&c.sip),
        state(&c.dataplane),
        state(&c.kernel),
        state(&c.journal),
        c.log_filter
    );
    for call in &c.unconfirmed {
        let _ = writeln!(out, "May still be charged: {}", super::unconfirmed(call));
    }
    routes(&mut out, &c.routes);
    let _ = section(&mut out, "Counters", &c.counters);
    out
}

/// Each route, or how many are in the same state if they are many.
fn routes(out: &mut String, routes: &BTreeMap<String, String>) {
    let mut by_state: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (prefix, state) in routes {
        by_state.entry(state).or_default().push(prefix);
    }
    for (state, prefixes) in by_state {
        let _ = match prefixes.as_slice() {
            [first, .., last] if prefixes.len() > ROUTES_SHOWN => {
                writeln!(out, "{} routes, {first} to {last}: {state}", prefixes.len())
            }
            few => few.iter().try_for_each(|prefix| writeln!(out, "Route {prefix}: {state}")),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;
    use crate::api::model::{Port, Stage};

    #[test]
    fn many_routes_in_one_state_are_one_line() {
        let mut table: BTreeMap<String, String> =
            (1..=100).map(|n| (format!("10.{n}.0.0/16"), "dev svti0 proto 83".to_owned())).collect();
        table.insert("10.200.0.0/16".to_owned(), "svti0 is down".to_owned());
        let mut out = String::new();
        routes(&mut out, &table);
        assert_eq!(
            out,
            "100 routes, 10.1.0.0/16 to 10.99.0.0/16: dev svti0 proto 83\nRoute 10.200.0.0/16: svti0 is down\n"
        );
    }

    #[test]
    fn counters_stand_by_name_and_cycles_by_packet() {
        let port = |side: &str, device: &str| Port {
            side: side.into(),
            device: device.into(),
            xdp_mode: "driver".into(),
            bind_mode: "copy".into(),
            mac: "02:00:00:00:00:01".into(),
            mtu: 1500,
            queues: 1,
            fill: 1024,
            busy_poll_us: 0,
            driver_refused: None,
            zero_copy_refused: None,
            rx_packets: 12,
            rx_bytes: 1440,
            tx_packets: 11,
            tx_bytes: 1320,
            rx_dropped: 0,
            rx_ring_full: 0,
            rx_fill_empty: 0,
            tx_invalid: 0,
        };
        let shown = Dataplane {
            connected: true,
            reason: None,
            software: "sipsec-dataplane 0.1.0".into(),
            epoch: 1,
            engine: "ring".into(),
            workers: 1,
            frames: 4096,
            frame_bytes: 2048,
            huge_pages: false,
            ring: 2048,
            need_wakeup: true,
            pid: 4711,
            heartbeat_ms_ago: Some(3),
            ports: vec![port("outside", "wan0"), port("inside", "svti0")],
            by_worker: vec![
                WorkerCounts {
                    name: "worker-0".into(),
                    core: Some(1),
                    queues_outside: 1,
                    queues_inside: 1,
                    rx_outside: 12,
                    tx_outside: 11,
                    rx_inside: 12,
                    tx_inside: 11,
                    handed_over: 5,
                    handed_in: 4,
                    sas: 2,
                    frames_free: 4000,
                    turns: 90,
                    turns_idle: 80,
                    sleeps: 7,
                },
                WorkerCounts { name: "worker-1".into(), queues_inside: 1, ..WorkerCounts::default() },
            ],
            drops: [("no-route".to_owned(), 2)].into(),
            stages: vec![
                Stage { name: "esp-encap".into(), packets: 11, cycles: 22_000 },
                Stage { name: "esp-decap".into(), packets: 0, cycles: 0 },
            ],
            counters: [("acquires".to_owned(), 1)].into(),
            steering: BTreeMap::new(),
        };
        golden("dataplane.txt", &dataplane(&shown));
        let down =
            Dataplane { connected: false, reason: Some("no such file".into()), ..Dataplane::default() };
        assert_eq!(dataplane(&down), "Dataplane: not connected: no such file\n");
    }
}
