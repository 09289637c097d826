//! `show dataplane topology`

use crate::api::model::{DevicePlace, QueuePlace, Topology, WorkerPlace};
use crate::cli::screen::Screen;
use crate::topology::lists::ranges;
use std::fmt::{Display, Write as _};

const UNKNOWN: &str = "unknown";

/// Lines are folded at `width`.
#[must_use]
pub fn topology(t: &Topology, width: usize) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, t);
    Screen::new(width, true, false).fit(&out)
}

fn write(out: &mut String, t: &Topology) -> std::fmt::Result {
    for d in &t.devices {
        device(out, d)?;
        writeln!(out)?;
    }
    if t.workers.is_empty() {
        writeln!(out, "Worker: {UNKNOWN}")?;
    }
    for w in &t.workers {
        worker(out, w)?;
    }
    writeln!(out)?;
    let (umem, m) = (&t.umem, &t.machine);
    writeln!(
        out,
        "UMEM: {} frames of {} bytes, huge pages {}",
        umem.frames,
        umem.frame_bytes,
        yes(umem.huge_pages)
    )?;
    writeln!(
        out,
        "Machine: cores {}, isolcpus {}, nohz_full {}",
        list(m.cores_online.as_deref()),
        list(m.isolated.as_deref()),
        list(m.nohz_full.as_deref())
    )?;
    for (node, cores) in &m.numa_nodes {
        writeln!(out, "   NUMA node {node}: cores {}", ranges(cores))?;
    }
    writeln!(
        out,
        "   transparent huge pages {}, pages of 2 MiB: {}, {} of them free",
        or_unknown(m.transparent_huge_pages.as_ref()),
        or_unknown(m.huge_pages_total),
        or_unknown(m.huge_pages_free)
    )?;
    writeln!(out)?;
    for v in &t.verdicts {
        writeln!(out, "{:<5} {}", if v.ok { "OK:" } else { "WARN:" }, v.text)?;
        if let Some(cure) = &v.cure {
            writeln!(out, "      cure: {cure}")?;
        }
    }
    Ok(())
}

fn device(out: &mut String, d: &DevicePlace) -> std::fmt::Result {
    writeln!(out, "Device {}: {}", d.side, d.device)?;
    let bus = d.bus.as_deref().unwrap_or("none");
    let driver = or_unknown(d.driver.as_ref());
    writeln!(out, "   driver {driver}, PCI {bus}, NUMA node {}", or_unknown(d.numa_node))?;
    let reached =
        |step: &str, name: &str| if d.attach == step { format!("[{name}]") } else { name.to_owned() };
    if d.attach == "tun" {
        writeln!(out, "   attached: TUN queues with virtio headers, no XDP")?;
    } else {
        writeln!(
            out,
            "   attached: {} > {} > {}",
            reached("zero-copy", "zero copy"),
            reached("copy-driver", "copy, XDP in the driver"),
            reached("generic", "generic")
        )?;
    }
    if let Some(why) = &d.why_not_better {
        writeln!(out, "   not better: {why}")?;
    }
    let poll = if d.busy_poll_us == 0 { "off".to_owned() } else { format!("{} us", d.busy_poll_us) };
    let wakeup = if d.need_wakeup { "on" } else { "off" };
    if d.attach != "tun" {
        writeln!(
            out,
            "   sockets: need_wakeup {wakeup}, busy poll {poll}, rings {}, fill {}",
            d.ring, d.fill
        )?;
    }
    // A software device has neither.
    if d.bus.is_some() || d.driver.is_none() {
        card(out, d)?;
    }
    writeln!(out, "   Queue   IRQ  Cores         NUMA  Interrupt")?;
    d.queues.iter().try_for_each(|q| queue(out, q, d))
}

fn card(out: &mut String, d: &DevicePlace) -> std::fmt::Result {
    match d.nic_rings {
        Some(r) => {
            writeln!(out, "   card: rx ring {} of {}, tx ring {} of {}", r.rx, r.rx_max, r.tx, r.tx_max)?
        }
        None => writeln!(out, "   card: rings {UNKNOWN}")?,
    }
    match d.coalescing {
        Some(c) => writeln!(
            out,
            "   coalescing: rx {} us or {} frames, tx {} us, adaptive rx {}",
            c.rx_usecs,
            c.rx_frames,
            c.tx_usecs,
            if c.adaptive_rx { "on" } else { "off" }
        ),
        None => writeln!(out, "   coalescing: {UNKNOWN}"),
    }
}

fn queue(out: &mut String, q: &QueuePlace, d: &DevicePlace) -> std::fmt::Result {
    if q.irqs.is_empty() {
        let why = if d.bus.is_none() { "none: software device" } else { UNKNOWN };
        return writeln!(out, "   {:>5} {:>5}  {:<12}  {:<4}  {why}", q.queue, "-", "-", "-");
    }
    for irq in &q.irqs {
        let nodes = if irq.numa_nodes.is_empty() { UNKNOWN.to_owned() } else { ranges(&irq.numa_nodes) };
        let cores = list(irq.cores.as_deref());
        writeln!(out, "   {:>5} {:>5}  {cores:<12}  {nodes:<4}  {}", q.queue, irq.irq, irq.name)?;
    }
    Ok(())
}

fn worker(out: &mut String, w: &WorkerPlace) -> std::fmt::Result {
    let place = match w.pinned() {
        Some(core) => format!("core {core}"),
        None => format!("cores {}, last on {}", list(w.cores.as_deref()), or_unknown(w.last_core)),
    };
    writeln!(out, "Worker {}: {place}, NUMA node {}", w.name, or_unknown(w.numa_node))?;
    writeln!(
        out,
        "   isolcpus {}, nohz_full {}, governor {}, SMT siblings {}",
        w.isolated.map_or(UNKNOWN, yes),
        w.nohz_full.map_or(UNKNOWN, yes),
        or_unknown(w.governor.as_ref()),
        list(w.smt_siblings.as_deref())
    )
}

fn or_unknown<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// Cores, `none`, or `unknown`.
fn list(cores: Option<&[u32]>) -> String {
    match cores {
        None => UNKNOWN.to_owned(),
        Some([]) => "none".to_owned(),
        Some(cores) => ranges(cores),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;

    #[test]
    fn a_gateway_that_says_nothing_is_unknown_and_fits() {
        let device = |side: &str, name: &str| DevicePlace {
            side: side.to_owned(),
            device: name.to_owned(),
            attach: "generic".to_owned(),
            why_not_better: Some("dataplane.xdp_mode is generic".to_owned()),
            queues: vec![QueuePlace::default()],
            ..DevicePlace::default()
        };
        let t = Topology {
            devices: vec![device("outside", "wan0"), device("inside", "svti0")],
            ..Topology::default()
        };
        let text = topology(&t, 80);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        golden("topology-unknown.txt", &text);
    }
}
