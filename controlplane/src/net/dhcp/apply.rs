//! Puts a lease on the interface: addresses with their lifetimes, and routes with the protocol number of DHCP.

use crate::net::netlink::{self, Kernel, KernelError};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, CacheInfo};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};
use netlink_packet_route::route::{RouteAttribute, RouteProtocol, RouteScope};
use rtnetlink::RouteMessageBuilder;
use sipsec_dhcp::{v4, v6};
use sipsec_net::{Instant, MacAddr};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket::Interface;

/// Metric of the routes, so that a static route of the operator (metric 0) wins.
const METRIC: u32 = 100;

/// The kernel's side of DHCP: the interface, and the addresses and routes that this process has put on it.
#[derive(Debug)]
pub struct Applied {
    kernel: Kernel,
    addresses: BTreeSet<(IpAddr, u8)>,
    routes: Vec<v4::Route>,
}

impl Applied {
    /// # Errors
    /// If the kernel gives no netlink socket.
    pub fn new() -> io::Result<Self> {
        Ok(Self { kernel: Kernel::open_alone()?, addresses: BTreeSet::new(), routes: Vec::new() })
    }

    /// The interface as the kernel has it, and whether it has a link; `None` if there is none of this name.
    pub async fn interface(&mut self, name: &str) -> Result<Option<(Interface, bool)>, KernelError> {
        let asked = self.kernel.link(name).await;
        let Some(link) = self.answered(asked)? else { return Ok(None) };
        let mac = link.attributes.iter().find_map(|a| match a {
            LinkAttribute::Address(bytes) => Some(MacAddr(bytes.as_slice().try_into().ok()?)),
            _ => None,
        });
        let up = link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
        Ok(mac.map(|mac| (Interface { name: name.to_owned(), index: link.header.index, mac }, up)))
    }

    /// The interface's IPv4 address, chosen as that of SIP and media.
    pub async fn v4_address(&mut self, name: &str) -> Result<Option<Ipv4Addr>, KernelError> {
        let asked = self.kernel.link(name).await;
        let link = self.answered(asked)?;
        let asked = netlink::wan_address(&self.kernel, name, link.as_ref(), false, None, &None).await;
        Ok(match self.answered(asked)? {
            Ok(IpAddr::V4(address)) => Some(address),
            Ok(IpAddr::V6(_)) | Err(_) => None,
        })
    }

    /// After a request without an answer its socket is of no further use.
    fn answered<T>(&mut self, result: Result<T, KernelError>) -> Result<T, KernelError> {
        if let Err(error) = &result
            && error.is_fatal()
        {
            match Kernel::open_alone() {
                Ok(kernel) => self.kernel = kernel,
                Err(error) => tracing::warn!(%error, "DHCP has no netlink socket"),
            }
        }
        result
    }

