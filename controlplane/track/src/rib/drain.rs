//! Flows that stay in a tunnel after traffic has returned to a better route.
//!
//! ```text
//!   tunnel is left for a router or a device ──> begins ──┬─ the tunnel is quiet ──────┐
//!                                                        ├─ its time is over ─────────┼──> ends
//!                                                        ├─ the call has ended ───────┤
//!                                                        └─ another route is chosen ──┘
//! ```

use super::{Decision, Entry, World};
use crate::config::{Failback, Flows, NextHop};
use sipsec_net::{Instant, IpPrefix};
use std::fmt;
use std::time::Duration;

/// The traffic of a tunnel is asked for again after this time at the earliest.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Flows of a prefix that stay in a tunnel, although new ones take another route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    pub prefix: IpPrefix,
    pub tunnel: String,
    /// At the latest.
    pub until: Instant,
}

/// Why flows stay in the tunnel no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainEnd {
    /// The tunnel has carried nothing for the time after which a flow has ended.
    Quiet,
    /// The longest time is over.
    Time,
    /// The tunnel's call has ended.
    Call,
    /// Another route is chosen, or the configuration no longer wants it.
    Route,
}

impl fmt::Display for DrainEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quiet => "no flow is left",
            Self::Time => "the time for it is over",
            Self::Call => "the tunnel's call has ended",
            Self::Route => "another route is chosen",
        })
    }
}

#[derive(Debug)]
pub(super) struct Draining {
    tunnel: String,
    since: Instant,
    until: Instant,
}

impl Draining {
    pub fn tunnel(&self) -> &str {
        &self.tunnel
    }

    pub fn of(&self, prefix: IpPrefix) -> Drain {
        Drain { prefix, tunnel: self.tunnel.clone(), until: self.until }
    }
}

/// Whether new flows by this next hop can be separated from flows in a tunnel. Between two tunnels they cannot: both leave by the
/// same dataplane.
pub(super) const fn is_apart(next: &NextHop) -> bool {
    matches!(next, NextHop::Via { .. } | NextHop::Device(_))
}

/// When to look again whether the tunnel has been quiet since then; `None` if it has.
pub(super) fn ask_again(
    tunnel: &str,
    since: Instant,
    quiet: Duration,
    now: Instant,
    world: &impl World,
    decision: &mut Decision,
) -> Option<Instant> {
    // An earlier answer does not cover the time since.
    match world.traffic(tunnel).filter(|known| known.at >= since) {
        Some(known) if known.last + quiet <= known.at => None,
        Some(known) if known.last + quiet > now => Some(known.last + quiet),
        // The answer is too old, or missing.
        _ => {
            decision.ask = Some(tunnel.to_owned());
            Some(now + quiet.max(ASK_AGAIN))
        }
    }
}

impl Entry {
    /// Starts when traffic returns to a better route (`returns`), ends as drawn above. The tunnel counts as left when the drain ends.
    pub(super) fn drain(
        &mut self,
        now: Instant,
        failback: &Failback,
        world: &impl World,
        returns: bool,
        decision: &mut Decision,
    ) {
        let apart = self.installed().is_some_and(|route| is_apart(&route.next));
        if let Flows::Drain { wait, each: true, .. } = failback.flows
            && let Some(tunnel) = decision.leaves.take_if(|_| returns && apart)
        {
            let draining = Draining { tunnel, since: now, until: now + wait };
            decision.drains = Some(draining.of(self.prefix));
            self.draining = Some(draining);
        }
        let Some(draining) = self.draining.take() else { return };
        let end = match failback.flows {
            Flows::Drain { quiet, each: true, .. }
                if apart && self.tunnels().any(|t| t == draining.tunnel) =>
            {
                if draining.until <= now {
                    Some(DrainEnd::Time)
                } else if world.ended(&draining.tunnel).is_some_and(|at| at >= draining.since) {
                    Some(DrainEnd::Call)
                } else {
                    match ask_again(&draining.tunnel, draining.since, quiet, now, world, decision) {
                        None => Some(DrainEnd::Quiet),
                        Some(at) => {
                            let at = at.min(draining.until);
                            self.due = Some(self.due.map_or(at, |due| due.min(at)));
                            None
                        }
                    }
                }
            }
            _ => Some(DrainEnd::Route),
        };
        match end {
            None => self.draining = Some(draining),
            // Traffic re-enters the tunnel that was draining: neither a move out nor a move in.
            Some(end) => {
                if decision.enters.take_if(|enters| *enters == draining.tunnel).is_none() {
                    decision.leaves = Some(draining.tunnel.clone());
                }
                decision.drained = Some((draining.tunnel, end));
            }
        }
    }

    /// The tunnel whose drain ends because its prefix is no longer configured.
    pub fn withdrawn_drain(&self) -> Option<String> {
        self.draining.as_ref().map(|draining| draining.tunnel.clone())
    }
}
