//! What of a topology is well, and what costs speed: one verdict for each step of the tuning checklist that can be seen.

use super::lists::ranges;
use crate::api::model::{DevicePlace, IrqPlace, Topology, Verdict, WorkerPlace};

/// A card that waits longer before it interrupts adds this to each packet's delay.
const RX_USECS_MAX: u32 = 32;

pub fn verdicts(topology: &Topology) -> Vec<Verdict> {
    let mut out = Vec::new();
    for device in &topology.devices {
        attach(&mut out, device);
        queues(&mut out, device, topology);
        coalescing(&mut out, device);
        busy_poll(&mut out, device);
        for (index, worker) in (0u32..).zip(&topology.workers) {
            node(&mut out, device, worker, topology);
            interrupts(&mut out, device, (index, worker), topology);
        }
    }
    if topology.workers.is_empty() {
        out.push(warn("the worker's core is unknown", "run both processes in one PID namespace"));
    }
    for worker in &topology.workers {
        core(&mut out, worker, topology);
    }
    memory(&mut out, topology);
    out
}

fn ok(text: impl Into<String>) -> Verdict {
    Verdict { ok: true, text: text.into(), cure: None }
}

fn warn(text: impl Into<String>, cure: impl Into<String>) -> Verdict {
    Verdict { ok: false, text: text.into(), cure: Some(cure.into()) }
}

fn attach(out: &mut Vec<Verdict>, device: &DevicePlace) {
    let name = &device.device;
    let why = device.why_not_better.as_deref().unwrap_or("the reason is unknown");
    out.push(match device.attach.as_str() {
        "zero-copy" => ok(format!("{name} is bound with zero copy")),
        "tun" => ok(format!("{name} hands over large packets uncut")),
        // A veth has none in any kernel for a socket that shares its UMEM with another device.
        "copy-driver" if device.driver.as_deref() == Some("veth") => {
            ok(format!("{name} runs XDP in the driver; a veth copies each packet"))
        }
        "copy-driver" => warn(
            format!("{name} copies each packet: {why}"),
            "use devices whose drivers have AF_XDP zero copy on both sides, and dataplane.bind_mode auto",
        ),
        _ => warn(
            format!("{name} runs XDP in generic mode: {why}"),
            "use a device whose driver has XDP, and dataplane.xdp_mode auto",
        ),
    });
}

fn queues(out: &mut Vec<Verdict>, device: &DevicePlace, topology: &Topology) {
    let (name, count) = (&device.device, device.queues.len());
    let workers = topology.workers.len().max(1);
    let queues = |n: usize| if n == 1 { "1 queue".to_owned() } else { format!("{n} queues") };
    let all = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
    let cure = format!("ethtool -L {name} combined {workers}");
    out.push(if count > workers {
        warn(format!("{name} has {} for {all}: packets are spread for nothing", queues(count)), cure)
    } else if count < workers {
        let idle = format!("the last {} take what the others hand over", workers - count);
        // Its queues are made with it.
        let is_own = device.side == "inside" && matches!(device.driver.as_deref(), Some("veth" | "tun"));
        let remake = || format!("stop the dataplane, sipsec-dataplane --remove-devices, start it; or {cure}");
        warn(format!("{name} has {} for {all}: {idle}", queues(count)), if is_own { remake() } else { cure })
    } else {
        ok(format!("{name} has {} for {all}", queues(count)))
    });
}

/// The key that pins a worker of this dataplane.
fn core_key(topology: &Topology) -> &'static str {
    if topology.workers.len() > 1 { "dataplane.worker.cores" } else { "dataplane.worker.core" }
}

fn coalescing(out: &mut Vec<Verdict>, device: &DevicePlace) {
    // A software device has no interrupts, also when its driver names some.
    let (Some(c), Some(_)) = (device.coalescing, &device.bus) else { return };
    let name = &device.device;
    let cure = format!("ethtool -C {name} adaptive-rx off rx-usecs 8");
    out.push(if c.adaptive_rx {
        warn(format!("{name} adapts its interrupt rate: the delay of packets varies"), cure)
    } else if c.rx_usecs > RX_USECS_MAX {
        warn(format!("{name} waits up to {} us before it interrupts", c.rx_usecs), cure)
    } else {
        ok(format!("{name} interrupts after at most {} us", c.rx_usecs))
    });
}

fn busy_poll(out: &mut Vec<Verdict>, device: &DevicePlace) {
    let (name, us) = (&device.device, device.busy_poll_us);
    let Some(defers) = device.defers_interrupts.filter(|_| us > 0 && device.attach != "tun") else { return };
    out.push(if defers {
        ok(format!("{name} is polled by the worker, {us} us a call, and its interrupts wait meanwhile"))
    } else {
        warn(
            format!("{name} is polled by the worker, but its interrupts are not deferred"),
            format!("set napi_defer_hard_irqs 2 and gro_flush_timeout 200000 in /sys/class/net/{name}"),
        )
    });
}

/// The core of a worker for a verdict, with its node.
fn at(core: u32, node: Option<u32>) -> String {
    node.map_or_else(|| format!("core {core}"), |node| format!("core {core} (node {node})"))
}

