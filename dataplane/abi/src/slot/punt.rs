//! Slots of the punt rings: one IKE message each, without its non-ESP marker.

use super::{SlotError, wire};
use crate::layout::shared;
use core::mem::size_of;
use core::net::SocketAddr;
use sipsec_net::MediaPort;
use zerocopy::little_endian::U16;

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
        /// 1: routers must not fragment it (IPv4), because it is a probe. Downwards alone.
        pub dont_fragment: u8,
        pub zero: [u8; 3],
    }
}

const _: () = assert!(HEADER_LEN.is_multiple_of(8) && PAYLOAD_MAX.is_multiple_of(8), "slots are whole words");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub media_port: MediaPort,
    pub remote: SocketAddr,
    pub len: usize,
    pub dont_fragment: bool,
}

impl Head {
    pub(crate) fn new(media_port: MediaPort, remote: SocketAddr, len: u16) -> Self {
        Self {
            remote: remote.into(),
            media_port: media_port.0.into(),
            len: len.into(),
            dont_fragment: 0,
            zero: [0; 3],
        }
    }

    pub(crate) const fn whole(self) -> Self {
        Self { dont_fragment: 1, ..self }
    }

    pub(crate) fn decode(&self) -> Result<Decoded, SlotError> {
        if self.zero != [0; 3] || self.dont_fragment > 1 {
            return Err(SlotError::ReservedNotZero);
        }
        let len = usize::from(self.len.get());
        if len > PAYLOAD_MAX {
            return Err(SlotError::BadPayloadLen(self.len.get()));
        }
        Ok(Decoded {
            media_port: MediaPort(self.media_port.get()),
            remote: self.remote.try_into()?,
            len,
            dont_fragment: self.dont_fragment == 1,
        })
    }
}