    /// Makes the IPv4 side that of the lease.
    pub async fn v4(&mut self, interface: &Interface, lease: &v4::Lease, now: Instant) -> Result<(), String> {
        let address = (IpAddr::V4(lease.address), lease.prefix_len);
        self.drop_addresses(interface, |(ip, len)| ip.is_ipv4() && (ip, len) != address).await;
        let valid_s = lease.remaining(now).map(|d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX));
        self.add(interface, address, valid_s, valid_s).await?;
        // What is on the interface is on the list after each step, so that a refused route leaves none behind.
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.routes).into_iter().partition(|r| lease.routes.contains(r));
        self.routes = kept;
        for route in &gone {
            self.route(interface, route, None).await.ok();
        }
        for route in &lease.routes {
            self.route(interface, route, Some(lease.address)).await?;
            if !self.routes.contains(route) {
                self.routes.push(*route);
            }
        }
        Ok(())
    }

    /// Makes the IPv6 side that of the lease: its addresses, and one address of our own inside each delegated prefix,
    /// since some carriers take calls from there alone.
    pub async fn v6(&mut self, interface: &Interface, lease: &v6::Lease, now: Instant) -> Result<(), String> {
        let seconds = |until: Instant| {
            (until != Instant::MAX)
                .then(|| u32::try_from(until.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX))
        };
        let given = lease.addresses.iter().map(|a| (a.address, a.preferred_until, a.valid_until));
        let delegated =
            lease.prefixes.iter().map(|p| (address_in(p, interface.mac), p.preferred_until, p.valid_until));
        let wanted: Vec<_> = given.chain(delegated).collect();
        self.drop_addresses(interface, |(ip, _)| {
            ip.is_ipv6() && !wanted.iter().any(|(w, ..)| IpAddr::V6(*w) == ip)
        })
        .await;
        for (address, preferred, valid) in wanted {
            self.add(interface, (IpAddr::V6(address), 128), seconds(preferred), seconds(valid)).await?;
        }
        Ok(())
    }

    /// Takes away what was put there for one family.
    pub async fn clear(&mut self, interface: &Interface, v6: bool) {
        if !v6 {
            for route in std::mem::take(&mut self.routes) {
                self.route(interface, &route, None).await.ok();
            }
        }
        self.drop_addresses(interface, |(ip, _)| ip.is_ipv6() == v6).await;
    }

    async fn drop_addresses(&mut self, interface: &Interface, which: impl Fn((IpAddr, u8)) -> bool) {
        let gone: Vec<_> = self.addresses.iter().copied().filter(|a| which(*a)).collect();
        for (ip, len) in gone {
            self.addresses.remove(&(ip, len));
            let asked = self.kernel.address_delete(interface.index, (ip, len)).await;
            if let Err(error) = self.answered(asked) {
                tracing::debug!(%ip, %error, "an address of a former lease was gone already");
            }
        }
    }

    async fn add(
        &mut self,
        interface: &Interface,
        (ip, len): (IpAddr, u8),
        preferred_s: Option<u32>,
        valid_s: Option<u32>,
    ) -> Result<(), String> {
        let mut cache = CacheInfo::default();
        // The kernel takes the address away by itself if this process is not there to do it.
        (cache.ifa_preferred, cache.ifa_valid) =
            (preferred_s.unwrap_or(u32::MAX), valid_s.unwrap_or(u32::MAX));
        let flags = ip.is_ipv6().then_some(AddressAttribute::Flags(AddressFlags::Noprefixroute));
        let attributes = flags.into_iter().chain([AddressAttribute::CacheInfo(cache)]);
        let asked = self.kernel.address_set(interface.index, (ip, len), attributes).await;
        self.answered(asked)
            .map_err(|error| format!("{ip}/{len} cannot be set on {}: {error}", interface.name))?;
        self.addresses.insert((ip, len));
        Ok(())
    }

    /// Adds a route with this preferred source, or removes it.
    async fn route(
        &mut self,
        interface: &Interface,
        route: &v4::Route,
        source: Option<Ipv4Addr>,
    ) -> Result<(), String> {
        // A WAN in a VRF is routed by its table.
        let asked = self.kernel.table(interface.index).await;
        let table = self.answered(asked).map_err(|error| error.to_string())?;
        let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(route.destination, route.prefix_len)
            .output_interface(interface.index)
            .protocol(RouteProtocol::Dhcp)
            .table_id(table)
            .priority(METRIC);
        builder = if route.gateway.is_unspecified() {
            builder.scope(RouteScope::Link)
        } else {
            // The gateway may be outside of the address's own prefix.
            builder.gateway(route.gateway).onlink()
        };
        match source {
            Some(source) => {
                let asked = self.kernel.route_set(builder.pref_source(source).build()).await;
                self.answered(asked).map_err(|error| {
                    let v4::Route { destination, prefix_len, gateway } = route;
                    format!("the route {destination}/{prefix_len} via {gateway} cannot be set: {error}")
                })
            }
            None => {
                let mut message = builder.build();
                message.attributes.retain(|a| !matches!(a, RouteAttribute::PrefSource(_)));
                let asked = self.kernel.route_delete(message).await;
                self.answered(asked).map_err(|error| error.to_string())
            }
        }
    }
}

/// An address of the prefix's first /64 whose interface identifier is made of the hardware address (RFC 4291 App. A).
fn address_in(prefix: &v6::Prefix, mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let host_bits = 128 - u32::from(prefix.len);
    let mask = 1u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
    Ipv6Addr::from_bits(prefix.prefix.to_bits() | (u128::from(identifier) & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_address_is_inside_the_prefix() {
        for len in [48, 56, 64, 96, 127, 128] {
            let prefix = v6::Prefix {
                prefix: "2001:db8:2::".parse().expect("an address"),
                len,
                preferred_until: Instant::MAX,
                valid_until: Instant::MAX,
            };
            let address = address_in(&prefix, MacAddr([2, 0, 0, 0, 0, 1]));
            assert!(prefix.contains(address), "{address} in /{len}");
        }
    }
}