fn node(out: &mut Vec<Verdict>, device: &DevicePlace, worker: &WorkerPlace, topology: &Topology) {
    let (Some(of_device), Some(of_worker)) = (device.numa_node, worker.numa_node) else { return };
    let (name, thread) = (&device.device, &worker.name);
    if of_device == of_worker {
        out.push(ok(format!("{name} and {thread} are on NUMA node {of_device}")));
        return;
    }
    let nodes = &topology.machine.numa_nodes;
    let near = nodes.iter().find(|(node, _)| *node == of_device).map(|(_, cores)| ranges(cores));
    out.push(warn(
        format!("{name} is on NUMA node {of_device}, {thread} on node {of_worker}"),
        format!("set {} to one of {}", core_key(topology), near.unwrap_or_else(|| "that node".to_owned())),
    ));
}

/// Of the queues that the worker serves: those that leave its number as the remainder.
fn interrupts(
    out: &mut Vec<Verdict>,
    device: &DevicePlace,
    (index, worker): (u32, &WorkerPlace),
    topology: &Topology,
) {
    let Some(core) = worker.pinned() else { return };
    let workers = topology.workers.len() as u32;
    for queue in device.queues.iter().filter(|queue| queue.queue % workers == index) {
        for irq in &queue.irqs {
            let Some(cores) = &irq.cores else { continue };
            out.push(interrupt(device, queue.queue, irq, cores, (core, worker), topology));
        }
    }
}

fn interrupt(
    device: &DevicePlace,
    queue: u32,
    irq: &IrqPlace,
    cores: &[u32],
    (core, worker): (u32, &WorkerPlace),
    topology: &Topology,
) -> Verdict {
    let place = match cores {
        [one] => at(*one, topology.machine.node_of(*one)),
        several => format!("cores {}", ranges(several)),
    };
    let what = format!("IRQ {} of {} queue {queue} runs on {place}", irq.irq, device.device);
    let far = worker.numa_node.is_some_and(|node| irq.numa_nodes.iter().any(|n| *n != node));
    let shared = cores.contains(&core);
    if !far && !shared {
        return ok(format!("{what}, {} on core {core} of the same node", worker.name));
    }
    let problem = format!("{what}, the worker on {}", at(core, worker.numa_node));
    let better = better_cores(core, worker, topology);
    if better.is_empty() {
        return warn(problem, "give the gateway another core of the worker's node");
    }
    let list = ranges(&better);
    warn(problem, format!("set `echo {list} > /proc/irq/{}/smp_affinity_list`, and stop irqbalance", irq.irq))
}

/// Cores near the worker that are neither its own, nor a sibling of it, nor isolated for other work.
fn better_cores(core: u32, worker: &WorkerPlace, topology: &Topology) -> Vec<u32> {
    let machine = &topology.machine;
    let near = match worker.numa_node {
        Some(node) => machine.numa_nodes.iter().find(|(n, _)| *n == node).map(|(_, cores)| cores),
        None => machine.cores_online.as_ref(),
    };
    let siblings = worker.smt_siblings.as_deref().unwrap_or_default();
    let isolated = machine.isolated.as_deref().unwrap_or_default();
    let online = |c: &u32| machine.cores_online.as_ref().is_none_or(|online| online.contains(c));
    let free = |c: &u32| *c != core && !siblings.contains(c) && !isolated.contains(c) && online(c);
    near.into_iter().flatten().copied().filter(free).collect()
}

fn core(out: &mut Vec<Verdict>, worker: &WorkerPlace, topology: &Topology) {
    let (name, isolated) = (&worker.name, topology.machine.isolated.as_deref().unwrap_or_default());
    let Some(core) = worker.pinned() else {
        out.push(warn(format!("{name} may run on any core"), format!("set {}", core_key(topology))));
        return;
    };
    out.push(ok(format!("{name} has core {core}")));
    for (has, option) in [(worker.isolated, "isolcpus"), (worker.nohz_full, "nohz_full")] {
        match has {
            Some(true) => out.push(ok(format!("core {core} is in {option}"))),
            Some(false) => out.push(warn(
                format!("core {core} is not in {option}: other work interrupts {name}"),
                format!("add {option}={core} to the kernel's command line"),
            )),
            None => {}
        }
    }
    match worker.governor.as_deref() {
        None => {}
        Some("performance") => out.push(ok(format!("core {core} has the governor performance"))),
        Some(other) => out.push(warn(
            format!("core {core} has the governor {other}: its clock follows the load"),
            "cpupower frequency-set -g performance",
        )),
    }
    if let Some(siblings @ [_, ..]) = worker.smt_siblings.as_deref() {
        let list = ranges(siblings);
        if siblings.iter().all(|sibling| isolated.contains(sibling)) {
            out.push(ok(format!("SMT sibling {list} of core {core} is in isolcpus, too")));
            return;
        }
        out.push(warn(
            format!("core {core} shares its units with SMT sibling {list}"),
            format!("keep core {list} idle: isolcpus={core},{list}, or `echo off > /sys/devices/system/cpu/smt/control`"),
        ));
    }
}

fn memory(out: &mut Vec<Verdict>, topology: &Topology) {
    let umem = &topology.umem;
    let mib = (u64::from(umem.frames) * u64::from(umem.frame_bytes)) >> 20;
    out.push(if umem.huge_pages {
        ok(format!("packet memory ({mib} MiB) is in huge pages"))
    } else {
        let pages = mib.div_ceil(2).max(1);
        warn(
            format!("packet memory ({mib} MiB) is in small pages"),
            format!("sysctl vm.nr_hugepages={pages} or more, and dataplane.huge_pages true"),
        )
    });
    match topology.machine.transparent_huge_pages.as_deref() {
        None => {}
        Some("never") => out.push(warn(
            "tables cannot be in huge pages",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        )),
        Some(mode) => out.push(ok(format!("tables may be in huge pages ({mode})"))),
    }
}
