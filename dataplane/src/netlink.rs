//! The few requests the dataplane makes of rtnetlink, one at a time, each answered before the next or given up in time.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use sipsec_net::prefix::PrefixError;
use sipsec_net::{IpPrefix, MacAddr, discard};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Marks routes of ours (`ip route show proto 183`).
const ROUTE_PROTOCOL: u8 = discard::PROTOCOL;
/// The kernel answers within the call that asks, unless it is short of memory and drops the answer, or another process holds
/// its lock of devices and routes.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A link with all its statistics is about 2 KiB.
const REPLY_LEN_MAX: usize = 32 * 1024;

/// What is known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub mtu: u32,
    pub mac: MacAddr,
    pub up: bool,
    pub kind: LinkKind,
    /// Of a TUN device: whether a process has a queue of it open.
    pub carrier: bool,
    /// For a veth, the index of its other end.
    pub peer: Option<u32>,
    /// The XDP program that is attached.
    pub program: Option<u32>,
}

/// The driver of a device, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Veth,
    Tun,
    Other,
}

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The device that has it.
    pub index: u32,
    pub local: IpAddr,
    /// What is reached by the device without a router.
    pub connected: IpPrefix,
}

pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WITHIN))?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// `None` if there is no such device in this namespace.
    pub fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut query = LinkMessage::default();
        query.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let reply = match self.request(RouteNetlinkMessage::GetLink(query), 0) {
            Ok(mut replies) => replies.pop(),
            Err(e) if e.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
            Err(e) => return Err(e),
        };
        match reply {
            Some(RouteNetlinkMessage::NewLink(link)) => Ok(Some(read_link(&link))),
            _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// Both ends down, with addresses of the kernel's choice.
    pub fn veth_add(&mut self, name: &str, peer: &str, mtu: u32, queues: u32) -> io::Result<()> {
        // XDP on one end wants no more queues on the other to send than on this one to receive.
        let queues = [LinkAttribute::NumTxQueues(queues), LinkAttribute::NumRxQueues(queues)];
        let mut other = LinkMessage::default();
        other.attributes = vec![LinkAttribute::IfName(peer.to_owned()), LinkAttribute::Mtu(mtu)];
        other.attributes.extend(queues.clone());
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
            ]),
        ];
        link.attributes.extend(queues);
        self.request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Brings the device up with this MTU, without ARP if `noarp`.
    pub fn link_up(&mut self, index: u32, mtu: u32, noarp: bool) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = LinkFlags::Up | if noarp { LinkFlags::Noarp } else { LinkFlags::empty() };
        link.header.change_mask = LinkFlags::Up | LinkFlags::Noarp;
        link.attributes.push(LinkAttribute::Mtu(mtu));
        self.request(RouteNetlinkMessage::SetLink(link), 0).map(drop)
    }

    /// With a veth goes its other end.
    pub fn link_delete(&mut self, index: u32) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.request(RouteNetlinkMessage::DelLink(link), 0).map(drop)
    }

    /// A route of last resort that discards: what the tunnel does not take goes nowhere, rather than out in clear. `lan`
    /// is the index of the device whose tunnels these are.
    pub fn blackhole_add(&mut self, prefix: IpPrefix, lan: u32) -> io::Result<()> {
        let route = RouteNetlinkMessage::NewRoute(blackhole(prefix, last_resort_metric(lan)));
        self.request(route, NLM_F_CREATE | NLM_F_REPLACE).map(drop)
    }

    pub fn blackhole_delete(&mut self, prefix: IpPrefix, lan: u32) -> io::Result<()> {
        self.discard_delete(prefix, last_resort_metric(lan))
    }

    /// Removes the discarding route with this metric.
    pub fn discard_delete(&mut self, prefix: IpPrefix, metric: u32) -> io::Result<()> {
        self.request(RouteNetlinkMessage::DelRoute(blackhole(prefix, metric)), 0).map(drop)
    }

    /// The prefixes that have such a route, of this process or an earlier one for the same device.
    pub fn blackholes(&mut self, lan: u32) -> io::Result<Vec<IpPrefix>> {
        self.discards(last_resort_metric(lan))
    }

    /// The prefixes that have a discarding route with this metric.
    pub fn discards(&mut self, metric: u32) -> io::Result<Vec<IpPrefix>> {
        let mut prefixes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut query = RouteMessage::default();
            query.header.address_family = family;
            let replies = self.request(RouteNetlinkMessage::GetRoute(query), NLM_F_DUMP)?;
            prefixes.extend(replies.iter().filter_map(|route| read_blackhole(route, metric)));
        }
        Ok(prefixes)
    }

    /// Every address of this host.
    pub fn addresses(&mut self) -> io::Result<Vec<Address>> {
        let query = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        Ok(self.request(query, NLM_F_DUMP)?.iter().filter_map(read_address).collect())
    }

    /// Sends one request and reads until its acknowledgement, or the end of its list; the messages before that.
    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut replies = Vec::new();
        let mut buffer = Vec::with_capacity(REPLY_LEN_MAX);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            let mut rest = &buffer[..];
            while !rest.is_empty() {
                let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
                let one = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(invalid)?;
                let len = (one.header.length as usize).next_multiple_of(4).max(16);
                rest = rest.get(len..).unwrap_or_default();
                if one.header.sequence_number != self.sequence {
                    continue;
                }
                match one.payload {
                    NetlinkPayload::Error(e) => {
                        return match e.code {
                            None => Ok(replies),
                            Some(code) => Err(io::Error::from_raw_os_error(-code.get())),
                        };
                    }
                    NetlinkPayload::Done(_) => return Ok(replies),
                    NetlinkPayload::InnerMessage(m) => replies.push(m),
                    _ => {}
                }
            }
        }
    }
}

