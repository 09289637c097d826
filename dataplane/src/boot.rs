//! From a profile to attached programs and bound sockets, one logged line per fact.

use crate::device::{self, Pair};
use crate::error::BootError;
use crate::local::LOCAL_MAX;
use crate::netlink::{Link, Netlink};
use crate::offloads;
use crate::privileges;
use crate::sys;
use crate::tun::{self, Tun};
use sipsec_abi::ethtool;
use sipsec_ebpf::{Attached, InsideProgram, Limits, Port, Steering, XdpLadder, XdpMode};
use sipsec_net::dp::OPS_MAX;
use sipsec_net::eth;
use sipsec_pipeline::{
    DontFragment, InsideMode, InsidePort, LanRouters, OutsidePort, ReassemblyLimits, WorkerIndex,
};
use sipsec_profile::Head;
use sipsec_profile::model::{self as profile, InsideDevice as Inside, limits};
use sipsec_xsk::{BindMode, Config, Opened, PortSpec};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;
use tracing::{info, warn};

const _: () = assert!(limits::LAN_ROUTERS_MAX == sipsec_pipeline::LAN_ROUTERS_MAX);
const _: () = assert!(limits::REASSEMBLY_FRAGMENTS_MAX == sipsec_pipeline::REASSEMBLY_FRAGMENTS_MAX);
const _: () = assert!(limits::REASSEMBLY_DATAGRAMS_MAX as u32 == ReassemblyLimits::DEFAULT.datagrams_max);

/// Ethernet header and priority tags.
const LINK_HEADER_MAX: usize = eth::HEADER_LEN + eth::TAGS_MAX * eth::TAG_LEN;
/// Port indices of [`Opened`].
pub const OUTSIDE: usize = 0;
pub const INSIDE: usize = 1;

/// Everything the workers start from.
#[derive(Debug)]
pub struct Booted {
    pub steering: Steering,
    /// Of each worker.
    pub opened: Vec<Opened>,
    /// Queues of each port.
    pub queues: [u32; 2],
    pub outside: Link,
    pub inside: InsideDevice,
    pub netlink: Netlink,
    /// For the line that says that it forwards.
    pub summary: String,
}

#[derive(Debug)]
pub enum InsideDevice {
    Host(Pair),
    Tun(Tun),
    Router(Link),
}

impl Booted {
    /// The worker that sends on each port for this one, which has no queue there; `None` where it has.
    #[must_use]
    pub fn carriers(&self, worker: WorkerIndex) -> [Option<WorkerIndex>; 2] {
        self.queues.map(|queues| {
            let carrier = u32::from(worker.0) % queues.max(1);
            (carrier != u32::from(worker.0)).then_some(WorkerIndex(carrier as u8))
        })
    }

