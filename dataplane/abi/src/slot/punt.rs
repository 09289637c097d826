//! Slots of the punt rings: one IKE message each, without its non-ESP marker.

use super::{SlotError, wire};
use crate::layout::shared;
use core::mem::size_of;
use core::net::SocketAddr;
use sipsec_net::MediaPort;
use zerocopy::little_endian::{U16, U32};

/// Longest IKE message that goes through. Larger ones do not come in one Ethernet frame, and outer fragments are dropped:
/// IKE fragments them itself (RFC 7383).
pub const PAYLOAD_MAX: usize = 2048;
pub(crate) const HEADER_LEN: usize = size_of::<Head>();
pub(crate) const HEADER_WORDS: usize = HEADER_LEN / 8;

shared! {
    pub(crate) struct Head {
        /// Where it came from, or where it is to go.
        pub remote: wire::SockAddr,
        pub media_port: U16,
        pub len: U16,
        pub zero: U32,
    }
}

const _: () = assert!(HEADER_LEN.is_multiple_of(8) && PAYLOAD_MAX.is_multiple_of(8), "slots are whole words");

impl Head {
    pub(crate) fn new(media_port: MediaPort, remote: SocketAddr, len: u16) -> Self {
        Self { remote: remote.into(), media_port: media_port.0.into(), len: len.into(), zero: U32::ZERO }
    }

    pub(crate) fn decode(&self) -> Result<(MediaPort, SocketAddr, usize), SlotError> {
        if self.zero != 0 {
            return Err(SlotError::ReservedNotZero);
        }
        let len = usize::from(self.len.get());
        if len > PAYLOAD_MAX {
            return Err(SlotError::BadPayloadLen(self.len.get()));
        }
        Ok((MediaPort(self.media_port.get()), self.remote.try_into()?, len))
    }
}
