//! Where the dataplane runs: device → queue → IRQ → core → NUMA node, and a verdict on each.
//!
//! ```text
//! ethtool ──▶ Nic ──┐
//! /proc, /sys ─▶ Tree ──▶ read() ──▶ Topology ──▶ verdicts()
//! show dataplane ───┘
//! ```
//!
//! [`read()`] looks at nothing but its arguments. What a machine does not say is absent and is never an error.

mod files;
mod interrupts;
pub mod lists;
mod nic;
#[cfg(test)]
mod samples;
mod verdict;

use crate::api::model::{
    Dataplane, DevicePlace, IrqPlace, MachineView, Port, QueuePlace, Topology, UmemView, WorkerPlace,
};
use files::{Kernel, Tree};
use interrupts::{Interrupt, interrupts, receive_queue};
use nic::Nic;

const CPU: &str = "/sys/devices/system/cpu";
const NODE: &str = "/sys/devices/system/node";
const HUGE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB";
/// Threads of the dataplane whose names begin with this forward packets.
const WORKER: &str = "worker-";
/// The kernel keeps 15 bytes of a process's name.
const PROCESS: &str = "sipsec-dataplan";

/// Of the machine that this process runs on, which is the dataplane's.
#[must_use]
pub fn of_this_machine(dataplane: &Dataplane) -> Topology {
    let nics: Vec<_> = dataplane.ports.iter().map(|port| nic::nic(&port.device)).collect();
    read(dataplane, &nics, &Kernel)
}

/// `nics` are those of the dataplane's ports, in the same order.
fn read(dataplane: &Dataplane, nics: &[Nic], tree: &impl Tree) -> Topology {
    let machine = machine(tree);
    let interrupts = interrupts(&tree.text("/proc/interrupts").unwrap_or_default());
    let devices = dataplane.ports.iter().zip(nics);
    let mut topology = Topology {
        devices: devices
            .map(|(port, nic)| device(dataplane, port, nic, &machine, &interrupts, tree))
            .collect(),
        workers: workers(dataplane.pid, &machine, tree),
        umem: UmemView {
            frames: dataplane.frames,
            frame_bytes: dataplane.frame_bytes,
            huge_pages: dataplane.huge_pages,
        },
        machine,
        verdicts: Vec::new(),
    };
    topology.verdicts = verdict::verdicts(&topology);
    topology
}

fn machine(tree: &impl Tree) -> MachineView {
    let cores = |path: String| lists::cores(&tree.text(&path)?);
    let pages = |name: &str| tree.text(&format!("{HUGE}/{name}"))?.trim().parse().ok();
    let nodes = tree.names(NODE).into_iter().filter_map(|name| {
        let node = name.strip_prefix("node")?.parse().ok()?;
        Some((node, cores(format!("{NODE}/{name}/cpulist"))?))
    });
    let mut numa_nodes: Vec<(u32, Vec<u32>)> = nodes.collect();
    numa_nodes.sort_unstable();
    let transparent = tree.text("/sys/kernel/mm/transparent_hugepage/enabled");
    MachineView {
        cores_online: cores(format!("{CPU}/online")),
        isolated: cores(format!("{CPU}/isolated")),
        nohz_full: cores(format!("{CPU}/nohz_full")),
        transparent_huge_pages: transparent.as_deref().and_then(lists::chosen).map(str::to_owned),
        huge_pages_total: pages("nr_hugepages"),
        huge_pages_free: pages("free_hugepages"),
        numa_nodes,
    }
}

fn device(
    dataplane: &Dataplane,
    port: &Port,
    nic: &Nic,
    machine: &MachineView,
    interrupts: &[Interrupt],
    tree: &impl Tree,
) -> DevicePlace {
    let (attach, why_not_better) = match (port.xdp_mode.as_str(), port.bind_mode.as_str()) {
        (_, "zero-copy") => ("zero-copy", None),
        (_, "virtio") => ("tun", None),
        ("driver", _) => ("copy-driver", port.zero_copy_refused.clone()),
        _ => ("generic", port.driver_refused.clone().or_else(|| port.zero_copy_refused.clone())),
    };
    let irqs = irqs(&port.device, nic, machine, interrupts, tree);
    let queue = |queue| QueuePlace {
        queue,
        irqs: irqs.iter().filter(|(of, _)| *of == queue).map(|(_, irq)| irq.clone()).collect(),
    };
    DevicePlace {
        side: port.side.clone(),
        device: port.device.clone(),
        driver: nic.driver.clone(),
        bus: nic.bus.clone(),
        numa_node: nic.bus.as_deref().and_then(|bus| device_node(bus, machine, tree)),
        attach: attach.to_owned(),
        why_not_better,
        need_wakeup: dataplane.need_wakeup,
        busy_poll_us: port.busy_poll_us,
        defers_interrupts: nic::defers_interrupts(&port.device, tree),
        ring: dataplane.ring,
        fill: port.fill,
        nic_rings: nic.rings,
        coalescing: nic.coalescing,
        queues: (0..port.queues).map(queue).collect(),
    }
}

