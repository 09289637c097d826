//! What rtnetlink says of a device to which a program is to be attached.

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use std::io;
use std::time::Duration;

/// The kernel answers within the call that asks; a lost answer must not hold up the start.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A link with all its statistics is about 2 KiB.
const REPLY_LEN_MAX: usize = 32 * 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub name: String,
    /// The other end, if it is a veth.
    pub peer: Option<VethPeer>,
    /// The XDP program that is attached.
    pub program: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VethPeer {
    /// Its index in this network namespace.
    Here(u32),
    OtherNamespace,
}

impl Link {
    pub(crate) fn find(index: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WITHIN))?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let mut query = LinkMessage::default();
        query.header.index = index;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST;
        let mut request =
            NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetLink(query)));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        socket.send(&bytes, 0)?;
        let mut reply = Vec::with_capacity(REPLY_LEN_MAX);
        socket.recv(&mut reply, 0)?;
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply).map_err(invalid)?.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(Self::read(&link)),
            NetlinkPayload::Error(e) => Err(e.to_io()),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn read(message: &LinkMessage) -> Self {
        let mut out = Self::default();
        let (mut veth, mut peer, mut elsewhere) = (false, None, false);
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => out.name.clone_from(name),
                LinkAttribute::LinkInfo(info) => veth = info.contains(&LinkInfo::Kind(InfoKind::Veth)),
                LinkAttribute::Link(index) => peer = Some(*index),
                LinkAttribute::LinkNetNsId(_) => elsewhere = true,
                LinkAttribute::Xdp(xdp) => {
                    out.program = xdp.iter().find_map(|x| match x {
                        LinkXdp::ProgId(id) => Some(*id),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        out.peer = peer
            .filter(|_| veth)
            .map(|index| if elsewhere { VethPeer::OtherNamespace } else { VethPeer::Here(index) });
        out
    }
}
