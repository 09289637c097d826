//! The control plane's side.

use crate::command::CommandSender;
use crate::counters::CountersReader;
use crate::doorbell::{Ringer, Waiter};
use crate::error::{RecvError, SendError};
use crate::event::EventReceiver;
use crate::handshake::message::{Hello, Reply};
use crate::handshake::{self, Connection, HandshakeError, TIMEOUT};
use crate::punt::{Punt, PuntReceiver, PuntSender};
use crate::segment::{Pulse, Role, Segment};
use crate::text::Text;
use core::net::SocketAddr;
use sipsec_net::dp::{Event, Op};
use sipsec_net::{Instant, MediaPort, TxnId};
use std::os::fd::OwnedFd;
use std::path::Path;
use zerocopy::IntoBytes;

/// Everything that the control plane shares with the dataplane, for the life of one connection. Dropping it, or dying, ends
/// the connection; the dataplane keeps its state and its traffic.
#[derive(Debug)]
pub struct ControlSide {
    pub commands: CommandSender,
    pub events: EventReceiver,
    /// IKE that came from the wire.
    pub punts_up: PuntReceiver,
    /// IKE that is to go to the wire.
    pub punts_down: PuntSender,
    pub counters: CountersReader,
    pub pulse: Pulse,
    /// What the event loop sleeps on.
    pub doorbell: Waiter,
    /// Which connection this is since the dataplane's start.
    pub epoch: u64,
    /// The dataplane's name and version.
    pub software: Text<32>,
    /// Readable when the dataplane is gone.
    pub connection: Connection,
}

impl ControlSide {
    /// Connects to the dataplane at `path`; `software` is this side's name and version. Waits at most `TIMEOUT`. The
    /// dataplane must run as root or as this process's own user.
    pub fn connect(path: &Path, software: &str) -> Result<Self, HandshakeError> {
        let connection = handshake::connect(path)?;
        let peer = connection.credentials()?;
        if peer.uid != 0 && peer.uid != rustix::process::geteuid().as_raw() {
            return Err(HandshakeError::Credentials { uid: peer.uid });
        }
        let hello = Hello::new(Text::new(software));
        match handshake::send(&connection, hello.as_bytes(), &[]) {
            // A refusal may be there to read although the other side has closed already.
            Ok(()) | Err(HandshakeError::Closed) => {}
            Err(error) => return Err(error),
        }
        let handshake::Received { bytes, fds } = handshake::recv(&connection, TIMEOUT)?;
        let welcome = Reply::decode(&bytes)?;
        let [segment, to_dataplane, to_control] =
            <[OwnedFd; handshake::FDS]>::try_from(fds).map_err(|_| HandshakeError::Malformed)?;
        let segment = Segment::open(segment, welcome.epoch)?;
        let ringer = Ringer::new(&segment, Role::Dataplane, to_dataplane);
        Ok(Self {
            commands: CommandSender::new(&segment, ringer.clone()),
            events: EventReceiver::new(&segment),
            punts_up: PuntReceiver::new(&segment, Role::Dataplane),
            punts_down: PuntSender::new(&segment, Role::Control, ringer),
            counters: CountersReader::new(&segment),
            pulse: Pulse::new(&segment, Role::Control),
            doorbell: Waiter::new(&segment, Role::Control, to_control),
            epoch: segment.epoch(),
            software: welcome.software,
            connection,
        })
    }

    /// Sends a transaction, whole or not at all; see [`CommandSender::push`].
    pub fn push(&mut self, txn: TxnId, ops: &[Op]) -> Result<(), SendError> {
        self.commands.push(txn, ops)
    }

    /// Sends a transaction that may be part of a larger change; see [`CommandSender::push_part`].
    pub fn push_part(&mut self, txn: TxnId, ops: &[Op], more: bool) -> Result<(), SendError> {
        self.commands.push_part(txn, ops, more)
    }

    /// Asks for the dataplane's state: `Snapshot…` events, then `SnapshotEnd`.
    pub fn request_snapshot(&mut self) -> Result<(), SendError> {
        self.commands.request_snapshot()
    }

    /// Takes the next event.
    pub fn pop(&mut self) -> Result<Option<Event>, RecvError> {
        self.events.pop()
    }

    /// Sends an IKE message (without its marker) to `remote` from a media port.
    pub fn send_ike(
        &mut self,
        media_port: MediaPort,
        remote: SocketAddr,
        message: &[u8],
    ) -> Result<(), SendError> {
        self.punts_down.send(media_port, remote, message)
    }

    /// Sends an IKE message that no router may fragment: a probe of the path (RFC 8899 §4.1).
    pub fn send_probe(
        &mut self,
        media_port: MediaPort,
        remote: SocketAddr,
        message: &[u8],
    ) -> Result<(), SendError> {
        self.punts_down.send_whole(media_port, remote, message)
    }

    /// Sends a NAT keepalive (RFC 3948 §2.3) to `remote` from a media port.
    pub fn send_nat_keepalive(&mut self, media_port: MediaPort, remote: SocketAddr) -> Result<(), SendError> {
        self.punts_down.send(media_port, remote, &[])
    }

    /// Takes the next IKE message that came in.
    pub fn recv_ike(&mut self) -> Result<Option<Punt<'_>>, RecvError> {
        self.punts_up.recv()
    }

    /// `true` if the event loop may sleep on [`Self::doorbell`] as far as the dataplane is concerned.
    pub fn prepare_sleep(&mut self) -> bool {
        let (events, punts) = (&mut self.events, &mut self.punts_up);
        self.doorbell.prepare_sleep(|| events.is_idle() && punts.is_idle())
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
