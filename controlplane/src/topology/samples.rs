//! Machines with real cards: what their files look like, by the documents of the drivers.

use super::files::Tree;
use super::nic::Nic;
use super::read;
use crate::api::model::{CoalescingView, Dataplane, DevicePlace, NicRings, Port, Topology};
use crate::cli::text;
use crate::cli::text::tests::golden;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Sample(BTreeMap<String, String>);

impl Sample {
    fn new(files: &[(&str, &str)]) -> Self {
        let mut sample = Self::default();
        for (path, content) in files {
            sample.put(path, content);
        }
        sample
    }

    fn put(&mut self, path: &str, content: &str) {
        self.0.insert(path.to_owned(), content.to_owned());
    }

    /// A dataplane with its worker on these cores.
    fn worker(&mut self, cores: &str, last: u32) {
        self.put("/proc/4711/comm", "sipsec-dataplan\n");
        for (tid, name) in [(4711, "sipsec-dataplan"), (4712, "control"), (4713, "worker-0")] {
            let thread = format!("/proc/4711/task/{tid}");
            self.put(&format!("{thread}/comm"), &format!("{name}\n"));
            self.put(&format!("{thread}/status"), &format!("Name:\t{name}\nCpus_allowed_list:\t{cores}\n"));
            let stat = format!("{tid} ({name}) R 1 {}{last} 0 0\n", "0 ".repeat(34));
            self.put(&format!("{thread}/stat"), &stat);
        }
    }

    /// An interrupt of a PCI device.
    fn irq(&mut self, bus: &str, irq: u32, cores: &str) {
        self.put(&format!("/sys/bus/pci/devices/{bus}/msi_irqs/{irq}"), "msix\n");
        self.put(&format!("/proc/irq/{irq}/smp_affinity_list"), "0-255\n");
        self.put(&format!("/proc/irq/{irq}/effective_affinity_list"), &format!("{cores}\n"));
    }
}

impl Tree for Sample {
    fn text(&self, path: &str) -> Option<String> {
        self.0.get(path).cloned()
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let below = self.0.keys().filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/'));
        let mut names: Vec<String> =
            below.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        names
    }
}

fn port(side: &str, device: &str, xdp: &str, bind: &str, queues: u32) -> Port {
    Port {
        side: side.to_owned(),
        device: device.to_owned(),
        xdp_mode: xdp.to_owned(),
        bind_mode: bind.to_owned(),
        mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1500,
        queues,
        fill: 1024,
        busy_poll_us: 0,
        driver_refused: (xdp == "generic").then(|| "Operation not supported (os error 95)".to_owned()),
        zero_copy_refused: (bind == "copy")
            .then(|| "svti0-xdp: Operation not supported (os error 95)".to_owned()),
        rx_packets: 0,
        rx_bytes: 0,
        tx_packets: 0,
        tx_bytes: 0,
        rx_dropped: 0,
        rx_ring_full: 0,
        rx_fill_empty: 0,
        tx_invalid: 0,
    }
}

fn dataplane(ports: Vec<Port>) -> Dataplane {
    Dataplane {
        connected: true,
        frames: 16_384,
        frame_bytes: 2048,
        ring: 2048,
        need_wakeup: true,
        pid: 4711,
        ports,
        ..Dataplane::default()
    }
}

fn nic(driver: &str, bus: &str) -> Nic {
    Nic { driver: Some(driver.to_owned()), bus: (!bus.is_empty()).then(|| bus.to_owned()), ..Nic::default() }
}

/// Each queue's interrupts with their cores.
fn places(device: &DevicePlace) -> Vec<(u32, u32, String)> {
    let of = |q: &crate::api::model::QueuePlace| {
        let queue = q.queue;
        let irqs = q
            .irqs
            .iter()
            .map(move |i| (queue, i.irq, i.cores.as_deref().map(super::lists::ranges).unwrap_or_default()));
        irqs.collect::<Vec<_>>()
    };
    device.queues.iter().flat_map(of).collect()
}

fn warnings(topology: &Topology) -> Vec<&str> {
    topology.verdicts.iter().filter(|v| !v.ok).map(|v| v.text.as_str()).collect()
}

fn fits(topology: &Topology) -> String {
    let shown = text::topology(topology, 80);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    shown
}

