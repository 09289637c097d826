//! Errors of the rings, ordered by the side that causes them.

use crate::ring::RingFault;
use crate::slot::SlotError;
use core::fmt;

/// Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Not enough free slots; try again when the other side has taken some. Counted as an overflow.
    WouldBlock,
    /// More operations than [`sipsec_net::dp::OPS_MAX`]: split them.
    TooManyOps(usize),
    /// A message longer than [`crate::PUNT_PAYLOAD_MAX`].
    TooLong(usize),
    /// The other side's cursor is impossible: end the connection.
    Ring(RingFault),
}

impl From<RingFault> for SendError {
    fn from(fault: RingFault) -> Self {
        Self::Ring(fault)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => f.write_str("the ring is full"),
            Self::TooManyOps(ops) => write!(f, "a transaction of {ops} operations is too long"),
            Self::TooLong(len) => write!(f, "a message of {len} bytes is too long for its ring"),
            Self::Ring(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for SendError {}

/// Nothing useful was received; the slot at fault is gone, and the next call looks at the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// The other side's cursor is impossible: end the connection.
    Ring(RingFault),
    Slot(SlotError),
}

impl From<RingFault> for RecvError {
    fn from(fault: RingFault) -> Self {
        Self::Ring(fault)
    }
}

impl From<SlotError> for RecvError {
    fn from(error: SlotError) -> Self {
        Self::Slot(error)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(fault) => fault.fmt(f),
            Self::Slot(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RecvError {}
