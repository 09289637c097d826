//! The inside device of host mode: a veth pair whose kernel end is the sVTI.
//!
//! The pair outlives the process on purpose. Routes point to the sVTI; if it went away with the dataplane, so would they,
//! and the kernel would send what was meant for the tunnel along its default route, in clear. As it is, a dead
//! dataplane's sVTI discards packets: the other end drops them (see [`seal`]). `--remove-devices` removes the
//! pair when that is wanted.

use crate::error::BootError;
use crate::netlink::{Link, LinkKind, Netlink};
use sipsec_abi::ethtool::{self, Offload};
use sipsec_ebpf::Program;
use sipsec_net::{esp, ipv6};
use sipsec_profile::model::limits::PEER_SUFFIX;
use std::io;

/// Assumed for a WAN that is not there.
pub const ETHERNET_MTU: u32 = 1500;

/// Offloads that must be off at the kernel end of the sVTI, in the order in which they depend on each other: packets
/// leave it for a socket, which sees neither a checksum that is still to be computed nor a segment that is still to be cut.
const OFFLOADS: [Offload; 5] =
    [Offload::Tso, Offload::Gso, Offload::Gro, Offload::ScatterGather, Offload::TxChecksum];

/// Both ends.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The sVTI, which routes point to.
    pub kernel: Link,
    /// Where the XDP program and the socket are.
    pub ours: Link,
    pub ours_name: String,
    /// Left by an earlier run.
    pub adopted: bool,
}

#[must_use]
pub fn default_mtu(outside_mtu: u32) -> u32 {
    (esp::Layout::AEAD.inner_mtu(outside_mtu as usize, false) as u32).max(u32::from(ipv6::MTU_MIN))
}

/// Makes the pair with so many queues, or takes over the one that an earlier run left, with the queues that it has.
pub fn ensure_pair(netlink: &mut Netlink, name: &str, mtu: u32, queues: u32) -> Result<Pair, BootError> {
    let ours_name = format!("{name}{PEER_SUFFIX}");
    let fail = |step: &'static str, device: &str| {
        let device = device.to_owned();
        move |error: io::Error| BootError::device(step, device, error)
    };
    let find = |netlink: &mut Netlink, device: &str| netlink.link(device).map_err(fail("look up", device));
    let adopted = match (find(netlink, name)?, find(netlink, &ours_name)?) {
        (None, None) => {
            netlink.veth_add(name, &ours_name, mtu, queues).map_err(fail("create", name))?;
            false
        }
        (Some(kernel), Some(ours))
            if [kernel.kind, ours.kind] == [LinkKind::Veth; 2] && kernel.peer == Some(ours.index) =>
        {
            // Before anything is changed about it: it serves another gateway.
            not_in_use(name, &ours)?;
            true
        }
        _ => return Err(BootError::ForeignDevice { device: name.to_owned(), peer: ours_name }),
    };
    let missing = |device: &str| BootError::DeviceMissing { device: device.to_owned() };
    let ours = find(netlink, &ours_name)?.ok_or_else(|| missing(&ours_name))?;
    let kernel = find(netlink, name)?.ok_or_else(|| missing(name))?;
    seal(&ours_name);
    for offload in OFFLOADS {
        if let Err(error) = ethtool::switch_off(name, offload) {
            // Checksums must be off: a partial one would be sealed into ESP as it stands.
            if offload == Offload::TxChecksum {
                return Err(BootError::device("turn off checksum offload of", name.to_owned(), error));
            }
            tracing::debug!(device = name, ?offload, %error, "offload not changed");
        }
    }
    // No router solicitations into a tunnel that costs money to open.
    sysctl("ipv6", name, "addr_gen_mode", "1");
    netlink.link_up(ours.index, mtu, true).map_err(fail("bring up", &ours_name))?;
    netlink.link_up(kernel.index, mtu, true).map_err(fail("bring up", name))?;
    let kernel = Link { mtu, up: true, ..kernel };
    Ok(Pair { kernel, ours: Link { mtu, up: true, ..ours }, ours_name, adopted })
}

/// A program is attached for as long as its process lives.
pub fn not_in_use(device: &str, link: &Link) -> Result<(), BootError> {
    match link.program {
        None => Ok(()),
        Some(id) => Err(BootError::DeviceInUse { device: device.to_owned(), program: Program::with_id(id) }),
    }
}

/// Makes our end a dead end for the kernel's stack: what the XDP program does not take (because the process is gone)
/// is neither answered nor forwarded. Its address is not the packets' either (NOARP sends them to the sVTI's own), so
/// this is the second lock on the same door.
fn seal(ours: &str) {
    sysctl("ipv4", ours, "forwarding", "0");
    sysctl("ipv4", ours, "rp_filter", "1");
    sysctl("ipv4", ours, "arp_ignore", "8");
    sysctl("ipv6", ours, "disable_ipv6", "1");
}

pub(crate) fn sysctl(family: &str, device: &str, key: &str, value: &str) {
    let path = format!("/proc/sys/net/{family}/conf/{device}/{key}");
    match std::fs::write(&path, value) {
        Ok(()) => {}
        // A kernel without IPv6 has nothing to turn off.
        Err(e) if e.kind() == io::ErrorKind::NotFound && family == "ipv6" => {}
        Err(error) => tracing::warn!(path, value, %error, "cannot set; check that /proc/sys is writable"),
    }
}

/// Removes the pair of host mode; `false` if there is none. One that serves a gateway is left alone unless `force`.
pub fn remove_pair(netlink: &mut Netlink, name: &str, force: bool) -> Result<bool, BootError> {
    let look = |error| BootError::device("look up", name.to_owned(), error);
    let Some(kernel) = netlink.link(name).map_err(look)? else { return Ok(false) };
    let ours = netlink.link(&format!("{name}{PEER_SUFFIX}")).map_err(look)?;
    if kernel.kind != LinkKind::Veth || ours.as_ref().map(|l| l.index) != kernel.peer {
        return Err(BootError::ForeignDevice {
            device: name.to_owned(),
            peer: format!("{name}{PEER_SUFFIX}"),
        });
    }
    if let (false, Some(ours)) = (force, &ours) {
        not_in_use(name, ours)?;
    }
    netlink.link_delete(kernel.index).map_err(|e| BootError::device("remove", name.to_owned(), e))?;
    Ok(true)
}
