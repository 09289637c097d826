//! The WAN's address.

use super::kernel::{Kernel, KernelError};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressScope};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use sipsec_net::IpPrefix;
use std::net::IpAddr;

/// The prefixes from which the carrier takes calls, or why there is none now; `None` where it takes any address.
pub type Inside = Option<Result<Vec<IpPrefix>, String>>;

/// The address that SIP and media use: the current one while it lasts, else the first global one of the family.
pub async fn address(
    kernel: &Kernel,
    device: &str,
    link: Option<&LinkMessage>,
    v6: bool,
    current: Option<IpAddr>,
    inside: &Inside,
) -> Result<Result<IpAddr, String>, KernelError> {
    let Some(link) = link else {
        return Ok(Err(format!("there is no interface {device}")));
    };
    if !link.header.flags.contains(LinkFlags::Up) {
        return Ok(Err(format!("{device} is down: `ip link set {device} up`")));
    }
    let prefixes = match inside {
        Some(Err(reason)) => return Ok(Err(reason.clone())),
        Some(Ok(prefixes)) => Some(prefixes),
        None => None,
    };
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
        let usable = |ip: &IpAddr| {
            ip.is_ipv6() == v6 && prefixes.is_none_or(|all| all.iter().any(|p| p.contains(*ip)))
        };
        found.extend(local.or(address).filter(usable));
    }
    Ok(match current.filter(|ip| found.contains(ip)).or_else(|| found.first().copied()) {
        Some(ip) => Ok(ip),
        None if prefixes.is_some() => Err(format!("{device} has no address inside the delegated prefix")),
        None => Err(format!("{device} has no {} address", if v6 { "global IPv6" } else { "IPv4" })),
    })
}
