//! Requests to the kernel's routing, on a socket of their own: no multicast report can fill its buffer and displace a
//! reply. Each request has a time limit; one that exceeds it is fatal for the socket, see [`KernelError::is_fatal`].

use super::health::Shared;
use futures_util::StreamExt;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoData, InfoVrf, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::Handle;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::sys::{AsyncSocket, TokioSocket};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{AbortHandle, JoinSet};

/// The kernel answers within microseconds, a walk over a million routes within a second.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// A dump is read in pieces of at most 32 KiB; this holds many of them.
const RECV_BUFFER: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("the kernel did not answer a routing request within {} s", REQUEST_MAX.as_secs())]
    Timeout,
    #[error("the netlink connection has ended")]
    Closed,
    #[error("{0}")]
    Refused(io::Error),
}

impl KernelError {
    /// Whether the socket is of no further use. A refused request is an answer.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Timeout | Self::Closed)
    }

    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(error) => error.raw_os_error(),
            Self::Timeout | Self::Closed => None,
        }
    }
}

/// One request socket and the task that reads it; the task ends with this value.
#[derive(Debug)]
pub struct Kernel {
    handle: Handle,
    connection: AbortHandle,
    _tasks: JoinSet<()>,
    shared: Arc<Shared>,
}

impl Kernel {
    /// # Errors
    /// If the kernel gives no netlink socket.
    pub fn open(shared: Arc<Shared>) -> io::Result<Self> {
        let (mut connection, handle, _) = rtnetlink::new_connection_with_socket::<TokioSocket>()?;
        let socket = connection.socket_mut().socket_ref();
        enlarge(socket, RECV_BUFFER);
        // Filters of dumps are applied by the kernel. Without this option (before Linux 4.20) more comes; it is filtered here
        // as well.
        let _ = socket.set_netlink_get_strict_chk(true);
        let mut tasks = JoinSet::new();
        let connection = tasks.spawn(connection);
        Ok(Self { handle, connection, _tasks: tasks, shared })
    }

    /// The same for a task whose state is not in `show control`.
    ///
    /// # Errors
    /// If the kernel gives no netlink socket.
    pub fn open_alone() -> io::Result<Self> {
        Self::open(Arc::new(Shared::new()))
    }

    /// The device of this name, if there is one.
    pub async fn link(&self, name: &str) -> Result<Option<LinkMessage>, KernelError> {
        let mut query = LinkMessage::default();
        query.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let replies = match self.request(RouteNetlinkMessage::GetLink(query), 0).await {
            Ok(replies) => replies,
            Err(error) if error.errno() == Some(libc::ENODEV) => return Ok(None),
            Err(error) => return Err(error),
        };
        let named =
            |l: &LinkMessage| l.attributes.iter().any(|a| matches!(a, LinkAttribute::IfName(n) if n == name));
        Ok(replies.into_iter().find_map(|reply| match reply {
            RouteNetlinkMessage::NewLink(link) if named(&link) => Some(link),
            _ => None,
        }))
    }

    /// All devices.
    pub async fn links(&self) -> Result<Vec<LinkMessage>, KernelError> {
        let replies = self.request(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP).await?;
        let link = |reply| match reply {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        };
        Ok(replies.into_iter().filter_map(link).collect())
    }

    /// The table that packets of a device are routed by: that of its VRF, or the main table.
    pub async fn table(&self, device: u32) -> Result<u32, KernelError> {
        let links = self.links().await?;
        let of = |index: u32| links.iter().find(|l| l.header.index == index);
        let vrf = of(device).and_then(master_of).and_then(of);
        Ok(vrf.and_then(table_of_vrf).unwrap_or(RouteHeader::RT_TABLE_MAIN.into()))
    }

