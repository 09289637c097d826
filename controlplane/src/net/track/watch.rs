//! What the core must know of the kernel: devices, and routes that are not ours. Reports come on a socket of their own; a lost
//! one is noticed (ENOBUFS) and answered with a complete look.

use super::parts::{PARTS_MAX, Parts};
use crate::net::netlink::kernel::{enlarge, master_of, table_of, table_of_vrf};
use crate::net::netlink::{DISCARD_PROTOCOL, Kernel, KernelError, ROUTE_PROTOCOL, message};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteType};
use rtnetlink::packet_core::{NLM_F_REPLACE, NetlinkMessage, NetlinkPayload};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, SocketAddr, TokioSocket};
use sipsec_net::IpPrefix;
use sipsec_track::config::Table;
use sipsec_track::view::ForeignView;
use sipsec_track::{Core, Input};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

const RECV_BUFFER: usize = 8 << 20;
const REPORT_MAX: usize = 32 * 1024;
/// RTMGRP_LINK, _IPV4_ROUTE, _IPV6_ROUTE.
const GROUPS: u32 = 0x1 | 0x40 | 0x400;

/// What a batch of reports says.
#[derive(Debug)]
pub enum Report {
    Messages(Vec<NetlinkMessage<RouteNetlinkMessage>>),
    /// Some were lost.
    Overrun,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Device {
    name: String,
    up: bool,
    /// The index of the device that it is a part of.
    master: Option<u32>,
}

#[derive(Clone, Debug)]
struct Vrf {
    index: u32,
    name: String,
}

pub struct KernelWatch {
    kernel: Kernel,
    socket: TokioSocket,
    buffer: Vec<u8>,
    devices: BTreeMap<u32, Device>,
    /// The VRF devices, by their tables.
    vrfs: BTreeMap<u32, Vrf>,
    /// The numbered tables in which routes of ours are.
    tables: BTreeSet<u32>,
    /// Those of interest, of these tables, those of VRFs and the main one.
    routes: BTreeMap<IpPrefix, BTreeSet<ForeignView>>,
    /// Those inside tunnels' prefixes; at most [`PARTS_MAX`].
    parts: BTreeMap<IpPrefix, BTreeSet<ForeignView>>,
}

impl std::fmt::Debug for KernelWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelWatch").field("devices", &self.devices).finish_non_exhaustive()
    }
}

impl KernelWatch {
    /// # Errors
    /// If the kernel gives no netlink socket.
    pub fn open() -> io::Result<Self> {
        let kernel = Kernel::open_alone()?;
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        enlarge(socket.socket_ref(), RECV_BUFFER);
        socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
        Ok(Self {
            kernel,
            socket,
            buffer: Vec::with_capacity(REPORT_MAX),
            devices: BTreeMap::new(),
            vrfs: BTreeMap::new(),
            tables: BTreeSet::new(),
            routes: BTreeMap::new(),
            parts: BTreeMap::new(),
        })
    }

    /// Everything, as inputs that bring the core up to date.
    pub async fn look(&mut self, core: &Core, parts: &Parts) -> Result<Vec<Input>, KernelError> {
        let before_devices = std::mem::take(&mut self.devices);
        let mut inputs = Vec::new();
        let links = self.kernel.links().await?;
        // Before the devices that are in them.
        self.vrfs.clear();
        for link in &links {
            self.note_vrf(link, false);
        }
        for link in &links {
            inputs.extend(self.link(link, false));
        }
        let here = |name: &str| self.devices.values().any(|d| d.name == name);
        for gone in before_devices.into_values().filter(|d| !here(&d.name)) {
            inputs.push(Input::Link { device: gone.name, up: false, vrf: None });
        }
        for device in core.devices().filter(|name| !here(name)) {
            inputs.push(Input::Link { device: device.to_owned(), up: false, vrf: None });
        }
        let mut touched: BTreeSet<IpPrefix> = std::mem::take(&mut self.routes).into_keys().collect();
        touched.extend(std::mem::take(&mut self.parts).into_keys());
        self.tables = core.tables().collect();
        let mut tables = self.tables.clone();
        tables.extend(self.vrfs.keys());
        tables.insert(message::MAIN);
        let asked: Vec<(bool, u32)> = tables.into_iter().flat_map(|t| [(false, t), (true, t)]).collect();
        for (v6, table) in asked {
            for route in self.kernel.all_routes(v6, table).await? {
                touched.extend(self.route(&route, true, false, (core, parts)));
            }
        }
        inputs.extend(touched.into_iter().map(|prefix| self.foreign(prefix)));
        Ok(inputs)
    }

