//! The listener for connections that servers open to us.

use super::at_address::{AtAddress, Place};
use super::{SipEvent, stream_socket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;

const BACKLOG: i32 = 16;
/// After a connection that cannot be taken: without descriptors left the loop must not spin.
const REST: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub struct Listener(AtAddress<TcpListener>);

impl Listener {
    pub fn new(place: Place) -> Self {
        Self(AtAddress::new("SIP listener", place, listen))
    }

    pub fn set_address(&mut self, ip: Option<IpAddr>) {
        self.0.set_address(ip);
    }

    pub fn local(&self) -> Result<SocketAddr, String> {
        self.0.local()
    }

    /// Where it listens, also if the kernel chose the port.
    #[cfg(test)]
    pub fn bound(&self) -> Option<SocketAddr> {
        self.0.socket().and_then(|(listener, _)| listener.local_addr().ok())
    }

    pub async fn next(&mut self) -> SipEvent {
        loop {
            if self.0.ready().await {
                return SipEvent::Opened;
            }
            let Some((listener, local)) = self.0.socket() else { continue };
            match listener.accept().await {
                Ok((stream, from)) => return SipEvent::Connects { local, from, stream },
                // The peer was gone again, or there are no descriptors left.
                Err(error) => {
                    tracing::debug!(%error, "SIP listener");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

fn listen(local: SocketAddr, place: &Place) -> io::Result<TcpListener> {
    // What it accepts is marked as it is.
    let socket = stream_socket(&place.device, local.ip(), place.dscp)?;
    // Connections of a former process may still be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(std::net::TcpListener::from(socket))
}
