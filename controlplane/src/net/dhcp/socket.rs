//! The sockets of the two clients.

use super::sys;
use sipsec_net::MacAddr;
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;

/// Largest frame that is read: an Ethernet frame with some room for tags.
const FRAME_MAX: usize = 2048;

/// Classic BPF: ARP, and IPv4 UDP to port 68 that is no later fragment. Everything else on the line is not copied.
const FILTER: [(u16, u8, u8, u32); 12] = [
    (0x28, 0, 0, 12),     // ldh [12]: EtherType
    (0x15, 8, 0, 0x0806), // ARP: accept
    (0x15, 0, 8, 0x0800), // not IPv4: drop
    (0x30, 0, 0, 23),     // ldb [23]: protocol
    (0x15, 0, 6, 17),     // not UDP: drop
    (0x28, 0, 0, 20),     // ldh [20]: fragment
    (0x45, 4, 0, 0x1fff), // later fragment: drop
    (0xb1, 0, 0, 14),     // ldxb 4 * ([14] & 15): header length
    (0x48, 0, 0, 16),     // ldh [x + 16]: destination port
    (0x15, 0, 1, 68),     // not 68: drop
    (0x06, 0, 0, 0xffff), // accept
    (0x06, 0, 0, 0),      // drop
];

/// Raw frames of one interface.
#[derive(Debug)]
pub struct PacketSocket {
    fd: AsyncFd<Socket>,
}

impl PacketSocket {
    /// # Errors
    /// Without CAP_NET_RAW, or if the interface has gone.
    #[expect(
        deprecated,
        reason = "AsyncFd::new is unsound for types that change their descriptor; Socket never does"
    )]
    pub fn open(interface: u32) -> io::Result<Self> {
        // Protocol 0 receives nothing until the filter is in place and the socket is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.attach_filter(&FILTER.map(|(code, jt, jf, k)| SockFilter::new(code, jt, jf, k)))?;
        socket.set_nonblocking(true)?;
        sys::bind_packet(socket.as_fd(), interface)?;
        Ok(Self { fd: AsyncFd::with_interest(socket, Interest::READABLE)? })
    }

    /// Sends a frame. A full queue loses it, as the line may.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        rustix::io::write(self.fd.get_ref(), frame)?;
        Ok(())
    }

    /// The next frame. May be cancelled at any time.
    pub async fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut ready = self.fd.readable().await?;
            buffer.resize(FRAME_MAX, 0);
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut buffer[..])?)) {
                Ok(Ok(len)) => {
                    buffer.truncate(len);
                    return Ok(());
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
    }
}

/// For renewals, which go to the server by the kernel's routes. It also keeps the kernel from answering the server with
/// "port unreachable". What it receives is read from the packet socket instead.
pub fn renewal_socket(device: &str) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(device.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68)))?;
    Ok(socket.into())
}

/// DHCPv6: port 546 of the interface's link-local address.
pub fn v6_socket(device: &str, interface: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    socket.bind_device(Some(device.as_bytes()))?;
    socket.set_multicast_if_v6(interface)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 546, 0, 0)))?;
    UdpSocket::from_std(socket.into())
}

/// All_DHCP_Relay_Agents_and_Servers (RFC 8415 §7.1).
#[must_use]
pub fn v6_servers(interface: u32) -> SocketAddrV6 {
    SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2), 547, 0, interface)
}

/// What an interface is called, numbered and addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub index: u32,
    pub mac: MacAddr,
}
