//! The sockets of SIP: datagrams, and connections over TCP and TLS, of each family that the profile uses.
//!
//! ```text
//!   udp::SipSocket ─────────────┐
//!   tcp::Listener ─▶ admit ─┐   ├─▶ SipEvent ─▶ runtime
//!   open ───────────────────┴─▶ connection tasks ─┘
//! ```

mod at_address;
mod connection;
mod tcp;
#[cfg(test)]
mod tests;
pub mod tls;
mod udp;

use at_address::Place;
use connection::{Connection, Stream};
use sipsec_session::WanAddresses;
use sipsec_sip::{Flow, FlowId, Transport};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tcp::Listener;
use tls::Tls;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use udp::SipSocket;

/// Messages of connections that may wait for the loop; a connection waits for room.
const QUEUE: usize = 256;
/// Connections that servers may have opened to us.
const ACCEPTED_MAX: usize = 32;

/// Why a socket cannot be bound, in words.
fn explain(error: &std::io::Error, local: SocketAddr) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("{local} is used by another program: stop it, or give sip.port another value")
        }
        std::io::ErrorKind::AddrNotAvailable => format!("{} is not an address of this machine", local.ip()),
        std::io::ErrorKind::PermissionDenied => {
            "not permitted to bind to the device: run as root, or with CAP_NET_RAW".to_owned()
        }
        _ => error.to_string(),
    }
}

/// What happened on a socket.
#[derive(Debug)]
pub enum SipEvent {
    Message {
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// A socket is open from now on (after a failure).
    Opened,
    /// Someone connects; [`SipTransports::admit`] takes it, or it is dropped.
    Connects {
        local: SocketAddr,
        from: SocketAddr,
        stream: TcpStream,
    },
    Closed {
        flow: Flow,
        reason: String,
    },
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SipCounters {
    pub received: u64,
    pub sent: u64,
    /// The kernel had no room, or no route: SIP retransmits.
    pub send_failed: u64,
    pub receive_failed: u64,
    /// Connections opened, accepted, refused, and ended by an error.
    pub opened: u64,
    pub accepted: u64,
    pub refused: u64,
    pub failed: u64,
}

impl std::iter::Sum for SipCounters {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            received: a.received + b.received,
            sent: a.sent + b.sent,
            send_failed: a.send_failed + b.send_failed,
            receive_failed: a.receive_failed + b.receive_failed,
            opened: a.opened + b.opened,
            accepted: a.accepted + b.accepted,
            refused: a.refused + b.refused,
            failed: a.failed + b.failed,
        })
    }
}

/// How SIP is spoken.
#[derive(Clone, Debug)]
pub struct Setup {
    pub device: String,
    pub port: u16,
    pub dscp: u8,
    /// IPv4, IPv6.
    pub families: (bool, bool),
    pub transport: Transport,
    pub tls: Option<Tls>,
    /// RFC 5626 §4.4.1.
    pub keepalive: Option<Duration>,
}

/// The sockets of one address.
#[derive(Debug)]
struct Family {
    udp: Option<SipSocket>,
    listener: Option<Listener>,
}

#[derive(Debug)]
pub struct SipTransports {
    setup: Setup,
    v4: Option<Family>,
    v6: Option<Family>,
    connections: BTreeMap<FlowId, Connection>,
    events: mpsc::Receiver<SipEvent>,
    sender: mpsc::Sender<SipEvent>,
    accepted: u64,
    counters: SipCounters,
}