    /// Makes a device.
    pub async fn link_add(&self, link: LinkMessage) -> Result<(), KernelError> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewLink(link), flags).await.map(drop)
    }

    /// Changes a device, which the message names by its index.
    pub async fn link_set(&self, link: LinkMessage) -> Result<(), KernelError> {
        self.request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK).await.map(drop)
    }

    pub async fn link_delete(&self, link: LinkMessage) -> Result<(), KernelError> {
        self.request(RouteNetlinkMessage::DelLink(link), NLM_F_ACK).await.map(drop)
    }

    /// The addresses of a device.
    pub async fn addresses(&self, device: u32, v6: bool) -> Result<Vec<AddressMessage>, KernelError> {
        let mut query = AddressMessage::default();
        query.header.family = family(v6);
        query.header.index = device;
        let replies = self.request(RouteNetlinkMessage::GetAddress(query), NLM_F_DUMP).await?;
        Ok(replies
            .into_iter()
            .filter_map(|reply| match reply {
                RouteNetlinkMessage::NewAddress(address) if address.header.index == device => Some(address),
                _ => None,
            })
            .collect())
    }

    /// The neighbour entries of a device.
    pub async fn neighbours(&self, device: u32, v6: bool) -> Result<Vec<NeighbourMessage>, KernelError> {
        let mut query = NeighbourMessage::default();
        query.header.family = family(v6);
        query.attributes.push(NeighbourAttribute::IfIndex(device));
        let replies = self.request(RouteNetlinkMessage::GetNeighbour(query), NLM_F_DUMP).await?;
        Ok(replies
            .into_iter()
            .filter_map(|reply| match reply {
                RouteNetlinkMessage::NewNeighbour(entry) if entry.header.ifindex == device => Some(entry),
                _ => None,
            })
            .collect())
    }

    /// The routes of all tables with this protocol number.
    pub async fn routes(&self, protocol: u8, v6: bool) -> Result<Vec<RouteMessage>, KernelError> {
        self.dump(RouteProtocol::from(protocol), v6, None).await
    }

    /// The routes of a table, of all protocols.
    pub async fn all_routes(&self, v6: bool, table: u32) -> Result<Vec<RouteMessage>, KernelError> {
        self.dump(RouteProtocol::Unspec, v6, Some(table)).await
    }

    async fn dump(
        &self,
        protocol: RouteProtocol,
        v6: bool,
        table: Option<u32>,
    ) -> Result<Vec<RouteMessage>, KernelError> {
        let mut query = RouteMessage::default();
        query.header.address_family = family(v6);
        query.header.table = RouteHeader::RT_TABLE_UNSPEC;
        query.header.protocol = protocol;
        query.attributes.extend(table.map(RouteAttribute::Table));
        let replies = match self.request(RouteNetlinkMessage::GetRoute(query), NLM_F_DUMP).await {
            // No table, so no routes.
            Err(error) if error.errno() == Some(libc::ENOENT) => Vec::new(),
            other => other?,
        };
        Ok(replies
            .into_iter()
            .filter_map(|reply| match reply {
                RouteNetlinkMessage::NewRoute(route)
                    if (protocol == RouteProtocol::Unspec || route.header.protocol == protocol)
                        && table.is_none_or(|table| table_of(&route) == table) =>
                {
                    Some(route)
                }
                _ => None,
            })
            .collect())
    }

    /// The route that a packet to `remote` takes if it leaves by `device`: a route into the tunnel cannot carry the tunnel's
    /// own packets.
    pub async fn route_to(&self, remote: IpAddr, device: u32) -> Result<RouteMessage, KernelError> {
        let mut query = RouteMessage::default();
        query.header.address_family = family(remote.is_ipv6());
        let (destination, len) = match remote {
            IpAddr::V4(ip) => (RouteAddress::Inet(ip), 32),
            IpAddr::V6(ip) => (RouteAddress::Inet6(ip), 128),
        };
        query.header.destination_prefix_length = len;
        query.attributes = vec![RouteAttribute::Destination(destination), RouteAttribute::Oif(device)];
        let replies = self.request(RouteNetlinkMessage::GetRoute(query), 0).await?;
        replies
            .into_iter()
            .find_map(|reply| match reply {
                RouteNetlinkMessage::NewRoute(route) => Some(route),
                _ => None,
            })
            .ok_or(KernelError::Closed)
    }

    pub async fn route_add(&self, route: RouteMessage) -> Result<(), KernelError> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewRoute(route), flags).await.map(drop)
    }

    pub async fn route_delete(&self, route: RouteMessage) -> Result<(), KernelError> {
        self.request(RouteNetlinkMessage::DelRoute(route), NLM_F_ACK).await.map(drop)
    }

    /// Adds a route, or changes the one with its destination and metric.
    pub async fn route_set(&self, route: RouteMessage) -> Result<(), KernelError> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.request(RouteNetlinkMessage::NewRoute(route), flags).await.map(drop)
    }

    /// The rules of this family that lead to a table.
    pub async fn rules(&self, v6: bool, table: u32) -> Result<Vec<RuleMessage>, KernelError> {
        let mut query = RuleMessage::default();
        query.header.family = family(v6);
        let replies = self.request(RouteNetlinkMessage::GetRule(query), NLM_F_DUMP).await?;
        let leads = |rule: &RuleMessage| rule.attributes.contains(&RuleAttribute::Table(table));
        Ok(replies
            .into_iter()
            .filter_map(|reply| match reply {
                RouteNetlinkMessage::NewRule(rule) if leads(&rule) => Some(rule),
                _ => None,
            })
            .collect())
    }

    pub async fn rule_add(&self, rule: RuleMessage) -> Result<(), KernelError> {
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewRule(rule), flags).await.map(drop)
    }

    pub async fn rule_delete(&self, rule: RuleMessage) -> Result<(), KernelError> {
        self.request(RouteNetlinkMessage::DelRule(rule), NLM_F_ACK).await.map(drop)
    }

    /// Adds an address to a device, or changes it: its lifetimes in seconds and its further attributes.
    pub async fn address_set(
        &self,
        device: u32,
        (ip, len): (IpAddr, u8),
        attributes: impl IntoIterator<Item = AddressAttribute>,
    ) -> Result<(), KernelError> {
        let mut request = self.handle.address().add(device, ip, len);
        let message = request.message_mut();
        message.attributes.extend(attributes);
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.request(RouteNetlinkMessage::NewAddress(message.clone()), flags).await.map(drop)
    }

    pub async fn address_delete(&self, device: u32, (ip, len): (IpAddr, u8)) -> Result<(), KernelError> {
        let message = self.handle.address().add(device, ip, len).message_mut().clone();
        self.request(RouteNetlinkMessage::DelAddress(message), NLM_F_ACK).await.map(drop)
    }

    /// Makes the kernel resolve a neighbour as if it had a packet for it, without sending one (NTF_USE).
    pub async fn probe(&self, device: u32, hop: IpAddr) -> Result<(), KernelError> {
        let neighbours = self.handle.neighbours();
        let request = neighbours.add(device, hop).state(NeighbourState::None).flags(NeighbourFlags::Use);
        let probed = async {
            match request.replace().execute().await {
                Ok(()) => Ok(()),
                Err(rtnetlink::Error::NetlinkError(error)) => Err(KernelError::Refused(error.to_io())),
                Err(_) => Err(KernelError::Closed),
            }
        };
        self.limited(probed).await
    }

    /// Sends one request and collects its replies.
    async fn request(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        let mut handle = self.handle.clone();
        let exchange = async {
            let mut replies = handle.request(message).map_err(|_| KernelError::Closed)?;
            let mut out = Vec::new();
            while let Some(reply) = replies.next().await {
                match reply.payload {
                    NetlinkPayload::InnerMessage(message) => out.push(message),
                    NetlinkPayload::Error(error) => return Err(KernelError::Refused(error.to_io())),
                    // A reply did not fit: the list is not whole.
                    NetlinkPayload::Overrun(_) => return Err(KernelError::Closed),
                    _ => {}
                }
            }
            // The list also ends when the connection does.
            if self.connection.is_finished() { Err(KernelError::Closed) } else { Ok(out) }
        };
        self.limited(exchange).await
    }

    async fn limited<T>(
        &self,
        exchange: impl Future<Output = Result<T, KernelError>>,
    ) -> Result<T, KernelError> {
        let result = tokio::time::timeout(REQUEST_MAX, exchange).await.unwrap_or(Err(KernelError::Timeout));
        self.shared.answered(&result);
        result
    }
}

/// The table of a route.
pub fn table_of(route: &RouteMessage) -> u32 {
    let id = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Table(id) => Some(*id),
        _ => None,
    });
    id.unwrap_or_else(|| route.header.table.into())
}

/// The table of a VRF device.
pub fn table_of_vrf(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::LinkInfo(info) => info.iter().find_map(|i| match i {
            LinkInfo::Data(InfoData::Vrf(data)) => data.iter().find_map(|d| match d {
                InfoVrf::TableId(id) => Some(*id),
                _ => None,
            }),
            _ => None,
        }),
        _ => None,
    })
}

/// The device that this one is a part of.
pub fn master_of(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|a| match a {
        LinkAttribute::Controller(index) => Some(*index).filter(|index| *index != 0),
        _ => None,
    })
}

pub const fn family(v6: bool) -> AddressFamily {
    if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

/// Past `net.core.rmem_max` where that is permitted, else up to it.
pub fn enlarge(socket: &rtnetlink::sys::Socket, bytes: usize) {
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        // A smaller buffer overflows earlier; an overflow is noticed and made up for.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(socket, bytes);
    }
}