/// Says when something about a device has changed.
pub struct LinkEvents(Socket);

/// RTNLGRP_LINK of linux/rtnetlink.h.
const GROUP_LINK: u32 = 1;

impl LinkEvents {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(GROUP_LINK)?;
        Ok(Self(socket))
    }

    /// Forgets the events so far; what has changed is found by looking at the devices.
    pub fn clear(&self) {
        let mut buffer = Vec::with_capacity(REPLY_LEN_MAX);
        // An overflow of the socket (ENOBUFS) is an event, too, and the end of it.
        while self.0.recv(&mut buffer, libc::MSG_DONTWAIT).is_ok() {
            buffer.clear();
        }
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl std::fmt::Debug for LinkEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkEvents")
    }
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Netlink").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

fn read_link(link: &LinkMessage) -> Link {
    let mut out = Link {
        index: link.header.index,
        mtu: 0,
        mac: MacAddr::default(),
        up: link.header.flags.contains(LinkFlags::Up),
        kind: LinkKind::Other,
        carrier: false,
        peer: None,
        program: None,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => out.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                if let Ok(mac) = <[u8; 6]>::try_from(&bytes[..]) {
                    out.mac = MacAddr(mac);
                }
            }
            LinkAttribute::Carrier(carrier) => out.carrier = *carrier != 0,
            LinkAttribute::LinkInfo(info) => {
                let is = |kind| info.contains(&LinkInfo::Kind(kind));
                if is(InfoKind::Veth) {
                    out.kind = LinkKind::Veth;
                } else if is(InfoKind::Tun) {
                    out.kind = LinkKind::Tun;
                }
            }
            LinkAttribute::Link(peer) => out.peer = Some(*peer),
            LinkAttribute::Xdp(xdp) => {
                out.program = xdp.iter().find_map(|x| match x {
                    LinkXdp::ProgId(id) => Some(*id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    out
}

fn read_address(message: &RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let (mut address, mut local) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(a) => address = Some(*a),
            AddressAttribute::Local(a) => local = Some(*a),
            _ => {}
        }
    }
    // The address of a point-to-point device is the other end's.
    let address = address.or(local)?;
    let connected = match IpPrefix::new(address, message.header.prefix_len) {
        Ok(prefix) | Err(PrefixError::HostBits(prefix)) => prefix,
        Err(_) => return None,
    };
    Some(Address { index: message.header.index, local: local.unwrap_or(address), connected })
}

fn read_blackhole(message: &RouteNetlinkMessage, metric: u32) -> Option<IpPrefix> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let ours = route.header.protocol == RouteProtocol::from(ROUTE_PROTOCOL)
        && route.header.kind == RouteType::BlackHole
        && route.header.table == RouteHeader::RT_TABLE_MAIN
        && route.attributes.contains(&RouteAttribute::Priority(metric));
    let destination = route.attributes.iter().find_map(|a| match a {
        RouteAttribute::Destination(RouteAddress::Inet(a)) => Some(IpAddr::from(*a)),
        RouteAttribute::Destination(RouteAddress::Inet6(a)) => Some(IpAddr::from(*a)),
        _ => None,
    });
    // The kernel leaves the destination of a default route out.
    let any =
        if route.header.address_family == AddressFamily::Inet { IpPrefix::ANY_V4 } else { IpPrefix::ANY_V6 };
    let destination = destination.unwrap_or_else(|| any.addr());
    ours.then(|| IpPrefix::new(destination, route.header.destination_prefix_length).ok()).flatten()
}

/// Worse than any route that forwards, better than the default route of a shorter prefix, and another for each gateway
/// on this host: no other gateway has its LAN device.
const fn last_resort_metric(lan: u32) -> u32 {
    u32::MAX - lan
}

fn blackhole(prefix: IpPrefix, metric: u32) -> RouteMessage {
    let (family, destination) = match prefix.addr() {
        IpAddr::V4(a) => (AddressFamily::Inet, RouteAddress::Inet(a)),
        IpAddr::V6(a) => (AddressFamily::Inet6, RouteAddress::Inet6(a)),
    };
    let mut route = RouteMessage::default();
    route.header = RouteHeader {
        address_family: family,
        destination_prefix_length: prefix.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::from(ROUTE_PROTOCOL),
        scope: RouteScope::Universe,
        kind: RouteType::BlackHole,
        ..RouteHeader::default()
    };
    route.attributes = vec![RouteAttribute::Destination(destination), RouteAttribute::Priority(metric)];
    route
}
