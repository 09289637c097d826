//! The listener for connections that servers open to us.

use super::{SipEvent, explain, stream_socket};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

const RETRY: Duration = Duration::from_secs(1);
const BACKLOG: i32 = 16;

#[derive(Debug)]
pub struct Listener {
    device: String,
    port: u16,
    state: State,
    warned: bool,
}

#[derive(Debug)]
enum State {
    NoAddress,
    Failed { ip: IpAddr, reason: String, retry_at: Instant },
    Open { listener: TcpListener, local: SocketAddr },
}

impl Listener {
    pub fn new(device: &str, port: u16) -> Self {
        Self { device: device.to_owned(), port, state: State::NoAddress, warned: false }
    }

    pub fn set_address(&mut self, ip: Option<IpAddr>) {
        match (ip, &self.state) {
            (Some(ip), State::Open { local, .. }) if local.ip() == ip => {}
            (Some(ip), _) => self.open(ip),
            (None, _) => self.state = State::NoAddress,
        }
    }

    fn open(&mut self, ip: IpAddr) {
        self.state = State::NoAddress;
        let local = SocketAddr::new(ip, self.port);
        self.state = match listen(local, &self.device) {
            Ok(listener) => {
                self.warned = false;
                State::Open { listener, local }
            }
            Err(error) => {
                let reason = explain(&error, local);
                if !std::mem::replace(&mut self.warned, true) {
                    tracing::warn!(%local, reason, "SIP cannot listen on TCP");
                }
                State::Failed { ip, reason, retry_at: Instant::now() + RETRY }
            }
        };
    }

    pub fn local(&self) -> Result<SocketAddr, String> {
        match &self.state {
            State::NoAddress => Err("the WAN has no address".to_owned()),
            State::Failed { reason, .. } => Err(reason.clone()),
            State::Open { local, .. } => Ok(*local),
        }
    }

    /// Where it listens, also if the kernel chose the port.
    #[cfg(test)]
    pub fn bound(&self) -> Option<SocketAddr> {
        match &self.state {
            State::Open { listener, .. } => listener.local_addr().ok(),
            _ => None,
        }
    }

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
                State::Open { listener, local } => match listener.accept().await {
                    Ok((stream, from)) => return SipEvent::Connects { local: *local, from, stream },
                    // The peer was gone again, or there are no descriptors left; the latter must not spin.
                    Err(error) => {
                        tracing::debug!(%error, "SIP listener");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
    }
}

fn listen(local: SocketAddr, device: &str) -> io::Result<TcpListener> {
    let socket = stream_socket(device, local.ip())?;
    // Connections of a former process may still be in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(std::net::TcpListener::from(socket))
}