/// The node of a PCI device. A machine with one node says -1.
fn device_node(bus: &str, machine: &MachineView, tree: &impl Tree) -> Option<u32> {
    let said = tree.text(&format!("/sys/bus/pci/devices/{bus}/numa_node"))?;
    match (said.trim().parse(), machine.numa_nodes.as_slice()) {
        (Ok(node), _) => Some(node),
        (Err(_), [(only, _)]) => Some(*only),
        (Err(_), _) => None,
    }
}

/// Interrupts of the device's receive queues: those that PCI has given to it, or those that bear its name.
fn irqs(
    device: &str,
    nic: &Nic,
    machine: &MachineView,
    interrupts: &[Interrupt],
    tree: &impl Tree,
) -> Vec<(u32, IrqPlace)> {
    let Some(bus) = &nic.bus else { return Vec::new() };
    let given = tree.names(&format!("/sys/bus/pci/devices/{bus}/msi_irqs"));
    let given: Vec<u32> = given.iter().filter_map(|name| name.parse().ok()).collect();
    let names_it = |name: &String| {
        name.strip_suffix(bus.as_str()).is_some_and(|rest| rest.ends_with("@pci:"))
            || name == device
            || name.split('-').any(|part| part == device)
    };
    let own = |i: &&Interrupt| given.contains(&i.irq) || i.names.iter().any(names_it);
    let own: Vec<_> = interrupts.iter().filter(own).collect();
    let serves = |i: &&Interrupt| {
        let (queue, name) = queue_of(i, device)?;
        Some((queue, place(i.irq, name, machine, tree)))
    };
    let mut out: Vec<_> = own.iter().filter_map(serves).collect();
    if out.is_empty() {
        // One interrupt for everything bears the bare name of the device.
        let bare = |i: &&&Interrupt| i.names.iter().any(|name| name == device);
        out.extend(own.iter().find(bare).map(|i| (0, place(i.irq, device, machine, tree))));
    }
    out.sort_unstable_by_key(|(queue, place)| (*queue, place.irq));
    out
}

/// The receive queue that it serves, and the name that says so.
fn queue_of<'a>(interrupt: &'a Interrupt, device: &str) -> Option<(u32, &'a str)> {
    interrupt.names.iter().find_map(|name| Some((receive_queue(name, device)?, name.as_str())))
}

fn place(irq: u32, name: &str, machine: &MachineView, tree: &impl Tree) -> IrqPlace {
    // The effective list is of the cores that the chip has chosen, the other of those that it may choose.
    let list = |file: &str| {
        let cores = lists::cores(&tree.text(&format!("/proc/irq/{irq}/{file}"))?)?;
        (!cores.is_empty()).then_some(cores)
    };
    let cores = list("effective_affinity_list").or_else(|| list("smp_affinity_list"));
    let mut numa_nodes: Vec<u32> = cores.iter().flatten().filter_map(|core| machine.node_of(*core)).collect();
    numa_nodes.sort_unstable();
    numa_nodes.dedup();
    IrqPlace { irq, name: name.to_owned(), cores, numa_nodes }
}

/// The forwarding threads of the process, if it is in our PID namespace.
fn workers(pid: u32, machine: &MachineView, tree: &impl Tree) -> Vec<WorkerPlace> {
    let process = format!("/proc/{pid}");
    let name = |path: &str| tree.text(&format!("{path}/comm")).map(|name| name.trim().to_owned());
    if name(&process).as_deref() != Some(PROCESS) {
        return Vec::new();
    }
    let threads = tree.names(&format!("{process}/task")).into_iter().filter_map(|tid| {
        let thread = format!("{process}/task/{tid}");
        name(&thread).filter(|name| name.starts_with(WORKER)).map(|name| worker(name, &thread, machine, tree))
    });
    let mut workers: Vec<_> = threads.collect();
    workers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    workers
}

fn worker(name: String, thread: &str, machine: &MachineView, tree: &impl Tree) -> WorkerPlace {
    let status = tree.text(&format!("{thread}/status")).unwrap_or_default();
    let mut worker = WorkerPlace {
        name,
        cores: lists::status(&status, "Cpus_allowed_list").and_then(lists::cores),
        last_core: tree.text(&format!("{thread}/stat")).as_deref().and_then(lists::last_core),
        ..WorkerPlace::default()
    };
    let Some(core) = worker.pinned().or(worker.last_core) else { return worker };
    let is_in = |list: &Option<Vec<u32>>| list.as_ref().map(|cores| cores.contains(&core));
    let siblings = tree.text(&format!("{CPU}/cpu{core}/topology/thread_siblings_list"));
    let mut siblings = siblings.as_deref().and_then(lists::cores);
    if let Some(cores) = &mut siblings {
        cores.retain(|sibling| *sibling != core);
    }
    worker.numa_node = machine.node_of(core);
    worker.isolated = is_in(&machine.isolated);
    worker.nohz_full = is_in(&machine.nohz_full);
    worker.governor =
        tree.text(&format!("{CPU}/cpu{core}/cpufreq/scaling_governor")).map(|text| text.trim().to_owned());
    worker.smt_siblings = siblings;
    worker
}
