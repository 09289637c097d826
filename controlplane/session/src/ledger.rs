//! The ledger: one entry for each call, opened when the call is placed or received, and closed when SIP has confirmed its
//! end. Until then the call may be charged, even if its session is over.

use crate::failure::SessionFailure;
use sipsec_ike::CloseCause;
use sipsec_net::{Instant, Kbps, TelNumber};
use sipsec_sip::{CallFailure, Reason};
use std::fmt;
use std::time::Duration;

/// Where a call came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Placed,
    Received,
    /// An earlier run of this process had it: hung up at the start.
    Recovered,
    /// A second answer to one INVITE (RFC 6193 §5.3): hung up at once.
    Fork,
}

/// Why a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// We ended it for a reason that is no fault.
    Closed(CloseCause),
    /// The peer said BYE or CANCEL, with the text that it gave.
    PeerHungUp {
        said: Option<String>,
    },
    Failed(SessionFailure),
    /// Recovered calls and forks are only hung up.
    NotOurs,
}

impl EndReason {
    /// What our BYE or CANCEL tells the other side (RFC 3326): for its operator, so without what concerns this side alone.
    #[must_use]
    pub fn told(&self) -> Reason {
        match self {
            Self::Closed(cause @ CloseCause::Shutdown) => Reason::new(480, &cause.to_string()),
            Self::Closed(cause) => Reason::new(200, &cause.to_string()),
            Self::PeerHungUp { .. } => Reason::new(200, "the peer hung up"),
            Self::Failed(failure) => Reason::new(failure.told_status(), &failure.told()),
            Self::NotOurs => Reason::new(500, "the gateway restarted"),
        }
    }
}

impl EndReason {
    /// The stable name of the failure; `None` if the end is none.
    #[must_use]
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Failed(failure) => Some(failure.code()),
            Self::Closed(_) | Self::PeerHungUp { .. } | Self::NotOurs => None,
        }
    }

    /// `us` or `peer`: which side ended the call, or refused it.
    #[must_use]
    pub const fn ended_by(&self) -> Option<&'static str> {
        match self {
            Self::PeerHungUp { .. }
            | Self::Closed(CloseCause::PeerDeleted)
            | Self::Failed(
                SessionFailure::PeerHungUp { .. }
                | SessionFailure::PeerClosedIke
                | SessionFailure::PeerEndedEarly { .. }
                | SessionFailure::Call(CallFailure::Status { .. } | CallFailure::Unauthorised),
            ) => Some("peer"),
            Self::Closed(_) | Self::Failed(_) => Some("us"),
            Self::NotOurs => None,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(cause) => write!(f, "{cause}"),
            Self::PeerHungUp { said: None } => f.write_str("the peer hung up"),
            Self::PeerHungUp { said: Some(text) } => write!(f, "the peer hung up: {text}"),
            Self::Failed(failure) => write!(f, "{failure}"),
            Self::NotOurs => f.write_str("it belonged to no session"),
        }
    }
}

/// A call that has ended.
#[derive(Clone, Debug)]
pub struct CallSummary {
    pub origin: Origin,
    pub local: Option<TelNumber>,
    pub remote: Option<TelNumber>,
    /// The Call-ID header field.
    pub call_id: String,
    /// In seconds since 1970; `None` if the clock was not known.
    pub began_unix_s: Option<u64>,
    pub answered_unix_s: Option<u64>,
    pub ended_unix_s: Option<u64>,
    /// Since the beginning.
    pub answered_after: Option<Duration>,
    /// Until the SAs were installed, since the beginning.
    pub up_after: Option<Duration>,
    /// From the answer to the confirmed end: what the carrier charges. `None` if it was never answered, or if only an
    /// earlier run of this process knew when.
    pub lasted: Option<Duration>,
    pub reason: EndReason,
    /// Whether the other side or the carrier confirmed the end. If not, only the carrier knows when it ended.
    pub confirmed: bool,
    pub rate: Option<Kbps>,
    pub carried: Carried,
}

/// User data of one call, as the dataplane counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
}

impl fmt::Display for CallSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.origin, self.lasted) {
            (Origin::Recovered, _) => f.write_str("call of an earlier run ended")?,
            (Origin::Fork, _) => f.write_str("second answer to a call hung up")?,
            (_, Some(d)) => write!(f, "call ended after {:.1} s: {}", d.as_secs_f64(), self.reason)?,
            (_, None) => write!(f, "call ended unanswered: {}", self.reason)?,
        }
        if !self.confirmed {
            f.write_str("; its end is not confirmed, so it may still be charged")?;
        }
        write!(f, " (Call-ID {})", self.call_id)
    }
}

/// Our BYE, as long as nothing confirms it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bye {
    /// When the call was hung up.
    pub since: Instant,
    /// The status with which the last BYE was refused.
    pub refused: Option<u16>,
    /// When the next is sent; `None` while one is being repeated, or while the WAN has no address.
    pub next_at: Option<Instant>,
    /// It was refused, not answered in time, or could not be sent.
    pub owed: bool,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    /// The tunnel's index; a call of an earlier run may be of no tunnel of this profile.
    pub tunnel: Option<usize>,
    pub origin: Origin,
    pub local: Option<TelNumber>,
    pub remote: Option<TelNumber>,
    pub call_id: String,
    pub began: Instant,
    /// Recovered calls only: from the record in the journal.
    pub began_unix_s: Option<u64>,
    pub answered: Option<Instant>,
    /// When the SAs were installed.
    pub up: Option<Instant>,
    pub rate: Option<Kbps>,
    pub carried: Carried,
    pub reason: Option<EndReason>,
    pub bye: Option<Bye>,
    /// The tunnel places no call until this one has ended.
    pub holds: bool,
    /// The session still listens for the reason.
    pub reason_open: bool,
    /// The dataplane has not confirmed yet that the SAs are removed, so packets may still be counted.
    pub counting: bool,
    /// SIP is through with it: when, and whether the end was confirmed.
    pub ended: Option<(Instant, bool)>,
}

impl Ledger {
    pub fn new(
        now: Instant,
        tunnel: Option<usize>,
        origin: Origin,
        numbers: (Option<TelNumber>, Option<TelNumber>),
        call_id: String,
    ) -> Self {
        Self {
            tunnel,
            origin,
            local: numbers.0,
            remote: numbers.1,
            call_id,
            began: now,
            began_unix_s: None,
            answered: None,
            up: None,
            rate: None,
            carried: Carried::default(),
            reason: None,
            bye: None,
            holds: false,
            reason_open: false,
            counting: false,
            ended: None,
        }
    }

    /// Whether this run placed or received the call, so that it belongs to a session.
    pub const fn is_session(&self) -> bool {
        matches!(self.origin, Origin::Placed | Origin::Received)
    }

    pub fn reason(&self) -> EndReason {
        match (&self.reason, self.is_session()) {
            (Some(reason), _) => reason.clone(),
            (None, true) => EndReason::Closed(CloseCause::CallEnded),
            (None, false) => EndReason::NotOurs,
        }
    }
}
