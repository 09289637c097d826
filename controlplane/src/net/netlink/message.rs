//! Routes of ours as messages of rtnetlink, and back.

use super::kernel::{Kernel, KernelError};
use super::routes::PROTOCOL;
use super::wanted::{Target, Wanted};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::RouteMessageBuilder;
use sipsec_net::IpPrefix;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Next hops of our routes into tunnels. They are no hosts: with one next hop for all destinations, the kernel keeps one
/// neighbour entry for the device and not one for each destination, whose number a scan of a tunnel's prefix decides.
const NEXT_HOP_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 83, 1);
const NEXT_HOP_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x83);
/// IPv6 routes without a metric get this one from the kernel.
const METRIC_V6: u32 = 1024;

/// The main table.
pub const MAIN: u32 = RouteHeader::RT_TABLE_MAIN as u32;

/// A route with one next hop, or that discards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    pub prefix: IpPrefix,
    pub table: u32,
    pub metric: u32,
    pub device: Option<u32>,
    pub via: Option<IpAddr>,
    pub discards: bool,
    pub protocol: u8,
}

impl Present {
    /// The kernel gives discarding routes of IPv6 the loopback as device.
    pub fn is(&self, other: &Self) -> bool {
        (self.prefix, self.table) == (other.prefix, other.table)
            && self.metric == other.metric
            && self.discards == other.discards
            && (self.discards || (self.device, self.via) == (other.device, other.via))
    }
}

pub const fn kernel_metric(v6: bool, metric: u32) -> u32 {
    if v6 && metric == 0 { METRIC_V6 } else { metric }
}

pub fn wanted(prefix: IpPrefix, wanted: &Wanted, device: Option<u32>, table: u32) -> Present {
    let via = match wanted.target {
        Target::Via { hop, .. } => Some(hop),
        Target::Tunnel(_) if prefix.addr().is_ipv4() => Some(NEXT_HOP_V4.into()),
        Target::Tunnel(_) => Some(NEXT_HOP_V6.into()),
        Target::Device(_) | Target::Discard => None,
    };
    let discards = wanted.target == Target::Discard;
    Present {
        prefix,
        table,
        metric: kernel_metric(prefix.addr().is_ipv6(), wanted.metric),
        device: device.filter(|_| !discards),
        via,
        discards,
        protocol: PROTOCOL,
    }
}

pub fn write(route: &Present) -> RouteMessage {
    let len = route.prefix.prefix_len();
    let mut message = match route.prefix.addr() {
        IpAddr::V4(ip) => RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(ip, len).build(),
        IpAddr::V6(ip) => RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(ip, len).build(),
    };
    message.header.protocol = RouteProtocol::from(route.protocol);
    if route.discards {
        message.header.kind = RouteType::BlackHole;
    } else if route.via.is_none() && route.prefix.addr().is_ipv4() {
        message.header.scope = RouteScope::Link;
    }
    if route.table != MAIN {
        // Numbers above 255 do not fit the header, and the attribute is valid for all (rtnetlink(7)).
        message.header.table = RouteHeader::RT_TABLE_UNSPEC;
        message.attributes.push(RouteAttribute::Table(route.table));
    }
    message.attributes.push(RouteAttribute::Priority(route.metric));
    if let Some(device) = route.device.filter(|_| !route.discards) {
        message.attributes.push(RouteAttribute::Oif(device));
    }
    if route.via.is_some_and(|hop| hop == NEXT_HOP_V4 || hop == NEXT_HOP_V6) {
        message.header.flags |= RouteFlags::Onlink;
    }
    match route.via {
        Some(IpAddr::V4(ip)) => message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(ip))),
        Some(IpAddr::V6(ip)) => message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet6(ip))),
        None => {}
    }
    message
}

/// All routes with this protocol number, of the main table and of those of VRFs.
pub async fn ours(kernel: &Kernel, protocol: u8) -> Result<Vec<RouteMessage>, KernelError> {
    let mut out = kernel.routes(protocol, false).await?;
    out.extend(kernel.routes(protocol, true).await?);
    Ok(out)
}

pub fn read(message: &RouteMessage) -> Option<Present> {
    let v6 = message.header.address_family == AddressFamily::Inet6;
    let unspecified = if v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let (mut addr, mut via, mut metric, mut device) = (None, None, 0, None);
    let mut table = u32::from(message.header.table);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => addr = address(to),
            RouteAttribute::Gateway(to) => via = address(to),
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::Table(id) => table = *id,
            _ => {}
        }
    }
    let prefix = IpPrefix::new(addr.unwrap_or(unspecified), message.header.destination_prefix_length).ok()?;
    let discards =
        matches!(message.header.kind, RouteType::BlackHole | RouteType::Unreachable | RouteType::Prohibit);
    Some(Present { prefix, table, metric, device, via, discards, protocol: message.header.protocol.into() })
}

const fn address(of: &RouteAddress) -> Option<IpAddr> {
    match of {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}
