//! The inside device of tun mode: an sVTI of the TUN driver, with a queue for each worker.
//!
//! ```text
//!  kernel ── one packet of up to 64 KiB, or one of the MTU ──▶ queue ─▶ Cut ─▶ frames ─▶ pipeline
//!  kernel ◀───────────── the same, written at once ── queue ◀─ Merger ◀─ frames of one turn ◀─ pipeline
//! ```
//! It is an Ethernet device (IFF_TAP), so that devices of tunnels can stand above it as they do above the veth of host mode. It
//! outlives the process, as the veth pair does: routes point to it, and what they bring is discarded while no queue is open.

pub mod port;
mod sys;

use crate::device::sysctl;
use crate::error::BootError;
use crate::netlink::{Link, LinkKind, Netlink};
use sipsec_net::MacAddr;
use std::io;
use std::num::NonZeroU8;
use std::os::fd::OwnedFd;

const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];

/// The sVTI and its queues, one for each worker.
#[derive(Debug)]
pub struct Tun {
    pub link: Link,
    pub queues: Vec<OwnedFd>,
    /// Whether the kernel takes merged UDP.
    pub udp: bool,
    /// Left by an earlier run.
    pub adopted: bool,
}

impl Tun {
    /// The station at our end, which is no device: it differs from the sVTI's address, and from those of all devices above it.
    #[must_use]
    pub const fn our_mac(&self) -> MacAddr {
        let mut mac = self.link.mac;
        mac.0[5] ^= 1;
        mac
    }
}

/// Makes the device, or takes over the one that an earlier run left.
pub fn ensure_tun(netlink: &mut Netlink, name: &str, mtu: u32, queues: NonZeroU8) -> Result<Tun, BootError> {
    let fail = |step: &'static str| move |error: io::Error| BootError::device(step, name.to_owned(), error);
    let adopted = match netlink.link(name).map_err(fail("look up"))? {
        None => false,
        // Before anything is changed about it: it serves another gateway.
        Some(link) => not_in_use(name, &link).map(|()| true)?,
    };
    if let Some(family) = FAMILIES.into_iter().find(|family| ignores_linkdown(family)) {
        return Err(BootError::LinkdownIgnored { device: name.to_owned(), family });
    }
    let attach = |_| {
        let driver = sys::driver().map_err(|error| BootError::NoTun { error })?;
        sys::attach(driver, name).map_err(fail("open a queue of"))
    };
    let queues: Vec<_> = (0..queues.get()).map(attach).collect::<Result<_, _>>()?;
    sys::persist(&queues[0]).map_err(fail("keep"))?;
    let udp = sys::offload(&queues[0]).map_err(fail("set offloads of"))?;
    for family in FAMILIES {
        sysctl(family, name, "ignore_routes_with_linkdown", "0");
    }
    // No router solicitations into a tunnel that costs money to open.
    sysctl("ipv6", name, "addr_gen_mode", "1");
    let missing = || BootError::DeviceMissing { device: name.to_owned() };
    let link = netlink.link(name).map_err(fail("look up"))?.ok_or_else(missing)?;
    netlink.link_up(link.index, mtu, true).map_err(fail("bring up"))?;
    Ok(Tun { link: Link { mtu, up: true, ..link }, queues, udp, adopted })
}

/// A device of the TUN driver without an open queue.
pub fn not_in_use(name: &str, link: &Link) -> Result<(), BootError> {
    let device = || name.to_owned();
    match link.kind {
        LinkKind::Tun if link.carrier => Err(BootError::TunInUse { device: device() }),
        LinkKind::Tun => Ok(()),
        LinkKind::Veth | LinkKind::Other => Err(BootError::NotTun { device: device() }),
    }
}

/// Removes the device; `false` if there is none. One that serves a gateway is left alone unless `force`.
pub fn remove_tun(netlink: &mut Netlink, name: &str, force: bool) -> Result<bool, BootError> {
    let fail = |step: &'static str| move |error: io::Error| BootError::device(step, name.to_owned(), error);
    let Some(link) = netlink.link(name).map_err(fail("look up"))? else { return Ok(false) };
    match not_in_use(name, &link) {
        Err(BootError::TunInUse { .. }) if force => {}
        other => other?,
    }
    netlink.link_delete(link.index).map_err(fail("remove"))?;
    Ok(true)
}

/// Without an open queue the device has no carrier. Where its routes do not count then, what they are for leaves in clear by the
/// default route as soon as the dataplane is stopped. A device's own setting has no effect if that of all is on, and the default
/// becomes that of the tunnels' devices above the sVTI.
fn ignores_linkdown(family: &str) -> bool {
    ["all", "default"].into_iter().any(|of| {
        let path = format!("/proc/sys/net/{family}/conf/{of}/ignore_routes_with_linkdown");
        // A kernel without IPv6 has no such file.
        std::fs::read_to_string(path).is_ok_and(|value| value.trim() != "0")
    })
}
