//! Kernel routes of the tunnels, in host mode two for each prefix: one into the sVTI, and one of last resort that discards.
//! They carry protocol numbers of ours, and outlive this process: without them, packets for a tunnel would leave in clear by
//! the default route. The kernel removes routes by a device with the device, and when it is set down; the discarding routes
//! name no device and stay. Routes with other protocol numbers are never changed or removed.

use super::kernel::{Kernel, KernelError};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteType};
use rtnetlink::RouteMessageBuilder;
use sipsec_net::{IpPrefix, discard};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `rtm_protocol` of our routes into the sVTI: one that neither linux/rtnetlink.h nor iproute2 assigns.
/// `ip route show proto 83` lists them.
pub const PROTOCOL: u8 = 83;
/// `rtm_protocol` of discarding routes: `ip route show proto 183`.
pub const DISCARD_PROTOCOL: u8 = discard::PROTOCOL;
/// Next hops of our routes. They are no hosts: with one next hop for all destinations, the kernel keeps one neighbour entry
/// for the sVTI and not one for each destination, whose number a scan of a tunnel's prefix decides.
const NEXT_HOP_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 83, 1);
const NEXT_HOP_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x83);
/// IPv6 routes without a metric get this one from the kernel.
const METRIC_V6: u32 = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub prefix: IpPrefix,
    pub metric: Option<u32>,
}

impl Route {
    fn metric(&self) -> u32 {
        self.metric.unwrap_or(if self.prefix.addr().is_ipv6() { METRIC_V6 } else { 0 })
    }
}

/// Makes our routes those that are wanted, the discarding ones first. Returns the state of each prefix, and why one has no
/// discarding route.
pub async fn reconcile(
    kernel: &Kernel,
    device: &str,
    index: Option<u32>,
    wanted: &[Route],
) -> Result<BTreeMap<String, String>, KernelError> {
    let undiscarded = discards(kernel, device, wanted).await?;
    let mut states = match index {
        Some(index) => into_device(kernel, device, index, wanted).await?,
        None => {
            let waits = format!("waits for the device {device}, which the dataplane makes");
            wanted.iter().map(|r| (r.prefix.to_string(), waits.clone())).collect()
        }
    };
    for (prefix, error) in undiscarded {
        let state = states.entry(prefix.to_string()).or_default();
        state.push_str(&format!("; no discarding route: {error}"));
    }
    Ok(states)
}

/// The discarding routes of one gateway: what its tunnels do not take is dropped.
pub async fn discards(
    kernel: &Kernel,
    device: &str,
    wanted: &[Route],
) -> Result<Vec<(IpPrefix, String)>, KernelError> {
    let metric = discard::metric(device);
    let wanted: BTreeSet<IpPrefix> = wanted.iter().map(|r| r.prefix).collect();
    let mut present = BTreeSet::new();
    for message in ours(kernel, DISCARD_PROTOCOL).await? {
        let Some(route) = read(&message) else { continue };
        if message.header.kind != RouteType::BlackHole || route.metric() != metric {
            continue; // another gateway's
        }
        if wanted.contains(&route.prefix) {
            present.insert(route.prefix);
        } else {
            delete(kernel, message).await?;
        }
    }
    let mut refused = Vec::new();
    for prefix in wanted.difference(&present) {
        match kernel.route_add(discarding(*prefix, metric)).await {
            Ok(()) => tracing::info!(%prefix, metric, "discarding route installed"),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => refused.push((*prefix, explain(&error, device))),
        }
    }
    Ok(refused)
}

