//! Sockets of BFD over a single hop (RFC 5881): port 3784, TTL 255 both ways, a source port of its own for each session.

use super::socket::Exit;
use super::sys::set_min_ttl;
use sipsec_track::Input;
use sipsec_track::view::ReturnCode;
use socket2::{Protocol, SockRef, Socket, Type};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// RFC 5881 §4.
const PORT: u16 = 3784;
const SOURCE_FIRST: u16 = 49_152;
/// RFC 5881 §5: GTSM (RFC 5082).
const TTL: u8 = 255;
/// CS6, as routing protocols have it.
const TOS: u32 = 0xc0;
const SOURCE_TRIES: u32 = 64;
/// A control packet with the longest authentication is shorter.
const DATAGRAM_MAX: usize = 256;

#[derive(Debug)]
pub struct Bfd {
    senders: HashMap<u32, Socket>,
    /// Of the families in use, once they were.
    listening: [bool; 2],
    readers: JoinSet<()>,
    results: mpsc::Sender<Input>,
}

impl Bfd {
    pub fn new(results: mpsc::Sender<Input>) -> Self {
        Self { senders: HashMap::new(), listening: [false; 2], readers: JoinSet::new(), results }
    }

    /// Takes packets of this family from now on.
    pub fn listen(&mut self, v6: bool) {
        if self.listening[usize::from(v6)] {
            return;
        }
        match listen(v6) {
            Ok(socket) => {
                self.listening[usize::from(v6)] = true;
                self.readers.spawn(read(socket, self.results.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, v6, "no BFD: UDP port {PORT} is not available; sessions stay down");
            }
        }
    }

    /// Closes the sockets of sessions that this says no of.
    pub fn keep(&mut self, keep: impl Fn(&u32) -> bool) {
        self.senders.retain(|operation, _| keep(operation));
    }

    pub fn send(
        &mut self,
        operation: u32,
        exit: &Exit,
        target: IpAddr,
        bytes: &[u8],
    ) -> Result<(), ReturnCode> {
        let socket = match self.senders.entry(operation) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(place) => {
                place.insert(sender(exit).map_err(|error| super::socket::meaning(&error))?)
            }
        };
        if let Err(error) = socket.send_to(bytes, &SocketAddr::new(target, PORT).into()) {
            // Source or device may have been made anew.
            self.senders.remove(&operation);
            return Err(super::socket::meaning(&error));
        }
        Ok(())
    }
}

fn any(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}

fn listen(v6: bool) -> io::Result<UdpSocket> {
    let socket = Exit { v6, source: None, device: None }.socket(Type::DGRAM, Protocol::UDP)?;
    if v6 {
        socket.set_only_v6(true)?;
    }
    set_min_ttl(socket.as_fd(), v6, TTL)?;
    socket.bind(&SocketAddr::new(any(v6), PORT).into())?;
    UdpSocket::from_std(socket.into())
}

/// RFC 5881 §4: a source port of 49152 to 65535, the same for all packets of a session and unique on this system.
fn sender(exit: &Exit) -> io::Result<Socket> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..SOURCE_TRIES {
        let unbound = Exit { source: None, ..exit.clone() };
        let socket = unbound.socket(Type::DGRAM, Protocol::UDP)?;
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
        let port = SOURCE_FIRST | u16::from_be_bytes(random);
        match socket.bind(&SocketAddr::new(exit.source.unwrap_or(any(exit.v6)), port).into()) {
            Ok(()) => {
                let options = SockRef::from(&socket);
                if exit.v6 {
                    options.set_unicast_hops_v6(TTL.into())?;
                    options.set_tclass_v6(TOS)?;
                } else {
                    options.set_ttl_v4(TTL.into())?;
                    options.set_tos_v4(TOS)?;
                }
                return Ok(socket);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn read(socket: UdpSocket, results: mpsc::Sender<Input>) {
    let mut buffer = [0; DATAGRAM_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, from)) => {
                let bytes = buffer.get(..len).unwrap_or_default().to_vec();
                if results.send(Input::Bfd { from: from.ip(), bytes }).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "BFD socket"),
        }
    }
}
