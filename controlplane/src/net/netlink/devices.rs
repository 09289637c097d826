//! Kernel devices of single tunnels. Each is a macvlan above the sVTI, with the address by which the dataplane knows its tunnel
//! (see [`tunnel_device`]). They are always up and outlive this process, as the sVTI does; with the sVTI they go, and are made
//! again.

use super::kernel::{Kernel, KernelError};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage, MacVlanMode,
};
use sipsec_net::{MacAddr, TunnelId, tunnel_device};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The device that a tunnel wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelDevice {
    pub id: TunnelId,
    pub device: String,
    /// Of the tunnel; never above the sVTI's.
    pub mtu: u16,
    /// The device whose addresses it has: `ip unnumbered` of IOS.
    pub unnumbered: Option<String>,
}

/// By the tunnel's name.
pub type TunnelDevices = BTreeMap<String, TunnelDevice>;

/// What is there: the index of each tunnel's device, or why it has none.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub devices: BTreeMap<String, Result<u32, String>>,
    /// Devices whose addresses are lent.
    pub lenders: BTreeSet<u32>,
    /// Devices of ours that no tunnel wants.
    left: Vec<(u32, String)>,
}

struct Link {
    index: u32,
    name: String,
    mtu: u32,
    up: bool,
    mac: Option<MacAddr>,
    /// Of a macvlan: the device below.
    below: Option<u32>,
}

impl Link {
    fn read(link: &LinkMessage) -> Self {
        let mut out = Self {
            index: link.header.index,
            name: String::new(),
            mtu: 0,
            up: link.header.flags.contains(LinkFlags::Up),
            mac: None,
            below: None,
        };
        let (mut lower, mut is_macvlan) = (None, false);
        for attribute in &link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => out.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => out.mtu = *mtu,
                LinkAttribute::Address(mac) => out.mac = mac.as_slice().try_into().ok().map(MacAddr),
                LinkAttribute::Link(index) => lower = Some(*index),
                LinkAttribute::LinkInfo(info) => {
                    is_macvlan = info.contains(&LinkInfo::Kind(InfoKind::MacVlan));
                }
                _ => {}
            }
        }
        out.below = lower.filter(|_| is_macvlan);
        out
    }

    /// The tunnel whose device this is, if it is one above this sVTI.
    fn tunnel(&self, svti: u32) -> Option<TunnelId> {
        self.mac.filter(|_| self.below == Some(svti)).and_then(tunnel_device::tunnel)
    }
}

/// Makes the devices what is wanted. Those that are left over stay until [`Found::remove_left`], because routes may still lead
/// to them.
///
/// # Errors
/// If the socket is of no further use.
pub async fn ensure(kernel: &Kernel, svti: u32, wanted: &TunnelDevices) -> Result<Found, KernelError> {
    let links: Vec<Link> = kernel.links().await?.iter().map(Link::read).collect();
    let mut found = Found::default();
    let names: BTreeSet<&str> = wanted.values().map(|w| w.device.as_str()).collect();
    for link in links.iter().filter(|l| l.tunnel(svti).is_some() && !names.contains(l.name.as_str())) {
        found.left.push((link.index, link.name.clone()));
    }
    let mtu_max = links.iter().find(|l| l.index == svti).map_or(u32::MAX, |l| l.mtu);
    for (tunnel, want) in wanted {
        let there = links.iter().find(|l| l.name == want.device);
        let mtu = u32::from(want.mtu).min(mtu_max);
        let device = match one(kernel, svti, want, mtu, there).await {
            Ok(Ok(index)) => {
                if let Some(lender) = &want.unnumbered {
                    let lender = links.iter().find(|l| l.name == *lender).map(|l| l.index);
                    found.lenders.extend(lender);
                    lend(kernel, lender, index).await?;
                }
                Ok(index)
            }
            Ok(Err(why)) => Err(why),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => Err(format!("the device {} cannot be made: {error}", want.device)),
        };
        found.devices.insert(tunnel.clone(), device);
    }
    Ok(found)
}