impl SipTransports {
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        let place = Place { device: setup.device.clone(), port: setup.port, dscp: setup.dscp };
        let family = |used: bool| {
            used.then(|| Family {
                udp: (setup.transport != Transport::Tls).then(|| SipSocket::new(place.clone())),
                // RFC 3261 §18.2.1: who listens on UDP listens on TCP as well. TLS needs a certificate to listen.
                listener: match setup.transport {
                    Transport::Tls => setup.tls.as_ref().is_some_and(Tls::can_accept),
                    Transport::Udp | Transport::Tcp => true,
                }
                .then(|| Listener::new(place.clone())),
            })
        };
        let (v4, v6) = (family(setup.families.0), family(setup.families.1));
        Self {
            v4,
            v6,
            setup,
            connections: BTreeMap::new(),
            events,
            sender,
            accepted: 0,
            counters: SipCounters::default(),
        }
    }

    /// Binds to the WAN's addresses, or closes without. Binding again to the same address keeps sockets and connections.
    pub fn set_addresses(&mut self, wan: WanAddresses) {
        for (family, ip) in [(&mut self.v4, wan.v4), (&mut self.v6, wan.v6)] {
            if let Some(Family { udp, listener }) = family {
                if let Some(udp) = udp {
                    udp.set_address(ip);
                }
                if let Some(listener) = listener {
                    listener.set_address(ip);
                }
            }
        }
        self.connections.retain(|_, c| wan.has(c.local.ip()));
    }

    /// The addresses on which SIP can be spoken.
    #[must_use]
    pub fn usable(&self, wan: WanAddresses) -> WanAddresses {
        let open =
            |family: &Option<Family>| family.as_ref().is_some_and(|f| f.local(self.setup.transport).is_ok());
        // TLS without a listener needs no socket of its own.
        let bare =
            self.setup.transport == Transport::Tls && !self.setup.tls.as_ref().is_some_and(Tls::can_accept);
        WanAddresses {
            v4: wan.v4.filter(|_| bare || open(&self.v4)),
            v6: wan.v6.filter(|_| bare || open(&self.v6)),
        }
    }

    /// Our addresses, or why there is none.
    ///
    /// # Errors
    /// The reason of the first family.
    pub fn local(&self) -> Result<SocketAddr, String> {
        let all = [&self.v4, &self.v6].into_iter().flatten().map(|f| f.local(self.setup.transport));
        let mut reason = Err("no address family is used".to_owned());
        for local in all {
            match local {
                Ok(local) => return Ok(local),
                Err(why) if reason.as_ref().is_err_and(|r| r.starts_with("no address")) => reason = Err(why),
                Err(_) => {}
            }
        }
        reason
    }

    #[must_use]
    pub fn counters(&self) -> SipCounters {
        let mut all = self.counters;
        for udp in [&self.v4, &self.v6].into_iter().flatten().filter_map(|f| f.udp.as_ref()) {
            all.received += udp.counters.received;
            all.sent += udp.counters.sent;
            all.send_failed += udp.counters.send_failed;
            all.receive_failed += udp.counters.receive_failed;
        }
        all
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Waits for what comes next. May be cancelled at any time.
    pub async fn next(&mut self) -> SipEvent {
        let event = tokio::select! {
            event = next_of(&mut self.v4) => event,
            event = next_of(&mut self.v6) => event,
            Some(event) = self.events.recv() => event,
        };
        match &event {
            SipEvent::Message { flow, .. } if flow.transport.is_reliable() => self.counters.received += 1,
            SipEvent::Closed { flow, reason } if self.connections.remove(&flow.id).is_some() => {
                self.counters.failed += 1;
                tracing::info!(remote = %flow.remote, transport = %flow.transport, reason, "SIP connection ended");
            }
            _ => {}
        }
        event
    }

    /// Takes a connection that a server opened; `false` if there are too many.
    pub fn admit(&mut self, local: SocketAddr, from: SocketAddr, stream: TcpStream) -> bool {
        let open = self.connections.keys().filter(|id| id.is_accepted()).count();
        if open >= ACCEPTED_MAX {
            self.refuse();
            return false;
        }
        self.accepted += 1;
        self.counters.accepted += 1;
        let (transport, stream) = match (&self.setup.tls, self.setup.transport) {
            (Some(tls), Transport::Tls) => (Transport::Tls, Stream::Accepted(stream, Some(tls.clone()))),
            _ => (Transport::Tcp, Stream::Accepted(stream, None)),
        };
        let flow = Flow { transport, local, remote: from, id: FlowId::accepted(self.accepted) };
        self.start(flow, stream);
        true
    }

    pub fn refuse(&mut self) {
        self.counters.refused += 1;
    }

    /// Opens a connection; what is sent over it meanwhile waits. `name` is the server's, for its certificate.
    pub fn open(&mut self, flow: Flow, name: Option<String>) {
        self.counters.opened += 1;
        let tls = match (&self.setup.tls, flow.transport) {
            (Some(tls), Transport::Tls) => Some((tls.clone(), name)),
            _ => None,
        };
        let stream = Stream::Opens { device: self.setup.device.clone(), dscp: self.setup.dscp, tls };
        self.start(flow, stream);
    }

    fn start(&mut self, flow: Flow, stream: Stream) {
        let connection = Connection::start(flow, stream, self.setup.keepalive, self.sender.clone());
        self.connections.insert(flow.id, connection);
    }

    /// Sends, or counts that it could not: SIP repeats over UDP, and a connection that takes nothing more is closed.
    pub fn send(&mut self, flow: &Flow, bytes: Vec<u8>) {
        if flow.transport == Transport::Udp {
            let family = if flow.remote.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
            match family.as_mut().and_then(|f| f.udp.as_mut()) {
                Some(udp) => udp.send(flow.remote, &bytes),
                None => self.counters.send_failed += 1,
            }
            return;
        }
        match self.connections.get(&flow.id).map(|c| c.send(bytes)) {
            Some(true) => self.counters.sent += 1,
            // Its end is told by its task, whose queue ends with the handle.
            Some(false) => {
                self.counters.send_failed += 1;
                self.connections.remove(&flow.id);
            }
            None => self.counters.send_failed += 1,
        }
    }
}

impl Family {
    fn local(&self, transport: Transport) -> Result<SocketAddr, String> {
        match (&self.udp, &self.listener) {
            (Some(udp), _) if transport == Transport::Udp => udp.local(),
            (_, Some(listener)) => listener.local(),
            (Some(udp), None) => udp.local(),
            (None, None) => Err("TLS has no certificate with which it could listen".to_owned()),
        }
    }
}

async fn next_of(family: &mut Option<Family>) -> SipEvent {
    let Some(Family { udp, listener }) = family else { return std::future::pending().await };
    let udp = async {
        match udp {
            Some(udp) => udp.next().await,
            None => std::future::pending().await,
        }
    };
    let listener = async {
        match listener {
            Some(listener) => listener.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        event = udp => event,
        event = listener => event,
    }
}

/// A TCP socket of the WAN's device: what it sends may take no other way.
fn stream_socket(device: &str, ip: IpAddr, dscp: u8) -> std::io::Result<socket2::Socket> {
    let domain = if ip.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(device.as_bytes()))?;
    set_dscp(&socket, ip, dscp)?;
    Ok(socket)
}

/// RFC 2474 §3: the DSCP is the upper six bits of the octet.
fn set_dscp(socket: &socket2::Socket, ip: IpAddr, dscp: u8) -> std::io::Result<()> {
    let class = u32::from(dscp) << 2;
    if ip.is_ipv4() { socket.set_tos_v4(class) } else { socket.set_tclass_v6(class) }
}
