//! A socket that exists while the WAN has an address, and moves with it.

use super::explain;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const RETRY: Duration = Duration::from_secs(1);
/// The same reason is logged this often.
const REPEAT: Duration = Duration::from_secs(300);

/// Where the sockets of one kind are bound, and how they mark what they send.
#[derive(Clone, Debug)]
pub struct Place {
    pub device: String,
    pub port: u16,
    pub dscp: u8,
}

#[derive(Debug)]
pub struct AtAddress<S> {
    /// What it is, for the log.
    what: &'static str,
    place: Place,
    bind: fn(SocketAddr, &Place) -> io::Result<S>,
    state: State<S>,
    /// The last warning, and when it was logged.
    warned: Option<(String, Instant)>,
}

#[derive(Debug)]
enum State<S> {
    NoAddress,
    Failed { ip: IpAddr, reason: String, retry_at: Instant },
    Open { socket: S, local: SocketAddr },
}

impl<S> AtAddress<S> {
    pub fn new(what: &'static str, place: Place, bind: fn(SocketAddr, &Place) -> io::Result<S>) -> Self {
        Self { what, place, bind, state: State::NoAddress, warned: None }
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
        let Place { device, port, .. } = &self.place;
        let local = SocketAddr::new(ip, *port);
        self.state = match (self.bind)(local, &self.place) {
            Ok(socket) => {
                tracing::info!(%local, device, "{} is open", self.what);
                self.warned = None;
                State::Open { socket, local }
            }
            Err(error) => {
                let reason = explain(&error, local);
                let now = Instant::now();
                let repeated = self.warned.as_ref().is_some_and(|(before, at)| {
                    *before == reason && now.saturating_duration_since(*at) < REPEAT
                });
                if !repeated {
                    tracing::warn!(%local, reason, "{} cannot be opened", self.what);
                    self.warned = Some((reason.clone(), now));
                }
                State::Failed { ip, reason, retry_at: now + RETRY }
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

    pub const fn socket(&self) -> Option<(&S, SocketAddr)> {
        match &self.state {
            State::Open { socket, local } => Some((socket, *local)),
            State::NoAddress | State::Failed { .. } => None,
        }
    }

    /// Waits until the socket is open, and retries meanwhile; `true` if it was not open before. May be cancelled at any
    /// time.
    pub async fn ready(&mut self) -> bool {
        loop {
            match &self.state {
                State::NoAddress => std::future::pending::<()>().await,
                State::Open { .. } => return false,
                State::Failed { ip, retry_at, .. } => {
                    let ip = *ip;
                    sleep_until(*retry_at).await;
                    self.open(ip);
                    if self.local().is_ok() {
                        return true;
                    }
                }
            }
        }
    }
}
