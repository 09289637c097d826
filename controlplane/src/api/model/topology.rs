//! `show dataplane topology`: where the dataplane runs, and what of it costs speed. What the machine does not say is absent.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    pub devices: Vec<DevicePlace>,
    pub workers: Vec<WorkerPlace>,
    pub umem: UmemView,
    pub machine: MachineView,
    pub verdicts: Vec<Verdict>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePlace {
    /// `outside` or `inside`.
    pub side: String,
    pub device: String,
    pub driver: Option<String>,
    /// PCI address; none for a software device.
    pub bus: Option<String>,
    pub numa_node: Option<u32>,
    /// Step of the ladder that was reached: `zero-copy`, `copy-driver` or `generic`.
    pub attach: String,
    /// Why the step above was not.
    pub why_not_better: Option<String>,
    pub need_wakeup: bool,
    /// 0 is off.
    pub busy_poll_us: u32,
    /// Whether its interrupts are put off while the worker polls it (`napi_defer_hard_irqs`, `gro_flush_timeout`).
    pub defers_interrupts: Option<bool>,
    /// Descriptors of each ring of a socket.
    pub ring: u32,
    /// Most frames in the fill ring of one queue.
    pub fill: u32,
    pub nic_rings: Option<NicRings>,
    pub coalescing: Option<CoalescingView>,
    pub queues: Vec<QueuePlace>,
}

/// Descriptors of the card's own rings, and their limits (`ethtool -g`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicRings {
    pub rx: u32,
    pub rx_max: u32,
    pub tx: u32,
    pub tx_max: u32,
}

/// Interrupt coalescing (`ethtool -c`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoalescingView {
    pub rx_usecs: u32,
    pub rx_frames: u32,
    pub tx_usecs: u32,
    pub adaptive_rx: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePlace {
    pub queue: u32,
    /// None for a software device, or one whose interrupts cannot be told apart.
    pub irqs: Vec<IrqPlace>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrqPlace {
    pub irq: u32,
    /// As in `/proc/interrupts`.
    pub name: String,
    /// Cores that may handle it; usually one.
    pub cores: Option<Vec<u32>>,
    /// Nodes of those cores.
    pub numa_nodes: Vec<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerPlace {
    /// Name of the thread.
    pub name: String,
    /// Cores on which it may run.
    pub cores: Option<Vec<u32>>,
    /// The core on which it ran last.
    pub last_core: Option<u32>,
    /// Of its core, if it is pinned to one; else of the core on which it ran last.
    pub numa_node: Option<u32>,
    pub isolated: Option<bool>,
    pub nohz_full: Option<bool>,
    pub governor: Option<String>,
    /// Other threads of the same physical core.
    pub smt_siblings: Option<Vec<u32>>,
}

impl WorkerPlace {
    /// The core to which it is pinned.
    #[must_use]
    pub fn pinned(&self) -> Option<u32> {
        match self.cores.as_deref() {
            Some([core]) => Some(*core),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UmemView {
    pub frames: u32,
    pub frame_bytes: u32,
    pub huge_pages: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineView {
    pub cores_online: Option<Vec<u32>>,
    /// `isolcpus`.
    pub isolated: Option<Vec<u32>>,
    pub nohz_full: Option<Vec<u32>>,
    /// `always`, `madvise` or `never`.
    pub transparent_huge_pages: Option<String>,
    /// Of 2 MiB.
    pub huge_pages_total: Option<u64>,
    pub huge_pages_free: Option<u64>,
    /// Cores of each NUMA node, by the node's number.
    pub numa_nodes: Vec<(u32, Vec<u32>)>,
}

impl MachineView {
    #[must_use]
    pub fn node_of(&self, core: u32) -> Option<u32> {
        self.numa_nodes.iter().find(|(_, cores)| cores.contains(&core)).map(|(node, _)| *node)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    pub ok: bool,
    pub text: String,
    /// What to do; only if not `ok`.
    pub cure: Option<String>,
}
