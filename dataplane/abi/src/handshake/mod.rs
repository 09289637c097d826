//! How a control plane gets its segment: a unix `SOCK_SEQPACKET` connection, credentials checked by both sides,
//! `Hello` one way, `Reply` with three descriptors (segment, the doorbell that wakes the dataplane, the
//! doorbell that wakes the control plane) the other. The connection then carries nothing more: its end tells each side that
//! the other is gone.

pub mod message;
mod socket;

pub use message::Refusal;
pub use socket::Connection;
pub(crate) use socket::{Bound, FDS, Received, accept, bind, connect, is_locked, recv, send};

use crate::segment::SegmentError;
use core::fmt;
use rustix::io::Errno;
use std::time::Duration;

/// How long either side waits for the other's message.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted.
pub(crate) const BACKLOG: i32 = 8;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// A system call failed: its name and the error.
    System {
        call: &'static str,
        errno: Errno,
    },
    /// Nothing came in time.
    Timeout,
    /// The other side closed the connection.
    Closed,
    /// The received bytes are not a message of this protocol.
    Malformed,
    /// The other side runs as a user that is not expected.
    Credentials {
        uid: u32,
    },
    /// The dataplane said no, or this dataplane said no to who asked.
    Refused(Refusal),
    Segment(SegmentError),
    /// A dataplane answers on this path already.
    AlreadyRunning,
}

impl From<SegmentError> for HandshakeError {
    fn from(error: SegmentError) -> Self {
        Self::Segment(error)
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System { call, errno } => write!(f, "{call}: {errno}"),
            Self::Timeout => f.write_str("the other process did not answer in time"),
            Self::Closed => f.write_str("the other process closed the connection"),
            Self::Malformed => f.write_str("the other process does not speak this protocol"),
            Self::Credentials { uid } => {
                write!(f, "the other process runs as user {uid}, which is not allowed")
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Segment(error) => error.fmt(f),
            Self::AlreadyRunning => f.write_str("a dataplane is running on this socket already"),
        }
    }
}

impl std::error::Error for HandshakeError {}

pub(crate) fn system(call: &'static str) -> impl FnOnce(Errno) -> HandshakeError {
    move |errno| HandshakeError::System { call, errno }
}
