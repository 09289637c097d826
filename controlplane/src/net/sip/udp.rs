//! The socket for datagrams. It exists while the WAN has an address, and moves with it.

use super::{SipEvent, explain};
use sipsec_sip::Flow;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

/// A UDP datagram is no longer.
const DATAGRAM_MAX: usize = 65_535;
/// A burst of a thousand INVITEs must find room while the loop is busy.
const RECV_BUFFER: usize = 4 << 20;
const RETRY: Duration = Duration::from_secs(1);
/// The same reason is logged this often.
const REPEAT: Duration = Duration::from_secs(300);

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
    device: String,
    port: u16,
    dscp: u8,
    state: State,
    buffer: Vec<u8>,
    /// The last warning, and when it was logged.
    warned: Option<(String, Instant)>,
    pub counters: UdpCounters,
}

#[derive(Debug)]
enum State {
    NoAddress,
    Failed {
        ip: IpAddr,
        reason: String,
        retry_at: Instant,
    },
    Open {
        socket: UdpSocket,
        /// The same socket: tokio's believes that it is not writable until its first event, and would lose what is sent
        /// before.
        sender: std::net::UdpSocket,
        local: SocketAddr,
    },
}

impl SipSocket {
    #[must_use]
    pub fn new(device: &str, port: u16, dscp: u8) -> Self {
        let buffer = vec![0; DATAGRAM_MAX];
        Self {
            device: device.to_owned(),
            port,
            dscp,
            state: State::NoAddress,
            buffer,
            warned: None,
            counters: UdpCounters::default(),
        }
    }

    /// Binds to the WAN's address, or closes without one. Binding again to the same address keeps the socket.
    pub fn set_address(&mut self, ip: Option<IpAddr>) {
        match (ip, &self.state) {
            (Some(ip), State::Open { local, .. }) if local.ip() == ip => {}
            (Some(ip), _) => self.open(ip),
            (None, _) => self.state = State::NoAddress,
        }
    }

    fn open(&mut self, ip: IpAddr) {
        // The former socket must be gone before its port can be taken again.
        self.state = State::NoAddress;
        let local = SocketAddr::new(ip, self.port);
        self.state = match bind(local, &self.device, self.dscp) {
            Ok((socket, sender)) => {
                tracing::info!(%local, device = self.device, "SIP socket is open");
                self.warned = None;
                State::Open { socket, sender, local }
            }
            Err(error) => {
                let reason = explain(&error, local);
                let now = Instant::now();
                let repeated = self.warned.as_ref().is_some_and(|(before, at)| {
                    *before == reason && now.saturating_duration_since(*at) < REPEAT
                });
                if !repeated {
                    tracing::warn!(%local, reason, "SIP socket cannot be opened");
                    self.warned = Some((reason.clone(), now));
                }
                State::Failed { ip, reason, retry_at: Instant::now() + RETRY }
            }
        };
    }

    /// The address, or why there is none.
    pub fn local(&self) -> Result<SocketAddr, String> {
        match &self.state {
            State::NoAddress => Err("the WAN has no address".to_owned()),
            State::Failed { reason, .. } => Err(reason.clone()),
            State::Open { local, .. } => Ok(*local),
        }
    }

    /// Waits for what comes next. May be cancelled at any time.
    pub async fn next(&mut self) -> SipEvent {
        loop {
            match &self.state {
                State::NoAddress => std::future::pending::<()>().await,
                State::Failed { ip, retry_at, .. } => {
                    let ip = *ip;
                    sleep_until(*retry_at).await;
                    self.open(ip);
                    if self.local().is_ok() {
                        return SipEvent::Opened;
                    }
                }
                State::Open { socket, local, .. } => match socket.recv_from(&mut self.buffer).await {
                    Ok((len, from)) => {
                        self.counters.received += 1;
                        let flow = Flow::udp(*local, from);
                        return SipEvent::Message { flow, bytes: self.buffer[..len].to_vec() };
                    }
                    // An ICMP error about something sent earlier; the transaction's timer decides.
                    Err(error) => {
                        self.counters.receive_failed += 1;
                        tracing::debug!(%error, "SIP socket");
                        tokio::task::yield_now().await;
                    }
                },
            }
        }
    }

    /// Sends, or counts that it could not: SIP retransmits.
    pub fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        let sent = match &self.state {
            State::Open { sender, .. } => sender.send_to(bytes, to).map(|_| ()),
            State::NoAddress | State::Failed { .. } => Err(io::ErrorKind::NotConnected.into()),
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

fn bind(local: SocketAddr, device: &str, dscp: u8) -> io::Result<(UdpSocket, std::net::UdpSocket)> {
    let domain = if local.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Only the carrier's side may reach it, and what it sends may take no other way.
    socket.bind_device(Some(device.as_bytes()))?;
    // A smaller buffer than asked for is no reason to be without SIP.
    let _ = socket.set_recv_buffer_size(RECV_BUFFER);
    // RFC 2474 §3: the DSCP is the upper six bits of the octet.
    let class = u32::from(dscp) << 2;
    if local.is_ipv4() {
        socket.set_tos_v4(class)?
    } else {
        socket.set_tclass_v6(class)?
    };
    socket.bind(&SockAddr::from(local))?;
    let socket = std::net::UdpSocket::from(socket);
    let sender = socket.try_clone()?;
    Ok((UdpSocket::from_std(socket)?, sender))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_comes_and_goes_with_the_address_and_says_why() {
        let mut a = SipSocket::new("lo", 0, 46);
        assert!(a.local().is_err());
        a.set_address(Some("127.0.0.1".parse().expect("address")));
        let bound = match &a.state {
            State::Open { socket, .. } => socket.local_addr().expect("bound"),
            other => panic!("not open: {other:?}"),
        };
        let mut b = SipSocket::new("lo", bound.port(), 0);
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
