//! The policer of what arrives by one call: outer bytes against the negotiated rate. It judges packets that their SA has
//! authenticated, so that forged ones take nothing from the peer's.

use crate::qos_counters::QosCounters;
use crate::shaper::Meter;
use core::time::Duration;
use sipsec_net::qos::{Police, PoliceAction};
use sipsec_net::{Instant, Kbps};

#[derive(Debug)]
pub(crate) struct Policer {
    meter: Meter,
    action: PoliceAction,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policed {
    Conforms,
    /// It goes on with this inner DSCP.
    Remarked(u8),
    Dropped,
}

impl Policer {
    pub(crate) const fn new(rate: Kbps, police: Police) -> Self {
        let burst = Duration::from_millis(police.burst_ms as u64);
        Self { meter: Meter::new(rate, burst), action: police.action }
    }

    /// An authenticated packet of so many outer IP bytes.
    #[inline]
    pub(crate) fn judge(&mut self, now: Instant, bytes: usize, counters: &QosCounters) -> Policed {
        if self.action == PoliceAction::Off || self.meter.take(now, bytes) {
            return Policed::Conforms;
        }
        counters.exceeded(bytes);
        match self.action {
            PoliceAction::Off | PoliceAction::Count => Policed::Conforms,
            PoliceAction::Mark(dscp) => Policed::Remarked(dscp),
            PoliceAction::Drop => Policed::Dropped,
        }
    }
}
