//! What the core shows of itself. Nothing here decides anything.

use crate::config::{NextHop, Operation, Table, What};
use crate::rib::Drain;
use sipsec_net::{Instant, IpPrefix};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// State of an operation or of a track object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Nothing is known yet.
    #[default]
    Unknown,
    Down,
    Up,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "Unknown",
            Self::Down => "Down",
            Self::Up => "Up",
        })
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReturnCode {
    /// None has ended yet.
    #[default]
    Unknown,
    Ok,
    OverThreshold,
    Timeout,
    /// An ICMP error, or the kernel has no route.
    Unreachable,
    /// The port is closed.
    Refused,
    /// The source address or the device is not there.
    NoSource,
    /// The answer is no valid one, or says that the server has failed.
    BadAnswer,
    /// The probe could not be sent for another reason.
    NotSent,
}

impl ReturnCode {
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Ok,
        Self::OverThreshold,
        Self::Timeout,
        Self::Unreachable,
        Self::Refused,
        Self::NoSource,
        Self::BadAnswer,
        Self::NotSent,
    ];

    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Ok => "OK",
            Self::OverThreshold => "Over threshold",
            Self::Timeout => "Timeout",
            Self::Unreachable => "Unreachable",
            Self::Refused => "Refused",
            Self::NoSource => "No source",
            Self::BadAnswer => "Bad answer",
            Self::NotSent => "Not sent",
        }
    }
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Configured and not scheduled.
    Pending,
    Active,
    /// Its lifetime is over.
    Expired,
}

/// Counted since the operation's start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Probes (of a series: each packet).
    pub sent: u64,
    /// Indexed as [`ReturnCode::ALL`].
    pub by_code: [u64; 9],
    pub rtt_last: Option<Duration>,
    pub rtt_min: Option<Duration>,
    pub rtt_avg: Option<Duration>,
    pub rtt_max: Option<Duration>,
    /// Smoothed as in RFC 6298 §2: SRTT and RTTVAR.
    pub rtt_smoothed: Option<Duration>,
    pub rtt_variation: Option<Duration>,
    /// RFC 3550 §6.4.1, of round trips.
    pub jitter: Option<Duration>,
    /// Loss among the last 100 probes, in percent.
    pub loss_percent: u8,
    /// Answers that came after the timeout.
    pub late: u64,
}

impl Statistics {
    #[must_use]
    pub fn count(&self, code: ReturnCode) -> u64 {
        ReturnCode::ALL.iter().position(|c| *c == code).map_or(0, |i| self.by_code[i])
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationView {
    pub config: Operation,
    pub activity: Activity,
    pub reachability: State,
    pub state: State,
    pub since: Instant,
    pub return_code: ReturnCode,
    /// When the last probe ended, and when the next starts.
    pub last_at: Option<Instant>,
    pub next_at: Option<Instant>,
    pub good_in_row: u32,
    pub bad_in_row: u32,
    pub statistics: Statistics,
    pub bfd: Option<BfdView>,
}

/// RFC 5880 §6.8.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdView {
    /// `AdminDown`, `Down`, `Init`, `Up`.
    pub state: &'static str,
    pub remote_state: &'static str,
    pub local_discriminator: u32,
    pub remote_discriminator: u32,
    /// The words of RFC 5880 §4.1.
    pub diagnostic: &'static str,
    pub remote_diagnostic: &'static str,
    /// What is in force now.
    pub transmit: Duration,
    pub detection: Duration,
    pub packets_out: u64,
    pub packets_in: u64,
    pub packets_bad: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectView {
    pub id: u32,
    pub what: What,
    pub state: State,
    /// The last change.
    pub since: Instant,
    pub changes: u64,
    /// What it was or will be without delay and damping.
    pub raw: State,
    pub delay_up: Duration,
    pub delay_down: Duration,
    /// A change that waits for its delay: to what, and when it counts.
    pub delayed: Option<(State, Instant)>,
    pub damping: Option<DampingView>,
    /// The code and round trip of the operation's last probe.
    pub return_code: Option<ReturnCode>,
    pub rtt: Option<Duration>,
    /// Prefixes of the routes that follow it, and the objects that have it as member.
    pub routes: Vec<IpPrefix>,
    pub members_of: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DampingView {
    /// Now, decayed.
    pub penalty: u32,
    pub suppress: u32,
    pub reuse: u32,
    pub half_life: Duration,
    pub suppressed: bool,
    /// If the object does not change again.
    pub reuse_in: Option<Duration>,
}

/// Why a route is not the one that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It is the best of ours.
    Best,
    /// A route of ours with less distance is usable.
    Distance {
        better: u8,
    },
    /// Its track object is not up.
    Track {
        id: u32,
        state: State,
    },
    DeviceDown {
        device: String,
    },
    /// No route leads to its next hop.
    Unresolved {
        next_hop: IpAddr,
    },
    /// The kernel has refused it.
    Refused {
        reason: String,
    },
    /// It is better and usable, and traffic has not yet returned to it.
    Failback(FailbackWait),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailbackWait {
    /// Until then it must stay usable.
    Hold { until: Instant },
    /// More good probes are needed.
    Probes { missing: u32 },
    /// The tunnel still carries traffic.
    Drain { until: Instant },
    /// The next change to the tunnel would exceed the calls of an hour.
    Calls { until: Instant },
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("best"),
            Self::Distance { better } => write!(f, "a usable route has distance {better}"),
            Self::Track { id, state } => write!(f, "track {id} is {state}"),
            Self::DeviceDown { device } => write!(f, "{device} is down"),
            Self::Unresolved { next_hop } => write!(f, "no connected route leads to {next_hop}"),
            Self::Refused { reason } => write!(f, "the kernel refuses it: {reason}"),
            Self::Failback(wait) => write!(f, "{wait}"),
        }
    }
}

impl fmt::Display for FailbackWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hold { .. } => "it must stay usable for the hold time",
            Self::Probes { missing } => {
                return write!(f, "{missing} more good probes are needed");
            }
            Self::Drain { .. } => "the tunnel still carries traffic",
            Self::Calls { .. } => "the calls of this hour are used up",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateView {
    pub next: NextHop,
    pub distance: u8,
    pub metric: u32,
    pub track: Option<u32>,
    pub name: Option<String>,
    pub why_not: WhyNot,
}

/// A route of the kernel that is not ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignView {
    /// `rtm_protocol`: 2 kernel, 3 boot, 4 static, 16 dhcp, 186 bgp, 188 ospf …
    pub protocol: u8,
    pub metric: u32,
    pub via: Option<IpAddr>,
    pub device: Option<String>,
    pub table: Table,
}

/// All routes with one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteView {
    pub prefix: IpPrefix,
    pub table: Table,
    /// By distance.
    pub candidates: Vec<CandidateView>,
    pub foreign: Vec<ForeignView>,
    /// The kernel prefers a foreign route, because its metric is less.
    pub foreign_used: bool,
    /// Flows that have stayed in a tunnel.
    pub draining: Option<Drain>,
    /// Since when the best one is installed.
    pub since: Instant,
    pub changes: u64,
}
