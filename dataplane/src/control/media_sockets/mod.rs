//! One kernel UDP socket for each live media port, for ICMP errors that quote a packet between the port and its peer
//! (`IP_RECVERR`): they tell the path's MTU. And while the socket is open, the kernel answers a stray packet for the port with no
//! "port unreachable".
//!
//! Datagrams do not come this way: XDP takes those of the peer, whole and in fragments, before the kernel sees them. What the
//! kernel has all the same is read and dropped.

mod sys;

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
pub enum FromKernel {
    /// It was dropped.
    Datagram,
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

    /// A port whose socket cannot be had is a port all the same: it only gets no ICMP.
    pub fn open(&mut self, local: SocketAddr) {
        let port = MediaPort(local.port());
        match self.try_open(local) {
            Ok(socket) => drop(self.sockets.insert(port, socket)),
            Err(error) => {
                debug!(%local, %error, "no socket for ICMP errors of this media port")
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
            taken += take_errors(socket, port, &mut each) + drop_datagrams(socket, &mut each);
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

fn drop_datagrams(socket: &UdpSocket, each: &mut impl FnMut(FromKernel)) -> usize {
    for taken in 0..MESSAGES_MAX {
        match socket.recv(&mut [0]) {
            Ok(_) => each(FromKernel::Datagram),
            // A pending error is reported by the next call, once; the queue has had it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return taken,
            Err(_) => {}
        }
    }
    MESSAGES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_dropped_and_a_closed_port_is_free() {
        let mut sockets = MediaSockets::new().expect("epoll");
        for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let probe = UdpSocket::bind(loopback).expect("a free port");
            let local = probe.local_addr().expect("bound");
            drop(probe);
            sockets.open(local);
            let peer = UdpSocket::bind(loopback).expect("bound");
            peer.send_to(&[1; 1400], local).expect("sent");
            let mut got = Vec::new();
            while got.is_empty() {
                sockets.take(|message| got.push(message));
            }
            assert!(matches!(got[..], [FromKernel::Datagram]), "{got:?}");
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