    /// Our routes of an earlier run, with the names of their devices.
    pub async fn ours(&self) -> Result<Vec<(message::Present, Option<String>)>, KernelError> {
        let routes = message::ours(&self.kernel, ROUTE_PROTOCOL).await?;
        let name = |r: &message::Present| {
            r.device.and_then(|index| self.devices.get(&index)).map(|d| d.name.clone())
        };
        Ok(routes.iter().filter_map(message::read).map(|route| (route.clone(), name(&route))).collect())
    }

    /// The table with this number, if routes of it are of interest.
    pub fn table(&self, number: u32) -> Option<Table> {
        match number {
            message::MAIN => Some(Table::Main),
            _ if self.tables.contains(&number) => Some(Table::Number(number)),
            _ => self.vrfs.get(&number).map(|vrf| Table::Vrf(vrf.name.clone())),
        }
    }

    /// Waits for reports. May be cancelled at any time.
    pub async fn next(&mut self) -> io::Result<Report> {
        self.buffer.clear();
        match std::future::poll_fn(|cx| self.socket.poll_recv(cx, &mut self.buffer)).await {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(Report::Overrun),
            Err(error) => return Err(error),
        }
        let (mut messages, mut rest) = (Vec::new(), &self.buffer[..]);
        while let Some(len) = rest.first_chunk().map(|len| u32::from_ne_bytes(*len) as usize) {
            let Some(one) = rest.get(..len).filter(|_| len >= 16) else { break };
            // What this library cannot read is no device and no route that is of interest.
            if let Ok(message) = NetlinkMessage::deserialize(one) {
                messages.push(message);
            }
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(Report::Messages(messages))
    }

    /// The inputs that a report makes.
    pub fn take(
        &mut self,
        message: &NetlinkMessage<RouteNetlinkMessage>,
        core: &Core,
        parts: &Parts,
    ) -> Vec<Input> {
        let NetlinkPayload::InnerMessage(inner) = &message.payload else { return Vec::new() };
        let replaces = message.header.flags & NLM_F_REPLACE != 0;
        match inner {
            RouteNetlinkMessage::NewLink(link) => self.link(link, false),
            RouteNetlinkMessage::DelLink(link) => self.link(link, true),
            RouteNetlinkMessage::NewRoute(route) => self
                .route(route, true, replaces, (core, parts))
                .map(|p| self.foreign(p))
                .into_iter()
                .collect(),
            RouteNetlinkMessage::DelRoute(route) => {
                self.route(route, false, false, (core, parts)).map(|p| self.foreign(p)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn note_vrf(&mut self, link: &LinkMessage, gone: bool) {
        let index = link.header.index;
        if let (Some(table), Some(name)) = (table_of_vrf(link), name_of(link)) {
            self.vrfs.retain(|_, vrf| vrf.index != index);
            if !gone {
                self.vrfs.insert(table, Vrf { index, name });
            }
        }
    }

    fn link(&mut self, link: &LinkMessage, gone: bool) -> Vec<Input> {
        let Some(device) = name_of(link) else { return Vec::new() };
        self.note_vrf(link, gone);
        let flags = link.header.flags;
        let up = !gone && flags.contains(LinkFlags::Up | LinkFlags::Running);
        let mut inputs = Vec::new();
        if gone || !flags.contains(LinkFlags::Up) {
            // The kernel removes the routes of IPv4 by a device that is set down without a report.
            let by = |r: &ForeignView| r.device.as_deref() == Some(device.as_str());
            let all = self.routes.iter().chain(&self.parts);
            let touched: Vec<_> = all.filter(|(_, list)| list.iter().any(by)).map(|(p, _)| *p).collect();
            for prefix in touched {
                for list in [self.routes.get_mut(&prefix), self.parts.get_mut(&prefix)].into_iter().flatten()
                {
                    list.retain(|r| !by(r));
                }
                inputs.push(self.foreign(prefix));
            }
        }
        let now = Device { name: device.clone(), up, master: master_of(link) };
        let vrf = now.master.and_then(|index| self.vrfs.values().find(|vrf| vrf.index == index));
        let vrf = vrf.map(|vrf| vrf.name.clone());
        let before = if gone {
            self.devices.remove(&link.header.index)
        } else {
            self.devices.insert(link.header.index, now.clone())
        };
        match before {
            Some(before) if before == now => return inputs,
            // It was renamed.
            Some(before) if before.up && before.name != device => {
                inputs.push(Input::Link { device: before.name, up: false, vrf: None });
            }
            _ => {}
        }
        inputs.push(Input::Link { device, up, vrf });
        inputs
    }

    /// Takes a route over, if it is of interest. Returns its prefix.
    fn route(
        &mut self,
        route: &RouteMessage,
        there: bool,
        replaces: bool,
        (core, parts): (&Core, &Parts),
    ) -> Option<IpPrefix> {
        let protocol = u8::from(route.header.protocol);
        let table = self.table(table_of(route))?;
        if route.header.kind != RouteType::Unicast || [ROUTE_PROTOCOL, DISCARD_PROTOCOL].contains(&protocol) {
            return None;
        }
        let read = message::read(route)?;
        let only = read.device.and_then(|index| self.devices.get(&index));
        let is_lan = only.is_some_and(|device| parts.is_lan(&device.name));
        // A full table of BGP is not kept; one more than `Parts` takes, so that it warns. What the LAN has takes no room, but may
        // replace what is there.
        let has_room =
            |map: &BTreeMap<_, _>| map.contains_key(&read.prefix) || (!is_lan && map.len() <= PARTS_MAX);
        let map = if core.concerns(read.prefix) {
            &mut self.routes
        } else if parts.concerns(read.prefix) && has_room(&self.parts) {
            &mut self.parts
        } else {
            return None;
        };
        let list = map.entry(read.prefix).or_default();
        if replaces {
            list.retain(|r| (r.metric, &r.table) != (read.metric, &table));
        }
        let name = |index: u32| self.devices.get(&index).map(|d| d.name.clone());
        let one = |via: Option<IpAddr>, device: Option<u32>| ForeignView {
            protocol,
            metric: read.metric,
            via,
            device: device.and_then(name),
            table: table.clone(),
        };
        let hops: Vec<&RouteNextHop> = route
            .attributes
            .iter()
            .filter_map(|a| match a {
                RouteAttribute::MultiPath(hops) => Some(hops),
                _ => None,
            })
            .flatten()
            .collect();
        let mut views = vec![one(read.via, read.device)];
        if !hops.is_empty() {
            views = hops.iter().map(|hop| one(gateway(hop), Some(hop.interface_index))).collect();
        }
        for view in views {
            if there {
                list.insert(view);
            } else {
                list.remove(&view);
            }
        }
        Some(read.prefix)
    }

    /// All with this prefix.
    pub fn routes(&self, prefix: &IpPrefix) -> impl Iterator<Item = &ForeignView> {
        self.routes.get(prefix).or_else(|| self.parts.get(prefix)).into_iter().flatten()
    }

    fn foreign(&mut self, prefix: IpPrefix) -> Input {
        let routes: Vec<_> = self.routes(&prefix).cloned().collect();
        if routes.is_empty() {
            self.routes.remove(&prefix);
            self.parts.remove(&prefix);
        }
        Input::Foreign { prefix, routes }
    }
}

fn name_of(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn gateway(hop: &RouteNextHop) -> Option<IpAddr> {
    hop.attributes.iter().find_map(|a| match a {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })
}
