//! The dataplane's side.

use crate::command::{Command, CommandError, CommandReceiver};
use crate::counters::CountersWriter;
use crate::doorbell::{Ringer, Waiter};
use crate::event::EventSender;
use crate::handshake::message::{Hello, Refusal, Reply, Welcome};
use crate::handshake::{self, Bound, Connection, HandshakeError, TIMEOUT, system};
use crate::punt::{PuntReceiver, PuntSender};
use crate::segment::{Pulse, Role, Segment};
use crate::text::Text;
use crate::txn_log::TxnLog;
use rustix::event::{EventfdFlags, eventfd};
use sipsec_net::Instant;
use sipsec_net::dp::Op;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Whether a dataplane serves the socket at `path`.
#[must_use]
pub fn is_served(path: &Path) -> bool {
    handshake::is_locked(path)
}

/// Waits for control planes on a unix socket. Does not block: the socket ([`AsFd`]) is readable when one is there.
#[derive(Debug)]
pub struct Listener {
    bound: Bound,
    path: PathBuf,
    software: Text<32>,
    /// Users besides root and our own that may connect.
    allowed_uids: Vec<u32>,
    connections: u64,
    refused: u64,
}

impl Listener {
    /// Listens at `path`. Root and this process's own user may connect, and `allowed_uids`.
    pub fn bind(path: &Path, software: &str, allowed_uids: &[u32]) -> Result<Self, HandshakeError> {
        let bound = handshake::bind(path)?;
        let (path, software) = (path.to_owned(), Text::new(software));
        Ok(Self { bound, path, software, allowed_uids: allowed_uids.to_vec(), connections: 0, refused: 0 })
    }

    /// Takes the next connection through the handshake, if one waits: a new segment, a new epoch. Waits at most `TIMEOUT` for
    /// the hello of an allowed user, not at all for anyone else's. With `busy` (a control plane is being served) it refuses.
    /// An error concerns that connection alone; the listener goes on.
    pub fn accept(&mut self, busy: bool) -> Result<Option<DataplaneSide>, HandshakeError> {
        let Some(connection) = handshake::accept(&self.bound.socket)? else { return Ok(None) };
        match self.welcome(&connection, busy) {
            Ok(accepted) => {
                self.connections += 1;
                Ok(Some(accepted.into_side(connection)))
            }
            Err(error) => {
                self.refused += 1;
                let refusal = match error {
                    HandshakeError::Refused(refusal) => refusal,
                    HandshakeError::Credentials { .. } => Refusal::Credentials,
                    HandshakeError::Segment(_) | HandshakeError::System { .. } => Refusal::Resources,
                    _ => Refusal::Malformed,
                };
                let reply = Reply::refused(refusal, self.software).to_bytes();
                // The connection ends now; whether its peer still hears why does not matter to us.
                let _ = handshake::send(&connection, &reply, &[]);
                Err(error)
            }
        }
    }

    /// Control planes served so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// Connections refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn welcome(&self, connection: &Connection, busy: bool) -> Result<Accepted, HandshakeError> {
        let peer = connection.credentials()?;
        let own = rustix::process::geteuid().as_raw();
        let allowed = peer.uid == 0 || peer.uid == own || self.allowed_uids.contains(&peer.uid);
        // The hello is read in any case: a refusal does not arrive on a socket that is closed with something unread.
        let hello = handshake::recv(connection, if allowed { TIMEOUT } else { Duration::ZERO });
        if !allowed {
            return Err(HandshakeError::Credentials { uid: peer.uid });
        }
        let software = Hello::decode(&hello?.bytes).map_err(HandshakeError::Refused)?;
        if busy {
            return Err(HandshakeError::Refused(Refusal::Busy));
        }
        let epoch = self.connections + 1;
        let segment = Segment::create(epoch)?;
        let bell = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(system("eventfd"));
        let (to_dataplane, to_control) = (bell()?, bell()?);
        let reply = Reply::welcome(&Welcome { epoch, software: self.software }).to_bytes();
        handshake::send(connection, &reply, &[segment.as_fd(), to_dataplane.as_fd(), to_control.as_fd()])?;
        Ok(Accepted {
            segment,
            to_dataplane,
            to_control,
            peer: PeerInfo { pid: peer.pid, uid: peer.uid, software },
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bound.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A file that stays behind is replaced at the next start.
        let _ = rustix::fs::unlink(&self.path);
    }
}

struct Accepted {
    segment: std::sync::Arc<Segment>,
    to_dataplane: OwnedFd,
    to_control: OwnedFd,
    peer: PeerInfo,
}

impl Accepted {
    fn into_side(self, connection: Connection) -> DataplaneSide {
        let segment = &self.segment;
        let ringer = Ringer::new(segment, Role::Control, self.to_control);
        DataplaneSide {
            commands: CommandReceiver::new(segment),
            events: EventSender::new(segment, ringer.clone()),
            punts_up: PuntSender::new(segment, Role::Dataplane, ringer),
            punts_down: PuntReceiver::new(segment, Role::Control),
            counters: CountersWriter::new(segment),
            answers: TxnLog::default(),
            pulse: Pulse::new(segment, Role::Dataplane),
            doorbell: Waiter::new(segment, Role::Dataplane, self.to_dataplane),
            epoch: segment.epoch(),
            peer: self.peer,
            connection,
        }
    }
}

/// The connected process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// 0 if the process is in a pid namespace that we cannot see.
    pub pid: i32,
    pub uid: u32,
    /// Name and version, as it says.
    pub software: Text<32>,
}

/// Everything that the dataplane shares with one control plane, for the life of one connection. The parts are independent:
/// take it apart to give them to different threads.
#[derive(Debug)]
pub struct DataplaneSide {
    pub commands: CommandReceiver,
    pub events: EventSender,
    /// IKE that came from the wire.
    pub punts_up: PuntSender,
    /// IKE that is to go to the wire.
    pub punts_down: PuntReceiver,
    pub counters: CountersWriter,
    /// Answers of this connection's transactions.
    pub answers: TxnLog,
    pub pulse: Pulse,
    /// What the worker sleeps on.
    pub doorbell: Waiter,
    /// Which connection this is since the dataplane's start.
    pub epoch: u64,
    pub peer: PeerInfo,
    pub connection: Connection,
}

impl DataplaneSide {
    /// Takes the next command; see [`CommandReceiver::pop`].
    pub fn pop(&mut self, ops: &mut Vec<Op>) -> Result<Option<Command>, CommandError> {
        self.commands.pop(ops)
    }

    /// `true` if the worker may sleep on [`Self::doorbell`] as far as the control plane is concerned.
    pub fn prepare_sleep(&mut self) -> bool {
        let (commands, punts) = (&mut self.commands, &mut self.punts_down);
        self.doorbell.prepare_sleep(|| commands.is_idle() && punts.is_idle())
    }

    /// After sleeping, or after deciding not to.
    pub fn woke(&self) {
        self.doorbell.woke();
    }

    /// This side's loop turned at `now`.
    pub fn beat(&self, now: Instant) {
        self.pulse.beat(now);
    }
}
