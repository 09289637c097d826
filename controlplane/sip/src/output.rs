//! Outputs of the user agent: datagrams to send, records to write, events.

use crate::call::{Call, CallId};
use crate::message::Message;
use crate::notice::Notice;
use crate::reason::Reason;
use crate::record::DialogRecord;
use crate::sdp::{SdpError, SessionDescription};
use crate::target::Target;
use crate::transport::Flow;
use serde::Serialize;
use sipsec_net::{Instant, TelNumber};
use std::net::SocketAddr;

#[derive(Debug)]
pub enum Output {
    Transmit {
        flow: Flow,
        bytes: Vec<u8>,
    },
    /// Open this connection; what is transmitted over it meanwhile waits. Its end, or that it cannot be opened, is told by
    /// [`UserAgent::handle_flow_closed`](crate::UserAgent::handle_flow_closed).
    Open {
        flow: Flow,
        /// The server's name, if a name led to its address.
        name: Option<String>,
    },
    Event(Event),
    /// Write (or, with `None`, forget) the record, durably, then call `persisted`.
    Persist {
        call: CallId,
        record: Option<DialogRecord>,
        /// The answer to our offer, if this is the record that is written before its ACK. What it agrees on may stand in the
        /// record; [`Event::Answered`] decides what is done with it.
        answer: Option<Box<SessionDescription>>,
    },
}

#[derive(Debug)]
pub enum Event {
    Registration {
        line: TelNumber,
        state: RegistrationState,
    },
    Incoming {
        call: Call,
        line: TelNumber,
        caller: Caller,
        /// `None` where the INVITE has no offer: what accepts the call is one, and `Answered` follows with the ACK.
        offer: Option<SessionDescription>,
    },
    /// A call whose offer cannot be used was refused with `error.status()`.
    Refused {
        line: TelNumber,
        caller: Caller,
        error: SdpError,
    },
    /// A provisional response. SDP in it is a preview (RFC 3261 §13.2.1) and is not given here.
    Provisional {
        call: CallId,
        status: u16,
    },
    /// Their answer to our offer.
    Answered {
        call: CallId,
        answer: ReliableAnswer,
    },
    /// Our 200 was sent.
    Accepted {
        call: CallId,
    },
    /// The ACK for our 200.
    Confirmed {
        call: CallId,
    },
    Failed {
        call: CallId,
        failure: CallFailure,
    },
    /// BYE or CANCEL of the peer, with its reason if it gave one.
    PeerHungUp {
        call: CallId,
        reason: Option<Reason>,
    },
    /// We end it, for a reason of SIP's own.
    Lost {
        call: CallId,
        why: LostWhy,
    },
    /// A BYE was refused (with this status), not answered in time, or could not be sent: the call may still be charged.
    /// The next BYE is sent at `again_at`, or when the WAN has an address again. `Ended` follows once a BYE is answered.
    ByeOwed {
        call: CallId,
        refused: Option<u16>,
        again_at: Option<Instant>,
    },
    /// The call is given up although no BYE of it was accepted: the carrier alone knows whether it is still charged.
    /// `refused` is the status that the last BYE got, if any. `Ended` follows.
    NotHungUp {
        call: CallId,
        call_id: String,
        refused: Option<u16>,
    },
    /// Something that an operator should hear of.
    Notice(Notice),
    /// No further message will be sent for it.
    Ended {
        call: CallId,
    },
}

/// Why the user agent itself gives up a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostWhy {
    /// RFC 3261 §13.3.1.4: no ACK came for our 2xx.
    NoAck,
    /// RFC 4028 §10: the session was not refreshed in time.
    SessionExpired,
    /// RFC 4028 §10: the peer does not answer, or knows of no such call.
    RefreshFailed,
    /// RFC 6193 §5.2: what answered us inside the call moved the VPN, changed it or refused it.
    MediaChanged,
    /// It was not answered yet, and the WAN has no address any more.
    NoAddress,
    /// It was neither accepted nor rejected in time.
    Undecided,
}

/// The SDP of a 2xx, or of the ACK of one with an offer: the only one that may start IKE (RFC 6193 §3 (2)). Made by this crate
/// alone.
#[derive(Debug, Clone)]
pub struct ReliableAnswer(pub(crate) SessionDescription);

impl ReliableAnswer {
    #[must_use]
    pub const fn description(&self) -> &SessionDescription {
        &self.0
    }
}

/// The caller that the trusted proxy asserts (RFC 3325 §9.1). From is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Asserted(TelNumber),
    /// The caller withholds its number.
    Anonymous,
    /// The proxy asserted nothing readable.
    Unidentified,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFailure {
    /// A final response. `reason` is its reason phrase, `said` its Warning or Reason header field: texts of the peer,
    /// bounded and printable.
    Status { status: u16, reason: String, said: Option<Reason>, retry_after_s: Option<u32> },
    /// No final response within 64·T1, or none at all.
    Timeout,
    /// The 2xx had no usable SDP.
    BadAnswer(SdpError),
    /// We cancelled it.
    Cancelled,
    /// 401/407 that our credentials do not satisfy.
    Unauthorised,
    /// The WAN has no address any more.
    NoAddress,
    /// It was answered and its record was not written in time.
    NotWritten,
}

impl CallFailure {
    pub(crate) fn refused(status: u16, m: &Message, retry_after_s: Option<u32>) -> Self {
        Self::Status { status, reason: m.phrase(), said: Reason::of(m), retry_after_s }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RegistrationState {
    /// The WAN interface has no address.
    NoAddress,
    Registering,
    Registered,
    Failed {
        reason: String,
    },
    Unregistered,
}

#[derive(Debug, Clone)]
pub struct RegistrationView {
    pub line: TelNumber,
    pub domain: String,
    pub state: RegistrationState,
    pub contact: Option<SocketAddr>,
    /// Where the last REGISTER went.
    pub server: Option<Target>,
    pub expires_at: Option<Instant>,
    pub call_id: String,
    pub last_failure: Option<String>,
}
