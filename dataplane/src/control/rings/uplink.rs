//! What the control plane is told: events in order, IKE messages as they come.

use super::Broken;
use sipsec_abi::SendError;
use sipsec_abi::event::EventSender;
use sipsec_abi::punt::PuntSender;
use sipsec_net::MediaPort;
use sipsec_net::dp::Event;
use sipsec_pipeline::{Limits, PuntRefused};
use std::collections::VecDeque;
use std::net::SocketAddr;
use tracing::warn;

/// Events that wait for room in the ring besides those of a snapshot.
const BACKLOG_MIN: usize = 1 << 14;

/// The upward rings of one connection.
#[derive(Debug)]
pub(super) struct UpRings {
    pub events: EventSender,
    pub punts: PuntSender,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpCounts {
    pub acquires: u64,
    pub ike: u64,
    pub events_lost: u64,
}

/// Without a control plane (before the first, between two) nothing piles up: reports are dropped.
#[derive(Debug)]
pub struct Uplink {
    rings: Option<UpRings>,
    /// As large as it ever becomes.
    backlog: VecDeque<Event>,
    backlog_max: usize,
    /// The part that is kept for the answer to one command: a whole snapshot at most.
    answer_max: usize,
    counts: UpCounts,
    broken: Option<Broken>,
}

impl Uplink {
    /// With room for a snapshot of everything that these limits allow, twice: one may still wait when the next is asked
    /// for.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let Limits { tunnels_max, media_ports_max, sas_max, .. } = *limits;
        let snapshot = [tunnels_max, media_ports_max, sas_max].iter().map(|n| *n as usize).sum::<usize>() + 1;
        let backlog_max = BACKLOG_MIN + 2 * snapshot;
        Self {
            rings: None,
            backlog: VecDeque::with_capacity(backlog_max),
            backlog_max,
            answer_max: snapshot,
            counts: UpCounts::default(),
            broken: None,
        }
    }

    pub(super) fn attach(&mut self, rings: UpRings) {
        self.detach();
        self.rings = Some(rings);
    }

    pub(super) fn detach(&mut self) {
        self.rings = None;
        self.broken = None;
        self.backlog.clear();
    }

    #[must_use]
    pub const fn counts(&self) -> &UpCounts {
        &self.counts
    }

    /// Events that the control plane has no room for at the moment.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.backlog.len()
    }

    pub(super) const fn broken(&self) -> Option<Broken> {
        self.broken
    }

    /// Whether the answer to another command has room, for every kind of answer. Until it has, commands wait in their ring: an
    /// answer that is lost would be waited for without end.
    #[must_use]
    pub fn has_room_for_answer(&self) -> bool {
        self.backlog.len() + self.answer_max <= self.backlog_max
    }

    /// How long the backlog may be for one more event of this kind. Only what was asked for may use the room of answers;
    /// strangers, who can cause as many reports as there are ports each second, leave half to the others.
    const fn room(&self, event: &Event) -> usize {
        match event {
            Event::WrongSource { .. } => self.backlog_max / 2,
            Event::Acquire { .. }
            | Event::SaExpire { .. }
            | Event::SaFirstInbound { .. }
            | Event::PeerPortProven { .. }
            | Event::NatEntry(_)
            | Event::NatBlock(_) => self.backlog_max - self.answer_max,
            Event::Applied(_)
            | Event::Rejected { .. }
            | Event::SnapshotTunnel { .. }
            | Event::SnapshotMedia(_)
            | Event::SnapshotSa { .. }
            | Event::SnapshotEnd
            | Event::NatPage { .. } => self.backlog_max,
        }
    }

    /// Queues an event, in order; [`Self::flush`] sends it.
    pub fn report(&mut self, event: Event) {
        if matches!(event, Event::Acquire { .. }) {
            self.counts.acquires += 1;
        }
        if self.rings.is_none() {
            return;
        }
        if self.backlog.len() >= self.room(&event) {
            self.counts.events_lost += 1;
        } else {
            self.backlog.push_back(event);
        }
    }

    /// Sends as much of the backlog as the ring takes; how much that was.
    pub fn flush(&mut self) -> usize {
        let Some(rings) = &mut self.rings else { return 0 };
        let room = match rings.events.free() {
            Ok(room) => room.min(self.backlog.len()),
            Err(fault) => {
                self.fail(Broken { what: "event ring", fault });
                return 0;
            }
        };
        for event in self.backlog.drain(..room) {
            if let Err(error) = rings.events.push(&event) {
                // Room was promised: the ring broke this very moment.
                warn!(%error, "event lost");
                self.counts.events_lost += 1;
            }
        }
        room
    }

    /// Hands an IKE message up.
    pub fn ike(&mut self, port: MediaPort, from: SocketAddr, message: &[u8]) -> Result<(), PuntRefused> {
        let Some(rings) = &mut self.rings else { return Err(PuntRefused::Full) };
        match rings.punts.send(port, from, message) {
            Ok(()) => {
                self.counts.ike += 1;
                Ok(())
            }
            Err(SendError::TooLong(_)) => Err(PuntRefused::TooLong),
            Err(SendError::Ring(fault)) => {
                self.fail(Broken { what: "punt ring", fault });
                Err(PuntRefused::Full)
            }
            Err(SendError::WouldBlock | SendError::TooManyOps(_)) => Err(PuntRefused::Full),
        }
    }

    fn fail(&mut self, broken: Broken) {
        self.detach();
        self.broken = Some(broken);
    }
}