    /// What the pipeline has to know of the ports.
    #[must_use]
    pub fn pipeline_config(&self, section: &profile::DataplaneSection) -> sipsec_pipeline::Config {
        let routers: Vec<_> = section.inside.routers().iter().map(|r| (r.prefix, r.next_hop)).collect();
        let (mac, next_hop, mode) = match &self.inside {
            InsideDevice::Host(pair) => (pair.ours.mac, pair.kernel.mac, InsideMode::Host),
            InsideDevice::Tun(tun) => (tun.our_mac(), tun.link.mac, InsideMode::Host),
            InsideDevice::Router(link) => {
                let next_hop = section.inside.next_hop().expect("a profile without it has a problem");
                (link.mac, next_hop, InsideMode::Router)
            }
        };
        sipsec_pipeline::Config {
            outside: OutsidePort {
                mac: self.outside.mac,
                // `find` refuses larger devices.
                mtu: self.outside.mtu as u16,
                dont_fragment: match section.outside.dont_fragment {
                    profile::DontFragment::Clear => DontFragment::Clear,
                    profile::DontFragment::Set => DontFragment::Set,
                    profile::DontFragment::Copy => DontFragment::Copy,
                },
            },
            inside: InsidePort {
                mac,
                next_hop,
                routers: LanRouters::new(&routers).expect("a profile with more has a problem"),
                mode,
            },
            limits: sipsec_pipeline::Limits {
                nat_sessions_max: section.nat_translations_max,
                reassembly: ReassemblyLimits {
                    per_peer_max: section.outside.reassembly.datagrams_per_peer,
                    fragments_max: section.outside.reassembly.fragments,
                    timeout: Duration::from_secs(section.outside.reassembly.timeout_s.into()),
                    ..ReassemblyLimits::DEFAULT
                },
                ..sipsec_pipeline::Limits::for_tunnels(section.tunnels_max, section.frames)
            }
            .among(section.worker.workers()),
            // The standard library's hasher is keyed at random.
            flow_key: random(),
            nat_seed: [random(), random(), random()],
        }
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(0u8)
}

/// Forbids what would leak keys. Failing to lock memory is survivable: the system may forbid it on purpose.
pub fn harden() -> Result<(), BootError> {
    sys::forbid_core_dumps().map_err(|error| BootError::Io { what: "cannot forbid core files", error })?;
    privileges::lift_memory_limit();
    if let Err(error) = sys::lock_memory() {
        warn!(%error, "memory is not locked: keys may reach swap; give the process CAP_IPC_LOCK");
    }
    Ok(())
}

/// A start that fails leaves nothing behind, unless only the WAN is not there yet.
pub fn boot(profile: &Head) -> Result<Booted, BootError> {
    let section = &profile.dataplane;
    let mut netlink =
        Netlink::open().map_err(|error| BootError::Io { what: "cannot open netlink", error })?;
    // Before anything is made: another gateway's devices are not touched.
    for device in [&section.outside.device, section.inside.device()] {
        if let Ok(Some(link)) = netlink.link(device) {
            device::not_in_use(device, &link)?;
        }
    }
    if let Inside::Tun { device, .. } = &section.inside
        && let Ok(Some(link)) = netlink.link(device)
    {
        tun::not_in_use(device, &link)?;
    }
    let mut made = None;
    let booted = boot_with(profile, netlink, &mut made);
    if let (Err(error), Some(device)) = (&booted, made)
        && !error.is_passing()
    {
        let remove = match section.inside {
            Inside::Tun { .. } => tun::remove_tun,
            _ => device::remove_pair,
        };
        let removed = Netlink::open()
            .is_ok_and(|mut netlink| remove(&mut netlink, &device, false).is_ok_and(|removed| removed));
        info!(device, removed, "the sVTI of this failed start");
    }
    booted
}

/// `made` is the sVTI that did not exist before.
fn boot_with(profile: &Head, mut netlink: Netlink, made: &mut Option<String>) -> Result<Booted, BootError> {
    let section = &profile.dataplane;
    let (outside, inside) = match &section.inside {
        Inside::Host { device, mtu } => {
            // Before anything that may fail: without the sVTI there are no routes to it, and what is meant for the tunnel
            // leaves by the default route.
            let mtu = svti_mtu(&mut netlink, &section.outside.device, *mtu);
            let queues = section.worker.workers().get().into();
            let pair = device::ensure_pair(&mut netlink, device, mtu, queues)?;
            *made = (!pair.adopted).then(|| device.clone());
            info!(
                device,
                peer = pair.ours_name,
                mtu = pair.kernel.mtu,
                adopted = pair.adopted,
                "inside: sVTI"
            );
            (find(&mut netlink, &section.outside.device)?, InsideDevice::Host(pair))
        }
        Inside::Tun { device, mtu } => {
            let mtu = svti_mtu(&mut netlink, &section.outside.device, *mtu);
            let tun = tun::ensure_tun(&mut netlink, device, mtu, section.worker.workers())?;
            *made = (!tun.adopted).then(|| device.clone());
            info!(
                device,
                mtu = tun.link.mtu,
                adopted = tun.adopted,
                queues = tun.queues.len(),
                udp_offload = tun.udp,
                "inside: sVTI with segmentation offload"
            );
            (find(&mut netlink, &section.outside.device)?, InsideDevice::Tun(tun))
        }
        Inside::Router { device, .. } => {
            let outside = find(&mut netlink, &section.outside.device)?;
            let link = find(&mut netlink, device)?;
            info!(device, mtu = link.mtu, "inside: LAN device, tunnel prefixes only");
            (outside, InsideDevice::Router(link))
        }
    };
    // The kernel's tables are no smaller than the pipeline's, which refuses first: what a transaction adds is there before
    // what it removes has gone.
    let tables = sipsec_pipeline::Limits::for_tunnels(section.tunnels_max, section.frames);
    let limits = Limits {
        media_ports_max: tables.media_ports_max,
        prefixes_max: tables.routes_max + (LOCAL_MAX + OPS_MAX) as u32,
    };
    let mut steering = Steering::load(limits)?;
    let ladder = ladder(section.xdp_mode);
    let outside_mode = report(&section.outside.device, steering.attach_outside(outside.index, ladder)?);
    let (inside_name, inside_link, program) = match &inside {
        InsideDevice::Host(pair) => (pair.ours_name.as_str(), &pair.ours, Some(InsideProgram::All)),
        InsideDevice::Tun(tun) => (section.inside.device(), &tun.link, None),
        InsideDevice::Router(link) => (section.inside.device(), link, Some(InsideProgram::Lpm)),
    };
    let inside_mode = match program {
        Some(program) => {
            let attached = steering.attach_inside(inside_link.index, program, ladder)?;
            format!("XDP {}", report(inside_name, attached))
        }
        None => "virtio".to_owned(),
    };

    let record = offloads::Record::new(&profile.runtime_dir);
    if let Err(error) = steering.adopt_offloads(&record.read()) {
        warn!(%error, "offloads of an earlier run stay off");
    }
    record.write(steering.offloads_off());

    let inside_spec = match &inside {
        // It has queues without sockets.
        InsideDevice::Tun(_) => PortSpec { device: inside_name.to_owned(), queues: 0 },
        _ => spec(inside_name)?,
    };
    let specs = [spec(&section.outside.device)?, inside_spec];
    let config = Config {
        frames: section.frames,
        frame_len_max: outside.mtu.max(inside_link.mtu) as usize + LINK_HEADER_MAX,
        huge_pages: section.huge_pages,
        bind: match section.bind_mode {
            profile::BindMode::Auto => BindMode::Auto,
            profile::BindMode::Zerocopy => BindMode::Zerocopy,
            profile::BindMode::Copy => BindMode::Copy,
        },
        busy_poll_us: NonZeroU32::new(section.worker.busy_poll_us),
    };
    let workers = section.worker.workers();
    let opened = sipsec_xsk::open_for(&config, &specs, workers)?;
    let first = &opened[0];
    let mode = first.mode().name();
    info!(
        mode,
        zero_copy_refused = first.refusal().map(tracing::field::display),
        frames = section.frames,
        chunk = first.chunk_size(),
        huge_pages = section.huge_pages,
        workers,
        "sockets bound"
    );
    for (index, port) in [(OUTSIDE, Port::Outside), (INSIDE, Port::Inside)] {
        for (queue, fd) in opened.iter().flat_map(|worker| worker.queues(index)) {
            steering.xsk_set(port, queue, fd)?;
        }
        if index == INSIDE && program.is_none() {
            continue;
        }
        let PortSpec { device, queues } = &specs[index];
        info!(device, queues, "queues served");
        if *queues < workers.get().into() {
            let own = port == Port::Inside && matches!(inside, InsideDevice::Host(_));
            let cure = if own {
                "stop, run `sipsec-dataplane --remove-devices` once, start: the sVTI is made with a queue for each worker".into()
            } else {
                format!("`ethtool -L {device} combined {workers}`, and start again")
            };
            warn!(
                device,
                queues,
                workers,
                cure,
                "workers without a queue of this device take what others hand over alone"
            );
        }
    }
    let inside_queues = match &inside {
        InsideDevice::Tun(tun) => tun.queues.len() as u32,
        _ => specs[INSIDE].queues,
    };
    let queues = [specs[OUTSIDE].queues, inside_queues];
    let summary = format!(
        "{} XDP {outside_mode}, {} {inside_mode}, sockets {}",
        section.outside.device,
        section.inside.device(),
        mode
    );
    Ok(Booted { steering, opened, queues, outside, inside, netlink, summary })
}

/// The sVTI is made also without the WAN: one that is not there yet is taken to have the MTU of Ethernet until the next start.
fn svti_mtu(netlink: &mut Netlink, outside: &str, mtu: Option<u16>) -> u32 {
    let outside_mtu = netlink.link(outside).ok().flatten().map_or(device::ETHERNET_MTU, |link| link.mtu);
    mtu.map_or_else(|| device::default_mtu(outside_mtu), u32::from)
}

fn find(netlink: &mut Netlink, name: &str) -> Result<Link, BootError> {
    let link = netlink
        .link(name)
        .map_err(|e| BootError::device("look up", name.to_owned(), e))?
        .ok_or_else(|| BootError::DeviceMissing { device: name.to_owned() })?;
    let max = u32::from(limits::DEVICE_MTU_MAX);
    if !link.up {
        Err(BootError::DeviceDown { device: name.to_owned() })
    } else if link.mtu > max {
        Err(BootError::MtuTooLarge { device: name.to_owned(), mtu: link.mtu, max })
    } else {
        Ok(link)
    }
}

/// Every receive queue needs a socket: what comes by another would be lost.
fn spec(device: &str) -> Result<PortSpec, BootError> {
    let (queues, max) = (ethtool::rx_queues(device), sipsec_abi::bpf::QUEUES_MAX);
    let device = device.to_owned();
    if queues > max {
        Err(BootError::TooManyQueues { device, queues, max })
    } else {
        Ok(PortSpec { device, queues })
    }
}

const fn ladder(mode: profile::XdpMode) -> XdpLadder {
    match mode {
        profile::XdpMode::Auto => XdpLadder::Auto,
        profile::XdpMode::Driver => XdpLadder::Only(XdpMode::Driver),
        profile::XdpMode::Generic => XdpLadder::Only(XdpMode::Generic),
    }
}

fn report(device: &str, attached: &Attached) -> XdpMode {
    info!(
        device,
        mode = %attached.mode,
        driver_refused = attached.driver_refused.as_ref().map(tracing::field::display),
        "XDP attached"
    );
    if attached.veth_peer_elsewhere {
        warn!(
            device,
            "the other end of this veth is in another network namespace: there, `ethtool -K PEER tx off txvlan off`, or VLAN \
             tags and unfinished checksums of its packets are not seen here"
        );
    }
    attached.mode
}
