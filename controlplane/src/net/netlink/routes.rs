//! Kernel routes into the sVTI. They carry our protocol number, so that ours are told from everybody else's. They outlive
//! this process: without them, what belongs into a tunnel would leave in clear by the default route.

use futures_util::StreamExt;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{Handle, RouteMessageBuilder};
use sipsec_net::IpPrefix;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `rtm_protocol` of our routes: one that neither linux/rtnetlink.h nor iproute2 gives to anybody else.
/// `ip route show proto 83` lists them.
pub const PROTOCOL: u8 = 83;
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

/// Makes our routes at the device those that are wanted. Returns the state of each.
pub async fn install(
    handle: &Handle,
    device: &str,
    index: Option<u32>,
    wanted: &[Route],
) -> BTreeMap<String, String> {
    let Some(index) = index else {
        let waits = format!("waits for the device {device}, which the dataplane makes");
        return wanted.iter().map(|r| (r.prefix.to_string(), waits.clone())).collect();
    };
    let present = ours(handle, index).await;
    for (route, message) in &present {
        if !wanted.iter().any(|w| (w.prefix, w.metric()) == (route.prefix, route.metric())) {
            delete(handle, message.clone()).await;
        }
    }
    let mut states = BTreeMap::new();
    for route in wanted {
        let there = present.iter().any(|(p, _)| (p.prefix, p.metric()) == (route.prefix, route.metric()));
        let state = if there {
            format!("dev {device} proto {PROTOCOL}")
        } else {
            add(handle, device, index, route).await
        };
        states.insert(route.prefix.to_string(), state);
    }
    states
}

async fn add(handle: &Handle, device: &str, index: u32, route: &Route) -> String {
    let result = handle.route().add(message(index, route)).execute().await;
    match result {
        Ok(()) => {
            tracing::info!(prefix = %route.prefix, device, "route installed");
            format!("dev {device} proto {PROTOCOL}")
        }
        Err(error) => match errno(&error) {
            Some(libc::EEXIST) => "another route has this prefix and metric; it is left alone".to_owned(),
            Some(libc::ENETDOWN) => format!("{device} is down: `ip link set {device} up`"),
            Some(libc::EPERM) => "not permitted: run as root, or with CAP_NET_ADMIN".to_owned(),
            _ => error.to_string(),
        },
    }
}

async fn delete(handle: &Handle, message: RouteMessage) {
    if let Err(error) = handle.route().del(message).execute().await
        && errno(&error) != Some(libc::ESRCH)
    {
        tracing::warn!(%error, "a route cannot be removed");
    }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(e) => Some(-e.raw_code()),
        _ => None,
    }
}

fn message(index: u32, route: &Route) -> RouteMessage {
    let (protocol, len) = (RouteProtocol::from(PROTOCOL), route.prefix.prefix_len());
    match route.prefix.addr() {
        IpAddr::V4(ip) => {
            let built =
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(ip, len).output_interface(index);
            built.protocol(protocol).scope(RouteScope::Link).priority(route.metric()).build()
        }
        IpAddr::V6(ip) => {
            let built =
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(ip, len).output_interface(index);
            built.protocol(protocol).priority(route.metric()).build()
        }
    }
}

async fn ours(handle: &Handle, index: u32) -> Vec<(Route, RouteMessage)> {
    let mut out = Vec::new();
    for query in
        [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
    {
        let v6 = query.header.address_family == netlink_packet_route::AddressFamily::Inet6;
        let mut routes = Box::pin(handle.route().get(query).execute());
        while let Some(Ok(message)) = routes.next().await {
            let at_device =
                message.attributes.iter().any(|a| matches!(a, RouteAttribute::Oif(i) if *i == index));
            if at_device && message.header.protocol == RouteProtocol::from(PROTOCOL) {
                out.extend(read(&message, v6).map(|route| (route, message)));
            }
        }
    }
    out
}

fn read(message: &RouteMessage, v6: bool) -> Option<Route> {
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