/// Two sockets of four cores with two threads each, the card on node 0.
fn mlx5() -> Sample {
    let mut s = Sample::new(&[
        ("/sys/devices/system/cpu/online", "0-15\n"),
        ("/sys/devices/system/cpu/isolated", "1\n"),
        ("/sys/devices/system/cpu/nohz_full", "1\n"),
        ("/sys/devices/system/node/node0/cpulist", "0-3,8-11\n"),
        ("/sys/devices/system/node/node1/cpulist", "4-7,12-15\n"),
        ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n"),
        ("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,9\n"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "64\n"),
        ("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "48\n"),
        ("/sys/bus/pci/devices/0000:3b:00.0/numa_node", "0\n"),
        ("/sys/bus/pci/devices/0000:3b:00.1/numa_node", "0\n"),
        (
            "/proc/interrupts",
            "            CPU0       CPU1\n\
             \x2044:          1          0  IR-PCI-MSIX-0000:3b:00.0    0-edge      mlx5_async0@pci:0000:3b:00.0\n\
             \x2045:     120000          0  IR-PCI-MSIX-0000:3b:00.0    1-edge      mlx5_comp0@pci:0000:3b:00.0\n\
             \x2054:          1          0  IR-PCI-MSIX-0000:3b:00.1    0-edge      mlx5_async0@pci:0000:3b:00.1\n\
             \x2055:     120000          0  IR-PCI-MSIX-0000:3b:00.1    1-edge      mlx5_comp0@pci:0000:3b:00.1\n",
        ),
    ]);
    s.irq("0000:3b:00.0", 44, "0");
    s.irq("0000:3b:00.0", 45, "5");
    s.irq("0000:3b:00.1", 54, "0");
    s.irq("0000:3b:00.1", 55, "1");
    s.worker("1", 1);
    s
}

#[test]
fn mlx5_with_interrupts_on_the_wrong_cores() {
    let card = |bus: &str| Nic {
        rings: Some(NicRings { rx: 1024, rx_max: 8192, tx: 1024, tx_max: 8192 }),
        coalescing: Some(CoalescingView { rx_usecs: 8, rx_frames: 128, tx_usecs: 16, adaptive_rx: true }),
        ..nic("mlx5_core", bus)
    };
    let ports = vec![
        port("outside", "wan0", "driver", "zero-copy", 1),
        port("inside", "lan0", "driver", "zero-copy", 1),
    ];
    let t = read(&dataplane(ports), &[card("0000:3b:00.0"), card("0000:3b:00.1")], &mlx5());
    assert_eq!(places(&t.devices[0]), [(0, 45, "5".to_owned())]);
    assert_eq!(places(&t.devices[1]), [(0, 55, "1".to_owned())]);
    let found = warnings(&t).join("\n");
    for expected in [
        "IRQ 45 of wan0 queue 0 runs on core 5 (node 1), the worker on core 1 (node 0)",
        "IRQ 55 of lan0 queue 0 runs on core 1 (node 0), the worker on core 1 (node 0)",
        "wan0 adapts its interrupt rate",
        "governor powersave",
        "SMT sibling 9",
        "packet memory (32 MiB) is in small pages",
    ] {
        assert!(found.contains(expected), "{expected} in\n{found}");
    }
    let cures: Vec<_> = t.verdicts.iter().filter_map(|v| v.cure.as_deref()).collect();
    // Neither the worker's core, nor its sibling, nor those of the other node.
    assert!(
        cures.contains(&"set `echo 0,2,3,8,10,11 > /proc/irq/45/smp_affinity_list`, and stop irqbalance"),
        "{cures:?}"
    );
    golden("topology-mlx5.txt", &fits(&t));
}

#[test]
fn a_polled_device_puts_its_interrupts_off() {
    let polled = || Port { busy_poll_us: 20, ..port("outside", "wan0", "driver", "zero-copy", 1) };
    let verdict = |ports, defer: &str, flush: &str| {
        let mut s = mlx5();
        s.put("/sys/class/net/wan0/napi_defer_hard_irqs", defer);
        s.put("/sys/class/net/wan0/gro_flush_timeout", flush);
        let t = read(&dataplane(ports), &[nic("mlx5_core", "0000:3b:00.0")], &s);
        fits(&t);
        t.verdicts.iter().find(|v| v.text.contains("polled")).map(|v| v.ok)
    };
    assert_eq!(verdict(vec![polled()], "2\n", "200000\n"), Some(true));
    assert_eq!(verdict(vec![polled()], "2\n", "0\n"), Some(false));
    assert_eq!(verdict(vec![polled()], "0\n", "200000\n"), Some(false));
    let other = port("outside", "wan0", "driver", "zero-copy", 1);
    assert_eq!(verdict(vec![other], "0\n", "0\n"), None);
}

#[test]
fn an_isolated_sibling_is_well() {
    let mut s = mlx5();
    s.put("/sys/devices/system/cpu/isolated", "1,9\n");
    let t = read(&dataplane(Vec::new()), &[], &s);
    let found: Vec<_> = t.verdicts.iter().filter(|v| v.text.contains("SMT")).map(|v| v.ok).collect();
    assert_eq!(found, [true]);
}

#[test]
fn ixgbe_on_the_other_node_with_more_queues_than_workers() {
    let mut s = mlx5();
    s.put("/sys/bus/pci/devices/0000:81:00.0/numa_node", "1\n");
    s.put(
        "/proc/interrupts",
        "           CPU0       CPU1\n\
         \x2070:        10          0   PCI-MSI 67633152-edge      eth2-TxRx-0\n\
         \x2071:        10          0   PCI-MSI 67633153-edge      eth2-TxRx-1\n\
         \x2072:        10          0   PCI-MSI 67633154-edge      eth2\n",
    );
    for (irq, core) in [(70, "4"), (71, "5"), (72, "6")] {
        s.irq("0000:81:00.0", irq, core);
    }
    let t = read(
        &dataplane(vec![port("outside", "eth2", "driver", "copy", 2)]),
        &[nic("ixgbe", "0000:81:00.0")],
        &s,
    );
    assert_eq!(places(&t.devices[0]), [(0, 70, "4".to_owned()), (1, 71, "5".to_owned())]);
    let found = warnings(&t).join("\n");
    for expected in [
        "eth2 copies each packet: svti0-xdp: Operation not supported",
        "eth2 has 2 queues for 1 worker",
        "eth2 is on NUMA node 1, worker-0 on node 0",
    ] {
        assert!(found.contains(expected), "{expected} in\n{found}");
    }
    let cures: Vec<_> = t.verdicts.iter().filter_map(|v| v.cure.as_deref()).collect();
    assert!(cures.contains(&"ethtool -L eth2 combined 1"), "{cures:?}");
    assert!(cures.contains(&"set dataplane.worker.core to one of 4-7,12-15"), "{cures:?}");
    fits(&t);
}

#[test]
fn ena_of_a_cloud_machine_says_no_node() {
    let mut s = Sample::new(&[
        ("/sys/devices/system/cpu/online", "0-1\n"),
        ("/sys/devices/system/cpu/isolated", "\n"),
        ("/sys/devices/system/cpu/nohz_full", " (null)\n"),
        ("/sys/devices/system/node/node0/cpulist", "0-1\n"),
        ("/sys/bus/pci/devices/0000:00:05.0/numa_node", "-1\n"),
        (
            "/proc/interrupts",
            "           CPU0       CPU1\n\
             \x2026:         3          0   PCI-MSIX-0000:00:05.0   0-edge      ena-mgmnt@pci:0000:00:05.0\n\
             \x2027:      1000          0   PCI-MSIX-0000:00:05.0   1-edge      ens5-Tx-Rx-0\n\
             \x2028:         0       1000   PCI-MSIX-0000:00:05.0   2-edge      ens5-Tx-Rx-1\n",
        ),
    ]);
    for (irq, core) in [(26, "0"), (27, "0"), (28, "1")] {
        s.irq("0000:00:05.0", irq, core);
    }
    s.worker("0-1", 1);
    let t = read(
        &dataplane(vec![port("outside", "ens5", "generic", "copy", 2)]),
        &[nic("ena", "0000:00:05.0")],
        &s,
    );
    assert_eq!(t.devices[0].numa_node, Some(0));
    assert_eq!(places(&t.devices[0]), [(0, 27, "0".to_owned()), (1, 28, "1".to_owned())]);
    assert_eq!(
        (t.workers[0].pinned(), t.workers[0].last_core, t.workers[0].governor.as_deref()),
        (None, Some(1), None)
    );
    let found = warnings(&t).join("\n");
    assert!(
        found.contains("ens5 runs XDP in generic mode: Operation not supported (os error 95)"),
        "{found}"
    );
    assert!(found.contains("worker-0 may run on any core"), "{found}");
    fits(&t);
}

#[test]
fn virtio_has_an_interrupt_for_each_direction() {
    let mut s = Sample::new(&[
        ("/sys/devices/system/cpu/online", "0-3\n"),
        ("/sys/devices/system/node/node0/cpulist", "0-3\n"),
        (
            "/proc/interrupts",
            "           CPU0       CPU1       CPU2       CPU3\n\
             \x2024:   0   0   0   0   PCI-MSIX-0000:00:03.0   0-edge      virtio0-config\n\
             \x2025:   9   0   0   0   PCI-MSIX-0000:00:03.0   1-edge      virtio0-input.0\n\
             \x2026:   0   9   0   0   PCI-MSIX-0000:00:03.0   2-edge      virtio0-output.0\n\
             \x2028:   9   0   0   0   PCI-MSIX-0000:00:04.0   1-edge      virtio1-input.0\n",
        ),
    ]);
    for (bus, irq, core) in [
        ("0000:00:03.0", 24, "0"),
        ("0000:00:03.0", 25, "2"),
        ("0000:00:03.0", 26, "1"),
        ("0000:00:04.0", 28, "3"),
    ] {
        s.irq(bus, irq, core);
    }
    s.worker("1", 1);
    let t = read(
        &dataplane(vec![port("outside", "eth0", "driver", "copy", 1)]),
        &[nic("virtio_net", "0000:00:03.0")],
        &s,
    );
    assert_eq!(places(&t.devices[0]), [(0, 25, "2".to_owned())]);
    assert_eq!(t.devices[0].numa_node, None);
    let ok: Vec<_> = t.verdicts.iter().filter(|v| v.ok).map(|v| v.text.as_str()).collect();
    assert!(ok.iter().any(|text| text.starts_with("IRQ 25 of eth0 queue 0 runs on core 2")), "{ok:?}");
    fits(&t);
}

#[test]
fn a_card_with_one_interrupt_has_it_for_queue_0() {
    let mut s = Sample::new(&[(
        "/proc/interrupts",
        "           CPU0\n 30:   9   PCI-MSI 1048576-edge      enp2s0\n 31:  9  PCI-MSI 1048577-edge  xhci_hcd\n",
    )]);
    s.irq("0000:02:00.0", 30, "0");
    let t = read(
        &dataplane(vec![port("outside", "enp2s0", "generic", "copy", 1)]),
        &[nic("r8169", "0000:02:00.0")],
        &s,
    );
    assert_eq!(places(&t.devices[0]), [(0, 30, "0".to_owned())]);
    fits(&t);
}

#[test]
fn a_laboratory_of_veths_has_no_interrupts() {
    let mut s = Sample::new(&[
        ("/sys/devices/system/cpu/online", "0-1\n"),
        ("/sys/devices/system/cpu/isolated", "\n"),
        ("/sys/devices/system/node/node0/cpulist", "0-1\n"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n"),
        ("/proc/interrupts", "  CPU0\n 1: 9 IO-APIC 1-edge i8042\n"),
    ]);
    s.worker("1", 1);
    let veth = || Nic {
        rings: Some(NicRings::default()),
        // A veth accepts any value and uses none.
        coalescing: Some(CoalescingView { adaptive_rx: true, ..CoalescingView::default() }),
        ..nic("veth", "")
    };
    let ports =
        vec![port("outside", "wan0", "driver", "copy", 1), port("inside", "svti0", "driver", "copy", 1)];
    let t = read(&dataplane(ports), &[veth(), veth()], &s);
    assert!(t.devices.iter().all(|d| places(d).is_empty() && d.numa_node.is_none()));
    let found = warnings(&t);
    assert!(
        !found.iter().any(|w| w.contains("IRQ") || w.contains("adapts") || w.contains("copies")),
        "{found:?}"
    );
    golden("topology-veth.txt", &fits(&t));
}

#[test]
fn a_machine_without_these_files_is_unknown() {
    let ports = vec![port("outside", "wan0", "driver", "copy", 1)];
    let t = read(&dataplane(ports), &[Nic::default()], &Sample::default());
    assert_eq!(
        (t.workers.len(), t.machine.cores_online.as_ref(), t.devices[0].driver.as_ref()),
        (0, None, None)
    );
    assert!(fits(&t).contains("driver unknown"));
    // Nor does damage make more of it.
    let mut damaged = mlx5();
    for content in damaged.0.values_mut() {
        *content = "\u{fffd}\n,-".repeat(3);
    }
    let ports = vec![port("outside", "wan0", "driver", "copy", 1)];
    let t = read(&dataplane(ports), &[nic("mlx5_core", "0000:3b:00.0")], &damaged);
    assert_eq!((t.workers.len(), t.machine.numa_nodes.len()), (0, 0));
    fits(&t);
}
