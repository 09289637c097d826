//! The WAN's address.

use super::kernel::{Kernel, KernelError};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressScope};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use std::net::IpAddr;

/// The address that SIP and media use: the current one while it lasts, else the first global one of the family.
pub async fn address(
    kernel: &Kernel,
    device: &str,
    link: Option<&LinkMessage>,
    v6: bool,
    current: Option<IpAddr>,
) -> Result<Result<IpAddr, String>, KernelError> {
    let Some(link) = link else {
        return Ok(Err(format!("there is no interface {device}")));
    };
    if !link.header.flags.contains(LinkFlags::Up) {
        return Ok(Err(format!("{device} is down: `ip link set {device} up`")));
    }
    let mut found = Vec::new();
    for message in kernel.addresses(link.header.index, v6).await? {
        let unusable =
            AddressHeaderFlags::Tentative | AddressHeaderFlags::Deprecated | AddressHeaderFlags::Dadfailed;
        if message.header.flags.intersects(unusable) || message.header.scope != AddressScope::Universe {
            continue;
        }
        // IFA_LOCAL is ours, IFA_ADDRESS the other end's on a point-to-point link; IPv6 has the latter alone.
        let local = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Local(ip) => Some(*ip),
            _ => None,
        });
        let address = message.attributes.iter().find_map(|a| match a {
            AddressAttribute::Address(ip) => Some(*ip),
            _ => None,
        });
        found.extend(local.or(address).filter(|ip| ip.is_ipv6() == v6));
    }
    Ok(match current.filter(|ip| found.contains(ip)).or_else(|| found.first().copied()) {
        Some(ip) => Ok(ip),
        None => Err(format!("{device} has no {} address", if v6 { "global IPv6" } else { "IPv4" })),
    })
}
