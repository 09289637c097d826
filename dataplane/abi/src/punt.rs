//! The punt rings: IKE messages up to the control plane and down to the wire; down, an empty one is a NAT keepalive. A
//! message that finds no room is lost, as on any network, and counted; IKE retransmits.

use crate::doorbell::Ringer;
use crate::error::{RecvError, SendError};
use crate::layout::{PUNT_RING, offset};
use crate::ring::{Consumer, Producer};
use crate::segment::{Role, Segment, SegmentRing};
use crate::slot::PUNT_SLOT_LEN;
use crate::slot::punt::{Decoded, HEADER_LEN, HEADER_WORDS, Head, PAYLOAD_MAX};
use core::net::SocketAddr;
use sipsec_net::MediaPort;
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

const SLOT_WORDS: usize = PUNT_SLOT_LEN / 8;

fn memory(segment: &Arc<Segment>, sender: Role) -> SegmentRing {
    let offset = match sender {
        Role::Dataplane => offset::PUNTS_UP,
        Role::Control => offset::PUNTS_DOWN,
    };
    SegmentRing::new(segment, offset, PUNT_RING)
}

/// The sending end of one of the two.
#[derive(Debug)]
pub struct PuntSender {
    ring: Producer<SegmentRing>,
    bell: Ringer,
    words: Box<[u64; SLOT_WORDS]>,
}

impl PuntSender {
    pub(crate) fn new(segment: &Arc<Segment>, sender: Role, bell: Ringer) -> Self {
        let ring = Producer::new(memory(segment, sender), PUNT_RING);
        Self { ring, bell, words: Box::new([0; SLOT_WORDS]) }
    }

    /// Sends an IKE message (without its marker). Upwards `remote` is where it came from, downwards where it is to go.
    pub fn send(
        &mut self,
        media_port: MediaPort,
        remote: SocketAddr,
        message: &[u8],
    ) -> Result<(), SendError> {
        self.put(message, |len| Head::new(media_port, remote, len))
    }

    /// Downwards: the same, and no router may fragment it (RFC 8899 §3).
    pub fn send_whole(
        &mut self,
        media_port: MediaPort,
        remote: SocketAddr,
        message: &[u8],
    ) -> Result<(), SendError> {
        self.put(message, |len| Head::new(media_port, remote, len).whole())
    }

    fn put(&mut self, message: &[u8], head: impl FnOnce(u16) -> Head) -> Result<(), SendError> {
        let len = match u16::try_from(message.len()) {
            Ok(len) if message.len() <= PAYLOAD_MAX => len,
            _ => return Err(SendError::TooLong(message.len())),
        };
        if self.ring.free()? == 0 {
            self.ring.overflow();
            return Err(SendError::WouldBlock);
        }
        let used_words = HEADER_WORDS + message.len().div_ceil(8);
        let bytes = self.words[..used_words].as_mut_bytes();
        bytes[..HEADER_LEN].copy_from_slice(head(len).as_bytes());
        bytes[HEADER_LEN..][..message.len()].copy_from_slice(message);
        bytes[HEADER_LEN + message.len()..].fill(0);
        self.ring.stage(0, &self.words[..used_words]);
        self.ring.publish(1);
        self.bell.ring();
        Ok(())
    }

    /// Messages that found no room.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.ring.overflowed()
    }

    /// Impossible cursors seen.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.ring.faults()
    }
}

/// A message taken from a punt ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punt<'a> {
    pub media_port: MediaPort,
    pub remote: SocketAddr,
    /// The IKE message, without its marker.
    pub message: &'a [u8],
    /// It is a probe: routers must not fragment it.
    pub dont_fragment: bool,
}

/// The receiving end of one of the two.
#[derive(Debug)]
pub struct PuntReceiver {
    ring: Consumer<SegmentRing>,
    words: Box<[u64; SLOT_WORDS]>,
    malformed: u64,
}

impl PuntReceiver {
    pub(crate) fn new(segment: &Arc<Segment>, sender: Role) -> Self {
        let ring = Consumer::new(memory(segment, sender), PUNT_RING);
        Self { ring, words: Box::new([0; SLOT_WORDS]), malformed: 0 }
    }

    /// Takes the next message; it lies in this end's own buffer until the next call. An error costs one slot.
    pub fn recv(&mut self) -> Result<Option<Punt<'_>>, RecvError> {
        if self.ring.available()? == 0 {
            return Ok(None);
        }
        let (head_words, payload_words) = self.words.split_at_mut(HEADER_WORDS);
        self.ring.read(0, 0, head_words);
        let head = Head::ref_from_bytes(head_words.as_bytes()).expect("a head is a head's words");
        let decoded = head.decode();
        if let Ok(head) = &decoded {
            self.ring.read(0, HEADER_WORDS, &mut payload_words[..head.len.div_ceil(8)]);
        }
        self.ring.release(1);
        match decoded {
            Ok(Decoded { media_port, remote, len, dont_fragment }) => Ok(Some(Punt {
                media_port,
                remote,
                message: &payload_words.as_bytes()[..len],
                dont_fragment,
            })),
            Err(error) => {
                self.malformed += 1;
                Err(error.into())
            }
        }
    }

    /// Whether there is nothing to take. A ring at fault is not idle: the next [`Self::recv`] reports it.
    pub fn is_idle(&mut self) -> bool {
        self.ring.available() == Ok(0)
    }

    /// Messages for which the sender found no room, as it says.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.ring.overflowed()
    }

    /// Slots that meant nothing.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Impossible cursors seen.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.ring.faults()
    }
}
