//! The routing table that packets of remembered flows are routed by, and the rules that lead to it.

use super::rules::MARK;
use crate::net::netlink::kernel::family;
use crate::net::netlink::message::{self, Present};
use crate::net::netlink::{Kernel, KernelError, ROUTE_PROTOCOL, Target, Wanted};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use sipsec_net::{IpPrefix, discard};
use sipsec_track::config::Table;
use std::collections::BTreeMap;

/// `rtm_protocol` of these routes: one that neither linux/rtnetlink.h nor iproute2 assigns.
const PROTOCOL: u8 = 182;
/// Behind the rule of VRFs, before those that are added without a priority.
const PRIORITY: u32 = 8300;

/// The number of a gateway's table: the name of its sVTI is hashed into it.
pub fn number(svti: &str) -> u32 {
    0x0053_0000 | (discard::metric(svti) & 0xffff)
}

/// Adds what is missing: routes first, so that a marked packet finds one.
pub async fn add(
    kernel: &Kernel,
    table: u32,
    wanted: &BTreeMap<IpPrefix, String>,
) -> Result<(), KernelError> {
    let present = present(kernel, table).await?;
    // Many prefixes lead into few devices.
    let mut devices: BTreeMap<&str, Option<u32>> =
        wanted.values().map(|device| (device.as_str(), None)).collect();
    for (device, index) in &mut devices {
        *index = kernel.link(device).await?.map(|link| link.header.index);
    }
    for (prefix, device) in wanted {
        let Some(index) = devices.get(device.as_str()).copied().flatten() else { continue };
        let route = route(*prefix, index, table);
        if !present.iter().any(|p| p.is(&route)) {
            kernel.route_set(message::write(&route)).await?;
        }
    }
    for v6 in [false, true] {
        if wanted.keys().any(|prefix| prefix.addr().is_ipv6() == v6)
            && kernel.rules(v6, table).await?.is_empty()
        {
            kernel.rule_add(rule(v6, table)).await?;
        }
    }
    Ok(())
}

/// Removes what is not wanted.
pub async fn remove(
    kernel: &Kernel,
    table: u32,
    wanted: &BTreeMap<IpPrefix, String>,
) -> Result<(), KernelError> {
    for v6 in [false, true] {
        if wanted.keys().any(|prefix| prefix.addr().is_ipv6() == v6) {
            continue;
        }
        for rule in kernel.rules(v6, table).await? {
            ignore_absent(kernel.rule_delete(rule).await, libc::ENOENT)?;
        }
    }
    for route in present(kernel, table).await?.iter().filter(|route| !wanted.contains_key(&route.prefix)) {
        ignore_absent(kernel.route_delete(message::write(route)).await, libc::ESRCH)?;
    }
    Ok(())
}

fn ignore_absent(result: Result<(), KernelError>, absent: i32) -> Result<(), KernelError> {
    match result {
        Err(error) if error.errno() == Some(absent) => Ok(()),
        result => result,
    }
}

async fn present(kernel: &Kernel, table: u32) -> Result<Vec<Present>, KernelError> {
    let routes = message::ours(kernel, PROTOCOL).await?;
    Ok(routes.iter().filter_map(message::read).filter(|route| route.table == table).collect())
}

fn route(prefix: IpPrefix, device: u32, table: u32) -> Present {
    let wanted = Wanted { target: Target::Tunnel(String::new()), table: Table::Number(table), metric: 0 };
    Present { protocol: PROTOCOL, ..message::wanted(prefix, &wanted, Some(device), table) }
}

fn rule(v6: bool, table: u32) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = family(v6);
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::Table(table),
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::FwMark(MARK),
        RuleAttribute::FwMask(MARK),
        RuleAttribute::Protocol(RouteProtocol::from(ROUTE_PROTOCOL)),
    ];
    rule
}
