//! The outputs of the core: what its caller is to do, and what it reports.

mod event;
mod text;

pub use event::{EventKind, SessionEvent};

use crate::carriers::CarrierId;
use crate::change::{ReconfigureError, Reconfigured};
use crate::input::ComputeKey;
use sipsec_ike::compute::Job;
use sipsec_ike::keylog::KeyLogEntry;
use sipsec_net::dp::Op;
use sipsec_net::{IpPrefix, MediaPort, TunnelId, TxnId};
use sipsec_sip::Flow;
use std::net::IpAddr;

#[derive(Debug)]
pub enum Output {
    SipTransmit {
        carrier: CarrierId,
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// Open this connection of SIP; what is transmitted over it meanwhile waits.
    SipOpen {
        carrier: CarrierId,
        flow: Flow,
        /// The server's name, if a name led to its address.
        name: Option<String>,
    },
    /// A change of the profile brought this carrier: it needs sockets, addresses and servers.
    CarrierAdded {
        carrier: CarrierId,
        name: String,
    },
    /// The carrier has left: its sockets close.
    CarrierRemoved(CarrierId),
    IkeTransmit {
        media_port: MediaPort,
        bytes: Vec<u8>,
        /// See [`sipsec_ike::Output::Probe`].
        probe: bool,
    },
    Dataplane(Transaction),
    SnapshotRequest,
    /// One byte to the peer of a media port, for a NAT in front of us (RFC 3948 §2.3).
    NatKeepalive {
        media_port: MediaPort,
    },
    /// Answered by [`crate::Input::Activity`].
    QueryActivity(TunnelId),
    /// What the tunnel has carried is final for this call: the call carries nothing any more. Its end follows.
    CallCounted {
        tunnel: TunnelId,
        call_id: String,
    },
    /// Run off the loop; answered by [`crate::Input::Compute`].
    Compute {
        key: ComputeKey,
        /// The session is up: its jobs run before those of negotiations.
        established: bool,
        job: Job,
    },
    /// Durable before anything else of the call happens; answered by [`crate::Input::Persisted`]. `None` forgets it.
    Persist {
        key: u64,
        record: Option<Vec<u8>>,
    },
    /// The brake of a tunnel, for the next run; `None` forgets it. Not answered: a brake that is not on disk is weaker, and
    /// nothing else.
    PersistBrake {
        key: String,
        record: Option<Vec<u8>>,
    },
    /// Answered by [`crate::Input::NextHop`], now and whenever it changes, until [`Self::ForgetNextHop`].
    ResolveNextHop {
        media_port: MediaPort,
        remote: IpAddr,
    },
    /// The port has no call any more.
    ForgetNextHop {
        media_port: MediaPort,
    },
    /// The dataplane does what [`crate::Input::Routes`] says of these, or is not there; it may be that of a later decision.
    RoutesTaken(Vec<IpPrefix>),
    /// What became of [`crate::Input::Reconfigure`].
    Reconfigured(Result<Reconfigured, ReconfigureError>),
    Event(SessionEvent),
    /// Keys in clear; only with `lab_key_log`.
    KeyLog(KeyLogEntry),
    ShutdownComplete,
}

#[derive(Debug)]
pub struct Transaction {
    pub id: TxnId,
    pub ops: Vec<Op>,
    /// The next transaction belongs to the same change of the dataplane.
    pub more: bool,
}