async fn into_device(
    kernel: &Kernel,
    device: &str,
    index: u32,
    wanted: &[Route],
) -> Result<BTreeMap<String, String>, KernelError> {
    let wanted_keys: BTreeSet<_> = wanted.iter().map(|r| (r.prefix, r.metric())).collect();
    let mut present = BTreeSet::new();
    for message in ours(kernel, PROTOCOL).await? {
        if !message.attributes.iter().any(|a| matches!(a, RouteAttribute::Oif(i) if *i == index)) {
            continue; // another gateway's
        }
        let Some(route) = read(&message) else { continue };
        if wanted_keys.contains(&(route.prefix, route.metric())) && has_next_hop(&message) {
            present.insert((route.prefix, route.metric()));
        } else {
            delete(kernel, message).await?;
        }
    }
    let installed = format!("dev {device} proto {PROTOCOL}");
    let mut states = BTreeMap::new();
    for route in wanted {
        let state = if present.contains(&(route.prefix, route.metric())) {
            installed.clone()
        } else {
            match kernel.route_add(by_device(index, route)).await {
                Ok(()) => {
                    tracing::info!(prefix = %route.prefix, device, "route installed");
                    installed.clone()
                }
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => explain(&error, device),
            }
        };
        states.insert(route.prefix.to_string(), state);
    }
    Ok(states)
}

fn explain(error: &KernelError, device: &str) -> String {
    match error.errno() {
        Some(libc::EEXIST) => "another route has this prefix and metric; it is left alone".to_owned(),
        Some(libc::ENETDOWN) => format!("{device} is down: `ip link set {device} up`"),
        Some(libc::EPERM) => "not permitted: run as root, or with CAP_NET_ADMIN".to_owned(),
        _ => error.to_string(),
    }
}

async fn delete(kernel: &Kernel, message: RouteMessage) -> Result<(), KernelError> {
    match kernel.route_delete(message).await {
        Err(error) if error.is_fatal() => Err(error),
        Err(error) if error.errno() != Some(libc::ESRCH) => {
            tracing::warn!(%error, "a route cannot be removed");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn by_device(index: u32, route: &Route) -> RouteMessage {
    let (protocol, len) = (RouteProtocol::from(PROTOCOL), route.prefix.prefix_len());
    match route.prefix.addr() {
        IpAddr::V4(ip) => {
            let built =
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(ip, len).output_interface(index);
            built.gateway(NEXT_HOP_V4).onlink().protocol(protocol).priority(route.metric()).build()
        }
        IpAddr::V6(ip) => {
            let built =
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(ip, len).output_interface(index);
            built.gateway(NEXT_HOP_V6).onlink().protocol(protocol).priority(route.metric()).build()
        }
    }
}

/// An earlier release made routes without.
fn has_next_hop(route: &RouteMessage) -> bool {
    route.attributes.iter().any(|a| match a {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => *ip == NEXT_HOP_V4,
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => *ip == NEXT_HOP_V6,
        _ => false,
    })
}

fn discarding(prefix: IpPrefix, metric: u32) -> RouteMessage {
    let (protocol, len) = (RouteProtocol::from(DISCARD_PROTOCOL), prefix.prefix_len());
    let mut route = match prefix.addr() {
        IpAddr::V4(ip) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(ip, len)
            .protocol(protocol)
            .priority(metric)
            .build(),
        IpAddr::V6(ip) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(ip, len)
            .protocol(protocol)
            .priority(metric)
            .build(),
    };
    route.header.kind = RouteType::BlackHole;
    route
}

async fn ours(kernel: &Kernel, protocol: u8) -> Result<Vec<RouteMessage>, KernelError> {
    let mut out = kernel.routes(protocol, false).await?;
    out.extend(kernel.routes(protocol, true).await?);
    Ok(out)
}

fn read(message: &RouteMessage) -> Option<Route> {
    let v6 = message.header.address_family == netlink_packet_route::AddressFamily::Inet6;
    let unspecified = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let addr = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Destination(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    });
    let metric = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::Priority(p) => Some(*p),
        _ => None,
    });
    let prefix = IpPrefix::new(addr.unwrap_or(unspecified), message.header.destination_prefix_length).ok()?;
    Some(Route { prefix, metric: Some(metric.unwrap_or(0)) })
}
