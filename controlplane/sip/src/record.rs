//! What must survive a crash so that a call can still be hung up.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Version of the encoding; another is refused.
pub const RECORD_VERSION: u8 = 1;

/// A call, as far as CANCEL and BYE need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialogRecord {
    pub(crate) call_id: String,
    /// From of our requests, with our tag.
    pub(crate) local: String,
    /// To of our requests; with the peer's tag once there is a dialog.
    pub(crate) remote: String,
    pub(crate) has_remote_tag: bool,
    pub(crate) cseq: u32,
    pub(crate) route_set: Vec<String>,
    pub(crate) remote_target: String,
    pub(crate) dest: SocketAddr,
    /// The INVITE's branch, for a CANCEL; empty for a call that we received.
    pub(crate) invite_branch: String,
    pub(crate) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordError {
    Version(u8),
    Malformed,
}

impl DialogRecord {
    /// # Panics
    /// Never: the encoding of plain strings and numbers into memory does not fail.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![RECORD_VERSION]).expect("encodes into memory")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        match bytes {
            [RECORD_VERSION, rest @ ..] => postcard::from_bytes(rest).map_err(|_| RecordError::Malformed),
            [v, ..] => Err(RecordError::Version(*v)),
            [] => Err(RecordError::Malformed),
        }
    }
}
