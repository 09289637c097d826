//! The event ring: what the dataplane reports, one slot each.

use crate::doorbell::Ringer;
use crate::error::{RecvError, SendError};
use crate::layout::{EVENT_RING, offset};
use crate::ring::{Consumer, Producer, RingFault};
use crate::segment::{Segment, SegmentRing};
use crate::slot::EVENT_SLOT_LEN;
use crate::slot::event as slot;
use sipsec_net::dp::Event;
use std::sync::Arc;
use zerocopy::IntoBytes;

const SLOT_WORDS: usize = EVENT_SLOT_LEN / 8;

fn bytes(words: &mut [u64; SLOT_WORDS]) -> &mut slot::SlotBytes {
    words.as_mut_bytes().try_into().expect("a slot's words are a slot's bytes")
}

/// The dataplane's end.
#[derive(Debug)]
pub struct EventSender {
    ring: Producer<SegmentRing>,
    bell: Ringer,
}

impl EventSender {
    pub(crate) fn new(segment: &Arc<Segment>, bell: Ringer) -> Self {
        let memory = SegmentRing::new(segment, offset::EVENTS, EVENT_RING);
        Self { ring: Producer::new(memory, EVENT_RING), bell }
    }

    /// Sends an event. `WouldBlock` is counted where the control plane sees it: it has missed something unless the caller
    /// tries again, and finds out by a snapshot.
    pub fn push(&mut self, event: &Event) -> Result<(), SendError> {
        if self.ring.free()? == 0 {
            self.ring.overflow();
            return Err(SendError::WouldBlock);
        }
        let mut words = [0; SLOT_WORDS];
        slot::encode(bytes(&mut words), event);
        self.ring.stage(0, &words);
        self.ring.publish(1);
        self.bell.ring();
        Ok(())
    }

    /// Slots that are free now: how many events of a snapshot may be sent in this turn.
    pub fn free(&mut self) -> Result<usize, RingFault> {
        self.ring.free()
    }

    /// Events that found no room.
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

/// The control plane's end.
#[derive(Debug)]
pub struct EventReceiver {
    ring: Consumer<SegmentRing>,
    malformed: u64,
}

impl EventReceiver {
    pub(crate) fn new(segment: &Arc<Segment>) -> Self {
        let memory = SegmentRing::new(segment, offset::EVENTS, EVENT_RING);
        Self { ring: Consumer::new(memory, EVENT_RING), malformed: 0 }
    }

    /// Takes the next event. An error costs one slot.
    pub fn pop(&mut self) -> Result<Option<Event>, RecvError> {
        if self.ring.available()? == 0 {
            return Ok(None);
        }
        let mut words = [0; SLOT_WORDS];
        self.ring.read(0, 0, &mut words);
        self.ring.release(1);
        slot::decode(bytes(&mut words)).map(Some).map_err(|error| {
            self.malformed += 1;
            error.into()
        })
    }

    /// Whether there is nothing to take. A ring at fault is not idle: the next [`Self::pop`] reports it.
    pub fn is_idle(&mut self) -> bool {
        self.ring.available() == Ok(0)
    }

    /// Events for which the dataplane found no room: when this rises, ask for a snapshot.
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
