//! What the core reports, each with its evidence.

use crate::config::NextHop;
use crate::operation::Outcome;
use crate::rib::DrainEnd;
use crate::view::{FailbackWait, ReturnCode, State, WhyNot};
use sipsec_net::IpPrefix;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The reachability or the state of an operation has changed.
    Operation {
        id: u32,
        reachability: State,
        state: State,
        code: ReturnCode,
        evidence: Vec<Outcome>,
    },
    Object {
        id: u32,
        from: State,
        to: State,
        cause: Cause,
    },
    /// An object flaps and is held down.
    Damped {
        id: u32,
        penalty: u32,
        for_s: u64,
    },
    /// Another route is used for this prefix.
    Route {
        prefix: IpPrefix,
        from: Option<NextHop>,
        to: Option<NextHop>,
        because: Option<WhyNot>,
    },
    /// The better route is usable, and traffic waits before it returns.
    Failback {
        prefix: IpPrefix,
        to: NextHop,
        wait: FailbackWait,
    },
    /// Traffic has returned, but for the flows that the tunnel carries, which stay in it.
    Drain {
        prefix: IpPrefix,
        tunnel: String,
        at_most: Duration,
    },
    /// They have ended, or have moved.
    Drained {
        prefix: IpPrefix,
        tunnel: String,
        because: DrainEnd,
    },
    /// The kernel has refused a route.
    Refused {
        prefix: IpPrefix,
        next: NextHop,
        reason: String,
    },
}

/// What an object's change is due to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The latest results of the operation, the oldest first.
    Operation {
        id: u32,
        code: ReturnCode,
        evidence: Vec<Outcome>,
    },
    Device {
        name: String,
    },
    Route {
        prefix: IpPrefix,
    },
    /// Members that are up, of how many.
    Members {
        up: usize,
        of: usize,
    },
    /// A damped object has been released, or is held down.
    Damping,
}

impl Event {
    /// A stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Operation { .. } => "sla-state",
            Self::Object { .. } => "track-state",
            Self::Damped { .. } => "track-damped",
            Self::Route { .. } => "route-change",
            Self::Failback { .. } => "failback-waits",
            Self::Drain { .. } => "failback-drains",
            Self::Drained { .. } => "failback-drained",
            Self::Refused { .. } => "route-refused",
        }
    }

    /// Whether it asks for attention.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        match self {
            Self::Operation { reachability, .. } => matches!(reachability, State::Down),
            Self::Object { to, .. } => matches!(to, State::Down),
            Self::Route { because, .. } => matches!(
                because,
                Some(
                    WhyNot::Track { .. }
                        | WhyNot::DeviceDown { .. }
                        | WhyNot::Unresolved { .. }
                        | WhyNot::Refused { .. }
                )
            ),
            Self::Damped { .. } | Self::Refused { .. } => true,
            Self::Failback { .. } | Self::Drain { .. } | Self::Drained { .. } => false,
        }
    }

    /// The tunnel that it concerns.
    #[must_use]
    pub fn tunnel(&self) -> Option<&str> {
        let name = |next: &Option<NextHop>| match next {
            Some(NextHop::Tunnel(_)) => true,
            Some(NextHop::Via { .. } | NextHop::Device(_) | NextHop::Discard) | None => false,
        };
        match self {
            Self::Route { from, to, .. } => match if name(to) { to } else { from } {
                Some(NextHop::Tunnel(tunnel)) => Some(tunnel),
                _ => None,
            },
            Self::Drain { tunnel, .. } | Self::Drained { tunnel, .. } => Some(tunnel),
            _ => None,
        }
    }
}

struct Results<'a>(&'a [Outcome]);

impl fmt::Display for Results<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, result) in self.0.iter().enumerate() {
            f.write_str(if n == 0 { "" } else { ", " })?;
            match result {
                Ok(rtt) => write!(f, "{:.1} ms", rtt.as_secs_f64() * 1000.0)?,
                Err(code) => write!(f, "{}", code.text().to_lowercase())?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { id, code, evidence } if evidence.is_empty() => write!(f, "ip sla {id}: {code}"),
            Self::Operation { id, code, evidence } => {
                write!(f, "ip sla {id}: {code}; the last probes: {}", Results(evidence))
            }
            Self::Device { name } => write!(f, "line protocol of {name}"),
            Self::Route { prefix } => write!(f, "route {prefix}"),
            Self::Members { up, of } => write!(f, "{up} of {of} members are up"),
            Self::Damping => f.write_str("damping"),
        }
    }
}

fn next(hop: &Option<NextHop>) -> String {
    hop.as_ref().map_or_else(|| "no route".to_owned(), ToString::to_string)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operation { id, reachability, state, code, evidence } => {
                write!(f, "ip sla {id}: reachability {reachability}, state {state}: {code}")?;
                if evidence.is_empty() {
                    Ok(())
                } else {
                    write!(f, "; the last probes: {}", Results(evidence))
                }
            }
            Self::Object { id, from, to, cause } => write!(f, "track {id}: {from} -> {to} ({cause})"),
            Self::Damped { id, penalty, for_s } => {
                write!(f, "track {id} flaps and is held down for {for_s} s (penalty {penalty})")
            }
            Self::Route { prefix, from, to, because } => {
                write!(f, "{prefix}: {} -> {}", next(from), next(to))?;
                because.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
            }
            Self::Failback { prefix, to, wait } => write!(f, "{prefix}: {to} is usable again; {wait}"),
            Self::Drain { prefix, tunnel, at_most } => {
                let s = at_most.as_secs();
                write!(f, "{prefix}: flows that {tunnel} carries stay in it, {s} s at most; new ones do not")
            }
            Self::Drained { prefix, tunnel, because } => {
                write!(f, "{prefix}: no flow stays in {tunnel} any more: {because}")
            }
            Self::Refused { prefix, next, reason } => {
                write!(f, "{prefix} by {next}: the kernel refuses: {reason}")
            }
        }
    }
}
