//! The socket for datagrams.

use super::at_address::{AtAddress, Place};
use super::{SipEvent, set_dscp};
use sipsec_sip::Flow;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::UdpSocket;

/// A UDP datagram is no longer.
const DATAGRAM_MAX: usize = 65_535;
/// A burst of a thousand INVITEs must find room while the loop is busy.
const RECV_BUFFER: usize = 4 << 20;

#[derive(Clone, Copy, Debug, Default)]
pub struct UdpCounters {
    pub received: u64,
    pub sent: u64,
    /// The kernel had no room, or no route: SIP retransmits.
    pub send_failed: u64,
    pub receive_failed: u64,
}

#[derive(Debug)]
pub struct SipSocket {
    at: AtAddress<Ends>,
    buffer: Vec<u8>,
    pub counters: UdpCounters,
}

#[derive(Debug)]
struct Ends {
    receiver: UdpSocket,
    /// The same socket: tokio's believes that it is not writable until its first event, and would lose what is sent before.
    sender: std::net::UdpSocket,
}

impl SipSocket {
    #[must_use]
    pub fn new(place: Place) -> Self {
        let at = AtAddress::new("SIP socket", place, bind);
        Self { at, buffer: vec![0; DATAGRAM_MAX], counters: UdpCounters::default() }
    }

    pub fn set_address(&mut self, ip: Option<IpAddr>) {
        self.at.set_address(ip);
    }

    /// The address, or why there is none.
    pub fn local(&self) -> Result<SocketAddr, String> {
        self.at.local()
    }

    /// Waits for what comes next. May be cancelled at any time.
    pub async fn next(&mut self) -> SipEvent {
        loop {
            if self.at.ready().await {
                return SipEvent::Opened;
            }
            let Some((ends, local)) = self.at.socket() else { continue };
            match ends.receiver.recv_from(&mut self.buffer).await {
                Ok((len, from)) => {
                    self.counters.received += 1;
                    let flow = Flow::udp(local, from);
                    return SipEvent::Message { flow, bytes: self.buffer[..len].to_vec() };
                }
                // An ICMP error about something sent earlier; the transaction's timer decides.
                Err(error) => {
                    self.counters.receive_failed += 1;
                    tracing::debug!(%error, "SIP socket");
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Sends, or counts that it could not: SIP retransmits.
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        let sent = match self.at.socket() {
            Some((ends, _)) => ends.sender.send_to(bytes, to).map(|_| ()),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match sent {
            Ok(()) => self.counters.sent += 1,
            Err(error) => {
                self.counters.send_failed += 1;
                tracing::debug!(%to, %error, "a SIP message could not be sent");
            }
        }
    }
}

fn bind(local: SocketAddr, place: &Place) -> io::Result<Ends> {
    let domain = if local.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Only the carrier's side may reach it, and what it sends may take no other way.
    socket.bind_device(Some(place.device.as_bytes()))?;
    // A smaller buffer than asked for is no reason to be without SIP.
    let _ = socket.set_recv_buffer_size(RECV_BUFFER);
    set_dscp(&socket, local.ip(), place.dscp)?;
    socket.bind(&SockAddr::from(local))?;
    let socket = std::net::UdpSocket::from(socket);
    let sender = socket.try_clone()?;
    Ok(Ends { receiver: UdpSocket::from_std(socket)?, sender })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_comes_and_goes_with_the_address_and_says_why() {
        let on_lo = |port, dscp| SipSocket::new(Place { device: "lo".into(), port, dscp });
        let mut a = on_lo(0, 46);
        assert!(a.local().is_err());
        a.set_address(Some("127.0.0.1".parse().expect("address")));
        let bound = a.at.socket().map(|(ends, _)| ends.sender.local_addr().expect("bound")).expect("open");
        let mut b = on_lo(bound.port(), 0);
        b.set_address(Some(bound.ip()));
        assert!(b.local().is_err_and(|why| why.contains("another program")));

        let peer = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        peer.send_to(b"hello", bound).await.expect("sent");
        let SipEvent::Message { flow, bytes } = a.next().await else { panic!("a datagram") };
        let from = flow.remote;
        assert_eq!((from, &*bytes), (peer.local_addr().expect("bound"), b"hello".as_slice()));
        a.send(from, b"answer");
        let mut buffer = [0; 16];
        assert_eq!(peer.recv(&mut buffer).await.expect("received"), 6);

        a.set_address(None);
        a.send(from, b"lost");
        assert_eq!((a.counters.sent, a.counters.send_failed), (1, 1));
        // The port is free: the one that waited gets it.
        let SipEvent::Opened = b.next().await else { panic!("opened") };
        assert_eq!(b.local(), Ok(bound));
    }
}