impl Found {
    /// Every device of ours, wanted or not.
    pub fn all(&self) -> impl Iterator<Item = u32> + '_ {
        let wanted = self.devices.values().filter_map(|device| device.as_ref().ok().copied());
        wanted.chain(self.left.iter().map(|(index, _)| *index))
    }

    /// Devices of an earlier profile go, now that no route leads to them.
    ///
    /// # Errors
    /// If the socket is of no further use.
    pub async fn remove_left(&mut self, kernel: &Kernel) -> Result<(), KernelError> {
        for (index, name) in std::mem::take(&mut self.left) {
            let mut link = LinkMessage::default();
            link.header.index = index;
            match kernel.link_delete(link).await {
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => tracing::warn!(device = name, %error, "a device of an earlier profile stays"),
                Ok(()) => {
                    tracing::info!(device = name, "the device of a tunnel of an earlier profile is removed")
                }
            }
        }
        Ok(())
    }
}

/// The device's index, or why there is none.
async fn one(
    kernel: &Kernel,
    svti: u32,
    want: &TunnelDevice,
    mtu: u32,
    there: Option<&Link>,
) -> Result<Result<u32, String>, KernelError> {
    let name = &want.device;
    let index = match there {
        Some(link) if link.tunnel(svti) == Some(want.id) => {
            if link.up && link.mtu == mtu {
                return Ok(Ok(link.index));
            }
            if !link.up {
                tracing::warn!(device = name, "the device of a tunnel was down; it is set up");
            }
            link.index
        }
        Some(link) => {
            if link.tunnel(svti).is_none() {
                return Ok(Err(format!("{name} is another device: choose another name for `device`")));
            }
            // Of a tunnel that the profile has no more.
            let mut old = LinkMessage::default();
            old.header.index = link.index;
            kernel.link_delete(old).await?;
            make(kernel, svti, want).await?
        }
        None => make(kernel, svti, want).await?,
    };
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up | LinkFlags::Noarp;
    link.header.change_mask = LinkFlags::Up | LinkFlags::Noarp;
    link.attributes.push(LinkAttribute::Mtu(mtu));
    kernel.link_set(link).await?;
    Ok(Ok(index))
}

async fn make(kernel: &Kernel, svti: u32, want: &TunnelDevice) -> Result<u32, KernelError> {
    let name = &want.device;
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.clone()),
        LinkAttribute::Link(svti),
        LinkAttribute::Address(tunnel_device::mac(want.id).0.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::MacVlan),
            // No packet goes from one of them to another.
            LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)])),
        ]),
    ];
    kernel.link_add(link).await?;
    let index = kernel.link(name).await?.map(|l| l.header.index).ok_or(KernelError::Closed)?;
    // No router solicitations into a tunnel that costs money to open. A kernel without IPv6 has none.
    let mut quiet = LinkMessage::default();
    quiet.header.index = index;
    quiet.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![
        AfSpecInet6::AddrGenMode(In6AddrGenMode::None),
    ])]));
    match kernel.link_set(quiet).await {
        Err(error) if error.is_fatal() => return Err(error),
        Err(error) => tracing::debug!(device = name, %error, "IPv6 addresses are made by the kernel"),
        Ok(()) => {}
    }
    tracing::info!(device = name, "the device of a tunnel is made");
    Ok(index)
}

/// The borrower's addresses become those of the lender, each as a host's.
async fn lend(kernel: &Kernel, lender: Option<u32>, borrower: u32) -> Result<(), KernelError> {
    for v6 in [false, true] {
        let lent: BTreeSet<IpAddr> = match lender {
            Some(lender) => kernel.addresses(lender, v6).await?.iter().filter_map(global).collect(),
            None => BTreeSet::new(),
        };
        let has: BTreeSet<IpAddr> = kernel.addresses(borrower, v6).await?.iter().filter_map(global).collect();
        let len = if v6 { 128 } else { 32 };
        for ip in lent.difference(&has) {
            pass(kernel.address_set(borrower, (*ip, len), []).await)?;
        }
        for ip in has.difference(&lent) {
            pass(kernel.address_delete(borrower, (*ip, len)).await)?;
        }
    }
    Ok(())
}

fn pass(result: Result<(), KernelError>) -> Result<(), KernelError> {
    match result {
        Err(error) if !error.is_fatal() => {
            tracing::warn!(%error, "the address of an unnumbered device stays as it was");
            Ok(())
        }
        other => other,
    }
}

/// An address that means the same beyond the link, and is in use.
fn global(message: &AddressMessage) -> Option<IpAddr> {
    let tentative = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    if message.header.scope != AddressScope::Universe || message.header.flags.intersects(tentative) {
        return None;
    }
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    local.or(address)
}
