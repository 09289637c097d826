//! The WAN's address.

use super::link;
use futures_util::StreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressScope};
use netlink_packet_route::link::LinkFlags;
use rtnetlink::Handle;
use std::net::IpAddr;

/// The address that SIP and media use: the current one while it lasts, else the first global one of the family.
pub async fn address(
    handle: &Handle,
    device: &str,
    v6: bool,
    current: Option<IpAddr>,
) -> Result<IpAddr, String> {
    let Some(link) = link(handle, device).await else {
        return Err(format!("there is no interface {device}"));
    };
    if !link.header.flags.contains(LinkFlags::Up) {
        return Err(format!("{device} is down: `ip link set {device} up`"));
    }
    let mut found = Vec::new();
    let mut addresses = Box::pin(handle.address().get().set_link_index_filter(link.header.index).execute());
    while let Some(Ok(message)) = addresses.next().await {
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
    match current.filter(|ip| found.contains(ip)).or_else(|| found.first().copied()) {
        Some(ip) => Ok(ip),
        None => Err(format!("{device} has no {} address", if v6 { "global IPv6" } else { "IPv4" })),
    }
}
