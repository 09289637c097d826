//! What the core reports: events with stable names.

use crate::change::Reconfigured;
use crate::failure::SessionFailure;
use crate::ledger::CallSummary;
use crate::selectors::Narrowed;
use sipsec_ike::{FingerprintBasis, IkeError};
use sipsec_net::dp::{PacketSummary, RejectReason};
use sipsec_net::{Kbps, TelNumber, TunnelId};
use sipsec_sip::RegistrationState;
use std::net::SocketAddr;
use std::time::Duration;

/// Something worth telling. The names are stable.
#[derive(Clone, Debug)]
pub struct SessionEvent {
    pub tunnel: Option<TunnelId>,
    pub interface: Option<String>,
    /// SIP's, of the call that it is about.
    pub call_id: Option<String>,
    pub kind: EventKind,
}

#[derive(Clone, Debug)]
pub enum EventKind {
    Trigger(PacketSummary),
    InviteSent {
        remote: TelNumber,
    },
    Incoming {
        caller: String,
    },
    IncomingRefused {
        caller: String,
        status: u16,
        why: String,
    },
    Ringing {
        status: u16,
    },
    Answered {
        remote: SocketAddr,
        rate: Kbps,
    },
    Glare {
        kept: &'static str,
    },
    /// It answered 486.
    PeerBusy,
    IkeStarted {
        initiator: bool,
    },
    IkeAuthenticated {
        basis: FingerprintBasis,
    },
    /// The peer has proven the next pre-shared key instead of the current one.
    NextKeyUsed {
        remote: TelNumber,
    },
    /// A further IKE SA of the call was not made; the one in use goes on.
    ReauthenticationFailed {
        error: IkeError,
    },
    /// The session uses algorithms that are for old peers alone.
    WeakAlgorithms {
        names: String,
    },
    /// The session is up, and its SA does not cover the tunnel's routes.
    SelectorsNarrowed(Narrowed),
    SaInstalled,
    SessionUp {
        initiator: bool,
    },
    Rekeyed,
    /// The peer's packets come from another port than the one in SDP, which `media.peer_port: learn-once` admits.
    PeerPortLearnt {
        sdp: SocketAddr,
        port: u16,
    },
    /// Probes have found how large the packets on the path may be; `None`: no bound is known any more.
    PathMtu {
        mtu: Option<u16>,
    },
    Idle {
        after: Duration,
    },
    /// A call is cancelled or refused before it was answered.
    CallGivenUp,
    ByeSent,
    ByeReceived {
        /// The text of its Reason header field (RFC 3326).
        said: Option<String>,
    },
    /// Our BYE has no answer yet, and is repeated.
    ByeUnanswered {
        remote: Option<TelNumber>,
        call_id: String,
        waited: Duration,
    },
    /// Our BYE was refused with this status, not answered in time, or could not be sent.
    ByeOwed {
        remote: Option<TelNumber>,
        call_id: String,
        /// Since the answer.
        charged: Option<Duration>,
        refused: Option<u16>,
        /// Until the next BYE; `None` if the WAN has no address.
        next_in: Option<Duration>,
    },
    Failed {
        failure: SessionFailure,
        retry_in: Duration,
    },
    /// SIP has ended the call, or gives it up.
    CallEnded(Box<CallSummary>),
    Registration {
        line: TelNumber,
        state: RegistrationState,
    },
    Configured {
        tunnels: usize,
    },
    /// Another profile is in force.
    Reconfigured(Reconfigured),
    ConfigureRejected {
        op: u16,
        reason: RejectReason,
    },
    DataplaneLost,
    Recovered {
        calls: usize,
    },
    /// One of them.
    RecoveredCall {
        remote: Option<TelNumber>,
        answered: bool,
        /// Since it was placed or received, if the record has that.
        age: Option<Duration>,
        call_id: String,
    },
    /// Every BYE of a call went unanswered or was refused.
    NotHungUp {
        call_id: String,
        refused: Option<u16>,
    },
    /// Something about SIP that an operator should hear of, at most once a minute for each kind.
    SipNotice(sipsec_sip::Notice),
    /// Records in the journal that are of another release, or damaged. They stay there.
    RecordsUnreadable {
        calls: usize,
        versions: Vec<u8>,
        numbers: Vec<TelNumber>,
    },
}

impl EventKind {
    /// The Call-ID that it names itself.
    pub(crate) fn call_id(&self) -> Option<&str> {
        match self {
            Self::CallEnded(summary) => Some(&summary.call_id),
            Self::ByeUnanswered { call_id, .. }
            | Self::ByeOwed { call_id, .. }
            | Self::RecoveredCall { call_id, .. }
            | Self::NotHungUp { call_id, .. } => Some(call_id),
            _ => None,
        }
    }

    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Trigger(_) => "trigger",
            Self::InviteSent { .. } => "invite-sent",
            Self::Incoming { .. } => "incoming",
            Self::IncomingRefused { .. } => "incoming-refused",
            Self::Ringing { .. } => "ringing",
            Self::Answered { .. } => "answered",
            Self::Glare { .. } => "glare",
            Self::PeerBusy => "peer-busy",
            Self::IkeStarted { .. } => "ike-started",
            Self::IkeAuthenticated { .. } => "ike-authenticated",
            Self::NextKeyUsed { .. } => "next-key-used",
            Self::ReauthenticationFailed { .. } => "ike-reauthentication-failed",
            Self::WeakAlgorithms { .. } => "weak-algorithms",
            Self::SelectorsNarrowed(_) => "selectors-narrowed",
            Self::SaInstalled => "sa-installed",
            Self::SessionUp { .. } => "session-up",
            Self::Rekeyed => "rekeyed",
            Self::PeerPortLearnt { .. } => "peer-port-learnt",
            Self::PathMtu { .. } => "path-mtu",
            Self::Idle { .. } => "idle",
            Self::CallGivenUp => "call-given-up",
            Self::ByeSent => "bye-sent",
            Self::ByeReceived { .. } => "bye-received",
            Self::ByeUnanswered { .. } => "bye-unanswered",
            Self::ByeOwed { .. } => "bye-owed",
            Self::Failed { .. } => "failed",
            Self::CallEnded(_) => "call-ended",
            Self::Registration { .. } => "registration",
            Self::Configured { .. } => "configured",
            Self::ConfigureRejected { .. } => "configure-rejected",
            Self::Reconfigured(_) => "reconfigured",
            Self::DataplaneLost => "dataplane-lost",
            Self::Recovered { .. } => "recovered",
            Self::RecoveredCall { .. } => "recovered-call",
            Self::NotHungUp { .. } => "not-hung-up",
            Self::SipNotice(_) => "sip-notice",
            Self::RecordsUnreadable { .. } => "records-unreadable",
        }
    }

    /// Whether an operator should see it.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        if let Self::CallEnded(call) = self {
            return !call.confirmed;
        }
        matches!(
            self,
            Self::Failed { .. }
                | Self::WeakAlgorithms { .. }
                | Self::SelectorsNarrowed(_)
                | Self::ReauthenticationFailed { .. }
                | Self::ByeOwed { .. }
                | Self::ByeUnanswered { .. }
                | Self::ConfigureRejected { .. }
                | Self::DataplaneLost
                | Self::Recovered { .. }
                | Self::NotHungUp { .. }
                | Self::SipNotice(_)
                | Self::RecordsUnreadable { .. }
                | Self::IncomingRefused { .. }
                | Self::Registration { state: RegistrationState::Failed { .. }, .. }
        )
    }
}
