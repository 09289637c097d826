//! One kernel UDP socket for each live media port. The XDP program takes what is whole before it comes here; what arrives is
//! what only the kernel can make use of:
//!
//! - **outer fragments**: Linux and IOS fragment ESP after encryption. The kernel puts them together, bounded in bytes, time
//!   and distance (net.ipv4.ipfrag_*), and drops overlaps (RFC 5722); the whole datagram goes to the worker.
//! - **ICMP errors** that quote a packet between the port and its peer (`IP_RECVERR`): the path's MTU.
//!
//! And while the socket is open, the kernel answers a stray packet for the port with no "port unreachable".

mod sys;

use super::worker_link::{DATAGRAM_MAX, Datagram};
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use sipsec_net::MediaPort;
use sipsec_pipeline::PathMtu;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tracing::debug;

/// Sockets looked at in one turn, and messages of each.
const READY_MAX: usize = 32;
const MESSAGES_MAX: usize = 16;

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "handed on at once, never kept")]
pub enum FromKernel {
    Datagram(Datagram),
    /// One that fits no frame.
    TooLong,
    PathMtu(PathMtu),
}

#[derive(Debug)]
pub struct MediaSockets {
    epoll: OwnedFd,
    sockets: HashMap<MediaPort, UdpSocket>,
}

impl MediaSockets {
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, sockets: HashMap::new() })
    }

    /// A port whose socket cannot be had is a port all the same: it only gets no fragments and no ICMP.
    pub fn open(&mut self, local: SocketAddr) {
        let port = MediaPort(local.port());
        match self.try_open(local) {
            Ok(socket) => drop(self.sockets.insert(port, socket)),
            Err(error) => {
                debug!(%local, %error, "no socket for fragments and ICMP errors of this media port")
            }
        }
    }

    fn try_open(&self, local: SocketAddr) -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        sys::ask_for_errors(&socket, local.is_ipv6())?;
        let data = EventData::new_u64(local.port().into());
        epoll::add(&self.epoll, &socket, data, EventFlags::IN)?;
        Ok(socket)
    }

    /// Closing a socket takes it out of the epoll set.
    pub fn close(&mut self, port: MediaPort) {
        self.sockets.remove(&port);
    }

    /// Takes what has arrived, as far as one turn allows; how much.
    pub fn take(&self, mut each: impl FnMut(FromKernel)) -> usize {
        if self.sockets.is_empty() {
            return 0;
        }
        let mut ready =
            [const { epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) } }; READY_MAX];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let Ok(count) = epoll::wait(&self.epoll, &mut ready[..], Some(&at_once)) else { return 0 };
        let mut taken = 0;
        for event in &ready[..count] {
            let port = MediaPort(event.data.u64() as u16); // what was put in
            let Some(socket) = self.sockets.get(&port) else { continue };
            taken += take_errors(socket, port, &mut each) + take_datagrams(socket, port, &mut each);
        }
        taken
    }
}

impl AsFd for MediaSockets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

fn take_errors(socket: &UdpSocket, port: MediaPort, each: &mut impl FnMut(FromKernel)) -> usize {
    let mut quoted = [0; 64];
    for taken in 0..MESSAGES_MAX {
        let Ok(error) = sys::receive_error(socket, &mut quoted) else { return taken };
        if let Some((remote, mtu)) = error.too_big {
            // The quoted UDP payload: an SPI, or the marker of IKE.
            let spi =
                quoted[..error.len].first_chunk().map(|b| u32::from_be_bytes(*b)).filter(|spi| *spi != 0);
            each(FromKernel::PathMtu(PathMtu { media_port: port, remote, mtu, spi }));
        }
    }
    MESSAGES_MAX
}

fn take_datagrams(socket: &UdpSocket, port: MediaPort, each: &mut impl FnMut(FromKernel)) -> usize {
    let mut bytes = [0; DATAGRAM_MAX];
    for taken in 0..MESSAGES_MAX {
        match sys::receive(socket, &mut bytes) {
            Ok(got) => {
                each(FromKernel::Datagram(Datagram::new(port, got.from, got.class, &bytes[..got.len])));
            }
            // A pending error is reported by the next call, once; the queue has had it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return taken,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => each(FromKernel::TooLong),
            Err(_) => {}
        }
    }
    MESSAGES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_with_its_sender_and_class_and_a_closed_port_is_free() {
        let mut sockets = MediaSockets::new().expect("epoll");
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let probe = UdpSocket::bind(loopback).expect("a free port");
            let local = probe.local_addr().expect("bound");
            drop(probe);
            sockets.open(local);
            let peer = UdpSocket::bind(loopback).expect("bound");
            rustix::net::sockopt::set_ip_tos(&peer, 0x03).ok();
            peer.send_to(&[1, 2, 3, 4, 5], local).expect("sent");
            let mut got = Vec::new();
            while got.is_empty() {
                sockets.take(|message| got.push(message));
            }
            let FromKernel::Datagram(datagram) = &got[0] else { panic!("{got:?}") };
            assert_eq!(datagram.media_port, MediaPort(local.port()));
            assert_eq!(
                (datagram.from, datagram.payload()),
                (peer.local_addr().expect("bound"), &[1, 2, 3, 4, 5][..])
            );
            if local.is_ipv4() {
                assert_eq!(datagram.class & 3, 3, "ECN, for RFC 6040");
            }
            sockets.close(MediaPort(local.port()));
            UdpSocket::bind(local).expect("free again");
        }
    }

    #[test]
    fn a_port_that_another_process_has_is_no_failure() {
        let taken = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let mut sockets = MediaSockets::new().expect("epoll");
        sockets.open(taken.local_addr().expect("bound"));
        assert_eq!(sockets.take(|message| panic!("{message:?}")), 0);
    }
}
