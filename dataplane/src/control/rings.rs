//! The control plane's rings: the only place where ring slots and pipeline types meet.

pub mod downlink;
pub mod uplink;

pub use downlink::{DownCounts, Downlink, Target};
pub use uplink::{UpCounts, Uplink};

use downlink::DownRings;
use sipsec_abi::counters::CountersWriter;
use sipsec_abi::handshake::Connection;
use sipsec_abi::segment::Pulse;
use sipsec_abi::{DataplaneSide, RingFault};
use uplink::UpRings;

/// A connection on its way from housekeeping to the control thread.
#[derive(Debug)]
pub struct Link {
    session: Session,
    up: UpRings,
    down: DownRings,
}

/// What is neither up nor down: the counters page and the pulse of one connection.
#[derive(Clone, Debug)]
pub struct Session {
    pub epoch: u64,
    /// Connections refused so far.
    pub refused: u64,
    pub counters: CountersWriter,
    pub pulse: Pulse,
}

/// The control plane shows an impossible cursor: the connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    pub what: &'static str,
    pub fault: RingFault,
}

impl Link {
    /// Takes a side apart; the connection itself stays with housekeeping.
    #[must_use]
    pub fn new(side: DataplaneSide, refused: u64) -> (Self, Connection) {
        let link = Self {
            session: Session { epoch: side.epoch, refused, counters: side.counters, pulse: side.pulse },
            up: UpRings { events: side.events, punts: side.punts_up },
            down: DownRings {
                commands: side.commands,
                punts: side.punts_down,
                answers: side.answers,
                doorbell: side.doorbell,
            },
        };
        (link, side.connection)
    }

    #[cfg(test)]
    pub(crate) fn into_session(self) -> Session {
        self.session
    }

    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.session.epoch
    }

    /// Makes this the control plane of the moment.
    pub fn attach<V>(self, up: &mut Uplink, down: &mut Downlink<V>) -> Session {
        up.attach(self.up);
        down.attach(self.down);
        self.session
    }
}

/// There is no control plane any more.
pub fn detach<V>(up: &mut Uplink, down: &mut Downlink<V>) {
    up.detach();
    down.detach();
}

/// How the control plane broke its rings, if it did.
pub fn broken<V>(up: &Uplink, down: &Downlink<V>) -> Option<Broken> {
    up.broken().or(down.broken())
}

#[cfg(test)]
pub(crate) mod tests;
