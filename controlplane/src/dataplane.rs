//! The dataplane's socket, ring and counters. The only file of this process that knows them.

mod view;

use sipsec_abi::{ControlSide, HandshakeError, RecvError, SendError};
use sipsec_net::dp::{Event, Op, TunnelActivity};
use sipsec_net::qos::QosActivity;
use sipsec_net::{Instant, MediaPort, TunnelId, TxnId};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

const SOFTWARE: &str = concat!("sipsec-controlplane ", env!("CARGO_PKG_VERSION"));
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Transactions that wait for room on the ring. A dataplane that is that far behind is dead or stuck.
const WAITING_MAX: usize = 4096;
/// When the ring is full, how soon it is tried again.
const RING_RETRY: Duration = Duration::from_millis(1);

/// What the loop hears.
#[derive(Debug)]
pub enum LinkEvent {
    Up,
    Down,
    /// There is something to take, see [`DataplaneLink::take`], or room to send.
    Ready,
}

/// Something taken from the dataplane.
#[derive(Debug)]
pub enum Received {
    Event(Event),
    Ike { media_port: MediaPort, from: SocketAddr, bytes: Vec<u8> },
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LinkCounters {
    pub connections: u64,
    pub transactions: u64,
    /// Slots of the dataplane that meant nothing.
    pub malformed: u64,
    /// IKE messages that found no room or no media port.
    pub ike_lost: u64,
    /// Transactions that were lost with a connection; the snapshot shows what is missing.
    pub transactions_lost: u64,
}

#[derive(Debug)]
pub struct DataplaneLink {
    path: PathBuf,
    state: State,
    reason: String,
    retry: Duration,
    /// In order; sent when the ring has room.
    waiting: VecDeque<Waiting>,
    /// Where the IKE of each open media port goes.
    remotes: HashMap<MediaPort, SocketAddr>,
    /// A connection was ended here, and the loop has not heard of it.
    lost: bool,
    pub counters: LinkCounters,
}

#[derive(Debug)]
enum Waiting {
    Transaction { txn: TxnId, ops: Vec<Op>, more: bool },
    Snapshot,
}

#[derive(Debug)]
enum State {
    Idle { until: tokio::time::Instant },
    Connecting(JoinHandle<Result<ControlSide, HandshakeError>>),
    Up(Box<Connected>),
}

#[derive(Debug)]
struct Connected {
    side: ControlSide,
    doorbell: AsyncFd<OwnedFd>,
    hangup: AsyncFd<OwnedFd>,
}

impl Connected {
    fn new(side: ControlSide) -> std::io::Result<Self> {
        let doorbell = watch(side.doorbell.try_clone_fd()?)?;
        let hangup = watch(side.connection.as_fd().try_clone_to_owned()?)?;
        Ok(Self { side, doorbell, hangup })
    }
}

#[expect(
    deprecated,
    reason = "unsound for types that change their descriptor; OwnedFd never does, and this crate has no unsafe"
)]
fn watch(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

impl DataplaneLink {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            state: State::Idle { until: tokio::time::Instant::now() },
            reason: "connecting".to_owned(),
            retry: RETRY_MIN,
            waiting: VecDeque::new(),
            remotes: HashMap::new(),
            lost: false,
            counters: LinkCounters::default(),
        }
    }

    /// Waits for what comes next. May be cancelled at any time.
    pub async fn next(&mut self) -> LinkEvent {
        loop {
            if std::mem::take(&mut self.lost) {
                return LinkEvent::Down;
            }
            match &mut self.state {
                State::Idle { until } => {
                    sleep_until(*until).await;
                    let path = self.path.clone();
                    // The handshake blocks for as long as the other side may take to answer.
                    let task = tokio::task::spawn_blocking(move || ControlSide::connect(&path, SOFTWARE));
                    self.state = State::Connecting(task);
                }
                State::Connecting(task) => {
                    let result = task.await;
                    match result
                        .map_err(|e| e.to_string())
                        .and_then(|r| r.map_err(|e| explain(&e, &self.path)))
                    {
                        Ok(side) => match Connected::new(side) {
                            Ok(connected) => {
                                tracing::info!(software = %connected.side.software, "dataplane connected");
                                self.state = State::Up(Box::new(connected));
                                self.counters.connections += 1;
                                self.retry = RETRY_MIN;
                                return LinkEvent::Up;
                            }
                            Err(error) => self.back_off(error.to_string()),
                        },
                        Err(reason) => self.back_off(reason),
                    }
                }
                State::Up(connected) => {
                    if !connected.side.prepare_sleep() {
                        connected.side.woke();
                        return LinkEvent::Ready;
                    }
                    let full = !self.waiting.is_empty();
                    let room = async {
                        if full { tokio::time::sleep(RING_RETRY).await } else { std::future::pending().await }
                    };
                    tokio::select! {
                        ready = connected.doorbell.readable() => {
                            if let Ok(mut guard) = ready {
                                guard.clear_ready();
                            }
                            connected.side.woke();
                            return LinkEvent::Ready;
                        }
                        ready = connected.hangup.readable() => {
                            if let Ok(mut guard) = ready {
                                guard.clear_ready();
                            }
                            if !connected.side.connection.is_open() {
                                self.disconnect("the dataplane has ended".to_owned());
                            }
                        }
                        () = room => return LinkEvent::Ready,
                    }
                }
            }
        }
    }

    fn back_off(&mut self, reason: String) {
        if self.reason != reason {
            tracing::warn!(reason, "no dataplane");
            self.reason = reason;
        }
        self.state = State::Idle { until: tokio::time::Instant::now() + self.retry };
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }

    /// Ends the connection, wherever that was found out; [`Self::next`] says so, and makes a new one.
    fn disconnect(&mut self, reason: String) {
        self.lost = true;
        self.counters.transactions_lost += self.waiting.len() as u64;
        self.waiting.clear();
        self.remotes.clear();
        self.back_off(reason);
    }

    /// Sends what waits and takes the next thing.
    pub fn take(&mut self) -> Option<Received> {
        self.flush();
        loop {
            let State::Up(connected) = &mut self.state else { return None };
            let taken = match connected.side.pop() {
                Ok(Some(event)) => Ok(Received::Event(event)),
                Ok(None) => match connected.side.recv_ike() {
                    Ok(Some(punt)) => Ok(Received::Ike {
                        media_port: punt.media_port,
                        from: punt.remote,
                        bytes: punt.message.to_vec(),
                    }),
                    Ok(None) => return None,
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            };
            match taken {
                Ok(taken) => {
                    if let Received::Event(Event::SnapshotMedia(binding)) = &taken {
                        self.remotes.insert(binding.media_port(), binding.remote);
                    }
                    return Some(taken);
                }
                Err(RecvError::Slot(error)) => {
                    self.counters.malformed += 1;
                    tracing::warn!(%error, "the dataplane sent what means nothing");
                }
                Err(RecvError::Ring(fault)) => self.disconnect(format!("its ring is broken: {fault}")),
            }
        }
    }

    /// Sends a transaction, now or when there is room; with `more`, the next one belongs to the same change.
    pub fn send(&mut self, txn: TxnId, ops: Vec<Op>, more: bool) {
        for op in &ops {
            match op {
                Op::MediaOpen(binding) => {
                    self.remotes.insert(binding.media_port(), binding.remote);
                }
                Op::MediaClose(media_port) => {
                    self.remotes.remove(media_port);
                }
                _ => {}
            }
        }
        self.enqueue(Waiting::Transaction { txn, ops, more });
    }

    pub fn request_snapshot(&mut self) {
        self.enqueue(Waiting::Snapshot);
    }

    fn enqueue(&mut self, waiting: Waiting) {
        if !matches!(self.state, State::Up(_)) {
            self.counters.transactions_lost += 1;
            return;
        }
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(waiting);
        } else {
            self.counters.transactions_lost += 1;
        }
        self.flush();
    }

    fn flush(&mut self) {
        let State::Up(connected) = &mut self.state else { return };
        while let Some(waiting) = self.waiting.front() {
            let sent = match waiting {
                Waiting::Transaction { txn, ops, more } => connected.side.push_part(*txn, ops, *more),
                Waiting::Snapshot => connected.side.request_snapshot(),
            };
            match sent {
                Ok(()) => {
                    self.counters.transactions += 1;
                    self.waiting.pop_front();
                }
                Err(SendError::WouldBlock) if self.waiting.len() < WAITING_MAX => return,
                Err(error) => return self.disconnect(format!("it takes no commands: {error}")),
            }
        }
    }

    /// Sends an IKE message to the peer of a media port, or counts that it could not: IKE retransmits. No router may fragment a
    /// `probe`.
    pub fn send_ike(&mut self, media_port: MediaPort, message: &[u8], probe: bool) {
        if !self.with_peer(media_port, |side, remote| {
            if probe {
                side.send_probe(media_port, remote, message)
            } else {
                side.send_ike(media_port, remote, message)
            }
        }) {
            self.counters.ike_lost += 1;
            tracing::debug!(%media_port, "an IKE message could not be sent");
        }
    }

    /// One that cannot be sent is not missed: the next comes soon.
    pub fn send_nat_keepalive(&mut self, media_port: MediaPort) {
        self.with_peer(media_port, |side, remote| side.send_nat_keepalive(media_port, remote));
    }

    fn with_peer(
        &mut self,
        media_port: MediaPort,
        what: impl FnOnce(&mut ControlSide, SocketAddr) -> Result<(), SendError>,
    ) -> bool {
        match (&mut self.state, self.remotes.get(&media_port)) {
            (State::Up(connected), Some(remote)) => what(&mut connected.side, *remote).is_ok(),
            _ => false,
        }
    }

    /// When a tunnel last carried data; `None` without a dataplane, or if it has published nothing yet.
    pub fn activity(&mut self, tunnel: TunnelId) -> Option<TunnelActivity> {
        match &mut self.state {
            State::Up(connected) => connected.side.counters.activity(tunnel),
            State::Idle { .. } | State::Connecting(_) => None,
        }
    }

    /// What a tunnel's classes count.
    pub fn qos(&mut self, tunnel: TunnelId) -> Option<QosActivity> {
        match &mut self.state {
            State::Up(connected) => connected.side.counters.qos(tunnel),
            State::Idle { .. } | State::Connecting(_) => None,
        }
    }

    /// Every tunnel's activity.
    #[must_use]
    pub fn activities(&self) -> HashMap<TunnelId, TunnelActivity> {
        match &self.state {
            State::Up(connected) => connected.side.counters.activities().collect(),
            State::Idle { .. } | State::Connecting(_) => HashMap::new(),
        }
    }

    /// This process is alive at `now`.
    pub fn beat(&self, now: Instant) {
        if let State::Up(connected) = &self.state {
            connected.side.beat(now);
        }
    }

    /// The dataplane's name, or why there is none.
    pub fn status(&self) -> Result<String, String> {
        match &self.state {
            State::Up(connected) => Ok(connected.side.software.to_string()),
            State::Idle { .. } | State::Connecting(_) => Err(self.reason.clone()),
        }
    }
}

fn explain(error: &HandshakeError, path: &Path) -> String {
    use rustix::io::Errno;
    match error {
        HandshakeError::System { errno: Errno::NOENT | Errno::CONNREFUSED, .. } => {
            format!(
                "no dataplane listens on {}: start sipsec-dataplane with the same profile",
                path.display()
            )
        }
        HandshakeError::System { errno: Errno::ACCESS | Errno::PERM, .. } => {
            format!("not permitted to use {}", path.display())
        }
        other => other.to_string(),
    }
}
